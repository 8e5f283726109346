//! Section H: channels (RFC 8656 §12).

use std::net::SocketAddr;

use turnpike::turn::{DropReason, Transport};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, secs};

const ANN: &str = "1.2.3.4:5000";
const PEER_A: &str = "1.1.1.1:9";

fn with_allocation() -> (Lab, Client, SocketAddr) {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().lifetime(3600);
    let relayed = lab.allocate_with(&mut ann, &ask);
    (lab, ann, relayed)
}

#[test]
fn number_and_peer_are_needed() {
    // T-8656-12.2-01
    let (mut lab, ann, _) = with_allocation();
    for ask in [
        lab.request(CHANNEL_BIND),
        lab.request(CHANNEL_BIND).channel(0x4000),
        lab.request(CHANNEL_BIND).peer(PEER_A),
    ] {
        assert_eq!(lab.ask(&ann, &ask).code(), 400);
    }
}

#[test]
fn numbers_from_4000_to_7fff_are_taken_and_no_others() {
    // T-8656-12.2-02 as far as it goes: numbers of RFC 5766 are bound too (docs/decisions.md).
    let (mut lab, ann, _) = with_allocation();
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(lab.bind(&ann, number, PEER_A), 400, "{number:#x}");
    }
    for (number, port) in [(0x4000, 1), (0x4fff, 2), (0x5000, 3), (0x7ffe, 4), (0x7fff, 5)] {
        assert_eq!(lab.bind(&ann, number, &format!("1.1.1.1:{port}")), 0, "{number:#x}");
        assert_eq!(lab.send_on(&ann, number, b"x").to_peer().0.port(), port);
    }
}

#[test]
fn number_and_peer_belong_together_until_they_expire() {
    // T-8656-12.2-03, T-8656-12.2-04
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    for (number, peer) in [(0x4000, "1.1.1.2:9"), (0x4000, "1.1.1.1:10"), (0x4001, PEER_A)] {
        assert_eq!(lab.bind(&ann, number, peer), 400);
    }
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").to_peer().0, PEER_A.parse().unwrap());
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
    assert_eq!(lab.send_on(&ann, 0x4001, b"x").dropped(), DropReason::ChannelUnbound);
}

#[test]
fn binding_again_restarts_channel_and_permission() {
    // T-8656-12.2-05, T-8656-12.2-07
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::ToPeer { .. }));
    lab.advance(secs(500));
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    lab.advance(secs(299));
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
    lab.advance(secs(300));
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
    lab.advance(secs(1));
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
}

#[test]
fn wrong_family_forbidden_peer_and_full_table_have_their_codes() {
    // T-8656-12.2-06
    let mut lab = Lab::with(|setup| setup.limits.max_channels = 1);
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.bind(&ann, 0x4000, "[2a00::9]:9"), 443);
    assert_eq!(lab.bind(&ann, 0x4000, "10.0.0.1:9"), 403);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:0"), 403);
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    assert_eq!(lab.bind(&ann, 0x4001, "1.1.1.2:9"), 508);
    assert_eq!(lab.send(&ann, "1.1.1.2:9", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
}

#[test]
fn binding_holds_for_600_seconds_and_then_data_comes_as_indications() {
    // T-8656-12-01
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    lab.advance(secs(290));
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    lab.advance(secs(290));
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    lab.pass(secs(19));
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
    lab.pass(secs(1));
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").data_indication().1, b"x");
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
}

#[test]
fn expired_permission_stops_the_peer_and_not_the_channel() {
    // T-8656-12-02
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    lab.advance(secs(300));
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").dropped(), DropReason::PermissionMissing);
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
}

#[test]
fn expired_binding_leaves_no_stale_route() {
    // T-8656-12-03
    for settled in [true, false] {
        let (mut lab, ann, relayed) = with_allocation();
        assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
        assert_eq!(lab.bind(&ann, 0x4001, "1.1.1.2:9"), 0);
        lab.pass(secs(600));
        if settled {
            lab.settle();
        }
        assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.2:9"), 0);
        assert_eq!(lab.bind(&ann, 0x4001, PEER_A), 0);
        assert_eq!(lab.send_on(&ann, 0x4000, b"x").to_peer().0, "1.1.1.2:9".parse().unwrap());
        assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4001, b"x"));
        assert_eq!(lab.peer_sends(relayed, "1.1.1.2:9", b"x").to_client(), channel_data(0x4000, b"x"));
    }
}

#[test]
fn channels_of_two_allocations_are_their_own() {
    // T-8656-12-04
    let (mut lab, ann, at_ann) = with_allocation();
    let mut bob = Client::bob("4.3.2.1:5000");
    let at_bob = lab.allocate(&mut bob);
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    assert_eq!(lab.send_on(&bob, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
    assert_eq!(lab.bind(&bob, 0x4000, "1.1.1.2:9"), 0);
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").to_peer().0, PEER_A.parse().unwrap());
    assert_eq!(lab.send_on(&bob, 0x4000, b"x").to_peer().0, "1.1.1.2:9".parse().unwrap());
    assert_eq!(lab.peer_sends(at_bob, PEER_A, b"x").dropped(), DropReason::PermissionMissing);
    assert!(lab.refresh(&bob, 0).is_success());
    assert_eq!(lab.peer_sends(at_ann, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
}

#[test]
fn reserved_bytes_of_the_number_are_ignored() {
    // T-8656-18.1-01
    let (mut lab, ann, _) = with_allocation();
    let ask = lab.request(CHANNEL_BIND).with(CHANNEL, [0x40, 0, 0xff, 0xff]).peer(PEER_A);
    assert!(lab.ask(&ann, &ask).is_success());
}

#[test]
fn stream_clients_get_padded_channel_data() {
    // T-8656-12.5-02
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut lab = Lab::new();
        let mut ann = Client::over(transport, ANN, "ann", "ann's password");
        let relayed = lab.allocate(&mut ann);
        assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
        for size in 0..=8 {
            let mut expected = channel_data(0x4000, &vec![0xaa; size]);
            expected.resize(expected.len().next_multiple_of(4), 0);
            assert_eq!(lab.peer_sends(relayed, PEER_A, &vec![0xaa; size]).to_client(), expected);
        }
    }
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    assert_eq!(lab.peer_sends(relayed, PEER_A, b"x").to_client(), channel_data(0x4000, b"x"));
}

#[test]
fn datagram_shorter_than_its_length_is_silent_and_what_is_behind_it_is_left() {
    // T-8656-12.6-02, T-8656-12.6-05
    let (mut lab, ann, _) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    for cut in 0..8 {
        let bytes = &channel_data(0x4000, b"hello")[..cut + 1];
        assert_eq!(lab.silence(&ann.path, bytes), DropReason::ChannelDataTruncated);
    }
    let padded = [channel_data(0x4000, b"hello"), vec![1, 2, 3]].concat();
    assert_eq!(lab.feed(&ann.path, &padded).0.to_peer().1, b"hello");
    assert_eq!(lab.send_on(&ann, 0x4000, b"").to_peer().1, b"");
}

#[test]
fn numbers_that_are_not_bound_are_silent() {
    // T-8656-12.6-03
    let (mut lab, ann, _) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    assert_eq!(lab.send_on(&ann, 0x4001, b"x").dropped(), DropReason::ChannelUnbound);
    for number in [0x5000, 0x7fff] {
        assert_eq!(lab.send_on(&ann, number, b"x").dropped(), DropReason::ChannelUnbound);
    }
    for number in [0x8000, 0xffff] {
        assert_eq!(lab.send_on(&ann, number, b"x").dropped(), DropReason::NotStun);
    }
}

#[test]
fn channel_data_extends_neither_channel_nor_permission() {
    // T-8656-12.6-04
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, PEER_A), 0);
    for second in 1..600 {
        lab.advance(secs(1));
        assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
        let back = lab.peer_sends(relayed, PEER_A, b"x");
        assert_eq!(matches!(back, Fate::ToClient { .. }), second < 300, "{second}");
    }
    lab.advance(secs(1));
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
}

#[test]
fn longest_length_fields_keep_a_stream_in_step() {
    // T-8656-12.6-06
    use turnpike::stun::{Frame, next_frame};
    for length in 0xfffd..=0xffff_usize {
        let mut bytes = channel_data(0x4000, &vec![7; length]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let total = bytes.len();
        bytes.extend(Ask::request(BINDING, 1).bare());
        assert_eq!(next_frame(&bytes[..total - 1]), Frame::Partial { total });
        assert_eq!(next_frame(&bytes), Frame::Whole { len: 4 + length, total });
        assert_eq!(next_frame(&bytes[total..]), Frame::Whole { len: 20, total: 20 });
    }
}
