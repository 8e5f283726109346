//! `turnpike credential`: an expiring credential from the daemon's shared secret.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use crate::auth::{self, LONGEST_SUBJECT, Minted, SESSION_MARK};
use crate::config::arguments::{Known, clap_argument};
use crate::config::credentials::{MINTING_FLAGS, Minting};
use crate::config::flags;
use crate::config::mistake::{Fault, Mistake, Origin};
use crate::config::secrets::Generated;
use crate::config::{Secret, names, units};

/// Builds the command.
pub fn command() -> Command {
    let ttl = Arg::new("ttl")
        .long("ttl")
        .value_name("TIME")
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .help("Lifetime, at most --max-credential-ttl [default: --credential-ttl]");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    let subject = Arg::new("subject").value_name("SUBJECT").required(true).allow_hyphen_values(true);
    Command::new("credential")
        .about("Mint a TURN credential that expires")
        .arg(subject.help("Whom the credential is for: up to 128 bytes, without a colon"))
        .arg(ttl)
        .arg(json)
        .args(MINTING_FLAGS.map(|name| clap_argument(flags::flag(name))))
}

/// Returns the flags that the command accepts.
pub fn known_flags() -> Vec<Known> {
    let own = [Known { name: "ttl", takes_value: true }, Known { name: "json", takes_value: false }];
    MINTING_FLAGS.iter().map(|name| Known::from(flags::flag(name))).chain(own).collect()
}

/// What the user wants minted.
#[derive(Debug)]
pub struct Wanted {
    pub subject: String,
    /// `None` = as `--credential-ttl` says.
    pub ttl: Option<Duration>,
    pub json: bool,
}

/// Reads the command's own arguments.
pub fn wanted(matches: &ArgMatches) -> (Wanted, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let subject = matches.get_one::<String>("subject").cloned().unwrap_or_default();
    if let Err(fault) = check_subject(&subject) {
        let origin = Origin::CommandLine;
        mistakes.push(Mistake { origin, given: Some(subject.clone()), fault });
    }
    let texts: Vec<&String> = matches.get_many("ttl").into_iter().flatten().collect();
    if texts.len() > 1 {
        let problem = format!("given {} times", texts.len());
        mistakes.push(Mistake::new(Origin::Flag("ttl".into()), problem, "give it once"));
    }
    let ttl = texts.last().and_then(|text| {
        let origin = Origin::Flag("ttl".into());
        let parsed = units::positive_duration(text);
        parsed.map_err(|fault| mistakes.push(Mistake { origin, given: Some(text.to_string()), fault })).ok()
    });
    (Wanted { subject, ttl, json: matches.get_flag("json") }, mistakes)
}

/// Tells what keeps a text from being the subject of a credential.
pub fn check_subject(subject: &str) -> Result<(), Fault> {
    if subject.is_empty() || subject.len() > LONGEST_SUBJECT {
        let problem = format!("the subject has {} bytes", subject.len());
        return Err(Fault::new(problem, format!("write 1 to {LONGEST_SUBJECT} bytes")));
    }
    if subject.contains(':') || subject.chars().any(char::is_control) {
        let problem = "the subject has a colon or control characters";
        return Err(Fault::new(problem, "leave them out: the colon ends the expiry"));
    }
    if subject.starts_with(SESSION_MARK) {
        let problem = format!("subjects that begin with {SESSION_MARK} belong to signaling sessions");
        return Err(Fault::new(problem, "begin with something else"));
    }
    names::opaque(subject).map(|_| ())
}

/// Returns the lifetime to mint for.
pub fn lifetime(wanted: Option<Duration>, minting: &Minting) -> Result<Duration, Fault> {
    let ttl = wanted.unwrap_or(minting.credential_ttl);
    match minting.max_credential_ttl {
        Some(max) if ttl > max => {
            let problem =
                format!("{} s are longer than --max-credential-ttl, {} s", ttl.as_secs(), max.as_secs());
            Err(Fault::new(problem, "lower it, or raise --max-credential-ttl"))
        }
        Some(_) | None => Ok(ttl),
    }
}

/// Finds the secret that mints: the first given, else the generated one.
pub fn minting_secret(minting: &Minting) -> Result<Secret, String> {
    if let Some(secret) = minting.auth_secrets.first() {
        return Ok(secret.clone());
    }
    let directory = minting.state_dir.as_deref().ok_or("there is no state directory; give --state-dir")?;
    match Generated::AuthSecret.read(directory) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(format!(
            "{}: there is no secret yet; start `turnpike serve` once, or give --state-dir or --auth-secret",
            Generated::AuthSecret.path(directory).display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Mints a credential and renders it.
pub fn mint(secret: &Secret, subject: &str, ttl: Duration, now_unix: u64, json: bool) -> String {
    let expires_at = now_unix.saturating_add(ttl.as_secs());
    let Minted { username, password } = auth::mint(secret.as_bytes(), subject, expires_at);
    if json {
        let output = Output { username: &username, password: &password, ttl: ttl.as_secs(), expires_at };
        return serde_json::to_string(&output).expect("strings and numbers always serialize") + "\n";
    }
    format!("username: {username}\npassword: {password}\n")
}

#[derive(Serialize)]
struct Output<'a> {
    username: &'a str,
    password: &'a str,
    ttl: u64,
    expires_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minting(max: Option<u64>) -> Minting {
        Minting {
            auth_secrets: vec![Secret::new("first"), Secret::new("second")],
            credential_ttl: Duration::from_secs(3600),
            max_credential_ttl: max.map(Duration::from_secs),
            state_dir: None,
        }
    }

    #[test]
    fn subjects_are_short_and_without_colon() {
        assert!(check_subject("alice").is_ok());
        assert!(check_subject(&"x".repeat(128)).is_ok());
        for bad in ["", "a:b", "a\nb", &"x".repeat(129)] {
            assert!(check_subject(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_lifetime_is_bounded_by_the_longest_one() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        assert_eq!(lifetime(None, &minting(Some(86400))), Ok(hours(1)));
        assert_eq!(lifetime(Some(hours(24)), &minting(Some(86400))), Ok(hours(24)));
        assert!(lifetime(Some(hours(25)), &minting(Some(86400))).is_err());
        assert_eq!(lifetime(Some(hours(25)), &minting(None)), Ok(hours(25)));
    }

    #[test]
    fn the_first_secret_mints() {
        assert_eq!(minting_secret(&minting(None)).unwrap().expose(), "first");
    }

    #[test]
    fn json_output_names_expiry_and_lifetime() {
        let text = mint(&Secret::new("s"), "alice", Duration::from_secs(60), 1000, true);
        let output: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(output["username"], "1060:alice");
        assert_eq!(output["ttl"], 60);
        assert_eq!(output["expires_at"], 1060);
    }
}
