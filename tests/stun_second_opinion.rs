//! Our STUN codec and that of the `stun` crate read each other's messages.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "script/cases.rs"]
#[allow(unreachable_pub, reason = "each test binary uses a part")]
mod cases;

use std::net::{IpAddr, SocketAddr};

use ::stun as theirs;
use proptest::prelude::*;
use theirs::attributes::AttrType;
use theirs::error_code::{ErrorCode as TheirCode, ErrorCodeAttribute};
use theirs::fingerprint::FINGERPRINT;
use theirs::integrity::MessageIntegrity;
use theirs::message::{MessageType, Setter};
use theirs::xoraddr::XorMappedAddress;
use turnpike::stun::{Attribute, AttributeType, Builder, Class, ErrorCode, Message, Method, TransactionId};

const REGRESSIONS: &str = "tests/regressions/stun_second_opinion.txt";

fn class_of(index: u16) -> (Class, theirs::message::MessageClass) {
    match index % 4 {
        0 => (Class::Request, theirs::message::CLASS_REQUEST),
        1 => (Class::Indication, theirs::message::CLASS_INDICATION),
        2 => (Class::Success, theirs::message::CLASS_SUCCESS_RESPONSE),
        _ => (Class::Error, theirs::message::CLASS_ERROR_RESPONSE),
    }
}

/// Types and values of any kind; integrity and fingerprint are added by the builders, and 0x8020 is another
/// name of XOR-MAPPED-ADDRESS to the crate.
fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let kind = any::<u16>()
        .prop_filter("made by the builders", |kind| ![0x0008, 0x001c, 0x8028, 0x8020].contains(kind));
    let named = prop::sample::select(AttributeType::KNOWN.iter().map(|kind| kind.0).collect::<Vec<_>>());
    let named = named.prop_filter("made by the builders", |kind| ![0x0008, 0x001c, 0x8028].contains(kind));
    prop::collection::vec((prop_oneof![kind, named], prop::collection::vec(any::<u8>(), 0..40)), 0..12)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    (prop_oneof![v4, v6], any::<u16>()).prop_map(SocketAddr::from)
}

fn read_by_them(bytes: &[u8]) -> theirs::message::Message {
    let mut message = theirs::message::Message::new();
    message.unmarshal_binary(bytes).unwrap();
    message
}

/// Their type of a class and method, by the layout of RFC 8489 §5, written down again.
fn their_type(class: u16, method: u16) -> MessageType {
    let class = (class & 1) << 4 | (class & 2) << 7;
    let mut theirs = MessageType::default();
    theirs.read_value(class | method & 0x00f | (method & 0x070) << 1 | (method & 0xf80) << 2);
    theirs
}

#[test]
fn every_message_type_means_the_same_to_both() {
    // T-8489-5-07
    for method in 0..0x1000 {
        for index in 0..4 {
            let (class, their_class) = class_of(index);
            let mut buffer = [0; 20];
            let id = TransactionId([9; 12]);
            Builder::new(&mut buffer, class, Method::new(method).unwrap(), id).finish().unwrap();
            let read = read_by_them(&buffer).typ;
            assert_eq!((read, read.class), (their_type(index, method), their_class));
            assert_eq!(buffer[..2], read.value().to_be_bytes());
            let ours = Message::parse(&buffer).unwrap();
            assert_eq!((ours.method().number(), ours.class()), (method, class));
        }
    }
    let named = [
        (1, theirs::message::METHOD_BINDING),
        (3, theirs::message::METHOD_ALLOCATE),
        (4, theirs::message::METHOD_REFRESH),
        (6, theirs::message::METHOD_SEND),
        (7, theirs::message::METHOD_DATA),
        (8, theirs::message::METHOD_CREATE_PERMISSION),
        (9, theirs::message::METHOD_CHANNEL_BIND),
    ];
    for (number, method) in named {
        assert_eq!(their_type(0, number).method, method);
    }
}

proptest! {
    #![proptest_config(cases::cases(256, REGRESSIONS))]

    #[test]
    fn what_we_build_they_read(
        index in 0..4_u16,
        method in 0..0x1000_u16,
        id in any::<[u8; 12]>(),
        attributes in attributes(),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 1..80)),
        fingerprint in any::<bool>(),
    ) {
        let (class, _) = class_of(index);
        let mut buffer = [0; 2048];
        let mut builder = Builder::new(&mut buffer, class, Method::new(method).unwrap(), TransactionId(id));
        attributes.iter().for_each(|(kind, value)| {
            builder.raw(AttributeType(*kind), value);
        });
        if let Some(key) = &key {
            builder.integrity(key);
        }
        if fingerprint {
            builder.fingerprint();
        }
        let size = builder.finish().unwrap();
        let mut message = read_by_them(&buffer[..size]);
        prop_assert_eq!(message.typ, their_type(index, method));
        prop_assert_eq!(message.transaction_id.0, id);
        let read: Vec<_> = message.attributes.0.iter().map(|held| (held.typ.value(), held.value.clone())).collect();
        prop_assert_eq!(&read[..attributes.len()], &attributes[..]);
        prop_assert_eq!(read.len(), attributes.len() + usize::from(key.is_some()) + usize::from(fingerprint));
        if let Some(key) = key {
            prop_assert!(MessageIntegrity(key).check(&mut message).is_ok());
        }
        if fingerprint {
            prop_assert!(FINGERPRINT.check(&message).is_ok());
        }
    }

    #[test]
    fn what_they_build_we_read(
        index in 0..4_u16,
        method in 0..0x1000_u16,
        id in any::<[u8; 12]>(),
        attributes in attributes(),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 1..80)),
        fingerprint in any::<bool>(),
    ) {
        let (class, _) = class_of(index);
        let mut theirs = theirs::message::Message::new();
        theirs.transaction_id.0 = id;
        theirs.set_type(their_type(index, method));
        theirs.write_header();
        attributes.iter().for_each(|(kind, value)| theirs.add(AttrType(*kind), value));
        if let Some(key) = &key {
            MessageIntegrity(key.clone()).add_to(&mut theirs).unwrap();
        }
        if fingerprint {
            FINGERPRINT.add_to(&mut theirs).unwrap();
        }
        let message = Message::parse(&theirs.raw).unwrap();
        prop_assert_eq!((message.class(), message.method().number()), (class, method));
        prop_assert_eq!(message.transaction(), TransactionId(id));
        let read: Vec<_> = message.attributes().map(|held| (held.kind.0, held.value.to_vec())).collect();
        prop_assert_eq!(read, attributes);
        prop_assert_eq!((message.has_integrity(), message.has_fingerprint()), (key.is_some(), fingerprint));
        prop_assert!(message.fingerprint_holds());
        if let Some(key) = key {
            prop_assert!(message.verifies(&key));
            prop_assert!(!message.verifies(&[&key[..], b"x"].concat()) || key.len() >= 64);
        }
    }

    #[test]
    fn addresses_and_errors_mean_the_same_to_both(
        id in any::<[u8; 12]>(),
        addr in address(),
        code in 300..700_u16,
        reason in "[ -~]{0,100}",
    ) {
        let code = 300 + code % 400;
        let mut buffer = [0; 512];
        let mut builder = Builder::new(&mut buffer, Class::Error, Method::ALLOCATE, TransactionId(id));
        builder.xor_mapped(addr).error(ErrorCode::new(code).unwrap(), &reason);
        let size = builder.finish().unwrap();
        let theirs = read_by_them(&buffer[..size]);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from_as(&theirs, theirs::attributes::ATTR_XORMAPPED_ADDRESS).unwrap();
        prop_assert_eq!(SocketAddr::new(mapped.ip, mapped.port), addr);
        let mut error = ErrorCodeAttribute::default();
        theirs::message::Getter::get_from(&mut error, &theirs).unwrap();
        prop_assert_eq!((error.code.0, &error.reason[..]), (code, reason.as_bytes()));

        let mut theirs = theirs::message::Message::new();
        theirs.transaction_id.0 = id;
        theirs.write_header();
        XorMappedAddress { ip: addr.ip(), port: addr.port() }
            .add_to_as(&mut theirs, theirs::attributes::ATTR_XOR_PEER_ADDRESS)
            .unwrap();
        ErrorCodeAttribute { code: TheirCode(code), reason: reason.clone().into_bytes() }.add_to(&mut theirs).unwrap();
        let ours = Message::parse(&theirs.raw).unwrap();
        let peer = ours.attribute(AttributeType::XOR_PEER_ADDRESS);
        prop_assert_eq!(peer, Ok(Some(Attribute::XorPeerAddress(addr))));
        let error = ours.attribute(AttributeType::ERROR_CODE);
        let expected = Attribute::ErrorCode { code: ErrorCode::new(code).unwrap(), reason: reason.as_bytes() };
        prop_assert_eq!(error, Ok(Some(expected)));
    }

    #[test]
    fn of_arbitrary_bytes_we_take_nothing_that_they_refuse(
        mut bytes in prop::collection::vec(any::<u8>(), 20..120),
        length in 0..30_u16,
    ) {
        bytes[0] &= 0x3f;
        bytes[2..4].copy_from_slice(&(length * 4).to_be_bytes());
        bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        bytes.resize(20 + usize::from(length) * 4, 0);
        let mut theirs = theirs::message::Message::new();
        let their_view = theirs.unmarshal_binary(&bytes);
        if let Ok(ours) = Message::parse(&bytes) {
            prop_assert!(their_view.is_ok(), "{their_view:?}");
            for attribute in ours.attributes() {
                let _ = Attribute::decode(attribute.kind, attribute.value, ours.transaction());
            }
        }
    }
}
