//! One allocation: its permissions, channels and deadlines (RFC 8656 §6, §9, §12).

use std::net::IpAddr;

use crate::auth::{Grant, LongTermKey};
use crate::bucket::Bucket;
use crate::time::Mono;
use crate::turn::ids::{ClientPath, PeerAddr, RelayAddr, RelayId};
use crate::turn::peer_policy::Ownership;
use crate::turn::state::Origin;

/// Lifetime of a permission in seconds (RFC 8656 §9).
pub(super) const PERMISSION_LIFETIME: u32 = 300;
/// Lifetime of a channel in seconds (RFC 8656 §12).
pub(super) const CHANNEL_LIFETIME: u32 = 600;

/// An allocation that relays.
pub(super) struct Allocation<G> {
    pub(super) id: RelayId,
    pub(super) client: ClientPath,
    pub(super) relay: RelayAddr,
    pub(super) grant: Grant,
    pub(super) key: LongTermKey,
    pub(super) expires: Mono,
    pub(super) origin: Origin,
    /// When the port that `origin` reserves would be let go.
    pub(super) reserve_until: Mono,
    pub(super) budget: Budget,
    pub(super) session_bitrate: u64,
    pub(super) relayed: (u64, u64),
    /// Where the deadline queue looks at it next.
    pub(super) scheduled: Mono,
    /// In order of address.
    permissions: Vec<Permission>,
    /// In order of number.
    channels: Vec<Channel>,
    /// Numbers of the channels, in order of peer.
    by_peer: Vec<(PeerAddr, u16)>,
    _guard: G,
}

/// What of a bit rate the allocation has in hand.
pub(super) struct Budget {
    pub(super) own: Bucket,
    pub(super) leased: u64,
    pub(super) ask_again: Mono,
}

/// A policy's answer, and which policy gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) generation: u32,
    pub(super) allowed: bool,
    pub(super) ownership: Ownership,
}

impl Judged {
    /// No policy's answer: the next packet asks.
    pub(super) const STALE: Judged = Judged { generation: 0, allowed: false, ownership: Ownership::Foreign };
}

/// A peer address that may send, from any port (RFC 8656 §9).
#[derive(Clone, Copy, Debug)]
pub(super) struct Permission {
    pub(super) ip: IpAddr,
    pub(super) expires: Mono,
    pub(super) judged: Judged,
}

/// A channel number bound to a peer (RFC 8656 §12).
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) peer: PeerAddr,
    pub(super) expires: Mono,
    pub(super) judged: Judged,
}

/// What an allocation is made from.
pub(super) struct Founding<G> {
    pub(super) id: RelayId,
    pub(super) client: ClientPath,
    pub(super) relay: RelayAddr,
    pub(super) grant: Grant,
    pub(super) key: LongTermKey,
    pub(super) expires: Mono,
    pub(super) origin: Origin,
    pub(super) reserve_until: Mono,
    pub(super) session_bitrate: u64,
    pub(super) guard: G,
}

impl<G> Allocation<G> {
    pub(super) fn new(now: Mono, from: Founding<G>) -> Allocation<G> {
        Allocation {
            id: from.id,
            client: from.client,
            relay: from.relay,
            grant: from.grant,
            key: from.key,
            expires: from.expires,
            origin: from.origin,
            reserve_until: from.reserve_until,
            budget: Budget { own: Bucket::full(now, u64::MAX), leased: 0, ask_again: Mono(0) },
            session_bitrate: from.session_bitrate,
            relayed: (0, 0),
            scheduled: Mono::NEVER,
            permissions: Vec::new(),
            channels: Vec::new(),
            by_peer: Vec::new(),
            _guard: from.guard,
        }
    }

    /// Returns the live permission for an address.
    pub(super) fn permission(&mut self, now: Mono, ip: IpAddr) -> Option<&mut Permission> {
        let at = self.permissions.binary_search_by_key(&ip, |permission| permission.ip).ok()?;
        Some(&mut self.permissions[at]).filter(|permission| now < permission.expires)
    }

    /// Returns the live channel of a number.
    pub(super) fn channel(&mut self, now: Mono, number: u16) -> Option<&mut Channel> {
        let at = self.channels.binary_search_by_key(&number, |channel| channel.number).ok()?;
        Some(&mut self.channels[at]).filter(|channel| now < channel.expires)
    }

    /// Returns the number of the live channel that is bound to a peer.
    pub(super) fn number_of(&self, now: Mono, peer: PeerAddr) -> Option<u16> {
        let at = self.by_peer.binary_search_by_key(&peer, |(peer, _)| *peer).ok()?;
        let number = self.by_peer[at].1;
        let channel = self.channels.binary_search_by_key(&number, |channel| channel.number).ok()?;
        (now < self.channels[channel].expires).then_some(number)
    }

    /// Installs or refreshes a permission; true if it is new.
    pub(super) fn permit(&mut self, permission: Permission) -> bool {
        match self.permissions.binary_search_by_key(&permission.ip, |held| held.ip) {
            Ok(at) => {
                self.permissions[at] = permission;
                false
            }
            Err(at) => {
                grow_by_doubling(&mut self.permissions);
                self.permissions.insert(at, permission);
                true
            }
        }
    }

    /// Binds or refreshes a channel; true if it is new. The caller has checked that nothing contradicts it.
    pub(super) fn bind(&mut self, channel: Channel) -> bool {
        match self.channels.binary_search_by_key(&channel.number, |held| held.number) {
            Ok(at) => {
                self.channels[at] = channel;
                false
            }
            Err(at) => {
                grow_by_doubling(&mut self.channels);
                grow_by_doubling(&mut self.by_peer);
                self.channels.insert(at, channel);
                let place = self.by_peer.partition_point(|(peer, _)| *peer < channel.peer);
                self.by_peer.insert(place, (channel.peer, channel.number));
                true
            }
        }
    }

    /// Takes out every permission and channel that is past its deadline.
    pub(super) fn purge(&mut self, now: Mono, mut gone: impl FnMut(Gone)) {
        self.permissions.retain(|permission| {
            let live = now < permission.expires;
            if !live {
                gone(Gone::Permission(permission.ip));
            }
            live
        });
        let by_peer = &mut self.by_peer;
        self.channels.retain(|channel| {
            let live = now < channel.expires;
            if !live {
                by_peer.retain(|(_, number)| *number != channel.number);
                gone(Gone::Channel(channel.number, channel.peer));
            }
            live
        });
        if self.permissions.is_empty() {
            self.permissions.shrink_to_fit();
        }
    }

    /// Returns the next moment at which something of it ends.
    pub(super) fn next_deadline(&self) -> Mono {
        let permissions = self.permissions.iter().map(|permission| permission.expires);
        let channels = self.channels.iter().map(|channel| channel.expires);
        permissions.chain(channels).fold(self.expires, Mono::min)
    }

    pub(super) fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    pub(super) fn channels(&self) -> &[Channel] {
        &self.channels
    }
}

/// A route that ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gone {
    Permission(IpAddr),
    Channel(u16, PeerAddr),
}

/// Makes room for one more, from one place up: most allocations hold one or two routes.
fn grow_by_doubling<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(1));
    }
}
