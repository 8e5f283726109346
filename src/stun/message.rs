//! Borrowed parse of a STUN message.

use crate::stun::attribute::{Attribute, AttributeType, Malformed};
use crate::stun::integrity;
use crate::stun::names::{Class, HEADER, MAGIC_COOKIE, Method, TransactionId, split_type};

/// Why bytes are no STUN message. All of these are dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// An attribute runs past the end of the message.
    AttributeOverrun,
    /// The header's length field does not match, or is no multiple of four.
    BadLength,
    /// The magic cookie is not there.
    NoCookie,
    /// The first two bits are not zero, or there is no whole header.
    NotStun,
}

/// An attribute as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// Its type.
    pub kind: AttributeType,
    /// Its value without padding.
    pub value: &'a [u8],
}

/// A message whose header and attribute lengths add up.
///
/// Attributes behind an integrity attribute do not count, except for the integrity attributes and the
/// fingerprint themselves (RFC 8489 §14.5, §14.6), nor does anything behind FINGERPRINT.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the attributes that count end.
    end: usize,
    integrity: Option<usize>,
    integrity_sha256: Option<usize>,
    fingerprint: Option<usize>,
}

impl<'a> Message<'a> {
    /// Parses one whole datagram or framed message (RFC 8489 §5, §6.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        if bytes.len() < HEADER || bytes[0] & 0xc0 != 0 {
            return Err(ParseError::NotStun);
        }
        if be32(bytes, 4) != MAGIC_COOKIE {
            return Err(ParseError::NoCookie);
        }
        let length = usize::from(be16(bytes, 2));
        if !length.is_multiple_of(4) || length + HEADER != bytes.len() {
            return Err(ParseError::BadLength);
        }
        let mut message =
            Message { bytes, end: 0, integrity: None, integrity_sha256: None, fingerprint: None };
        let mut end = None;
        let mut at = HEADER;
        while at < bytes.len() {
            let Some(value_end) = value_end(bytes, at) else { return Err(ParseError::AttributeOverrun) };
            let kind = AttributeType(be16(bytes, at));
            if message.fingerprint.is_none() {
                let slot = match kind {
                    AttributeType::MESSAGE_INTEGRITY if message.integrity_sha256.is_none() => {
                        Some(&mut message.integrity)
                    }
                    AttributeType::MESSAGE_INTEGRITY_SHA256 => Some(&mut message.integrity_sha256),
                    AttributeType::FINGERPRINT => Some(&mut message.fingerprint),
                    _ => None,
                };
                if let Some(slot) = slot {
                    slot.get_or_insert(at);
                    end.get_or_insert(at);
                }
            }
            at = value_end.next_multiple_of(4);
        }
        message.end = end.unwrap_or(bytes.len());
        Ok(message)
    }

    /// Returns the class.
    #[must_use]
    pub fn class(&self) -> Class {
        split_type(be16(self.bytes, 0)).0
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> Method {
        split_type(be16(self.bytes, 0)).1
    }

    /// Returns the transaction id.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        TransactionId(id)
    }

    /// Returns the length of the whole message in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the attributes that count, without integrity and fingerprint.
    pub fn attributes(&self) -> impl Iterator<Item = RawAttribute<'a>> + use<'a> {
        let (bytes, end) = (self.bytes, self.end);
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let value_end = value_end(bytes, at).filter(|_| at < end)?;
            let found =
                RawAttribute { kind: AttributeType(be16(bytes, at)), value: &bytes[at + 4..value_end] };
            at = value_end.next_multiple_of(4);
            Some(found)
        })
    }

    /// Returns the value of the first attribute of a type.
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Decodes the first attribute of a type, if there is one.
    pub fn attribute(&self, kind: AttributeType) -> Result<Option<Attribute<'a>>, Malformed> {
        self.value(kind).map(|value| Attribute::decode(kind, value, self.transaction())).transpose()
    }

    /// Returns whether there is an integrity attribute of either kind.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some() || self.integrity_sha256.is_some()
    }

    /// Returns the value of the integrity attribute that decides: MESSAGE-INTEGRITY-SHA256 if there is one.
    #[must_use]
    pub fn integrity_tag(&self) -> Option<&'a [u8]> {
        let at = self.integrity_sha256.or(self.integrity)?;
        Some(&self.bytes[at + 4..value_end(self.bytes, at)?])
    }

    /// Checks the integrity attribute that decides, in constant time. False if there is none.
    ///
    /// A truncated MESSAGE-INTEGRITY-SHA256 is never accepted, as TURN asks for none (RFC 8489 §14.6).
    #[must_use]
    pub fn verifies(&self, key: &[u8]) -> bool {
        let Some(tag) = self.integrity_tag() else { return false };
        if let Some(at) = self.integrity_sha256 {
            tag.len() == integrity::SHA256_LEN
                && integrity::equal(&integrity::sha256(self.bytes, at, key), tag)
        } else if let Some(at) = self.integrity {
            tag.len() == integrity::SHA1_LEN && integrity::equal(&integrity::sha1(self.bytes, at, key), tag)
        } else {
            false
        }
    }

    /// Returns whether FINGERPRINT is present at all.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Returns false if FINGERPRINT is present and wrong (RFC 8489 §14.7).
    #[must_use]
    pub fn fingerprint_holds(&self) -> bool {
        let Some(at) = self.fingerprint else { return true };
        value_end(self.bytes, at) == Some(at + 8)
            && be32(self.bytes, at + 4) == integrity::fingerprint(self.bytes, at)
    }
}

fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let header = bytes.get(at..at + 4)?;
    let end = at + 4 + usize::from(be16(header, 2));
    (end.next_multiple_of(4) <= bytes.len()).then_some(end)
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
