//! `turnpike reload` and `turnpike status`: what an operator asks of a running daemon.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use crate::config::admin::REACH_FLAGS;
use crate::config::arguments::{Known, clap_argument};
use crate::config::flags;
use crate::node::operator;

/// Builds one of the commands.
pub fn command(name: &'static str, about: &'static str) -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    Command::new(name).about(about).arg(json).args(REACH_FLAGS.map(|name| clap_argument(flags::flag(name))))
}

/// Returns the flags that the commands accept.
pub fn known_flags() -> Vec<Known> {
    let json = Known { name: "json", takes_value: false };
    REACH_FLAGS.iter().map(|name| Known::from(flags::flag(name))).chain([json]).collect()
}

/// Tells whether JSON is wanted.
pub fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_flag("json")
}

/// Has the daemon read its configuration again. Returns what to print; the error is what went wrong.
pub fn reload(paths: &[PathBuf], json: bool) -> Result<String, String> {
    let (body, answer) = ask(paths, &Method::POST, "/v1/admin/reload")?;
    if json {
        return Ok(body + "\n");
    }
    let names = |key: &str| {
        let list = answer[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let (changed, restart) = (names("changed"), names("restart"));
    let mut text = String::new();
    if changed.is_empty() && restart.is_empty() {
        text.push_str("nothing differs\n");
    }
    if !changed.is_empty() {
        let _ = writeln!(text, "in force now: {changed}");
    }
    if !restart.is_empty() {
        let _ = writeln!(text, "waits for a restart: {restart}");
    }
    Ok(text)
}

/// Asks how the daemon is.
pub fn status(paths: &[PathBuf], json: bool) -> Result<String, String> {
    let (body, answer) = ask(paths, &Method::GET, "/v1/admin/status")?;
    if json {
        return Ok(body + "\n");
    }
    let mut text = String::new();
    let healthy = answer["healthy"] == Value::Bool(true);
    let state = if healthy { "every part answers" } else { "a part does not answer" };
    let version = answer["version"].as_str().unwrap_or_default();
    let _ = writeln!(text, "turnpike {version}, up {} s: {state}", answer["uptime_s"]);
    for listener in answer["listeners"].as_array().into_iter().flatten() {
        let word = |key: &str| listener[key].as_str().unwrap_or_default().to_owned();
        let _ = writeln!(text, "listens   {:<6}{}", word("protocol"), word("address"));
    }
    for relay in answer["relays"].as_array().into_iter().flatten() {
        let word = |key: &str| relay[key].as_str().unwrap_or_default().to_owned();
        let (local, advertised) = (word("local"), word("advertised"));
        let name = if local == advertised { local } else { format!("{local}, advertised as {advertised}") };
        let _ = writeln!(text, "relays    {name}");
    }
    for (key, label) in [
        ("allocations", "allocations"),
        ("turn_streams", "TURN connections over TCP and TLS"),
        ("sessions", "signaling sessions"),
        ("rooms", "rooms"),
        ("websockets", "WebSockets"),
        ("event_streams", "event streams"),
        ("feeds", "feeds of rooms"),
    ] {
        if let Some(count) = answer[key].as_u64() {
            let _ = writeln!(text, "{count:<9} {label}");
        }
    }
    if healthy { Ok(text) } else { Err(text) }
}

/// Asks the daemon. Returns its answer as it came and as it reads; the error is a refusal, or that none came.
fn ask(paths: &[PathBuf], method: &Method, path: &str) -> Result<(String, Value), String> {
    let (status, body) = operator::ask(paths, method, path).map_err(|error| format!("{error}\n"))?;
    let answer: Value =
        serde_json::from_str(&body).map_err(|_| format!("an answer that is no JSON: {body}\n"))?;
    if status == 200 { Ok((body, answer)) } else { Err(refusal(status, &answer)) }
}

fn refusal(status: u16, answer: &Value) -> String {
    let mistakes: Vec<&str> =
        answer["mistakes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = format!("refused ({status}): {}\n", answer["detail"].as_str().unwrap_or_default());
    for mistake in mistakes {
        let _ = writeln!(text, "  {mistake}");
    }
    text
}
