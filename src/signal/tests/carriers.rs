use serde_json::{Value, json};

use super::world::{ADDRESS, World, generous, millis, secs, text, types};
use crate::auth::JoinToken;
use crate::signal::{
    CloseCode, ConnId, EventsRefusal, FeedReader, FeedRefusal, Limits, Posted, Rate, Speech,
};

const NOW: u64 = 1_790_000_000;

struct Poster {
    welcome: Value,
    ticket: String,
    id: u64,
}

fn create(world: &mut World, hello: Value) -> Result<Poster, CloseCode> {
    let created = world.hub.handle_create(world.now, ADDRESS, None, &hello.to_string())?;
    world.drain();
    let welcome: Value = serde_json::from_str(&created.welcome.text()).unwrap();
    assert_eq!(welcome["t"], "welcome");
    Ok(Poster { welcome, ticket: created.ticket, id: 0 })
}

fn events(world: &mut World, ticket: &str, last: Option<u64>) -> Result<ConnId, EventsRefusal> {
    let conn = world.conn();
    let opened = world.hub.handle_events(world.now, conn, ADDRESS, ticket, last);
    world.drain();
    opened.map(|()| conn)
}

fn post_raw(world: &mut World, secret: &str, body: &str) -> Posted {
    let posted = world.hub.handle_post(world.now, ADDRESS, secret, body);
    world.drain();
    posted
}

fn post(world: &mut World, poster: &mut Poster, mut request: Value) -> Value {
    poster.id += 1;
    request["id"] = json!(poster.id);
    let Posted::Replies(replies) = post_raw(world, &text(&poster.welcome, "resume"), &request.to_string())
    else {
        panic!("no replies to {request}");
    };
    assert_eq!(replies.len(), 1);
    serde_json::from_str(&replies[0].text()).unwrap()
}

fn values(replies: &[crate::signal::Frame]) -> Vec<Value> {
    replies.iter().map(|reply| serde_json::from_str(&reply.text()).unwrap()).collect()
}

#[test]
fn replies_come_with_the_post_and_in_the_stream() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let ticket = poster.ticket.clone();
    let conn = events(&mut world, &ticket, None).unwrap();
    let joined = post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    assert_eq!((&joined["t"], &joined["seq"]), (&json!("joined"), &json!(1)));
    assert_eq!(world.next(conn), joined);
    let error = post(&mut world, &mut poster, json!({"t": "dance"}));
    assert_eq!(error["code"], "unknown_type");
}

#[test]
fn a_refused_hello_says_which_close_it_would_be() {
    let mut world = World::with(false, generous());
    assert_eq!(create(&mut world, json!({"t": "hello"})).err(), Some(CloseCode::Unauthorized));
    assert_eq!(create(&mut world, json!({"t": "join", "id": 1})).err(), Some(CloseCode::BadRequest));
    let token = json!({"exp": NOW}).to_string();
    assert_eq!(
        create(&mut world, json!({"t": "hello", "token": token})).err(),
        Some(CloseCode::TokenExpired)
    );
    assert_eq!(world.hub.footprint().sessions, 0);
}

#[test]
fn online_means_that_a_reader_is_attached() {
    let mut world = World::open();
    let mut a = world.client();
    world.join(&mut a, "tea");
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    assert_eq!(world.next(a.conn)["online"], false);
    let ticket = poster.ticket.clone();
    let conn = events(&mut world, &ticket, None).unwrap();
    assert_eq!(world.next(a.conn)["online"], true);
    assert_eq!(types(&world.read(conn)), ["joined"]);
    // `dead_ms` does not apply; a comment comes every 15 s.
    world.advance_with(&[&a], secs(100));
    assert_eq!(world.close_of(conn), None);
    assert_eq!(world.comments[&conn], 6);
    world.read(a.conn);
    world.hub.handle_closed(world.now, conn);
    world.drain();
    assert_eq!(world.next(a.conn)["online"], false);
    world.advance_with(&[&a], secs(30));
    assert!(types(&world.read(a.conn)).contains(&"peer-left".to_owned()));
    assert_eq!(events(&mut world, &ticket, None), Err(EventsRefusal::Gone));
    assert_eq!(post_raw(&mut world, &text(&poster.welcome, "resume"), "[]"), Posted::Gone);
}

#[test]
fn a_session_that_nobody_reads_ends_after_the_grace() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    world.advance(secs(20));
    post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    world.advance(secs(10));
    assert_eq!(world.hub.footprint().sessions, 0);
}

#[test]
fn the_stream_begins_after_the_last_event_id_else_after_what_is_acknowledged() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let ticket = poster.ticket.clone();
    let first = events(&mut world, &ticket, None).unwrap();
    for _ in 0..4 {
        post(&mut world, &mut poster, json!({"t": "ice"}));
    }
    assert_eq!(world.read(first).len(), 4);
    let second = events(&mut world, &ticket, Some(3)).unwrap();
    assert_eq!(world.bye_of(first), 4506, "a second reader replaces the first");
    assert_eq!(world.next(second)["seq"], 4);
    post(&mut world, &mut poster, json!({"t": "ice", "ack": 2}));
    let third = events(&mut world, &ticket, None).unwrap();
    assert_eq!(world.next(third)["seq"], 3);
    assert_eq!(events(&mut world, &ticket, Some(1)), Err(EventsRefusal::Gap));
    assert_eq!(events(&mut world, &ticket, Some(99)), Err(EventsRefusal::Gap));
    assert_eq!(world.close_of(third), None, "who is refused replaces nobody");
}

#[test]
fn after_a_gap_hello_again_opens_the_stream() {
    let mut world = World::open();
    let mut a = world.client();
    world.join(&mut a, "tea");
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    for _ in 0..300 {
        world.ask(&mut a, json!({"t": "send", "room": "tea"}));
        world.read(a.conn);
        let id = a.id;
        world.say(a.conn, &json!({"t": "pong", "ack": id}));
    }
    let ticket = poster.ticket.clone();
    assert_eq!(events(&mut world, &ticket, None), Err(EventsRefusal::Gap));
    let hello = json!({"t": "hello", "resume": text(&poster.welcome, "resume")});
    poster = create(&mut world, hello).unwrap_or_else(|_| panic!());
    assert_eq!((&poster.welcome["resumed"], &poster.welcome["gap"]), (&json!(true), &json!(true)));
    assert_eq!(events(&mut world, &ticket, None), Err(EventsRefusal::Unauthorized), "an older ticket");
    let ticket = poster.ticket.clone();
    let conn = events(&mut world, &ticket, None).unwrap();
    assert_eq!(world.read(conn).len(), 256);
}

#[test]
fn an_array_is_applied_in_order_up_to_a_hole() {
    let mut world = World::open();
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let secret = text(&poster.welcome, "resume");
    let body =
        json!([{"t": "join", "id": 1, "room": "tea"}, {"t": "pong"}, {"t": "x"}, {"t": "ice", "id": 2}]);
    let Posted::Replies(replies) = post_raw(&mut world, &secret, &body.to_string()) else { panic!() };
    let replies = values(&replies);
    assert_eq!(types(&replies), ["joined", "error", "ok"]);
    assert!(replies[1].get("re").is_none() && replies[1]["seq"].is_u64());
    let body = json!([{"t": "ice", "id": 3}, {"t": "ice", "id": 5}, {"t": "ice", "id": 4}]);
    let Posted::Hole { expected, replies } = post_raw(&mut world, &secret, &body.to_string()) else {
        panic!()
    };
    assert_eq!((expected, values(&replies)[0]["re"].clone()), (4, json!(3)));
    assert_eq!(replies.len(), 1);
}

#[test]
fn a_body_that_is_no_object_and_no_array_of_them_applies_nothing() {
    let mut world = World::open();
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let secret = text(&poster.welcome, "resume");
    for body in
        ["", "7", "[", r#"[{"t":"join","id":1,"room":"tea"},7]"#, r#"[{"t":"join","id":1,"room":"tea"}"#]
    {
        assert_eq!(post_raw(&mut world, &secret, body), Posted::Bad, "{body}");
    }
    assert_eq!(world.hub.footprint().rooms, 0);
    assert_eq!(post_raw(&mut world, "", "[]"), Posted::Unauthorized);
    assert_eq!(post_raw(&mut world, &secret, "[]"), Posted::Replies(vec![]));
    let wrong = format!("{}{}", &secret[..secret.len() - 1], if secret.ends_with('a') { 'b' } else { 'a' });
    assert_eq!(post_raw(&mut world, &wrong, "[]"), Posted::Unauthorized);
    assert_eq!(post_raw(&mut world, &secret.replace("e7", "e6"), "[]"), Posted::Gone);
}

#[test]
fn a_retry_is_answered_from_the_ring_and_one_acknowledged_is_a_conflict() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let secret = text(&poster.welcome, "resume");
    let ticket = poster.ticket.clone();
    events(&mut world, &ticket, None).unwrap();
    let joined = post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    let retry = json!({"t": "join", "id": 1, "room": "tea"}).to_string();
    let Posted::Replies(replies) = post_raw(&mut world, &secret, &retry) else { panic!() };
    assert_eq!(values(&replies), std::slice::from_ref(&joined));
    post_raw(&mut world, &secret, r#"{"t":"pong","ack":1}"#);
    let Posted::Replies(replies) = post_raw(&mut world, &secret, &retry) else { panic!() };
    let reply = &values(&replies)[0];
    assert_eq!((&reply["re"], &reply["code"]), (&json!(1), &json!("conflict")));
}

#[test]
fn bye_over_post_ends_the_session_and_its_stream() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let ticket = poster.ticket.clone();
    let conn = events(&mut world, &ticket, None).unwrap();
    assert_eq!(post(&mut world, &mut poster, json!({"t": "bye"}))["t"], "ok");
    assert_eq!(world.close_of(conn), Some(1000));
    assert_eq!(world.hub.footprint().sessions, 0);
}

#[test]
fn a_session_moves_between_the_carriers() {
    let mut world = World::open();
    let (a, mut b) = world.pair();
    let hello = json!({"t": "hello", "resume": b.secret(), "last_seq": 1});
    let poster = create(&mut world, hello).unwrap_or_else(|_| panic!());
    assert_eq!(world.bye_of(b.conn), 4506);
    assert_eq!((&poster.welcome["resumed"], &poster.welcome["conn"]), (&json!(true), &json!(2)));
    let conn = events(&mut world, &poster.ticket, None).unwrap();
    assert_eq!(types(&world.read(a.conn)), ["peer-status", "peer-status"]);
    b.welcome = poster.welcome.clone();
    world.resume(&mut b, 1);
    assert_eq!(world.bye_of(conn), 4506);
    assert_eq!(b.welcome["conn"], 3);
    assert!(world.read(a.conn).is_empty(), "nobody notices");
    assert_eq!(events(&mut world, &poster.ticket, None), Err(EventsRefusal::Unauthorized));
}

#[test]
fn an_ack_by_an_old_bearer_does_not_kill_it() {
    let mut world = World::open();
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let old = text(&poster.welcome, "resume");
    post_raw(&mut world, &old, "[]");
    // The welcome of this one is lost.
    let lost = create(&mut world, json!({"t": "hello", "resume": old})).unwrap_or_else(|_| panic!());
    assert_eq!(post_raw(&mut world, &old, r#"{"t":"pong","ack":0}"#), Posted::Replies(vec![]));
    assert_eq!(post_raw(&mut world, &old, "[]"), Posted::Replies(vec![]));
    let newest = text(&lost.welcome, "resume");
    assert_eq!(post_raw(&mut world, &newest, "[]"), Posted::Replies(vec![]));
    assert_eq!(post_raw(&mut world, &old, "[]"), Posted::Unauthorized, "use of the newest killed it");
}

#[test]
fn a_flood_of_posts_closes_the_reader_with_4004() {
    let limits = Limits { messages: Rate { per_second: 1, burst: 3 }, ..generous() };
    let mut world = World::with(true, limits);
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let conn = events(&mut world, &poster.ticket, None).unwrap();
    let body: Vec<Value> = (1..10).map(|id| json!({"t": "ice", "id": id})).collect();
    let posted = post_raw(&mut world, &text(&poster.welcome, "resume"), &json!(body).to_string());
    let Posted::RateLimited { replies } = posted else { panic!("{posted:?}") };
    assert_eq!(types(&values(&replies)), ["ok", "error", "error", "error"]);
    assert_eq!(world.bye_of(conn), 4004);
}

fn feed(world: &mut World, room: &str, last: Option<&str>) -> Result<ConnId, FeedRefusal> {
    let conn = world.conn();
    let opened = world.hub.handle_feed(world.now, conn, ADDRESS, room, FeedReader::Key, last);
    world.drain();
    opened.map(|()| conn)
}

#[test]
fn a_feed_shows_the_room_as_an_observer_gets_it_without_seq() {
    let mut world = World::open();
    let mut a = world.client();
    world.join(&mut a, "tea");
    let conn = feed(&mut world, "tea", None).unwrap();
    let joined = world.next(conn);
    assert_eq!((&joined["t"], &joined["you"]), (&json!("joined"), &json!({"ord": null, "as": "observer"})));
    assert_eq!(joined["peers"][0]["peer"], a.peer());
    assert!(joined.get("ice").is_none() && joined.get("seq").is_none());
    let mut b = world.client();
    world.join(&mut b, "tea");
    world.ask(&mut a, json!({"t": "send", "room": "tea", "to": b.peer(), "data": "private"}));
    world.read(a.conn);
    let mut ask = |world: &mut World, request: Value| {
        world.read(a.conn);
        world.ask(&mut a, request)
    };
    assert_eq!(ask(&mut world, json!({"t": "send", "room": "tea", "data": 1}))["n"], 1);
    ask(&mut world, json!({"t": "update", "room": "tea", "meta": {"x": 1}}));
    ask(&mut world, json!({"t": "state", "room": "tea", "op": "set", "key": "k", "value": 1}));
    world.cut(&b);
    let told = world.read(conn);
    assert_eq!(types(&told), ["peer-joined", "message", "peer-updated", "state", "peer-status"]);
    assert!(told.iter().all(|message| message.get("seq").is_none()));
}

#[test]
fn a_feed_goes_on_after_the_last_event_id() {
    let mut world = World::open();
    let mut a = world.client();
    world.join(&mut a, "tea");
    let conn = world.conn();
    world.hub.handle_feed(world.now, conn, ADDRESS, "tea", FeedReader::Key, None).unwrap();
    let mut ids = Vec::new();
    let mut collect = |world: &mut World| {
        while let Some(action) = world.hub.poll_action() {
            if let crate::signal::Action::Send { conn: to, frame } = action
                && to == conn
            {
                ids.push(frame.event_id().unwrap());
            }
        }
        ids.clone()
    };
    let say = |world: &mut World, data: u64| {
        let speech = json!({"data": data}).to_string();
        world.hub.handle_publish(world.now, "tea", &Speech::read(&speech).unwrap());
    };
    collect(&mut world);
    say(&mut world, 1);
    let ids = collect(&mut world);
    world.hub.handle_closed(world.now, conn);
    world.drain();
    say(&mut world, 2);
    world.drain();
    world.advance_with(&[&a], secs(20));
    let back = feed(&mut world, "tea", Some(&ids[1])).unwrap();
    let told = world.read(back);
    assert_eq!((types(&told), &told[0]["data"]), (vec!["message".to_owned()], &json!(2)));
    let from_joined = feed(&mut world, "tea", Some(&ids[0])).unwrap();
    assert_eq!(world.read(from_joined).len(), 2);
    for conn in [back, from_joined] {
        world.hub.handle_closed(world.now, conn);
    }
    world.advance_with(&[&a], secs(31));
    let late = feed(&mut world, "tea", Some(&ids[1])).unwrap();
    assert_eq!(types(&world.read(late)), ["joined"], "kept for the grace");
    let foreign = feed(&mut world, "tea", Some("6-1-1")).unwrap();
    assert_eq!(types(&world.read(foreign)), ["joined"]);
}

#[test]
fn a_room_lives_while_its_feed_is_read() {
    let mut world = World::open();
    let conn = feed(&mut world, "tea", None).unwrap();
    let speech = Speech::read("{}").unwrap();
    assert_eq!(world.hub.handle_publish(world.now, "tea", &speech), 0);
    world.drain();
    assert_eq!(types(&world.read(conn)), ["joined", "message"]);
    world.hub.handle_closed(world.now, conn);
    assert_eq!(world.hub.footprint(), crate::signal::Footprint::default());
}

#[test]
fn a_feed_needs_the_permission_to_observe_and_ends_with_its_token() {
    let mut world = World::with(false, generous());
    let open = |world: &mut World, reader: FeedReader<'_>| {
        let conn = world.conn();
        let opened = world.hub.handle_feed(world.now, conn, ADDRESS, "tea", reader, None);
        world.drain();
        opened.map(|()| conn)
    };
    let token = |perm: &str, room: &str, ttl: u64| {
        JoinToken::read(&json!({"exp": NOW + ttl, "room": room, "perm": [perm]}).to_string()).unwrap()
    };
    assert_eq!(open(&mut world, FeedReader::Open), Err(FeedRefusal::Unauthorized));
    assert_eq!(open(&mut world, FeedReader::Token(&token("join", "tea", 50))), Err(FeedRefusal::Forbidden));
    assert_eq!(open(&mut world, FeedReader::Token(&token("observe", "x", 50))), Err(FeedRefusal::Forbidden));
    assert_eq!(
        open(&mut world, FeedReader::Token(&token("observe", "tea", 0))),
        Err(FeedRefusal::TokenExpired)
    );
    let conn = open(&mut world, FeedReader::Token(&token("observe", "tea", 50))).unwrap();
    world.advance(secs(49));
    assert_eq!(world.close_of(conn), None);
    assert_eq!(world.comments[&conn], 3);
    world.advance(secs(1));
    assert_eq!(world.bye_of(conn), 4502);
    assert_eq!(feed(&mut world, "", None), Err(FeedRefusal::BadRequest));
}

#[test]
fn a_reader_that_falls_behind_its_feed_is_closed() {
    let mut world = World::open();
    let conn = feed(&mut world, "tea", None).unwrap();
    world.stall(conn);
    let speech = json!({"data": "x".repeat(10_000)}).to_string();
    for _ in 0..150 {
        world.hub.handle_publish(world.now, "tea", &Speech::read(&speech).unwrap());
        world.drain();
    }
    assert_eq!(world.close_of(conn), Some(4001));
    world.advance(millis(1));
}

#[test]
fn text_on_a_reader_is_not_for_the_hub() {
    let mut world = World::open();
    let conn = feed(&mut world, "tea", None).unwrap();
    world.say_raw(conn, r#"{"t":"hello"}"#);
    assert_eq!(world.close_of(conn), None);
}

#[test]
fn one_answer_holds_a_reply_once_however_often_it_is_asked_for() {
    let mut world = World::open();
    let mut poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    post(&mut world, &mut poster, json!({"t": "join", "room": "tea"}));
    let body = json!(vec![json!({"t": "ice", "id": 1}); 300]).to_string();
    let Posted::Replies(replies) = post_raw(&mut world, &text(&poster.welcome, "resume"), &body) else {
        panic!()
    };
    assert_eq!(types(&values(&replies)), ["joined"]);
}

#[test]
fn a_posted_message_is_as_large_as_any_other_at_most() {
    let mut world = World::with(true, Limits { max_message: 1000, ..generous() });
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let good = json!({"t": "ice", "id": 1});
    let body = json!([good, {"t": "send", "id": 2, "room": "tea", "data": "x".repeat(1000)}]).to_string();
    let secret = text(&poster.welcome, "resume");
    assert_eq!(post_raw(&mut world, &secret, &body), Posted::TooLarge);
    let Posted::Replies(replies) = post_raw(&mut world, &secret, &good.to_string()) else { panic!() };
    assert_eq!(types(&values(&replies)), ["ok"], "nothing of it was applied");
}

#[test]
fn a_reader_of_events_that_comes_and_goes_too_often_is_refused() {
    let limits = Limits { messages: Rate { per_second: 1, burst: 3 }, ..generous() };
    let mut world = World::with(true, limits);
    let poster = create(&mut world, json!({"t": "hello"})).unwrap_or_else(|_| panic!());
    let opened: Vec<bool> = (0..4).map(|_| events(&mut world, &poster.ticket, None).is_ok()).collect();
    assert_eq!(opened, [true, true, false, false]);
    let refused = events(&mut world, &poster.ticket, None).unwrap_err();
    assert!(matches!(refused, EventsRefusal::RateLimited(wait) if wait <= secs(1)), "{refused:?}");
    world.advance(secs(1));
    assert!(events(&mut world, &poster.ticket, None).is_ok());
}

#[test]
fn what_waits_for_a_move_to_events_is_not_cut_before_they_are_opened() {
    let mut world = World::open();
    let (mut a, b) = world.pair();
    world.stall(b.conn);
    for _ in 0..400 {
        world.ask(&mut a, json!({"t": "send", "room": "tea", "data": "x".repeat(300)}));
        let id = a.id;
        world.say(a.conn, &json!({"t": "pong", "ack": id + 2}));
    }
    let hello = json!({"t": "hello", "resume": b.secret(), "last_seq": 1});
    let moved = create(&mut world, hello).unwrap_or_else(|_| panic!());
    assert_eq!((&moved.welcome["resumed"], &moved.welcome["gap"]), (&json!(true), &json!(false)));
    let conn = events(&mut world, &moved.ticket, Some(1)).unwrap();
    assert_eq!(world.read(conn).len(), 400);
}

#[test]
fn copies_for_readers_of_a_feed_are_paid_for_like_any_other() {
    let limits = Limits { bytes: Rate { per_second: 1000, burst: 50_000 }, ..generous() };
    let mut world = World::with(true, limits);
    let mut a = world.client();
    world.join(&mut a, "tea");
    for _ in 0..10 {
        feed(&mut world, "tea", None).unwrap();
    }
    let send = json!({"t": "send", "room": "tea", "data": "x".repeat(4000)});
    assert_eq!(world.ask(&mut a, send.clone())["t"], "ok");
    assert_eq!(world.ask(&mut a, send)["code"], "rate_limited");
}

#[test]
fn readers_that_come_at_once_share_the_roster_and_an_address_opens_only_so_many() {
    let limits = Limits { messages_per_address: Rate { per_second: 10, burst: 100 }, ..generous() };
    let mut world = World::with(true, limits);
    let mut a = world.client();
    let meta = json!({"about": "x".repeat(4000)});
    for room in ["tea", "milk"] {
        world.ask(&mut a, json!({"t": "join", "room": room, "meta": meta}));
    }
    let opened: Vec<_> = (0..100).map(|_| feed(&mut world, "tea", None)).collect();
    let count = opened.iter().filter(|one| one.is_ok()).count();
    // Each costs a message, and one more for each 4 KiB.
    assert!((40..=50).contains(&count), "{count}");
    assert!(matches!(opened.last(), Some(Err(FeedRefusal::RateLimited(_)))));
}

#[test]
fn feeds_together_keep_little_when_rings_have_little_room() {
    let mut world = World::with(true, Limits { ring_memory: 1 << 20, ..generous() });
    for room in 0..20 {
        let conn = feed(&mut world, &room.to_string(), None).unwrap();
        let speech = json!({"data": "x".repeat(10_000)}).to_string();
        for _ in 0..30 {
            world.hub.handle_publish(world.now, &room.to_string(), &Speech::read(&speech).unwrap());
            world.drain();
        }
        world.read(conn);
    }
    let kept = world.hub.footprint().feed_bytes;
    assert!(kept < (1 << 20) / 4 + 20 * (64 << 10) + (300 << 10), "{kept}");
}
