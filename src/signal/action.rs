//! What comes out of the hub.

use crate::auth::{IceTerms, SessionId};
use crate::signal::frame::Frame;
use crate::signal::ids::{AddressKey, ConnId};
use crate::signal::names::{CloseCode, SessionEnd};

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close a connection once what was sent on it has left. The hub has forgotten it already.
    Close {
        /// Connection to close.
        conn: ConnId,
        /// Code of the close frame.
        code: CloseCode,
    },
    /// Write a comment to an event stream, so that proxies see life.
    Comment {
        /// Connection to write to.
        conn: ConnId,
    },
    /// Write a message to a connection, and report [`Frame::cost`] by `Hub::handle_written` afterwards.
    Send {
        /// Connection to write to.
        conn: ConnId,
        /// Message to write.
        frame: Frame,
    },
    /// A session is gone, and with it what hangs on it.
    SessionEnded {
        /// Which one.
        session: SessionId,
        /// Why; after a kick its allocations end too.
        end: SessionEnd,
    },
    /// A session begins, or its terms change.
    SessionLive {
        /// Which one.
        session: SessionId,
        /// Its terms from now on.
        terms: SessionTerms,
    },
}

/// What hangs on a session besides signaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// The application's own identity.
    pub uid: Option<String>,
    /// Address that it was opened from.
    pub address: AddressKey,
    /// Terms of its ICE credentials.
    pub ice: IceTerms,
    /// Whether it has no token (open signaling).
    pub open: bool,
}
