//! Bit rates and the budget of unproven answers, where an operator changes them under load.

use std::time::Duration;

use turnpike::auth::SessionId;
use turnpike::turn::{DropReason, Event, Quotas, SessionLease};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, secs};

fn with_user_budget(bitrate_per_user: u64) -> (Lab, Client) {
    let mut lab = Lab::with(|setup| setup.quotas.bitrate_per_user = bitrate_per_user);
    let mut ann = Client::ann("1.2.3.4:5000");
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    (lab, ann)
}

fn sent(lab: &mut Lab, ann: &Client, times: usize) -> usize {
    (0..times).filter(|_| matches!(lab.send(ann, "1.1.1.1:1", &[0; 1000]), Fate::ToPeer { .. })).count()
}

#[test]
fn budget_that_is_lifted_before_the_server_hears_of_it_lets_everything_through() {
    let (mut lab, ann) = with_user_budget(8_000_000);
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", &[0; 999]), Fate::ToPeer { .. }));
    lab.shared.set_quotas(Quotas::default());
    assert_eq!(sent(&mut lab, &ann, 1000), 1000);
    let limits = lab.setup.limits.clone();
    lab.event(Event::Limits(limits.clone()));
    assert_eq!(sent(&mut lab, &ann, 1000), 1000);
    // What was let through freely is no lease for later.
    lab.shared.set_quotas(Quotas { bitrate_per_user: 8_000, ..Quotas::default() });
    lab.event(Event::Limits(limits));
    assert!(sent(&mut lab, &ann, 1000) < 100);
    assert_eq!(lab.send(&ann, "1.1.1.1:1", &[0; 1000]).dropped(), DropReason::OverUserBitrate);
    lab.advance(secs(10));
    assert_eq!(sent(&mut lab, &ann, 100), 10);
}

#[test]
fn no_challenge_is_over_three_times_its_request_unless_the_realm_is_long() {
    for realm in (1..=127).map(|len| "r".repeat(len)) {
        let mut lab = Lab::with(|setup| setup.realm = realm.clone());
        for (remote, below) in [("1.2.3.4:5000", 28), ("[2a00::1]:5000", 48)] {
            let client = Client::ann(remote);
            for ask in [lab.request(ALLOCATE), lab.request(ALLOCATE).udp(), lab.request(REFRESH).lifetime(0)]
            {
                for bytes in [ask.bare(), ask.clone().fingerprinted().bare()] {
                    let (_, answers) = lab.feed(&client.path, &bytes);
                    for (_, answer) in &answers {
                        let lean = answer.len() + below <= 3 * (bytes.len() + below);
                        assert!(lean || (realm.len() > 64 && bytes.len() >= 28), "{}", realm.len());
                        assert!(answer.len() < 548);
                    }
                    // What a client sends that is one is answered, however long the realm.
                    assert!(!answers.is_empty() || ask.attributes.is_empty());
                }
            }
        }
    }
}

#[test]
fn extreme_rates_and_limits_overflow_nothing() {
    for bits in [1, 8, 8_000, u64::MAX / 8, u64::MAX] {
        let mut lab = Lab::with(|setup| {
            setup.quotas.bitrate = bits;
            setup.quotas.bitrate_per_user = bits;
            setup.limits.bitrate_per_allocation = bits;
            setup.limits.unauthenticated_rate = u32::MAX;
            setup.limits.max_lifetime = u32::MAX;
            setup.limits.max_permissions = 0;
            setup.limits.max_channels = 0;
            setup.limits.expiry_grace = std::time::Duration::MAX;
            setup.limits.max_credential_ttl = std::time::Duration::MAX;
        });
        let mut carol = Client::minted("1.2.3.4:5000", "carol", i64::MAX);
        let ask = lab.request(ALLOCATE).udp().lifetime(u32::MAX);
        lab.allocate_with(&mut carol, &ask);
        for _ in 0..50 {
            lab.login(&mut carol);
            assert_eq!(lab.permit(&carol, &["1.1.1.1"]), 0);
            lab.send(&carol, "1.1.1.1:9", &[0; 60_000]);
            lab.pass(secs(299));
        }
        assert_eq!(lab.refresh(&carol, u32::MAX).lifetime(), u32::MAX);
    }
}

#[test]
fn credential_of_open_signaling_is_bound_with_its_session_and_after_it() {
    for (lease, operators, bytes_a_second) in [
        (SessionLease::Live { bitrate: 0 }, 0, 1_000_000),
        (SessionLease::Gone, 0, 1_000_000),
        (SessionLease::Live { bitrate: 0 }, 80_000, 10_000),
        (SessionLease::Gone, 800_000_000, 1_000_000),
        (SessionLease::Live { bitrate: 160_000 }, 0, 20_000),
    ] {
        let mut lab = Lab::with(|setup| setup.limits.bitrate_per_allocation = operators);
        lab.shared.set_session(SessionId("s1".to_owned()), lease);
        let mut guest = Client::minted("1.2.3.4:5000", "s~s1~~", 600);
        lab.allocate(&mut guest);
        assert_eq!(lab.permit(&guest, &["1.1.1.1"]), 0);
        sent(&mut lab, &guest, 2000);
        lab.advance(Duration::from_millis(200));
        let (fit, sent) = (bytes_a_second / 5 / 1000, sent(&mut lab, &guest, 2000));
        assert!(sent.abs_diff(fit) <= 1, "{lease:?} {operators}: {sent}");
    }
}

#[test]
fn address_gets_sixty_four_allocations_by_open_signaling_and_more_by_others() {
    let mut lab = Lab::new();
    let guest =
        |port: usize| Client::minted(&format!("1.2.3.4:{}", 5000 + port), &format!("s~s{port}~~"), 600);
    for port in 0..64 {
        lab.allocate(&mut guest(port));
    }
    let one_more = lab.logged_in(guest(64));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&one_more, &ask).code(), 486);
    let mut elsewhere = Client::minted("1.2.3.5:5000", "s~s65~~", 600);
    lab.allocate(&mut elsewhere);
    lab.allocate(&mut Client::ann("1.2.3.4:6000"));
}
