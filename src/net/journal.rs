//! Log lines about allocations, written from the core's feed of changes.

use crate::telemetry::{ClientAddr, PeerAddrLog, Subject};
use crate::turn::{Change, Route, ShardId};

/// Writes what changed (RFC 8656 §21.3 asks for a trail). Peers are named from the level debug on.
pub(crate) fn note(shard: ShardId, change: &Change) {
    match change {
        Change::Allocated { id, client, relay, subject } => tracing::info!(
            shard = shard.0,
            allocation = ?id.0,
            user = %Subject::from(subject.as_str()),
            client = %ClientAddr(client.remote),
            transport = ?client.transport,
            relay = %relay.advertised,
            "allocation made"
        ),
        Change::Ended { id, reason, relayed: (to_peers, to_client) } => tracing::info!(
            shard = shard.0,
            allocation = ?id.0,
            reason = reason.label(),
            to_peers,
            to_client,
            "allocation ended"
        ),
        Change::RouteBound { id, route: Route::Permission(ip), .. } => tracing::debug!(
            shard = shard.0,
            allocation = ?id.0,
            peer = %PeerAddrLog(std::net::SocketAddr::new(*ip, 0)),
            "permission installed"
        ),
        Change::RouteBound { id, route: Route::Channel { number, peer }, .. } => tracing::debug!(
            shard = shard.0,
            allocation = ?id.0,
            channel = number,
            peer = %PeerAddrLog(peer.0),
            "channel bound"
        ),
        Change::Extended { .. } | Change::RouteGone { .. } => {}
    }
}
