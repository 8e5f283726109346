//! Stand-in: a daemon that stops at once.

use crate::config::Config;

/// Why the daemon stopped.
#[derive(Debug, thiserror::Error)]
#[error("the daemon failed")]
pub struct RunError;

/// Runs the daemon.
pub fn run(_config: Config) -> Result<(), RunError> {
    Ok(())
}
