//! The man page and the shell completions that the package ships, generated from the flag definitions.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use turnpike::config::flags::FLAGS;

fn assert_up_to_date(path: &str, text: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let written = fs::read(&path).unwrap_or_default();
    assert!(written == text, "{}: run UPDATE_DOCS=1 cargo test --test generated", path.display());
}

/// The command line with what a shell can offer for each value.
fn completable() -> Command {
    fn values(argument: Arg) -> Arg {
        let Some(name) = argument.get_value_names().and_then(|names| names.first()) else { return argument };
        let name = name.to_string();
        let words: Vec<String> = name.split('|').map(str::to_owned).collect();
        if words.len() > 1 && words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())) {
            return argument.value_parser(PossibleValuesParser::new(words));
        }
        match name.as_str() {
            "LEVEL" => argument.value_parser(["error", "warn", "info", "debug", "trace"]),
            "FILE" | "PEM" | "FILE|URL" | "PATH" => argument.value_hint(ValueHint::FilePath),
            "DIR" => argument.value_hint(ValueHint::DirPath),
            _ => argument.value_hint(ValueHint::Other),
        }
    }
    let mut command = turnpike::cli::command();
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |command| command.mut_args(values));
    }
    command
}

#[test]
fn completions_are_up_to_date() {
    for (shell, file) in
        [(Shell::Bash, "turnpike.bash"), (Shell::Zsh, "_turnpike"), (Shell::Fish, "turnpike.fish")]
    {
        let mut text = Vec::new();
        generate(shell, &mut completable(), "turnpike", &mut text);
        assert_up_to_date(&format!("packaging/completions/{file}"), &text);
    }
}

/// `turnpike(1)`: the commands, and the settings as flags of `serve`.
fn manual() -> Vec<u8> {
    let mut page = Vec::new();
    let command = turnpike::cli::command();
    let serve = command.find_subcommand("serve").unwrap().clone().disable_help_flag(true);
    let man = Man::new(command);
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_subcommands_section(&mut page).unwrap();
    page.extend(SETTINGS.bytes());
    Man::new(serve).render_options_section(&mut page).unwrap();
    page.extend(END.bytes());
    page
}

const SETTINGS: &str = "\
.SH DESCRIPTION
Every setting below is a flag of \\fBturnpike serve\\fR and \\fBturnpike check\\-config\\fR, an environment variable
(\\fBTURNPIKE_RELAY_PORTS\\fR) and a key of the file (\\fBrelay\\-ports\\fR). Flags win over the environment, that over
the file.
";

const END: &str = "\
.SH \"EXIT STATUS\"
0 fine, 1 failed, 2 a mistake in the command line, the environment or the file.
.SH FILES
\\fI/etc/turnpike/turnpike.toml\\fR, \\fI/etc/default/turnpike\\fR, \\fI/var/lib/turnpike\\fR
";

#[test]
fn the_manual_is_up_to_date_and_names_every_flag() {
    let page = manual();
    assert_up_to_date("packaging/man/turnpike.1", &page);
    let page = String::from_utf8(page).unwrap();
    for flag in &FLAGS {
        let spelled = format!("\\fB\\-\\-{}\\fR", flag.name.replace('-', "\\-"));
        assert!(page.contains(&spelled), "--{}", flag.name);
    }
}

#[test]
fn the_pages_of_the_commands_are_up_to_date() {
    for command in turnpike::cli::command().get_subcommands() {
        let name = format!("turnpike-{}", command.get_name());
        if ["serve", "check-config"].contains(&command.get_name()) {
            continue;
        }
        let mut page = Vec::new();
        let own = command.clone().name(name.clone()).bin_name(name.replacen('-', " ", 1));
        Man::new(own).render(&mut page).unwrap();
        assert_up_to_date(&format!("packaging/man/{name}.1"), &page);
    }
}
