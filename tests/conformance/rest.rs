//! Section N: expiring credentials, leases and sessions.

use std::sync::Arc;
use std::time::Duration;

use turnpike::auth::{Credentials, SessionId, mint};
use turnpike::turn::{Event, SessionLease};

use crate::script::wire::*;
use crate::script::{Client, Lab, REALM_NAME, START, secs};

const ANN: &str = "1.2.3.4:5000";
const DAY: i64 = 24 * 3600;

fn allocate_code(lab: &mut Lab, client: Client) -> u16 {
    let client = lab.logged_in(client);
    let ask = lab.request(ALLOCATE).udp();
    lab.ask(&client, &ask).code()
}

#[test]
fn expiry_is_judged_to_the_second_and_may_not_lie_too_far_ahead() {
    // T-REST-4.2-01
    let mut lab = Lab::new();
    for (ttl, code) in [(-1, 401), (0, 401), (DAY + 301, 401), (i64::MAX, 401), (1, 0)] {
        assert_eq!(allocate_code(&mut lab, Client::minted(ANN, "carol", ttl)), code, "{ttl}");
    }
    assert_eq!(allocate_code(&mut lab, Client::minted("1.2.3.4:5001", "carol", DAY + 300)), 0);
}

#[test]
fn live_allocation_is_kept_up_through_the_grace_and_not_past_it() {
    // T-REST-4.2-02
    let mut lab = Lab::with(|setup| setup.limits.expiry_grace = secs(1000));
    let mut carol = Client::minted(ANN, "carol", 100);
    lab.allocate(&mut carol);
    lab.advance(secs(500));
    assert!(lab.refresh(&carol, 600).is_success());
    assert_eq!(lab.permit(&carol, &["1.1.1.1"]), 0);
    assert_eq!(lab.bind(&carol, 0x4000, "1.1.1.1:1"), 0);
    lab.advance(secs(599));
    assert!(lab.refresh(&carol, 600).is_success());
    lab.advance(secs(1));
    // 1100 seconds after the start expiry and grace are over; the allocation runs out by itself.
    assert_eq!(lab.refresh(&carol, 600).code(), 401);
    assert_eq!(lab.permit(&carol, &["1.1.1.1"]), 0);
    assert_eq!(lab.refresh(&carol, 0).code(), 0);
}

#[test]
fn grace_of_zero_ends_refreshes_with_the_credential() {
    // T-REST-4.2-02
    let mut lab = Lab::with(|setup| setup.limits.expiry_grace = Duration::ZERO);
    let mut carol = Client::minted(ANN, "carol", 100);
    lab.allocate(&mut carol);
    lab.advance(secs(99));
    assert!(lab.refresh(&carol, 600).is_success());
    lab.advance(secs(1));
    assert_eq!(lab.refresh(&carol, 600).code(), 401);
}

#[test]
fn names_without_a_plain_expiry_are_unknown() {
    // T-REST-4.2-03
    let mut lab = Lab::new();
    for expiry in
        ["", "-1800000100", "+1800000100", "0x6b49d2a4", " 1800000100", "36893488147419103232", "1e10"]
    {
        let username = format!("{expiry}:carol");
        let signed = rest_password(b"new secret", &username);
        assert_eq!(allocate_code(&mut lab, Client::new(ANN, &username, &signed)), 401, "{username}");
    }
    lab.assert_nothing_is_left();
}

#[test]
fn every_secret_verifies_and_a_removed_one_makes_nothing_new() {
    // T-REST-5.2-01
    let mut lab = Lab::new();
    let old = mint(b"old secret", "carol", START + 1000);
    let mut carol = Client::new(ANN, &old.username, &old.password);
    lab.allocate(&mut carol);
    let rotated = Credentials::new(REALM_NAME, [], [&b"newest"[..], b"new secret"]);
    lab.event(Event::Credentials(Arc::new(rotated)));
    assert!(lab.refresh(&carol, 600).is_success());
    assert_eq!(lab.permit(&carol, &["1.1.1.1"]), 0);
    assert_eq!(allocate_code(&mut lab, Client::new("1.2.3.4:5001", &old.username, &old.password)), 401);
    assert_eq!(allocate_code(&mut lab, Client::minted("1.2.3.4:5001", "carol", 100)), 0);
}

#[test]
fn user_id_is_all_behind_the_first_colon() {
    // T-REST-6-01
    let mut lab = Lab::new();
    let mut carol = Client::minted(ANN, "carol:at:home", 100);
    lab.allocate(&mut carol);
    assert_eq!(lab.server.allocations().next().unwrap().subject, "carol:at:home");
}

#[test]
fn session_carries_its_allocation_past_the_expiry_and_a_kick_ends_it() {
    // T-REST-4.2-02
    let mut lab = Lab::with(|setup| setup.limits.expiry_grace = Duration::ZERO);
    let session = SessionId("s1".to_owned());
    lab.shared.set_session(session.clone(), SessionLease::Live { bitrate: 0 });
    let mut carol = Client::minted(ANN, "s~s1~carol", 100);
    lab.allocate(&mut carol);
    lab.advance(secs(400));
    assert!(lab.refresh(&carol, 600).is_success());
    let mut again = carol.clone();
    again.path.remote.set_port(5002);
    assert_eq!(allocate_code(&mut lab, again), 0);
    lab.shared.set_session(session.clone(), SessionLease::Kicked);
    assert_eq!(lab.refresh(&carol, 600).code(), 401);
    assert_eq!(allocate_code(&mut lab, Client::minted("1.2.3.4:5001", "s~s1~carol", 1000)), 401);
    lab.event(Event::End(session));
    lab.assert_nothing_is_left();
}

#[test]
fn unknown_session_counts_as_any_other_credential() {
    // T-REST-4.2-02
    let mut lab = Lab::with(|setup| setup.limits.expiry_grace = secs(50));
    let mut carol = Client::minted(ANN, "s~gone~carol", 100);
    lab.allocate(&mut carol);
    lab.advance(secs(149));
    assert!(lab.refresh(&carol, 600).is_success());
    lab.advance(secs(1));
    assert_eq!(lab.refresh(&carol, 600).code(), 401);
}

fn rest_password(secret: &[u8], username: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(sha1(secret, username.as_bytes()))
}

#[test]
fn kick_ends_an_allocation_that_still_waits_for_its_socket() {
    let mut lab = Lab::new();
    let session = SessionId("s1".to_owned());
    let carol = lab.logged_in(Client::minted(ANN, "s~s1~carol", 100));
    let bytes = lab.request(ALLOCATE).udp().signed(&carol.credential);
    lab.server.handle_client(lab.now, carol.path, &bytes);
    lab.server.handle(lab.now, Event::End(session));
    assert!(lab.drain().is_empty());
    lab.assert_nothing_is_left();
}
