//! `docs/configuration.md` and the packaged file, written from the table of flags.

use std::fmt::Write;

use crate::config::flags::{self, FLAGS, Fallback, Flag, Kind};

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from src/config/flags.rs: UPDATE_DOCS=1 cargo test --lib configuration_document -->

Every setting has one name: `--relay-ports` on the command line is `TURNPIKE_RELAY_PORTS` in the environment and
`relay-ports` in the TOML file. The command line wins over the environment, that over the file; a list is replaced as a
whole, never joined. `turnpike check-config` takes the same settings as `turnpike serve` and opens no socket.

Unknown names and impossible values stop the start. One message lists every mistake of all three places, with its line;
the exit code is 2.

- Times are written `20s`, `10m`, `1h` or `2d`; a plain number counts seconds.
  `--resume-grace` and `--ping-interval` take `200ms` too.
- Sizes are written `512k`, `4m` or `1g` (powers of 1024); a plain number counts bytes.
- Bit rates are written `500kbit`, `2mbit` or `1gbit`; a plain number counts bits a second.
- For every `max-` setting, every rate and every bound of memory, 0 means unlimited.
- Networks are written as CIDR (`10.0.0.0/8`) or as one address; a range `a-b` is answered with the networks to write.
- In the environment, lists are comma separated; `TURNPIKE_USER`, `TURNPIKE_AUTH_SECRET`, `TURNPIKE_API_KEY` and
  `TURNPIKE_TOKEN_SECRET` have one entry a line.
- In the file, keys stand at the top level; numbers, booleans and arrays may be TOML's own.
- `TURNPIKE_FLAGS` is left to the service unit; any other `TURNPIKE_` variable must be one of these.
";

/// Renders the reference of all settings.
pub fn configuration() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in flags::sections() {
        let _ = write!(text, "\n## {section}\n\n| setting | default | meaning |\n| --- | --- | --- |\n");
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            let value = if flag.kind == Kind::Switch { String::new() } else { format!(" {}", flag.value) };
            let repeat = if flag.is_list() { " (repeatable)" } else { "" };
            let default = match flag.fallback {
                Fallback::Value(value) => format!("`{value}`"),
                Fallback::Described(text) => text.to_owned(),
                Fallback::Nothing if flag.kind == Kind::Switch => "`false`".to_owned(),
                Fallback::Nothing => "none".to_owned(),
            };
            let escaped = |text: &str| text.replace('|', "\\|");
            let setting = escaped(&format!("`--{}{value}`{repeat}", flag.name));
            let _ = writeln!(text, "| {setting} | {} | {} |", escaped(&default), escaped(flag.help));
        }
    }
    text
}

const FILE_HEAD: &str = "\
# The configuration of Turnpike. Every key is a flag of `turnpike serve` too (--relay-ports), and a variable
# (TURNPIKE_RELAY_PORTS); flags win over variables, variables over this file. A line that begins with #key shows the
# default, or the form of the value.
#   turnpike check-config        says what is wrong, and starts nothing
#   systemctl reload turnpike    applies what changed, without dropping a call
# Times: 20s, 10m, 1h, 2d. Sizes: 512k, 4m, 1g. Bit rates: 500kbit, 2mbit, 1gbit.
";

/// Width of the comments of the packaged file.
const WIDTH: usize = 100;

/// Renders the packaged file: every key with its meaning, none of them set.
pub fn packaged_file() -> String {
    let mut text = FILE_HEAD.to_owned();
    for section in flags::sections() {
        let in_file = |flag: &&Flag| flag.section == section && flag.name != "config";
        let mut keys = FLAGS.iter().filter(in_file).peekable();
        if keys.peek().is_some() {
            let _ = write!(text, "\n\n# == {section}\n");
        }
        for flag in keys {
            let default = match flag.fallback {
                Fallback::Described(default) => format!(" [default: {default}]"),
                Fallback::Value(_) | Fallback::Nothing => String::new(),
            };
            text.push('\n');
            comment(&mut text, &format!("{}{default}", flag.help));
            let _ = writeln!(text, "#{} = {}", flag.name, example(flag));
        }
    }
    text
}

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// The default as TOML, else the form of a value.
fn example(flag: &Flag) -> String {
    let value = match flag.fallback {
        Fallback::Value(value) => value,
        Fallback::Described(_) | Fallback::Nothing => flag.value,
    };
    match flag.kind {
        Kind::Switch => "false".to_owned(),
        Kind::List | Kind::Lines => format!("[\"{value}\"]"),
        Kind::Single if value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        Kind::Single => format!("\"{value}\""),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::config::file;

    use super::*;

    #[test]
    fn the_packaged_file_is_up_to_date_and_its_keys_can_be_set() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/turnpike.toml");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, packaged_file()).unwrap();
        }
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(written == packaged_file(), "run UPDATE_DOCS=1 cargo test --lib packaged_file");
        let set: String = written
            .lines()
            .filter_map(|line| {
                line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()))
            })
            .map(|key| format!("{key}\n"))
            .collect();
        let (layer, mistakes) = file::layer(Path::new("t.toml"), &set);
        assert_eq!(mistakes.len(), 0, "{mistakes:?}");
        assert_eq!(layer.0.len(), FLAGS.len() - 1);
        assert!(file::layer(Path::new("t.toml"), &written).0.0.is_empty());
    }

    #[test]
    fn the_configuration_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, configuration()).unwrap();
        }
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(written == configuration(), "run UPDATE_DOCS=1 cargo test --lib configuration_document");
    }
}
