//! Join tokens.

use serde_json::{Value, json};
use turnpike::http::TokenKeys;
use turnpike::net::clock;

/// The secret of the daemons that know these tokens.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Signs a token of `ann` for every room; `claims` are laid over it.
pub fn sign(secret: &str, claims: Value) -> String {
    let mut all = json!({"sub": "ann", "room": "*", "exp": clock::unix_now() + 3600});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    TokenKeys::new([(None, secret.as_bytes())]).sign(&all.to_string()).unwrap()
}

/// Signs a token that the daemon takes.
pub fn token(claims: Value) -> String {
    sign(SECRET, claims)
}
