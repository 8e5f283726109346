//! Section A: message format and parsing (RFC 8489 §5, §14).

use turnpike::turn::DropReason;

use crate::script::wire::*;
use crate::script::{Client, Lab, REALM_NAME, RELAY_V6};

const ANN: &str = "1.2.3.4:5000";
const ANN_V6: &str = "[2a00::1]:5000";

fn binding() -> Ask {
    Ask::request(BINDING, 1)
}

#[test]
fn first_two_bits_must_be_zero() {
    // T-8489-5-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for first in [0x80, 0xc0, 0x41] {
        let mut bytes = binding().bare();
        bytes[0] = first;
        lab.silence(&ann.path, &bytes);
    }
}

#[test]
fn wrong_magic_cookie_is_silent() {
    // T-8489-5-02
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for at in 4..8 {
        let mut bytes = binding().bare();
        bytes[at] ^= 1;
        assert_eq!(lab.silence(&ann.path, &bytes), DropReason::StunMalformed);
    }
}

#[test]
fn length_field_that_does_not_add_up_is_silent() {
    // T-8489-5-03, T-8489-5-04
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    let whole = binding().with(SOFTWARE, b"test").bare();
    for length in (0..=64).chain([0xfffc, 0xffff]).filter(|length| *length != 8) {
        let mut bytes = whole.clone();
        bytes[2..4].copy_from_slice(&u16::to_be_bytes(length));
        lab.silence(&ann.path, &bytes);
    }
    let trailing = [whole, vec![0; 4]].concat();
    lab.silence(&ann.path, &trailing);
}

#[test]
fn short_datagrams_are_silent() {
    // T-8489-5-05
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    let whole = Ask::request(ALLOCATE, 1).udp().fingerprinted().bare();
    for len in 0..whole.len() {
        lab.silence(&ann.path, &whole[..len]);
    }
    for first in 0..=0xff {
        for len in 0..20 {
            lab.silence(&ann.path, &vec![first; len]);
        }
    }
}

#[test]
fn answer_repeats_transaction_id_and_method() {
    // T-8489-5-06, T-8489-5-08
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for (method, class) in [(BINDING, SUCCESS), (ALLOCATE, ERROR), (REFRESH, ERROR), (CHANNEL_BIND, ERROR)] {
        let ask = lab.request(method);
        // `answer` compares id and method, and reads the length field.
        assert_eq!(lab.answer(&ann.path, &ask.bare()).class(), class);
    }
}

#[test]
fn only_the_taken_message_types_of_all_16384_are_answered() {
    // T-8489-5-07, T-8489-6.3-01, T-8489-6.3-02, T-8489-6.3-03
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let ann = Client::ann(ANN);
    let mut answered = Vec::new();
    for kind in 0..0x4000_u16 {
        let mut bytes = Ask::request(BINDING, u64::from(kind)).bare();
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        let (_, answers) = lab.feed(&ann.path, &bytes);
        if !answers.is_empty() {
            answered.push(kind);
        }
    }
    assert_eq!(answered, [0x0001, 0x0003, 0x0004, 0x0008, 0x0009]);
}

#[test]
fn values_are_padded_with_zeros_and_their_length_counts_no_padding() {
    // T-8489-14-01
    for realm in ["a", "ab", "abc", "abcd"] {
        let mut lab = Lab::with(|setup| setup.realm = realm.to_owned());
        let ask = lab.request(ALLOCATE);
        // Reading asserts that padding is zero.
        let heard = lab.answer(&Client::ann(ANN).path, &ask.bare());
        assert_eq!(heard.value(REALM), realm.as_bytes());
    }
}

#[test]
fn padding_of_any_value_is_ignored_and_covered_as_sent() {
    // T-8489-14-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let mut by = ann.credential.clone();
    by.nonce.truncate(40);
    let mut bytes = Ask::request(ALLOCATE, 9).udp().bare();
    // "ann" leaves one byte of padding.
    append(&mut bytes, USERNAME, b"ann");
    *bytes.last_mut().unwrap() = 0xee;
    append(&mut bytes, REALM, REALM_NAME.as_bytes());
    *bytes.last_mut().unwrap() = 0xdd;
    append(&mut bytes, NONCE, &by.nonce);
    seal(&mut bytes, MI, 20, |covered| sha1(&by.key, covered));
    assert!(lab.answer(&ann.path, &bytes).is_success());
}

#[test]
fn attribute_that_runs_past_the_end_makes_the_message_silent() {
    // T-8489-14-03
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for (class, method) in [(REQUEST, BINDING), (REQUEST, ALLOCATE), (INDICATION, SEND)] {
        for length in [5_u16, 9, 0xfff0, 0xffff] {
            let mut bytes = Ask::of(class, method, 1).with(SOFTWARE, b"test").bare();
            bytes[22..24].copy_from_slice(&length.to_be_bytes());
            assert_eq!(lab.silence(&ann.path, &bytes), DropReason::StunMalformed);
        }
    }
    let mut stub = binding().bare();
    stub.extend([0x80, 0x22, 0, 0]);
    set_length(&mut stub, 0);
    assert!(lab.answer(&ann.path, &stub).is_success());
}

#[test]
fn first_of_duplicate_attributes_wins_in_every_method() {
    // T-8489-14-04
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().with(TRANSPORT, [6, 0, 0, 0]).lifetime(1200).lifetime(3000);
    lab.login(&mut ann);
    assert_eq!(lab.ask(&ann, &ask).lifetime(), 1200);
    let ask = lab.request(REFRESH).lifetime(900).lifetime(0);
    assert_eq!(lab.ask(&ann, &ask).lifetime(), 900);
    let ask = lab.request(CHANNEL_BIND).channel(0x4000).channel(0x3000).peer("1.1.1.1:1").peer("127.0.0.1:1");
    assert_eq!(lab.ask(&ann, &ask).code(), 0);
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").to_peer().0, "1.1.1.1:1".parse().unwrap());
    let send = lab.send_indication("1.1.1.1:7", b"first").peer("1.1.1.1:8").with(DATA, b"second");
    let (fate, _) = lab.feed(&ann.path, &send.bare());
    assert_eq!(fate.to_peer(), ("1.1.1.1:7".parse().unwrap(), b"first".to_vec()));
    let twice = lab.request(REFRESH).with(USERNAME, b"ann").lifetime(700);
    assert_eq!(lab.ask(&ann, &twice).lifetime(), 700);
}

#[test]
fn attribute_of_the_wrong_size_in_a_proven_request_is_400() {
    // T-8489-14-05
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let short = |size: usize| vec![1_u8; size];
    lab.login(&mut ann);
    for (kind, sizes) in [
        (LIFETIME, &[0_usize, 3, 5, 8][..]),
        (FAMILY, &[0, 1, 5]),
        (EVEN_PORT, &[0, 2, 4]),
        (TOKEN, &[0, 7, 9]),
        (DONT_FRAGMENT, &[1, 4]),
    ] {
        for size in sizes {
            let ask = lab.request(ALLOCATE).udp().with(kind, short(*size));
            assert_eq!(lab.ask(&ann, &ask).code(), 400, "{kind:#x} of {size}");
        }
    }
    lab.allocate(&mut ann);
    for size in [0, 2, 5] {
        let ask = lab.request(CHANNEL_BIND).with(CHANNEL, short(size)).peer("1.1.1.1:1");
        assert_eq!(lab.ask(&ann, &ask).code(), 400);
    }
}

#[test]
fn mapped_address_is_masked_with_cookie_and_transaction_id() {
    // T-8489-14.2-01
    let mut lab = Lab::new();
    let v4 = lab.answer(&Client::ann("192.0.2.1:32853").path, &binding().bare());
    assert_eq!(v4.value(XOR_MAPPED), [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    let v6 = lab.answer(&Client::ann(ANN_V6).path, &binding().bare());
    let mask = [&COOKIE[..], &v6.tid].concat();
    let mut expected = vec![0, 2, 0x13 ^ 0x21, 0x88 ^ 0x12];
    let plain = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    expected.extend(plain.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    assert_eq!(v6.value(XOR_MAPPED), expected);
}

#[test]
fn reserved_byte_of_an_address_is_ignored() {
    // T-8489-14.2-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    let ask = lab.request(CREATE_PERMISSION);
    let mut value = xor_address("1.1.1.1:0".parse().unwrap(), &ask.tid);
    value[0] = 0xff;
    assert_eq!(lab.ask(&ann, &ask.with(PEER, value)).code(), 0);
    assert_eq!(lab.send(&ann, "1.1.1.1:9", b"x").to_peer().1, b"x");
}

#[test]
fn address_of_unknown_family_or_wrong_length_is_400_or_silent() {
    // T-8489-14.2-03
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    let bad = [
        vec![],
        vec![0, 1, 0],
        vec![0, 0, 0, 9, 1, 1, 1, 1],
        vec![0, 3, 0, 9, 1, 1, 1, 1],
        vec![0, 2, 0, 9, 1, 1, 1, 1],
        vec![0, 1, 0, 9, 1, 1, 1],
        vec![0, 1, 0, 9, 1, 1, 1, 1, 1],
        [vec![0, 1, 0, 9], vec![1; 16]].concat(),
    ];
    for value in bad {
        for method in [CREATE_PERMISSION, CHANNEL_BIND] {
            let ask = lab.request(method).channel(0x4000).with(PEER, &value);
            assert_eq!(lab.ask(&ann, &ask).code(), 400, "{value:02x?}");
        }
        let send = Ask::indication(SEND, 7).with(PEER, &value).with(DATA, b"x");
        assert_eq!(lab.silence(&ann.path, &send.bare()), DropReason::IndicationIncomplete);
    }
}

#[test]
fn long_usernames_are_never_cut() {
    // T-8489-14.3-01
    for length in [1, 508, 513, 763] {
        let name: &'static str = "n".repeat(length).leak();
        let mut lab = Lab::with(|setup| setup.users = vec![(name, "pass")]);
        let mut user = Client::new(ANN, name, "pass");
        lab.allocate(&mut user);
        let longer: &str = &format!("{name}n");
        let mut other = Client::new("1.2.3.4:5001", longer, "pass");
        lab.login(&mut other);
        let ask = lab.request(ALLOCATE).udp();
        let code = lab.answer(&other.path, &ask.signed(&other.credential)).code();
        assert_eq!(code, if length == 763 { 400 } else { 401 });
    }
}

#[test]
fn username_outside_utf8_is_an_unknown_user() {
    // T-8489-14.3-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    for name in [&b"\xff\xfe"[..], b"ann\xc3", b"\0", b""] {
        ann.credential.username = name.to_vec();
        let ask = lab.request(ALLOCATE).udp();
        assert_eq!(lab.ask(&ann, &ask).code(), 401, "{name:02x?}");
    }
}

#[test]
fn every_refusal_has_a_well_formed_code_and_phrase() {
    // T-8489-14.8-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    // `code` asserts class, number, reserved bits and the length of the phrase.
    assert_eq!(lab.permit(&ann, &["127.0.0.1"]), 403);
    assert_eq!(lab.permit(&ann, &["2a00::2"]), 443);
    assert_eq!(lab.bind(&ann, 0x3fff, "1.1.1.1:1"), 400);
    let ask = lab.request(REFRESH).with(0x7777, b"");
    assert_eq!(lab.ask(&ann, &ask).code(), 420);
    let again = lab.request(ALLOCATE).udp();
    assert_eq!(lab.ask(&ann, &again).code(), 437);
}

#[test]
fn longest_realm_and_nonce_fit_and_stay_under_128_characters() {
    // T-8489-14.9-01, T-8489-14.10-01
    let mut lab = Lab::with(|setup| setup.realm = "r".repeat(127));
    let ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().with(SOFTWARE, "a client that says what it is");
    let heard = lab.answer(&ann.path, &ask.bare());
    assert_eq!(heard.value(REALM).len(), 127);
    let nonce = heard.value(NONCE);
    assert!(
        nonce.len() < 128 && nonce.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    );
    let mut long = ann;
    long.credential.nonce = nonce.to_vec();
    long.credential.realm = vec![b'r'; 763];
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.answer(&long.path, &ask.signed(&long.credential)).code(), 401);
    long.credential.realm = vec![b'r'; 764];
    let ask = lab.request(ALLOCATE).udp();
    assert_eq!(lab.answer(&long.path, &ask.signed(&long.credential)).code(), 400);
}

#[test]
fn unknown_attributes_of_odd_count_get_plain_padding() {
    // T-8489-14.13-01, T-8489-6.3.1-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    for count in [1_u16, 2, 3, 32] {
        let kinds: Vec<u16> = (0x7000..0x7000 + count).collect();
        let ask = kinds.iter().fold(binding(), |ask, kind| ask.with(*kind, b""));
        let heard = lab.answer(&ann.path, &ask.bare());
        assert_eq!((heard.code(), heard.unknown()), (420, kinds));
    }
}

#[test]
fn long_lists_of_unknown_attributes_name_each_once_and_are_capped() {
    // T-8489-6.3.1-03, T-8489-6.3.1-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    let forty = (0x7000..0x7028_u16).fold(binding(), |ask, kind| ask.with(kind, b""));
    let heard = lab.answer(&ann.path, &forty.bare());
    let listed = heard.unknown();
    assert!(listed.len() >= 32 && listed.iter().zip(0x7000..).all(|(kind, expected)| *kind == expected));
    assert!(heard.bytes.len() < 548);
    let twice = binding().with(0x7001, b"").with(0x7001, b"").with(0x7002, b"");
    assert_eq!(lab.answer(&ann.path, &twice.bare()).unknown(), [0x7001, 0x7002]);
}

#[test]
fn software_is_absent_by_default_and_only_in_proven_answers() {
    // T-8489-14.14-01, T-8656-5-07
    for software in [None, Some("turnpike".to_owned())] {
        let mut lab = Lab::with(|setup| setup.software = software.clone());
        let mut ann = Client::ann(ANN);
        let challenge = lab.request(ALLOCATE).udp();
        assert!(!lab.answer(&ann.path, &challenge.bare()).has(SOFTWARE));
        assert!(!lab.answer(&ann.path, &binding().bare()).has(SOFTWARE));
        lab.login(&mut ann);
        let ask = lab.request(ALLOCATE).udp();
        assert_eq!(lab.ask(&ann, &ask).has(SOFTWARE), software.is_some());
        assert_eq!(lab.refresh(&ann, 600).has(SOFTWARE), software.is_some());
    }
}

#[test]
fn largest_answers_fit_into_the_smallest_datagram() {
    // T-8489-6.1-01
    let mut lab = Lab::with(|setup| {
        setup.realm = "r".repeat(127);
        setup.software = Some("s".repeat(127));
    });
    let mut ann = Client::over(turnpike::turn::Transport::Tcp, ANN_V6, "ann", "ann's password");
    ann.credential.realm = vec![b'r'; 127];
    ann.credential.key = long_term_key("ann", &"r".repeat(127), "ann's password");
    let ask = lab.request(ALLOCATE).fingerprinted();
    let challenge = lab.answer(&ann.path, &ask.bare());
    assert!(challenge.bytes.len() < 548);
    ann.credential.nonce = challenge.value(NONCE).to_vec();
    let many = (0x7000..0x7100_u16).fold(lab.request(ALLOCATE).udp(), |ask, kind| ask.with(kind, b""));
    let unknown = lab.ask(&ann, &many.fingerprinted());
    assert_eq!(unknown.code(), 420);
    assert!(unknown.bytes.len() < 548);
    let ask = lab.request(ALLOCATE).udp().with(EVEN_PORT, [0x80]).fingerprinted();
    let granted = lab.ask(&ann, &ask);
    assert!(granted.is_success() && granted.bytes.len() < 548);
    let ask = lab.request(ALLOCATE).udp().family(2);
    let mut bob = Client { path: Client::ann("[2a00::1]:5001").path, ..ann.clone() };
    let challenge = lab.answer(&bob.path, &ask.bare());
    bob.credential.nonce = challenge.value(NONCE).to_vec();
    let v6 = lab.ask(&bob, &ask);
    assert_eq!(v6.address(RELAYED).ip(), RELAY_V6.parse::<std::net::IpAddr>().unwrap());
    assert!(v6.bytes.len() < 548);
}
