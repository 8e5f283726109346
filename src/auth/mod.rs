//! Who may do what: TURN credentials, each verified into a [`Grant`], join tokens of rooms, and origins.

#![warn(missing_docs)]

mod credential;
mod glob;
mod grant;
mod join_token;
mod origin;

pub use credential::{Credentials, LongTermKey, Minted, mint};
pub use glob::Glob;
pub use grant::{Grant, SessionId};
pub use join_token::{IcePolicy, IceTerms, JoinToken, Permissions, TokenError};
pub use origin::Origins;
