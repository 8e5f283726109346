use serde_json::{Value, json};

use super::world::{World, generous, millis, secs, types};
use crate::signal::{FeedReader, FeedRefusal, Limits};

#[test]
fn the_newcomer_is_polite_and_initiates_toward_everyone() {
    let mut world = World::open();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    let first = world.join(&mut a, "tea");
    assert_eq!((&first["ver"], &first["you"]), (&json!(1), &json!({"ord": 1, "as": "peer"})));
    assert_eq!((&first["peers"], &first["state"]), (&json!([]), &json!({})));
    assert_eq!(first["ice"]["policy"], "all");
    let second = world.ask(&mut b, json!({"t": "join", "room": "tea", "meta": {"name": "Bo"}}));
    assert_eq!(second["ver"], 2);
    assert_eq!(
        second["peers"],
        json!([{"peer": a.peer(), "uid": null, "meta": {}, "ord": 1, "polite": true, "initiate": true, "online": true}])
    );
    let seen = world.next(a.conn);
    assert_eq!(
        seen,
        json!({"t": "peer-joined", "seq": 2, "room": "tea", "ver": 2, "peer": b.peer(), "uid": null,
            "meta": {"name": "Bo"}, "ord": 2, "polite": false, "initiate": false, "online": true})
    );
    let third = world.join(&mut c, "tea");
    assert_eq!(third["peers"][0]["ord"], 1);
    assert_eq!(third["peers"][1]["ord"], 2);
}

#[test]
fn ordinals_are_given_once_and_end_with_the_room() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.ask(&mut b, json!({"t": "leave", "room": "tea"}));
    assert_eq!(world.join(&mut b, "tea")["you"]["ord"], 3);
    for client in [&mut a, &mut b] {
        world.read(client.conn);
        client.id += 1;
        let id = client.id;
        world.say(client.conn, &json!({"t": "leave", "id": id, "room": "tea"}));
    }
    assert_eq!(world.hub.footprint().rooms, 0);
    let fresh = world.client();
    let joined = world.join(&mut fresh.clone(), "tea");
    assert_eq!((&joined["you"]["ord"], &joined["ver"]), (&json!(1), &json!(1)));
}

#[test]
fn the_reply_comes_ahead_of_what_it_causes() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    // `ask` asserts that the reply is first.
    world.ask(&mut a, json!({"t": "send", "room": "tea", "echo": true, "data": 1}));
    assert_eq!(world.next(a.conn)["t"], "message");
    world.cut(&b);
    world.read(a.conn);
    let signal = json!({"t": "signal", "room": "tea", "to": b.peer(), "kind": "custom", "pc": "p", "gen": 1, "ttl_ms": 0});
    assert_eq!(world.ask(&mut a, signal)["delivered"], false);
    assert_eq!(world.next(a.conn)["t"], "undelivered");
    world.resume(&mut b, 1);
}

#[test]
fn an_observer_is_in_no_roster_and_may_only_leave() {
    let mut world = World::open();
    let (mut a, _b) = world.pair();
    let mut watcher = world.client();
    let joined = world.ask(&mut watcher, json!({"t": "join", "room": "tea", "as": "observer"}));
    assert_eq!(joined["you"], json!({"ord": null, "as": "observer"}));
    assert_eq!(joined["peers"].as_array().unwrap().len(), 2);
    assert_eq!(joined["peers"][0]["polite"], false);
    assert_eq!(joined["ver"], 2, "nobody is told, so nothing changed");
    assert!(world.read(a.conn).is_empty());
    for request in [
        json!({"t": "send", "room": "tea"}),
        json!({"t": "signal", "room": "tea", "to": a.peer(), "kind": "offer", "pc": "p", "gen": 1}),
        json!({"t": "update", "room": "tea", "meta": {}}),
        json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1}),
        json!({"t": "stats", "room": "tea", "to": a.peer(), "pc": "p", "state": "connected"}),
        json!({"t": "kick", "room": "tea", "peer": a.peer()}),
    ] {
        assert_eq!(world.ask(&mut watcher, request.clone())["code"], "forbidden", "{request}");
    }
    let to_watcher = json!({"t": "send", "room": "tea", "to": watcher.peer()});
    assert_eq!(world.ask(&mut a, to_watcher)["code"], "peer_not_found");
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "tea", "data": 1}))["n"], 2);
    assert_eq!(world.next(watcher.conn)["t"], "message");
    world.ask(&mut a, json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1}));
    assert_eq!(world.next(watcher.conn)["t"], "state");
    assert_eq!(world.ask(&mut watcher, json!({"t": "leave", "room": "tea"}))["t"], "ok");
    assert!(world.read(a.conn).is_empty());
}

#[test]
fn meta_is_patched_and_everyone_learns_it_from_their_side() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"x": {"y": 1}}}));
    let seen = world.next(b.conn);
    assert_eq!(
        (&seen["t"], &seen["ver"], &seen["polite"]),
        (&json!("peer-updated"), &json!(3), &json!(true))
    );
    let reply = world.ask(&mut b, json!({"t": "update", "room": "tea", "meta": {"z": 1}}));
    assert_eq!(reply["ver"], 4);
    assert_eq!(world.next(a.conn)["polite"], false);
    world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"x": {"y": null, "w": 2}}}));
    assert_eq!(world.next(b.conn)["meta"], json!({"x": {"w": 2}}));
    let dollar = world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"$name": "Eve"}}));
    assert_eq!(dollar["code"], "bad_request");
    let big = "x".repeat(3000);
    assert_eq!(world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"p": big}}))["t"], "ok");
    assert_eq!(
        world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"q": big}}))["code"],
        "too_large"
    );
    let gone = world.ask(&mut a, json!({"t": "update", "room": "tea", "meta": {"p": null, "q": big}}));
    assert_eq!(gone["t"], "ok", "what counts is the size after merging");
}

#[test]
fn meta_travels_as_it_was_written() {
    let mut world = World::open();
    let (a, b) = world.pair();
    let update = r#"{"t":"update","id":2,"room":"tea","meta": { "n" : 1.50e+1, "s":"\u00e4\/", "\u006b":[ 1 , 2 ] } }"#;
    world.say_raw(a.conn, update);
    let raw = world.read_raw(b.conn).remove(0);
    assert!(raw.contains(r#""meta":{"n":1.50e+1,"s":"\u00e4\/","\u006b":[1,2]}"#), "{raw}");
}

#[test]
fn state_has_versions_of_its_own() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    let author = a.peer();
    let mut state = |world: &mut World, change: Value| {
        let mut request = json!({"t": "state", "room": "tea"});
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.ask(&mut a, request)
    };
    assert_eq!(state(&mut world, json!({"op": "set", "key": "k", "value": 1, "if_ver": 0}))["ver"], 1);
    let pushed = world.next(b.conn);
    assert_eq!(
        pushed,
        json!({"t": "state", "seq": 2, "room": "tea", "key": "k", "value": 1, "ver": 1, "by": author})
    );
    let stale = state(&mut world, json!({"op": "set", "key": "k", "value": 2, "if_ver": 0}));
    assert_eq!((&stale["code"], &stale["ver"]), (&json!("conflict"), &json!(1)));
    assert_eq!(state(&mut world, json!({"op": "set", "key": "k", "value": null, "if_ver": 1}))["ver"], 2);
    assert_eq!(world.next(b.conn)["value"], json!(null));
    assert_eq!(state(&mut world, json!({"op": "del", "key": "none"}))["code"], "not_found");
    let missing = state(&mut world, json!({"op": "del", "key": "none", "if_ver": 4}));
    assert_eq!((&missing["code"], &missing["ver"]), (&json!("conflict"), &json!(0)));
    assert_eq!(state(&mut world, json!({"op": "del", "key": "k"}))["ver"], 3);
    let deleted = world.next(b.conn);
    assert!(deleted.get("value").is_none());
    assert_eq!(deleted["ver"], 3);
    assert_eq!(state(&mut world, json!({"op": "set", "key": "z", "value": "v"}))["ver"], 4);
    world.ask(&mut b, json!({"t": "leave", "room": "tea"}));
    let joined = world.join(&mut b, "tea");
    assert_eq!(joined["state"], json!({"z": {"value": "v", "ver": 4, "by": joined["peers"][0]["peer"]}}));
}

#[test]
fn state_expires_by_the_server_and_everyone_is_told() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    let set = |ttl: Option<u64>| match ttl {
        Some(ms) => json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1, "ttl_ms": ms}),
        None => json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1}),
    };
    world.ask(&mut a, set(Some(1000)));
    world.ask(&mut a, set(None));
    world.advance(millis(1500));
    assert_eq!(types(&world.read(b.conn)), ["state", "state"], "a set without ttl ends the ttl");
    world.ask(&mut a, set(Some(1000)));
    world.read(b.conn);
    world.advance(millis(999));
    assert!(world.read(b.conn).is_empty());
    world.advance(millis(1));
    for conn in [a.conn, b.conn] {
        let expired = world.next(conn);
        assert_eq!(
            (&expired["t"], &expired["by"], &expired["ver"]),
            (&json!("state"), &json!("server"), &json!(4))
        );
        assert!(expired.get("value").is_none());
    }
}

#[test]
fn a_rooms_state_is_bounded_in_keys_and_bytes() {
    let mut world = World::open();
    let mut a = world.client();
    world.join(&mut a, "tea");
    let set = |key: String, size: usize| json!({"t": "state", "room": "tea", "op": "set", "key": key, "value": "x".repeat(size)});
    for key in 0..256 {
        assert_eq!(world.ask(&mut a, set(key.to_string(), 1))["t"], "ok");
    }
    assert_eq!(world.ask(&mut a, set("more".into(), 1))["code"], "limit_reached");
    assert_eq!(world.ask(&mut a, set("7".into(), 2))["t"], "ok");
    let mut full = 0;
    while world.ask(&mut a, set(full.to_string(), 4000))["t"] == "ok" {
        full += 1;
    }
    assert!((14..=16).contains(&full), "{full}");
    assert_eq!(world.ask(&mut a, set("7".into(), 4095))["code"], "too_large");
}

#[test]
fn a_room_takes_as_many_peers_and_as_many_observers_as_it_may() {
    let mut world = World::with(true, Limits { max_peers: 2, ..generous() });
    let mut clients: Vec<_> = (0..6).map(|_| world.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let role = if index % 2 == 0 { "peer" } else { "observer" };
        let reply = world.ask(client, json!({"t": "join", "room": "tea", "as": role}));
        match index {
            0..4 => assert_eq!(reply["t"], "joined"),
            _ => assert_eq!(reply["code"], "room_full"),
        }
        for index in 1..=6 {
            world.read(crate::signal::ConnId(index));
        }
    }
}

#[test]
fn a_session_is_in_as_many_rooms_as_it_may_be() {
    let mut world = World::with(true, Limits { max_rooms: 2, ..generous() });
    let mut a = world.client();
    world.join(&mut a, "1");
    world.join(&mut a, "2");
    assert_eq!(world.ask(&mut a, json!({"t": "join", "room": "3"}))["code"], "limit_reached");
    world.ask(&mut a, json!({"t": "leave", "room": "1"}));
    world.join(&mut a, "3");
}

#[test]
fn a_kick_that_takes_the_last_room_ends_the_session_with_4504() {
    let mut world = World::open();
    let mut boss = world
        .client_with(&json!({"exp": 1_790_009_999u64, "room": "*", "perm": ["join", "kick"], "sub": "boss"}));
    let mut b = world.client();
    let mut c = world.client();
    for client in [&mut boss, &mut b, &mut c] {
        world.join(client, "tea");
    }
    world.join(&mut c, "coffee");
    for conn in [boss.conn, b.conn, c.conn] {
        world.read(conn);
    }
    let own = json!({"t": "kick", "room": "tea", "peer": boss.peer()});
    assert_eq!(world.ask(&mut boss, own)["code"], "bad_request");
    let kick = json!({"t": "kick", "room": "tea", "peer": b.peer(), "reason": "noise"});
    assert_eq!(world.ask(&mut boss, kick)["t"], "ok");
    let left = world.next(b.conn);
    assert_eq!(
        (&left["t"], &left["reason"], &left["peer"]),
        (&json!("peer-left"), &json!("kicked"), &json!(b.peer()))
    );
    assert_eq!(world.bye_of(b.conn), 4504);
    assert_eq!(world.ended[0], (b.session(), crate::signal::SessionEnd::Kicked));
    assert_eq!(world.next(boss.conn)["reason"], "kicked");
    // Who is in another room stays.
    let kick = json!({"t": "kick", "room": "tea", "peer": c.peer()});
    world.ask(&mut boss, kick);
    assert_eq!(types(&world.read(c.conn)), ["peer-left", "peer-left"]);
    assert_eq!(world.close_of(c.conn), None);
    world.join(&mut c, "tea");
    let ban = json!({"t": "kick", "room": "tea", "peer": c.peer(), "ban_s": 5});
    world.read(boss.conn);
    assert_eq!(world.ask(&mut boss, ban)["code"], "bad_request", "a ban needs a uid");
    let nobody = json!({"t": "kick", "room": "tea", "peer": b.peer()});
    assert_eq!(world.ask(&mut boss, nobody)["code"], "peer_not_found");
}

#[test]
fn a_ban_holds_for_the_room_and_the_uid_for_its_time() {
    let mut world = World::open();
    let boss_token = json!({"exp": 1_790_009_999u64, "room": "*", "perm": ["join", "kick"], "sub": "boss"});
    let eve_token = json!({"exp": 1_790_009_999u64, "room": "*", "sub": "eve"});
    let mut boss = world.client_with(&boss_token);
    let mut eve = world.client_with(&eve_token);
    world.join(&mut boss, "tea");
    world.join(&mut eve, "tea");
    world.read(boss.conn);
    let ban = json!({"t": "kick", "room": "tea", "peer": eve.peer(), "ban_s": 60});
    assert_eq!(world.ask(&mut boss, ban)["t"], "ok");
    assert_eq!(world.bye_of(eve.conn), 4505);
    let mut again = world.client_with(&eve_token);
    let refused = world.ask(&mut again, json!({"t": "join", "room": "tea"}));
    assert_eq!((&refused["code"], &refused["retry_ms"]), (&json!("forbidden"), &json!(60_000)));
    world.join(&mut again, "coffee");
    world.advance_with(&[&boss, &again], secs(60));
    world.read(again.conn);
    world.join(&mut again, "tea");
    assert_eq!(world.hub.footprint().bans, 0);
}

#[test]
fn the_operator_kicks_and_ends_as_a_peer_does() {
    let mut world = World::open();
    let (mut a, mut b) = world.pair();
    assert!(world.hub.handle_kick(world.now, "tea", &b.peer(), None));
    world.drain();
    assert_eq!(world.bye_of(b.conn), 4504);
    assert_eq!(world.next(a.conn)["reason"], "kicked");
    assert!(!world.hub.handle_kick(world.now, "tea", &b.peer(), None));
    let session = a.session();
    assert!(world.hub.is_session(&session) && world.hub.handle_end(world.now, &session));
    world.drain();
    assert_eq!(world.bye_of(a.conn), 4504);
    assert!(!world.hub.handle_end(world.now, &session));
    assert_eq!(world.hub.footprint().sessions, 0);
    for client in [&mut a, &mut b] {
        let again = world.hello(json!({"t": "hello", "resume": client.secret()}));
        assert_eq!(again.welcome["resumed"], false);
    }
}

#[test]
fn who_is_banned_hears_the_room_in_no_other_way() {
    let mut world = World::with(false, generous());
    let token =
        |sub: &str, perm: &[&str]| json!({"sub": sub, "exp": 1_790_009_999, "room": "*", "perm": perm});
    let mut ann = world.client_with(&token("ann", &["join", "kick"]));
    let mut eve = world.client_with(&token("eve", &["join"]));
    let mut shadow = world.client_with(&token("eve", &["join", "observe"]));
    world.join(&mut ann, "tea");
    world.join(&mut eve, "tea");
    world.ask(&mut shadow, json!({"t": "join", "room": "tea", "as": "observer"}));
    let reader = crate::auth::JoinToken::read(&token("eve", &["observe"]).to_string()).unwrap();
    let open = |world: &mut World| {
        let conn = world.conn();
        let feed = FeedReader::Token(&reader);
        world.hub.handle_feed(world.now, conn, super::world::ADDRESS, "tea", feed, None).map(|()| conn)
    };
    let conn = open(&mut world).unwrap();
    world.drain();
    let ban = json!({"t": "kick", "room": "tea", "peer": eve.peer(), "ban_s": 60});
    assert_eq!(world.ask(&mut ann, ban)["t"], "ok");
    for closed in [conn, eve.conn, shadow.conn] {
        assert_eq!(world.close_of(closed), Some(4505));
    }
    assert_eq!(open(&mut world), Err(FeedRefusal::Forbidden));
    world.advance(secs(60));
    assert!(open(&mut world).is_ok());
}
