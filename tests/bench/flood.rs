//! Load for `flood.mjs`: `flood requests` sends STUN requests from random loopback addresses, `flood stream` measures a
//! relayed stream whose channel is already bound. Each prints one line of JSON at its end. Loopback only.

#![allow(clippy::disallowed_methods, reason = "a load generator reads the clock")]

mod options;

use std::io::{self, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use options::{Fallible, Options};
use socket2::{Domain, MsgHdr, SockAddr, SockRef, Socket, Type};

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING: u16 = 0x0001;
const ALLOCATE: u16 = 0x0003;
const TICK: Duration = Duration::from_micros(500);
const QUIET: Duration = Duration::from_secs(1);
const PAYLOAD: usize = 160;

fn main() -> Fallible<()> {
    let (mode, options) = Options::read();
    let report = match mode.as_str() {
        "requests" => requests(&options)?,
        "stream" => stream(&options)?,
        other => return Err(format!("`{other}` is neither `requests` nor `stream`").into()),
    };
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

fn requests(options: &Options) -> Fallible<String> {
    let server = SockAddr::from(options.address("--server")?);
    let rate = options.number("--rate")?;
    let length = Duration::from_secs(options.number("--seconds")?);
    let socket = bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    let port = socket.local_addr()?.port();

    let answers = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (socket, answers, over) = (socket.try_clone()?, Arc::clone(&answers), Arc::clone(&over));
        thread::spawn(move || receive(&socket, &over, |_, _| _ = answers.fetch_add(1, Relaxed)))
    };

    let mut random = Random(u64::from(std::process::id()) | 1);
    let (mut sent, mut refused) = (0_u64, 0_u64);
    pace(rate, length, |number| {
        let packet = request(number, &mut random);
        let source = Ipv4Addr::from(0x7f00_0000 | (random.next() as u32 & 0x00ff_ffff).max(1)).octets();
        let control = leaving_from(source);
        let data = [IoSlice::new(&packet)];
        let message = MsgHdr::new().with_addr(&server).with_buffers(&data).with_control(&control);
        let outcome = SockRef::from(&socket).sendmsg(&message, 0);
        if outcome.is_ok() { sent += 1 } else { refused += 1 }
    });
    until_quiet(&answers);
    over.store(true, Relaxed);
    _ = reader.join();
    let answered = answers.load(Relaxed);
    let own_drops = kernel_drops(port)?;
    Ok(format!(
        r#"{{"sent":{sent},"sendErrors":{refused},"answered":{answered},"ownDrops":{own_drops},"seconds":{}}}"#,
        length.as_secs()
    ))
}

/// A control message (IP_PKTINFO) that names the source address: one socket speaks for all of 127/8.
fn leaving_from(source: [u8; 4]) -> Vec<u8> {
    const IPPROTO_IP: i32 = 0;
    const IP_PKTINFO: i32 = 8;
    let length = size_of::<usize>() + 8 + 12;
    let mut message = Vec::with_capacity(length.next_multiple_of(size_of::<usize>()));
    message.extend(length.to_ne_bytes());
    message.extend(IPPROTO_IP.to_ne_bytes());
    message.extend(IP_PKTINFO.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(source);
    message.extend([0; 4]);
    message.resize(length.next_multiple_of(size_of::<usize>()), 0);
    message
}

/// Binding; Allocate without credentials; with a transport nobody has; with an integrity that does not hold.
fn request(number: u64, random: &mut Random) -> Vec<u8> {
    let attributes: &[(u16, &[u8])] = match number % 4 {
        0 | 2 => &[],
        1 => &[(0x0019, &[17, 0, 0, 0])],
        _ => &[
            (0x0019, &[17, 0, 0, 0]),
            (0x0006, b"nobody"),
            (0x0014, b"lab"),
            (0x0015, b"not-a-nonce"),
            (0x0008, &[0x5a; 20]),
        ],
    };
    let method = if number.is_multiple_of(2) { BINDING } else { ALLOCATE };
    let mut packet = Vec::with_capacity(128);
    packet.extend(method.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(MAGIC_COOKIE);
    packet.extend(random.next().to_be_bytes());
    packet.extend((random.next() as u32).to_be_bytes());
    for (name, value) in attributes {
        packet.extend(name.to_be_bytes());
        packet.extend((value.len() as u16).to_be_bytes());
        packet.extend(*value);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    let length = (packet.len() - 20) as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

/// One numbered ChannelData every 1/rate s; the peer sends each back as it came.
fn stream(options: &Options) -> Fallible<String> {
    let server = options.address("--server")?;
    let channel = options.number("--channel")? as u16;
    let rate = options.number("--rate")?;
    let length = Duration::from_secs(options.number("--seconds")?);
    let client = bind(options.address("--client")?)?;
    let peer = bind(options.address("--peer")?)?;
    let ports = [client.local_addr()?.port(), peer.local_addr()?.port()];
    let start = Instant::now();

    let over = Arc::new(AtomicBool::new(false));
    let arrivals = Arc::new(AtomicU64::new(0));
    let peer_reader = {
        let (peer, over, arrivals) = (peer.try_clone()?, Arc::clone(&over), Arc::clone(&arrivals));
        thread::spawn(move || {
            let mut got = 0_u64;
            let mut failed = 0_u64;
            receive(&peer, &over, |bytes, from| {
                got += 1;
                arrivals.fetch_add(1, Relaxed);
                failed += u64::from(peer.send_to(bytes, from).is_err());
            });
            (got, failed)
        })
    };
    let client_reader = {
        let (client, over, arrivals) = (client.try_clone()?, Arc::clone(&over), Arc::clone(&arrivals));
        thread::spawn(move || {
            let mut trips = Vec::new();
            receive(&client, &over, |bytes, _| {
                arrivals.fetch_add(1, Relaxed);
                if let Some(Ok(stamp)) = bytes.get(4..12).map(<[u8; 8]>::try_from) {
                    trips.push(start.elapsed().as_micros() as u64 - u64::from_be_bytes(stamp));
                }
            });
            trips
        })
    };

    let (mut sent, mut refused) = (0_u64, 0_u64);
    pace(rate, length, |_| {
        let mut packet = Vec::with_capacity(4 + PAYLOAD);
        packet.extend(channel.to_be_bytes());
        packet.extend((PAYLOAD as u16).to_be_bytes());
        packet.extend((start.elapsed().as_micros() as u64).to_be_bytes());
        packet.resize(4 + PAYLOAD, 0);
        if client.send_to(&packet, server).is_ok() { sent += 1 } else { refused += 1 }
    });
    until_quiet(&arrivals);
    over.store(true, Relaxed);
    let (at_peer, echo_errors) = peer_reader.join().map_err(|_| "the peer's thread panicked")?;
    let mut trips = client_reader.join().map_err(|_| "the client's thread panicked")?;
    trips.sort_unstable();
    let percentile =
        |percent: usize| trips.get(trips.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
    Ok(format!(
        r#"{{"sent":{sent},"sendErrors":{refused},"atPeer":{at_peer},"echoErrors":{echo_errors},"back":{},"clientDrops":{},"peerDrops":{},"p50us":{},"p99us":{}}}"#,
        trips.len(),
        kernel_drops(ports[0])?,
        kernel_drops(ports[1])?,
        percentile(50),
        percentile(99),
    ))
}

fn bind(address: SocketAddrV4) -> Fallible<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // As much as the kernel gives: a loss here would be this program's own.
    _ = socket.set_recv_buffer_size(8 << 20);
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket.into())
}

fn receive(socket: &UdpSocket, over: &AtomicBool, mut take: impl FnMut(&[u8], std::net::SocketAddr)) {
    let mut buffer = [0; 2048];
    while !over.load(Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            take(&buffer[..length], from);
        }
    }
}

fn pace(rate: u64, length: Duration, mut send: impl FnMut(u64)) {
    let start = Instant::now();
    let total = rate * length.as_secs();
    let mut number = 0;
    while number < total {
        let due = (start.elapsed().as_micros() as u64 * rate / 1_000_000).min(total);
        while number < due {
            send(number);
            number += 1;
        }
        thread::sleep(TICK);
    }
}

/// What is still under way in a busy server is not lost.
fn until_quiet(arrivals: &AtomicU64) {
    let mut before = u64::MAX;
    while before != arrivals.load(Relaxed) {
        before = arrivals.load(Relaxed);
        thread::sleep(QUIET);
    }
}

/// Drops that the kernel counted on this process's socket.
fn kernel_drops(port: u16) -> Fallible<u64> {
    let table = std::fs::read_to_string("/proc/self/net/udp")?;
    let own = format!(":{port:04X}");
    let drops = table
        .lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&own)));
    Ok(drops.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
