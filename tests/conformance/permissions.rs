//! Section F: permissions (RFC 8656 §9, §10).

use turnpike::turn::DropReason;

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, secs};

const ANN: &str = "1.2.3.4:5000";

/// A lab with an allocation of ann's that lives for an hour.
fn with_allocation() -> (Lab, Client, std::net::SocketAddr) {
    let mut lab = Lab::new();
    let mut ann = Client::ann(ANN);
    let ask = lab.request(ALLOCATE).udp().lifetime(3600);
    let relayed = lab.allocate_with(&mut ann, &ask);
    (lab, ann, relayed)
}

#[test]
fn permission_holds_for_300_seconds_either_way() {
    // T-8656-9-01
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    for step in [secs(299), secs(1)] {
        lab.pass(step);
        let (out, back) = (lab.send(&ann, "1.1.1.1:1", b"x"), lab.peer_sends(relayed, "1.1.1.1:1", b"x"));
        if step == secs(299) {
            assert!(matches!(out, Fate::ToPeer { .. }) && matches!(back, Fate::ToClient { .. }));
        } else {
            assert_eq!(
                (out.dropped(), back.dropped()),
                (DropReason::PermissionMissing, DropReason::PermissionMissing)
            );
        }
    }
}

#[test]
fn permission_is_for_an_address_and_all_its_ports() {
    // T-8656-9-02, T-8656-9-05
    let (mut lab, ann, relayed) = with_allocation();
    let ask = lab.request(CREATE_PERMISSION).peer("1.1.1.1:7");
    assert!(lab.ask(&ann, &ask).is_success());
    for port in [1, 7, 65_535] {
        assert!(matches!(lab.peer_sends(relayed, &format!("1.1.1.1:{port}"), b"x"), Fate::ToClient { .. }));
        assert!(matches!(lab.send(&ann, &format!("1.1.1.1:{port}"), b"x"), Fate::ToPeer { .. }));
    }
    assert_eq!(lab.peer_sends(relayed, "1.1.1.2:7", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.send(&ann, "1.1.1.2:7", b"x").dropped(), DropReason::PermissionMissing);
}

#[test]
fn traffic_does_not_extend_a_permission() {
    // T-8656-9-03
    let (mut lab, ann, relayed) = with_allocation();
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:1"), 0);
    for _ in 0..299 {
        lab.advance(secs(1));
        lab.send(&ann, "1.1.1.1:1", b"x").to_peer();
        lab.send_on(&ann, 0x4000, b"x").to_peer();
        lab.peer_sends(relayed, "1.1.1.1:1", b"x").to_client();
    }
    lab.advance(secs(1));
    assert_eq!(lab.send(&ann, "1.1.1.1:1", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.peer_sends(relayed, "1.1.1.1:1", b"x").dropped(), DropReason::PermissionMissing);
}

#[test]
fn permission_of_one_allocation_opens_no_other() {
    // T-8656-9-04
    let (mut lab, ann, _) = with_allocation();
    let mut second = Client::ann("1.2.3.4:5001");
    let other = lab.allocate(&mut second);
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    assert_eq!(lab.peer_sends(other, "1.1.1.1:1", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.send(&second, "1.1.1.1:1", b"x").dropped(), DropReason::PermissionMissing);
}

#[test]
fn request_without_a_peer_is_400() {
    // T-8656-10.2-01
    let (mut lab, ann, _) = with_allocation();
    assert_eq!(lab.permit(&ann, &[]), 400);
}

#[test]
fn one_bad_peer_among_many_installs_none() {
    // T-8656-10.2-02, T-8656-10.2-04, T-8656-10.2-05
    for (bad, code) in [("malformed", 400), ("2a00::1", 443), ("10.0.0.1", 403)] {
        let (mut lab, ann, _) = with_allocation();
        let mut ask = lab.request(CREATE_PERMISSION).peer("1.1.1.1:0");
        ask = match bad {
            "malformed" => ask.with(PEER, [0, 1, 0, 0, 1, 2, 3]),
            ip => ask.peer_ip(ip),
        };
        ask = ask.peer("1.1.1.2:0");
        assert_eq!(lab.ask(&ann, &ask).code(), code);
        for peer in ["1.1.1.1:1", "1.1.1.2:1"] {
            assert_eq!(lab.send(&ann, peer, b"x").dropped(), DropReason::PermissionMissing);
        }
    }
}

#[test]
fn all_peers_of_a_request_are_installed() {
    // T-8656-10.2-03
    for count in [1, 2, 10] {
        let (mut lab, ann, _) = with_allocation();
        let ips: Vec<String> = (1..=count).map(|i| format!("1.1.1.{i}")).collect();
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        assert_eq!(lab.permit(&ann, &ips), 0);
        for ip in ips {
            assert!(matches!(lab.send(&ann, &format!("{ip}:1"), b"x"), Fate::ToPeer { .. }));
        }
    }
}

#[test]
fn forbidden_peers_are_403_in_both_requests_and_silent_in_send() {
    // T-8656-10.2-05, T-8656-12.2-06
    let v4 =
        ["127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "9.0.0.255", "8.8.4.4", "255.255.255.255"];
    let v6 = [
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "ff02::1",
        "fd00::1",
    ];
    for (family, peers) in [(1, &v4[..]), (2, &v6[..])] {
        let mut lab = Lab::new();
        let mut ann = Client::ann(ANN);
        let ask = lab.request(ALLOCATE).udp().family(family);
        lab.allocate_with(&mut ann, &ask);
        for ip in peers {
            let addr = std::net::SocketAddr::new(ip.parse().unwrap(), 9).to_string();
            assert_eq!(lab.permit(&ann, &[ip]), 403, "{ip}");
            assert_eq!(lab.bind(&ann, 0x4000, &addr), 403, "{ip}");
            assert_eq!(lab.send(&ann, &addr, b"x").dropped(), DropReason::PermissionMissing);
        }
    }
}

#[test]
fn full_table_is_508_and_what_is_in_it_can_be_refreshed() {
    // T-8656-10.2-06
    let mut lab = Lab::with(|setup| setup.limits.max_permissions = 2);
    let mut ann = Client::ann(ANN);
    lab.allocate(&mut ann);
    assert_eq!(lab.permit(&ann, &["1.1.1.1", "1.1.1.2", "1.1.1.3"]), 508);
    assert_eq!(lab.send(&ann, "1.1.1.1:1", b"x").dropped(), DropReason::PermissionMissing);
    assert_eq!(lab.permit(&ann, &["1.1.1.1", "1.1.1.2", "1.1.1.1"]), 0);
    assert_eq!(lab.permit(&ann, &["1.1.1.3"]), 508);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.3:1"), 508);
    assert_eq!(lab.send_on(&ann, 0x4000, b"x").dropped(), DropReason::ChannelUnbound);
    lab.advance(secs(200));
    assert_eq!(lab.permit(&ann, &["1.1.1.1"]), 0);
    lab.pass(secs(100));
    // 1.1.1.2 has run out, which makes room.
    assert_eq!(lab.permit(&ann, &["1.1.1.3"]), 0);
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::ToPeer { .. }));
}

#[test]
fn port_of_a_permission_means_nothing() {
    // T-8656-10.2-07
    let (mut lab, ann, _) = with_allocation();
    for port in [0, 1, 3478] {
        let ask =
            lab.request(CREATE_PERMISSION).peer(&format!("9.0.0.1:{port}")).peer(&format!("1.1.1.1:{port}"));
        assert!(lab.ask(&ann, &ask).is_success());
    }
    assert_eq!(lab.send(&ann, "1.1.1.1:0", b"x").dropped(), DropReason::PeerForbidden);
}

#[test]
fn success_carries_integrity_alone_and_a_retransmission_refreshes() {
    // T-8656-10.2-08
    let (mut lab, ann, _) = with_allocation();
    let ask = lab.request(CREATE_PERMISSION).peer("1.1.1.1:0");
    assert_eq!(lab.ask(&ann, &ask).kinds(), [MI]);
    lab.advance(secs(200));
    assert_eq!(lab.ask(&ann, &ask).kinds(), [MI]);
    lab.advance(secs(299));
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::ToPeer { .. }));
    lab.advance(secs(1));
    assert!(matches!(lab.send(&ann, "1.1.1.1:1", b"x"), Fate::Dropped(_)));
}
