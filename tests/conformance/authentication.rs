//! Section C: the long-term mechanism (RFC 8489 §9.2, RFC 8656 §5).

use std::collections::BTreeSet;

use turnpike::turn::DropReason;

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, REALM_NAME, secs};

const ANN: &str = "1.2.3.4:5000";
const METHODS: [u16; 4] = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND];

#[test]
fn attributes_behind_the_integrity_have_no_effect() {
    // T-8489-9-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let ask = lab.request(ALLOCATE).udp();
    let tail: [(u16, &[u8]); 3] =
        [(LIFETIME, &3000_u32.to_be_bytes()), (FAMILY, &[2, 0, 0, 0]), (TRANSPORT, &[6, 0, 0, 0])];
    let heard = lab.answer(&ann.path, &ask.signed_then(&ann.credential, &tail));
    assert_eq!(heard.lifetime(), 600);
    assert!(heard.address(RELAYED).is_ipv4());
    let zero: [(u16, &[u8]); 1] = [(LIFETIME, &[0; 4])];
    let ask = lab.request(REFRESH);
    assert_eq!(lab.answer(&ann.path, &ask.signed_then(&ann.credential, &zero)).lifetime(), 600);
    let ask = lab.request(CREATE_PERMISSION).peer("1.1.1.1:0");
    let peer = xor_address("1.1.1.2:0".parse().unwrap(), &ask.tid);
    assert!(lab.answer(&ann.path, &ask.signed_then(&ann.credential, &[(PEER, &peer)])).is_success());
    assert_eq!(lab.send(&ann, "1.1.1.2:1", b"x"), Fate::Dropped(DropReason::PermissionMissing));
    let ask = lab.request(CHANNEL_BIND).channel(0x4000);
    let peer = xor_address("1.1.1.2:9".parse().unwrap(), &ask.tid);
    assert_eq!(lab.answer(&ann.path, &ask.signed_then(&ann.credential, &[(PEER, &peer)])).code(), 400);
    // DATA behind an integrity in a Send indication does not count either.
    let mut send = Ask::indication(SEND, 9).peer("1.1.1.1:1").bare();
    seal(&mut send, MI, 20, |covered| sha1(&ann.credential.key, covered));
    append(&mut send, DATA, b"x");
    set_length(&mut send, 0);
    assert_eq!(lab.silence(&ann.path, &send), DropReason::IndicationIncomplete);
}

#[test]
fn attributes_behind_sha256_integrity_have_no_effect() {
    // T-8489-9-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let mut bytes = lab.request(ALLOCATE).udp().signed_sha256(&ann.credential);
    append(&mut bytes, LIFETIME, &3000_u32.to_be_bytes());
    append(&mut bytes, MI, &[0; 20]);
    append(&mut bytes, 0x7777, b"");
    set_length(&mut bytes, 0);
    assert_eq!(lab.answer(&ann.path, &bytes).lifetime(), 600);
}

#[test]
fn unproven_requests_are_challenged_with_realm_and_nonce_only() {
    // T-8489-9.2.4-01, T-8656-7.2-01, T-8489-9.2-01
    let mut lab = Lab::new();
    for method in METHODS {
        let ask = lab.request(method);
        let heard = lab.answer(&Client::ann(ANN).path, &ask.bare());
        assert_eq!(heard.code(), 401);
        assert_eq!(heard.kinds(), [ERROR_CODE, REALM, NONCE]);
        assert_eq!(heard.value(REALM), REALM_NAME.as_bytes());
        assert!(heard.value(NONCE).starts_with(b"obMatJos2AAAA"));
    }
}

#[test]
fn no_two_sources_get_the_same_nonce() {
    // T-8489-9.2.4-02
    let mut lab = Lab::new();
    let mut nonces = BTreeSet::new();
    for remote in ["1.2.3.4:5000", "1.2.3.4:5001", "1.2.3.5:5000", "[2a00::1]:5000", "[::102:304]:5000"] {
        let client = lab.logged_in(Client::ann(remote));
        assert!(nonces.insert(client.credential.nonce));
    }
}

#[test]
fn integrity_without_name_realm_or_nonce_is_400_and_tells_nothing() {
    // T-8489-9.2.4-03, T-8489-9.1-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let by = ann.credential.clone();
    for left_out in [&[USERNAME][..], &[REALM], &[NONCE], &[REALM, NONCE], &[USERNAME, REALM, NONCE]] {
        for method in METHODS {
            let mut bytes = lab.request(method).udp().bare();
            for (kind, value) in [(USERNAME, &by.username), (REALM, &by.realm), (NONCE, &by.nonce)] {
                if !left_out.contains(&kind) {
                    append(&mut bytes, kind, value);
                }
            }
            seal(&mut bytes, MI, 20, |covered| sha1(&by.key, covered));
            let heard = lab.answer(&ann.path, &bytes);
            assert_eq!((heard.code(), heard.kinds()), (400, vec![ERROR_CODE]));
        }
    }
    lab.assert_nothing_is_left();
}

#[test]
fn unknown_user_and_wrong_password_are_challenged_alike() {
    // T-8489-9.2.4-04, T-8489-9.2.4-05
    let mut lab = Lab::new();
    let mut answers = Vec::new();
    for (name, password) in [("nobody", "ann's password"), ("ann", "wrong"), ("1900000000:x", "wrong")] {
        let user = lab.logged_in(Client::new(ANN, name, password));
        let heard = lab.answer(&user.path, &Ask::request(ALLOCATE, 5).udp().signed(&user.credential));
        assert_eq!(heard.kinds(), [ERROR_CODE, REALM, NONCE]);
        answers.push(heard);
    }
    assert!(answers.iter().all(|heard| *heard == answers[0]));
    lab.assert_nothing_is_left();
}

#[test]
fn stale_nonce_is_answered_with_one_that_works_at_once() {
    // T-8489-9.2.4-06, T-8489-9.2.4-08
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    lab.advance(secs(3601));
    let ask = lab.request(ALLOCATE).udp();
    let heard = lab.ask(&ann, &ask);
    assert_eq!((heard.code(), heard.kinds()), (438, vec![ERROR_CODE, REALM, NONCE]));
    ann.credential.nonce = heard.value(NONCE).to_vec();
    assert!(lab.ask(&ann, &ask).is_success());
}

#[test]
fn integrity_is_checked_before_the_nonce() {
    // T-8489-9.2.4-07
    let mut lab = Lab::new();
    let mut wrong = lab.logged_in(Client::new(ANN, "ann", "wrong"));
    lab.advance(secs(3601));
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&wrong, &ask).code(), 401);
    wrong.credential.nonce = b"garbage".to_vec();
    assert_eq!(lab.ask(&wrong, &ask).code(), 401);
}

#[test]
fn foreign_realm_is_challenged_with_our_own() {
    // T-8489-9.2.4-09
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    ann.credential.realm = b"elsewhere".to_vec();
    ann.credential.key = long_term_key("ann", "elsewhere", "ann's password");
    let ask = lab.request(ALLOCATE).udp();
    let heard = lab.ask(&ann, &ask);
    assert_eq!((heard.code(), heard.value(REALM)), (401, REALM_NAME.as_bytes()));
}

#[test]
fn nonce_of_another_source_is_stale() {
    // T-8489-9.2.4-10
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = lab.request(ALLOCATE).udp();
    for remote in ["1.2.3.4:5001", "1.2.3.5:5000", "[::1.2.3.4]:5000"] {
        let elsewhere = Client { path: Client::ann(remote).path, ..ann.clone() };
        assert_eq!(lab.ask(&elsewhere, &ask).code(), 438);
    }
    assert!(lab.ask(&ann, &ask).is_success());
}

#[test]
fn altered_nonce_is_stale_when_integrity_is_right() {
    // T-8489-9.2.4-11
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let nonce = ann.credential.nonce.clone();
    let mut altered: Vec<Vec<u8>> = (0..nonce.len()).map(|len| nonce[..len].to_vec()).collect();
    altered.extend((0..nonce.len()).map(|at| {
        let mut other = nonce.clone();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        other
    }));
    altered.extend([b"\"quoted\"".to_vec(), vec![0; 40], vec![b'x'; 763], [&nonce[..], b"x"].concat()]);
    for nonce in altered {
        let mut client = ann.clone();
        client.credential.nonce = nonce;
        let ask = lab.request(ALLOCATE).udp();
        assert_eq!(lab.ask(&client, &ask).code(), 438, "{:?}", client.credential.nonce);
    }
    lab.assert_nothing_is_left();
}

#[test]
fn answers_to_proven_requests_carry_integrity_of_the_same_key() {
    // T-8489-9.2.4-12, T-8489-9.2.4-13: `ask` checks each of these answers.
    let mut lab = Lab::with(|setup| {
        setup.quotas.allocations_per_user = 1;
        setup.limits.max_channels = 1;
        setup.families = (true, false);
    });
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let refresh = lab.request(REFRESH);
    assert_eq!(lab.ask(&ann, &refresh).code(), 437);
    let other = lab.request(ALLOCATE).with(TRANSPORT, [6, 0, 0, 0]);
    assert_eq!(lab.ask(&ann, &other).code(), 442);
    let family = lab.request(ALLOCATE).udp().family(2);
    assert_eq!(lab.ask(&ann, &family).code(), 440);
    let unknown = lab.request(ALLOCATE).udp().with(0x7777, b"");
    assert_eq!(lab.ask(&ann, &unknown).code(), 420);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["10.0.0.1"]), 403);
    assert_eq!(lab.permit(&ann, &["2a00::2"]), 443);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:1"), 0);
    assert_eq!(lab.bind(&ann, 0x4001, "1.1.1.1:2"), 508);
    let bob = lab.logged_in(Client::bob(ANN));
    let refresh = lab.request(REFRESH);
    assert_eq!(lab.ask(&bob, &refresh).code(), 441);
    let second = lab.logged_in(Client::ann("1.2.3.4:5001"));
    let again = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&second, &again).code(), 486);
}

#[test]
fn sha256_integrity_of_any_other_length_is_refused() {
    // T-8489-14.6-01
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let whole = Ask::request(ALLOCATE, 3).udp().signed_sha256(&ann.credential);
    let (message, tag) = (&whole[..whole.len() - 36], &whole[whole.len() - 32..]);
    for length in (0..=36).filter(|length| *length != 32) {
        let mut bytes = message.to_vec();
        // The covered length ends behind the shortened attribute, as truncation would have it.
        set_length(&mut bytes, 4 + length);
        let own = sha256(&ann.credential.key, &bytes);
        for source in [tag, &own] {
            let mut value = source.to_vec();
            value.resize(length, 0);
            let mut bytes = message.to_vec();
            append(&mut bytes, MI256, &value);
            set_length(&mut bytes, 0);
            assert_eq!(lab.answer(&ann.path, &bytes).code(), 401, "{length}");
        }
    }
    assert!(lab.answer(&ann.path, &whole).is_success());
}

#[test]
fn sha1_integrity_of_any_other_length_is_refused() {
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let whole = Ask::request(ALLOCATE, 3).udp().signed(&ann.credential);
    let (message, tag) = (&whole[..whole.len() - 24], &whole[whole.len() - 20..]);
    for length in (0..=24).filter(|length| *length != 20) {
        let mut value = tag.to_vec();
        value.resize(length, 0);
        let mut bytes = message.to_vec();
        append(&mut bytes, MI, &value);
        set_length(&mut bytes, 0);
        assert_eq!(lab.answer(&ann.path, &bytes).code(), 401, "{length}");
    }
}

#[test]
fn of_two_integrities_the_sha256_one_decides() {
    // T-8489-14.6-02, T-8489-14.5-01
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let both = Ask::request(ALLOCATE, 3).udp().fingerprinted().signed_twice(&ann.credential);
    let sha1_at = both.len() - 8 - 36 - 24;
    let mut wrong_sha256 = Ask::request(ALLOCATE, 4).udp().signed_twice(&ann.credential);
    *wrong_sha256.last_mut().unwrap() ^= 1;
    assert_eq!(lab.answer(&ann.path, &wrong_sha256).code(), 401);
    // A wrong MESSAGE-INTEGRITY under a right SHA-256 over it proves the request.
    let mut wrong_sha1 = both[..sha1_at].to_vec();
    append(&mut wrong_sha1, MI, &[0; 20]);
    seal(&mut wrong_sha1, MI256, 32, |covered| sha256(&ann.credential.key, covered));
    assert!(lab.answer(&ann.path, &wrong_sha1).is_success());
    let bob = lab.logged_in(Client::bob("1.2.3.4:5001"));
    let both = Ask::request(ALLOCATE, 5).udp().fingerprinted().signed_twice(&bob.credential);
    assert!(lab.answer(&bob.path, &both).is_success());
}

#[test]
fn integrity_covers_the_length_up_to_itself_whatever_follows() {
    // T-8489-14.5-01
    let mut lab = Lab::new();
    let ann = lab.logged_in(Client::ann(ANN));
    let ask = Ask::request(ALLOCATE, 3).udp().fingerprinted();
    let bytes = ask.signed_then(&ann.credential, &[(SOFTWARE, b"behind")]);
    assert!(lab.answer(&ann.path, &bytes).is_success());
}

#[test]
fn stale_nonce_costs_a_round_trip_and_not_the_allocation() {
    // T-8656-5-01, T-8656-7.2-04
    let mut lab = Lab::new();
    let mut ann = lab.logged_in(Client::ann(ANN));
    let allocate = lab.request(ALLOCATE).udp().lifetime(3600).signed(&ann.credential);
    lab.answer(&ann.path, &allocate);
    lab.advance(secs(3599));
    assert!(lab.refresh(&ann, 3600).is_success());
    lab.advance(secs(2));
    assert_eq!(lab.answer(&ann.path, &allocate).code(), 438);
    let heard = lab.refresh(&ann, 600);
    assert_eq!(heard.code(), 438);
    ann.credential.nonce = heard.value(NONCE).to_vec();
    assert!(lab.refresh(&ann, 600).is_success());
}

#[test]
fn another_user_of_the_same_path_is_refused_and_changes_nothing() {
    // T-8656-5-02, T-8656-5-03
    let mut lab = Lab::new();
    let mut owner = Client::minted(ANN, "carol", 600);
    lab.allocate(&mut owner);
    let before = lab.server.export(lab.only_allocation());
    let renewed = Client::minted(ANN, "carol", 700);
    for other in [Client::bob(ANN), renewed] {
        let other = lab.logged_in(other);
        for ask in [
            lab.request(REFRESH).lifetime(0),
            lab.request(CREATE_PERMISSION).peer("1.1.1.1:0"),
            lab.request(CHANNEL_BIND).channel(0x4000).peer("1.1.1.1:1"),
        ] {
            assert_eq!(lab.ask(&other, &ask).code(), 441);
        }
        let ask = lab.request(ALLOCATE).udp();
        assert_eq!(lab.ask(&other, &ask).code(), 437);
    }
    assert_eq!(lab.server.export(lab.only_allocation()), before);
}

#[test]
fn exported_state_and_debug_output_hold_no_password() {
    // T-8656-6-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let state = lab.server.export(lab.only_allocation()).unwrap();
    let written = serde_json::to_string(&state).unwrap();
    assert!(!written.contains("password"), "{written}");
    assert!(!format!("{state:?}").contains(&format!("{:?}", ann.credential.key)));
    assert!(!format!("{:?}", lab.setup.credentials()).contains("password"));
}

#[test]
fn indications_are_dropped_and_never_challenged() {
    // T-8489-9.2-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let send = lab.send_indication("1.1.1.1:9", b"x");
    assert_eq!(lab.silence(&ann.path, &send.bare()), DropReason::UnknownClient);
    lab.allocate(&mut ann);
    assert_eq!(lab.silence(&ann.path, &send.bare()), DropReason::PermissionMissing);
    assert_eq!(lab.silence(&ann.path, &send.signed(&ann.credential)), DropReason::PermissionMissing);
}

#[test]
fn realm_is_compared_before_any_key_is_derived_from_it() {
    // T-8489-9.2.2-01, T-8489-9.2.2-02: composed forms of realm and password give the same key.
    let mut lab = Lab::with(|setup| {
        setup.realm = "caf\u{e9}".to_owned();
        setup.users = vec![("ann", "cle\u{301}")];
    });
    let mut ann = Client::new(ANN, "ann", "");
    lab.login(&mut ann);
    ann.credential.key = long_term_key("ann", "caf\u{e9}", "cl\u{e9}");
    let ask = lab.request(ALLOCATE).udp();
    assert!(lab.ask(&ann, &ask).is_success());
}
