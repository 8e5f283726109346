//! The integrity check of the long-term mechanism (RFC 8489 §9.2.4), and the proof that it was passed.

use crate::auth::{Grant, LongTermKey};
use crate::stun::{Attribute, AttributeType, Class, Message};
use crate::time::Now;
use crate::turn::action::Verdict;
use crate::turn::answer::{Reply, wire};
use crate::turn::core::{Core, Rng};
use crate::turn::drop_reason::{DropReason, Refusal};
use crate::turn::ids::ClientPath;
use crate::turn::nonce::LEN as NONCE_LEN;
use crate::turn::shared::Shared;

/// A request whose integrity and nonce hold. Only [`Core::authenticate`] makes one.
pub(super) struct Verified<'a> {
    message: Message<'a>,
    reply: Reply,
    key: LongTermKey,
    proof: Proof,
}

/// Whose key it was.
enum Proof {
    /// That of the allocation on the client's path.
    Owner,
    /// That of any credential.
    Credential(Grant),
}

impl<'a> Verified<'a> {
    pub(super) fn message(&self) -> &Message<'a> {
        &self.message
    }

    pub(super) fn reply(&self) -> Reply {
        self.reply
    }

    pub(super) fn key(&self) -> &LongTermKey {
        &self.key
    }

    /// Returns whether the request comes from the user of the allocation on its path.
    pub(super) fn is_owner(&self) -> bool {
        matches!(self.proof, Proof::Owner)
    }

    /// Returns the grant and key; the grant is absent where the owner's own key was used.
    pub(super) fn into_grant(self) -> (Option<Grant>, LongTermKey) {
        match self.proof {
            Proof::Owner => (None, self.key),
            Proof::Credential(grant) => (Some(grant), self.key),
        }
    }
}

/// Attributes behind which lie no features of this server.
const UNSUPPORTED: [AttributeType; 5] = [
    AttributeType::ACCESS_TOKEN,
    AttributeType::CHANGE_REQUEST,
    AttributeType::CONNECTION_ID,
    AttributeType::PADDING,
    AttributeType::RESPONSE_PORT,
];

/// UNKNOWN-ATTRIBUTES lists at most this many, so that the answer stays small.
const MAX_LISTED: usize = 32;

/// Size of an Allocate with REQUESTED-TRANSPORT alone, the least that a real client sends. It gets its challenge
/// whatever the length of the realm that an operator chose.
const PLAINEST_ALLOCATE: usize = 28;

/// Types that must be understood and are not, each once.
pub(super) struct Unknown {
    types: [u8; 2 * MAX_LISTED],
    len: usize,
}

impl Unknown {
    /// Looks for them in a message; none if all is understood.
    pub(super) fn of(message: &Message<'_>) -> Option<Unknown> {
        let mut unknown = Unknown { types: [0; 2 * MAX_LISTED], len: 0 };
        for attribute in message.attributes() {
            if understood(attribute.kind) {
                continue;
            }
            let value = attribute.kind.0.to_be_bytes();
            let listed = unknown.bytes().chunks_exact(2).any(|pair| pair == value);
            if !listed && unknown.len < unknown.types.len() {
                unknown.types[unknown.len..unknown.len + 2].copy_from_slice(&value);
                unknown.len += 2;
            }
        }
        (unknown.len > 0).then_some(unknown)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.types[..self.len]
    }
}

pub(super) fn understood(kind: AttributeType) -> bool {
    !kind.comprehension_required() || (AttributeType::KNOWN.contains(&kind) && !UNSUPPORTED.contains(&kind))
}

impl<S: Shared, R: Rng> Core<S, R> {
    /// Checks a request in the order of RFC 8489 §9.2.4 and answers it if it does not hold.
    #[expect(clippy::result_large_err, reason = "the caller returns the verdict at once")]
    pub(super) fn authenticate<'a, 'b>(
        &mut self,
        now: Now,
        from: ClientPath,
        message: Message<'a>,
    ) -> Result<Verified<'a>, Verdict<'b>> {
        let reply = Reply::to(&message, from);
        let slot = self.live_slot(now.mono, &from);
        let owner = slot.is_some();
        if !message.has_integrity() {
            return Err(self.challenge_unproven(now, reply, Refusal::Challenge, owner));
        }
        let text = |kind| match message.attribute(kind) {
            Ok(Some(Attribute::Username(value) | Attribute::Realm(value) | Attribute::Nonce(value))) => {
                Some(value)
            }
            _ => None,
        };
        let (Some(username), Some(realm), Some(nonce)) =
            (text(AttributeType::USERNAME), text(AttributeType::REALM), text(AttributeType::NONCE))
        else {
            return Err(self.refuse_unproven(now, reply, Refusal::BadRequest, owner));
        };
        if realm != self.settings.realm.as_bytes() {
            return Err(self.challenge_unproven(now, reply, Refusal::RealmMismatch, owner));
        }
        let fresh = self.nonces.accepts(now, from.remote, nonce);
        if !fresh && self.is_shut_out(now, &from, owner) {
            return Err(self.drop_packet(DropReason::UnauthenticatedBudget));
        }
        let Some((key, proof)) = self.prove(slot, username, &message) else {
            return Err(self.challenge_unproven(now, reply, Refusal::IntegrityMismatch, owner));
        };
        if !fresh {
            return Err(self.challenge_unproven(now, reply, Refusal::NonceStale, owner));
        }
        if let Some(unknown) = Unknown::of(&message) {
            self.stats.count_refusal(Refusal::UnknownAttribute);
            let (code, reason) = wire(Refusal::UnknownAttribute);
            self.out.answer(reply, Class::Error, Some(&key), |builder| {
                builder.error(code, reason).raw(AttributeType::UNKNOWN_ATTRIBUTES, unknown.bytes());
            });
            return Err(Verdict::Queued);
        }
        Ok(Verified { message, reply, key, proof })
    }

    /// Answers 401 or 438 with a nonce for the next try, and no integrity.
    pub(super) fn challenge<'b>(&mut self, now: Now, reply: Reply, refusal: Refusal) -> Verdict<'b> {
        self.stats.count_refusal(refusal);
        let (code, reason) = wire(refusal);
        let nonce = self.nonces.mint(now, reply.to.remote);
        let realm = self.settings.realm.as_bytes();
        let reason = if challenge_fits(reply, realm, reason) { reason } else { "" };
        self.out.answer(reply, Class::Error, None, |builder| {
            builder
                .error(code, reason)
                .attribute(&Attribute::Realm(realm))
                .attribute(&Attribute::Nonce(&nonce));
        });
        Verdict::Queued
    }

    /// Answers a Binding request with what it asks for (RFC 8489 §12).
    pub(super) fn binding<'b>(&mut self, now: Now, from: ClientPath, message: &Message<'_>) -> Verdict<'b> {
        let reply = Reply::to(message, from);
        let owner = self.live_slot(now.mono, &from).is_some();
        if !self.admits_unproven(now, &from, owner) {
            return self.drop_packet(DropReason::UnauthenticatedBudget);
        }
        if let Some(unknown) = Unknown::of(message) {
            self.stats.count_refusal(Refusal::UnknownAttribute);
            let (code, _) = wire(Refusal::UnknownAttribute);
            // Without its phrase the answer is about as large as the request.
            self.out.answer(reply, Class::Error, None, |builder| {
                builder.error(code, "").raw(AttributeType::UNKNOWN_ATTRIBUTES, unknown.bytes());
            });
            return Verdict::Queued;
        }
        self.stats.bindings += 1;
        self.out.answer(reply, Class::Success, None, |builder| {
            builder.xor_mapped(from.remote);
        });
        Verdict::Queued
    }

    fn prove(
        &self,
        slot: Option<u32>,
        username: &[u8],
        message: &Message<'_>,
    ) -> Option<(LongTermKey, Proof)> {
        let same_user = slot
            .and_then(|slot| self.live(slot))
            .filter(|allocation| allocation.grant.username.as_bytes() == username);
        if let Some(allocation) = same_user
            && message.verifies(allocation.key.as_bytes())
        {
            return Some((allocation.key.clone(), Proof::Owner));
        }
        let (grant, key) = self.credentials.find(username, |key| message.verifies(key.as_bytes()))?;
        // The same user with a new password.
        let proof = if same_user.is_some() { Proof::Owner } else { Proof::Credential(grant) };
        Some((key, proof))
    }

    fn challenge_unproven<'b>(
        &mut self,
        now: Now,
        reply: Reply,
        refusal: Refusal,
        owner: bool,
    ) -> Verdict<'b> {
        let fits = reply.request_size() - reply.fingerprint_size() >= PLAINEST_ALLOCATE
            || challenge_fits(reply, self.settings.realm.as_bytes(), "");
        if !fits || !self.admits_unproven(now, &reply.to, owner) {
            return self.drop_packet(DropReason::UnauthenticatedBudget);
        }
        self.challenge(now, reply, refusal)
    }

    fn refuse_unproven<'b>(&mut self, now: Now, reply: Reply, refusal: Refusal, owner: bool) -> Verdict<'b> {
        if !self.admits_unproven(now, &reply.to, owner) {
            return self.drop_packet(DropReason::UnauthenticatedBudget);
        }
        self.stats.count_refusal(refusal);
        self.out.error(reply, refusal, None);
        Verdict::Queued
    }
}

/// Whether a challenge with a reason phrase is at most three times the request, at IP level.
fn challenge_fits(reply: Reply, realm: &[u8], reason: &str) -> bool {
    const HEADERS: usize = 20 + 4 + 4 + 4 + 4;
    let below = if reply.to.remote.is_ipv4() { 28 } else { 48 };
    let texts = [realm.len(), NONCE_LEN, reason.len()].map(|len| len.next_multiple_of(4));
    let answer = HEADERS + texts.iter().sum::<usize>() + reply.fingerprint_size();
    reply.to.transport.is_stream() || answer + below <= 3 * (reply.request_size() + below)
}
