//! What others ask of the daemon itself, and who hears it: the loop that runs it.

use tokio::sync::oneshot;

use crate::http::Reloaded;

/// Wishes that wait; who has another one waits too.
pub(super) const QUEUE: usize = 16;

/// Something that the daemon is asked for. Nobody may wait for the answer any more.
pub(super) enum Wish {
    /// To read its configuration again.
    Reload(oneshot::Sender<Reloaded>),
    /// To say how it is, as a JSON object.
    Status(oneshot::Sender<String>),
}
