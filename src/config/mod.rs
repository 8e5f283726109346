//! Configuration: as typed (`raw`), checked (`resolve`), as the other rooms take it (`types`).

pub mod addresses;
pub mod admin;
pub mod arguments;
pub mod certificate;
pub mod credentials;
pub mod diff;
pub mod documents;
pub mod environment;
pub mod facts;
pub mod file;
pub mod flags;
pub mod ice_urls;
pub mod mistake;
pub mod names;
pub mod raw;
pub mod reader;
pub mod resolve;
pub mod secrets;
pub mod signaling;
pub mod state;
pub mod types;
pub mod units;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::auth::Scopes;
use facts::Facts;
use mistake::{Mistake, Mistakes, Origin};
use raw::{Layer, Raw};
use reader::Reader;
pub use resolve::{Loaded, private_relay_warning};
use secrets::Generated;
use state::StateError;
pub use types::*;

/// Everything as typed, from all three places.
pub struct Typed {
    raw: Raw,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

/// Collects the three layers; the command line comes scanned already.
pub fn collect(arguments: (Layer, Vec<Mistake>), variables: &[(OsString, OsString)], facts: &Facts) -> Typed {
    let (flags, mut mistakes) = arguments;
    let (environment, found) = environment::layer(variables);
    mistakes.extend(found);
    let mut raw = Raw(vec![flags, environment]);
    let mut warnings = Vec::new();
    if let Some((path, origin)) = file_to_read(&raw, facts) {
        match fs::read_to_string(&path) {
            Ok(text) => {
                let (file, found) = file::layer(&path, &text);
                mistakes.extend(found);
                let holds_secrets =
                    flags::FLAGS.iter().any(|flag| flag.secret && file.0.contains_key(flag.name));
                if holds_secrets {
                    warnings.extend(state::warning_if_open(&path));
                }
                raw.0.push(file);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && origin == Origin::Unset("config") => {}
            Err(error) => {
                let problem = format!("the file cannot be read: {error}");
                let mistake = Mistake::new(origin, problem, "check path and permissions");
                mistakes.push(mistake.given(path.to_string_lossy()));
            }
        }
    }
    Typed { raw, mistakes, warnings }
}

/// Resolves what was typed for `serve` and `check-config`.
pub fn resolve_all(typed: Typed, facts: &Facts) -> Result<Loaded, Mistakes> {
    let mut reader = Reader::new(&typed.raw, typed.mistakes);
    reader.warnings = typed.warnings;
    resolve::resolve(reader, facts)
}

/// Resolves only what minting a credential takes.
pub fn resolve_minting(typed: Typed, facts: &Facts) -> Result<credentials::Minting, Mistakes> {
    let mut reader = Reader::new(&typed.raw, typed.mistakes);
    let minting = credentials::minting(&mut reader, facts);
    if reader.mistakes.is_empty() { Ok(minting) } else { Err(Mistakes(reader.mistakes)) }
}

/// Resolves only where the admin socket is looked for.
pub fn resolve_reach(typed: Typed, facts: &Facts) -> Result<Vec<PathBuf>, Mistakes> {
    let mut reader = Reader::new(&typed.raw, typed.mistakes);
    let reach = admin::reach(&mut reader, facts);
    if reader.mistakes.is_empty() { Ok(reach) } else { Err(Mistakes(reader.mistakes)) }
}

/// What `prepare` did and saw, for the log.
#[derive(Debug, Default)]
pub struct Prepared {
    pub made: Vec<String>,
    pub warnings: Vec<String>,
}

/// Resolves only what signing a join token takes.
pub fn resolve_signing(typed: Typed, facts: &Facts) -> Result<credentials::Signing, Mistakes> {
    let mut reader = Reader::new(&typed.raw, typed.mistakes);
    let signing = credentials::signing(&mut reader, facts);
    if reader.mistakes.is_empty() { Ok(signing) } else { Err(Mistakes(reader.mistakes)) }
}

/// Reads or makes what the state directory keeps.
pub fn prepare(config: &mut Config, now_unix: u64) -> Result<Prepared, StateError> {
    let mut prepared = Prepared::default();
    if config.auth_secrets.is_empty() {
        let directory = state_directory(config);
        let (secret, is_new) = Generated::AuthSecret.read_or_make(directory)?;
        let path = Generated::AuthSecret.path(directory);
        if is_new {
            prepared.made.push(format!("made a shared secret: {}", path.display()));
        }
        prepared.warnings.extend(state::warning_if_open(&path));
        config.auth_secrets = vec![secret];
    }
    if config.http.is_some() || config.https.is_some() {
        match prepare_http(config) {
            Ok(what) => {
                prepared.made.extend(what.made);
                prepared.warnings.extend(what.warnings);
            }
            Err(error) if config.https.is_none() && config.http.is_some_and(|http| http.is_default) => {
                config.http = None;
                prepared.warnings.push(format!("no HTTP: its secrets cannot be kept: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if let Tls::SelfSigned { names } = &config.tls {
        let directory = state_directory(config);
        let (certificate, is_new) = certificate::read_or_make_self_signed(directory, names, now_unix)?;
        if is_new {
            prepared.made.push(format!("made a self-signed certificate for {}", names.join(", ")));
        }
        config.certificate = Some(certificate);
    }
    Ok(prepared)
}

/// Reads or makes the secrets of HTTP; without a state directory there are none, and the API stays closed.
fn prepare_http(config: &mut Config) -> Result<Prepared, StateError> {
    let mut prepared = Prepared::default();
    let Some(directory) = &config.state_dir else { return Ok(prepared) };
    let mut keep = |kept: Generated, what: &str| {
        let (secret, is_new) = kept.read_or_make(directory)?;
        let path = kept.path(directory);
        if is_new {
            prepared.made.push(format!("made {what}: {}", path.display()));
        }
        prepared.warnings.extend(state::warning_if_open(&path));
        Ok::<_, StateError>(secret)
    };
    if config.api_keys.is_empty() {
        let secret = keep(Generated::ApiKey, "an API key")?;
        config.api_keys = vec![ApiKey { scopes: Scopes::ALL, secret }];
    }
    if config.token_secrets.is_empty() {
        let secret = keep(Generated::TokenSecret, "a secret for join tokens")?;
        config.token_secrets = vec![TokenSecret { kid: None, secret }];
    }
    Ok(prepared)
}

fn state_directory(config: &Config) -> &Path {
    config.state_dir.as_deref().expect("resolve refuses a start that needs a state directory and has none")
}

fn file_to_read(raw: &Raw, facts: &Facts) -> Option<(PathBuf, Origin)> {
    match raw.winning("config").and_then(<[raw::RawValue]>::last) {
        Some(value) => Some((PathBuf::from(value.text.as_str()), value.origin.clone())),
        None => facts.default_file.clone().map(|path| (path, Origin::Unset("config"))),
    }
}

#[cfg(test)]
mod resolve_tests;
