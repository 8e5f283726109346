//! The independent second implementation (webrtc-rs) through the running daemon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use turn::client::Client;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::{Candidate, CandidateType};
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::udp_network::UDPNetwork;
use webrtc_ice::url::Url;
use webrtc_util::Conn;

const FLAGS: &[&str] = &[
    "--listen",
    "127.0.0.1:0",
    "--relay-address",
    "127.0.0.1",
    "--user",
    "ann:secret",
    "--realm",
    "test",
    "--allow-peer",
    "127.0.0.0/8",
    "--unauthenticated-rate",
    "0",
];

async fn client(server: SocketAddr, password: &str) -> Client {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    turn_client(server, socket, "ann", password).await
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_rs_client_allocates_and_exchanges_data_with_a_peer() {
    let daemon = Daemon::start(FLAGS);
    let client = client(daemon.addr("udp"), "secret").await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();

    let mapped = client.send_binding_request().await.unwrap();
    assert_eq!(mapped.ip(), daemon.addr("udp").ip());
    let relay = client.allocate().await.unwrap();
    let relayed = relay.local_addr().unwrap();

    let mut buffer = [0; 1500];
    // The first packets go as Send indications, later ones through the channel that the client binds.
    for round in 0..20_u8 {
        let there = [round; 700];
        relay.send_to(&there, peer.local_addr().unwrap()).await.unwrap();
        let (len, from) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], from), (there.as_slice(), relayed));

        let back = [round ^ 0xff; 900];
        peer.send_to(&back, relayed).await.unwrap();
        let (len, from) = relay.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], from), (back.as_slice(), peer.local_addr().unwrap()));
    }
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_rs_client_with_a_wrong_password_gets_no_allocation() {
    let daemon = Daemon::start(FLAGS);
    let client = client(daemon.addr("udp"), "wrong").await;
    let refused = client.allocate().await.err().unwrap().to_string();
    assert!(refused.contains("Unauthenticated"), "{refused}");
}

async fn agent(server: SocketAddr, is_controlling: bool) -> (Arc<Agent>, mpsc::Receiver<String>) {
    let url = format!("turn:{server}?transport=udp");
    let mut url = Url::parse_url(&url).unwrap();
    url.username = "ann".into();
    url.password = "secret".into();
    let agent = Agent::new(AgentConfig {
        urls: vec![url],
        udp_network: UDPNetwork::default(),
        network_types: vec![NetworkType::Udp4],
        candidate_types: vec![CandidateType::Relay],
        is_controlling,
        ..AgentConfig::default()
    })
    .await
    .unwrap();
    let (tell, candidates) = mpsc::channel(8);
    agent.on_candidate(Box::new(move |candidate: Option<Arc<dyn Candidate + Send + Sync>>| {
        let tell = tell.clone();
        Box::pin(async move {
            if let Some(candidate) = candidate {
                let _ = tell.send(candidate.marshal()).await;
            }
        })
    }));
    agent.gather_candidates().unwrap();
    (Arc::new(agent), candidates)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_webrtc_ice_agents_restricted_to_relays_connect_and_exchange_data() {
    let daemon = Daemon::start(FLAGS);
    let (controlling, mut its_candidates) = agent(daemon.addr("udp"), true).await;
    let (controlled, mut other_candidates) = agent(daemon.addr("udp"), false).await;

    for (from, to) in [(&mut its_candidates, &controlled), (&mut other_candidates, &controlling)] {
        let candidate = from.recv().await.unwrap();
        assert!(candidate.contains(" relay "), "{candidate}");
        let candidate: Arc<dyn Candidate + Send + Sync> =
            Arc::new(webrtc_ice::candidate::candidate_base::unmarshal_candidate(&candidate).unwrap());
        to.add_remote_candidate(&candidate).unwrap();
    }
    let (ufrag, pwd) = controlling.get_local_user_credentials().await;
    let (other_ufrag, other_pwd) = controlled.get_local_user_credentials().await;
    let (_keep, stop) = mpsc::channel(1);
    let (_keep_too, stop_too) = mpsc::channel(1);
    let accepting = tokio::spawn({
        let controlled = Arc::clone(&controlled);
        async move { controlled.accept(stop_too, ufrag, pwd).await.unwrap() as Arc<dyn Conn + Send + Sync> }
    });
    let dialed = controlling.dial(stop, other_ufrag, other_pwd).await.unwrap();
    let accepted = accepting.await.unwrap();

    let mut buffer = [0; 1500];
    dialed.send(b"over two relays").await.unwrap();
    let len = accepted.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"over two relays");
    accepted.send(b"and back").await.unwrap();
    let len = dialed.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"and back");

    let pair = controlling.get_selected_candidate_pair().unwrap().to_string();
    assert_eq!(pair.matches("relay").count(), 2, "{pair}");
    controlling.close().await.unwrap();
    controlled.close().await.unwrap();
}
