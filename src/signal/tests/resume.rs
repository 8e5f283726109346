use serde_json::{Value, json};

use super::world::{World, generous, millis, secs, text, types};
use crate::signal::Limits;

#[test]
fn a_cut_shows_at_once_and_the_return_too() {
    let mut world = World::open();
    let (a, mut b) = world.pair();
    world.cut(&b);
    let away = world.next(a.conn);
    assert_eq!(
        away,
        json!({"t": "peer-status", "seq": 3, "room": "tea", "ver": 3, "peer": b.peer(), "online": false})
    );
    let peer = b.peer();
    world.resume(&mut b, 1);
    let back = world.next(a.conn);
    assert_eq!((&back["t"], &back["ver"], &back["online"]), (&json!("peer-status"), &json!(4), &json!(true)));
    assert_eq!((b.peer(), &b.welcome["conn"]), (peer, &json!(2)));
    let rooms = &b.welcome["rooms"];
    assert_eq!(rooms[0]["room"], "tea");
    assert_eq!((&rooms[0]["you"]["ord"], &rooms[0]["peers"][0]["ord"]), (&json!(2), &json!(1)));
    assert!(rooms[0].get("ice").is_none() && rooms[0].get("t").is_none());
}

#[test]
fn past_the_grace_the_peer_has_left_and_the_session_is_gone() {
    let mut world = World::open();
    let (a, b) = world.pair();
    world.cut(&b);
    world.read(a.conn);
    world.advance_with(&[&a], secs(29));
    assert!(types(&world.read(a.conn)).iter().all(|t| t == "ping"));
    world.advance_with(&[&a], secs(1));
    let left = world.next(a.conn);
    assert_eq!((&left["t"], &left["reason"]), (&json!("peer-left"), &json!("timeout")));
    let again = world.hello(json!({"t": "hello", "resume": b.secret(), "last_seq": 1}));
    assert_eq!(again.welcome["resumed"], false);
    assert_eq!((&again.welcome["seq"], &again.welcome["last_id"]), (&json!(0), &json!(0)));
    assert_ne!(again.peer(), b.peer());
}

#[test]
fn what_was_missed_is_replayed_before_live_traffic() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    for count in 0..3 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": count}));
        world.read(a.conn);
    }
    world.resume(&mut b, 1);
    assert_eq!(
        (&b.welcome["resumed"], &b.welcome["gap"], &b.welcome["seq"]),
        (&json!(true), &json!(false), &json!(4))
    );
    world.ask(&mut a, json!({"t": "send", "room": "tea", "data": 3}));
    let told = world.read(b.conn);
    let data: Vec<_> = told.iter().map(|message| message["data"].as_u64().unwrap()).collect();
    let seqs: Vec<_> = told.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!((data, seqs), (vec![0, 1, 2, 3], vec![2, 3, 4, 5]));
}

#[test]
fn a_request_whose_reply_was_lost_is_not_applied_twice() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    let send = json!({"t": "send", "id": 2, "room": "tea", "data": "once"});
    world.say(a.conn, &send);
    world.read(a.conn);
    world.resume(&mut a, 2);
    assert_eq!(a.welcome["last_id"], 2);
    let replayed = world.next(a.conn);
    assert_eq!((&replayed["t"], &replayed["re"], &replayed["n"]), (&json!("ok"), &json!(2), &json!(1)));
    world.say(a.conn, &send);
    assert!(world.read(a.conn).is_empty());
    let heard = world.read(b.conn);
    assert_eq!(heard.iter().filter(|message| message["t"] == "message").count(), 1);
}

#[test]
fn an_acknowledged_frame_is_not_replayed_and_acks_out_of_range_are_ignored() {
    let mut world = World::open();
    let (a, mut b) = world.pair();
    let mut a2 = a.clone();
    for _ in 0..3 {
        world.ask(&mut a2, json!({"t": "send", "room": "tea"}));
    }
    world.say(b.conn, &json!({"t": "pong", "ack": 9}));
    world.say(b.conn, &json!({"t": "pong", "ack": 3}));
    world.say(b.conn, &json!({"t": "pong", "ack": 2}));
    world.say(b.conn, &json!({"t": "pong", "ack": "x"}));
    world.resume(&mut b, 3);
    assert_eq!(b.welcome["gap"], false);
    assert_eq!(world.next(b.conn)["seq"], 4);
    world.resume(&mut b, 2);
    assert_eq!(b.welcome["gap"], true, "2 is older than the ring");
    assert_eq!(world.next(b.conn)["seq"], 4, "the count goes on from the first frame");
}

#[test]
fn a_last_seq_that_was_never_reached_is_a_gap_with_all_that_the_ring_holds() {
    let mut world = World::open();
    let (_a, mut b) = world.pair();
    world.resume(&mut b, 99);
    assert_eq!((&b.welcome["resumed"], &b.welcome["gap"]), (&json!(true), &json!(true)));
    assert_eq!(b.welcome["rooms"][0]["peers"].as_array().unwrap().len(), 1);
    assert_eq!(world.next(b.conn)["t"], "joined");
}

#[test]
fn an_absent_ring_holds_256_frames_and_then_has_a_gap() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    // One frame of the ring is `joined`, which was sent and not acknowledged.
    for count in 0..255 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": count}));
        world.read(a.conn);
    }
    let held = b.clone();
    world.resume(&mut b, 0);
    assert_eq!(b.welcome["gap"], false);
    assert_eq!(world.read(b.conn).len(), 256);
    world.cut(&b);
    world.ask(&mut a, json!({"t": "send", "room": "tea", "data": 255}));
    world.resume(&mut b, 0);
    assert_eq!(b.welcome["gap"], true);
    let told = world.read(b.conn);
    assert_eq!((told.len(), &told[0]["seq"]), (256, &json!(2)));
    drop(held);
}

#[test]
fn a_ring_holds_a_mebibyte_and_the_newest_frame_always_fits() {
    let limits = Limits { max_message: 4 << 20, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, mut b) = world.pair();
    world.cut(&b);
    world.read(a.conn);
    let big = "x".repeat(2 << 20);
    world.ask(&mut a, json!({"t": "send", "room": "tea", "data": "small"}));
    world.ask(&mut a, json!({"t": "send", "room": "tea", "data": big}));
    assert!(world.hub.footprint().ring_bytes < (2 << 20) + 4096);
    world.resume(&mut b, 1);
    assert_eq!(b.welcome["gap"], true);
    let told = world.read(b.conn);
    assert_eq!((told.len(), &told[0]["seq"]), (1, &json!(3)));
}

#[test]
fn a_second_hello_replaces_the_first_and_nobody_else_notices() {
    let mut world = World::open();
    let (a, mut b) = world.pair();
    let first = b.clone();
    world.resume(&mut b, 1);
    assert_eq!(world.bye_of(first.conn), 4506);
    assert!(world.read(a.conn).is_empty());
    // The dead socket's end changes nothing any more.
    world.cut(&first);
    world.say(first.conn, &json!({"t": "bye", "id": 2}));
    assert!(world.read(a.conn).is_empty());
    assert_eq!(world.hub.footprint().sessions, 2);
}

#[test]
fn two_secrets_are_valid_the_newest_and_the_last_seen_in_use() {
    let mut world = World::open();
    let first = world.client();
    let resume =
        |world: &mut World, secret: &str| world.hello(json!({"t": "hello", "resume": secret})).welcome;
    // The welcome of this resume is lost: the client still holds the first secret.
    let second = text(&resume(&mut world, &first.secret()), "resume");
    let third = text(&resume(&mut world, &first.secret()), "resume");
    assert_eq!(resume(&mut world, &second)["resumed"], false, "it was replaced and never used");
    let fourth = resume(&mut world, &third);
    assert_eq!((&fourth["resumed"], &fourth["conn"]), (&json!(true), &json!(4)));
    assert_eq!(resume(&mut world, &first.secret())["resumed"], false, "use of the newest killed it");
    let fifth = resume(&mut world, &third);
    assert_eq!(fifth["resumed"], true, "still the last that was seen in use");
}

#[test]
fn an_ack_on_the_connection_shows_that_the_newest_secret_is_held() {
    let mut world = World::open();
    let first = world.client();
    let second = world.hello(json!({"t": "hello", "resume": first.secret()}));
    world.say(second.conn, &json!({"t": "pong", "ack": 0}));
    assert_eq!(world.hello(json!({"t": "hello", "resume": first.secret()})).welcome["resumed"], false);
    assert_eq!(world.hello(json!({"t": "hello", "resume": second.secret()})).welcome["resumed"], true);
}

#[test]
fn a_secret_of_another_boot_or_node_is_recognized_and_not_accepted() {
    let mut world = World::open();
    let client = world.client();
    for (from, to) in [("n1.e7.", "n1.e8."), ("n1.e7.", "n2.e7."), ("n1.e7.", "")] {
        let secret = client.secret().replace(from, to);
        assert_eq!(world.hello(json!({"t": "hello", "resume": secret})).welcome["resumed"], false);
    }
    let mut guessed = client.secret();
    let last = if guessed.pop() == Some('0') { '1' } else { '0' };
    guessed.push(last);
    assert_eq!(world.hello(json!({"t": "hello", "resume": guessed})).welcome["resumed"], false);
    assert_eq!(world.close_of(client.conn), None);
}

#[test]
fn when_all_rings_are_too_much_the_oldest_absent_session_gets_a_gap() {
    let limits = Limits { ring_memory: 100_000, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, mut b) = world.pair();
    let mut c = world.client();
    world.join(&mut c, "tea");
    world.cut(&b);
    world.advance(millis(10));
    world.cut(&c);
    let bulk = "x".repeat(20_000);
    for _ in 0..2 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": bulk}));
        assert!(world.hub.footprint().ring_bytes <= 100_000);
    }
    world.ask(&mut a, json!({"t": "send", "room": "tea", "data": bulk}));
    assert!(world.hub.footprint().ring_bytes <= 100_000);
    world.resume(&mut b, 1);
    world.resume(&mut c, 1);
    assert_eq!((&b.welcome["gap"], &c.welcome["gap"]), (&json!(true), &json!(false)));
    assert_eq!(types(&world.read(c.conn)).iter().filter(|t| *t == "message").count(), 3);
}

#[test]
fn when_only_live_sessions_hold_memory_whoever_is_told_too_much_pays() {
    let limits = Limits { ring_memory: 200_000, ..generous() };
    let mut world = World::with(true, limits);
    let (mut a, b) = world.pair();
    world.stall(b.conn);
    let bulk = "x".repeat(20_000);
    for _ in 0..20 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": bulk}));
        world.read(a.conn);
        assert!(world.hub.footprint().ring_bytes <= 200_000);
    }
    assert_eq!(world.close_of(b.conn), Some(4001));
}

#[test]
fn a_client_that_does_not_read_is_closed_with_4001_and_survives() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.stall(b.conn);
    let bulk = "x".repeat(60_000);
    let mut sent = 0;
    while world.close_of(b.conn).is_none() {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": bulk}));
        world.read(a.conn);
        sent += 1;
        assert!(sent < 40);
    }
    assert!(sent >= 17, "a window and a ring of a mebibyte: {sent}");
    assert_eq!(world.bye_of(b.conn), 4001);
    assert_eq!(world.hub.stats().slow_closed, 1);
    assert!(world.hub.footprint().ring_bytes <= (1 << 20) + 70_000);
    world.resume(&mut b, 1);
    assert_eq!(b.welcome["resumed"], true);
}

#[test]
fn frames_not_yet_sent_to_a_live_connection_do_not_count_as_256() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    world.stall(b.conn);
    for count in 0..1000 {
        let pad = "x".repeat(600);
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": [count, pad]}));
    }
    assert_eq!(world.close_of(b.conn), None);
    assert!(world.read(b.conn).len() < 256);
    world.unstall(b.conn);
    let rest = world.read(b.conn);
    assert_eq!(rest.last().unwrap()["data"][0], 999);
    assert_eq!(rest.last().unwrap()["seq"], 1001);
}

#[test]
fn an_expired_token_beside_resume_leaves_the_session_as_it_was() {
    let mut world = World::open();
    let (_a, mut b) = world.pair();
    let cases: [(Value, u16); 3] = [
        (json!("junk"), 4501),
        (json!(r#"{"exp":5}"#), 4502),
        (json!(r#"{"exp":1790009999,"sub":"other"}"#), 4501),
    ];
    for (token, code) in cases {
        let conn = world.socket();
        world.say(conn, &json!({"t": "hello", "resume": b.secret(), "token": token}));
        assert_eq!(world.bye_of(conn), code);
        assert_eq!(world.close_of(b.conn), None);
    }
    world.resume(&mut b, 1);
    assert_eq!(b.welcome["resumed"], true);
}

#[test]
fn what_an_earlier_connection_brought_may_be_acknowledged_while_it_comes_again() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    for _ in 0..30 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": "x".repeat(30_000)}));
    }
    let last = world.read(b.conn).last().unwrap()["seq"].clone();
    // On its next connection it reads nothing, and knows all the same.
    let hello = json!({"t": "hello", "resume": b.secret(), "last_seq": 1});
    let conn = world.socket();
    world.stall(conn);
    world.say(conn, &hello);
    (b.conn, b.welcome) = (conn, world.next(conn));
    world.read(conn);
    world.say(conn, &json!({"t": "pong", "ack": last}));
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "tea", "data": "next"}))["n"], 1);
    world.unstall(conn);
    let told = world.read(conn);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["data"], &told[0]["seq"]), (&json!("next"), &json!(last.as_u64().unwrap() + 1)));
}

#[test]
fn those_who_never_acknowledge_pay_before_anyone_else() {
    let mut world = World::with(true, Limits { ring_memory: 4 << 20, ..generous() });
    let (mut a, mut b) = world.pair();
    let mut hoarders: Vec<_> = (0..8).map(|_| world.client()).collect();
    for hoarder in &mut hoarders {
        world.join(hoarder, "hoard");
    }
    let mut talker = world.client();
    world.join(&mut talker, "hoard");
    world.cut(&b);
    for data in 0..4 {
        let to = b.peer();
        let signal = json!({"t": "signal", "room": "tea", "to": to, "kind": "custom", "pc": "p", "gen": 1, "data": data});
        world.ask(&mut a, signal);
    }
    for _ in 0..20 {
        world.ask(&mut talker, json!({"t": "send", "room": "hoard", "data": "x".repeat(50_000)}));
    }
    world.resume(&mut b, 1);
    assert_eq!(b.welcome["gap"], false);
    let signals = world.read(b.conn).into_iter().filter(|message| message["t"] == "signal").count();
    assert_eq!(signals, 4);
    assert!(hoarders.iter().all(|hoarder| world.close_of(hoarder.conn).is_none()));
}
