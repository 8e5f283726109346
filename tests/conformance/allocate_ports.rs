//! Section D: relayed ports, pairs and reservations (RFC 8656 §7.2).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use turnpike::turn::{OpenError, RelaySource, Transport};

use crate::script::wire::*;
use crate::script::{Client, Lab, RELAY_V4, secs};

const ANN: &str = "1.2.3.4:5000";

fn small_range(first: u16, last: u16) -> Lab {
    Lab::with(|setup| {
        setup.ports = (first, last);
        setup.families = (true, false);
    })
}

/// Reserves a pair: the relayed address and the token of its odd neighbor.
fn reserve(lab: &mut Lab, client: &Client) -> (SocketAddr, Vec<u8>) {
    let ask = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x80]);
    let heard = lab.ask(client, &ask);
    assert_eq!(heard.code(), 0);
    (heard.address(RELAYED), heard.value(TOKEN).to_vec())
}

fn claim(lab: &mut Lab, client: &Client, token: &[u8]) -> Heard {
    let ask = lab.request(ALLOCATE).udp().with(TOKEN, token);
    lab.ask(client, &ask)
}

#[test]
fn tokens_that_reserve_nothing_are_508() {
    // T-8656-7.2-11
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let second = lab.logged_in(Client::ann("1.2.3.4:5001"));
    let third = lab.logged_in(Client::ann("1.2.3.4:5002"));
    assert_eq!(claim(&mut lab, &second, &[9; 8]).code(), 508);
    assert_eq!(claim(&mut lab, &second, &[9; 7]).code(), 400);
    let (_, token) = reserve(&mut lab, &ann);
    assert!(claim(&mut lab, &second, &token).is_success());
    assert_eq!(claim(&mut lab, &third, &token).code(), 508);
    let fourth = lab.logged_in(Client::ann("1.2.3.4:5003"));
    let (_, token) = reserve(&mut lab, &third);
    lab.pass(secs(60));
    assert_eq!(claim(&mut lab, &fourth, &token).code(), 508);
    lab.settle();
    assert!(lab.parked.is_empty());
    assert_eq!(claim(&mut lab, &fourth, &token).code(), 508);
}

#[test]
fn even_port_leaves_its_neighbor_to_others() {
    // T-8656-7.2-17
    let mut lab = small_range(50_000, 50_003);
    let mut ann = Client::ann(ANN);
    let mut seen = BTreeSet::new();
    for _ in 0..10_000 {
        let ask = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0]);
        let relayed = if ann.credential.nonce.is_empty() {
            lab.allocate_with(&mut ann, &ask)
        } else {
            lab.ask(&ann, &ask).address(RELAYED)
        };
        assert!(relayed.port().is_multiple_of(2));
        seen.insert(relayed.port());
        assert!(lab.refresh(&ann, 0).is_success());
    }
    assert_eq!(seen, BTreeSet::from([50_000, 50_002]));
    let ports: BTreeSet<u16> =
        (0..4).map(|i| lab.allocate(&mut Client::ann(&format!("1.2.3.5:{}", 1000 + i))).port()).collect();
    assert_eq!(ports.len(), 4);
}

#[test]
fn reserved_port_is_held_for_its_token_and_then_let_go() {
    // T-8656-7.2-18
    let mut lab = small_range(50_000, 50_001);
    let ann = lab.logged_in(Client::ann(ANN));
    let other = lab.logged_in(Client::bob("1.2.3.5:1"));
    let (relayed, token) = reserve(&mut lab, &ann);
    assert_eq!((relayed.port(), token.len()), (50_000, 8));
    assert!(matches!(lab.asked[0].1, RelaySource::BindAndPark { odd } if odd.local.port() == 50_001));
    lab.advance(secs(30));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&other, &ask).code(), 508);
    lab.advance(secs(30));
    assert!(lab.parked.is_empty());
    assert_eq!(lab.ask(&other, &ask).address(RELAYED).port(), 50_001);
}

#[test]
fn token_is_honored_from_any_path_of_its_user() {
    // T-8656-7.2-19
    for (transport, remote, listener) in [
        (Transport::Udp, "1.2.3.4:6000", "9.0.0.1:3478"),
        (Transport::Udp, "4.3.2.1:6000", "9.0.0.1:3478"),
        (Transport::Tcp, "1.2.3.4:6000", "9.0.0.1:3478"),
        (Transport::Tls, "[2a00::9]:6000", "9.0.0.1:5349"),
    ] {
        let mut lab = Lab::new();
        let ann = lab.logged_in(Client::ann(ANN));
        let (relayed, token) = reserve(&mut lab, &ann);
        let mut second = Client::over(transport, remote, "ann", "ann's password");
        second.path.local = listener.parse().unwrap();
        lab.login(&mut second);
        let claimed = claim(&mut lab, &second, &token).address(RELAYED);
        assert_eq!(claimed, SocketAddr::new(relayed.ip(), relayed.port() + 1));
        assert!(lab.parked.is_empty());
        assert_eq!(lab.asked[1].1, RelaySource::Unpark);
    }
}

#[test]
fn token_of_another_user_reserves_nothing_and_stays_whole() {
    // T-8656-7.2-20
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let (_, token) = reserve(&mut lab, &ann);
    let bob = lab.logged_in(Client::bob("1.2.3.5:1"));
    assert_eq!(claim(&mut lab, &bob, &token).code(), 508);
    let second = lab.logged_in(Client::ann("1.2.3.4:5001"));
    assert!(claim(&mut lab, &second, &token).is_success());
}

#[test]
fn token_is_claimed_on_another_shard() {
    // T-8656-7.2-19
    let mut lab = Lab::new();
    let mut beside = Lab::on(lab.setup.clone(), lab.shared.clone(), 1);
    let ann = lab.logged_in(Client::ann(ANN));
    let (relayed, token) = reserve(&mut lab, &ann);
    // The shells of one process share the parked sockets.
    std::mem::swap(&mut lab.parked, &mut beside.parked);
    let second = beside.logged_in(Client::ann("1.2.3.4:5001"));
    assert_eq!(claim(&mut beside, &second, &token).address(RELAYED).port(), relayed.port() + 1);
    lab.advance(secs(61));
    beside.advance(secs(61));
    assert_eq!(beside.open.len(), 1);
    lab.advance(secs(600));
    beside.advance(secs(600));
    lab.assert_nothing_is_left();
    beside.assert_nothing_is_left();
}

#[test]
fn even_port_that_cannot_be_had_is_508() {
    // T-8656-7.2-21
    let mut lab = small_range(50_001, 50_001);
    let ann = lab.logged_in(Client::ann(ANN));
    for value in [0, 0x80] {
        let ask = lab.request(ALLOCATE).udp().with(EVEN_PORT, [value]);
        assert_eq!(lab.ask(&ann, &ask).code(), 508);
    }
    let mut lab = small_range(50_000, 50_002);
    let ann = lab.logged_in(Client::ann(ANN));
    lab.ask(&ann, &Ask::request(ALLOCATE, 1).udp().with(EVEN_PORT, [0x80]));
    let bob = lab.logged_in(Client::bob("1.2.3.5:1"));
    let pair = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x80]);
    assert_eq!(lab.ask(&bob, &pair).code(), 508);
    let reserved_bits = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x7f]);
    let heard = lab.ask(&bob, &reserved_bits);
    assert_eq!(heard.address(RELAYED).port(), 50_002);
    assert!(!heard.has(TOKEN));
}

#[test]
fn ports_come_from_the_range_only_and_each_belongs_to_one() {
    // T-8656-7.2-26, T-8656-6-02
    let mut lab = small_range(50_100, 50_199);
    let ports: BTreeSet<u16> =
        (0..100).map(|i| lab.allocate(&mut Client::ann(&format!("1.2.3.{i}:1"))).port()).collect();
    assert_eq!(ports, (50_100..=50_199).collect());
    let mut lab = Lab::new();
    for i in 0..200 {
        let relayed = lab.allocate(&mut Client::ann(&format!("1.2.{i}.4:1")));
        assert!((49_152..=65_535).contains(&relayed.port()));
    }
}

#[test]
fn ports_are_drawn_without_a_pattern() {
    // T-8656-7.2-27: chi-square over 16 bins stays under the 0.1 % bound of 15 degrees.
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let ports: Vec<u16> = (0..1000)
        .map(|i| lab.allocate(&mut Client::ann(&format!("1.2.{}.{}:1", i / 250, i % 250))).port())
        .collect();
    let mut bins = [0_i64; 16];
    ports.iter().for_each(|port| bins[usize::from((port - 49_152) / 1024)] += 1);
    let chi: f64 = bins.iter().map(|n| ((n * 10 - 625) as f64).powi(2) / 6250.0).sum();
    assert!(chi < 37.7, "{chi} {bins:?}");
    let ascents = ports.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((430..570).contains(&ascents), "{ascents}");
}

#[test]
fn occupied_port_is_tried_elsewhere_and_never_handed_out() {
    // T-8656-6-02
    let mut lab = small_range(50_000, 50_003);
    lab.openings = vec![Err(OpenError::InUse), Err(OpenError::InUse), Ok(())].into();
    lab.allocate(&mut Client::ann(ANN));
    let asked: BTreeSet<_> = lab.asked.iter().map(|(addr, _)| addr.local.port()).collect();
    assert_eq!((lab.asked.len(), asked.len()), (3, 3));
    // What was occupied is free again once the search is over.
    let ports: BTreeSet<u16> =
        (0..3).map(|i| lab.allocate(&mut Client::ann(&format!("1.2.3.5:{}", 1 + i))).port()).collect();
    assert_eq!(ports.len(), 3);
}

#[test]
fn failed_opening_is_508_and_gives_everything_back() {
    // T-8656-7.2-28, T-8656-7.2-33
    for failure in [vec![OpenError::Exhausted], vec![OpenError::InUse; 16]] {
        for even in [None, Some([0x80])] {
            let mut lab = Lab::with(|setup| setup.quotas.allocations_per_user = 1);
            let ann = lab.logged_in(Client::ann(ANN));
            lab.openings = failure.iter().map(|error| Err(*error)).collect();
            let ask = lab.request(ALLOCATE).udp();
            let ask = even.into_iter().fold(ask, |ask, value| ask.with(EVEN_PORT, value));
            assert_eq!(lab.ask(&ann, &ask).code(), 508);
            lab.assert_nothing_is_left();
            assert!(lab.ask(&ann, &ask).is_success());
        }
    }
}

#[test]
fn claim_whose_socket_is_lost_is_508_and_frees_the_port() {
    // T-8656-7.2-28
    let mut lab = small_range(50_000, 50_001);
    let ann = lab.logged_in(Client::ann(ANN));
    let second = lab.logged_in(Client::ann("1.2.3.4:5001"));
    let (_, token) = reserve(&mut lab, &ann);
    lab.openings = vec![Err(OpenError::Exhausted)].into();
    assert_eq!(claim(&mut lab, &second, &token).code(), 508);
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&second, &ask).address(RELAYED).port(), 50_001);
}

#[test]
fn exhausted_range_is_508_until_a_port_is_freed() {
    // T-8656-7.2-28
    let mut lab = small_range(50_000, 50_001);
    let mut first = Client::ann("1.2.3.4:1");
    lab.allocate(&mut first);
    lab.allocate(&mut Client::ann("1.2.3.4:2"));
    let third = lab.logged_in(Client::ann("1.2.3.4:3"));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&third, &ask).code(), 508);
    assert!(lab.refresh(&first, 0).is_success());
    let heard = lab.ask(&third, &ask);
    assert_eq!(heard.address(RELAYED).ip().to_string(), RELAY_V4);
}

#[test]
fn reservation_ends_with_the_allocation_that_made_it() {
    // T-8656-6-03: else one user would take every port, past any quota.
    let mut lab = small_range(50_000, 50_003);
    lab.setup.quotas.allocations_per_user = 1;
    let ann = lab.logged_in(Client::ann(ANN));
    for _ in 0..10 {
        reserve(&mut lab, &ann);
        assert!(lab.refresh(&ann, 0).is_success());
        lab.assert_nothing_is_left();
    }
}
