//! Section B: requests, answers, indications (RFC 8489 §6, §7, §12).

use turnpike::stun::{Frame, next_frame};
use turnpike::turn::{DropReason, Transport};

use crate::script::wire::*;
use crate::script::{Client, Lab, secs};

const ANN: &str = "1.2.3.4:5000";

fn binding() -> Ask {
    Ask::request(BINDING, 1)
}

#[test]
fn classes_that_a_method_does_not_have_are_silent() {
    // T-8489-6.3-01, T-8489-6.3-02, T-8489-6.3-03
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    for (class, method) in [
        (REQUEST, 0x0ff),
        (INDICATION, ALLOCATE),
        (REQUEST, SEND),
        (REQUEST, DATA_METHOD),
        (INDICATION, DATA_METHOD),
        (INDICATION, 0x00c),
        (INDICATION, REFRESH),
        (SUCCESS, BINDING),
        (ERROR, BINDING),
        (SUCCESS, ALLOCATE),
    ] {
        let ask = Ask::of(class, method, 77).udp();
        assert_eq!(lab.silence(&ann.path, &ask.bare()), DropReason::StunUnexpected);
        assert_eq!(lab.silence(&ann.path, &ask.signed(&ann.credential)), DropReason::StunUnexpected);
    }
}

#[test]
fn fingerprint_is_checked_when_present_and_never_asked_for() {
    // T-8489-6.3-04, T-8489-7-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    assert!(!lab.answer(&ann.path, &binding().bare()).has(FINGERPRINT));
    let right = binding().fingerprinted().bare();
    let heard = lab.answer(&ann.path, &right);
    assert_eq!(heard.kinds().last(), Some(&FINGERPRINT));
    for at in 20..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        let (_, answers) = lab.feed(&ann.path, &wrong);
        // Altered type or length bytes make other attributes of it, which carry no fingerprint.
        assert!(answers.iter().all(|(_, bytes)| at < 24 && !Heard::read(bytes).has(FINGERPRINT)), "{at}");
    }
}

#[test]
fn fingerprint_comes_after_integrity_and_ends_the_message() {
    // T-8489-14.7-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let ask = lab.request(ALLOCATE).udp().fingerprinted();
    let heard = lab.ask(&ann, &ask);
    assert!(heard.kinds().ends_with(&[MI, FINGERPRINT]));
    let mut bytes = lab.request(REFRESH).fingerprinted().signed(&ann.credential);
    append(&mut bytes, LIFETIME, &0_u32.to_be_bytes());
    append(&mut bytes, 0x7777, b"");
    set_length(&mut bytes, 0);
    assert_eq!(lab.answer(&ann.path, &bytes).lifetime(), 600);
    // An integrity behind the fingerprint proves nothing.
    let mut bytes = lab.request(REFRESH).fingerprinted().bare();
    for (kind, value) in
        [(USERNAME, &b"ann"[..]), (REALM, &ann.credential.realm), (NONCE, &ann.credential.nonce)]
    {
        append(&mut bytes, kind, value);
    }
    seal(&mut bytes, MI, 20, |covered| sha1(&ann.credential.key, covered));
    assert_eq!(lab.answer(&ann.path, &bytes).code(), 401);
}

#[test]
fn unknown_optional_and_misplaced_attributes_are_ignored() {
    // T-8489-6.3-05, T-8489-6.3-06
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    let ask = binding().with(0x8fff, b"?").with(0xffff, b"").lifetime(1).channel(0x4000).udp();
    assert!(lab.answer(&ann.path, &ask.bare()).is_success());
}

#[test]
fn authentication_comes_before_unknown_attributes() {
    // T-8489-6.3-07, T-8489-6.3.1-02, T-8489-6.3.1.1-01
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().with(0x7777, b"x");
    let heard = lab.answer(&ann.path, &ask.bare());
    assert_eq!(heard.code(), 401);
    assert!(!heard.has(UNKNOWN));
    lab.login(&mut ann);
    let heard = lab.ask(&ann, &ask);
    assert_eq!((heard.code(), heard.unknown()), (420, vec![0x7777]));
    lab.assert_nothing_is_left();
}

#[test]
fn unknown_attributes_behind_the_integrity_are_ignored() {
    // T-8489-6.3.1-04
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let ask = lab.request(ALLOCATE).udp();
    let bytes = ask.signed_then(&ann.credential, &[(0x7777, b"x")]);
    assert!(lab.answer(&ann.path, &bytes).is_success());
}

#[test]
fn retransmissions_leave_state_as_one_request_would() {
    // T-8489-6.3.1-05
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let allocate = lab.request(ALLOCATE).udp().signed(&ann.credential);
    let first = lab.answer(&ann.path, &allocate);
    assert_eq!(lab.answer(&ann.path, &allocate), first);
    for ask in [
        lab.request(CREATE_PERMISSION).peer("1.1.1.1:0").peer("1.1.1.2:0"),
        lab.request(CHANNEL_BIND).channel(0x4001).peer("1.1.1.3:9"),
        lab.request(REFRESH).lifetime(1000),
    ] {
        let bytes = ask.signed(&ann.credential);
        let first = lab.answer(&ann.path, &bytes);
        let exported = lab.server.export(lab.only_allocation());
        assert_eq!(lab.answer(&ann.path, &bytes), first);
        assert_eq!(lab.server.export(lab.only_allocation()), exported);
    }
    assert_eq!((lab.open.len(), lab.shared.allocations()), (1, 1));
}

#[test]
fn unproven_requests_leave_no_state_behind() {
    // T-8489-6.3.1-06, T-8656-7.2-33
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    for method in [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        let ask = lab.request(method).udp();
        let twice = [lab.answer(&ann.path, &ask.bare()), lab.answer(&ann.path, &ask.bare())];
        assert_eq!(twice[0].code(), twice[1].code());
    }
    lab.login(&mut ann);
    let bad = lab.request(ALLOCATE).with(TRANSPORT, [6, 0, 0, 0]);
    assert_eq!(lab.ask(&ann, &bad).code(), 442);
    assert_eq!(lab.ask(&ann, &bad).code(), 442);
    lab.assert_nothing_is_left();
}

#[test]
fn same_transaction_id_with_other_bytes_is_another_request() {
    // T-8489-6.3.1-07
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.login(&mut ann);
    let allocate = lab.request(ALLOCATE).udp().lifetime(900);
    assert!(lab.ask(&ann, &allocate).is_success());
    let other = allocate.clone().without(LIFETIME).lifetime(901);
    assert_eq!(lab.ask(&ann, &other).code(), 437);
    let refresh = Ask { kind: REFRESH, ..allocate.clone() };
    assert_eq!(lab.ask(&ann, &refresh).kinds(), [LIFETIME, MI]);
    let unproven = lab.answer(&ann.path, &allocate.bare());
    assert_eq!(unproven.code(), 401);
}

#[test]
fn binding_tells_the_source_on_every_transport_and_nothing_else() {
    // T-8489-6.3.1.1-02, T-8489-6.3.1.1-03, T-8489-12-01
    let mut lab = Lab::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for remote in ["1.2.3.4:5000", "[2a00::1]:6000"] {
            let client = Client::over(transport, remote, "ann", "");
            let heard = lab.answer(&client.path, &binding().bare());
            assert_eq!(heard.kinds(), [XOR_MAPPED]);
            assert_eq!(heard.address(XOR_MAPPED), remote.parse().unwrap());
        }
    }
}

#[test]
fn binding_indication_is_silent() {
    // T-8489-6.3.2-01
    let mut lab = Lab::new();
    let ann = Client::ann(ANN);
    lab.silence(&ann.path, &Ask::indication(BINDING, 1).bare());
}

#[test]
fn indication_with_an_unknown_required_attribute_is_discarded() {
    // T-8489-6.3.2-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    let send = lab.send_indication("1.1.1.1:9", b"x").with(0x7777, b"");
    assert_eq!(lab.silence(&ann.path, &send.bare()), DropReason::UnknownAttribute);
    let first = Ask::indication(SEND, 5).with(0x7777, b"").peer("1.1.1.1:9").with(DATA, b"x");
    assert_eq!(lab.silence(&ann.path, &first.bare()), DropReason::UnknownAttribute);
    let optional = lab.send_indication("1.1.1.1:9", b"x").with(0x8777, b"");
    assert_eq!(lab.feed(&ann.path, &optional.bare()).0.to_peer().1, b"x");
}

#[test]
fn owner_of_an_allocation_is_answered_binding_without_credentials() {
    // T-8489-12-02
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    for _ in 0..1000 {
        assert!(lab.answer(&ann.path, &binding().bare()).is_success());
    }
}

#[test]
fn connectivity_check_of_ice_is_not_answered_as_success() {
    // T-8445-7-01
    let mut lab = Lab::new();
    let check = binding().with(0x0024, [0x6e, 0, 1, 0xff]).with(0x0025, b"").with(USERNAME, b"a:b");
    let mut bytes = check.bare();
    seal(&mut bytes, MI, 20, |covered| sha1(b"password", covered));
    let heard = lab.answer(&Client::ann(ANN).path, &bytes);
    assert_eq!((heard.code(), heard.unknown()), (420, vec![0x0024, 0x0025]));
}

#[test]
fn messages_back_to_back_on_a_stream_are_found_at_every_split() {
    // T-8489-6.2.2-03, T-8656-12.6-01
    let mut stream = Vec::new();
    let mut sent = Vec::new();
    for length in 0..=7 {
        let data = channel_data(0x4000, &vec![0xaa; length]);
        stream.extend(&data);
        stream.resize(stream.len().next_multiple_of(4), 0x55);
        sent.push(data);
        let ask = binding().with(SOFTWARE, vec![b's'; length]).bare();
        stream.extend(&ask);
        sent.push(ask);
    }
    for chunk in 1..stream.len() {
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for part in stream.chunks(chunk) {
            buffer.extend(part);
            while let Frame::Whole { len, total } = next_frame(&buffer) {
                found.push(buffer[..len].to_vec());
                buffer.drain(..total);
            }
            assert_ne!(next_frame(&buffer), Frame::OutOfStep);
        }
        assert_eq!(found, sent, "chunks of {chunk}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn corrupted_length_puts_a_stream_out_of_step() {
    // T-5766-4-01, T-8489-5-02
    let mut bytes = binding().bare();
    bytes[3] = 2;
    assert_eq!(next_frame(&bytes), Frame::OutOfStep);
    // A length that swallows the next message's start is found out by that message's lost cookie.
    let mut two = [binding().bare(), binding().bare(), binding().bare()].concat();
    two[3] = 4;
    let Frame::Whole { total, .. } = next_frame(&two) else { panic!("whole") };
    assert_eq!(next_frame(&two[total..]), Frame::OutOfStep);
}

#[test]
fn pipelined_requests_of_one_connection_are_each_answered_once() {
    // T-8489-6.3.1.2-03
    let mut lab = Lab::new();
    let client = Client::over(Transport::Tcp, ANN, "ann", "");
    for tid in 0..100 {
        let heard = lab.answer(&client.path, &Ask::request(BINDING, tid).bare());
        assert_eq!(heard.tid, Ask::request(BINDING, tid).tid);
    }
    lab.advance(secs(1));
}

#[test]
fn answers_name_the_path_that_was_asked() {
    // T-8489-6.3.1.2-01, T-8489-6.3.1.2-02: the core's half; `answer` compares the whole path.
    let mut lab = Lab::new();
    for local in ["9.0.0.1:3478", "9.0.0.2:3478", "9.0.0.1:5349"] {
        let mut client = Client::ann(ANN);
        client.path.local = local.parse().unwrap();
        lab.allocate(&mut client);
    }
    assert_eq!(lab.server.allocations().count(), 3);
}
