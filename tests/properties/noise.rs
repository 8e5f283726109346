//! Bytes of any kind: no panic, no state, nothing relayed that is not a message.

use proptest::prelude::*;
use turnpike::stun::{Attribute, AttributeType, ChannelData, Frame, Message, TransactionId, next_frame};
use turnpike::turn::{PeerAddr, RelayId, Transport};

use crate::cases::cases;
use crate::script::wire::*;
use crate::script::{Client, Fate, Lab};

const REGRESSIONS: &str = "tests/regressions/noise.txt";

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), prop::collection::vec(any::<u8>(), 0..2000)]
}

/// Bytes behind the header of a message that a server takes.
fn headed() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![0x0001_u16, 0x0003, 0x0004, 0x0008, 0x0009, 0x0016, 0x0017]);
    (kind, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, mut body)| {
        body.truncate(body.len() / 4 * 4);
        let mut bytes = Ask { kind, ..Ask::request(BINDING, 1) }.bare();
        bytes.extend(body);
        set_length(&mut bytes, 0);
        bytes
    })
}

/// Attributes, a method, and where to flip which bits.
type Bent = (Vec<(u16, Vec<u8>)>, u8, Option<(prop::sample::Index, u8)>);

/// Messages of known attributes with values of any size, signed or not, then bent in one place.
fn bent() -> impl Strategy<Value = Bent> {
    let known = prop::sample::select(AttributeType::KNOWN.iter().map(|kind| kind.0).collect::<Vec<_>>());
    let attribute = (known, prop::collection::vec(any::<u8>(), 0..24));
    (
        prop::collection::vec(attribute, 0..8),
        any::<u8>(),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    )
}

fn two_clients() -> (Lab, [Client; 2]) {
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let mut udp = Client::ann("1.2.3.4:5000");
    let mut tcp = Client::over(Transport::Tcp, "1.2.3.4:5001", "ann", "ann's password");
    for client in [&mut udp, &mut tcp] {
        lab.allocate(client);
        assert_eq!(lab.permit(client, &["1.1.1.1"]), 0);
        assert_eq!(lab.bind(client, 0x4000, "1.1.1.1:9"), 0);
    }
    (lab, [udp, tcp])
}

proptest! {
    #![proptest_config(cases(400, REGRESSIONS))]

    #[test]
    fn readers_take_any_bytes(bytes in noise(), headed in headed(), kind in any::<u16>()) {
        for bytes in [&bytes, &headed] {
            if let Ok(message) = Message::parse(bytes) {
                let _ = (message.class(), message.method(), message.verifies(b"key"), message.fingerprint_holds());
                for raw in message.attributes() {
                    let _ = Attribute::decode(raw.kind, raw.value, message.transaction());
                }
            }
            let _ = ChannelData::parse(bytes);
            for known in AttributeType::KNOWN.iter().copied().chain([AttributeType(kind)]) {
                let _ = Attribute::decode(known, bytes, TransactionId([3; 12]));
            }
        }
    }

    #[test]
    fn frames_never_run_past_what_they_promise(bytes in noise()) {
        match next_frame(&bytes) {
            Frame::Whole { len, total } => prop_assert!(len <= total && total <= bytes.len() && total > 0),
            Frame::Partial { total } => prop_assert!(total > bytes.len() && total <= 20 + 0xffff),
            Frame::OutOfStep => {}
        }
    }

    #[test]
    fn servers_take_any_bytes_and_change_nothing(noise in noise(), headed in headed()) {
        let (mut lab, clients) = two_clients();
        let ids: Vec<_> = lab.server.allocations().map(|view| view.id).collect();
        let before: Vec<_> = ids.iter().map(|id| lab.server.export(*id)).collect();
        let stranger = Client::ann("5.6.7.8:1");
        for path in [clients[0].path, clients[1].path, stranger.path] {
            for bytes in [&noise, &headed] {
                let (fate, _) = lab.feed(&path, bytes);
                let is_channel = bytes.starts_with(&[0x40, 0]) && path != stranger.path;
                let is_send = bytes.starts_with(&[0, 0x16]);
                prop_assert!(matches!(fate, Fate::Queued | Fate::Dropped(_)) || is_channel || is_send);
            }
        }
        let relay = *lab.open.keys().next().unwrap();
        for relay in [relay, RelayId { slot: u32::MAX, generation: 1 }, RelayId { generation: u32::MAX, ..relay }] {
            for peer in ["1.1.1.1:9", "1.1.1.1:0", "[::]:0", "255.255.255.255:65535"] {
                lab.server.handle_peer(lab.now, relay, PeerAddr(peer.parse().unwrap()), &noise);
            }
        }
        for (id, mut before) in ids.into_iter().zip(before) {
            let mut after = lab.server.export(id);
            after.iter_mut().chain(&mut before).for_each(|state| state.relayed = (0, 0));
            prop_assert_eq!(after, before);
        }
        prop_assert_eq!(lab.server.allocations().count(), 2);
    }

    #[test]
    fn signed_requests_of_any_attributes_are_each_answered_once((attributes, method, bend) in bent()) {
        let (mut lab, clients) = two_clients();
        let method = [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, SEND][usize::from(method) % 6];
        for client in clients {
            let ask = if method == SEND { Ask::indication(SEND, 9) } else { Ask::request(method, 9) };
            let ask = attributes.iter().fold(ask, |ask, (kind, value)| ask.with(*kind, value));
            let mut bytes = ask.signed(&client.credential);
            if let Some((at, by)) = &bend {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            let (fate, answers) = lab.feed(&client.path, &bytes);
            prop_assert_eq!(answers.len(), usize::from(fate == Fate::Queued));
            answers.iter().for_each(|(_, bytes)| assert!(Heard::read(bytes).bytes.len() < 548));
        }
        lab.advance(crate::script::secs(4000));
        lab.assert_nothing_is_left();
    }
}
