//! Stand-in: only minting.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// A credential.
#[derive(Clone, Debug)]
pub struct Minted {
    pub username: String,
    pub password: String,
}

/// Mints an expiring credential.
pub fn mint(secret: &[u8], subject: &str, expires_at: u64) -> Minted {
    let username = format!("{expires_at}:{subject}");
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    let password = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    Minted { username, password }
}
