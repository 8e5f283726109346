//! Integrity and fingerprint over a message up to an attribute (RFC 8489 §14.5 to §14.7).

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::stun::names::HEADER;

pub(super) const SHA1_LEN: usize = 20;
pub(super) const SHA256_LEN: usize = 32;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Computes MESSAGE-INTEGRITY for the attribute at `at`, whatever follows it.
pub(super) fn sha1(bytes: &[u8], at: usize, key: &[u8]) -> [u8; SHA1_LEN] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts(bytes, at, SHA1_LEN).iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Computes MESSAGE-INTEGRITY-SHA256 for the attribute at `at`, whatever follows it.
pub(super) fn sha256(bytes: &[u8], at: usize, key: &[u8]) -> [u8; SHA256_LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts(bytes, at, SHA256_LEN).iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Computes FINGERPRINT for the attribute at `at`.
pub(super) fn fingerprint(bytes: &[u8], at: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    parts(bytes, at, 4).iter().for_each(|part| crc.update(part));
    crc.finalize() ^ FINGERPRINT_XOR
}

pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The bytes covered: the header with its length set to end behind the attribute, and all up to it.
fn parts(bytes: &[u8], at: usize, value_len: usize) -> [Part<'_>; 3] {
    let length = (at + 4 + value_len - HEADER) as u16;
    [Part::Borrowed(&bytes[..2]), Part::Length(length.to_be_bytes()), Part::Borrowed(&bytes[4..at])]
}

enum Part<'a> {
    Borrowed(&'a [u8]),
    Length([u8; 2]),
}

impl std::ops::Deref for Part<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Part::Borrowed(bytes) => bytes,
            Part::Length(bytes) => bytes,
        }
    }
}
