//! Making allocations: Allocate requests (RFC 8656 §7.2) and imports.

use crate::auth::{Grant, LongTermKey};
use crate::stun::{Attribute, AttributeType, Class, Message};
use crate::time::{Mono, Now};
use crate::turn::action::{Change, EndReason, OpenError, RelaySource, Verdict};
use crate::turn::allocation::{Allocation, Channel, Founding, Judged, Permission};
use crate::turn::answer::{Reply, no_second_family};
use crate::turn::authenticate::Verified;
use crate::turn::core::{Application, Core, Opening, Purpose, Rng, Slot, random_u64};
use crate::turn::deadline::Due;
use crate::turn::drop_reason::{DropReason, Refusal};
use crate::turn::ids::{AllocationId, Family, RelayAddr, RelayId};
use crate::turn::limits::OPEN_BITRATE;
use crate::turn::request::{is_tunnel, put_software};
use crate::turn::shared::{
    Claim, PortError, PortWish, QuotaError, ReservationToken, Reserve, SessionLease, Shared, Taken,
};
use crate::turn::state::{AllocationState, Origin};

/// IP protocol number of UDP.
const UDP: u8 = 17;
/// How long an odd port waits for its token, in seconds (RFC 8656 §7.2 asks for 30 at least).
const RESERVATION_LIFETIME: u32 = 60;
/// Ports tried before other processes are taken to hold them all.
const MAX_TRIES: usize = 16;

/// What an Allocate request asks for.
struct Wanted {
    family: Family,
    lifetime: u32,
    port: WantedPort,
    no_second_family: bool,
}

enum WantedPort {
    New(PortWish),
    Reserved(ReservationToken),
}

impl<S: Shared, R: Rng> Core<S, R> {
    /// Carries out an Allocate request up to its relay socket.
    pub(super) fn allocate<'b>(&mut self, now: Now, request: Verified<'_>) -> Verdict<'b> {
        let reply = request.reply();
        let tag = tag(request.message());
        if let Some(slot) = self.slots_by_client.get(&reply.to).copied() {
            match self.live(slot) {
                None => return self.drop_packet(DropReason::RequestPending),
                // Due, though the queue has not come to it yet.
                Some(allocation) if now.mono >= allocation.expires => self.end(slot, EndReason::Expired),
                Some(_) => return self.allocate_again(slot, &request, tag),
            }
        }
        let wanted = self.wanted(request.message());
        let (grant, key) = request.into_grant();
        // A proof by an owner's key needs an allocation, and there is none.
        let Some(grant) = grant else { return self.refuse(reply, &key, Refusal::AllocationMissing) };
        let session_bitrate = match self.entitled(now, &grant) {
            Ok(bitrate) => bitrate,
            Err(refusal) => return self.challenge(now, reply, refusal),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(reply, &key, refusal),
        };
        let origin = Origin {
            transaction: reply.transaction,
            tag,
            lifetime: wanted.lifetime,
            reserved: None,
            no_second_family: wanted.no_second_family,
        };
        let (wish, token) = match wanted.port {
            WantedPort::New(wish) => (wish, None),
            WantedPort::Reserved(token) => (PortWish::Any, Some(token)),
        };
        let reserve_until = now.mono.after_secs(RESERVATION_LIFETIME);
        let application = Application { reply, grant, key, origin, wish, reserve_until, session_bitrate };
        self.open(now, application, wanted.family, token)
    }

    /// Goes on when the shell has opened a relay socket, or could not.
    pub(super) fn relay_opened(&mut self, now: Now, relay: RelayId, result: Result<(), OpenError>) {
        match self.slots.get(relay.slot as usize) {
            Some(Slot::Opening(opening)) if opening.id == relay => {}
            _ => return,
        }
        let Slot::Opening(opening) = self.lift(relay) else { return };
        match result {
            Ok(()) => self.found(now, *opening),
            Err(error) => self.open_again(error, *opening),
        }
    }

    /// Starts to take over an exported allocation.
    pub(super) fn import(&mut self, state: AllocationState) {
        if !self.slots_by_client.contains_key(&state.client)
            && let Some(id) = self.take_slot(Some(state.id.0))
        {
            if self.shared.retake_port(state.relay, (self.settings.shard, id)) {
                let claim = Claim {
                    user: state.grant.quota_name(),
                    client: state.client.remote.ip(),
                    is_open: state.grant.is_open(),
                };
                return self.ask_for_relay(Opening {
                    id,
                    client: state.client,
                    addr: state.relay,
                    source: RelaySource::Bind,
                    guard: self.shared.readmit(claim),
                    burned: Vec::new(),
                    purpose: Purpose::Import(Box::new(state)),
                });
            }
            self.give_slot_back(id);
        }
        self.lose_import(&state);
    }

    /// Answers an Allocate on a 5-tuple that has an allocation: a retransmission gets the same answer.
    fn allocate_again<'b>(&mut self, slot: u32, request: &Verified<'_>, tag: [u8; 8]) -> Verdict<'b> {
        let (reply, key) = (request.reply(), request.key());
        let founded = self.live(slot).map(|allocation| (allocation.origin, allocation.relay));
        match founded {
            Some((origin, relay))
                if request.is_owner() && origin.transaction == reply.transaction && origin.tag == tag =>
            {
                self.answer_allocated(reply, key, relay, origin);
                Verdict::Queued
            }
            _ => self.refuse(reply, key, Refusal::AllocationExists),
        }
    }

    /// Says whether a credential makes allocations now, and at which bit rate.
    fn entitled(&self, now: Now, grant: &Grant) -> Result<u64, Refusal> {
        const CLOCK_SKEW: u64 = 300;
        let longest = self.limits.max_credential_ttl.as_secs().saturating_add(CLOCK_SKEW);
        if grant.expires_at.is_some_and(|at| at.saturating_sub(now.unix) > longest) {
            return Err(Refusal::CredentialTooLong);
        }
        match grant.session().map(|session| self.shared.session(&session)) {
            // The credential lives as long as its session.
            Some(SessionLease::Live { bitrate }) => Ok(self.session_bitrate(grant, bitrate)),
            Some(SessionLease::Kicked) => Err(Refusal::SessionKicked),
            Some(SessionLease::Gone) | None if grant.expires_at.is_some_and(|at| at <= now.unix) => {
                Err(Refusal::CredentialExpired)
            }
            Some(SessionLease::Gone) | None => Ok(self.session_bitrate(grant, 0)),
        }
    }

    /// Returns the bit rate of an allocation whose session has one of its own or, with 0, none.
    pub(super) fn session_bitrate(&self, grant: &Grant, of_session: u64) -> u64 {
        let operators = Some(self.limits.bitrate_per_allocation).filter(|bits| *bits > 0);
        let bits = Some(of_session).filter(|bits| *bits > 0).or(operators);
        if grant.is_open() { bits.unwrap_or(OPEN_BITRATE).min(OPEN_BITRATE) } else { of_session }
    }

    /// Reads what the request asks for, in the order of RFC 8656 §7.2.
    fn wanted(&self, message: &Message<'_>) -> Result<Wanted, Refusal> {
        let bad = |_| Refusal::BadRequest;
        let attribute = |kind| message.attribute(kind).map_err(bad);
        match attribute(AttributeType::REQUESTED_TRANSPORT)? {
            Some(Attribute::RequestedTransport(UDP)) => {}
            Some(_) => return Err(Refusal::TransportUnsupported),
            None => return Err(Refusal::BadRequest),
        }
        attribute(AttributeType::DONT_FRAGMENT)?;
        let token = attribute(AttributeType::RESERVATION_TOKEN)?;
        let even = attribute(AttributeType::EVEN_PORT)?;
        let family = attribute(AttributeType::REQUESTED_ADDRESS_FAMILY)?;
        let second = attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY)?;
        if token.is_some() && (even.is_some() || family.is_some() || second.is_some()) {
            return Err(Refusal::BadRequest);
        }
        if family.is_some() && second.is_some() {
            return Err(Refusal::BadRequest);
        }
        let family = match family {
            Some(Attribute::RequestedAddressFamily(value)) => {
                Family::from_wire(value).ok_or(Refusal::FamilyUnsupported)?
            }
            _ => Family::V4,
        };
        let reserve = even == Some(Attribute::EvenPort { reserve: true });
        if reserve && second.is_some() {
            return Err(Refusal::BadRequest);
        }
        let port = match (token, even) {
            (Some(Attribute::ReservationToken(token)), _) => WantedPort::Reserved(ReservationToken(token)),
            (_, Some(_)) if reserve => WantedPort::New(PortWish::EvenAndReserve),
            (_, Some(_)) => WantedPort::New(PortWish::Even),
            (_, None) => WantedPort::New(PortWish::Any),
        };
        let lifetime = self.lifetime(message)?;
        if matches!(port, WantedPort::New(_)) && !self.shared.has_family(family) {
            return Err(Refusal::FamilyUnsupported);
        }
        let no_second_family = second == Some(Attribute::AdditionalAddressFamily(0x02));
        Ok(Wanted { family, lifetime, port, no_second_family })
    }

    /// Takes quota, slot and port, and asks the shell for the socket.
    fn open<'b>(
        &mut self,
        now: Now,
        application: Application,
        family: Family,
        token: Option<ReservationToken>,
    ) -> Verdict<'b> {
        match self.take_place(now, &application, family, token) {
            Ok((id, guard, taken)) => {
                let source = if token.is_some() { RelaySource::Unpark } else { RelaySource::Bind };
                let opening = Opening {
                    id,
                    client: application.reply.to,
                    addr: taken.addr,
                    source,
                    guard,
                    burned: Vec::new(),
                    purpose: Purpose::Request(application),
                };
                let opening = self.with_reservation(opening, &taken);
                self.ask_for_relay(opening);
                Verdict::Queued
            }
            Err(refusal) => self.refuse(application.reply, &application.key, refusal),
        }
    }

    fn take_place(
        &mut self,
        now: Now,
        application: &Application,
        family: Family,
        token: Option<ReservationToken>,
    ) -> Result<(RelayId, S::Guard, Taken), Refusal> {
        let client = application.reply.to.remote;
        let user = application.grant.quota_name();
        if is_tunnel(client) {
            return Err(Refusal::ClientForbidden);
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        let claim = Claim { user, client: client.ip(), is_open: application.grant.is_open() };
        let guard = self.shared.admit(claim).map_err(|error| match error {
            QuotaError::Address => Refusal::AddressQuota,
            QuotaError::Total => Refusal::TotalQuota,
            QuotaError::User => Refusal::UserQuota,
        })?;
        let id = self.take_slot(None).ok_or(Refusal::PortsExhausted)?;
        let owner = (self.settings.shard, id);
        let taken = match token {
            Some(token) => self
                .shared
                .claim_reservation(now.mono, token, user, owner)
                .map(|addr| Taken { addr, reserved: None }),
            None => self.take_port(application, family, id),
        };
        taken.map(|taken| (id, guard, taken)).map_err(|error| {
            self.give_slot_back(id);
            match error {
                PortError::NoFamily => Refusal::FamilyUnsupported,
                PortError::NoneFree => Refusal::PortsExhausted,
                PortError::NoReservation => Refusal::ReservationUnknown,
            }
        })
    }

    fn take_port(
        &mut self,
        application: &Application,
        family: Family,
        id: RelayId,
    ) -> Result<Taken, PortError> {
        let reserve = Reserve { user: application.grant.quota_name(), until: application.reserve_until };
        let Core { shared, rng, settings, .. } = self;
        shared.take_port(family, application.wish, (settings.shard, id), reserve, &mut || random_u64(rng))
    }

    /// Notes the odd port that was reserved together with the relay's own.
    fn with_reservation(&mut self, mut opening: Opening<S::Guard>, taken: &Taken) -> Opening<S::Guard> {
        if let (Purpose::Request(application), Some((odd, token))) = (&mut opening.purpose, taken.reserved) {
            application.origin.reserved = Some(token);
            opening.source = RelaySource::BindAndPark { odd };
            self.deadlines.insert(application.reserve_until, Due::Reservation(token));
        }
        opening
    }

    fn ask_for_relay(&mut self, opening: Opening<S::Guard>) {
        let (id, addr, source) = (opening.id, opening.addr, opening.source);
        self.slots_by_client.insert(opening.client, id.slot);
        self.slots[id.slot as usize] = Slot::Opening(Box::new(opening));
        self.out.open_relay(id, addr, source);
    }

    /// Tries another port where another process holds this one, or gives up.
    fn open_again(&mut self, error: OpenError, mut opening: Opening<S::Guard>) {
        opening.burned.push(opening.addr);
        let movable = error == OpenError::InUse
            && opening.source != RelaySource::Unpark
            && opening.burned.len() < MAX_TRIES;
        if let Purpose::Request(application) = &mut opening.purpose {
            if let Some(token) = application.origin.reserved.take() {
                self.shared.expire_reservation(token);
                self.deadlines.remove(application.reserve_until, Due::Reservation(token));
            }
            let family = Family::of(opening.addr.advertised.ip());
            if movable && let Ok(taken) = self.take_port(application, family, opening.id) {
                opening.addr = taken.addr;
                let opening = self.with_reservation(opening, &taken);
                return self.ask_for_relay(opening);
            }
        }
        opening.burned.iter().for_each(|addr| self.shared.release_port(*addr));
        self.slots_by_client.remove(&opening.client);
        self.give_slot_back(opening.id);
        match opening.purpose {
            Purpose::Request(Application { reply, key, .. }) => {
                self.refuse(reply, &key, Refusal::PortsExhausted);
            }
            Purpose::Import(state) => {
                self.lose_import(&state);
            }
        }
    }

    /// Gives up an allocation that still waits for its socket; a report of the socket then finds nobody.
    pub(super) fn abandon(&mut self, slot: u32, reason: EndReason) {
        let id = match self.slots.get(slot as usize) {
            Some(Slot::Opening(opening)) => opening.id,
            _ => return,
        };
        let Slot::Opening(opening) = self.lift(id) else { return };
        opening.burned.iter().chain([&opening.addr]).for_each(|addr| self.shared.release_port(*addr));
        self.slots_by_client.remove(&opening.client);
        self.give_slot_back(id);
        self.out.close_relay(id);
        match &opening.purpose {
            Purpose::Request(application) => {
                if let Some(token) = application.origin.reserved {
                    self.deadlines.remove(application.reserve_until, Due::Reservation(token));
                    if let Some(odd) = self.shared.expire_reservation(token) {
                        self.out.close_reserved(odd);
                    }
                }
            }
            Purpose::Import(state) => {
                self.change(|| Change::Ended { id: state.id, reason, relayed: state.relayed });
            }
        }
    }

    fn lose_import(&mut self, state: &AllocationState) {
        let (id, relayed) = (state.id, state.relayed);
        self.change(|| Change::Ended { id, reason: EndReason::RelayLost, relayed });
    }

    /// Makes the allocation whose socket is open.
    fn found(&mut self, now: Now, opening: Opening<S::Guard>) {
        opening.burned.iter().for_each(|addr| self.shared.release_port(*addr));
        let Opening { id, client, addr, guard, purpose, .. } = opening;
        let allocation = match purpose {
            Purpose::Request(application) => {
                let Application { reply, grant, key, origin, reserve_until, session_bitrate, .. } =
                    application;
                self.stats.granted += 1;
                self.answer_allocated(reply, &key, addr, origin);
                let expires = now.mono.after_secs(origin.lifetime);
                let relay = addr;
                let founding = Founding {
                    id,
                    client,
                    relay,
                    grant,
                    key,
                    expires,
                    origin,
                    reserve_until,
                    session_bitrate,
                    guard,
                };
                Allocation::new(now.mono, founding)
            }
            Purpose::Import(state) => imported(now, id, *state, guard),
        };
        self.stats.allocated += 1;
        self.change(|| Change::Allocated {
            id: AllocationId(id),
            client,
            relay: addr,
            subject: allocation.grant.subject().to_owned(),
        });
        self.slots[id.slot as usize] = Slot::Live(allocation);
        self.schedule(id.slot);
    }

    fn answer_allocated(&mut self, reply: Reply, key: &LongTermKey, relay: RelayAddr, origin: Origin) {
        let software = self.settings.software.as_deref();
        self.out.answer(reply, Class::Success, Some(key), |builder| {
            builder
                .attribute(&Attribute::XorRelayedAddress(relay.advertised))
                .attribute(&Attribute::Lifetime(origin.lifetime))
                .xor_mapped(reply.to.remote);
            if let Some(token) = origin.reserved {
                builder.attribute(&Attribute::ReservationToken(token.0));
            }
            if origin.no_second_family {
                no_second_family(builder);
            }
            put_software(builder, software);
        });
    }
}

/// Makes an allocation of exported state; its routes are judged again by their next packet.
fn imported<G>(now: Now, id: RelayId, state: AllocationState, guard: G) -> Allocation<G> {
    let AllocationState { client, relay, grant, key, expires, origin, session_bitrate, .. } = state;
    // Whoever exported it has the reservation in its queue.
    let reserve_until = Mono::NEVER;
    let founding =
        Founding { id, client, relay, grant, key, expires, origin, reserve_until, session_bitrate, guard };
    let mut allocation = Allocation::new(now.mono, founding);
    allocation.relayed = state.relayed;
    for (ip, expires) in state.permissions {
        allocation.permit(Permission { ip, expires, judged: Judged::STALE });
    }
    for (number, peer, expires) in state.channels {
        allocation.bind(Channel { number, peer, expires, judged: Judged::STALE });
    }
    allocation
}

/// The start of the request's integrity tag: it covers all of the request.
fn tag(message: &Message<'_>) -> [u8; 8] {
    message.integrity_tag().and_then(|tag| tag.first_chunk::<8>()).copied().unwrap_or_default()
}
