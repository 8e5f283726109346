use serde_json::{Value, json};

use super::world::{Client, World, millis, secs, types};
use crate::signal::Undelivered;

fn signal(to: &Client, kind: &str, ttl_ms: Option<u64>) -> Value {
    let mut signal = json!({"t": "signal", "room": "tea", "to": to.peer(), "kind": kind, "pc": "p1", "gen": 1, "data": {"x": 1}});
    if let Some(ms) = ttl_ms {
        signal["ttl_ms"] = json!(ms);
    }
    signal
}

#[test]
fn a_signal_reaches_its_peer_with_role_and_data_as_written() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    assert_eq!(world.ask(&mut a, signal(&b, "offer", None))["delivered"], true);
    assert_eq!(
        world.next(b.conn),
        json!({"t": "signal", "seq": 2, "room": "tea", "from": a.peer(), "kind": "offer", "pc": "p1", "gen": 1,
            "data": {"x": 1}, "polite": true})
    );
    world.ask(&mut b, signal(&a, "answer", None));
    assert_eq!(world.next(a.conn)["polite"], false);
    let raw = format!(
        r#"{{"t":"signal","id":3,"room":"tea","to":"{}","kind":"custom","pc":"","gen":0,"data": {{"n": -0.10e1, "s":"\ud83d\u00e9\/ "}} }}"#,
        b.peer()
    );
    world.hub.handle_text(world.now, a.conn, &raw);
    let mut texts = Vec::new();
    while let Some(action) = world.hub.poll_action() {
        if let crate::signal::Action::Send { conn, frame } = action
            && conn == b.conn
        {
            texts.push(frame.text());
        }
    }
    assert!(texts[0].contains(r#""data":{"n":-0.10e1,"s":"\ud83d\u00e9\/ "}"#), "{texts:?}");
}

#[test]
fn only_another_peer_of_the_room_can_be_signaled() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    let stranger = world.client();
    let own = signal(&a.clone(), "offer", None);
    assert_eq!(world.ask(&mut a, own)["code"], "peer_not_found");
    assert_eq!(world.ask(&mut a, signal(&stranger, "offer", None))["code"], "peer_not_found");
    let mut elsewhere = signal(&b, "offer", None);
    elsewhere["room"] = json!("coffee");
    assert_eq!(world.ask(&mut a, elsewhere)["code"], "not_in_room");
}

#[test]
fn a_signal_to_an_absent_peer_waits_in_its_ring() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    world.read(a.conn);
    assert_eq!(world.ask(&mut a, signal(&b, "offer", None))["delivered"], false);
    world.resume(&mut b, 1);
    assert_eq!(world.next(b.conn)["t"], "signal");
    world.advance_with(&[&a, &b], secs(60));
    assert!(!types(&world.read(a.conn)).contains(&"undelivered".to_owned()));
}

#[test]
fn a_ttl_withdraws_a_waiting_signal_and_leaves_a_void() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    world.read(a.conn);
    let reply = world.ask(&mut a, signal(&b, "offer", Some(1000)));
    world.ask(&mut a, signal(&b, "candidate", Some(5000)));
    world.advance(millis(999));
    assert!(world.read(a.conn).is_empty());
    world.advance(millis(1));
    let told = world.next(a.conn);
    assert_eq!(
        (&told["t"], &told["re"], &told["to"]),
        (&json!("undelivered"), &reply["re"], &json!(b.peer()))
    );
    assert_eq!(told["reason"], "expired");
    world.resume(&mut b, 1);
    assert_eq!(world.next(b.conn), json!({"t": "void", "seq": 2}));
    assert_eq!(world.next(b.conn)["kind"], "candidate");
    world.advance(secs(6));
    assert!(!types(&world.read(a.conn)).contains(&"undelivered".to_owned()));
    assert_eq!(world.hub.stats().undelivered(Undelivered::Expired), 1);
}

#[test]
fn a_ttl_of_zero_expires_at_once_at_an_absent_peer_and_never_at_a_live_one() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    assert_eq!(world.ask(&mut a, signal(&b, "custom", Some(0)))["delivered"], true);
    world.cut(&b);
    world.read(a.conn);
    world.ask(&mut a, signal(&b, "custom", Some(0)));
    assert_eq!(world.next(a.conn)["reason"], "expired");
    world.resume(&mut b, 2);
    assert!(world.read(b.conn).is_empty());
}

#[test]
fn a_peer_that_goes_first_leaves_its_signals_undelivered() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.ask(&mut a, signal(&b, "offer", None));
    world.cut(&b);
    world.read(a.conn);
    world.ask(&mut a, signal(&b, "candidate", None));
    world.advance_with(&[&a], secs(31));
    let told = world.read(a.conn);
    let mut fates: Vec<_> = told.iter().filter(|message| message["t"] == "undelivered").collect();
    fates.sort_by_key(|fate| fate["re"].as_u64());
    assert_eq!((&fates[0]["re"], &fates[0]["reason"]), (&json!(2), &json!("unconfirmed")));
    assert_eq!((&fates[1]["re"], &fates[1]["reason"]), (&json!(3), &json!("left")));
    assert_eq!(fates.len(), 2);
    world.resume(&mut b, 0);
}

#[test]
fn an_acknowledged_signal_has_no_fate_left() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.ask(&mut a, signal(&b, "offer", None));
    world.say(b.conn, &json!({"t": "pong", "ack": 2}));
    world.ask(&mut b, json!({"t": "leave", "room": "tea"}));
    world.cut(&b);
    world.advance_with(&[&a], secs(31));
    assert!(!types(&world.read(a.conn)).contains(&"undelivered".to_owned()));
}

#[test]
fn a_signal_that_the_ring_drops_is_told_as_overflow() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    world.read(a.conn);
    for _ in 0..300 {
        world.ask(&mut a, signal(&b, "candidate", None));
    }
    let told = world.read(a.conn);
    let overflows: Vec<_> = told.iter().filter(|message| message["reason"] == "overflow").collect();
    // 300 signals and the `joined` in a ring of 256; what came later than its drop was read with it.
    assert_eq!(overflows.len() as u64, world.hub.stats().undelivered(Undelivered::Overflow));
    assert_eq!(world.hub.stats().undelivered(Undelivered::Overflow), 44);
    world.resume(&mut b, 1);
    assert_eq!(b.welcome["gap"], true);
}

#[test]
fn a_signal_that_was_sent_and_dropped_unacknowledged_still_has_a_fate() {
    let flood = |world: &mut World| {
        let (mut a, b) = world.pair();
        for _ in 0..300 {
            assert_eq!(world.ask(&mut a, signal(&b, "candidate", None))["delivered"], true);
        }
        world.read(b.conn);
        (a, b)
    };
    let fates = |world: &World| {
        let stats = world.hub.stats();
        [Undelivered::Overflow, Undelivered::Unconfirmed].map(|reason| stats.undelivered(reason))
    };
    // Acknowledged in the end: all arrived.
    let mut world = World::open();
    let (_a, mut b) = flood(&mut world);
    world.say(b.conn, &json!({"t": "pong", "ack": 301}));
    world.ask(&mut b, json!({"t": "bye"}));
    assert_eq!(fates(&world), [0, 0]);
    // Never acknowledged, and the session ends.
    let mut world = World::open();
    let (_a, mut b) = flood(&mut world);
    world.ask(&mut b, json!({"t": "bye"}));
    assert_eq!(fates(&world), [0, 300]);
    // Resumed from before what the ring holds: a gap for one side, the truth for the other.
    let mut world = World::open();
    let (_a, mut b) = flood(&mut world);
    world.resume(&mut b, 11);
    assert_eq!(b.welcome["gap"], true);
    assert_eq!(world.read(b.conn).len(), 256);
    assert_eq!(fates(&world), [34, 0], "ten had arrived");
}

#[test]
fn a_peer_removed_from_the_room_while_absent_loses_what_waits_for_it_there() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.join(&mut b, "other");
    world.cut(&b);
    world.read(a.conn);
    world.ask(&mut a, signal(&b, "offer", None));
    assert!(world.hub.handle_kick(world.now, "tea", &b.peer(), None));
    world.drain();
    let told = world.read(a.conn);
    assert!(told.iter().any(|message| message["reason"] == "left"), "{told:?}");
    world.resume(&mut b, 2);
    assert_eq!(types(&world.read(b.conn)), ["void", "peer-left"]);
}

#[test]
fn an_offer_that_meets_an_unanswered_one_is_marked_as_glare() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.ask(&mut a, signal(&b, "offer", None));
    assert!(world.next(b.conn).get("glare").is_none());
    world.ask(&mut b, signal(&a, "offer", None));
    assert_eq!(world.next(a.conn)["glare"], true);
    // The polite one rolls back and answers; nothing is pending then.
    world.ask(&mut b, signal(&a, "answer", None));
    world.read(a.conn);
    world.ask(&mut b, signal(&a, "offer", None));
    assert!(world.next(a.conn).get("glare").is_none());
    world.ask(&mut a, signal(&b, "answer", None));
    world.read(b.conn);
    world.ask(&mut a, signal(&b, "offer", None));
    assert!(world.next(b.conn).get("glare").is_none());
    assert_eq!(world.hub.stats().glare, 1);
    let mut other = signal(&a, "offer", None);
    other["pc"] = json!("p2");
    world.ask(&mut b, other);
    assert!(world.next(a.conn).get("glare").is_none(), "another negotiation");
}

#[test]
fn a_message_goes_to_the_room_a_peer_a_list_or_a_uid() {
    let mut world = World::open();
    let token = |sub: &str| json!({"exp": 1_790_009_999u64, "room": "*", "sub": sub});
    let mut a = world.client_with(&token("ann"));
    let mut b1 = world.client_with(&token("bob"));
    let mut b2 = world.client_with(&token("bob"));
    for client in [&mut a, &mut b1, &mut b2] {
        world.join(client, "tea");
    }
    for client in [&a, &b1, &b2] {
        world.read(client.conn);
    }
    let mut send = |world: &mut World, fields: Value| {
        let mut request = json!({"t": "send", "room": "tea"});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = world.ask(&mut a, request);
        (
            reply["n"].clone(),
            reply["code"].clone(),
            [a.conn, b1.conn, b2.conn].map(|conn| world.read(conn).len()),
        )
    };
    assert_eq!(send(&mut world, json!({})), (json!(2), json!(null), [0, 1, 1]));
    assert_eq!(send(&mut world, json!({"echo": true})), (json!(3), json!(null), [1, 1, 1]));
    assert_eq!(send(&mut world, json!({"to": b1.peer()})), (json!(1), json!(null), [0, 1, 0]));
    assert_eq!(send(&mut world, json!({"to": "nobody"})), (json!(null), json!("peer_not_found"), [0, 0, 0]));
    let list = json!({"to": [b1.peer(), "nobody", b1.peer(), b2.peer()]});
    assert_eq!(send(&mut world, list), (json!(2), json!(null), [0, 1, 1]));
    assert_eq!(send(&mut world, json!({"to": {"uid": "bob"}})), (json!(2), json!(null), [0, 1, 1]));
    assert_eq!(send(&mut world, json!({"to": {"uid": "eve"}})), (json!(0), json!(null), [0, 0, 0]));
    assert_eq!(send(&mut world, json!({"to": []})), (json!(0), json!(null), [0, 0, 0]));
}

#[test]
fn absent_event_and_data_are_null() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    world.ask(&mut a, json!({"t": "send", "room": "tea"}));
    assert_eq!(
        world.next(b.conn),
        json!({"t": "message", "seq": 2, "room": "tea", "from": a.peer(), "event": null, "data": null})
    );
    world.ask(&mut a, json!({"t": "send", "room": "tea", "event": "hi", "data": [1]}));
    let told = world.next(b.conn);
    assert_eq!((&told["event"], &told["data"]), (&json!("hi"), &json!([1])));
}

#[test]
fn a_broadcasts_body_is_kept_once() {
    let mut world = World::open();
    let mut clients: Vec<_> = (0..10).map(|_| world.client()).collect();
    for client in &mut clients {
        world.join(client, "tea");
        for conn in 1..=10 {
            world.read(crate::signal::ConnId(conn));
        }
    }
    let send = json!({"t": "send", "id": 2, "room": "tea", "data": "x".repeat(1000)}).to_string();
    world.hub.handle_text(world.now, clients[0].conn, &send);
    let mut bodies = std::collections::BTreeSet::new();
    let mut copies = 0;
    while let Some(action) = world.hub.poll_action() {
        if let crate::signal::Action::Send { frame, .. } = action
            && frame.tell() == crate::signal::Tell::Message
        {
            bodies.insert(frame.body.as_ptr());
            copies += 1;
        }
    }
    assert_eq!((copies, bodies.len()), (9, 1));
}

#[test]
fn the_applications_server_speaks_into_rooms() {
    let mut world = World::open();
    let (a, b) = world.pair();
    let speech = crate::signal::Speech::read(r#"{"event":"price","data":{"eur":1.10}}"#).unwrap();
    assert_eq!(world.hub.handle_publish(world.now, "tea", &speech), 2);
    assert_eq!(world.hub.handle_publish(world.now, "coffee", &speech), 0);
    world.drain();
    let told = world.next(a.conn);
    assert_eq!((&told["from"], &told["event"]), (&json!("server"), &json!("price")));
    assert_eq!(world.next(b.conn)["t"], "message");
    let body = json!({"to": b.peer(), "data": 1}).to_string();
    let one = crate::signal::Speech::read(&body).unwrap();
    assert_eq!(world.hub.handle_publish(world.now, "tea", &one), 1);
    world.drain();
    assert!(world.read(a.conn).is_empty());
}
