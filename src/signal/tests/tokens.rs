use serde_json::{Value, json};

use super::world::{World, generous, secs, types};
use crate::signal::{AddressKey, Limits};

const NOW: u64 = 1_790_000_000;

fn token(sub: &str, ttl: u64) -> Value {
    json!({"sub": sub, "exp": NOW + ttl, "room": "*"})
}

fn closed() -> World {
    World::with(false, generous())
}

#[test]
fn without_a_valid_token_hello_is_4501_and_with_an_expired_one_4502() {
    for (hello, code) in [
        (json!({"t": "hello"}), 4501),
        (json!({"t": "hello", "token": "junk"}), 4501),
        (json!({"t": "hello", "token": token("ann", 0).to_string()}), 4502),
        (json!({"t": "hello", "token": json!({"exp": NOW + 60, "nbf": NOW + 11}).to_string()}), 4501),
        (json!({"t": "hello", "resume": "n1.e7.x"}), 4501),
    ] {
        let mut world = closed();
        let conn = world.socket();
        world.say(conn, &hello);
        assert_eq!(world.bye_of(conn), code, "{hello}");
    }
    let mut world = closed();
    assert_eq!(world.client_with(&token("ann", 100)).welcome["uid"], "ann");
}

#[test]
fn the_second_protocols_token_counts_where_hello_has_none() {
    let mut world = closed();
    let open = |world: &mut World, hello: Value| {
        let conn = world.conn();
        world.hub.handle_open(world.now, conn, AddressKey::V6(1), Some(token("ann", 100).to_string()));
        world.say(conn, &hello);
        world.next(conn)["uid"].clone()
    };
    assert_eq!(open(&mut world, json!({"t": "hello"})), "ann");
    assert_eq!(open(&mut world, json!({"t": "hello", "token": token("bob", 100).to_string()})), "bob");
}

#[test]
fn open_signaling_permits_all_but_kick_and_checks_a_given_token() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    let kick = json!({"t": "kick", "room": "tea", "peer": b.peer()});
    assert_eq!(world.ask(&mut a, kick)["code"], "forbidden");
    assert_eq!(world.live[0].1.uid, None);
    assert!(world.live[0].1.open);
    let conn = world.socket();
    world.say(conn, &json!({"t": "hello", "token": "junk"}));
    assert_eq!(world.bye_of(conn), 4501);
    let mut bound = world.client_with(&json!({"exp": NOW + 100, "room": "tea"}));
    assert_eq!(world.ask(&mut bound, json!({"t": "join", "room": "coffee"}))["code"], "forbidden");
}

#[test]
fn a_token_opens_its_rooms_and_permits_what_it_says() {
    let mut world = closed();
    let mut guest =
        world.client_with(&json!({"exp": NOW + 100, "room": ["tea", "lab-*"], "perm": ["join", "observe"]}));
    assert_eq!(world.ask(&mut guest, json!({"t": "join", "room": "coffee"}))["code"], "forbidden");
    world.join(&mut guest, "lab-7");
    for request in [
        json!({"t": "send", "room": "lab-7"}),
        json!({"t": "signal", "room": "lab-7", "to": "x", "kind": "offer", "pc": "p", "gen": 1}),
        json!({"t": "state", "room": "lab-7", "op": "del", "key": "k"}),
    ] {
        assert_eq!(world.ask(&mut guest, request.clone())["code"], "forbidden", "{request}");
    }
    assert_eq!(world.ask(&mut guest, json!({"t": "update", "room": "lab-7", "meta": {}}))["t"], "ok");
    assert_eq!(world.ask(&mut guest, json!({"t": "ice"}))["t"], "ok");
    let mut speaker = world.client_with(&json!({"exp": NOW + 100, "room": "*"}));
    let watch = json!({"t": "join", "room": "tea", "as": "observer"});
    assert_eq!(world.ask(&mut speaker, watch)["code"], "forbidden");
    let mut none = world.client_with(&json!({"exp": NOW + 100}));
    assert_eq!(world.ask(&mut none, json!({"t": "join", "room": "tea"}))["code"], "forbidden");
}

#[test]
fn a_token_may_ask_for_a_smaller_room() {
    let mut world = closed();
    let pair = json!({"exp": NOW + 100, "room": "*", "max_peers": 1});
    let (mut a, mut b) = (world.client_with(&pair), world.client_with(&pair));
    world.join(&mut a, "tea");
    assert_eq!(world.ask(&mut b, json!({"t": "join", "room": "tea"}))["code"], "room_full");
}

#[test]
fn the_tokens_meta_comes_as_dollar_keys() {
    let mut world = closed();
    let mut a = world.client_with(&json!({"exp": NOW + 100, "room": "*", "meta": {"name": "Ann"}}));
    let mut b = world.client_with(&token("bob", 100));
    world.ask(&mut a, json!({"t": "join", "room": "tea", "meta": {"mood": "fine"}}));
    let joined = world.join(&mut b, "tea");
    assert_eq!(joined["peers"][0]["meta"], json!({"$name": "Ann", "mood": "fine"}));
    assert_eq!(
        world.ask(&mut b, json!({"t": "join", "room": "x", "meta": {"$name": "Eve"}}))["code"],
        "bad_request"
    );
}

#[test]
fn a_token_in_join_replaces_the_rights_in_that_room() {
    let mut world = closed();
    let mut a =
        world.client_with(&json!({"sub": "ann", "exp": NOW + 9000, "room": "lobby", "perm": ["join"]}));
    let room_token = json!({"sub": "ann", "exp": NOW + 100, "room": "tea", "perm": ["join", "send"]});
    let join = |token: &Value| json!({"t": "join", "room": "tea", "token": token.to_string()});
    assert_eq!(
        world.ask(&mut a, join(&json!({"sub": "bob", "exp": NOW + 100, "room": "tea"})))["code"],
        "forbidden"
    );
    assert_eq!(
        world.ask(&mut a, join(&json!({"sub": "ann", "exp": NOW, "room": "tea"})))["code"],
        "token_expired"
    );
    assert_eq!(
        world.ask(&mut a, json!({"t": "join", "room": "tea", "token": "junk"}))["code"],
        "unauthorized"
    );
    assert_eq!(world.ask(&mut a, join(&room_token))["t"], "joined");
    world.join(&mut a, "lobby");
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "tea"}))["t"], "ok");
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "lobby"}))["code"], "forbidden");
}

#[test]
fn an_expired_room_token_ends_that_membership_alone() {
    let mut world = closed();
    let mut a = world.client_with(&token("ann", 9000));
    let mut b = world.client_with(&token("bob", 9000));
    world.join(&mut b, "tea");
    let room_token = json!({"sub": "ann", "exp": NOW + 100, "room": "tea"}).to_string();
    world.ask(&mut a, json!({"t": "join", "room": "tea", "token": room_token}));
    world.join(&mut a, "lobby");
    world.read(b.conn);
    world.advance_with(&[&a, &b], secs(40));
    let expiring: Vec<_> = world.read(a.conn).into_iter().filter(|m| m["t"] == "token-expiring").collect();
    assert_eq!((&expiring[0]["in_ms"], &expiring[0]["room"]), (&json!(60_000), &json!("tea")));
    world.advance_with(&[&a, &b], secs(60));
    for conn in [a.conn, b.conn] {
        let left = world.read(conn).into_iter().find(|message| message["t"] == "peer-left").unwrap();
        assert_eq!((&left["reason"], &left["peer"]), (&json!("token-expired"), &json!(a.peer())));
    }
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "tea"}))["code"], "not_in_room");
    assert_eq!(world.ask(&mut a, json!({"t": "send", "room": "lobby"}))["t"], "ok");
}

#[test]
fn who_leaves_takes_every_deadline_along() {
    let mut world = closed();
    let mut a = world.client_with(&token("ann", 9_000_000));
    let room_token = json!({"sub": "ann", "exp": NOW + 8_000_000, "room": "tea"}).to_string();
    world.ask(&mut a, json!({"t": "join", "room": "tea", "token": room_token}));
    let set = json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1, "ttl_ms": 86_400_000});
    world.ask(&mut a, set);
    world.ask(&mut a, json!({"t": "bye"}));
    assert_eq!(world.hub.footprint(), crate::signal::Footprint::default());
}

#[test]
fn expiry_is_announced_and_then_closes_with_4502() {
    let mut world = closed();
    let mut a = world.client_with(&token("ann", 100));
    let mut b = world.client_with(&token("bob", 9000));
    world.join(&mut a, "tea");
    world.join(&mut b, "tea");
    world.read(a.conn);
    world.advance_with(&[&a, &b], secs(40));
    let told = world.read(a.conn);
    let expiring = told.iter().find(|message| message["t"] == "token-expiring").unwrap();
    assert_eq!((&expiring["in_ms"], &expiring["seq"]), (&json!(60_000), &json!(3)));
    world.advance_with(&[&a, &b], secs(59));
    assert_eq!(world.close_of(a.conn), None);
    world.advance_with(&[&a, &b], secs(1));
    assert_eq!(world.bye_of(a.conn), 4502);
    let told = world.read(b.conn);
    let left = told.iter().find(|message| message["t"] == "peer-left").unwrap();
    assert_eq!(left["reason"], "token-expired");
    assert_eq!(world.ended[0].1, crate::signal::SessionEnd::TokenExpired);
}

#[test]
fn a_token_near_its_end_is_announced_at_once() {
    let mut world = closed();
    let a = world.client_with(&token("ann", 30));
    let told = world.next(a.conn);
    assert_eq!((&told["t"], &told["in_ms"]), (&json!("token-expiring"), &json!(30_000)));
    world.advance(secs(25));
    assert_eq!(types(&world.read(a.conn)), ["ping"], "once");
}

#[test]
fn refresh_extends_without_reconnecting() {
    let mut world = closed();
    let mut a = world.client_with(&token("ann", 100));
    world.join(&mut a, "tea");
    let refresh = |token: &Value| json!({"t": "refresh", "token": token.to_string()});
    assert_eq!(world.ask(&mut a, refresh(&token("bob", 500)))["code"], "forbidden");
    assert_eq!(world.ask(&mut a, refresh(&token("ann", 0)))["code"], "token_expired");
    assert_eq!(world.ask(&mut a, refresh(&json!("junk")))["code"], "unauthorized");
    let narrow = json!({"sub": "ann", "exp": NOW + 500, "room": "lobby", "perm": ["join"]});
    assert_eq!(world.ask(&mut a, refresh(&narrow))["exp"], NOW + 500);
    assert_eq!(
        world.ask(&mut a, json!({"t": "send", "room": "tea"}))["code"],
        "forbidden",
        "rights are the new ones"
    );
    assert_eq!(world.ask(&mut a, json!({"t": "leave", "room": "tea"}))["t"], "ok", "rooms joined stay");
    world.advance_with(&[&a], secs(499));
    assert_eq!(world.close_of(a.conn), None);
    assert!(types(&world.read(a.conn)).contains(&"token-expiring".to_owned()));
    world.advance_with(&[&a], secs(1));
    assert_eq!(world.bye_of(a.conn), 4502);
}

#[test]
fn a_token_beside_resume_works_as_refresh() {
    let mut world = closed();
    let mut a = world.client_with(&token("ann", 100));
    let conn = world.socket();
    world.say(conn, &json!({"t": "hello", "resume": a.secret(), "token": token("ann", 500).to_string()}));
    a.welcome = world.next(conn);
    a.conn = conn;
    assert_eq!(a.welcome["resumed"], true);
    world.advance_with(&[&a], secs(200));
    assert_eq!(world.close_of(a.conn), None);
    world.resume(&mut a, 0);
    assert_eq!(a.welcome["resumed"], true, "without a token the rights stay");
}

#[test]
fn an_expired_session_is_not_resumed() {
    let mut world = closed();
    let a = world.client_with(&token("ann", 10));
    world.cut(&a);
    world.advance(secs(11));
    let again =
        world.hello(json!({"t": "hello", "resume": a.secret(), "token": token("ann", 500).to_string()}));
    assert_eq!(again.welcome["resumed"], false);
}

#[test]
fn ice_servers_are_pushed_half_way_to_their_expiry() {
    let mut world = World::with(true, Limits { ..generous() });
    world.hub.authority_mut().ttl = 40;
    let mut a = world.client();
    assert_eq!(a.welcome["ice"]["refresh_at"], NOW + 20);
    world.advance_with(&[&a], secs(19));
    assert!(types(&world.read(a.conn)).iter().all(|t| t == "ping"));
    world.advance_with(&[&a], secs(1));
    let ice = world.next(a.conn);
    assert_eq!((&ice["t"], &ice["expires_at"]), (&json!("ice"), &json!(NOW + 60)));
    assert!(ice.get("seq").is_none() && ice["servers"][1]["credential"] == "c2");
    assert_eq!(world.hub.stats().ice_refresh, 1);
    let fresh = world.ask(&mut a, json!({"t": "ice"}));
    assert_eq!(fresh["ice"]["servers"][1]["credential"], "c3");
    world.cut(&a);
    world.advance(secs(25));
    world.resume(&mut a, 1);
    assert_eq!(a.welcome["ice"]["expires_at"], NOW + 45 + 40, "a return brings fresh ones");
    let joined = world.join(&mut a, "tea");
    assert_eq!(joined["ice"]["expires_at"], NOW + 45 + 40);
}

#[test]
fn the_tokens_ice_terms_reach_the_client_and_the_shell() {
    let mut world = closed();
    let ice = json!({"policy": "relay", "ttl": 120, "kbps": 500});
    let a = world.client_with(&json!({"sub": "ann", "exp": NOW + 900, "ice": ice}));
    assert_eq!(
        (&a.welcome["ice"]["policy"], &a.welcome["ice"]["expires_at"]),
        (&json!("relay"), &json!(NOW + 120))
    );
    let (session, terms) = world.live[0].clone();
    assert_eq!(session, a.session());
    assert_eq!((terms.uid.as_deref(), terms.ice.kbps, terms.open), (Some("ann"), Some(500), false));
}
