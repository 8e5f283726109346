//! Section E: Refresh (RFC 8656 §8).

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, secs};

const ANN: &str = "1.2.3.4:5000";

#[test]
fn granted_lifetime_is_what_the_answer_says_and_what_holds() {
    // T-8656-8.2-01
    for (asked, granted) in
        [(None, 600), (Some(1), 600), (Some(599), 600), (Some(1000), 1000), (Some(9999), 3600)]
    {
        let mut lab = Lab::new();
        let mut ann = Client::ann(ANN);
        lab.allocate(&mut ann);
        lab.advance(secs(100));
        let ask = lab.request(REFRESH);
        let ask = asked.into_iter().fold(ask, Ask::lifetime);
        assert_eq!(lab.ask(&ann, &ask).lifetime(), granted);
        lab.advance(secs(u64::from(granted) - 1));
        assert_eq!(lab.server.allocations().count(), 1);
        lab.advance(secs(1));
        lab.assert_nothing_is_left();
    }
}

#[test]
fn lifetime_may_be_cut_short_again() {
    // T-8656-8.2-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.refresh(&ann, 3600).lifetime(), 3600);
    assert_eq!(lab.refresh(&ann, 700).lifetime(), 700);
    lab.advance(secs(700));
    lab.assert_nothing_is_left();
}

#[test]
fn lifetime_zero_deletes_and_a_retransmission_makes_nothing_new() {
    // T-8656-8.2-02, T-8656-8.2-03
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let bytes = lab.request(REFRESH).lifetime(0).signed(&ann.credential);
    let heard = lab.answer(&ann.path, &bytes);
    assert_eq!((heard.code(), heard.lifetime()), (0, 0));
    lab.assert_nothing_is_left();
    assert_eq!(lab.answer(&ann.path, &bytes).code(), 437);
    lab.assert_nothing_is_left();
}

#[test]
fn family_must_be_that_of_the_allocation() {
    // T-8656-8.2-04
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let before = lab.server.export(lab.only_allocation());
    for family in [0, 2, 3] {
        let ask = lab.request(REFRESH).family(family).lifetime(0);
        assert_eq!(lab.ask(&ann, &ask).code(), 443);
    }
    assert_eq!(lab.server.export(lab.only_allocation()), before);
    let ask = lab.request(REFRESH).family(1).lifetime(900);
    assert_eq!(lab.ask(&ann, &ask).lifetime(), 900);
}

#[test]
fn refresh_extends_no_permission_and_no_channel() {
    // T-8656-8.2-06
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.2:1"), 0);
    lab.advance(secs(299));
    assert!(lab.refresh(&ann, 3600).is_success());
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b""), Fate::ToPeer { .. }));
    lab.advance(secs(1));
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b""), Fate::Dropped(_)));
    lab.advance(secs(299));
    assert!(matches!(lab.send_on(&ann, 0x4000, b""), Fate::ToPeer { .. }));
    lab.advance(secs(1));
    assert!(matches!(lab.send_on(&ann, 0x4000, b""), Fate::Dropped(_)));
}

#[test]
fn malformed_lifetime_is_400_and_changes_nothing() {
    // T-8656-8.2-07
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let before = lab.server.export(lab.only_allocation());
    for size in [0, 3, 5, 8] {
        let ask = lab.request(REFRESH).with(LIFETIME, vec![0; size]);
        assert_eq!(lab.ask(&ann, &ask).code(), 400);
    }
    assert_eq!(lab.server.export(lab.only_allocation()), before);
}
