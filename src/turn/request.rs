//! Requests on a live allocation: Refresh, CreatePermission and ChannelBind (RFC 8656 §8, §10, §12).

use std::net::{IpAddr, SocketAddr};

use crate::stun::{Attribute, AttributeType, Builder, Class, Message, Method};
use crate::time::{Mono, Now};
use crate::turn::action::{Change, EndReason, Route, Verdict};
use crate::turn::allocation::{CHANNEL_LIFETIME, Channel, PERMISSION_LIFETIME, Permission};
use crate::turn::authenticate::Verified;
use crate::turn::core::{Core, Rng, judge_channel, judge_permission};
use crate::turn::drop_reason::Refusal;
use crate::turn::ids::{AllocationId, Family, PeerAddr};
use crate::turn::peer_policy::PeerRefusal;
use crate::turn::shared::{SessionLease, Shared};

/// Channel numbers that may be bound: those of RFC 5766 §11, since clients of it draw from all of them.
///
/// RFC 8656 §12 ends the range at 0x4FFF for the sake of sockets that carry other protocols too; none of
/// those begins with 0x50 to 0x7F here. `docs/decisions.md` says why.
const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;

impl<S: Shared, R: Rng> Core<S, R> {
    /// Carries out a request that needs an allocation.
    pub(super) fn request<'b>(&mut self, now: Now, request: &Verified<'_>) -> Verdict<'b> {
        let (reply, key) = (request.reply(), request.key());
        let Some(slot) = self.live_slot(now.mono, &reply.to) else {
            return self.refuse(reply, key, Refusal::AllocationMissing);
        };
        if !request.is_owner() {
            return self.refuse(reply, key, Refusal::WrongUser);
        }
        self.purge(now.mono, slot);
        let done = match request.message().method() {
            Method::REFRESH => self.refresh(now, slot, request),
            Method::CREATE_PERMISSION => self.create_permission(now.mono, slot, request.message()),
            Method::CHANNEL_BIND => self.channel_bind(now.mono, slot, request.message()),
            _ => Err(Refusal::BadRequest),
        };
        match done {
            Ok(lifetime) => {
                self.stats.granted += 1;
                let software = self.settings.software.as_deref().filter(|_| lifetime.is_some());
                self.out.answer(reply, Class::Success, Some(key), |builder| {
                    if let Some(seconds) = lifetime {
                        builder.attribute(&Attribute::Lifetime(seconds));
                    }
                    put_software(builder, software);
                });
                Verdict::Queued
            }
            Err(refusal @ (Refusal::LeaseEnded | Refusal::SessionKicked)) => {
                self.challenge(now, reply, refusal)
            }
            Err(refusal) => self.refuse(reply, key, refusal),
        }
    }

    /// Returns the lifetime to grant for what a request asks (RFC 8656 §7.2, §8.2).
    pub(super) fn lifetime(&self, message: &Message<'_>) -> Result<u32, Refusal> {
        let asked = match message.attribute(AttributeType::LIFETIME) {
            Ok(Some(Attribute::Lifetime(seconds))) => seconds,
            Ok(_) => 0,
            Err(_) => return Err(Refusal::BadRequest),
        };
        Ok(asked.min(self.limits.max_lifetime).max(self.limits.default_lifetime))
    }

    /// Extends or ends an allocation (RFC 8656 §8.2); returns the lifetime for the answer.
    fn refresh(&mut self, now: Now, slot: u32, request: &Verified<'_>) -> Result<Option<u32>, Refusal> {
        let message = request.message();
        let Some(allocation) = self.live(slot) else { return Err(Refusal::AllocationMissing) };
        match message.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY) {
            Ok(None) => {}
            Ok(Some(Attribute::RequestedAddressFamily(family)))
                if Family::from_wire(family) == Some(Family::of(allocation.relay.advertised.ip())) => {}
            Ok(_) => return Err(Refusal::PeerFamilyMismatch),
            Err(_) => return Err(Refusal::BadRequest),
        }
        let lifetime = self.lifetime(message)?;
        if message.attribute(AttributeType::LIFETIME) == Ok(Some(Attribute::Lifetime(0))) {
            self.end(slot, EndReason::Released);
            return Ok(Some(0));
        }
        let bitrate = self.lease(now, slot)?;
        let expires = now.mono.after_secs(lifetime);
        if let Some(allocation) = self.live_mut(slot) {
            allocation.expires = expires;
            allocation.session_bitrate = bitrate;
            let id = AllocationId(allocation.id);
            self.change(|| Change::Extended { id, route: None, expires });
        }
        self.schedule(slot);
        Ok(Some(lifetime))
    }

    /// Says whether the allocation's credential still extends it, and at which bit rate.
    fn lease(&self, now: Now, slot: u32) -> Result<u64, Refusal> {
        let Some(allocation) = self.live(slot) else { return Err(Refusal::AllocationMissing) };
        let grant = &allocation.grant;
        match grant.session().map(|session| self.shared.session(&session)) {
            Some(SessionLease::Live { bitrate }) => return Ok(self.session_bitrate(grant, bitrate)),
            Some(SessionLease::Kicked) => return Err(Refusal::SessionKicked),
            Some(SessionLease::Gone) | None => {}
        }
        let ends = grant.expires_at.map(|at| at.saturating_add(self.limits.expiry_grace.as_secs()));
        if ends.is_some_and(|ends| now.unix >= ends) {
            Err(Refusal::LeaseEnded)
        } else {
            Ok(allocation.session_bitrate)
        }
    }

    /// Installs permissions, all or none (RFC 8656 §10.2).
    fn create_permission(
        &mut self,
        now: Mono,
        slot: u32,
        message: &Message<'_>,
    ) -> Result<Option<u32>, Refusal> {
        let Some(allocation) = self.live(slot) else { return Err(Refusal::AllocationMissing) };
        let family = Family::of(allocation.relay.advertised.ip());
        let held = allocation.permissions().len();
        let mut peers: Vec<IpAddr> = Vec::new();
        for attribute in message.attributes().filter(|raw| raw.kind == AttributeType::XOR_PEER_ADDRESS) {
            match Attribute::decode(attribute.kind, attribute.value, message.transaction()) {
                Ok(Attribute::XorPeerAddress(peer)) => peers.push(self.policy.canonical_ip(peer.ip())),
                _ => return Err(Refusal::BadRequest),
            }
        }
        if peers.is_empty() {
            return Err(Refusal::BadRequest);
        }
        if peers.iter().any(|ip| Family::of(*ip) != family) {
            return Err(Refusal::PeerFamilyMismatch);
        }
        if peers.iter().any(|ip| self.policy.judge_ip(*ip).is_err()) {
            return Err(Refusal::PeerForbidden);
        }
        peers.sort_unstable();
        peers.dedup();
        let held_already = |ip: &&IpAddr| {
            allocation.permissions().binary_search_by_key(*ip, |permission| permission.ip).is_ok()
        };
        let known = peers.iter().filter(held_already).count();
        if over(held + peers.len() - known, self.limits.max_permissions) && known < peers.len() {
            return Err(Refusal::PermissionsFull);
        }
        for ip in peers {
            self.permit(now, slot, ip);
        }
        self.schedule(slot);
        Ok(None)
    }

    /// Binds a channel and permits its peer (RFC 8656 §12.2).
    fn channel_bind(&mut self, now: Mono, slot: u32, message: &Message<'_>) -> Result<Option<u32>, Refusal> {
        let number = match message.attribute(AttributeType::CHANNEL_NUMBER) {
            Ok(Some(Attribute::ChannelNumber(number))) if CHANNEL_NUMBERS.contains(&number) => number,
            _ => return Err(Refusal::BadRequest),
        };
        let peer = match message.attribute(AttributeType::XOR_PEER_ADDRESS) {
            Ok(Some(Attribute::XorPeerAddress(peer))) => self.policy.canonical(PeerAddr(peer)),
            _ => return Err(Refusal::BadRequest),
        };
        let generation = self.policy_generation;
        let live = self.shared.owner(peer).is_some();
        let (max_channels, max_permissions) = (self.limits.max_channels, self.limits.max_permissions);
        let judged = self.policy.judge(peer, live);
        let verdict = judge_channel(&self.policy, generation, peer);
        let Some(allocation) = self.live_mut(slot) else { return Err(Refusal::AllocationMissing) };
        let bound_peer = allocation.channel(now, number).map(|channel| channel.peer);
        let bound_number = allocation.number_of(now, peer);
        if bound_peer.is_some_and(|bound| bound != peer) || bound_number.is_some_and(|bound| bound != number)
        {
            return Err(Refusal::ChannelConflict);
        }
        if Family::of(peer.ip()) != Family::of(allocation.relay.advertised.ip()) {
            return Err(Refusal::PeerFamilyMismatch);
        }
        match judged {
            Ok(()) => {}
            Err(PeerRefusal::Forbidden) => return Err(Refusal::PeerForbidden),
            Err(PeerRefusal::OwnEndpoint) => return Err(Refusal::OwnEndpoint),
        }
        if bound_number.is_none() && over(allocation.channels().len() + 1, max_channels) {
            return Err(Refusal::ChannelsFull);
        }
        let permitted = allocation.permission(now, peer.ip()).is_some();
        if !permitted && over(allocation.permissions().len() + 1, max_permissions) {
            return Err(Refusal::PermissionsFull);
        }
        let expires = now.after_secs(CHANNEL_LIFETIME);
        let new = allocation.bind(Channel { number, peer, expires, judged: verdict });
        let id = AllocationId(allocation.id);
        let route = Route::Channel { number, peer };
        self.change(|| route_change(id, route, expires, new));
        self.permit(now, slot, peer.ip());
        self.schedule(slot);
        Ok(None)
    }

    fn permit(&mut self, now: Mono, slot: u32, ip: IpAddr) {
        let judged = judge_permission(&self.policy, self.policy_generation, ip);
        let Some(allocation) = self.live_mut(slot) else { return };
        let expires = now.after_secs(PERMISSION_LIFETIME);
        let new = allocation.permit(Permission { ip, expires, judged });
        let id = AllocationId(allocation.id);
        self.change(|| route_change(id, Route::Permission(ip), expires, new));
    }
}

/// Names the server's software, where an operator wants it named (RFC 8489 §14.14).
pub(super) fn put_software(builder: &mut Builder<'_>, software: Option<&str>) {
    if let Some(software) = software {
        builder.attribute(&Attribute::Software(software.as_bytes()));
    }
}

/// Whether an address is one of the tunnels that no allocation is made for (RFC 8656 §21.4).
pub(super) fn is_tunnel(addr: SocketAddr) -> bool {
    match addr.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => matches!(ip.segments(), [0x2002, ..] | [0x2001, 0, ..]),
    }
}

fn route_change(id: AllocationId, route: Route, expires: Mono, new: bool) -> Change {
    if new {
        Change::RouteBound { id, route, expires }
    } else {
        Change::Extended { id, route: Some(route), expires }
    }
}

fn over(count: usize, limit: u32) -> bool {
    limit > 0 && count > limit as usize
}
