//! The data path: Send indications, ChannelData and peer datagrams (RFC 8656 §11, §12).

use std::net::SocketAddr;

use crate::bucket::byte_rate;
use crate::stun::{Attribute, AttributeType, Builder, ChannelData, Class, Message, Method, TransactionId};
use crate::time::Mono;
use crate::turn::action::{Head, Verdict};
use crate::turn::allocation::Allocation;
use crate::turn::authenticate::understood;
use crate::turn::core::{Core, Rng, Slot, judge_channel, judge_permission, live_in};
use crate::turn::drop_reason::DropReason;
use crate::turn::ids::{ClientPath, Family, PeerAddr, RelayId};
use crate::turn::limits::Limits;
use crate::turn::peer_policy::Ownership;
use crate::turn::shared::Shared;

impl<S: Shared, R: Rng> Core<S, R> {
    /// Relays a ChannelData message of a client (RFC 8656 §12.6).
    pub(super) fn channel_data<'b>(&mut self, now: Mono, from: &ClientPath, bytes: &'b [u8]) -> Verdict<'b> {
        let Some(data) = ChannelData::parse(bytes) else {
            return self.drop_packet(DropReason::ChannelDataTruncated);
        };
        let Some(slot) = self.live_slot(now, from) else {
            return self.drop_packet(DropReason::UnknownClient);
        };
        let Core { slots, policy, policy_generation, .. } = self;
        let channel = live_in(slots, slot).and_then(|allocation| allocation.channel(now, data.number));
        let Some(channel) = channel else {
            return self.drop_packet(DropReason::ChannelUnbound);
        };
        if channel.judged.generation != *policy_generation {
            channel.judged = judge_channel(policy, *policy_generation, channel.peer);
        }
        let (judged, peer) = (channel.judged, channel.peer);
        if !judged.allowed {
            return self.drop_packet(DropReason::PeerForbidden);
        }
        self.relay_to_peer(now, slot, judged.ownership, peer, data.payload, false)
    }

    /// Relays the data of a Send indication (RFC 8656 §11.2).
    pub(super) fn send_indication<'b>(
        &mut self,
        now: Mono,
        from: &ClientPath,
        message: &Message<'b>,
    ) -> Verdict<'b> {
        let (mut peer, mut payload, mut df) = (None, None, false);
        for attribute in message.attributes() {
            match attribute.kind {
                AttributeType::XOR_PEER_ADDRESS if peer.is_none() => peer = Some(attribute),
                AttributeType::DATA if payload.is_none() => payload = Some(attribute.value),
                AttributeType::DONT_FRAGMENT => df = true,
                kind if !understood(kind) => return self.drop_packet(DropReason::UnknownAttribute),
                _ => {}
            }
        }
        let decoded = peer.map(|raw| Attribute::decode(raw.kind, raw.value, message.transaction()));
        let (Some(Ok(Attribute::XorPeerAddress(peer))), Some(payload)) = (decoded, payload) else {
            return self.drop_packet(DropReason::IndicationIncomplete);
        };
        let Some(slot) = self.live_slot(now, from) else {
            return self.drop_packet(DropReason::UnknownClient);
        };
        let peer = self.policy.canonical(PeerAddr(peer));
        match self.permitted(now, slot, peer) {
            Ok(ownership) => self.relay_to_peer(now, slot, ownership, peer, payload, df && peer.0.is_ipv4()),
            Err(reason) => self.drop_packet(reason),
        }
    }

    /// Relays a datagram to the client of a relay, from a peer or from another relay of this server.
    pub(super) fn relay_to_client<'b>(
        &mut self,
        now: Mono,
        on: RelayId,
        from: PeerAddr,
        payload: &'b [u8],
    ) -> Verdict<'b> {
        match self.head_for(now, on, from, payload.len()) {
            Ok((client, head)) => {
                self.stats.to_clients.count(payload.len());
                Verdict::ToClient { client, head, payload }
            }
            Err(reason) => self.drop_packet(reason),
        }
    }

    fn relay_to_peer<'b>(
        &mut self,
        now: Mono,
        slot: u32,
        ownership: Ownership,
        peer: PeerAddr,
        payload: &'b [u8],
        df: bool,
    ) -> Verdict<'b> {
        let Core { slots, shared, limits, has_budgets, .. } = self;
        let Some(allocation) = live_in(slots, slot) else {
            return self.drop_packet(DropReason::UnknownClient);
        };
        if let Err(reason) = spend(allocation, now, limits, *has_budgets, shared, payload.len()) {
            return self.drop_packet(reason);
        }
        let (relay, advertised) = (allocation.id, PeerAddr(allocation.relay.advertised));
        let neighbor = if ownership == Ownership::Relay { shared.owner(peer) } else { None };
        if neighbor.is_none() && ownership == Ownership::Relay && self.policy.judge(peer, false).is_err() {
            return self.drop_packet(DropReason::OwnEndpoint);
        }
        if let Some(allocation) = self.live_mut(slot) {
            allocation.relayed.0 += payload.len() as u64;
        }
        self.stats.to_peers.count(payload.len());
        match neighbor {
            Some((shard, to)) if shard == self.settings.shard => {
                self.relay_to_client(now, to, advertised, payload)
            }
            Some((shard, to)) => {
                self.stats.to_shards.count(payload.len());
                Verdict::ToShard { shard, relay: to, from: advertised, payload }
            }
            None => Verdict::ToPeer { relay, peer, payload, df },
        }
    }

    /// Checks permission and policy for one destination of a Send indication.
    fn permitted(&mut self, now: Mono, slot: u32, peer: PeerAddr) -> Result<Ownership, DropReason> {
        let Core { slots, policy, policy_generation, .. } = self;
        let allocation = live_in(slots, slot).ok_or(DropReason::UnknownClient)?;
        if Family::of(peer.ip()) != Family::of(allocation.relay.advertised.ip()) {
            return Err(DropReason::FamilyMismatch);
        }
        let permission = allocation.permission(now, peer.ip()).ok_or(DropReason::PermissionMissing)?;
        if permission.judged.generation != *policy_generation {
            permission.judged = judge_permission(policy, *policy_generation, peer.ip());
        }
        let judged = permission.judged;
        if !judged.allowed || peer.0.port() == 0 {
            return Err(DropReason::PeerForbidden);
        }
        if judged.ownership != Ownership::Relay && policy.is_endpoint(peer) {
            return Err(DropReason::OwnEndpoint);
        }
        Ok(judged.ownership)
    }

    /// Checks permission and budget for a datagram toward the client, and makes what goes in front of it.
    fn head_for(
        &mut self,
        now: Mono,
        on: RelayId,
        from: PeerAddr,
        len: usize,
    ) -> Result<(ClientPath, Head), DropReason> {
        let Core { slots, shared, limits, has_budgets, policy, policy_generation, rng, .. } = self;
        let allocation = match slots.get_mut(on.slot as usize) {
            Some(Slot::Live(allocation)) if allocation.id == on && now < allocation.expires => allocation,
            _ => return Err(DropReason::UnknownRelay),
        };
        let permission = allocation.permission(now, from.ip()).ok_or(DropReason::PermissionMissing)?;
        if permission.judged.generation != *policy_generation {
            permission.judged = judge_permission(policy, *policy_generation, from.ip());
        }
        if !permission.judged.allowed {
            return Err(DropReason::PeerForbidden);
        }
        let stream = allocation.client.transport.is_stream();
        let head = match allocation.number_of(now, from) {
            Some(number) => channel_head(number, len, stream),
            None => {
                let mut transaction = [0; 12];
                rng.fill(&mut transaction);
                data_head(TransactionId(transaction), from, len)
            }
        };
        let head = head.ok_or(DropReason::PayloadTooLarge)?;
        let size = head.as_bytes().len() + len + head.padding().len();
        if !stream && size > largest_datagram(allocation.client.remote) {
            return Err(DropReason::PayloadTooLarge);
        }
        spend(allocation, now, limits, *has_budgets, shared, len)?;
        allocation.relayed.1 += len as u64;
        Ok((allocation.client, head))
    }
}

/// Takes a payload from the bit rates of the allocation, its user and the server.
fn spend<G, S: Shared>(
    allocation: &mut Allocation<G>,
    now: Mono,
    limits: &Limits,
    has_budgets: bool,
    shared: &S,
    len: usize,
) -> Result<(), DropReason> {
    /// How long a user's empty budget is left alone: one slice of it.
    const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
    let len = len as u64;
    if has_budgets && allocation.budget.leased < len {
        if now < allocation.budget.ask_again {
            return Err(DropReason::OverUserBitrate);
        }
        let had = shared.lease_bytes(now, allocation.grant.quota_name(), len);
        allocation.budget.leased = allocation.budget.leased.saturating_add(had);
        if allocation.budget.leased < len {
            allocation.budget.ask_again = now.after(ASK_AGAIN);
            return Err(DropReason::OverUserBitrate);
        }
    }
    let bits = match allocation.session_bitrate {
        0 => limits.bitrate_per_allocation,
        bits => bits,
    };
    if bits > 0 {
        let (rate, burst) = byte_rate(bits);
        if !allocation.budget.own.take(now, rate, burst, len) {
            return Err(DropReason::OverAllocationBitrate);
        }
    }
    if has_budgets {
        allocation.budget.leased -= len;
    }
    Ok(())
}

/// Returns the most that a UDP datagram carries: IPv4 counts its own header in 16 bits, IPv6 does not.
fn largest_datagram(to: SocketAddr) -> usize {
    if to.is_ipv4() { 65_507 } else { 65_527 }
}

fn channel_head(number: u16, len: usize, stream: bool) -> Option<Head> {
    let mut bytes = [0; Head::MAX];
    bytes[..ChannelData::HEADER].copy_from_slice(&ChannelData::header(number, len)?);
    let padding = if stream { len.next_multiple_of(4) - len } else { 0 };
    Some(Head::new(bytes, ChannelData::HEADER, padding))
}

/// Builds a Data indication up to its payload; the length fields count what follows.
fn data_head(transaction: TransactionId, from: PeerAddr, len: usize) -> Option<Head> {
    let mut bytes = [0; Head::MAX];
    let mut builder = Builder::new(&mut bytes, Class::Indication, Method::DATA, transaction);
    builder.attribute(&Attribute::XorPeerAddress(from.0)).raw(AttributeType::DATA, &[]);
    let head = builder.finish().ok()?;
    let padded = len.next_multiple_of(4);
    let length = u16::try_from(head - 20 + padded).ok()?;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[head - 2..head].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    Some(Head::new(bytes, head, padded - len))
}
