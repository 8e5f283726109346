//! Long-term credentials (RFC 8489 §9.2): who may know which password.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use zeroize::Zeroize;

use super::grant::{Grant, SESSION_MARK};

/// Key of a long-term credential: MD5 of `username:realm:password` (RFC 8489 §9.2.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongTermKey([u8; 16]);

impl LongTermKey {
    /// Derives the key, with realm and password processed by the OpaqueString profile (RFC 8265 §4).
    ///
    /// The name goes in as it is sent. Returns none when realm or password fail the profile.
    #[must_use]
    pub fn derive(username: &str, realm: &str, password: &str) -> Option<LongTermKey> {
        let realm = OpaqueString::enforce(realm).ok()?;
        let password = OpaqueString::enforce(password).ok()?;
        let mut md5 = Md5::new();
        for part in [username, ":", &realm, ":", &password] {
            md5.update(part.as_bytes());
        }
        Some(LongTermKey(md5.finalize().into()))
    }

    /// Returns the bytes that key the HMAC.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongTermKey(..)")
    }
}

impl Drop for LongTermKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A username and password made from a shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// `<expiry>:<subject>`.
    pub username: String,
    /// Base64 of HMAC-SHA1 over the username.
    pub password: String,
}

/// Mints an expiring credential; `expires_at` is in Unix seconds.
#[must_use]
pub fn mint(secret: &[u8], subject: &str, expires_at: u64) -> Minted {
    let username = format!("{expires_at}:{subject}");
    let password = rest_password(secret, &username);
    Minted { username, password }
}

/// Longest subject of a minted credential in bytes.
pub const LONGEST_SUBJECT: usize = 128;

/// Returns whether a text can be the subject of a credential that is asked for: 1 to 128 bytes of the OpaqueString
/// profile, no colon, and not of the form that signaling sessions have (`s~`).
#[must_use]
pub fn is_subject(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_SUBJECT
        && !text.contains(':')
        && !text.starts_with(SESSION_MARK)
        && !text.chars().any(char::is_control)
        && OpaqueString::enforce(text).is_ok()
}

/// The users and shared secrets that open this server.
pub struct Credentials {
    realm: String,
    users: BTreeMap<String, LongTermKey>,
    secrets: Vec<Vec<u8>>,
    decoy: LongTermKey,
}

impl Credentials {
    /// Makes the set from static users (name, password) and shared secrets, the first of which mints.
    ///
    /// Users whose name or password fails the OpaqueString profile are left out; configuration refuses them
    /// before it comes here.
    pub fn new<'a>(
        realm: &str,
        users: impl IntoIterator<Item = (&'a str, &'a str)>,
        secrets: impl IntoIterator<Item = &'a [u8]>,
    ) -> Credentials {
        let users = users
            .into_iter()
            .filter_map(|(name, password)| {
                LongTermKey::derive(name, realm, password).map(|key| (name.to_owned(), key))
            })
            .collect();
        let secrets = secrets.into_iter().map(<[u8]>::to_vec).collect();
        Credentials { realm: realm.to_owned(), users, secrets, decoy: LongTermKey([0x5a; 16]) }
    }

    /// Finds the grant behind a username whose key passes `proves`, the integrity check of the request.
    ///
    /// An unknown name costs the same check as a wrong password. Expiry is not judged here: what it means
    /// depends on the request.
    pub fn find(
        &self,
        username: &[u8],
        mut proves: impl FnMut(&LongTermKey) -> bool,
    ) -> Option<(Grant, LongTermKey)> {
        let name = std::str::from_utf8(username).ok().filter(|name| OpaqueString::enforce(*name).is_ok());
        let Some(name) = name else {
            proves(&self.decoy);
            return None;
        };
        let user = self.users.get(name);
        let key = user.unwrap_or(&self.decoy);
        if proves(key) && user.is_some() {
            return Some((Grant { username: name.to_owned(), expires_at: None }, key.clone()));
        }
        // A static user's wrong password is tried with every secret too, for its time and not for its result.
        let expires_at = expiry(name).filter(|_| user.is_none());
        let mut found = None;
        for secret in &self.secrets {
            let password = rest_password(secret, name);
            let Some(key) = LongTermKey::derive(name, &self.realm, &password) else { continue };
            if proves(&key) && expires_at.is_some() && found.is_none() {
                found = Some((Grant { username: name.to_owned(), expires_at }, key));
            }
        }
        found
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} users, {} secrets)", self.users.len(), self.secrets.len())
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.secrets.iter_mut().for_each(Zeroize::zeroize);
    }
}

fn rest_password(secret: &[u8], username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Reads the expiry in front of the first colon, or the whole name: decimal digits, nothing else.
fn expiry(username: &str) -> Option<u64> {
    let digits = username.split_once(':').map_or(username, |(digits, _)| digits);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials::new("realm", [("user", "pass")], [b"new".as_slice(), b"old".as_slice()])
    }

    fn find(credentials: &Credentials, username: &[u8], password: &str) -> Option<Grant> {
        let name = String::from_utf8_lossy(username);
        let wanted = LongTermKey::derive(&name, "realm", password);
        credentials.find(username, |key| Some(key) == wanted.as_ref()).map(|(grant, _)| grant)
    }

    fn hex(key: &LongTermKey) -> String {
        key.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn long_term_key_is_md5_of_name_realm_and_password() {
        // T-8489-9.2.2-01
        let key = LongTermKey::derive("user", "realm", "pass").unwrap();
        assert_eq!(hex(&key), "8493fbc53ba582fb4c044c456bdc40eb");
    }

    #[test]
    fn realm_and_password_are_normalized_and_forbidden_characters_refused() {
        // T-8489-9.2.2-02
        let composed = LongTermKey::derive("u", "r", "caf\u{e9}").unwrap();
        assert!(composed == LongTermKey::derive("u", "r", "cafe\u{301}").unwrap());
        assert!(LongTermKey::derive("u", "r", "The\u{ad}M\u{aa}tr\u{2168}").is_none());
    }

    #[test]
    fn static_user_is_found_by_name_and_password() {
        let grant = find(&credentials(), b"user", "pass").unwrap();
        assert_eq!(grant, Grant { username: "user".into(), expires_at: None });
        assert_eq!(find(&credentials(), b"user", "wrong"), None);
        assert_eq!(find(&credentials(), b"nobody", "pass"), None);
        assert_eq!(find(&credentials(), b"\xff\xfe", "pass"), None);
    }

    #[test]
    fn every_secret_verifies_and_the_first_mints() {
        // T-REST-2.2-01, T-REST-5.2-01
        for secret in [b"new".as_slice(), b"old"] {
            let minted = mint(secret, "ann", 1_800_000_000);
            assert_eq!(minted.username, "1800000000:ann");
            let grant = find(&credentials(), minted.username.as_bytes(), &minted.password).unwrap();
            assert_eq!((grant.subject(), grant.expires_at), ("ann", Some(1_800_000_000)));
        }
        let strange = mint(b"other", "ann", 1_800_000_000);
        assert_eq!(find(&credentials(), strange.username.as_bytes(), &strange.password), None);
    }

    #[test]
    fn names_without_a_plain_decimal_expiry_are_unknown() {
        // T-REST-4.2-03
        for name in
            ["-5:a", "+5:a", " 5:a", "0x10:a", "a", ":a", "5 :a", "18446744073709551616:a", "1e9:a", "٣:a"]
        {
            let password = rest_password(b"new", name);
            assert_eq!(find(&credentials(), name.as_bytes(), &password), None, "{name}");
        }
        let bare = rest_password(b"new", "18446744073709551615");
        assert!(find(&credentials(), b"18446744073709551615", &bare).is_some());
    }

    #[test]
    fn the_check_runs_as_often_for_an_unknown_name_as_for_a_wrong_password() {
        let plain = Credentials::new("realm", [("user", "pass")], []);
        let names = [b"user".as_slice(), b"nobody", b"1800000000:ann"];
        for (credentials, expected) in [(plain, 1), (credentials(), 3)] {
            let checks = names.map(|name| {
                let mut checks = 0;
                credentials.find(name, |_| {
                    checks += 1;
                    false
                });
                checks
            });
            assert_eq!(checks, [expected; 3]);
        }
    }

    #[test]
    fn a_secret_opens_no_static_user() {
        let credentials = Credentials::new("realm", [("17:user", "pass")], [b"secret".as_slice()]);
        let minted = mint(b"secret", "user", 17);
        assert_eq!(minted.username, "17:user");
        assert_eq!(find(&credentials, b"17:user", &minted.password), None);
        assert!(find(&credentials, b"17:user", "pass").is_some());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", credentials(), LongTermKey::derive("u", "r", "p"));
        assert_eq!(shown, "Credentials(1 users, 2 secrets) Some(LongTermKey(..))");
    }
}
