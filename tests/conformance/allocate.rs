//! Section D: Allocate (RFC 8656 §5 to §7), but for its ports.

use turnpike::turn::{Change, DropReason, EndReason, Event, Route, Transport};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, RELAY_V4, RELAY_V6, secs};

const ANN: &str = "1.2.3.4:5000";

#[test]
fn every_client_transport_allocates_and_relays_alike() {
    // T-8656-5-04
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut lab = Lab::new();
        let mut ann = Client::over(transport, ANN, "ann", "ann's password");
        let relayed = lab.allocate(&mut ann);
        assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
        assert_eq!(lab.send(&ann, "1.1.1.1:9", b"out").to_peer().1, b"out");
        assert_eq!(lab.peer_sends(relayed, "1.1.1.1:9", b"in").data_indication().1, b"in");
        assert!(lab.refresh(&ann, 0).is_success());
        lab.assert_nothing_is_left();
    }
}

#[test]
fn without_an_allocation_requests_are_437_and_data_is_silent() {
    // T-8656-5-05, T-8656-5-06
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        let ask = lab.request(method);
        assert_eq!(lab.answer(&ann.path, &ask.bare()).code(), 401);
        assert_eq!(lab.ask(&ann, &ask).code(), 437);
    }
    assert_eq!(lab.send(&ann, "1.1.1.1:9", b"x"), Fate::Dropped(DropReason::UnknownClient));
    assert_eq!(lab.send_on(&ann, 0x4000, b"x"), Fate::Dropped(DropReason::UnknownClient));
}

#[test]
fn second_allocate_on_a_path_is_437_whatever_else_is_wrong_with_it() {
    // T-8656-7.2-02, T-8656-7.2-08
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    for ask in [lab.request(ALLOCATE).udp(), lab.request(ALLOCATE), lab.request(ALLOCATE).udp().lifetime(0)] {
        assert_eq!(lab.ask(&ann, &ask).code(), 437);
    }
    assert_eq!(lab.open.len(), 1);
}

#[test]
fn retransmitted_allocate_gets_the_same_answer_and_takes_nothing_more() {
    // T-8656-7.2-03
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let bytes = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x80]).lifetime(1200).signed(&ann.credential);
    let first = lab.answer(&ann.path, &bytes);
    assert!(first.has(TOKEN));
    lab.advance(secs(5));
    assert_eq!(lab.answer(&ann.path, &bytes), first);
    assert_eq!((lab.open.len(), lab.parked.len(), lab.shared.allocations()), (1, 1, 1));
}

#[test]
fn retransmission_while_the_socket_is_being_opened_is_silent() {
    // T-8656-7.2-03
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let bytes = lab.request(ALLOCATE).udp().signed(&ann.credential);
    assert_eq!(Fate::from(lab.server.handle_client(lab.now, ann.path, &bytes)), Fate::Queued);
    let again = Fate::from(lab.server.handle_client(lab.now, ann.path, &bytes));
    assert_eq!(again, Fate::Dropped(DropReason::RequestPending));
    assert_eq!(lab.drain().len(), 1);
    assert_eq!(lab.open.len(), 1);
}

#[test]
fn requested_transport_is_needed_and_must_be_udp() {
    // T-8656-7.2-05, T-8656-7.2-06, T-8656-7.2-07
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let bare = lab.request(ALLOCATE);
    assert_eq!(lab.ask(&ann, &bare).code(), 400);
    for size in [0, 1, 3, 5, 8] {
        let ask = lab.request(ALLOCATE).with(TRANSPORT, vec![17; size]);
        assert_eq!(lab.ask(&ann, &ask).code(), 400);
    }
    for protocol in (0..=255).filter(|protocol| *protocol != 17) {
        let ask = lab.request(ALLOCATE).with(TRANSPORT, [protocol, 0, 0, 0]);
        assert_eq!(lab.ask(&ann, &ask).code(), 442);
    }
    let reserved = lab.request(ALLOCATE).with(TRANSPORT, [17, 0xff, 0xff, 0xff]);
    assert!(lab.ask(&ann, &reserved).is_success());
}

#[test]
fn dont_fragment_is_accepted_in_allocate() {
    // T-8656-7.2-09
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp().with(DONT_FRAGMENT, b"");
    assert!(lab.ask(&ann, &ask).is_success());
}

#[test]
fn contradicting_attributes_are_400() {
    // T-8656-7.2-10, T-8656-7.2-12, T-8656-7.2-16
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let base = |lab: &mut Lab| lab.request(ALLOCATE).udp();
    for ask in [
        base(&mut lab).with(TOKEN, [1; 8]).with(EVEN_PORT, [0]),
        base(&mut lab).with(TOKEN, [1; 8]).family(1),
        base(&mut lab).with(TOKEN, [1; 8]).with(SECOND_FAMILY, [2, 0, 0, 0]),
        base(&mut lab).family(1).with(SECOND_FAMILY, [2, 0, 0, 0]),
        base(&mut lab).with(EVEN_PORT, [0x80]).with(SECOND_FAMILY, [2, 0, 0, 0]),
    ] {
        assert_eq!(lab.ask(&ann, &ask).code(), 400, "{ask:02x?}");
    }
    lab.assert_nothing_is_left();
}

#[test]
fn family_that_is_not_offered_is_440() {
    // T-8656-7.2-13, T-8656-7.2-14
    let mut lab = Lab::with(|setup| setup.families = (true, false));
    let ann = lab.logged_in(Client::ann(ANN));
    for family in [0, 2, 3, 255] {
        let ask = lab.request(ALLOCATE).udp().family(family);
        assert_eq!(lab.ask(&ann, &ask).code(), 440);
    }
    let mut lab = Lab::with(|setup| setup.families = (false, true));
    let ann = lab.logged_in(Client::ann("[2a00::1]:5000"));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&ann, &ask).code(), 440);
    let ask = lab.request(ALLOCATE).udp().family(2);
    assert!(lab.ask(&ann, &ask).is_success());
}

#[test]
fn relay_family_is_the_one_asked_for_and_not_the_clients() {
    // T-8656-7.2-14, T-8656-7.2-15
    for (remote, family, relay) in [
        ("[2a00::1]:5000", None, RELAY_V4),
        ("[2a00::1]:5000", Some([1, 9, 9, 9]), RELAY_V4),
        ("1.2.3.4:5000", Some([2, 9, 9, 9]), RELAY_V6),
        ("1.2.3.4:5000", None, RELAY_V4),
    ] {
        let mut lab = Lab::new();
        let ask = lab.request(ALLOCATE).udp();
        let ask = family.into_iter().fold(ask, |ask, family| ask.with(FAMILY, family));
        let relayed = lab.allocate_with(&mut Client::ann(remote), &ask);
        assert_eq!(relayed.ip().to_string(), relay);
    }
}

#[test]
fn second_family_is_named_as_not_had_and_the_first_is_made() {
    // T-8656-7.2-24, T-8656-18.12-01
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp().with(SECOND_FAMILY, [2, 0, 0, 0]);
    let heard = lab.ask(&ann, &ask);
    assert!(heard.address(RELAYED).is_ipv4());
    let error = heard.value(ADDRESS_ERROR);
    assert_eq!(error[..4], [2, 0, 4, 40]);
    assert!(std::str::from_utf8(&error[4..]).unwrap().chars().count() < 128);
}

#[test]
fn user_quota_counts_by_name_over_all_addresses() {
    // T-8656-7.2-25
    let mut lab = Lab::with(|setup| setup.quotas.allocations_per_user = 2);
    let mut first = Client::ann("1.2.3.4:1");
    lab.allocate(&mut first);
    lab.allocate(&mut Client::ann("5.6.7.8:1"));
    let third = lab.logged_in(Client::ann("9.9.9.9:1"));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&third, &ask).code(), 486);
    lab.allocate(&mut Client::bob("1.2.3.4:2"));
    assert!(lab.refresh(&first, 0).is_success());
    assert!(lab.ask(&third, &ask).is_success());
    // An expiring credential counts by its subject, whatever its expiry.
    lab.allocate(&mut Client::minted("1.1.1.1:1", "carol", 600));
    lab.allocate(&mut Client::minted("1.1.1.1:2", "carol", 700));
    let third = lab.logged_in(Client::minted("1.1.1.1:3", "carol", 800));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&third, &ask).code(), 486);
}

#[test]
fn address_and_total_quotas_have_their_own_codes() {
    // T-8656-7.2-25, T-8656-7.2-28
    let mut lab = Lab::with(|setup| {
        setup.quotas.allocations_per_address = 1;
        setup.quotas.allocations = 2;
    });
    lab.allocate(&mut Client::ann("[2a00::1]:1"));
    let neighbor = lab.logged_in(Client::bob("[2a00::2]:1"));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&neighbor, &ask).code(), 486);
    let mut second = Client::bob("1.1.1.1:1");
    lab.allocate(&mut second);
    let third = lab.logged_in(Client::bob("1.1.1.2:1"));
    assert_eq!(lab.ask(&third, &ask).code(), 508);
    assert!(lab.refresh(&second, 0).is_success());
    assert!(lab.ask(&third, &ask).is_success());
}

#[test]
fn lifetime_lies_between_default_and_maximum() {
    // T-8656-7.2-29
    for (asked, granted) in [
        (None, 600),
        (Some(0), 600),
        (Some(1), 600),
        (Some(599), 600),
        (Some(1200), 1200),
        (Some(3600), 3600),
        (Some(3601), 3600),
        (Some(u32::MAX), 3600),
    ] {
        let mut lab = Lab::new();
        let ann = lab.logged_in(Client::ann(ANN));
        let ask = lab.request(ALLOCATE).udp();
        let ask = asked.into_iter().fold(ask, Ask::lifetime);
        assert_eq!(lab.ask(&ann, &ask).lifetime(), granted, "{asked:?}");
    }
}

#[test]
fn success_tells_relayed_address_lifetime_and_source() {
    // T-8656-7.2-30
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp();
    let heard = lab.ask(&ann, &ask);
    assert_eq!(heard.kinds(), [RELAYED, LIFETIME, XOR_MAPPED, MI]);
    assert_eq!(heard.address(XOR_MAPPED), ANN.parse().unwrap());
}

#[test]
fn external_address_is_advertised_and_the_local_one_bound() {
    // T-8656-7.2-31
    let mut lab = Lab::with(|setup| setup.external = Some("7.7.7.7"));
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp();
    let heard = lab.ask(&ann, &ask);
    assert_eq!(heard.address(RELAYED).ip().to_string(), "7.7.7.7");
    assert_eq!(heard.address(XOR_MAPPED), ANN.parse().unwrap());
    assert_eq!(lab.asked[0].0.local.ip().to_string(), RELAY_V4);
    assert_eq!(lab.asked[0].0.local.port(), heard.address(RELAYED).port());
}

#[test]
fn new_allocation_lets_nothing_through_either_way() {
    // T-8656-7.2-32
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:9", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.send(&ann, "1.1.1.1:9", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
}

#[test]
fn allocation_ends_to_the_second_and_leaves_nothing() {
    // T-8656-6-03
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.2:1"), 0);
    lab.advance(secs(299));
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    lab.advance(secs(300));
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::Dropped(DropReason::PermissionMissing)));
    let relay = lab.relay_at(relayed);
    lab.pass(secs(1));
    // Without a timeout call first, packets know it already.
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::UnknownClient);
    let late =
        lab.server.handle_peer(lab.now, relay, turnpike::turn::PeerAddr("1.1.1.1:9".parse().unwrap()), b"x");
    assert_eq!(Fate::from(late).dropped(), DropReason::UnknownRelay);
    assert_eq!(lab.refresh(&ann, 600).code(), 437);
    lab.settle();
    lab.assert_nothing_is_left();
    assert_eq!(lab.refresh(&ann, 600).code(), 437);
}

#[test]
fn due_allocation_makes_way_for_a_new_one_on_its_path() {
    // T-8656-6-03
    let mut lab = Lab::with(|setup| setup.quotas.allocations_per_user = 1);
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    lab.pass(secs(600));
    let ask = lab.request(ALLOCATE).udp();
    assert!(lab.ask(&ann, &ask).is_success());
    assert_eq!((lab.open.len(), lab.shared.allocations()), (1, 1));
    lab.advance(secs(599));
    assert_eq!(lab.server.allocations().count(), 1);
    lab.advance(secs(1));
    lab.assert_nothing_is_left();
}

#[test]
fn data_does_not_extend_an_allocation() {
    // T-8656-6-04
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    for _ in 0..599 {
        lab.advance(secs(1));
        assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
        assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::ToPeer { .. }));
        lab.peer_sends(relayed, "1.1.1.1:1", b"x").data_indication();
    }
    lab.advance(secs(1));
    lab.assert_nothing_is_left();
}

#[test]
fn closed_stream_ends_its_allocation_at_once() {
    // T-8656-6-05
    let mut lab = Lab::new();
    let mut ann = Client::over(Transport::Tls, ANN, "ann", "ann's password");
    lab.allocate(&mut ann);
    lab.event(Event::ClientClosed(ann.path));
    lab.assert_nothing_is_left();
    lab.event(Event::ClientClosed(ann.path));
}

#[test]
fn bit_rate_of_an_allocation_drops_data_and_still_answers_control() {
    // T-8656-5-08
    let mut lab = Lab::with(|setup| setup.limits.bitrate_per_allocation = 8_000);
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    let through = (0..100).filter(|_| matches!(lab.send(&ann, "1.1.1.1:1", &[0; 1000]), Fate::ToPeer { .. }));
    assert_eq!(through.count(), 65);
    assert_eq!(lab.send(&ann, "1.1.1.1:1", &[0; 1000]).dropped(), DropReason::OverAllocationBitrate);
    assert!(lab.refresh(&ann, 600).is_success());
    lab.advance(secs(1));
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", &[0; 1000]), Fate::ToPeer { .. }));
}

#[test]
fn tunnel_addresses_get_no_allocation_and_no_channel() {
    // T-8656-21.4-01
    let mut lab = Lab::new();
    for remote in ["[2002:102:304::1]:5000", "[2001::1]:5000"] {
        let ann = lab.logged_in(Client::ann(remote));
        let ask = lab.request(ALLOCATE).udp();
        assert_eq!(lab.ask(&ann, &ask).code(), 403);
    }
    lab.assert_nothing_is_left();
    let mut ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().family(2);
    lab.allocate_with(&mut ann, &ask);
    for peer in ["2002:102:304::1", "2001::1"] {
        assert_eq!(lab.bind(&ann, 0x4000, &format!("[{peer}]:9")), 403);
        assert_eq!(lab.permit(&ann, &[peer]), 403);
    }
}

#[test]
fn feed_of_changes_tells_user_addresses_and_peers_of_an_allocation() {
    // T-8656-21.3-01
    let mut lab = Lab::new();
    lab.server.subscribe(true);
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    let id = lab.only_allocation();
    assert_eq!(lab.server.allocations().next().unwrap().subject, "ann");
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.2:1"), 0);
    assert!(lab.refresh(&ann, 0).is_success());
    let changes: Vec<Change> = std::iter::from_fn(|| lab.server.poll_change()).collect();
    assert!(matches!(&changes[0], Change::Allocated { client, relay, .. }
        if *client == ann.path && relay.advertised == relayed));
    let routes: Vec<Route> = changes
        .iter()
        .filter_map(|change| match change {
            Change::RouteBound { route, .. } => Some(*route),
            _ => None,
        })
        .collect();
    let ip = |ip: &str| Route::Permission(ip.parse().unwrap());
    assert!(routes.contains(&ip("1.1.1.1")) && routes.contains(&ip("1.1.1.2")) && routes.len() == 3);
    assert_eq!(changes.last(), Some(&Change::Ended { id, reason: EndReason::Released, relayed: (0, 0) }));
    lab.server.subscribe(false);
    lab.allocate(&mut Client::ann("1.2.3.4:5001"));
    assert_eq!(lab.server.poll_change(), None);
}

#[test]
fn closed_stream_ends_an_allocation_that_still_waits_for_its_socket() {
    // T-8656-6-05
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::over(Transport::Tcp, ANN, "ann", "ann's password"));
    let bytes = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x80]).signed(&ann.credential);
    assert_eq!(Fate::from(lab.server.handle_client(lab.now, ann.path, &bytes)), Fate::Queued);
    lab.server.handle(lab.now, Event::ClientClosed(ann.path));
    lab.drain();
    lab.advance(secs(61));
    lab.assert_nothing_is_left();
}
