//! Building a STUN message in the caller's buffer.

use std::net::SocketAddr;

use crate::stun::attribute::{Attribute, AttributeType, ErrorCode};
use crate::stun::integrity;
use crate::stun::names::{Class, HEADER, MAGIC_COOKIE, Method, TransactionId, message_type};

/// The buffer is too small for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferFull;

/// A message under construction. What does not fit is left out and reported by [`Builder::finish`].
#[derive(Debug)]
pub struct Builder<'b> {
    buffer: &'b mut [u8],
    len: usize,
    full: bool,
    transaction: TransactionId,
}

impl<'b> Builder<'b> {
    /// Starts a message.
    pub fn new(
        buffer: &'b mut [u8],
        class: Class,
        method: Method,
        transaction: TransactionId,
    ) -> Builder<'b> {
        let mut builder = Builder { buffer, len: 0, full: false, transaction };
        builder.push(&message_type(class, method).to_be_bytes());
        builder.push(&[0; 2]);
        builder.push(&MAGIC_COOKIE.to_be_bytes());
        builder.push(&transaction.0);
        builder
    }

    /// Appends an attribute with a value as it is.
    pub fn raw(&mut self, kind: AttributeType, value: &[u8]) -> &mut Builder<'b> {
        let Ok(length) = u16::try_from(value.len()) else {
            self.full = true;
            return self;
        };
        self.push(&kind.0.to_be_bytes());
        self.push(&length.to_be_bytes());
        self.push(value);
        self.push(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
        self
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, attribute: &Attribute<'_>) -> &mut Builder<'b> {
        let transaction = self.transaction;
        attribute.encode(transaction, |kind, value| {
            self.raw(kind, value);
        });
        self
    }

    /// Appends XOR-MAPPED-ADDRESS.
    pub fn xor_mapped(&mut self, addr: SocketAddr) -> &mut Builder<'b> {
        self.attribute(&Attribute::XorMappedAddress(addr))
    }

    /// Appends ERROR-CODE.
    pub fn error(&mut self, code: ErrorCode, reason: &str) -> &mut Builder<'b> {
        self.attribute(&Attribute::ErrorCode { code, reason: reason.as_bytes() })
    }

    /// Appends MESSAGE-INTEGRITY over all that is there.
    pub fn integrity(&mut self, key: &[u8]) -> &mut Builder<'b> {
        self.seal(AttributeType::MESSAGE_INTEGRITY, |bytes, at| integrity::sha1(bytes, at, key))
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 over all that is there.
    pub fn integrity_sha256(&mut self, key: &[u8]) -> &mut Builder<'b> {
        self.seal(AttributeType::MESSAGE_INTEGRITY_SHA256, |bytes, at| integrity::sha256(bytes, at, key))
    }

    /// Appends FINGERPRINT, which has to be the last attribute.
    pub fn fingerprint(&mut self) -> &mut Builder<'b> {
        self.seal(AttributeType::FINGERPRINT, |bytes, at| integrity::fingerprint(bytes, at).to_be_bytes())
    }

    /// Returns the bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.len
    }

    /// Sets the header's length and returns the size of the message.
    pub fn finish(&mut self) -> Result<usize, BufferFull> {
        let length = u16::try_from(self.len - HEADER.min(self.len)).map_err(|_| BufferFull)?;
        if self.full {
            return Err(BufferFull);
        }
        self.buffer[2..4].copy_from_slice(&length.to_be_bytes());
        Ok(self.len)
    }

    fn seal<const N: usize>(
        &mut self,
        kind: AttributeType,
        tag: impl FnOnce(&[u8], usize) -> [u8; N],
    ) -> &mut Builder<'b> {
        if !self.full {
            let tag = tag(&self.buffer[..self.len], self.len);
            self.raw(kind, &tag);
        }
        self
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if !self.full => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.full = true,
        }
    }
}
