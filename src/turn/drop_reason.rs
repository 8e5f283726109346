//! Names of every way in which a packet goes nowhere or a request is refused.

use crate::words::words;

words! {
    /// Why a packet was dropped without an answer.
    DropReason {
        /// ChannelData shorter than its length field says (RFC 8656 §12.4).
        ChannelDataTruncated = "channel_data_truncated",
        /// No channel with that number is bound on the client's allocation (RFC 8656 §12.6).
        ChannelUnbound = "channel_unbound",
        /// The peer's family is not the relay's (RFC 8656 §11.2).
        FamilyMismatch = "family_mismatch",
        /// FINGERPRINT is present and wrong (RFC 8489 §14.7).
        FingerprintMismatch = "fingerprint_mismatch",
        /// An indication that a server takes, without what it must carry.
        IndicationIncomplete = "indication_incomplete",
        /// Neither STUN nor ChannelData, by its first byte (RFC 7983 §7).
        NotStun = "not_stun",
        /// The allocation is at its bit rate.
        OverAllocationBitrate = "over_allocation_bitrate",
        /// User or server are at their bit rate.
        OverUserBitrate = "over_user_bitrate",
        /// The peer is one of this server's own listeners.
        OwnEndpoint = "own_endpoint",
        /// The payload does not fit into a message to the client.
        PayloadTooLarge = "payload_too_large",
        /// The policy refuses the peer.
        PeerForbidden = "peer_forbidden",
        /// No live permission for the peer (RFC 8656 §9).
        PermissionMissing = "permission_missing",
        /// The request waits for its relay socket; this is a retransmission of it.
        RequestPending = "request_pending",
        /// A STUN header or attribute that does not add up (RFC 8489 §6.3).
        StunMalformed = "stun_malformed",
        /// A kind of STUN message that a server does not take from a client.
        StunUnexpected = "stun_unexpected",
        /// An answer would be over the budget of the unauthenticated source, or larger than it may be.
        UnauthenticatedBudget = "unauthenticated_budget",
        /// An indication with an attribute that must be understood and is not (RFC 8489 §6.3.2).
        UnknownAttribute = "unknown_attribute",
        /// The client has no allocation.
        UnknownClient = "unknown_client",
        /// The relay socket belongs to no allocation any more.
        UnknownRelay = "unknown_relay",
    }
}

words! {
    /// Why a request was answered with an error.
    Refusal {
        /// The address holds as many allocations as it may (486).
        AddressQuota = "address_quota",
        /// The 5-tuple has an allocation already (437).
        AllocationExists = "allocation_exists",
        /// The request needs an allocation and there is none (437).
        AllocationMissing = "allocation_missing",
        /// An attribute is missing, malformed or contradicts another (400).
        BadRequest = "bad_request",
        /// No integrity attribute: the challenge (401).
        Challenge = "challenge",
        /// The channel is bound to another peer, or the peer to another channel (400).
        ChannelConflict = "channel_conflict",
        /// The allocation holds as many channels as it may (508).
        ChannelsFull = "channels_full",
        /// The client's own address is one that no allocation is made for (403).
        ClientForbidden = "client_forbidden",
        /// The credential's expiry is past (401).
        CredentialExpired = "credential_expired",
        /// The credential's expiry is too far ahead (401).
        CredentialTooLong = "credential_too_long",
        /// The server makes no new allocations (508).
        Draining = "draining",
        /// No relay address of that family here (440).
        FamilyUnsupported = "family_unsupported",
        /// Integrity does not verify: unknown user or wrong password (401).
        IntegrityMismatch = "integrity_mismatch",
        /// A live allocation's credential no longer refreshes it (401).
        LeaseEnded = "lease_ended",
        /// The nonce is stale, foreign or garbage (438).
        NonceStale = "nonce_stale",
        /// The peer is one of this server's own listeners (403).
        OwnEndpoint = "own_endpoint",
        /// The peer's family is not the relay's (443).
        PeerFamilyMismatch = "peer_family_mismatch",
        /// The policy refuses the peer (403).
        PeerForbidden = "peer_forbidden",
        /// The allocation holds as many permissions as it may (508).
        PermissionsFull = "permissions_full",
        /// No port, descriptor or allocation left (508).
        PortsExhausted = "ports_exhausted",
        /// REALM is not this server's (401).
        RealmMismatch = "realm_mismatch",
        /// The token reserves nothing (508).
        ReservationUnknown = "reservation_unknown",
        /// The signaling session was kicked (401).
        SessionKicked = "session_kicked",
        /// The server holds as many allocations as it may (508).
        TotalQuota = "total_quota",
        /// Only UDP is relayed (442).
        TransportUnsupported = "transport_unsupported",
        /// An attribute that must be understood and is not (420).
        UnknownAttribute = "unknown_attribute",
        /// The user holds as many allocations as they may (486).
        UserQuota = "user_quota",
        /// The allocation belongs to another user (441).
        WrongUser = "wrong_user",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_in_order() {
        let drops: Vec<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        let refusals: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
        for labels in [drops, refusals] {
            assert!(labels.is_sorted_by(|a, b| a < b), "{labels:?}");
        }
    }
}
