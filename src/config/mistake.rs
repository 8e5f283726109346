//! What can be wrong with a configuration, and the one message that lists it.

use std::fmt;
use std::path::PathBuf;

/// Where a value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line as a whole.
    CommandLine,
    /// A flag of the command line, without its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A key of the configuration file.
    Key { path: PathBuf, line: usize, key: String },
    /// A file that the configuration names, and a line of it where one is to blame.
    File { path: PathBuf, line: Option<usize> },
    /// A flag that was not given.
    Unset(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => f.write_str("command line"),
            Origin::Flag(name) => write!(f, "--{}", printable(name)),
            Origin::Variable(name) => f.write_str(&printable(name)),
            Origin::Key { path, line, key } => {
                write!(f, "{}, line {line}, {}", printable(&path.to_string_lossy()), printable(key))
            }
            Origin::File { path, line: Some(line) } => {
                write!(f, "{}, line {line}", printable(&path.to_string_lossy()))
            }
            Origin::File { path, line: None } => f.write_str(&printable(&path.to_string_lossy())),
            Origin::Unset(name) => write!(f, "--{name} (not given)"),
        }
    }
}

/// What is wrong with a value, and what to do; the parser that finds it does not know the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub problem: String,
    pub advice: String,
}

impl Fault {
    pub fn new(problem: impl Into<String>, advice: impl Into<String>) -> Fault {
        Fault { problem: problem.into(), advice: advice.into() }
    }
}

/// One mistake of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub origin: Origin,
    /// What was typed, unless it is a secret or nothing was.
    pub given: Option<String>,
    pub fault: Fault,
}

impl Mistake {
    pub fn new(origin: Origin, problem: impl Into<String>, advice: impl Into<String>) -> Mistake {
        Mistake { origin, given: None, fault: Fault::new(problem, advice) }
    }

    #[must_use]
    pub fn given(mut self, text: impl Into<String>) -> Mistake {
        self.given = Some(text.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some(given) = &self.given {
            write!(f, ": \"{}\"", shortened(&printable(given)))?;
        }
        write!(f, ": {}; {}", self.fault.problem, self.fault.advice)
    }
}

/// Every mistake of one start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        writeln!(f, "turnpike: {} {plural} in the configuration", self.0.len())?;
        for mistake in &self.0 {
            writeln!(f, "  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_place_value_problem_and_advice() {
        let origin = Origin::Key { path: "/etc/t.toml".into(), line: 3, key: "relay-ports".into() };
        let mistake = Mistake::new(origin, "the first port is above the last", "write 1-2").given("2-1");
        assert_eq!(
            mistake.to_string(),
            "/etc/t.toml, line 3, relay-ports: \"2-1\": the first port is above the last; write 1-2"
        );
    }

    #[test]
    fn control_characters_of_a_value_are_escaped() {
        let mistake = Mistake::new(Origin::Flag("realm".into()), "p", "a").given("\u{1b}[31m\n");
        assert_eq!(mistake.to_string(), "--realm: \"\\u{1b}[31m\\n\": p; a");
    }
}
