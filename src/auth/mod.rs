//! Who may do what: TURN credentials, each verified into a `Grant`, join tokens of rooms, and origins.

#![warn(missing_docs)]

mod api_key;
mod credential;
mod glob;
mod grant;
mod join_token;
mod jwks;
mod origin;

pub use api_key::{ApiKeys, KeyIndex, Scope, Scopes};
pub use credential::{Credentials, LONGEST_SUBJECT, LongTermKey, Minted, is_subject, mint};
pub use glob::Glob;
pub use grant::{Grant, SESSION_MARK, SessionId, session_subject};
pub use join_token::{IcePolicy, IceTerms, JoinToken, Permissions, TokenError};
pub use jwks::{KeyMaterial, KeySet, KeySetError, PublicKey};
pub use origin::Origins;
