//! One client as the server knows it, whatever connection carries it at the moment.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::auth::{IceTerms, JoinToken, Permissions, SessionId};
use crate::bucket::Bucket;
use crate::signal::ids::{AddressKey, ConnId, PeerId, RoomKey, SessionKey, text_of};
use crate::signal::limits::{Limits, Rate};
use crate::signal::names::Carrier;
use crate::signal::ring::{Note, Ring};
use crate::signal::secret::{Handle, Secrets};
use crate::time::{Mono, Now};

pub(super) struct Session {
    pub(super) handle: Handle,
    pub(super) peer: PeerId,
    pub(super) uid: Option<Arc<str>>,
    /// `uid` as JSON.
    pub(super) quoted_uid: Arc<str>,
    pub(super) address: AddressKey,
    pub(super) secrets: Secrets,
    pub(super) link: Link,
    pub(super) carrier: Carrier,
    /// Counts connections from 1.
    pub(super) conns: u64,
    /// Last request that was applied.
    pub(super) last_id: u64,
    pub(super) ring: Ring,
    /// Highest frame that was ever handed to a connection.
    pub(super) sent: u64,
    /// Highest frame that the client acknowledged.
    pub(super) acked: u64,
    /// Signals that were sent and then dropped from the ring, unacknowledged.
    pub(super) lost: VecDeque<(u64, Note)>,
    pub(super) rooms: BTreeSet<RoomKey>,
    pub(super) token: Option<Arc<JoinToken>>,
    /// Whether the expiry of the token was announced.
    pub(super) announced: bool,
    pub(super) ice: Arc<str>,
    /// Unix second at which `ice` is renewed.
    pub(super) ice_refresh_at: u64,
    pub(super) messages: Bucket,
    pub(super) refused: Bucket,
    pub(super) bytes: Bucket,
    /// When bytes are paid for that the bucket did not hold.
    pub(super) owes_until: Mono,
    /// Offers to peers that those have not answered.
    pub(super) offers: BTreeSet<(RoomKey, SessionKey, Box<str>)>,
}

/// Whether a client is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nobody is, since then.
    Absent { since: Mono },
    /// It is, and frames up to `cursor` were handed to its connection.
    Live { conn: ConnId, cursor: u64 },
}

impl Session {
    pub(super) fn new(
        now: Now,
        limits: &Limits,
        (handle, peer, secrets): (Handle, PeerId, Secrets),
        token: Option<Arc<JoinToken>>,
        address: AddressKey,
        carrier: Carrier,
    ) -> Session {
        let uid: Option<Arc<str>> = token.as_ref().and_then(|token| token.sub.as_deref()).map(Arc::from);
        let mut quoted_uid = String::from("null");
        if let Some(uid) = &uid {
            quoted_uid.clear();
            crate::json::push_string(&mut quoted_uid, uid);
        }
        Session {
            handle,
            peer,
            uid,
            quoted_uid: quoted_uid.into(),
            address,
            secrets,
            link: Link::Absent { since: now.mono },
            carrier,
            conns: 0,
            last_id: 0,
            ring: Ring::default(),
            sent: 0,
            acked: 0,
            lost: VecDeque::new(),
            rooms: BTreeSet::new(),
            token,
            announced: false,
            ice: "null".into(),
            ice_refresh_at: 0,
            messages: Bucket::full(now.mono, limits.messages.burst),
            refused: Bucket::full(now.mono, limits.messages.burst),
            bytes: Bucket::full(now.mono, limits.bytes.burst),
            owes_until: now.mono,
            offers: BTreeSet::new(),
        }
    }

    pub(super) fn id(&self) -> SessionId {
        SessionId(format!("s{}", text_of(&self.handle)))
    }

    pub(super) fn conn(&self) -> Option<ConnId> {
        match self.link {
            Link::Live { conn, .. } => Some(conn),
            Link::Absent { .. } => None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.conn().is_some()
    }

    /// Returns what the session may do where no other token says.
    pub(super) fn permissions(&self) -> Permissions {
        self.token.as_ref().map_or(Permissions::OPEN, |token| token.perm)
    }

    pub(super) fn ice_terms(&self) -> IceTerms {
        self.token.as_ref().map_or(IceTerms::default(), |token| token.ice)
    }

    /// Returns whether the session's token is past its expiry.
    pub(super) fn has_lapsed(&self, unix: u64) -> bool {
        self.token.as_ref().is_some_and(|token| unix >= token.exp)
    }
}

/// Takes tokens of a rate of which 0 means unlimited.
pub(super) fn draw(bucket: &mut Bucket, now: Mono, rate: Rate, tokens: u64) -> bool {
    rate.per_second == 0 || bucket.take(now, rate.per_second, rate.burst, tokens)
}
