//! Resolves users, secrets and lifetimes of credentials; `turnpike credential` needs no more.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::KeySet;
use crate::config::facts::Facts;
use crate::config::mistake::{Mistake, Origin};
use crate::config::names;
use crate::config::reader::{self, Reader};
use crate::config::state;
use crate::config::types::{ApiKey, JwksSource, Secret, StaticUser, TokenSecret};
use crate::config::units;

/// RFC 7518 §3.2: a key of HS256 has at least the size of its hash.
const LEAST_TOKEN_SECRET: usize = 32;

/// What minting takes.
#[derive(Debug)]
pub struct Minting {
    /// Empty = the generated one in the state directory.
    pub auth_secrets: Vec<Secret>,
    pub credential_ttl: Duration,
    /// `None` = unlimited.
    pub max_credential_ttl: Option<Duration>,
    pub state_dir: Option<PathBuf>,
}

/// The flags that `minting` reads.
pub const MINTING_FLAGS: [&str; 6] =
    ["config", "auth-secret", "auth-secret-file", "credential-ttl", "max-credential-ttl", "state-dir"];

pub fn minting(reader: &mut Reader<'_>, facts: &Facts) -> Minting {
    let max_credential_ttl = reader.value("max-credential-ttl", units::limiting_duration);
    let mut credential_ttl = reader.value("credential-ttl", units::positive_duration);
    if let Some(max) = max_credential_ttl.filter(|max| credential_ttl > *max) {
        if !reader.is_given("credential-ttl") {
            credential_ttl = max;
        } else if reader.are_good(&["credential-ttl", "max-credential-ttl"]) {
            let problem = format!("longer than --max-credential-ttl, {} s", max.as_secs());
            reader.blame("credential-ttl", problem, "lower it, or raise --max-credential-ttl");
        }
    }
    let state_dir = reader.single("state-dir", reader::path).or_else(|| state::default_directory(facts));
    let auth_secrets = auth_secrets(reader);
    let must_keep_one = auth_secrets.is_empty() && reader.are_good(&["auth-secret", "auth-secret-file"]);
    if must_keep_one && state_dir.is_none() && reader.are_good(&["state-dir"]) {
        let problem = "there is no place to keep the generated secret";
        reader.blame("state-dir", problem, "give --state-dir, or --auth-secret");
    }
    Minting { auth_secrets, credential_ttl, max_credential_ttl, state_dir }
}

/// Resolves the static users of flags and file.
pub fn users(reader: &mut Reader<'_>) -> Vec<StaticUser> {
    let mut users = reader.list("user", names::user).unwrap_or_default();
    let file = reader.list("users-file", reader::path).and_then(|mut paths| paths.pop());
    if let Some((path, origin)) = file {
        let text = reader.secret_file("users-file", &path, &origin).unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let origin = Origin::File { path: path.clone(), line: Some(index + 1) };
            match names::user(line) {
                Ok(user) => users.push((user, origin)),
                Err(fault) => reader.mistakes.push(Mistake { origin, given: None, fault }),
            }
        }
    }
    for (index, (user, origin)) in users.iter().enumerate() {
        if users[..index].iter().any(|(earlier, _)| earlier.name == user.name) {
            let problem = format!("there are two users {:?}", user.name);
            reader.blame_at(origin.clone(), problem, "keep one");
        }
    }
    users.into_iter().map(|(user, _)| user).collect()
}

/// Resolves the keys of the HTTP API, those of files behind those given.
pub fn api_keys(reader: &mut Reader<'_>) -> Vec<ApiKey> {
    let given = reader.list("api-key", names::api_key).unwrap_or_default();
    let mut keys: Vec<ApiKey> = given.into_iter().map(|(key, _)| key).collect();
    for (path, origin) in reader.list("api-key-file", reader::path).unwrap_or_default() {
        let Some(text) = reader.secret_file("api-key-file", &path, &origin) else { continue };
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match names::api_key(line.trim()) {
                Ok(key) => keys.push(key),
                Err(fault) => {
                    let origin = Origin::File { path: path.clone(), line: Some(index + 1) };
                    reader.mistakes.push(Mistake { origin, given: None, fault });
                }
            }
        }
    }
    keys
}

/// What signing a join token takes.
#[derive(Debug)]
pub struct Signing {
    /// Empty = the generated one in the state directory.
    pub token_secrets: Vec<TokenSecret>,
    pub state_dir: Option<PathBuf>,
}

/// The flags that `signing` reads.
pub const SIGNING_FLAGS: [&str; 3] = ["config", "token-secret", "state-dir"];

pub fn signing(reader: &mut Reader<'_>, facts: &Facts) -> Signing {
    let state_dir = reader.single("state-dir", reader::path).or_else(|| state::default_directory(facts));
    Signing { token_secrets: token_secrets(reader), state_dir }
}

/// Resolves the secrets that sign join tokens.
pub fn token_secrets(reader: &mut Reader<'_>) -> Vec<TokenSecret> {
    let secrets = reader.list("token-secret", names::token_secret).unwrap_or_default();
    for (index, (secret, origin)) in secrets.iter().enumerate() {
        let is_repeated = |(earlier, _): &(TokenSecret, Origin)| earlier.kid == secret.kid;
        if secret.kid.is_some() && secrets[..index].iter().any(is_repeated) {
            reader.blame_at(origin.clone(), "there are two secrets of this name", "name each differently");
        }
    }
    if secrets.iter().any(|(secret, _)| secret.secret.as_bytes().len() < LEAST_TOKEN_SECRET) {
        reader.warnings.push(format!(
            "a token secret has fewer than {LEAST_TOKEN_SECRET} bytes: it can be guessed from a token"
        ));
    }
    secrets.into_iter().map(|(secret, _)| secret).collect()
}

/// Resolves where the public keys of join tokens are, and checks them where they are in a file.
pub fn jwks(reader: &mut Reader<'_>) -> Option<JwksSource> {
    let source = reader.single("token-jwks", names::jwks)?;
    if let JwksSource::File(path) = &source {
        let text = reader.public_file("token-jwks", path)?;
        match KeySet::read(&text) {
            Ok(set) => {
                let named = |why| format!("--token-jwks, {why}: it is left out");
                reader.warnings.extend(set.left_out.iter().map(named));
            }
            Err(error) => {
                let problem = format!("the file is no JWK set: {error}");
                reader.blame("token-jwks", problem, "write one like {\"keys\":[...]} (RFC 7517)");
            }
        }
    }
    Some(source)
}

fn auth_secrets(reader: &mut Reader<'_>) -> Vec<Secret> {
    let given = reader.list("auth-secret", names::secret).unwrap_or_default();
    let mut secrets: Vec<Secret> = given.into_iter().map(|(secret, _)| secret).collect();
    for (path, origin) in reader.list("auth-secret-file", reader::path).unwrap_or_default() {
        let Some(text) = reader.secret_file("auth-secret-file", &path, &origin) else { continue };
        let before = secrets.len();
        secrets.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new));
        if secrets.len() == before {
            let origin = Origin::File { path, line: None };
            reader.blame_at(origin, "there is no secret in the file", "write one a line");
        }
    }
    secrets
}
