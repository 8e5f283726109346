//! What the daemon says of a reload.

use std::pin::Pin;

/// What the daemon says, or nothing where it stops.
pub type Answer<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// What became of a reload: what differs by the names of its flags, or every mistake, and then nothing was changed.
pub type Reloaded = Result<Changes, Vec<String>>;

/// What a reload found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is in force now.
    pub changed: Vec<&'static str>,
    /// What waits for a restart.
    pub restart: Vec<&'static str>,
}
