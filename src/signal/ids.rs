//! Names of connections, addresses, peers, sessions and rooms.

use std::fmt;
use std::net::IpAddr;

use crate::rng::Rng;

/// The shell's name of a connection: a WebSocket, a reader of a session's events, or a reader of a feed.
/// None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Whom limits count as one address: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKey {
    /// An IPv4 address.
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl AddressKey {
    /// Returns the key of an address; a mapped IPv4 address counts as IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> AddressKey {
        match ip.to_canonical() {
            IpAddr::V4(v4) => AddressKey::V4(v4.into()),
            IpAddr::V6(v6) => AddressKey::V6((u128::from(v6) >> 64) as u64),
        }
    }
}

/// Name of a session among its peers: 96 random bits in base 62.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 17]);

impl PeerId {
    pub(super) fn random(rng: &mut impl Rng) -> PeerId {
        PeerId(base62(random_bits(rng, 12)))
    }

    /// Reads what could be a peer's name.
    #[must_use]
    pub fn read(text: &str) -> Option<PeerId> {
        let digits: [u8; 17] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_alphanumeric).then_some(PeerId(digits))
    }

    /// Returns the name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        text_of(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session of this process. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u64);

/// A room from its first member to its last. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RoomKey(pub(super) u64);

/// Writes a number in base 62, with leading zeros.
pub(super) fn base62<const N: usize>(mut value: u128) -> [u8; N] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    digits
}

pub(super) fn text_of(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("base 62 is ASCII")
}

pub(super) fn random_bits(rng: &mut impl Rng, bytes: usize) -> u128 {
    let mut buffer = [0; 16];
    rng.fill(&mut buffer[..bytes]);
    u128::from_le_bytes(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninety_six_bits_fit_into_seventeen_digits() {
        let largest = PeerId(base62((1 << 96) - 1));
        assert_ne!(largest.as_str().as_bytes()[0], b'0');
        assert_eq!(PeerId::read(largest.as_str()), Some(largest));
        assert_eq!(PeerId::read("short"), None);
        assert_eq!(PeerId::read("0000000000000000\""), None);
    }

    #[test]
    fn addresses_count_by_ipv4_address_or_ipv6_64() {
        let key = |text: &str| AddressKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
