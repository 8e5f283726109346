//! `turnpike token`: a join token signed with the daemon's secret.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use crate::config::arguments::{Known, clap_argument};
use crate::config::credentials::{SIGNING_FLAGS, Signing};
use crate::config::flags;
use crate::config::mistake::{Fault, Mistake, Origin};
use crate::config::secrets::Generated;
use crate::config::units;
use crate::json;
use crate::node::{self, TokenKeys};

/// The command's own arguments: name, value, whether it may be repeated, help.
const OWN: [(&str, &str, bool, &str); 6] = [
    ("room", "ROOM", true, "Room that the token opens: a name, or a glob with * and ?"),
    ("sub", "NAME", false, "Identity of the client in your application"),
    ("ttl", "TIME", false, "Lifetime, at most 365d [default: 1h]"),
    (
        "perm",
        "PERMISSION",
        true,
        "join, observe, signal, send, state or kick [default: join signal send state]",
    ),
    ("meta", "JSON", false, "Object whose members stand in the peer's meta, with $ in front"),
    ("max-peers", "N", false, "Peers that a room may have for this token to open it"),
];

/// Builds the command.
pub fn command() -> Command {
    let own = OWN.map(|(name, value, _, help)| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .help(help)
    });
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    Command::new("token")
        .about("Sign a join token for signaling")
        .args(own)
        .arg(json)
        .args(SIGNING_FLAGS.map(|name| clap_argument(flags::flag(name))))
}

/// Returns the flags that the command accepts.
pub fn known_flags() -> Vec<Known> {
    let own = OWN.map(|(name, ..)| Known { name, takes_value: true });
    let json = Known { name: "json", takes_value: false };
    SIGNING_FLAGS.iter().map(|name| Known::from(flags::flag(name))).chain(own).chain([json]).collect()
}

/// What the user wants signed.
#[derive(Debug)]
pub struct Wanted {
    /// Claims but for the expiry, as a JSON object.
    request: String,
    ttl: Duration,
    json: bool,
}

/// Reads the command's own arguments.
pub fn wanted(matches: &ArgMatches) -> (Wanted, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let values = |name| matches.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>();
    for (name, _, may_repeat, _) in OWN {
        let count = values(name).len();
        if !may_repeat && count > 1 {
            let origin = Origin::Flag(name.into());
            mistakes.push(Mistake::new(origin, format!("given {count} times"), "give it once"));
        }
    }
    let mut blame = |name: &str, given: &str, fault: Fault| {
        let origin = Origin::Flag(name.into());
        mistakes.push(Mistake { origin, given: Some(given.to_owned()), fault });
    };
    let mut ttl = Duration::from_secs(node::TOKEN_LIFETIME);
    if let Some(text) = values("ttl").last() {
        match units::positive_duration(text) {
            Ok(given) if given.as_secs() > node::LONGEST_TOKEN_LIFETIME => {
                blame("ttl", text, Fault::new("the time is too long", "write at most 365d"));
            }
            Ok(given) => ttl = given,
            Err(fault) => blame("ttl", text, fault),
        }
    }
    if let Some(text) = values("meta").last()
        && json::members(text).is_err()
    {
        blame("meta", text, Fault::new("this is no JSON object", "write one like {\"name\":\"Ann\"}"));
    }
    if let Some(text) = values("max-peers").last()
        && (text.parse::<u32>().is_err() || text.starts_with('+'))
    {
        blame("max-peers", text, Fault::new("this is no number", "write a whole number"));
    }
    const PERMISSIONS: [&str; 6] = ["join", "observe", "signal", "send", "state", "kick"];
    for text in values("perm").iter().filter(|text| !PERMISSIONS.contains(&text.as_str())) {
        let advice = format!("write one of {}", PERMISSIONS.join(", "));
        blame("perm", text, Fault::new("there is no such permission", advice));
    }
    let request = request(&values);
    let checked = json::members(&request).ok().map(|members| node::claims(&members, 0));
    if mistakes.is_empty() && checked.is_none_or(|claims| claims.is_err()) {
        let advice = "write up to 256 bytes as --sub";
        mistakes.push(Mistake::new(Origin::CommandLine, "a claim is too long", advice));
    }
    (Wanted { request, ttl, json: matches.get_flag("json") }, mistakes)
}

fn request(values: &impl Fn(&'static str) -> Vec<String>) -> String {
    let string = |text: &str| {
        let mut quoted = String::new();
        json::push_string(&mut quoted, text);
        quoted
    };
    let array = |texts: &[String]| {
        format!("[{}]", texts.iter().map(|text| string(text)).collect::<Vec<_>>().join(","))
    };
    let mut members = Vec::new();
    match values("room").as_slice() {
        [] => {}
        [room] => members.push(format!("\"room\":{}", string(room))),
        rooms => members.push(format!("\"room\":{}", array(rooms))),
    }
    members.extend(values("sub").last().map(|sub| format!("\"sub\":{}", string(sub))));
    let perm = values("perm");
    if !perm.is_empty() {
        members.push(format!("\"perm\":{}", array(&perm)));
    }
    members.extend(values("meta").last().map(|meta| format!("\"meta\":{meta}")));
    members.extend(values("max-peers").last().map(|count| format!("\"max_peers\":{count}")));
    format!("{{{}}}", members.join(","))
}

#[derive(Serialize)]
struct Output<'a> {
    token: &'a str,
    expires_at: u64,
}

/// Signs with the first secret given, else with the generated one, and renders the token.
pub fn sign(wanted: &Wanted, signing: &Signing, now_unix: u64) -> Result<String, String> {
    let secret = match (signing.token_secrets.first(), signing.state_dir.as_deref()) {
        (Some(key), _) => (key.kid.clone(), key.secret.clone()),
        (None, None) => return Err("there is no state directory; give --state-dir".to_owned()),
        (None, Some(directory)) => match Generated::TokenSecret.read(directory) {
            Ok(Some(secret)) => (None, secret),
            Ok(None) => {
                return Err(format!(
                    "{}: there is no secret yet; start `turnpike serve` once, or give --state-dir or --token-secret",
                    Generated::TokenSecret.path(directory).display()
                ));
            }
            Err(error) => return Err(error.to_string()),
        },
    };
    let expires_at = now_unix.saturating_add(wanted.ttl.as_secs());
    let members = json::members(&wanted.request).map_err(|_| "a claim cannot be written")?;
    let claims = node::claims(&members, expires_at).map_err(|error| error.label().to_owned())?;
    let keys = TokenKeys::new([(secret.0.as_deref(), secret.1.as_bytes())]);
    let token = keys.sign(&claims).ok_or("the token cannot be signed")?;
    if wanted.json {
        let output = Output { token: &token, expires_at };
        return Ok(serde_json::to_string(&output).expect("strings and numbers always serialize") + "\n");
    }
    Ok(token + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, TokenSecret};

    fn parse(arguments: &[&str]) -> (Wanted, Vec<Mistake>) {
        let matches = command().try_get_matches_from([&["token"], arguments].concat()).unwrap();
        wanted(&matches)
    }

    fn signing() -> Signing {
        let key = TokenSecret { kid: Some("k".into()), secret: Secret::new("secret") };
        Signing { token_secrets: vec![key], state_dir: None }
    }

    #[test]
    fn a_signed_token_verifies_with_the_same_secret() {
        let (wanted, mistakes) = parse(&[
            "--room=tea",
            "--room=lab-*",
            "--sub=\"ann\"",
            "--ttl=10m",
            "--perm=observe",
            "--meta={\"name\": \"Ann\"}",
            "--max-peers=2",
        ]);
        assert!(mistakes.is_empty());
        let token = sign(&wanted, &signing(), 1000).unwrap();
        let keys = TokenKeys::new([(Some("k"), b"secret".as_slice())]);
        let read = keys.verify(token.trim_end(), 1599).unwrap();
        assert_eq!((read.sub.as_deref(), read.exp, read.max_peers), (Some("\"ann\""), 1600, Some(2)));
        assert!(read.opens("tea") && read.opens("lab-1") && !read.opens("x"));
        assert!(read.perm.observe && !read.perm.join);
        assert_eq!(read.meta, r#"{"name":"Ann"}"#);
    }

    #[test]
    fn every_mistake_of_the_command_is_reported() {
        let arguments = ["--ttl=0", "--meta=[]", "--max-peers=many", "--perm=fly", "--sub=a", "--sub=b"];
        assert_eq!(parse(&arguments).1.len(), 5);
        assert_eq!(parse(&[&format!("--sub={}", "x".repeat(257))]).1.len(), 1);
        assert_eq!(parse(&["--ttl=366d"]).1.len(), 1);
    }

    #[test]
    fn without_a_secret_the_command_says_where_to_get_one() {
        let (wanted, _) = parse(&["--room=a"]);
        let directory = tempfile::tempdir().unwrap();
        let nothing = Signing { token_secrets: Vec::new(), state_dir: Some(directory.path().to_owned()) };
        assert!(sign(&wanted, &nothing, 0).unwrap_err().contains("start `turnpike serve` once"));
    }
}
