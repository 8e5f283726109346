use serde_json::json;

use super::world::{World, generous, millis, secs, types};
use crate::signal::{AddressKey, Carrier, Limits, Rate};

fn rated(messages: Rate) -> Limits {
    Limits { messages, ..generous() }
}

#[test]
fn messages_over_the_rate_are_refused_with_retry_ms_and_use_their_id_up() {
    let mut world = World::with(true, rated(Rate { per_second: 10, burst: 5 }));
    let mut client = world.client();
    // `hello` was the first of five.
    world.join(&mut client, "tea");
    for _ in 0..3 {
        assert_eq!(world.ask(&mut client, json!({"t": "send", "room": "tea"}))["t"], "ok");
    }
    let refused = world.ask(&mut client, json!({"t": "leave", "room": "tea"}));
    assert_eq!((&refused["code"], &refused["retry_ms"]), (&json!("rate_limited"), &json!(100)));
    assert_eq!(world.hub.footprint().rooms, 1, "not applied");
    assert_eq!(world.hub.stats().rate_limited, 1);
    world.advance(millis(100));
    assert_eq!(world.ask(&mut client, json!({"t": "leave", "room": "tea"}))["t"], "ok");
}

#[test]
fn rate_limited_comes_before_every_other_error() {
    let mut world = World::with(true, rated(Rate { per_second: 1, burst: 1 }));
    let client = world.client();
    for text in [r#"{"t":"dance","id":1}"#, "{"] {
        world.say_raw(client.conn, text);
        assert_eq!(world.next(client.conn)["code"], "rate_limited", "{text}");
        world.advance(secs(1));
        world.say_raw(client.conn, r#"{"t":"pong"}"#);
    }
}

#[test]
fn who_goes_on_past_the_second_bucket_is_closed_with_4004_and_survives() {
    let mut world = World::with(true, rated(Rate { per_second: 10, burst: 5 }));
    let mut client = world.client();
    for _ in 0..9 {
        world.say(client.conn, &json!({"t": "pong"}));
    }
    assert_eq!(world.close_of(client.conn), None);
    assert_eq!(types(&world.read(client.conn)), ["error"; 5]);
    world.say(client.conn, &json!({"t": "pong"}));
    assert_eq!(world.bye_of(client.conn), 4004);
    world.advance(secs(1));
    world.resume(&mut client, 0);
    assert_eq!(client.welcome["resumed"], true);
}

#[test]
fn an_address_has_a_rate_of_its_own() {
    let limits = Limits { messages_per_address: Rate { per_second: 1, burst: 4 }, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, mut b) = (world.client(), world.client());
    world.join(&mut a, "tea");
    world.join(&mut b, "tea");
    assert_eq!(world.ask(&mut b, json!({"t": "leave", "room": "tea"}))["code"], "rate_limited");
    let conn = world.conn();
    world.hub.handle_open(world.now, conn, AddressKey::V6(1), None);
    world.say(conn, &json!({"t": "hello"}));
    assert_eq!(world.next(conn)["t"], "welcome", "another address");
    let late = world.socket();
    world.say(late, &json!({"t": "hello"}));
    assert_eq!(world.bye_of(late), 4004);
    assert_eq!(world.hub.footprint().addresses, 2);
    world.advance(secs(10));
    assert_eq!(world.hub.footprint().addresses, 0);
}

#[test]
fn bytes_for_others_are_counted_by_copy_and_nothing_is_sent_beyond() {
    let limits = Limits { bytes: Rate { per_second: 10_000, burst: 20_000 }, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, b) = world.pair();
    let mut c = world.client();
    world.join(&mut c, "tea");
    world.read(a.conn);
    world.read(b.conn);
    let send = json!({"t": "send", "room": "tea", "data": "x".repeat(6000)});
    assert_eq!(world.ask(&mut a, send.clone())["n"], 2);
    let refused = world.ask(&mut a, send.clone());
    assert_eq!(refused["code"], "rate_limited");
    let retry = refused["retry_ms"].as_u64().unwrap();
    assert!((300..1000).contains(&retry), "{retry}");
    assert_eq!((world.read(b.conn).len(), world.read(c.conn).len()), (1, 1));
    world.advance(millis(retry));
    assert_eq!(world.ask(&mut a, send)["n"], 2);
}

#[test]
fn zero_means_unlimited() {
    let limits =
        Limits { max_message: 0, max_meta: 0, max_rooms: 0, max_peers: 0, ring_memory: 0, ..generous() };
    let mut world = World::with(true, limits);
    let mut client = world.client();
    let meta = json!({"a": "x".repeat(100_000)});
    for room in 0..100 {
        let reply = world.ask(&mut client, json!({"t": "join", "room": room.to_string(), "meta": meta}));
        assert_eq!(reply["t"], "joined");
        world.say(client.conn, &json!({"t": "pong", "ack": reply["seq"]}));
    }
}

#[test]
fn counters_say_what_there_is() {
    let mut world = World::open();
    let (a, _b) = world.pair();
    let stats = world.hub.stats();
    assert_eq!((stats.sessions, stats.rooms, stats.connections(Carrier::WebSocket)), (2, 1, 2));
    assert_eq!(stats.asked(crate::signal::Ask::Join), 2);
    assert_eq!(stats.told(crate::signal::Tell::Joined), 2);
    world.cut(&a);
    assert_eq!(world.hub.stats().connections(Carrier::WebSocket), 1);
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    world.ask(
        &mut a,
        json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1, "ttl_ms": 86_400_000}),
    );
    world.cut(&b);
    world.ask(&mut a, json!({"t": "signal", "room": "tea", "to": b.peer(), "kind": "offer", "pc": "p", "gen": 1, "ttl_ms": 30_000}));
    world.cut(&a);
    world.advance(secs(31));
    assert_eq!(world.hub.footprint(), crate::signal::Footprint::default());
    let stats = world.hub.stats();
    assert_eq!((stats.sessions, stats.rooms, stats.ring_bytes), (0, 0, 0));
}

#[test]
fn the_same_history_gives_the_same_output() {
    let run = || {
        let mut world = World::open();
        let (mut a, b) = world.pair();
        world.cut(&b);
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": 1}));
        let mut told = vec![a.welcome.clone(), b.welcome.clone()];
        told.extend(world.read(a.conn));
        told
    };
    assert_eq!(run(), run());
}

#[test]
fn an_address_has_so_many_sessions_and_those_that_are_absent_count() {
    let mut world = World::with(true, Limits { max_sessions_per_address: 2, ..generous() });
    let mut first = world.client();
    let second = world.client();
    world.cut(&first);
    let third = world.socket();
    world.say(third, &json!({"t": "hello"}));
    assert_eq!(world.bye_of(third), 4004);
    world.resume(&mut first, 0);
    assert_eq!(first.welcome["resumed"], true);
    world.cut(&second);
    world.advance_with(&[&first], secs(31));
    world.client();
}

#[test]
fn what_never_fits_into_the_burst_is_too_large_and_not_to_be_tried_again() {
    let limits = Limits { bytes: Rate { per_second: 10_000, burst: 20_000 }, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, _b) = world.pair();
    let refused = world.ask(&mut a, json!({"t": "send", "room": "tea", "data": "x".repeat(21_000)}));
    assert_eq!(refused["code"], "too_large");
    assert!(refused.get("retry_ms").is_none(), "{refused}");
}

#[test]
fn rosters_of_a_resume_are_owed_and_who_owes_waits() {
    let limits = Limits { bytes: Rate { per_second: 10_000, burst: 20_000 }, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, mut b) = world.pair();
    let mut seq = 0;
    for room in 0..10 {
        let meta = json!({"name": "x".repeat(3000)});
        world.ask(&mut b, json!({"t": "join", "room": room.to_string(), "meta": meta}));
        seq = world.join(&mut a, &room.to_string())["seq"].as_u64().unwrap();
        world.advance_with(&[&a, &b], secs(2));
    }
    world.cut(&a);
    world.resume(&mut a, seq);
    assert_eq!(a.welcome["resumed"], true);
    world.cut(&a);
    let hello = json!({"t": "hello", "resume": a.secret(), "last_seq": seq});
    let early = world.socket();
    world.say(early, &hello);
    assert_eq!(world.bye_of(early), 4004);
    world.advance(secs(10));
    let late = world.socket();
    world.say(late, &hello);
    assert_eq!(world.next(late)["resumed"], true);
}

#[test]
fn an_offer_that_does_not_wait_makes_no_glare() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    let offer = |to: &str| {
        json!({"t": "signal", "room": "tea", "to": to, "kind": "offer", "pc": "p", "gen": 1, "ttl_ms": 0,
            "data": {}})
    };
    assert_eq!(world.ask(&mut a, offer(&b.peer()))["delivered"], false);
    world.resume(&mut b, 1);
    world.read(a.conn);
    world.read(b.conn);
    world.ask(&mut b, offer(&a.peer()));
    let told = world.read(a.conn);
    assert!(told.last().unwrap().get("glare").is_none(), "{told:?}");
}
