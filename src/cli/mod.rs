//! The command line: finds the command, reports mistakes, and calls the rooms behind.

pub mod banner;
pub mod credential;
pub mod operate;
pub mod output;
pub mod serve;
pub mod token;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use crate::cli::output::{complain, print};
use crate::config::arguments::{self, Known, Scan};
use crate::config::facts::Facts;
use crate::config::mistake::{Mistake, Mistakes, Origin};
use crate::config::raw::Layer;
use crate::config::{self, Loaded};
use crate::net::clock;

const FINE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let name = arguments.first().and_then(|first| first.to_str()).map(str::to_owned);
    let (known, positionals) = match name.as_deref() {
        Some("serve" | "check-config") => (serve::known_flags(), 0),
        Some("credential") => (credential::known_flags(), 1),
        Some("token") => (token::known_flags(), 0),
        Some("reload" | "status") => (operate::known_flags(), 0),
        // Without a command there is a question for help, or a mistake that clap explains.
        _ => return finish(&command().try_get_matches_from(with_program(arguments)).err()),
    };
    let name = name.unwrap_or_default();
    match parse(&name, arguments.split_off(1), &known, positionals) {
        Ok((matches, mistakes)) => ExitCode::from(run(&name, matches.as_ref(), mistakes)),
        Err(help) => finish(&Some(help)),
    }
}

/// Builds the whole command line for help and parsing.
pub fn command() -> Command {
    Command::new("turnpike")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(110)
        .subcommand(serve::command("serve", "Run the daemon"))
        .subcommand(serve::command("check-config", "Check what serve would be told, and open no socket"))
        .subcommand(credential::command())
        .subcommand(token::command())
        .subcommand(operate::command("reload", "Have the daemon read its configuration again"))
        .subcommand(operate::command("status", "Ask a running daemon how it is"))
}

type Parsed = (Option<ArgMatches>, Vec<Mistake>);

/// Parses the arguments of a command; the error is the help text that was asked for.
fn parse(
    name: &str,
    arguments: Vec<OsString>,
    known: &[Known],
    positionals: usize,
) -> Result<Parsed, clap::Error> {
    let Scan { clean, mut mistakes } = arguments::scan(arguments, known, positionals);
    let clean = [name.to_owned()].into_iter().chain(clean).map(OsString::from).collect();
    match command().try_get_matches_from(with_program(clean)) {
        Ok(matches) => Ok((matches.subcommand().map(|(_, matches)| matches.clone()), mistakes)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Err(error)
        }
        Err(error) => {
            let text = error.to_string();
            let problem: Vec<&str> =
                text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            let problem = problem.join(" ");
            let problem = problem.trim_start_matches("error: ").to_owned();
            mistakes.push(Mistake::new(Origin::CommandLine, problem, "see --help"));
            Ok((None, mistakes))
        }
    }
}

fn run(name: &str, matches: Option<&ArgMatches>, mut mistakes: Vec<Mistake>) -> u8 {
    let facts = Facts::gather();
    let variables: Vec<_> = env::vars_os().collect();
    let (layer, found) = matches.map_or_else(|| (Layer::default(), Vec::new()), arguments::layer);
    mistakes.extend(found);
    if name == "credential" {
        let wanted = matches.map(credential::wanted);
        let (wanted, found) = wanted.map_or((None, Vec::new()), |(wanted, found)| (Some(wanted), found));
        mistakes.extend(found);
        let typed = config::collect((layer, mistakes), &variables, &facts);
        let minting = config::resolve_minting(typed, &facts);
        return report(minting, |minting| wanted.map_or(USAGE, |wanted| mint(&wanted, &minting)));
    }
    if name == "token" {
        let wanted = matches.map(token::wanted);
        let (wanted, found) = wanted.map_or((None, Vec::new()), |(wanted, found)| (Some(wanted), found));
        mistakes.extend(found);
        let typed = config::collect((layer, mistakes), &variables, &facts);
        let signing = config::resolve_signing(typed, &facts);
        return report(signing, |signing| wanted.map_or(USAGE, |wanted| sign(&wanted, &signing)));
    }
    if name == "reload" || name == "status" {
        let json = matches.is_some_and(operate::wants_json);
        let typed = config::collect((layer, mistakes), &variables, &facts);
        return report(config::resolve_reach(typed, &facts), |paths| {
            let asked =
                if name == "reload" { operate::reload(&paths, json) } else { operate::status(&paths, json) };
            match asked {
                Ok(text) => {
                    print(&text);
                    FINE
                }
                Err(text) => {
                    complain(&format!("turnpike: {text}"));
                    FAILED
                }
            }
        });
    }
    let typed = config::collect((layer.clone(), mistakes), &variables, &facts);
    let loaded = config::resolve_all(typed, &facts);
    report(loaded, |loaded| match name {
        "check-config" => check(&loaded),
        _ => {
            // Flags and environment are those of the start; the files are read anew.
            let read = move || {
                let facts = Facts::gather();
                let typed = config::collect((layer.clone(), Vec::new()), &variables, &facts);
                config::resolve_all(typed, &facts).map_err(|mistakes| lines(&mistakes))
            };
            serve::serve(loaded, read, clock::unix_now()).map_or(FAILED, |()| FINE)
        }
    })
}

fn lines(mistakes: &Mistakes) -> Vec<String> {
    mistakes.0.iter().map(ToString::to_string).collect()
}

fn check(loaded: &Loaded) -> u8 {
    let warnings = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    print(&(warnings.collect::<String>() + "configuration is fine\n"));
    FINE
}

fn mint(wanted: &credential::Wanted, minting: &config::credentials::Minting) -> u8 {
    let ttl = match credential::lifetime(wanted.ttl, minting) {
        Ok(ttl) => ttl,
        Err(fault) => {
            let mistake = Mistake { origin: Origin::Flag("ttl".to_owned()), given: None, fault };
            complain(&Mistakes(vec![mistake]).to_string());
            return USAGE;
        }
    };
    match credential::minting_secret(minting) {
        Ok(secret) => {
            print(&credential::mint(&secret, &wanted.subject, ttl, clock::unix_now(), wanted.json));
            FINE
        }
        Err(problem) => {
            complain(&format!("turnpike: {problem}\n"));
            FAILED
        }
    }
}

fn sign(wanted: &token::Wanted, signing: &config::credentials::Signing) -> u8 {
    match token::sign(wanted, signing, clock::unix_now()) {
        Ok(text) => {
            print(&text);
            FINE
        }
        Err(problem) => {
            complain(&format!("turnpike: {problem}\n"));
            FAILED
        }
    }
}

fn report<T>(result: Result<T, Mistakes>, go_on: impl FnOnce(T) -> u8) -> u8 {
    match result {
        Ok(value) => go_on(value),
        Err(mistakes) => {
            complain(&mistakes.to_string());
            USAGE
        }
    }
}

fn finish(error: &Option<clap::Error>) -> ExitCode {
    let Some(error) = error else { return ExitCode::from(FINE) };
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { USAGE } else { FINE })
}

fn with_program(arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    [OsString::from("turnpike")].into_iter().chain(arguments)
}
