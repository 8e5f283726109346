//! State of one shard's server, and the small steps that its parts share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::auth::{Credentials, Grant, LongTermKey};
use crate::time::{Mono, Now};
use crate::turn::action::{Change, EndReason, RelaySource, Route, Verdict};
use crate::turn::allocation::{Allocation, Gone, Judged};
use crate::turn::answer::{Outbox, Reply};
use crate::turn::deadline::{Deadlines, Due};
use crate::turn::drop_reason::{DropReason, Refusal};
use crate::turn::gate::Gate;
use crate::turn::ids::{AllocationId, ClientPath, PeerAddr, RelayAddr, RelayId};
use crate::turn::limits::{Limits, Settings};
use crate::turn::nonce::Nonces;
use crate::turn::peer_policy::{Ownership, Policy};
use crate::turn::shared::{PortWish, Shared};
use crate::turn::state::{AllocationState, Origin};
use crate::turn::stats::Stats;

pub use crate::rng::Rng;

pub(super) struct Core<S: Shared, R> {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) policy: Arc<Policy>,
    /// Counts policies from 1.
    pub(super) policy_generation: u32,
    pub(super) credentials: Arc<Credentials>,
    pub(super) shared: S,
    pub(super) has_budgets: bool,
    pub(super) rng: R,
    pub(super) nonces: Nonces,
    pub(super) gate: Gate,
    pub(super) slots: Vec<Slot<S::Guard>>,
    pub(super) slots_by_client: HashMap<ClientPath, u32, FixedState>,
    vacant: BinaryHeap<Reverse<u32>>,
    pub(super) deadlines: Deadlines,
    pub(super) out: Outbox,
    pub(super) changes: VecDeque<Change>,
    pub(super) subscribed: bool,
    pub(super) draining: bool,
    pub(super) stats: Stats,
}

/// A place for an allocation. It shares its index with the relay socket.
#[expect(clippy::large_enum_variant, reason = "nearly every slot is live, and a packet saves a pointer")]
pub(super) enum Slot<G> {
    /// Nobody's; the generation is the last tenant's.
    Vacant { generation: u32 },
    /// Waits for its relay socket.
    Opening(Box<Opening<G>>),
    /// Relays.
    Live(Allocation<G>),
}

/// An allocation that waits for its relay socket.
pub(super) struct Opening<G> {
    pub(super) id: RelayId,
    pub(super) client: ClientPath,
    pub(super) addr: RelayAddr,
    pub(super) source: RelaySource,
    pub(super) guard: G,
    /// Ports that other processes turned out to hold, kept from being drawn again until this ends.
    pub(super) burned: Vec<RelayAddr>,
    pub(super) purpose: Purpose,
}

/// What the relay socket is for.
pub(super) enum Purpose {
    /// An Allocate request.
    Request(Application),
    /// An imported allocation.
    Import(Box<AllocationState>),
}

impl Purpose {
    /// Returns the grant that the allocation hangs on.
    pub(super) fn grant(&self) -> &Grant {
        match self {
            Purpose::Request(application) => &application.grant,
            Purpose::Import(state) => &state.grant,
        }
    }
}

/// An Allocate request that is entitled to what it asks for.
pub(super) struct Application {
    pub(super) reply: Reply,
    pub(super) grant: Grant,
    pub(super) key: LongTermKey,
    pub(super) origin: Origin,
    pub(super) wish: PortWish,
    pub(super) reserve_until: Mono,
    pub(super) session_bitrate: u64,
}

/// Slots are numbered below this, so that a port's word can name them.
const MAX_SLOTS: usize = 1 << 24;

impl<S: Shared, R: Rng> Core<S, R> {
    pub(super) fn new(
        settings: Settings,
        limits: Limits,
        policy: Arc<Policy>,
        credentials: Arc<Credentials>,
        shared: S,
        mut rng: R,
    ) -> Core<S, R> {
        let nonces = Nonces::new(&settings.nonce_key);
        let gate = Gate::new(random_u64(&mut rng));
        let hasher = FixedState::with_seed(random_u64(&mut rng));
        Core {
            settings,
            limits,
            policy,
            policy_generation: 1,
            credentials,
            has_budgets: shared.has_budgets(),
            shared,
            rng,
            nonces,
            gate,
            slots: Vec::new(),
            slots_by_client: HashMap::with_hasher(hasher),
            vacant: BinaryHeap::new(),
            deadlines: Deadlines::default(),
            out: Outbox::default(),
            changes: VecDeque::new(),
            subscribed: false,
            draining: false,
            stats: Stats::default(),
        }
    }

    pub(super) fn drop_packet<'b>(&mut self, reason: DropReason) -> Verdict<'b> {
        self.stats.count_drop(reason);
        Verdict::Dropped(reason)
    }

    /// Refuses an authenticated request.
    pub(super) fn refuse<'b>(&mut self, reply: Reply, key: &LongTermKey, refusal: Refusal) -> Verdict<'b> {
        self.stats.count_refusal(refusal);
        self.out.error(reply, refusal, Some(key));
        Verdict::Queued
    }

    /// Returns the slot of a client's live allocation.
    pub(super) fn live_slot(&self, now: Mono, client: &ClientPath) -> Option<u32> {
        let slot = *self.slots_by_client.get(client)?;
        self.live(slot).filter(|allocation| now < allocation.expires).map(|_| slot)
    }

    pub(super) fn live(&self, slot: u32) -> Option<&Allocation<S::Guard>> {
        match self.slots.get(slot as usize)? {
            Slot::Live(allocation) => Some(allocation),
            Slot::Vacant { .. } | Slot::Opening(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self, slot: u32) -> Option<&mut Allocation<S::Guard>> {
        live_in(&mut self.slots, slot)
    }

    /// Takes the lowest vacant slot, or the wished-for one if it is vacant. It stays empty until it is filled
    /// or given back by [`Self::give_slot_back`].
    pub(super) fn take_slot(&mut self, wish: Option<RelayId>) -> Option<RelayId> {
        let wished = wish.filter(|wish| (wish.slot as usize) < MAX_SLOTS);
        if let Some(wish) = wished {
            while self.slots.len() <= wish.slot as usize {
                self.vacant.push(Reverse(self.slots.len() as u32));
                self.slots.push(Slot::Vacant { generation: 0 });
            }
            if let Some(generation) = self.vacant_generation(wish.slot) {
                self.vacant.retain(|Reverse(slot)| *slot != wish.slot);
                return Some(RelayId { slot: wish.slot, generation: wish.generation.max(generation) });
            }
        }
        let slot = match self.vacant.pop() {
            Some(Reverse(slot)) => slot,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(Slot::Vacant { generation: 0 });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let generation = self.vacant_generation(slot).expect("the heap holds vacant slots only");
        Some(RelayId { slot, generation })
    }

    /// Returns the generation of the next tenant of a vacant slot.
    fn vacant_generation(&self, slot: u32) -> Option<u32> {
        match self.slots.get(slot as usize)? {
            Slot::Vacant { generation } => Some(generation.wrapping_add(1).max(1)),
            Slot::Opening(_) | Slot::Live(_) => None,
        }
    }

    /// Takes out what is in a slot; the slot stays taken.
    pub(super) fn lift(&mut self, id: RelayId) -> Slot<S::Guard> {
        std::mem::replace(&mut self.slots[id.slot as usize], Slot::Vacant { generation: id.generation })
    }

    /// Makes a slot vacant that was taken or lifted.
    pub(super) fn give_slot_back(&mut self, id: RelayId) {
        self.slots[id.slot as usize] = Slot::Vacant { generation: id.generation };
        self.vacant.push(Reverse(id.slot));
    }

    /// Ends a live allocation: its socket, port, quota, routes and deadlines go with it.
    pub(super) fn end(&mut self, slot: u32, reason: EndReason) {
        let Some(id) = self.live(slot).map(|allocation| allocation.id) else { return };
        let Slot::Live(allocation) = self.lift(id) else { return };
        self.give_slot_back(id);
        self.slots_by_client.remove(&allocation.client);
        self.deadlines.remove(allocation.scheduled, Due::Allocation(slot));
        self.shared.release_port(allocation.relay);
        self.out.close_relay(id);
        // Unclaimed, it would stand outside every quota.
        if let Some(token) = allocation.origin.reserved {
            self.deadlines.remove(allocation.reserve_until, Due::Reservation(token));
            if let Some(odd) = self.shared.expire_reservation(token) {
                self.out.close_reserved(odd);
            }
        }
        self.stats.ended += 1;
        self.change(|| Change::Ended { id: AllocationId(id), reason, relayed: allocation.relayed });
    }

    /// Puts the allocation's next deadline into the queue, unless an earlier look at it is there already.
    pub(super) fn schedule(&mut self, slot: u32) {
        let Some(allocation) = live_in(&mut self.slots, slot) else { return };
        let next = allocation.next_deadline();
        if next < allocation.scheduled {
            self.deadlines.remove(allocation.scheduled, Due::Allocation(slot));
            self.deadlines.insert(next, Due::Allocation(slot));
            allocation.scheduled = next;
        }
    }

    /// Drops what is past its deadline in an allocation that lives on.
    pub(super) fn purge(&mut self, now: Mono, slot: u32) {
        let Core { slots, changes, subscribed, .. } = self;
        let Some(allocation) = live_in(slots, slot) else { return };
        let id = AllocationId(allocation.id);
        allocation.purge(now, |gone| {
            if *subscribed {
                let route = match gone {
                    Gone::Permission(ip) => Route::Permission(ip),
                    Gone::Channel(number, peer) => Route::Channel { number, peer },
                };
                changes.push_back(Change::RouteGone { id, route });
            }
        });
    }

    pub(super) fn change(&mut self, change: impl FnOnce() -> Change) {
        if self.subscribed {
            self.changes.push_back(change());
        }
    }

    /// Whether the gate lets an answer to an unproven source out.
    pub(super) fn admits_unproven(&mut self, now: Now, from: &ClientPath, owner: bool) -> bool {
        owner
            || from.transport.is_stream()
            || self.gate.admits(now.mono, from.remote.ip(), self.limits.unauthenticated_rate)
    }
}

pub(super) fn live_in<G>(slots: &mut [Slot<G>], slot: u32) -> Option<&mut Allocation<G>> {
    match slots.get_mut(slot as usize)? {
        Slot::Live(allocation) => Some(allocation),
        Slot::Vacant { .. } | Slot::Opening(_) => None,
    }
}

pub(super) fn random_u64(rng: &mut impl Rng) -> u64 {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Judges the peer of a channel. Whether a relay of ours is live is looked up again with every packet, so it
/// is let through here.
pub(super) fn judge_channel(policy: &Policy, generation: u32, peer: PeerAddr) -> Judged {
    let ownership = policy.ownership(peer.ip());
    let allowed = policy.judge(peer, ownership == Ownership::Relay).is_ok();
    Judged { generation, allowed, ownership }
}

/// Judges the address of a permission.
pub(super) fn judge_permission(policy: &Policy, generation: u32, ip: std::net::IpAddr) -> Judged {
    Judged { generation, allowed: policy.judge_ip(ip).is_ok(), ownership: policy.ownership(ip) }
}
