//! What an operator allows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::turn::ids::ShardId;

/// Allocations of one client address beyond which the credentials of open signaling make none.
pub(super) const OPEN_ALLOCATIONS: u32 = 64;
/// Bits a second of an allocation by such a credential, at most.
pub(super) const OPEN_BITRATE: u64 = 8_000_000;

/// Limits that may change while the server runs. Zero means unlimited where it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Lifetime of an allocation that asks for none, in seconds (RFC 8656 §7.2).
    pub default_lifetime: u32,
    /// Longest lifetime granted, in seconds.
    pub max_lifetime: u32,
    /// Permissions an allocation may hold; 0: unlimited.
    pub max_permissions: u32,
    /// Channels an allocation may hold; 0: unlimited.
    pub max_channels: u32,
    /// Answers a second to unauthenticated UDP requests per IPv4 address or IPv6 /64; 0: unlimited.
    pub unauthenticated_rate: u32,
    /// Application bits a second, both directions together, of one allocation; 0: unlimited.
    pub bitrate_per_allocation: u64,
    /// How long past its expiry a credential still refreshes a live allocation.
    pub expiry_grace: Duration,
    /// Longest lifetime that an expiring credential may still have.
    pub max_credential_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            default_lifetime: 600,
            max_lifetime: 3600,
            max_permissions: 256,
            max_channels: 256,
            unauthenticated_rate: 50,
            bitrate_per_allocation: 0,
            expiry_grace: Duration::from_secs(24 * 3600),
            max_credential_ttl: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a server is told once, at its start.
#[derive(Clone)]
pub struct Settings {
    /// This server's shard.
    pub shard: ShardId,
    /// TURN realm, 1 to 127 bytes.
    pub realm: String,
    /// Key of the nonces; the same on every shard, so that any of them accepts them.
    pub nonce_key: [u8; 32],
    /// Value of SOFTWARE in answers to authenticated requests (RFC 8489 §14.14).
    pub software: Option<String>,
}
