//! The engine over real sockets of this host.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use crate::net::engine::poll::{Interest, Poll};
use crate::net::engine::receive::{Datagram, Inbox, Receiver};
use crate::net::engine::send::{self, From, Outgoing, Sender};
use crate::net::engine::socket::{self, ListenerOptions};
use crate::turn::{Head, RelayId};

const RELAY: RelayId = RelayId { slot: 1, generation: 1 };

fn bound(addr: &str) -> (OwnedFd, SocketAddr) {
    let socket = socket::relay(addr.parse().unwrap()).unwrap();
    let addr = socket::local_addr(socket.as_fd()).unwrap();
    (socket, addr)
}

fn packet<'b>(from: &OwnedFd, to: SocketAddr, payload: &'b [u8]) -> Outgoing<'b> {
    let wide = socket::local_addr(from.as_fd()).unwrap().is_ipv6();
    let from = From::new(from.as_fd(), wide);
    Outgoing { from, source: None, to, head: None, payload, df: false, relay: Some(RELAY) }
}

fn send(batch: &[Outgoing<'_>]) -> Vec<io::ErrorKind> {
    let mut lost = Vec::new();
    let sent = Sender::new().send(batch, |_, error| lost.push(error.kind()));
    assert_eq!(sent + lost.len(), batch.len());
    lost
}

/// Waits until `count` datagrams are there, and hands them over.
fn receive(socket: &OwnedFd, count: usize, with_own: bool, mut each: impl FnMut(usize, Datagram<'_>)) {
    let mut poll = Poll::new().unwrap();
    poll.add(socket, 0, Interest::READ).unwrap();
    let (mut inbox, mut receiver) = (Inbox::new(), Receiver::new());
    let mut seen = 0;
    while seen < count {
        poll.wait(None).unwrap();
        let (mut room, _) = inbox.room();
        let batch = receiver.receive(socket.as_fd(), &mut room, 32, with_own).unwrap();
        for datagram in batch.datagrams() {
            each(seen, datagram);
            seen += 1;
        }
    }
    assert_eq!(seen, count);
}

#[test]
fn a_batch_arrives_in_order_from_each_socket_with_its_heads() {
    let ((a, a_addr), (b, b_addr), (to, to_addr)) =
        (bound("127.0.0.1:0"), bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let bodies: Vec<[u8; 3]> = (0..40).map(|n| [n, n, n]).collect();
    let mut head = [0; Head::MAX];
    head[..2].copy_from_slice(&[0xaa, 0xbb]);
    let head = Head::new(head, 2, 1);
    let batch: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| Outgoing {
            head: Some(head),
            ..packet(if n % 3 == 0 { &a } else { &b }, to_addr, body)
        })
        .collect();
    assert_eq!(send(&batch), []);
    let mut last = [None, None];
    receive(&to, 40, false, |_, datagram| {
        let n = datagram.bytes[2];
        assert_eq!(datagram.bytes, [0xaa, 0xbb, n, n, n, 0]);
        let from_a = n % 3 == 0;
        assert_eq!(datagram.from, if from_a { a_addr } else { b_addr });
        let before = last[usize::from(from_a)].replace(n);
        assert!(before.is_none_or(|before| before < n));
    });
}

#[test]
fn the_largest_and_the_empty_datagram_pass() {
    let ((from, _), (to, to_addr)) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let large = vec![7; 65_507];
    for df in [false, true] {
        assert_eq!(
            send(&[Outgoing { df, ..packet(&from, to_addr, &large) }, packet(&from, to_addr, &[])]),
            []
        );
        receive(&to, 2, false, |n, datagram| {
            assert!(!datagram.truncated);
            assert_eq!(datagram.bytes, if n == 0 { &large[..] } else { &[] });
        });
    }
}

#[test]
fn one_failure_costs_one_packet() {
    let ((from, _), (to, to_addr)) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let too_large = vec![0; 65_508];
    let batch = [
        packet(&from, nowhere, b"x"),
        packet(&from, to_addr, b"first"),
        packet(&from, to_addr, &too_large),
        packet(&from, nowhere, b"x"),
        packet(&from, to_addr, b"second"),
        packet(&from, nowhere, b"x"),
    ];
    assert_eq!(send(&batch).len(), 4);
    receive(&to, 2, false, |n, datagram| {
        assert_eq!(datagram.bytes, if n == 0 { &b"first"[..] } else { b"second" });
    });
}

#[test]
fn a_closed_peer_is_no_error_of_the_relay() {
    let ((from, _), (gone, gone_addr)) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    drop(gone);
    for _ in 0..3 {
        assert_eq!(send(&[packet(&from, gone_addr, b"hello")]), []);
    }
}

#[test]
fn answers_of_a_wildcard_leave_from_the_address_that_was_asked() {
    for (wildcard, asked) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "127.0.0.2"), ("[::]:0", "::1")] {
        let options = ListenerOptions { shared: false, dual: true };
        let server = socket::listener(wildcard.parse().unwrap(), options).unwrap();
        let port = socket::local_addr(server.as_fd()).unwrap().port();
        let asked = SocketAddr::new(asked.parse().unwrap(), port);
        let any = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let (client, client_addr) = bound(any);
        assert_eq!(send(&[packet(&client, asked, b"ask")]), []);
        let mut seen = None;
        receive(&server, 1, true, |_, datagram| {
            assert_eq!(datagram.from, client_addr, "IPv4 is unwrapped");
            seen = datagram.to;
        });
        assert_eq!(seen.unwrap().ip, asked.ip());
        assert_eq!(send(&[Outgoing { source: seen, ..packet(&server, client_addr, b"answer") }]), []);
        receive(&client, 1, false, |_, datagram| {
            assert_eq!((datagram.from, datagram.bytes), (asked, &b"answer"[..]));
        });
    }
}

#[test]
fn a_full_send_buffer_is_told_apart() {
    assert!(send::is_full(&io::ErrorKind::WouldBlock.into()));
    assert!(send::is_full(&io::Error::from_raw_os_error(libc::ENOBUFS)));
    assert!(!send::is_full(&io::Error::from_raw_os_error(libc::EMSGSIZE)));
}

#[test]
fn the_kernel_counts_what_a_full_socket_loses() {
    let ((from, _), (to, to_addr)) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    assert_eq!(socket::kernel_drops(to.as_fd()), 0);
    let large = vec![0; 60_000];
    let batch: Vec<_> = (0..64).map(|_| packet(&from, to_addr, &large)).collect();
    send(&batch);
    assert!(socket::kernel_drops(to.as_fd()) > 0);
}
