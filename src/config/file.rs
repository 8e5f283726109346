//! The TOML file as a layer of values, each with its line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::flags::{self, FLAGS};
use crate::config::mistake::{Mistake, Origin};
use crate::config::raw::{Layer, RawValue};

/// Reads the text of a file; `path` is for messages only.
pub fn layer(path: &Path, text: &str) -> (Layer, Vec<Mistake>) {
    let mut layer = Layer::default();
    let mut mistakes = Vec::new();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map(|span| line_of(text, span.start));
        let origin = Origin::File { path: path.to_owned(), line };
        mistakes.push(Mistake::new(origin, error.message(), "write it as TOML: key = \"value\""));
    }
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        let at = |span: std::ops::Range<usize>| Origin::Key {
            path: path.to_owned(),
            line: line_of(text, span.start),
            key: name.to_owned(),
        };
        let origin = at(key.span());
        let Some(flag) = flags::find(name) else {
            mistakes.push(unknown_key(origin, name));
            continue;
        };
        if flag.name == "config" {
            let advice = "use --config or TURNPIKE_CONFIG";
            mistakes.push(Mistake::new(origin, "a file cannot name another file", advice));
            continue;
        }
        let elements: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array() {
            Some(_) if !flag.is_list() => {
                mistakes.push(Mistake::new(origin, "one value is expected, not a list", "leave out [ and ]"));
                continue;
            }
            Some(array) => array.iter().collect(),
            None => vec![value],
        };
        let mut values = Vec::new();
        for element in elements {
            match scalar(element.get_ref()) {
                Some(text) => values.push(RawValue::new(text, at(element.span()))),
                None => mistakes.push(Mistake::new(
                    at(element.span()),
                    format!("a {} makes no sense here", element.get_ref().type_str()),
                    "write a string, an integer or a boolean at the top level of the file",
                )),
            }
        }
        layer.0.insert(flag.name, values);
    }
    mistakes.sort_by_key(line);
    (layer, mistakes)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            Some(number.map_or_else(|_| integer.to_string(), |number| number.to_string()))
        }
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn unknown_key(origin: Origin, name: &str) -> Mistake {
    let keys = FLAGS.iter().map(|flag| flag.name).filter(|name| *name != "config");
    let advice = match flags::nearest(name, keys) {
        Some(near) => format!("did you mean {near}?"),
        None => "remove it".to_owned(),
    };
    Mistake::new(origin, "there is no such key", advice)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn line(mistake: &Mistake) -> usize {
    match mistake.origin {
        Origin::Key { line, .. } | Origin::File { line: Some(line), .. } => line,
        Origin::File { .. }
        | Origin::CommandLine
        | Origin::Flag(_)
        | Origin::Variable(_)
        | Origin::Unset(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Layer, Vec<String>) {
        let (layer, mistakes) = layer(Path::new("t.toml"), text);
        (layer, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn native_types_and_strings_mean_the_same() {
        let (layer, mistakes) = read(
            "workers = 4\nmax-bitrate = \"2mbit\"\ntls-self-signed = true\nmax-channels = 1_000\n\
             listen = [\n  \"127.0.0.1:1\",\n  \"127.0.0.1:2\",\n]\nuser = \"a:b,c\"\n",
        );
        assert_eq!(mistakes, [""; 0]);
        let texts = |name: &str| layer.0[name].iter().map(|v| v.text.to_string()).collect::<Vec<_>>();
        assert_eq!(texts("workers"), ["4"]);
        assert_eq!(texts("max-channels"), ["1000"]);
        assert_eq!(texts("tls-self-signed"), ["true"]);
        assert_eq!(texts("user"), ["a:b,c"]);
        assert_eq!(texts("listen"), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(
            layer.0["listen"][1].origin,
            Origin::Key { path: "t.toml".into(), line: 7, key: "listen".into() }
        );
    }

    #[test]
    fn every_mistake_has_its_line() {
        let (_, mistakes) = read("relay-prots = 1\n\n[listen]\na = 1\n[zzz]\n");
        assert_eq!(
            mistakes,
            [
                "t.toml, line 1, relay-prots: there is no such key; did you mean relay-ports?",
                "t.toml, line 3, listen: a table makes no sense here; write a string, an integer or a \
                 boolean at the top level of the file",
                "t.toml, line 5, zzz: there is no such key; remove it",
            ]
        );
    }

    #[test]
    fn a_syntax_error_does_not_hide_an_unknown_key() {
        let (_, mistakes) = read("realm = \nlisen = \"x\"\nrealm = \"a\"\nrealm = \"b\"\n");
        assert!(mistakes.iter().any(|m| m.starts_with("t.toml, line 1:")), "{mistakes:?}");
        assert!(mistakes.iter().any(|m| m.contains("did you mean listen?")), "{mistakes:?}");
        assert!(mistakes.iter().any(|m| m.contains("line 4")), "{mistakes:?}");
    }
}
