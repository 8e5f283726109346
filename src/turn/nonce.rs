//! Stateless nonces: a time and a keyed hash over it and the source (RFC 8489 §9.2, RFC 8656 §5).

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::time::{Mono, Now};

/// Nonce cookie and the 24 feature bits: none set (RFC 8489 §9.2, §18.1).
const PREFIX: &[u8; 13] = b"obMatJos2AAAA";
const MAC_LEN: usize = 16;
const RAW_LEN: usize = 4 + MAC_LEN;
/// Length of a nonce in bytes.
pub(super) const LEN: usize = PREFIX.len() + (RAW_LEN * 8).div_ceil(6);
/// Nonces live for an hour, counted in seconds (RFC 8656 §5).
const LIFETIME: u32 = 3600;

/// Mints and checks nonces. It remembers none.
pub(super) struct Nonces {
    mac: Hmac<Sha256>,
}

impl Nonces {
    pub(super) fn new(key: &[u8; 32]) -> Nonces {
        Nonces { mac: Hmac::new_from_slice(key).expect("HMAC takes a key of any length") }
    }

    /// Makes the nonce of a source at a moment.
    pub(super) fn mint(&self, now: Now, source: SocketAddr) -> [u8; LEN] {
        let seconds = seconds(now.mono);
        let mut raw = [0; RAW_LEN];
        raw[..4].copy_from_slice(&seconds.to_be_bytes());
        raw[4..].copy_from_slice(&self.tag(seconds, source));
        let mut nonce = [0; LEN];
        nonce[..PREFIX.len()].copy_from_slice(PREFIX);
        URL_SAFE_NO_PAD
            .encode_slice(raw, &mut nonce[PREFIX.len()..])
            .expect("LEN is the length of the prefix and the encoded bytes");
        nonce
    }

    /// Returns whether a nonce was minted for this source within the last hour.
    pub(super) fn accepts(&self, now: Now, source: SocketAddr, nonce: &[u8]) -> bool {
        let Some(encoded) = nonce.strip_prefix(PREFIX) else { return false };
        let mut raw = [0; RAW_LEN + 2];
        let Ok(RAW_LEN) = URL_SAFE_NO_PAD.decode_slice(encoded, &mut raw) else { return false };
        let minted = u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]);
        let genuine: bool = self.tag(minted, source).ct_eq(&raw[4..RAW_LEN]).into();
        genuine && seconds(now.mono).wrapping_sub(minted) < LIFETIME
    }

    fn tag(&self, minted: u32, source: SocketAddr) -> [u8; MAC_LEN] {
        let mut mac = self.mac.clone();
        mac.update(&minted.to_be_bytes());
        match source.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&source.port().to_be_bytes());
        let mut tag = [0; MAC_LEN];
        tag.copy_from_slice(&mac.finalize().into_bytes()[..MAC_LEN]);
        tag
    }
}

/// Seconds of the clock, modulo 2^32.
fn seconds(mono: Mono) -> u32 {
    (mono.secs() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Now = Now { mono: Mono(5_000_000_000_000), unix: 1_800_000_000 };

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nonce_is_accepted_from_its_source_for_an_hour() {
        // T-8656-5-01, T-8489-9.2-01
        let nonces = Nonces::new(&[7; 32]);
        let client = source("192.0.2.1:4000");
        let nonce = nonces.mint(NOW, client);
        assert!(nonce.starts_with(b"obMatJos2AAAA"));
        assert!(nonces.accepts(NOW, client, &nonce));
        assert!(nonces.accepts(NOW.advanced(Duration::from_secs(3599)), client, &nonce));
        assert!(!nonces.accepts(NOW.advanced(Duration::from_secs(3601)), client, &nonce));
    }

    #[test]
    fn nonce_of_another_source_key_or_time_is_refused() {
        // T-8489-9.2.4-02, T-8489-9.2.4-10, T-8489-9.2.4-11
        let nonces = Nonces::new(&[7; 32]);
        let nonce = nonces.mint(NOW, source("192.0.2.1:4000"));
        for other in ["192.0.2.1:4001", "192.0.2.2:4000", "[2001:db8::1]:4000"] {
            assert!(!nonces.accepts(NOW, source(other), &nonce));
            assert_ne!(nonces.mint(NOW, source(other)), nonce);
        }
        assert!(!Nonces::new(&[8; 32]).accepts(NOW, source("192.0.2.1:4000"), &nonce));
        let future = nonces.mint(NOW.advanced(Duration::from_secs(10)), source("192.0.2.1:4000"));
        assert!(!nonces.accepts(NOW, source("192.0.2.1:4000"), &future));
        for at in 0..nonce.len() {
            let mut altered = nonce;
            altered[at] ^= 1;
            assert!(!nonces.accepts(NOW, source("192.0.2.1:4000"), &altered), "{at}");
            assert!(!nonces.accepts(NOW, source("192.0.2.1:4000"), &nonce[..at]));
        }
    }
}
