//! Streams: framing, slow readers, ends.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use turnpike::net::{Close, NetDrop};
use turnpike::stun::{AttributeType, Class, Method};

use crate::client::{Client, Link, channel_frame, connect};
use crate::host::{Host, Wish, dropped, hasty, within};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_at_every_byte_boundary() {
    // T-8489-6.2.2-03
    let host = Host::start(Wish::default());
    for is_tls in [false, true] {
        let link = if is_tls { Link::tls(&host, &[]).await.unwrap() } else { Link::tcp(host.tcp).await };
        let (mut client, _) = Client::allocated(link).await;
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.bind(0x4000, peer.local_addr().unwrap()).await;
        let mut bytes = Vec::new();
        for len in 0..=7 {
            bytes.extend(channel_frame(0x4000, &vec![len; usize::from(len)], true));
            bytes.extend(client.message(Class::Request, Method::BINDING, &[], false));
        }
        for byte in bytes {
            client.link.send(&[byte]).await;
        }
        let mut buffer = [0; 16];
        for len in 0..=7_u8 {
            assert_eq!(peer.recv(&mut buffer).await.unwrap(), usize::from(len));
            let answer = client.link.receive().await.unwrap();
            assert_eq!(answer[..2], [0x01, 0x01]);
        }
    }
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_out_of_step_is_closed() {
    // T-5766-4-01
    let host = Host::start(Wish::default());
    let mut client = Client::new(Link::tcp(host.tcp).await);
    client.binding().await;
    client.link.send(&[0xff; 20]).await;
    assert_eq!(client.link.receive().await, None);
    host.until(|all| all.iter().any(|shard| shard.net.closed(Close::OutOfStep) == 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_well_framed_nonsense_is_closed() {
    // T-5766-4-01
    let host = Host::start(Wish::default());
    let mut client = Client::new(Link::tcp(host.tcp).await);
    client.binding().await;
    client.link.send(&channel_frame(0x4000, b"nobody's", true).repeat(8)).await;
    assert_eq!(client.link.receive().await, None);
    host.until(|all| all.iter().any(|shard| shard.net.closed(Close::BadMessages) == 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_large_is_kept_for_a_stream_without_an_allocation() {
    let host = Host::start(Wish::default());
    let mut stranger = Client::new(Link::tcp(host.tcp).await);
    stranger.binding().await;
    let large = channel_frame(0x4000, &[0; 60_000], true);
    stranger.link.send(&large[..100]).await;
    assert_eq!(stranger.link.receive().await, None);
    host.until(|all| all.iter().any(|shard| shard.net.closed(Close::TooLarge) == 1)).await;

    let (mut client, _) = Client::allocated(Link::tcp(host.tcp).await).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.bind(0x4000, peer.local_addr().unwrap()).await;
    client.link.send(&large[..100]).await;
    client.link.send(&large[100..]).await;
    let mut buffer = vec![0; 65_536];
    assert_eq!(peer.recv(&mut buffer).await.unwrap(), 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_is_answered_before_its_stream_ends() {
    // T-8489-6.2.2-02
    let host = Host::start(Wish::default());
    for is_tls in [false, true] {
        let link = if is_tls { Link::tls(&host, &[]).await.unwrap() } else { Link::tcp(host.tcp).await };
        let mut client = Client::new(link);
        let request = client.message(Class::Request, Method::BINDING, &[], false);
        client.link.send(&request.repeat(100)).await;
        match &mut client.link {
            Link::Stream(stream, _) => stream.shutdown().await.unwrap(),
            Link::Udp(_) => unreachable!(),
        }
        for _ in 0..100 {
            assert_eq!(client.link.receive().await.unwrap()[..2], [0x01, 0x01]);
        }
        assert_eq!(client.link.receive().await, None);
    }
    host.until(|all| all.iter().map(|shard| shard.net.closed(Close::Client)).sum::<u64>() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_stream_ends_its_allocation_before_another_gets_its_link() {
    // T-8656-6-05
    let host = Host::start(Wish::default());
    for _ in 0..5 {
        let (client, _) = Client::allocated(Link::tcp(host.tcp).await).await;
        drop(client);
        host.until(|all| all.iter().all(|shard| shard.allocations == 0 && shard.streams == 0)).await;
        let mut next = Client::new(Link::tcp(host.tcp).await);
        next.challenge().await;
        let answer = next.refresh(600).await;
        assert_eq!(answer.class(), Class::Error);
        assert_eq!(answer.message().value(AttributeType::ERROR_CODE).unwrap()[2..4], [4, 37]);
        drop(next);
        host.until(|all| all.iter().all(|shard| shard.streams == 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_its_oldest_data_and_no_answer() {
    let host = Host::start(Wish::default());
    let (mut client, relay) = Client::allocated(slow(host.tcp).await).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.bind(0x4000, peer.local_addr().unwrap()).await;
    let mut sent = 0_u32;
    let flooding = async {
        loop {
            for _ in 0..64 {
                let mut payload = [0; 8000];
                payload[..4].copy_from_slice(&sent.to_be_bytes());
                peer.send_to(&payload, relay).await.unwrap();
                sent += 1;
            }
            if dropped(&host.snapshots().await, NetDrop::SlowClientData) > 100 {
                break;
            }
        }
    };
    within(flooding, || "nothing of a slow reader's is dropped".to_owned()).await;
    let request = client.message(Class::Request, Method::BINDING, &[], false);
    client.link.send(&request).await;
    let (mut seen, mut last) = (0_u32, None);
    loop {
        let frame = client.link.receive().await.unwrap();
        if frame[0] == 0x01 {
            break;
        }
        let number = u32::from_be_bytes(*frame[4..].first_chunk().unwrap());
        assert!(last.is_none_or(|last| last < number), "in order");
        last = Some(number);
        seen += 1;
    }
    assert!(seen < sent && last > Some(sent / 2), "{seen} of {sent}, the last {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_never_reads_is_closed() {
    let host = Host::start(Wish::default());
    let mut client = Client::new(slow(host.tcp).await);
    client.binding().await;
    let requests = client.message(Class::Request, Method::BINDING, &[], false).repeat(1000);
    let Link::Stream(stream, _) = &mut client.link else { unreachable!() };
    while stream.write_all(&requests).await.is_ok() {}
    let all = host.until(|all| all.iter().all(|shard| shard.streams == 0)).await;
    assert_eq!(all.iter().map(|shard| shard.net.closed(Close::SlowClient)).sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_answers_are_kept_for_a_stranger_that_does_not_read() {
    let host = Host::start(Wish::default());
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let mut stranger = Client::new(slow(host.tcp).await);
        // Half of what an owner may leave unread, beside what the kernel takes.
        let requests = stranger.message(Class::Request, Method::BINDING, &[], false).repeat(6000);
        let Link::Stream(stream, _) = &mut stranger.link else { unreachable!() };
        // It is closed before it has asked so much.
        let _ = stream.write_all(&requests).await;
        strangers.push(stranger);
    }
    host.until(|all| all.iter().map(|shard| shard.net.closed(Close::SlowClient)).sum::<u64>() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_is_closed_unless_it_has_an_allocation() {
    // T-8489-6.2.2-01
    let host = Host::start(Wish { connections: hasty(), ..Wish::default() });
    let (mut allocated, _) = Client::allocated(Link::tcp(host.tcp).await).await;
    for round in 1..=3 {
        let mut idle = Client::new(Link::tcp(host.tcp).await);
        idle.binding().await;
        assert_eq!(idle.link.receive().await, None);
        host.until(|all| all.iter().map(|shard| shard.net.closed(Close::Idle)).sum::<u64>() == round).await;
    }
    assert_eq!(allocated.refresh(600).await.class(), Class::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_every_stream() {
    let host = Host::start(Wish::default());
    let mut stream = connect(host.tcp).await;
    let mut tls = Client::new(Link::tls(&host, &[]).await.unwrap());
    let request = tls.message(Class::Request, Method::BINDING, &[], false);
    stream.write_all(&request).await.unwrap();
    stream.read_exact(&mut [0; 32]).await.unwrap();
    tls.binding().await;
    host.running.stop().await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(tls.link.receive().await, None);
}

/// Connects with a receive buffer that fills soon.
async fn slow(server: SocketAddr) -> Link {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream: TcpStream = socket.connect(server).await.unwrap();
    Link::Stream(Box::new(stream), Vec::new())
}
