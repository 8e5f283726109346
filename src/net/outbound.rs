//! All ways out of a shard: listener and relay sockets, streams, rings to other shards.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use crate::net::counters::{NetDrop, NetStats};
use crate::net::engine::control::OwnIp;
use crate::net::engine::poll::Poll;
use crate::net::engine::send::{self, From, Outgoing, Sender};
use crate::net::engine::socket;
use crate::net::relay::{Relays, Translation};
use crate::net::ring::{Exits, Passed};
use crate::net::stream::queue::Kind;
use crate::net::stream::table::{Streams, is_stream};
use crate::turn::{ClientPath, Head, LinkId, PeerAddr, RelayId, Verdict};

/// One of the sockets of a UDP listener.
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) local: SocketAddr,
}

impl Listener {
    /// Returns the path of a client whose datagram came to `own`.
    pub(crate) fn local(&self, own: Option<OwnIp>) -> SocketAddr {
        match own {
            Some(OwnIp { ip: IpAddr::V6(ip), interface }) if ip.is_unicast_link_local() => {
                std::net::SocketAddrV6::new(ip, self.local.port(), 0, interface).into()
            }
            Some(own) => SocketAddr::new(own.ip, self.local.port()),
            None => self.local,
        }
    }

    /// Says whether its datagrams tell the own address, and answers have to name it.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }
}

/// Datagrams that wait to be sent together. They borrow the buffers that they were received in.
pub(crate) struct Outbox<'b> {
    sends: Vec<Outgoing<'b>>,
    answers: &'b mut [u8],
}

impl<'b> Outbox<'b> {
    fn copy(&mut self, bytes: &[u8]) -> Option<&'b [u8]> {
        if bytes.len() > self.answers.len() {
            return None;
        }
        let (mine, rest) = mem::take(&mut self.answers).split_at_mut(bytes.len());
        self.answers = rest;
        mine.copy_from_slice(bytes);
        Some(mine)
    }
}

/// What leaves a shard, and by which way.
pub(crate) struct Outbound {
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) relays: Relays,
    pub(crate) streams: Streams,
    pub(crate) exits: Exits,
    pub(crate) names: Translation,
    pub(crate) stats: NetStats,
    /// Relays that lost a packet, not yet reported to the core.
    pub(crate) lost: Vec<RelayId>,
    pub(crate) sender: Sender,
    pub(crate) spare: Vec<Outgoing<'static>>,
}

impl Outbound {
    /// Begins a batch; `answers` is where answers are copied to wait in it.
    pub(crate) fn outbox<'b>(&mut self, answers: &'b mut [u8]) -> Outbox<'b> {
        Outbox { sends: mem::take(&mut self.spare), answers }
    }

    /// Carries out what the core decided about one packet.
    pub(crate) fn carry_out<'b>(&mut self, verdict: Verdict<'b>, out: &mut Outbox<'b>) {
        match verdict {
            Verdict::ToPeer { relay, peer, payload, df } => self.send_to_peer(relay, peer, payload, df, out),
            Verdict::ToClient { client, head, payload } if is_stream(client.link) => {
                let parts = [head.as_bytes(), payload, head.padding()];
                self.streams.push(client.link, Kind::Data, parts, &mut self.stats);
            }
            Verdict::ToClient { client, head, payload } => {
                self.send_to_client(&client, Some(head), payload, out)
            }
            Verdict::ToShard { shard, relay, from, payload } => {
                if self.exits.pass(shard, Passed { relay, from, payload }) {
                    self.stats.hairpin_out += 1;
                } else {
                    self.stats.count_drop(NetDrop::HairpinFull);
                }
            }
            Verdict::Queued | Verdict::Dropped(_) => {}
        }
    }

    /// Sends or queues an answer, behind what was sent to the same client before.
    pub(crate) fn answer(&mut self, to: &ClientPath, bytes: &[u8], out: &mut Outbox<'_>) {
        if is_stream(to.link) {
            self.streams.push(to.link, Kind::Control, [bytes, &[], &[]], &mut self.stats);
        } else if let Some(copy) = out.copy(bytes) {
            self.send_to_client(to, None, copy, out);
        } else {
            self.flush(out);
            let mut alone = Outbox { sends: Vec::new(), answers: &mut [] };
            self.send_to_client(to, None, bytes, &mut alone);
            self.flush(&mut alone);
        }
    }

    /// Sends what waits in a batch.
    pub(crate) fn flush(&mut self, out: &mut Outbox<'_>) {
        let (stats, lost) = (&mut self.stats, &mut self.lost);
        for batch in out.sends.chunks(send::BATCH) {
            let sent = self.sender.send(batch, |packet, error| {
                let reason = if send::is_full(error) { NetDrop::SocketFull } else { NetDrop::SendFailed };
                stats.count_drop(reason);
                lost.extend(packet.relay);
                log_failure(packet, error);
            });
            stats.sent += sent as u64;
        }
        out.sends.clear();
    }

    /// Ends a batch: sends it, and keeps its memory for the next.
    pub(crate) fn finish(&mut self, mut out: Outbox<'_>) {
        self.flush(&mut out);
        // The standard library collects in place, so that the memory stays while the borrow ends.
        self.spare = out.sends.into_iter().map(|_| unreachable!("the outbox was flushed")).collect();
    }

    /// Returns how many datagrams the kernel dropped at the sockets that are open now.
    pub(crate) fn kernel_drops(&self) -> u64 {
        let listeners = self.listeners.iter().map(|listener| socket::kernel_drops(listener.socket.as_fd()));
        listeners.sum::<u64>() + self.relays.kernel_drops()
    }

    fn send_to_peer<'b>(
        &mut self,
        relay: RelayId,
        peer: PeerAddr,
        payload: &'b [u8],
        df: bool,
        out: &mut Outbox<'b>,
    ) {
        let Some((_, from)) = self.relays.get(relay) else {
            return self.stats.count_drop(NetDrop::RelayGone);
        };
        let to = self.names.destination(peer);
        let packet = Outgoing { from, source: None, to, head: None, payload, df, relay: Some(relay) };
        self.push(packet, out);
    }

    fn send_to_client<'b>(
        &mut self,
        to: &ClientPath,
        head: Option<Head>,
        payload: &'b [u8],
        out: &mut Outbox<'b>,
    ) {
        let LinkId(link) = to.link;
        let Some(listener) = self.listeners.get(link as usize) else {
            return self.stats.count_drop(NetDrop::StreamGone);
        };
        let from = From::new(listener.socket.as_fd(), listener.local.is_ipv6());
        let source = listener.is_wildcard().then(|| own_ip(to.local));
        self.push(Outgoing { from, source, to: to.remote, head, payload, df: false, relay: None }, out);
    }

    fn push<'b>(&mut self, packet: Outgoing<'b>, out: &mut Outbox<'b>) {
        out.sends.push(packet);
        if out.sends.len() == send::BATCH {
            self.flush(out);
        }
    }
}

fn own_ip(local: SocketAddr) -> OwnIp {
    let interface = match local {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    OwnIp { ip: local.ip(), interface }
}

fn log_failure(packet: &Outgoing<'_>, error: &io::Error) {
    match packet.relay {
        Some(relay) => {
            tracing::trace!(?relay, peer = %crate::telemetry::PeerAddrLog(packet.to), %error, "packet to peer lost");
        }
        None => {
            tracing::trace!(client = %crate::telemetry::ClientAddr(packet.to), %error, "packet to client lost");
        }
    }
}
