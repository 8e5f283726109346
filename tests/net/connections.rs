//! How connections begin: caps, PROXY headers, TLS, and what is not ours.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use turnpike::net::{Close, ConnectionLimits};

use crate::client::{Client, Link, connect};
use crate::host::{Host, Wish, hasty, within};

async fn closed(host: &Host, why: Close, count: u64) {
    let closing = async {
        while host.running.lobby().closed(why) < count {
            tokio::task::yield_now().await;
        }
    };
    let so_far = || format!("{why:?}: {} of {count}", host.running.lobby().closed(why));
    within(closing, so_far).await;
    assert_eq!(host.running.lobby().closed(why), count);
}

async fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(source.parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn application_protocols_of_turn_are_accepted_and_none_too() {
    // T-7443-2-01
    let host = Host::start(Wish::default());
    for protocols in [&["stun.turn"][..], &["h2", "stun.nat-discovery"], &[]] {
        let mut client = Client::new(Link::tls(&host, protocols).await.unwrap());
        client.binding().await;
    }
    let refused = Link::tls(&host, &["h2", "http/1.1"]).await.err().unwrap();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    closed(&host, Close::Tls, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_for_tls_refuses_plaintext() {
    let host = Host::start(Wish { tls_only: true, ..Wish::default() });
    Client::new(Link::tls(&host, &[]).await.unwrap()).binding().await;
    let mut plain = connect(host.tcp).await;
    plain.write_all(&[0, 1, 0, 0]).await.unwrap();
    assert_eq!(plain.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::PlaintextRefused, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_turn_is_closed() {
    let host = Host::start(Wish::default());
    for opening in [&b"GET / HTTP/1.1\r\n"[..], &[0x40, 0, 0, 4, 1, 2, 3, 4], &[0xff]] {
        let mut stream = connect(host.tcp).await;
        stream.write_all(opening).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    closed(&host, Close::NotTurn, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_at_the_beginning_is_closed() {
    let host = Host::start(Wish { connections: hasty(), ..Wish::default() });
    let mut silent = connect(host.tcp).await;
    let mut half = connect(host.tcp).await;
    half.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::HandshakeTimeout, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_holds_so_many_connections_and_no_more() {
    let host = Host::start(Wish { clients: (2, 512), ..Wish::default() });
    let mut first = Client::new(Link::tcp(host.tcp).await);
    first.binding().await;
    let mut second = Client::new(Link::tls(&host, &[]).await.unwrap());
    second.binding().await;
    assert_eq!(connect(host.tcp).await.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::AddressConnections, 1).await;
    drop(first);
    host.until(|all| all.iter().map(|shard| shard.streams).sum::<usize>() == 1).await;
    Client::new(Link::tcp(host.tcp).await).binding().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sources_together_hold_so_many_connections_and_no_more() {
    let host = Host::start(Wish { clients: (1000, 2), ..Wish::default() });
    let mut first = Client::new(Link::tcp(host.tcp).await);
    first.binding().await;
    let mut second = Client::new(Link::tls(&host, &[]).await.unwrap());
    second.binding().await;
    let mut elsewhere = connect_from("127.0.0.2:0", host.tcp).await;
    assert_eq!(elsewhere.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::TotalConnections, 1).await;
    second.binding().await;
    drop(first);
    host.until(|all| all.iter().map(|shard| shard.streams).sum::<usize>() == 1).await;
    Client::new(Link::tcp(host.tcp).await).binding().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_silent_source_leaves_room_for_the_beginnings_of_others() {
    let connections = ConnectionLimits { handshakes: 4, handshakes_per_ip: 3, ..ConnectionLimits::default() };
    let host = Host::start(Wish { connections, ..Wish::default() });
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect(host.tcp).await);
    }
    closed(&host, Close::TooManyHandshakes, 1).await;
    let stream = connect_from("127.0.0.2:0", host.tcp).await;
    Client::new(Link::Stream(Box::new(stream), Vec::new())).binding().await;
    drop(silent);
    closed(&host, Close::Client, 3).await;
    Client::new(Link::tcp(host.tcp).await).binding().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_names_the_client_and_the_client_is_what_counts() {
    let host = Host::start(Wish { proxies: &["127.0.0.0/8"], clients: (1, 512), ..Wish::default() });
    let mut kept = Vec::new();
    for name in ["192.0.2.1", "192.0.2.2"] {
        let mut client = Client::new(Link::tcp(host.tcp).await);
        client.link.send(format!("PROXY TCP4 {name} 10.0.0.1 5000 3478\r\n").as_bytes()).await;
        assert_eq!(client.binding().await, format!("{name}:5000").parse().unwrap());
        kept.push(client);
    }
    let mut again = connect(host.tcp).await;
    again.write_all(b"PROXY TCP4 192.0.2.2 10.0.0.1 5001 3478\r\n").await.unwrap();
    assert_eq!(again.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::AddressConnections, 1).await;
    let mut bare = connect(host.tcp).await;
    bare.write_all(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]).await.unwrap();
    assert_eq!(bare.read(&mut [0; 1]).await.unwrap_or(0), 0);
    closed(&host, Close::ProxyHeader, 1).await;
}
