//! Section G: Send, Data and peer datagrams (RFC 8656 §11), hairpin and own addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use turnpike::turn::{DropReason, Event, PeerAddr, ShardId, Transport};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, Setup};

const ANN: &str = "1.2.3.4:5000";

fn permitted(peers: &[&str]) -> (Lab, Client, SocketAddr) {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, peers), 0);
    (lab, ann, relayed)
}

#[test]
fn send_needs_a_peer_and_data_and_goes_out_from_the_relayed_address() {
    // T-8656-11.2-01
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    for ask in [
        Ask::indication(SEND, 1),
        Ask::indication(SEND, 1).peer("1.1.1.1:9"),
        Ask::indication(SEND, 1).with(DATA, b"x"),
    ] {
        assert_eq!(lab.silence(&ann.path, &ask.bare()), DropReason::IndicationIncomplete);
    }
    let Fate::ToPeer { relay, peer, payload, df } = lab.send(&ann, "1.1.1.1:9", b"hello") else {
        panic!("not relayed");
    };
    assert_eq!((relay, df), (lab.relay_at(relayed), false));
    assert_eq!((peer, payload), ("1.1.1.1:9".parse().unwrap(), b"hello".to_vec()));
}

#[test]
fn empty_data_is_an_empty_datagram() {
    // T-8656-11.2-02
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    assert_eq!(lab.send(&ann, "1.1.1.1:9", b"").to_peer().1, b"");
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:9", b"").data_indication().1, b"");
}

#[test]
fn send_without_a_permission_is_silent() {
    // T-8656-11.2-03
    let (mut lab, ann, _) = permitted(&["1.1.1.1"]);
    let send = lab.send_indication("1.1.1.2:9", b"x");
    assert_eq!(lab.silence(&ann.path, &send.bare()), DropReason::PermissionMissing);
    assert_eq!(lab.silence(&ann.path, &send.signed(&ann.credential)), DropReason::PermissionMissing);
}

#[test]
fn dont_fragment_is_passed_on_for_ipv4() {
    // T-8656-11.2-04
    for (family, peer, expected) in [(1, "1.1.1.1:9", true), (2, "[2a00::9]:9", false)] {
        let mut lab = Lab::new();
        let mut ann = Client::ann(ANN);
        let ask = lab.request(ALLOCATE).udp().family(family);
        lab.allocate_with(&mut ann, &ask);
        let ip = peer.parse::<SocketAddr>().unwrap().ip().to_string();
        assert_eq!(lab.permit(&ann, &[&ip]), 0);
        let send = lab.send_indication(peer, b"x").with(DONT_FRAGMENT, b"");
        let fate = lab.feed(&ann.path, &send.bare()).0;
        assert!(matches!(fate, Fate::ToPeer { df, .. } if df == expected));
    }
}

#[test]
fn new_policy_silences_what_an_older_one_permitted() {
    // T-8656-11.2-05, T-8656-12-02
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    let denying = Setup { deny: vec!["1.1.1.0/24"], ..lab.setup.clone() };
    lab.event(Event::Policy(Arc::new(denying.policy())));
    assert_eq!(lab.send(&ann, "1.1.1.1:9", b"x").dropped(), DropReason::PeerForbidden);
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::PeerForbidden);
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:9", b"x").dropped(), DropReason::PeerForbidden);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 403);
    let policy = lab.setup.policy();
    lab.event(Event::Policy(Arc::new(policy)));
    assert!(matches!(lab.send(&ann, "1.1.1.1:9", b"x"), Fate::ToPeer { .. }));
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
    assert!(matches!(lab.peer_sends(relayed, "1.1.1.1:9", b"x"), Fate::ToClient { .. }));
}

#[test]
fn peer_of_the_other_family_is_silent() {
    // T-8656-11.2-06
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    assert_eq!(lab.send(&ann, "[2a00::9]:9", b"x").dropped(), DropReason::FamilyMismatch);
    assert_eq!(lab.send(&ann, "[::ffff:1.1.1.1]:9", b"x").dropped(), DropReason::FamilyMismatch);
    assert_eq!(lab.peer_sends(relayed, "[::ffff:1.1.1.1]:9", b"x").dropped(), DropReason::PermissionMissing);
}

#[test]
fn peer_data_comes_as_a_data_indication_with_a_new_id_each_time() {
    // T-8656-11.3-01
    let (mut lab, _, relayed) = permitted(&["1.1.1.1"]);
    let first = lab.peer_sends(relayed, "1.1.1.1:9", b"one");
    let second = lab.peer_sends(relayed, "1.1.1.1:9", b"one");
    // `data_indication` asserts that XOR-PEER-ADDRESS and DATA are all there is.
    assert_eq!(first.data_indication(), ("1.1.1.1:9".parse().unwrap(), b"one".to_vec()));
    assert_ne!(Heard::read(&first.to_client()).tid, Heard::read(&second.to_client()).tid);
}

#[test]
fn channel_is_used_for_exactly_its_peer() {
    // T-8656-11.3-02, T-8656-12.5-01
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    assert_eq!(lab.bind(&ann, 0x4abc, "1.1.1.1:9"), 0);
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:9", b"hello").to_client(), channel_data(0x4abc, b"hello"));
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:10", b"hello").data_indication().0.port(), 10);
}

#[test]
fn payloads_of_every_size_pass_whole_or_are_dropped_by_name() {
    // T-8656-11.3-03
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut lab = Lab::new();
        let mut ann = Client::over(transport, ANN, "ann", "ann's password");
        let relayed = lab.allocate(&mut ann);
        assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
        for size in [0, 1, 2, 3, 4, 1200, 1472, 9000, 65_000, 65_507] {
            let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
            for peer in ["1.1.1.1:8", "1.1.1.1:9"] {
                match lab.peer_sends(relayed, peer, &payload) {
                    fate @ Fate::ToClient { .. } if peer.ends_with('8') => {
                        assert_eq!(fate.data_indication().1, payload);
                    }
                    fate @ Fate::ToClient { .. } => {
                        let bytes = fate.to_client();
                        assert_eq!(bytes[..4], channel_data(0x4000, &payload)[..4]);
                        assert_eq!(bytes[4..4 + size], payload);
                    }
                    fate => {
                        assert_eq!((fate.dropped(), size), (DropReason::PayloadTooLarge, 65_507));
                    }
                }
            }
            if size < 65_000 {
                assert_eq!(lab.send(&ann, "1.1.1.1:8", &payload).to_peer().1, payload);
            }
            assert_eq!(lab.send_on(&ann, 0x4000, &payload).to_peer().1, payload);
        }
    }
}

#[test]
fn data_goes_to_the_path_of_the_allocation_only() {
    // T-8656-11.3-04
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    let mut twin = Client::ann(ANN);
    twin.path.local = "9.0.0.2:3478".parse().unwrap();
    lab.allocate(&mut twin);
    let fate = lab.peer_sends(relayed, "1.1.1.1:9", b"x");
    assert!(matches!(fate, Fate::ToClient { client, .. } if client == ann.path));
    assert_eq!(lab.send(&twin, "1.1.1.1:9", b"x").dropped(), DropReason::PermissionMissing);
}

#[test]
fn error_of_a_relay_socket_loses_a_packet_and_nothing_else() {
    // T-8656-11.5-05
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1", "1.1.1.2"]);
    let relay = lab.relay_at(relayed);
    lab.event(Event::PeerError { relay });
    assert_eq!(lab.server.stats().peer_errors, 1);
    assert!(matches!(lab.send(&ann, "1.1.1.2:9", b"x"), Fate::ToPeer { .. }));
    assert!(matches!(lab.send(&ann, "1.1.1.1:9", b"x"), Fate::ToPeer { .. }));
}

#[test]
fn two_clients_of_one_shard_meet_under_both_their_permissions() {
    let mut lab = Lab::new();
    let (mut ann, mut bob) = (Client::ann(ANN), Client::bob("4.3.2.1:5000"));
    let (at_ann, at_bob) = (lab.allocate(&mut ann), lab.allocate(&mut bob));
    assert_eq!(lab.send(&ann, &at_bob.to_string(), b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.permit(&ann, &["9.0.0.1"]), 0);
    assert_eq!(lab.send(&ann, &at_bob.to_string(), b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.permit(&bob, &["9.0.0.1"]), 0);
    let met = lab.send(&ann, &at_bob.to_string(), b"hello");
    assert!(matches!(met, Fate::ToClient { client, .. } if client == bob.path));
    assert_eq!(met.data_indication(), (at_ann, b"hello".to_vec()));
    assert_eq!(lab.bind(&bob, 0x4000, &at_ann.to_string()), 0);
    assert_eq!(lab.send(&ann, &at_bob.to_string(), b"hello").to_client(), channel_data(0x4000, b"hello"));
    assert_eq!(lab.send_on(&bob, 0x4000, b"back").data_indication(), (at_bob, b"back".to_vec()));
}

#[test]
fn two_clients_of_different_shards_meet_through_the_receiving_one() {
    let mut lab = Lab::new();
    let mut beside = Lab::on(lab.setup.clone(), lab.shared.clone(), 1);
    let (mut ann, mut bob) = (Client::ann(ANN), Client::bob("4.3.2.1:5000"));
    let (at_ann, at_bob) = (lab.allocate(&mut ann), beside.allocate(&mut bob));
    assert_eq!(lab.permit(&ann, &["9.0.0.1"]), 0);
    let Fate::ToShard { shard, relay, from, payload } = lab.send(&ann, &at_bob.to_string(), b"hello") else {
        panic!("not to the other shard");
    };
    assert_eq!((shard, from), (ShardId(1), PeerAddr(at_ann)));
    let arrive = |beside: &mut Lab| Fate::from(beside.server.handle_peer(beside.now, relay, from, &payload));
    assert_eq!(arrive(&mut beside).dropped(), DropReason::PermissionMissing);
    assert_eq!(beside.permit(&bob, &["9.0.0.1"]), 0);
    assert_eq!(arrive(&mut beside).data_indication(), (at_ann, b"hello".to_vec()));
    assert!(beside.refresh(&bob, 0).is_success());
    assert_eq!(arrive(&mut beside).dropped(), DropReason::UnknownRelay);
}

#[test]
fn behind_a_1_to_1_nat_clients_meet_by_either_name_of_the_relay() {
    let mut lab = Lab::with(|setup| setup.external = Some("7.7.7.7"));
    let (mut ann, mut bob) = (Client::ann(ANN), Client::bob("4.3.2.1:5000"));
    let (at_ann, at_bob) = (lab.allocate(&mut ann), lab.allocate(&mut bob));
    assert_eq!(lab.permit(&ann, &["7.7.7.7"]), 0);
    assert_eq!(lab.permit(&bob, &["9.0.0.1"]), 0);
    for ip in ["7.7.7.7", "9.0.0.1"] {
        let met = lab.send(&ann, &format!("{ip}:{}", at_bob.port()), b"x");
        assert_eq!(met.data_indication(), (at_ann, b"x".to_vec()));
    }
}

#[test]
fn own_listeners_are_reached_by_no_means() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["9.0.0.1"]), 0);
    for port in [3478, 5349] {
        let own = format!("9.0.0.1:{port}");
        assert_eq!(lab.send(&ann, &own, b"x").dropped(), DropReason::OwnEndpoint);
        assert_eq!(lab.bind(&ann, 0x4000, &own), 403);
    }
    assert_eq!(lab.bind(&ann, 0x4000, "127.0.0.1:8080"), 403);
}

#[test]
fn relay_that_is_gone_is_reached_as_any_other_port() {
    let mut lab = Lab::with(|setup| setup.deny = vec!["9.0.0.1/32"]);
    let (mut ann, mut bob) = (Client::ann(ANN), Client::bob("4.3.2.1:5000"));
    lab.allocate(&mut ann);
    let at_bob = lab.allocate(&mut bob).to_string();
    assert_eq!(lab.permit(&bob, &["9.0.0.1"]), 0);
    assert_eq!(lab.bind(&ann, 0x4000, &at_bob), 0);
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToClient { .. }));
    assert!(lab.refresh(&bob, 0).is_success());
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::OwnEndpoint);
    assert_eq!(lab.send(&ann, &at_bob, b"x").dropped(), DropReason::OwnEndpoint);
    assert_eq!(lab.bind(&ann, 0x4001, "9.0.0.1:50000"), 403);
}

#[test]
fn endpoint_on_another_host_is_reached_by_no_means() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["5.5.5.5"]), 0);
    assert_eq!(lab.bind(&ann, 0x4000, "5.5.5.5:6379"), 403);
    assert_eq!(lab.send(&ann, "5.5.5.5:6379", b"x").dropped(), DropReason::OwnEndpoint);
    assert!(matches!(lab.send(&ann, "5.5.5.5:6380", b"x"), Fate::ToPeer { .. }));
}

#[test]
fn message_that_no_datagram_holds_is_dropped_by_name() {
    // T-8656-11.3-03
    let (mut lab, ann, relayed) = permitted(&["1.1.1.1"]);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    for (peer, head) in [("1.1.1.1:9", 4), ("1.1.1.1:8", 36)] {
        let most = 65_507 - head;
        let padded = if head == 36 { most / 4 * 4 } else { most };
        assert!(matches!(lab.peer_sends(relayed, peer, &vec![0; padded]), Fate::ToClient { .. }));
        let over = lab.peer_sends(relayed, peer, &vec![0; most + 1]);
        assert_eq!(over.dropped(), DropReason::PayloadTooLarge);
    }
}
