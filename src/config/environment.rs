//! The environment: `TURNPIKE_*` variables as a layer of values.

use std::ffi::OsString;

use crate::config::flags::{self, FLAGS, Kind};
use crate::config::mistake::{Mistake, Origin};
use crate::config::raw::{Layer, RawValue};

/// Reads every variable that begins with `TURNPIKE_`.
pub fn layer(variables: &[(OsString, OsString)]) -> (Layer, Vec<Mistake>) {
    let mut layer = Layer::default();
    let mut mistakes = Vec::new();
    let names: Vec<String> = FLAGS.iter().map(flags::Flag::variable).collect();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(flags::VARIABLE_PREFIX) || name == flags::FLAGS_VARIABLE {
            continue;
        }
        let origin = Origin::Variable(name.clone().into_owned());
        let Some(index) = names.iter().position(|known| *known == name) else {
            mistakes.push(unknown_variable(origin, &name, &names));
            continue;
        };
        let Some(value) = value.to_str() else {
            mistakes.push(Mistake::new(origin, "the value is not UTF-8", "write it in UTF-8"));
            continue;
        };
        let flag = &FLAGS[index];
        let parts: Vec<&str> = match flag.kind {
            Kind::Single | Kind::Switch => vec![value],
            Kind::List => value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
            Kind::Lines => value.lines().filter(|line| !line.is_empty()).collect(),
        };
        let values = parts.into_iter().map(|part| RawValue::new(part, origin.clone())).collect();
        layer.0.insert(flag.name, values);
    }
    mistakes.sort_by_key(ToString::to_string);
    (layer, mistakes)
}

fn unknown_variable(origin: Origin, name: &str, names: &[String]) -> Mistake {
    let bare = |name| str::strip_prefix(name, flags::VARIABLE_PREFIX).unwrap_or(name);
    let advice = match flags::nearest(bare(name), names.iter().map(|known| bare(known))) {
        Some(near) => format!("did you mean {}{near}?", flags::VARIABLE_PREFIX),
        None => "unset it".to_owned(),
    };
    Mistake::new(origin, "there is no such setting", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Layer, Vec<Mistake>) {
        let owned: Vec<_> =
            variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        layer(&owned)
    }

    fn texts(layer: &Layer, name: &str) -> Vec<String> {
        layer.0[name].iter().map(|value| value.text.to_string()).collect()
    }

    #[test]
    fn lists_are_comma_separated_and_secrets_one_a_line() {
        let (layer, mistakes) = read(&[
            ("TURNPIKE_LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("TURNPIKE_AUTH_SECRET", "a,b\nc"),
            ("TURNPIKE_ALLOW_PEER", ""),
            ("HOME", "/root"),
        ]);
        assert!(mistakes.is_empty());
        assert_eq!(texts(&layer, "listen"), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(texts(&layer, "auth-secret"), ["a,b", "c"]);
        assert!(layer.0["allow-peer"].is_empty());
    }

    #[test]
    fn unknown_variables_are_refused_but_for_turnpike_flags() {
        let (_, mistakes) = read(&[("TURNPIKE_FLAGS", "--x"), ("TURNPIKE_RELM", "a"), ("TURNPIKE_BIN", "b")]);
        assert_eq!(mistakes.len(), 2);
        assert_eq!(
            mistakes[1].to_string(),
            "TURNPIKE_RELM: there is no such setting; did you mean TURNPIKE_REALM?"
        );
    }
}
