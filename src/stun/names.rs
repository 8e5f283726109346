//! Message types and transaction ids (RFC 8489 §5).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fixed value in every STUN header (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Length of the STUN header (RFC 8489 §5).
pub(super) const HEADER: usize = 20;

/// What a message is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for nothing.
    Indication,
    /// Says that a request was carried out.
    Success,
    /// Says why it was not.
    Error,
}

/// A method: 12 bits (RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(u16);

impl Method {
    /// Learns the reflexive transport address.
    pub const BINDING: Method = Method(0x001);
    /// Makes an allocation.
    pub const ALLOCATE: Method = Method(0x003);
    /// Extends or ends an allocation.
    pub const REFRESH: Method = Method(0x004);
    /// Carries data to a peer.
    pub const SEND: Method = Method(0x006);
    /// Carries data from a peer.
    pub const DATA: Method = Method(0x007);
    /// Installs permissions.
    pub const CREATE_PERMISSION: Method = Method(0x008);
    /// Binds a channel.
    pub const CHANNEL_BIND: Method = Method(0x009);
    /// Opens a TCP connection to a peer.
    pub const CONNECT: Method = Method(0x00a);
    /// Joins a data connection to it.
    pub const CONNECTION_BIND: Method = Method(0x00b);
    /// Tells of a peer's TCP connection.
    pub const CONNECTION_ATTEMPT: Method = Method(0x00c);

    /// Returns the method of a number below 0x1000.
    #[must_use]
    pub const fn new(number: u16) -> Option<Method> {
        if number < 0x1000 { Some(Method(number)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Packs class and method into the type field: the class bits stand between the method's.
#[must_use]
pub(super) const fn message_type(class: Class, method: Method) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    let m = method.0;
    class | (m & 0x00f) | ((m & 0x070) << 1) | ((m & 0xf80) << 2)
}

/// Splits a type field whose two highest bits are zero.
#[must_use]
pub(super) const fn split_type(value: u16) -> (Class, Method) {
    let class = match value & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    (class, Method((value & 0x00f) | ((value & 0x0e0) >> 1) | ((value & 0x3e00) >> 2)))
}

/// The 96 bits that tie a response to its request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_type_survives_the_round_trip() {
        // T-8489-5-07
        for value in 0..0x4000 {
            let (class, method) = split_type(value);
            assert_eq!(message_type(class, method), value);
        }
        assert_eq!(message_type(Class::Error, Method::CREATE_PERMISSION), 0x0118);
        assert_eq!(split_type(0x3fff), (Class::Error, Method(0xfff)));
    }
}
