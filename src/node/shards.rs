//! Commands to all shards.

use crate::net::{Command, ShardHandle};

/// Gives every shard a command, again where it was too busy to answer in time: commands bear repeating.
pub(super) async fn tell_all(shards: &[ShardHandle], command: impl Fn() -> Command) {
    const TRIES: usize = 50;
    for shard in shards {
        let mut tries = 0;
        while shard.command(command()).await.is_err() {
            tries += 1;
            if tries == TRIES {
                tracing::error!(shard = shard.id().0, "a media thread does not answer");
                break;
            }
        }
    }
}
