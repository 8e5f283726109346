//! The published messages of RFC 5769 and RFC 8489 B.1, read, verified and built again.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "script/wire.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod wire;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use sha2::{Digest, Sha256};
use turnpike::auth::LongTermKey;
use turnpike::stun::{Attribute, AttributeType, Builder, Class, Message, Method, ParseError, TransactionId};

const SHORT_TERM: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const NAME: &str = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
const FIRST_ID: TransactionId =
    TransactionId([0xb7, 0xe7, 0xa7, 1, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
const SECOND_ID: TransactionId =
    TransactionId([0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e]);

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Builds a message of raw attributes.
fn built(class: Class, id: TransactionId, body: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut builder = Builder::new(&mut buffer, class, Method::BINDING, id);
    body(&mut builder);
    let size = builder.finish().unwrap();
    buffer[..size].to_vec()
}

#[test]
fn sample_request_of_rfc_5769_verifies() {
    // T-5769-2-01: its padding is not zero, so it is not rebuilt byte for byte.
    let bytes = vector("rfc5769-2.1-request");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.transaction(), FIRST_ID);
    assert_eq!(message.value(AttributeType::USERNAME), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.value(AttributeType::SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(message.value(AttributeType(0x0024)), Some(&[0x6e, 0, 1, 0xff][..]));
    assert!(message.fingerprint_holds() && message.has_fingerprint());
    assert!(message.verifies(SHORT_TERM));
    assert!(!message.verifies(b"VOkJxbRl1RmTxUk/WvJxBT"));
}

#[test]
fn sample_responses_of_rfc_5769_verify_and_are_rebuilt() {
    // T-5769-2-01
    let mapped = ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"];
    for (name, mapped) in ["rfc5769-2.2-ipv4-response", "rfc5769-2.3-ipv6-response"].into_iter().zip(mapped) {
        let bytes = vector(name);
        let mapped: SocketAddr = mapped.parse().unwrap();
        let message = Message::parse(&bytes).unwrap();
        let found = message.attribute(AttributeType::XOR_MAPPED_ADDRESS);
        assert_eq!(found, Ok(Some(Attribute::XorMappedAddress(mapped))));
        assert!(message.fingerprint_holds() && message.verifies(SHORT_TERM));
        // The vector's padding of SOFTWARE is a space, which its integrity covers.
        let mut again = built(Class::Success, FIRST_ID, |builder| {
            builder.raw(AttributeType::SOFTWARE, b"test vector").xor_mapped(mapped);
        });
        again[35] = b' ';
        wire::seal(&mut again, wire::MI, 20, |covered| wire::sha1(SHORT_TERM, covered));
        wire::seal(&mut again, wire::FINGERPRINT, 4, |covered| {
            (crc32fast::hash(covered) ^ 0x5354_554e).to_be_bytes().to_vec()
        });
        assert_eq!(again, bytes);
    }
}

#[test]
fn long_term_request_of_rfc_5769_verifies_and_is_rebuilt() {
    // T-5769-2-01, T-8489-9.2.2-02
    let bytes = vector("rfc5769-2.4-long-term-request");
    let message = Message::parse(&bytes).unwrap();
    let key = LongTermKey::derive(NAME, "example.org", "TheMatrIX").unwrap();
    assert!(message.verifies(key.as_bytes()) && !message.has_fingerprint());
    assert_eq!(message.value(AttributeType::USERNAME), Some(NAME.as_bytes()));
    let again = built(Class::Request, SECOND_ID, |builder| {
        builder
            .attribute(&Attribute::Username(NAME.as_bytes()))
            .attribute(&Attribute::Nonce(b"f//499k954d6OL34oL9FSTvy64sA"))
            .attribute(&Attribute::Realm(b"example.org"))
            .integrity(key.as_bytes());
    });
    assert_eq!(again, bytes);
}

#[test]
fn sha256_request_of_rfc_8489_has_the_wrong_length_and_the_right_hashes() {
    // T-8489-B.1-01: the printed header says 20 bytes too many (it counts itself), and the printed integrity covers
    // that length.
    let printed = vector("rfc8489-b.1-request");
    assert_eq!(printed[2..4], [0, 0x9c]);
    assert_eq!(Message::parse(&printed).err(), Some(ParseError::BadLength));
    let key: [u8; 32] = Sha256::digest(format!("{NAME}:example.org:TheMatrIX")).into();
    assert_eq!(wire::sha256(&key, &printed[..printed.len() - 36]), printed[printed.len() - 32..]);
    // With the length as it should be, it is read, built and verified as any other.
    let userhash: [u8; 32] = Sha256::digest(format!("{NAME}:example.org")).into();
    let fixed = built(Class::Request, SECOND_ID, |builder| {
        builder
            .attribute(&Attribute::Userhash(userhash))
            .attribute(&Attribute::Nonce(b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"))
            .attribute(&Attribute::Realm(b"example.org"))
            .integrity_sha256(&key);
    });
    assert_eq!(fixed[..2], printed[..2]);
    assert_eq!(fixed[2..4], [0, 0x88]);
    assert_eq!(fixed[4..fixed.len() - 32], printed[4..printed.len() - 32]);
    assert!(Message::parse(&fixed).unwrap().verifies(&key));
}

#[test]
fn any_altered_bit_of_a_vector_is_noticed() {
    for (name, key) in [("rfc5769-2.1-request", SHORT_TERM), ("rfc5769-2.2-ipv4-response", SHORT_TERM)] {
        let bytes = vector(name);
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let accepted = Message::parse(&altered).is_ok_and(|message| {
                message.verifies(key) && message.has_fingerprint() && message.fingerprint_holds()
            });
            assert!(!accepted, "{name}, bit {bit}");
        }
    }
}
