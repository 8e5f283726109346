//! Packets between shards: one bounded byte ring for each ordered pair, one writer, one reader.
//!
//! ```text
//! record | total: u32 | relay slot, generation: u32, u32 | family, 0: u8, u8 | port: u16 | address: 16 | payload .. |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::net::engine::wake::Bell;
use crate::turn::{PeerAddr, RelayId, ShardId};

const HEADER: usize = 32;
const SMALLEST: usize = 128 << 10;
const LARGEST: usize = 1 << 20;
const ALL_OF_A_SHARD: usize = 4 << 20;

/// How others wake a shard: they ring only while it sleeps.
#[derive(Debug)]
pub(crate) struct Alarm {
    bell: Bell,
    asleep: AtomicBool,
}

impl Alarm {
    pub(crate) fn new(bell: Bell) -> Alarm {
        Alarm { bell, asleep: AtomicBool::new(false) }
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Wakes the shard if it sleeps, after work was put where it looks before it falls asleep.
    pub(crate) fn wake(&self) {
        // Pairs with the fence in `fall_asleep`: either the flag is seen here, or the work is seen there.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    /// Says that the shard is about to sleep; it has to look for work once more after this.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The rings that one shard writes.
#[derive(Default)]
pub(crate) struct Exits {
    to: Vec<Option<Exit>>,
}

/// The rings that one shard reads.
#[derive(Default)]
pub(crate) struct Entries {
    from: Vec<Consumer<u8>>,
    straddling: Vec<u8>,
}

struct Exit {
    ring: Producer<u8>,
    alarm: Arc<Alarm>,
    touched: bool,
}

/// A packet from another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed<'b> {
    pub(crate) relay: RelayId,
    pub(crate) from: PeerAddr,
    pub(crate) payload: &'b [u8],
}

/// Joins shards, each known by its alarm, with rings.
pub(crate) fn mesh(alarms: &[Arc<Alarm>]) -> Vec<(Exits, Entries)> {
    let bytes = (ALL_OF_A_SHARD / alarms.len().max(1)).clamp(SMALLEST, LARGEST);
    let mut all: Vec<(Exits, Entries)> = alarms.iter().map(|_| Default::default()).collect();
    for from in 0..alarms.len() {
        for (to, alarm) in alarms.iter().enumerate() {
            let exit = (from != to).then(|| {
                let (ring, reader) = RingBuffer::new(bytes);
                all[to].1.from.push(reader);
                Exit { ring, alarm: Arc::clone(alarm), touched: false }
            });
            all[from].0.to.push(exit);
        }
    }
    all
}

impl Exits {
    /// Copies a packet to another shard; false if there is no room.
    pub(crate) fn pass(&mut self, shard: ShardId, packet: Passed<'_>) -> bool {
        let Some(Some(exit)) = self.to.get_mut(usize::from(shard.0)) else { return false };
        let total = HEADER + packet.payload.len();
        if exit.ring.slots() < total {
            return false;
        }
        let header = encode(total, &packet);
        let written =
            exit.ring.push_entire_slice(&header).and_then(|()| exit.ring.push_entire_slice(packet.payload));
        exit.touched = true;
        written.is_ok()
    }

    /// Wakes those shards that sleep although packets for them were written.
    pub(crate) fn wake_readers(&mut self) {
        for exit in self.to.iter_mut().flatten().filter(|exit| exit.touched) {
            exit.touched = false;
            exit.alarm.wake();
        }
    }
}

impl Entries {
    /// Says whether no packet waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty)
    }

    /// Returns how many rings end here.
    pub(crate) fn incoming(&self) -> usize {
        self.from.len()
    }

    /// Lends what waits in one ring; it is gone when the loan ends.
    pub(crate) fn read(&mut self, ring: usize, with: impl for<'b> FnOnce(Packets<'b>)) {
        let reader = &mut self.from[ring];
        let waiting = reader.slots();
        let Ok(chunk) = reader.read_chunk(waiting) else { return };
        let (first, second) = chunk.as_slices();
        self.straddling.clear();
        let whole = whole_records(first, second, 0);
        let before = whole_records(first, &[], 0);
        let mut cut = &[][..];
        let mut rest = &second[..0];
        if whole > before {
            // At most one record a lap lies across the end of the memory; it alone is copied again.
            let across = record_len(first, second, before).unwrap_or(0);
            let crossing = first.len() > before;
            if crossing {
                self.straddling.extend(first[before..].iter().chain(second).take(across));
                cut = &self.straddling;
            }
            let start = if crossing { before + across - first.len() } else { 0 };
            rest = &second[start..whole - first.len()];
        }
        with(Packets { parts: [&first[..before], cut, rest] });
        chunk.commit(whole);
    }
}

/// Packets that wait, in their order.
pub(crate) struct Packets<'b> {
    parts: [&'b [u8]; 3],
}

impl<'b> Iterator for Packets<'b> {
    type Item = Passed<'b>;

    fn next(&mut self) -> Option<Passed<'b>> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        let len = record_len(part, &[], 0).filter(|len| *len <= part.len())?;
        let (record, rest) = part.split_at(len);
        *part = rest;
        decode(record)
    }
}

/// Returns how many bytes the whole records take from `at` on.
fn whole_records(first: &[u8], second: &[u8], mut at: usize) -> usize {
    while let Some(len) = record_len(first, second, at)
        && at + len <= first.len() + second.len()
    {
        at += len;
    }
    at
}

fn record_len(first: &[u8], second: &[u8], at: usize) -> Option<usize> {
    let mut bytes =
        first.get(at..).unwrap_or(&[]).iter().chain(second.get(at.saturating_sub(first.len())..)?);
    let mut len = [0; 4];
    for byte in &mut len {
        *byte = *bytes.next()?;
    }
    Some((u32::from_ne_bytes(len) as usize).max(HEADER))
}

fn encode(total: usize, packet: &Passed<'_>) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(total as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&packet.relay.slot.to_ne_bytes());
    header[8..12].copy_from_slice(&packet.relay.generation.to_ne_bytes());
    header[14..16].copy_from_slice(&packet.from.0.port().to_ne_bytes());
    match packet.from.ip() {
        IpAddr::V4(v4) => {
            header[12] = 4;
            header[16..20].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            header[12] = 6;
            header[16..].copy_from_slice(&v6.octets());
        }
    }
    header
}

fn decode(record: &[u8]) -> Option<Passed<'_>> {
    let (header, payload) = record.split_first_chunk::<HEADER>()?;
    let word = |at: usize| Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    let ip = if header[12] == 4 {
        IpAddr::V4(Ipv4Addr::from(*header[16..].first_chunk::<4>()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(*header[16..].first_chunk::<16>()?))
    };
    let port = u16::from_ne_bytes([header[14], header[15]]);
    let relay = RelayId { slot: word(4)?, generation: word(8)? };
    Some(Passed { relay, from: PeerAddr(SocketAddr::new(ip, port)), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::engine::poll::{Interest, Poll};

    fn shards(count: usize) -> (Vec<(Exits, Entries)>, Vec<Arc<Alarm>>) {
        let alarms: Vec<_> = (0..count).map(|_| Arc::new(Alarm::new(Bell::new().unwrap()))).collect();
        (mesh(&alarms), alarms)
    }

    fn packet(n: u32, payload: &[u8]) -> Passed<'_> {
        let from = if n.is_multiple_of(2) { "192.0.2.1:7" } else { "[2001:db8::1]:9" };
        Passed {
            relay: RelayId { slot: n, generation: n + 1 },
            from: PeerAddr(from.parse().unwrap()),
            payload,
        }
    }

    #[test]
    fn packets_of_every_size_arrive_in_order_over_many_laps() {
        let (mut rings, _) = shards(3);
        let data: Vec<u8> = (0..65_535_u32).map(|i| i as u8).collect();
        let mut expected = 0;
        for n in 0..400_u32 {
            let payload = &data[..(n as usize * 7919) % 65_536];
            assert!(rings[0].0.pass(ShardId(2), packet(n, payload)));
            if n % 3 == 0 {
                rings[2].1.read(0, |packets| {
                    for passed in packets {
                        let payload = &data[..(expected as usize * 7919) % 65_536];
                        assert_eq!(passed, packet(expected, payload));
                        expected += 1;
                    }
                });
                assert_eq!(expected, n + 1);
            }
        }
    }

    #[test]
    fn a_full_ring_refuses_and_takes_again_when_it_was_read() {
        let (mut rings, _) = shards(2);
        let mut taken = 0;
        while rings[0].0.pass(ShardId(1), packet(taken, &[7; 1200])) {
            taken += 1;
        }
        assert!(taken > 100);
        let mut read = 0;
        rings[1].1.read(0, |packets| read = packets.count() as u32);
        assert_eq!(read, taken);
        assert!(rings[1].1.is_empty() && rings[0].0.pass(ShardId(1), packet(0, &[])));
        assert!(!rings[0].0.pass(ShardId(0), packet(0, &[])) && !rings[0].0.pass(ShardId(9), packet(0, &[])));
    }

    #[test]
    fn two_threads_lose_nothing_and_the_sleeper_is_always_woken() {
        const COUNT: u32 = 200_000;
        let (mut rings, alarms) = shards(2);
        let mut reader = rings.pop().unwrap().1;
        let mut writer = rings.pop().unwrap().0;
        let alarm = Arc::clone(&alarms[1]);
        let thread = std::thread::spawn(move || {
            let mut poll = Poll::new().unwrap();
            poll.add(alarm.bell(), 0, Interest::READ).unwrap();
            let mut next = 0;
            while next < COUNT {
                alarm.fall_asleep();
                if reader.is_empty() {
                    poll.wait(None).unwrap();
                }
                alarm.wake_up();
                alarm.bell().silence();
                reader.read(0, |packets| {
                    for passed in packets {
                        assert_eq!(passed.relay.slot, next);
                        assert_eq!(passed.payload, &next.to_ne_bytes().repeat(next as usize % 50)[..]);
                        next += 1;
                    }
                });
            }
        });
        for n in 0..COUNT {
            let payload = n.to_ne_bytes().repeat(n as usize % 50);
            while !writer.pass(ShardId(1), packet(n, &payload)) {
                std::thread::yield_now();
            }
            writer.wake_readers();
        }
        thread.join().unwrap();
    }
}
