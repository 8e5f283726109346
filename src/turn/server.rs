//! The face of the relay core: `handle_*` in, `poll_*` out.

use std::sync::Arc;

use crate::auth::{Credentials, Grant, SessionId};
use crate::stun::{Class, Message, Method};
use crate::time::{Mono, Now};
use crate::turn::action::{Action, Change, EndReason, Event, Verdict};
use crate::turn::allocation::Allocation;
use crate::turn::core::{Core, Rng, Slot};
use crate::turn::deadline::Due;
use crate::turn::drop_reason::DropReason;
use crate::turn::ids::{AllocationId, ClientPath, PeerAddr, RelayAddr, RelayId};
use crate::turn::limits::{Limits, Settings};
use crate::turn::peer_policy::Policy;
use crate::turn::shared::Shared;
use crate::turn::state::AllocationState;
use crate::turn::stats::Stats;

/// The TURN server of one shard.
///
/// Every input may leave actions behind: drain [`Server::poll_action`] before the next one when it says
/// [`Verdict::Queued`], and after [`Server::handle`] and [`Server::handle_timeout`].
pub struct Server<S: Shared, R> {
    core: Core<S, R>,
}

/// What an observer may see of an allocation.
#[derive(Clone, Copy, Debug)]
pub struct AllocationView<'s> {
    /// Its name.
    pub id: AllocationId,
    /// The client's path.
    pub client: ClientPath,
    /// Relayed transport address.
    pub relay: RelayAddr,
    /// Who made it.
    pub subject: &'s str,
    /// When it ends.
    pub expires: Mono,
    /// Payload bytes to peers and to the client.
    pub relayed: (u64, u64),
    /// Permissions and channels that it holds.
    pub routes: (usize, usize),
}

/// Deadlines looked at in one call, so that a mass expiry holds up no packet for long.
const TIMEOUT_WORK: usize = 64;

impl<S: Shared, R: Rng> Server<S, R> {
    /// Makes a server without allocations.
    pub fn new(
        settings: Settings,
        limits: Limits,
        policy: Arc<Policy>,
        credentials: Arc<Credentials>,
        shared: S,
        rng: R,
    ) -> Server<S, R> {
        Server { core: Core::new(settings, limits, policy, credentials, shared, rng) }
    }

    /// Takes one datagram of a client, or one framed message of its stream.
    pub fn handle_client<'b>(&mut self, now: Now, from: ClientPath, bytes: &'b [u8]) -> Verdict<'b> {
        match bytes.first() {
            Some(0x40..=0x7f) => self.core.channel_data(now.mono, &from, bytes),
            Some(0x00..=0x03) => self.message(now, from, bytes),
            _ => self.core.drop_packet(DropReason::NotStun),
        }
    }

    /// Takes one datagram that arrived on a relay, or that another relay of this server sent to it
    /// (`from` is then its advertised address).
    pub fn handle_peer<'b>(
        &mut self,
        now: Now,
        on: RelayId,
        from: PeerAddr,
        payload: &'b [u8],
    ) -> Verdict<'b> {
        self.core.relay_to_client(now.mono, on, from, payload)
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Now, event: Event) {
        match event {
            Event::RelayOpened { relay, result } => self.core.relay_opened(now, relay, result),
            Event::PeerError { .. } => self.core.stats.peer_errors += 1,
            Event::ClientClosed(client) => {
                if let Some(slot) = self.core.slots_by_client.get(&client).copied() {
                    self.core.end(slot, EndReason::ClientClosed);
                    self.core.abandon(slot, EndReason::ClientClosed);
                }
            }
            Event::Policy(policy) => {
                self.core.shared.rename(policy.relays());
                self.core.policy = policy;
                self.core.policy_generation += 1;
            }
            Event::Limits(limits) => {
                self.core.limits = limits;
                self.core.has_budgets = self.core.shared.has_budgets();
            }
            Event::Credentials(credentials) => self.core.credentials = credentials,
            Event::Drain => self.core.draining = true,
            Event::End(session) => self.end_session(&session),
            Event::Import(state) => self.core.import(*state),
        }
    }

    /// Ends what is due. When much is due it does a part, and `poll_timeout` stays in the past.
    pub fn handle_timeout(&mut self, now: Now) {
        for _ in 0..TIMEOUT_WORK {
            match self.core.deadlines.pop(now.mono) {
                Some(Due::Allocation(slot)) => self.allocation_due(now.mono, slot),
                Some(Due::Reservation(token)) => {
                    if let Some(addr) = self.core.shared.expire_reservation(token) {
                        self.core.out.close_reserved(addr);
                    }
                }
                None => return,
            }
        }
    }

    /// Returns the next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<'_>> {
        self.core.out.poll()
    }

    /// Returns when `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.core.deadlines.next()
    }

    /// Returns the next change since [`Server::subscribe`].
    pub fn poll_change(&mut self) -> Option<Change> {
        self.core.changes.pop_front()
    }

    /// Starts or stops the feed of changes; who subscribes polls it after every input.
    pub fn subscribe(&mut self, on: bool) {
        self.core.subscribed = on;
        if !on {
            self.core.changes = std::collections::VecDeque::new();
        }
    }

    /// Returns the live allocations in order of their slot.
    pub fn allocations(&self) -> impl Iterator<Item = AllocationView<'_>> {
        self.core.slots.iter().filter_map(|slot| match slot {
            Slot::Live(allocation) => Some(view(allocation)),
            Slot::Vacant { .. } | Slot::Opening(_) => None,
        })
    }

    /// Returns an allocation as plain data.
    #[must_use]
    pub fn export(&self, id: AllocationId) -> Option<AllocationState> {
        let allocation = self.core.live(id.0.slot).filter(|allocation| allocation.id == id.0)?;
        let permissions = allocation.permissions().iter().map(|held| (held.ip, held.expires));
        let channels = allocation.channels().iter().map(|held| (held.number, held.peer, held.expires));
        Some(AllocationState {
            id,
            client: allocation.client,
            relay: allocation.relay,
            grant: allocation.grant.clone(),
            key: allocation.key.clone(),
            expires: allocation.expires,
            origin: allocation.origin,
            permissions: permissions.collect(),
            channels: channels.collect(),
            session_bitrate: allocation.session_bitrate,
            relayed: allocation.relayed,
        })
    }

    /// Returns whether a client path owns an allocation.
    #[must_use]
    pub fn has_allocation(&self, client: &ClientPath) -> bool {
        self.core.slots_by_client.contains_key(client)
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    fn message<'b>(&mut self, now: Now, from: ClientPath, bytes: &'b [u8]) -> Verdict<'b> {
        let Ok(message) = Message::parse(bytes) else {
            return self.core.drop_packet(DropReason::StunMalformed);
        };
        let class_and_method = (message.class(), message.method());
        if !is_taken(class_and_method) {
            return self.core.drop_packet(DropReason::StunUnexpected);
        }
        if !message.fingerprint_holds() {
            return self.core.drop_packet(DropReason::FingerprintMismatch);
        }
        match class_and_method {
            (Class::Indication, _) => self.core.send_indication(now.mono, &from, &message),
            (_, Method::BINDING) => self.core.binding(now, from, &message),
            (_, method) => match self.core.authenticate(now, from, message) {
                Ok(request) if method == Method::ALLOCATE => self.core.allocate(now, request),
                Ok(request) => self.core.request(now, &request),
                Err(verdict) => verdict,
            },
        }
    }

    fn allocation_due(&mut self, now: Mono, slot: u32) {
        let Some(allocation) = self.core.live_mut(slot) else { return };
        allocation.scheduled = Mono::NEVER;
        if now >= allocation.expires {
            self.core.end(slot, EndReason::Expired);
        } else {
            self.core.purge(now, slot);
            self.core.schedule(slot);
        }
    }

    fn end_session(&mut self, session: &SessionId) {
        let of_session = |grant: &Grant| grant.session().as_ref() == Some(session);
        let ended: Vec<u32> = self
            .core
            .slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Live(held) if of_session(&held.grant) => Some(held.id.slot),
                Slot::Opening(opening) if of_session(opening.purpose.grant()) => Some(opening.id.slot),
                Slot::Live(_) | Slot::Vacant { .. } | Slot::Opening(_) => None,
            })
            .collect();
        for slot in ended {
            self.core.end(slot, EndReason::Kicked);
            self.core.abandon(slot, EndReason::Kicked);
        }
    }
}

/// The messages that a server takes from clients (RFC 8489 §6.3, RFC 8656 §17).
fn is_taken(message: (Class, Method)) -> bool {
    match message {
        (Class::Request, method) => [
            Method::BINDING,
            Method::ALLOCATE,
            Method::REFRESH,
            Method::CREATE_PERMISSION,
            Method::CHANNEL_BIND,
        ]
        .contains(&method),
        (Class::Indication, method) => method == Method::SEND,
        (Class::Success | Class::Error, _) => false,
    }
}

fn view<G>(allocation: &Allocation<G>) -> AllocationView<'_> {
    AllocationView {
        id: AllocationId(allocation.id),
        client: allocation.client,
        relay: allocation.relay,
        subject: allocation.grant.subject(),
        expires: allocation.expires,
        relayed: allocation.relayed,
        routes: (allocation.permissions().len(), allocation.channels().len()),
    }
}
