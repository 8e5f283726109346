//! Takes raw values one flag at a time, and remembers every mistake and warning.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::flags::{self, Fallback};
use crate::config::mistake::{Fault, Mistake, Origin};
use crate::config::raw::{Raw, RawValue};
use crate::config::state;

/// The raw values with what was found wrong so far.
pub struct Reader<'a> {
    raw: &'a Raw,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
    bad: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(raw: &'a Raw, mistakes: Vec<Mistake>) -> Reader<'a> {
        Reader { raw, mistakes, warnings: Vec::new(), bad: BTreeSet::new() }
    }

    /// Reads every value of a flag with its origin; `None` where it is not given.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<(T, Origin)>> {
        let raw = self.raw;
        for hidden in raw.hidden(name) {
            self.parse(name, hidden, &parse);
        }
        let values = raw.winning(name)?;
        Some(
            values
                .iter()
                .filter_map(|value| Some((self.parse(name, value, &parse)?, value.origin.clone())))
                .collect(),
        )
    }

    /// Reads the value of a flag; `None` where it is not given, or wrong.
    pub fn single<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        self.list(name, parse)?.pop().map(|(value, _)| value)
    }

    /// Reads the value of a flag, or its fallback.
    pub fn value<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Fault>) -> T {
        let Fallback::Value(fallback) = flags::flag(name).fallback else {
            unreachable!("--{name} has a fallback value in the table");
        };
        self.single(name, &parse).unwrap_or_else(|| match parse(fallback) {
            Ok(value) => value,
            Err(fault) => unreachable!("the fallback of --{name} parses: {fault:?}"),
        })
    }

    pub fn is_given(&self, name: &str) -> bool {
        self.raw.winning(name).is_some()
    }

    /// Tells whether nothing was wrong with these flags, so that they may be compared.
    pub fn are_good(&self, names: &[&str]) -> bool {
        !names.iter().any(|name| self.bad.contains(name))
    }

    /// Notes a mistake of a flag that parsed well.
    pub fn blame(&mut self, name: &'static str, problem: impl Into<String>, advice: impl Into<String>) {
        let values = self.raw.winning(name).unwrap_or_default();
        let mut mistake = Mistake::new(self.raw.origin(name), problem, advice);
        if let [value] = values
            && !flags::flag(name).secret
        {
            mistake = mistake.given(value.text.as_str());
        }
        self.bad.insert(name);
        self.mistakes.push(mistake);
    }

    /// Notes a mistake at a known place.
    pub fn blame_at(&mut self, origin: Origin, problem: impl Into<String>, advice: impl Into<String>) {
        self.mistakes.push(Mistake::new(origin, problem, advice));
    }

    /// Reads a file whose content is a secret.
    pub fn secret_file(
        &mut self,
        name: &'static str,
        path: &Path,
        origin: &Origin,
    ) -> Option<Zeroizing<String>> {
        self.warn_if_open(path);
        match fs::read_to_string(path) {
            Ok(text) => Some(Zeroizing::new(text)),
            Err(error) => {
                let problem = format!("the file cannot be read: {error}");
                let mistake = Mistake::new(origin.clone(), problem, "check path and permissions");
                self.mistakes.push(mistake.given(path.to_string_lossy()));
                self.bad.insert(name);
                None
            }
        }
    }

    /// Reads a file that is public.
    pub fn public_file(&mut self, name: &'static str, path: &Path) -> Option<String> {
        let read = fs::read_to_string(path);
        read.map_err(|error| {
            self.blame(name, format!("the file cannot be read: {error}"), "check path and permissions");
        })
        .ok()
    }

    pub fn warn_if_open(&mut self, path: &Path) {
        self.warnings.extend(state::warning_if_open(path));
    }

    fn parse<T>(
        &mut self,
        name: &'static str,
        value: &RawValue,
        parse: &impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match parse(&value.text) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                let given = (!flags::flag(name).secret).then(|| value.text.to_string());
                self.mistakes.push(Mistake { origin: value.origin.clone(), given, fault });
                self.bad.insert(name);
                None
            }
        }
    }
}

/// Reads a path.
pub fn path(text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the path is empty", "write a path"));
    }
    Ok(PathBuf::from(text))
}
