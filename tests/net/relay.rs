//! Relaying over every carrier.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use turnpike::stun::Class;

use crate::client::{Client, Link};
use crate::host::{Host, Wish};

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

async fn relays_both_ways(link: Link, largest: usize) {
    let (mut client, relay) = Client::allocated(link).await;
    let (peer, peer_addr) = peer().await;
    client.permit(peer_addr).await;
    let mut buffer = vec![0; 65_536];
    for round in 0..2 {
        for len in [0, 1, 2, 3, 4, 1200, largest] {
            let payload = vec![len as u8 ^ 0x55; len];
            if round == 0 {
                client.send_indication(peer_addr, &payload).await;
            } else {
                client.send_channel(0x4001, &payload).await;
            }
            let (got, from) = peer.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..got], from), (&payload[..], relay));
            peer.send_to(&payload, relay).await.unwrap();
            assert_eq!(client.data().await, payload);
        }
        client.bind(0x4001, peer_addr).await;
    }
    let answer = client.refresh(0).await;
    assert_eq!(answer.class(), Class::Success);
    assert_eq!(client.refresh(600).await.class(), Class::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_relays_both_ways() {
    let host = Host::start(Wish::default());
    relays_both_ways(Link::udp(host.udp).await, 65_400).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_relays_both_ways_up_to_the_largest_datagram() {
    let host = Host::start(Wish::default());
    relays_both_ways(Link::tcp(host.tcp).await, 65_480).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_relays_both_ways_up_to_the_largest_datagram() {
    let host = Host::start(Wish::default());
    relays_both_ways(Link::tls(&host, &["stun.turn"]).await.unwrap(), 65_480).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_client_is_sent_the_largest_datagram_that_udp_has() {
    let host = Host::start(Wish::default());
    let (mut client, relay) = Client::allocated(Link::tcp(host.tcp).await).await;
    let (peer, peer_addr) = peer().await;
    client.bind(0x4000, peer_addr).await;
    let largest = vec![9; 65_507];
    peer.send_to(&largest, relay).await.unwrap();
    assert_eq!(client.data().await, largest);
    client.send_channel(0x4000, &largest).await;
    let mut buffer = vec![0; 65_536];
    assert_eq!(peer.recv(&mut buffer).await.unwrap(), largest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn wildcard_listeners_answer_from_the_address_that_was_asked() {
    // T-8489-6.3.1.2-01
    for (listen, asked) in
        [("0.0.0.0:0", &["127.0.0.1", "127.0.0.2"][..]), ("[::]:0", &["127.0.0.1", "127.0.0.2", "::1"])]
    {
        let host = Host::start(Wish { listen, ..Wish::default() });
        for ip in asked {
            let ip = ip.parse().unwrap();
            // A connected socket hears nobody but the address that it asked.
            let mut udp = Client::new(Link::udp(SocketAddr::new(ip, host.udp.port())).await);
            let mapped = udp.binding().await;
            assert!(mapped.ip().is_loopback() && mapped.is_ipv4() == ip.is_ipv4(), "{mapped}");
            let (mut relaying, relay) =
                Client::allocated(Link::udp(SocketAddr::new(ip, host.udp.port())).await).await;
            let (peer, peer_addr) = peer().await;
            relaying.permit(peer_addr).await;
            peer.send_to(b"data", relay).await.unwrap();
            assert_eq!(relaying.data().await, b"data");
            let mut tcp = Client::new(Link::tcp(SocketAddr::new(ip, host.tcp.port())).await);
            assert_eq!(tcp.binding().await.is_ipv4(), ip.is_ipv4());
        }
        host.running.stop().await;
    }
}
