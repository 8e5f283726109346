//! `docs/configuration.md`, written from the table of flags.

use std::fmt::Write;

use crate::config::flags::{self, FLAGS, Kind};

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
                flags::Fallback::Value(value) => format!("`{value}`"),
                flags::Fallback::Described(text) => text.to_owned(),
                flags::Fallback::Nothing if flag.kind == Kind::Switch => "`false`".to_owned(),
                flags::Fallback::Nothing => "none".to_owned(),
            };
            let escaped = |text: &str| text.replace('|', "\\|");
            let setting = escaped(&format!("`--{}{value}`{repeat}", flag.name));
            let _ = writeln!(text, "| {setting} | {} | {} |", escaped(&default), escaped(flag.help));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
