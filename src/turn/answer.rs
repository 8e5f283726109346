//! Answers and actions on their way out.

use std::collections::VecDeque;

use crate::auth::LongTermKey;
use crate::stun::{Attribute, Builder, Class, ErrorCode, Message, Method, TransactionId};
use crate::turn::action::{Action, RelaySource};
use crate::turn::drop_reason::Refusal;
use crate::turn::ids::{ClientPath, RelayAddr, RelayId};

/// Every answer fits into the smallest datagram that IPv4 carries for certain (RFC 8489 §6.1).
const MAX_ANSWER: usize = 548;

/// Where an answer goes and what it has to repeat.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub(super) to: ClientPath,
    pub(super) transaction: TransactionId,
    method: Method,
    fingerprint: bool,
    request_size: usize,
}

impl Reply {
    pub(super) fn to(message: &Message<'_>, from: ClientPath) -> Reply {
        Reply {
            to: from,
            transaction: message.transaction(),
            method: message.method(),
            fingerprint: message.has_fingerprint(),
            request_size: message.size(),
        }
    }

    /// Returns the size of the request in bytes of STUN.
    pub(super) fn request_size(&self) -> usize {
        self.request_size
    }

    /// Returns the size of the answer's FINGERPRINT in bytes.
    pub(super) fn fingerprint_size(&self) -> usize {
        if self.fingerprint { 8 } else { 0 }
    }
}

/// Actions in order, and the bytes of the answers among them in one buffer that is used again.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    bytes: Vec<u8>,
}

enum Queued {
    Answer { to: ClientPath, start: usize, end: usize },
    OpenRelay { relay: RelayId, addr: RelayAddr, source: RelaySource },
    CloseRelay { relay: RelayId },
    CloseReserved { addr: RelayAddr },
}

impl Outbox {
    /// Appends an answer that `body` fills; integrity and fingerprint come last.
    pub(super) fn answer(
        &mut self,
        reply: Reply,
        class: Class,
        key: Option<&LongTermKey>,
        body: impl FnOnce(&mut Builder<'_>),
    ) {
        if self.queue.is_empty() {
            self.bytes.clear();
        }
        let start = self.bytes.len();
        self.bytes.resize(start + MAX_ANSWER, 0);
        let mut builder = Builder::new(&mut self.bytes[start..], class, reply.method, reply.transaction);
        body(&mut builder);
        if let Some(key) = key {
            builder.integrity(key.as_bytes());
        }
        if reply.fingerprint {
            builder.fingerprint();
        }
        let size = builder.finish().expect("every answer is bounded below MAX_ANSWER");
        self.bytes.truncate(start + size);
        self.queue.push_back(Queued::Answer { to: reply.to, start, end: start + size });
    }

    /// Appends an error answer with nothing but its code.
    pub(super) fn error(&mut self, reply: Reply, refusal: Refusal, key: Option<&LongTermKey>) {
        let (code, reason) = wire(refusal);
        self.answer(reply, Class::Error, key, |builder| {
            builder.error(code, reason);
        });
    }

    pub(super) fn open_relay(&mut self, relay: RelayId, addr: RelayAddr, source: RelaySource) {
        self.queue.push_back(Queued::OpenRelay { relay, addr, source });
    }

    pub(super) fn close_relay(&mut self, relay: RelayId) {
        self.queue.push_back(Queued::CloseRelay { relay });
    }

    pub(super) fn close_reserved(&mut self, addr: RelayAddr) {
        self.queue.push_back(Queued::CloseReserved { addr });
    }

    pub(super) fn poll(&mut self) -> Option<Action<'_>> {
        Some(match self.queue.pop_front()? {
            Queued::Answer { to, start, end } => Action::Answer { to, bytes: &self.bytes[start..end] },
            Queued::OpenRelay { relay, addr, source } => Action::OpenRelay { relay, addr, source },
            Queued::CloseRelay { relay } => Action::CloseRelay { relay },
            Queued::CloseReserved { addr } => Action::CloseReserved { addr },
        })
    }
}

/// Returns error code and reason phrase of a refusal (RFC 8489 §14.8, RFC 8656 §19).
pub(super) fn wire(refusal: Refusal) -> (ErrorCode, &'static str) {
    match refusal {
        Refusal::BadRequest | Refusal::ChannelConflict => (ErrorCode::BAD_REQUEST, "Bad Request"),
        Refusal::Challenge
        | Refusal::CredentialExpired
        | Refusal::CredentialTooLong
        | Refusal::IntegrityMismatch
        | Refusal::LeaseEnded
        | Refusal::RealmMismatch
        | Refusal::SessionKicked => (ErrorCode::UNAUTHENTICATED, "Unauthenticated"),
        Refusal::ClientForbidden | Refusal::OwnEndpoint | Refusal::PeerForbidden => {
            (ErrorCode::FORBIDDEN, "Forbidden")
        }
        Refusal::UnknownAttribute => (ErrorCode::UNKNOWN_ATTRIBUTE, "Unknown Attribute"),
        Refusal::AllocationExists | Refusal::AllocationMissing => {
            (ErrorCode::ALLOCATION_MISMATCH, "Allocation Mismatch")
        }
        Refusal::NonceStale => (ErrorCode::STALE_NONCE, "Stale Nonce"),
        Refusal::FamilyUnsupported => (ErrorCode::FAMILY_NOT_SUPPORTED, "Address Family not Supported"),
        Refusal::WrongUser => (ErrorCode::WRONG_CREDENTIALS, "Wrong Credentials"),
        Refusal::TransportUnsupported => (ErrorCode::UNSUPPORTED_TRANSPORT, "Unsupported Transport Protocol"),
        Refusal::PeerFamilyMismatch => (ErrorCode::PEER_FAMILY_MISMATCH, "Peer Address Family Mismatch"),
        Refusal::AddressQuota | Refusal::UserQuota => {
            (ErrorCode::ALLOCATION_QUOTA, "Allocation Quota Reached")
        }
        Refusal::ChannelsFull
        | Refusal::Draining
        | Refusal::PermissionsFull
        | Refusal::PortsExhausted
        | Refusal::ReservationUnknown
        | Refusal::TotalQuota => (ErrorCode::INSUFFICIENT_CAPACITY, "Insufficient Capacity"),
    }
}

/// Appends the attribute that says why there is no second relayed address (RFC 8656 §18.12).
pub(super) fn no_second_family(builder: &mut Builder<'_>) {
    let (code, reason) = wire(Refusal::FamilyUnsupported);
    builder.attribute(&Attribute::AddressErrorCode { family: 0x02, code, reason: reason.as_bytes() });
}
