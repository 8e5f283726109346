use serde_json::json;

use super::world::{World, secs, types};

#[test]
fn welcome_is_the_first_frame_and_says_what_the_session_is() {
    let mut world = World::open();
    let client = world.client();
    let welcome = &client.welcome;
    assert_eq!(client.peer().len(), 17);
    assert_eq!(welcome["uid"], json!(null));
    assert_eq!(welcome["conn"], 1);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(welcome["gap"], false);
    assert_eq!((&welcome["last_id"], &welcome["seq"]), (&json!(0), &json!(0)));
    assert_eq!(welcome["resume_ttl_ms"], 30_000);
    assert_eq!((&welcome["ping_ms"], &welcome["dead_ms"]), (&json!(15_000), &json!(30_000)));
    assert_eq!((&welcome["node"], &welcome["features"]), (&json!("n1"), &json!([])));
    assert_eq!(welcome["limits"]["msg"], 65536);
    assert!(client.secret().starts_with("n1.e7."));
    assert!(welcome.get("rooms").is_none() && welcome.get("seq").is_some());
    let ice = &welcome["ice"];
    assert_eq!(ice["expires_at"], 1_790_003_600);
    assert_eq!(ice["refresh_at"], 1_790_001_800);
    assert_eq!(ice["policy"], "all");
    assert_eq!(ice["servers"][0], json!({"urls": ["stun:t.example"]}));
    assert_eq!(ice["servers"][1]["credential"], "c1");
}

#[test]
fn a_first_frame_that_is_no_good_hello_closes_with_4500() {
    for text in [
        "{",
        "[]",
        r#"{"t":"join","id":1,"room":"tea"}"#,
        r#"{"t":"hello","last_seq":"1"}"#,
        r#"{"t":"hello","t":"hello"}"#,
        r#"{"t":"hello","token":7}"#,
        r#"{"t":"pong"}"#,
    ] {
        let mut world = World::open();
        let conn = world.socket();
        world.say_raw(conn, text);
        assert_eq!(world.bye_of(conn), 4500, "{text}");
    }
    let mut world = World::open();
    let conn = world.socket();
    world.hub.handle_binary(world.now, conn);
    world.drain();
    assert_eq!(world.bye_of(conn), 4500);
}

#[test]
fn no_hello_within_five_seconds_closes_with_4503() {
    let mut world = World::open();
    let conn = world.socket();
    world.advance(secs(4));
    assert_eq!(world.close_of(conn), None);
    world.advance(secs(1));
    assert_eq!(world.bye_of(conn), 4503);
    assert_eq!(world.hub.footprint().conns, 0);
}

#[test]
fn every_request_gets_one_reply_with_numbers_without_a_hole() {
    let mut world = World::open();
    let mut client = world.client();
    assert_eq!(world.join(&mut client, "tea")["seq"], 1);
    let update = world.ask(&mut client, json!({"t": "update", "room": "tea", "meta": {"a": 1}}));
    assert_eq!((&update["t"], &update["seq"], &update["ver"]), (&json!("ok"), &json!(2), &json!(2)));
    let error = world.ask(&mut client, json!({"t": "leave", "room": "coffee"}));
    assert_eq!(
        (&error["t"], &error["seq"], &error["code"]),
        (&json!("error"), &json!(3), &json!("not_in_room"))
    );
    assert!(error["msg"].is_string());
    assert_eq!(world.ask(&mut client, json!({"t": "leave", "room": "tea"}))["seq"], 4);
}

#[test]
fn a_retry_is_dropped_and_its_reply_is_in_the_ring() {
    let mut world = World::open();
    let mut client = world.client();
    world.join(&mut client, "tea");
    world.say(client.conn, &json!({"t": "join", "id": 1, "room": "other"}));
    world.say(client.conn, &json!({"t": "join", "id": 0, "room": "other"}));
    world.say(client.conn, &json!({"t": "join", "id": -4, "room": "other"}));
    assert_eq!(world.read(client.conn), Vec::<serde_json::Value>::new());
    assert_eq!(world.hub.footprint().rooms, 1);
    world.resume(&mut client, 0);
    let replayed = world.next(client.conn);
    assert_eq!((&replayed["t"], &replayed["re"], &replayed["seq"]), (&json!("joined"), &json!(1), &json!(1)));
}

#[test]
fn a_hole_in_the_ids_is_a_conflict_without_effect() {
    let mut world = World::open();
    let mut client = world.client();
    world.say(client.conn, &json!({"t": "join", "id": 2, "room": "tea"}));
    let error = world.next(client.conn);
    assert_eq!(
        (&error["code"], &error["expected"], &error["seq"]),
        (&json!("conflict"), &json!(1), &json!(1))
    );
    assert!(error.get("re").is_none());
    assert_eq!(world.hub.footprint().rooms, 0);
    world.say_raw(client.conn, r#"{"t":"ice","id":99999999999999999999999}"#);
    assert_eq!(world.next(client.conn)["code"], "conflict");
    world.join(&mut client, "tea");
}

#[test]
fn what_is_no_request_gets_an_error_without_re_that_is_numbered() {
    let mut world = World::open();
    let mut client = world.client();
    let deep = format!(r#"{{"t":"ice","id":1,"x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for text in [
        "{",
        "[]",
        "null",
        r#"{"t":7,"id":1}"#,
        r#"{"id":1}"#,
        r#"{"t":"ice"}"#,
        r#"{"t":"ice","id":"1"}"#,
        r#"{"t":"ice","id":1,"id":1}"#,
        r#"{"t":"hello"}"#,
        r#"{"t":"hello","id":1}"#,
        &deep,
        r#"{"t":"send","id":1,"room":"tea","data":{"a":1,"a":2}}"#,
    ] {
        world.say_raw(client.conn, text);
        let error = world.next(client.conn);
        assert_eq!((&error["t"], &error["code"]), (&json!("error"), &json!("bad_request")), "{text}");
        assert!(error.get("re").is_none() && error["seq"].is_u64(), "{text}");
    }
    world.hub.handle_binary(world.now, client.conn);
    world.drain();
    assert_eq!(world.next(client.conn)["code"], "unsupported");
    world.join(&mut client, "tea");
}

#[test]
fn an_unknown_type_uses_its_id_up() {
    let mut world = World::open();
    let mut client = world.client();
    assert_eq!(world.ask(&mut client, json!({"t": "dance"}))["code"], "unknown_type");
    assert_eq!(world.ask(&mut client, json!({"t": "join"}))["code"], "bad_request");
    world.join(&mut client, "tea");
}

#[test]
fn errors_come_in_the_order_of_the_table() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    let big = "x".repeat(5000);
    let ask = |world: &mut World, a: &mut _, request| world.ask(a, request)["code"].clone();
    // bad_request before too_large before not_in_room before forbidden
    let bad = json!({"t": "state", "room": "coffee", "op": "set", "key": "", "value": big});
    assert_eq!(ask(&mut world, &mut a, bad), "bad_request");
    let large = json!({"t": "state", "room": "coffee", "op": "set", "key": "k", "value": big});
    assert_eq!(ask(&mut world, &mut a, large), "too_large");
    let outside = json!({"t": "kick", "room": "coffee", "peer": b.peer()});
    assert_eq!(ask(&mut world, &mut a, outside), "not_in_room");
    let forbidden = json!({"t": "kick", "room": "tea", "peer": "nobody"});
    assert_eq!(ask(&mut world, &mut a, forbidden), "forbidden");
    let joined = json!({"t": "join", "room": "tea", "as": "observer"});
    assert_eq!(ask(&mut world, &mut a, joined), "already_joined");
    let token = json!({"t": "join", "room": "tea", "token": "junk"});
    assert_eq!(ask(&mut world, &mut a, token), "unauthorized");
    let meta = json!({"t": "join", "room": "tea", "token": "junk", "meta": {"a": big}});
    assert_eq!(ask(&mut world, &mut a, meta), "too_large");
}

#[test]
fn a_released_session_ends_at_once_with_1000() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    assert_eq!(world.ask(&mut b.clone(), json!({"t": "bye"}))["t"], "ok");
    assert_eq!(world.close_of(b.conn), Some(1000));
    assert!(world.read(b.conn).is_empty());
    let left = world.next(a.conn);
    assert_eq!(
        (&left["t"], &left["reason"], &left["ver"]),
        (&json!("peer-left"), &json!("leave"), &json!(3))
    );
    assert_eq!(world.ended[0].1.label(), "bye");
    let again = world.hello(json!({"t": "hello", "resume": b.secret()}));
    assert_eq!(again.welcome["resumed"], false);
    assert_ne!(again.peer(), b.peer());
    world.ask(&mut a, json!({"t": "bye"}));
}

#[test]
fn silence_is_pinged_and_then_closed_with_4002() {
    let mut world = World::open();
    let client = world.client();
    world.advance(secs(14));
    assert!(world.read(client.conn).is_empty());
    world.advance(secs(1));
    let ping = world.next(client.conn);
    assert_eq!((&ping["t"], &ping["ts"]), (&json!("ping"), &json!(1_790_000_015)));
    assert!(ping.get("seq").is_none());
    world.advance(secs(14));
    assert_eq!(world.close_of(client.conn), None);
    world.advance(secs(1));
    assert_eq!(world.bye_of(client.conn), 4002);
    assert_eq!(world.hub.footprint().sessions, 1, "it waits in its grace");
}

#[test]
fn any_inbound_frame_is_a_sign_of_life() {
    let mut world = World::open();
    let client = world.client();
    for round in 0..20 {
        world.advance(secs(14));
        match round % 2 {
            0 => world.say(client.conn, &json!({"t": "pong"})),
            _ => world.hub.handle_alive(world.now, client.conn),
        }
    }
    assert_eq!(world.close_of(client.conn), None);
    // A client that only talks still hears something in time.
    assert!(types(&world.read(client.conn)).iter().all(|t| t == "ping"));
}

#[test]
fn a_message_over_the_limit_closes_with_1009_and_the_session_survives() {
    let mut world = World::open();
    let mut client = world.client();
    world.join(&mut client, "tea");
    let mut message = json!({"t": "send", "id": 2, "room": "tea", "data": ""}).to_string();
    message.push_str(&" ".repeat(65536 - message.len()));
    world.say_raw(client.conn, &message);
    assert_eq!(world.next(client.conn)["t"], "ok");
    message.push(' ');
    world.say_raw(client.conn, &message);
    assert_eq!(world.bye_of(client.conn), 1009);
    world.resume(&mut client, 2);
    assert_eq!(client.welcome["resumed"], true);
}

#[test]
fn drain_is_announced_and_then_closes_with_4000() {
    let mut world = World::open();
    let mut client = world.client();
    let stop = world.now.mono.after(secs(60));
    world.hub.handle_drain(world.now, stop);
    world.drain();
    let drain = world.next(client.conn);
    assert_eq!(
        (&drain["t"], &drain["seq"], &drain["deadline_ms"]),
        (&json!("drain"), &json!(1), &json!(60_000))
    );
    assert!((1000..5000).contains(&drain["retry_ms"].as_u64().unwrap()));
    let fresh = world.socket();
    world.say(fresh, &json!({"t": "hello"}));
    assert_eq!(world.bye_of(fresh), 4000);
    world.cut(&client);
    world.resume(&mut client, 1);
    world.advance_with(&[&client], secs(61));
    assert_eq!(world.bye_of(client.conn), 4000);
}

#[test]
fn bye_names_the_connection_and_the_close() {
    let mut world = World::open();
    let client = world.client();
    let mut other = client.clone();
    world.resume(&mut other, 0);
    let bye = world.next(client.conn);
    assert_eq!(bye, json!({"t": "bye", "code": 4506, "reason": "replaced", "conn": 1}));
    assert_eq!(world.close_of(client.conn), Some(4506));
    assert_eq!(other.welcome["conn"], 2);
}
