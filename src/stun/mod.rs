//! STUN on the wire (RFC 8489): parsing borrows, building writes into the caller's buffer.

#![warn(missing_docs)]

mod attribute;
mod builder;
mod channel_data;
mod framing;
mod integrity;
mod message;
mod names;

pub use attribute::{Attribute, AttributeType, ErrorCode, Malformed, TypeList};
pub use builder::{BufferFull, Builder};
pub use channel_data::ChannelData;
pub use framing::{Frame, next_frame};
pub use message::{Message, ParseError, RawAttribute};
pub use names::{Class, MAGIC_COOKIE, Method, TransactionId};
