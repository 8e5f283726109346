//! What the daemon's log may hold.

mod support;

use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use webrtc_util::Conn;

/// Runs a client through all that is logged about one, and returns the log with the addresses that took part.
async fn log_of_a_session(flags: &[&str]) -> (String, Vec<String>) {
    let all = [
        "--listen=127.0.0.1:0",
        "--relay-address=127.0.0.1",
        "--user=ann:static-password",
        "--auth-secret=shared-secret",
        "--realm=test",
        "--allow-peer=127.0.0.0/8",
        "--unauthenticated-rate=0",
        "--log-level=trace",
    ];
    let daemon = Daemon::start(&[&all, flags].concat());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let addresses = [&socket, &peer].map(|socket| socket.local_addr().expect("it is bound").to_string());
    let client = turn_client(daemon.addr("udp"), socket, "ann", "static-password").await;
    let relay = client.allocate().await.expect("the server allocates");
    let to = peer.local_addr().expect("it is bound");
    relay.send_to(b"payload-of-the-call", to).await.expect("a send");
    let mut buffer = [0; 100];
    peer.recv_from(&mut buffer).await.expect("the payload arrives");
    daemon.wait_for_log("channel bound");
    client.close().await.expect("the client closes");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("allocation made") && log.contains("user=ann"), "{log}");
    (log, addresses.to_vec())
}

fn assert_no_secret(log: &str) {
    for secret in ["static-password", "shared-secret", "payload-of-the-call"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_log_shortens_addresses_and_holds_no_secret() {
    let (log, addresses) = log_of_a_session(&[]).await;
    assert_no_secret(&log);
    assert!(log.contains("client=127.0.0.0/24"), "{log}");
    for address in addresses {
        assert!(!log.contains(&address), "{address} is in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_none_hides_them() {
    let (log, addresses) = log_of_a_session(&["--log-addresses=none"]).await;
    assert_no_secret(&log);
    assert!(log.contains("client=hidden"), "{log}");
    assert!(addresses.iter().all(|address| !log.contains(address)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_full_show_client_and_peer_at_debug_and_still_no_secret() {
    let (log, addresses) = log_of_a_session(&["--log-addresses=full"]).await;
    assert_no_secret(&log);
    assert!(addresses.iter().all(|address| log.contains(address)), "{addresses:?}\n{log}");
}
