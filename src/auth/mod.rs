//! TURN credentials: static users and expiring ones, each verified into a `Grant`.

#![warn(missing_docs)]

mod credential;
mod grant;

pub use credential::{Credentials, LongTermKey, Minted, mint};
pub use grant::{Grant, SessionId};
