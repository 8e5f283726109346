//! Export, import and drain: upgrade, crash recovery and moves between shards stand on them.

use turnpike::turn::{AllocationState, Change, DropReason, EndReason, Event, OpenError, RelayId};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, secs};

const ANN: &str = "1.2.3.4:5000";

fn exported(lab: &Lab) -> AllocationState {
    let state = lab.server.export(lab.only_allocation()).unwrap();
    serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
}

/// A fresh server with the clock of another.
fn successor(lab: &Lab) -> Lab {
    let mut next = Lab::on(lab.setup.clone(), lab.setup.shared(), 0);
    next.now = lab.now;
    next.next_tid = 1000;
    next.server.subscribe(true);
    next
}

fn import(lab: &mut Lab, state: AllocationState) -> Vec<Change> {
    lab.event(Event::Import(Box::new(state)));
    std::iter::from_fn(|| lab.server.poll_change()).collect()
}

#[test]
fn imported_allocation_is_what_was_exported() {
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let allocate = lab.request(ALLOCATE).udp().lifetime(1200).signed(&ann.credential);
    let first = lab.answer(&ann.path, &allocate);
    let relayed = first.address(RELAYED);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    assert_eq!(lab.permit(&ann, &["1.1.1.2"]), 0);
    lab.send(&ann, "1.1.1.2:9", b"five!").to_peer();
    lab.advance(secs(100));
    let state = exported(&lab);
    let mut next = successor(&lab);
    assert_eq!(import(&mut next, state.clone()).len(), 1);
    assert_eq!(exported(&next), state);
    assert_eq!(next.answer(&ann.path, &allocate), first);
    assert_eq!(next.send_on(&ann, 0x4000, b"x").to_peer().0, "1.1.1.1:9".parse().unwrap());
    assert_eq!(next.peer_sends(relayed, "1.1.1.1:9", b"x").to_client(), channel_data(0x4000, b"x"));
    assert_eq!(next.peer_sends(relayed, "1.1.1.2:9", b"x").data_indication().1, b"x");
    next.advance(secs(200));
    assert_eq!(next.peer_sends(relayed, "1.1.1.2:9", b"x").dropped(), DropReason::PermissionMissing);
    next.advance(secs(900));
    next.assert_nothing_is_left();
}

#[test]
fn import_is_judged_by_the_policy_that_it_finds() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    let state = exported(&lab);
    lab.setup.deny = vec!["1.1.1.1/32"];
    let mut next = successor(&lab);
    import(&mut next, state);
    assert_eq!(next.send_on(&ann, 0x4000, b"x").dropped(), DropReason::PeerForbidden);
    assert_eq!(next.send(&ann, "1.1.1.1:9", b"x").dropped(), DropReason::PeerForbidden);
    assert_eq!(next.peer_sends(relayed, "1.1.1.1:9", b"x").dropped(), DropReason::PeerForbidden);
}

#[test]
fn import_passes_quotas_and_counts_toward_them() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let state = exported(&lab);
    lab.setup.quotas.allocations_per_user = 1;
    lab.setup.seed = 77;
    let mut next = successor(&lab);
    next.allocate(&mut Client::ann("1.2.3.4:5001"));
    import(&mut next, state);
    assert_eq!(next.shared.allocations(), 2);
    let third = next.logged_in(Client::ann("1.2.3.4:5002"));
    let ask = next.request(ALLOCATE).udp();
    assert_eq!(next.ask(&third, &ask).code(), 486);
}

#[test]
fn import_that_cannot_be_had_is_told_and_leaves_nothing() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let state = exported(&lab);
    let lost = |changes: Vec<Change>| {
        assert!(
            matches!(changes[..], [Change::Ended { id, reason: EndReason::RelayLost, .. }] if id == state.id)
        );
    };
    for error in [OpenError::InUse, OpenError::Exhausted] {
        let mut next = successor(&lab);
        next.openings.push_back(Err(error));
        lost(import(&mut next, state.clone()));
        next.assert_nothing_is_left();
        // The place is free for another try, under the slot's next name.
        assert_eq!(import(&mut next, state.clone()).len(), 1);
        let taken = exported(&next);
        assert_eq!(AllocationState { id: state.id, ..taken.clone() }, state);
        // A second import of the same path or port is refused and harms nothing.
        lost(import(&mut next, state.clone()));
        let elsewhere = AllocationState { client: Client::ann("1.2.3.4:5009").path, ..state.clone() };
        lost(import(&mut next, elsewhere));
        assert_eq!(exported(&next), taken);
    }
}

#[test]
fn import_of_what_is_due_ends_at_once() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let state = exported(&lab);
    let mut next = successor(&lab);
    next.pass(secs(600));
    import(&mut next, state);
    assert_eq!(next.refresh(&ann, 600).code(), 437);
    next.settle();
    next.assert_nothing_is_left();
}

#[test]
fn stale_names_match_nothing_after_an_import_took_their_slot() {
    let mut lab = Lab::new();
    for round in 0..3 {
        let mut ann = Client::ann(&format!("1.2.3.4:{}", 5000 + round));
        lab.allocate(&mut ann);
        if round < 2 {
            assert!(lab.refresh(&ann, 0).is_success());
        }
    }
    let state = exported(&lab);
    assert!(state.id.0.generation > 2);
    let mut next = successor(&lab);
    import(&mut next, state.clone());
    for generation in (0..state.id.0.generation).chain([u32::MAX]) {
        let stale = RelayId { generation, ..state.id.0 };
        let peer = turnpike::turn::PeerAddr("1.1.1.1:9".parse().unwrap());
        let fate = Fate::from(next.server.handle_peer(next.now, stale, peer, b"x"));
        assert_eq!(fate.dropped(), DropReason::UnknownRelay);
        assert_eq!(next.server.export(turnpike::turn::AllocationId(stale)), None);
    }
}

#[test]
fn draining_server_makes_nothing_new_and_keeps_what_it_has() {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    lab.event(Event::Drain);
    let bob = lab.logged_in(Client::bob("1.2.3.4:5001"));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&bob, &ask).code(), 508);
    assert!(lab.refresh(&ann, 600).is_success());
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert!(matches!(lab.send(&ann, "1.1.1.1:9", b"x"), Fate::ToPeer { .. }));
    assert!(lab.refresh(&ann, 0).is_success());
    lab.assert_nothing_is_left();
}
