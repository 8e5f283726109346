//! The command line: the scan that finds every mistake, and the layer of values behind it.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches};

use crate::config::flags::{self, Flag, Kind};
use crate::config::mistake::{Mistake, Origin};
use crate::config::raw::{Layer, RawValue};

/// A flag that a command accepts.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    pub takes_value: bool,
}

impl From<&'static Flag> for Known {
    fn from(flag: &'static Flag) -> Known {
        Known { name: flag.name, takes_value: flag.kind != Kind::Switch }
    }
}

/// What a scan leaves for clap, and what it found wrong.
#[derive(Debug, Default)]
pub struct Scan {
    /// Arguments that clap will accept: `--name=value`, `--name`, then positionals behind `--`.
    pub clean: Vec<String>,
    pub mistakes: Vec<Mistake>,
}

/// Sorts the arguments of a command, so that one mistake does not hide the next.
///
/// A word that begins with two dashes is never taken for a value; `--name=--value` says it is one.
pub fn scan(arguments: impl IntoIterator<Item = OsString>, known: &[Known], positionals: usize) -> Scan {
    let mut scan = Scan::default();
    let mut free = Vec::new();
    let mut after_unknown = false;
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let Ok(argument) = argument.into_string() else {
            let fault = "an argument is not UTF-8";
            scan.mistakes.push(Mistake::new(Origin::CommandLine, fault, "write it in UTF-8"));
            continue;
        };
        if matches!(argument.as_str(), "-h" | "--help" | "-V" | "--version") {
            scan.clean.push(argument);
            continue;
        }
        if argument == "--" {
            free.extend(arguments.by_ref().map(|rest| rest.to_string_lossy().into_owned()));
            break;
        }
        let Some(long) = argument.strip_prefix("--") else {
            if argument.starts_with('-') && argument.len() > 1 {
                scan.mistakes.push(unknown_flag(argument.trim_start_matches('-'), known));
            } else if !std::mem::take(&mut after_unknown) {
                free.push(argument);
            }
            continue;
        };
        after_unknown = false;
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let Some(flag) = known.iter().find(|flag| flag.name == name) else {
            scan.mistakes.push(unknown_flag(name, known));
            after_unknown = value.is_none();
            continue;
        };
        if !flag.takes_value {
            scan.clean.push(argument);
            continue;
        }
        let next = arguments.next_if(|next| value.is_none() && !next.as_encoded_bytes().starts_with(b"--"));
        let next = next.map(|next| next.to_string_lossy().into_owned());
        match value.or(next) {
            Some(value) => scan.clean.push(format!("--{name}={value}")),
            None => scan.mistakes.push(Mistake::new(
                Origin::Flag(name.to_owned()),
                "the value is missing",
                format!("write --{name}=VALUE"),
            )),
        }
    }
    for surplus in free.drain(positionals.min(free.len())..) {
        let mistake = Mistake::new(Origin::CommandLine, "nothing is expected here", "leave it out");
        scan.mistakes.push(mistake.given(surplus));
    }
    if !free.is_empty() {
        scan.clean.push("--".to_owned());
        scan.clean.extend(free);
    }
    scan
}

/// Builds clap's argument for a flag, help and heading included.
pub fn clap_argument(flag: &'static Flag) -> Arg {
    let mut help = flag.help.to_owned();
    if let Some(text) = flag.fallback.text() {
        help.push_str(&format!(" [default: {text}]"));
    }
    if flag.is_list() {
        help.push_str(" (repeatable)");
    }
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .help(help)
        .help_heading(flag.section)
        .action(ArgAction::Append)
        .allow_hyphen_values(true);
    match flag.kind {
        Kind::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true),
        Kind::Single | Kind::List | Kind::Lines => argument.num_args(1).value_name(flag.value),
    }
}

/// Reads the layer of values out of clap's matches.
pub fn layer(matches: &ArgMatches) -> (Layer, Vec<Mistake>) {
    let mut layer = Layer::default();
    let mut mistakes = Vec::new();
    for flag in &flags::FLAGS {
        let Ok(Some(values)) = matches.try_get_many::<String>(flag.name) else { continue };
        let origin = Origin::Flag(flag.name.to_owned());
        let values: Vec<_> = values.map(|text| RawValue::new(text.as_str(), origin.clone())).collect();
        if values.len() > 1 && !flag.is_list() {
            let problem = format!("given {} times", values.len());
            mistakes.push(Mistake::new(origin, problem, "give it once"));
        }
        layer.0.insert(flag.name, values);
    }
    (layer, mistakes)
}

fn unknown_flag(name: &str, known: &[Known]) -> Mistake {
    let advice = match flags::nearest(name, known.iter().map(|flag| flag.name)) {
        Some(near) => format!("did you mean --{near}?"),
        None => "see --help for the list".to_owned(),
    };
    Mistake::new(Origin::Flag(name.to_owned()), "there is no such flag", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_serve(arguments: &[&str]) -> Scan {
        let known: Vec<Known> = flags::FLAGS.iter().map(Known::from).collect();
        scan(arguments.iter().map(OsString::from), &known, 0)
    }

    fn messages(scan: &Scan) -> Vec<String> {
        scan.mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_arguments_pass_through_in_order() {
        let scan = scan_serve(&["--realm", "a", "--tls-self-signed", "--user=u:--p", "--realm", ""]);
        assert!(scan.mistakes.is_empty());
        assert_eq!(scan.clean, ["--realm=a", "--tls-self-signed", "--user=u:--p", "--realm="]);
    }

    #[test]
    fn every_unknown_flag_and_missing_value_is_reported() {
        let scan = scan_serve(&["--relm", "x", "--listen", "--workers", "2", "--lisen=y", "stray", "-q"]);
        assert_eq!(scan.clean, ["--workers=2"]);
        assert_eq!(
            messages(&scan),
            [
                "--relm: there is no such flag; did you mean --realm?",
                "--listen: the value is missing; write --listen=VALUE",
                "--lisen: there is no such flag; did you mean --listen?",
                "--q: there is no such flag; see --help for the list",
                "command line: \"stray\": nothing is expected here; leave it out",
            ]
        );
    }

    #[test]
    fn positionals_reach_clap_behind_two_dashes() {
        let scan = scan([OsString::from("alice"), OsString::from("bob")], &[], 1);
        assert_eq!(scan.clean, ["--", "alice"]);
        assert_eq!(scan.mistakes.len(), 1);
    }
}
