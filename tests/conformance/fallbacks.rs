//! What holds for features that are not built, and what the first byte decides.

use turnpike::turn::DropReason;

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab};

const ANN: &str = "1.2.3.4:5000";

#[test]
fn nat_discovery_is_not_offered() {
    // T-5780-6-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for (kind, value) in [(0x0003, &[0, 0, 0, 6][..]), (0x0027, &[0x12, 0x34, 0, 0]), (0x0026, &[0; 64])] {
        let ask = Ask::request(BINDING, 1).with(kind, value);
        let heard = lab.answer(&ann.path, &ask.bare());
        assert_eq!((heard.code(), heard.unknown()), (420, vec![kind]));
    }
    let heard = lab.answer(&ann.path, &Ask::request(BINDING, 1).bare());
    assert!(!heard.has(0x802b) && !heard.has(0x802c));
}

#[test]
fn mobility_ticket_is_ignored() {
    // T-8016-3.1.2-02
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    for value in [&[][..], &[1; 16]] {
        let ask = lab.request(ALLOCATE).udp().with(0x8030, value);
        let heard = lab.ask(&ann, &ask);
        assert!(heard.is_success() && !heard.has(0x8030));
        assert!(lab.refresh(&ann, 0).is_success());
    }
}

#[test]
fn access_token_is_an_unknown_attribute() {
    // T-7635-7-02
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp().with(0x001b, [1; 40]);
    let heard = lab.ask(&ann, &ask);
    assert_eq!((heard.code(), heard.unknown()), (420, vec![0x001b]));
    assert!(!lab.answer(&ann.path, &ask.bare()).has(0x802e));
}

#[test]
fn tcp_relay_is_refused_and_its_methods_are_silent() {
    // Section J's heading.
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let tcp = lab.request(ALLOCATE).with(TRANSPORT, [6, 0, 0, 0]);
    assert_eq!(lab.ask(&ann, &tcp).code(), 442);
    lab.allocate(&mut ann);
    for method in [0x00a, 0x00b, 0x00c] {
        for class in [REQUEST, INDICATION] {
            let ask = Ask::of(class, method, 1).peer("1.1.1.1:9");
            assert_eq!(lab.silence(&ann.path, &ask.signed(&ann.credential)), DropReason::StunUnexpected);
            assert_eq!(lab.silence(&ann.path, &ask.bare()), DropReason::StunUnexpected);
        }
    }
}

#[test]
fn classic_stun_is_silent_for_every_method() {
    // T-8656-5-09, T-5389-12.2-01
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    for method in [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        let mut bytes = lab.request(method).udp().signed(&ann.credential);
        bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(lab.silence(&ann.path, &bytes), DropReason::StunMalformed);
    }
}

#[test]
fn first_byte_decides_what_a_datagram_is() {
    // T-7983-7-01
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    for first in 0..=255_u8 {
        let mut bytes = Ask::request(BINDING, 1).with(SOFTWARE, [0; 240]).bare();
        bytes[0] = first;
        match (first, lab.feed(&ann.path, &bytes).0) {
            (0, Fate::Queued) => {}
            (0..=3, Fate::Dropped(reason)) => assert_eq!(reason, DropReason::StunUnexpected),
            (0x40..=0x7f, Fate::Dropped(reason)) => assert_eq!(reason, DropReason::ChannelUnbound),
            (_, Fate::Dropped(reason)) => assert_eq!(reason, DropReason::NotStun),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(lab.send_on(&ann, 0x4000, b"x"), Fate::ToPeer { .. }));
}

#[test]
fn password_algorithms_and_user_hash_are_not_offered() {
    // T-8489-9.2-01: the feature bits say so; what comes without being offered changes nothing.
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    assert!(ann.credential.nonce.starts_with(b"obMatJos2AAAA"));
    let mut bytes = Ask::request(ALLOCATE, 1).udp().with(USERHASH, [1; 32]).bare();
    append(&mut bytes, REALM, &ann.credential.realm);
    append(&mut bytes, NONCE, &ann.credential.nonce);
    seal(&mut bytes, MI, 20, |covered| sha1(&ann.credential.key, covered));
    assert_eq!(lab.answer(&ann.path, &bytes).code(), 400);
}
