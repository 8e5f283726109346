//! Room names with wildcards.

use serde::{Deserialize, Serialize};

/// A pattern of room names: `*` stands for any run of characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glob(pub String);

impl Glob {
    /// Returns whether the pattern covers the whole of `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // Where to go on when the last star takes one character more.
        let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
        loop {
            let (mut ahead, mut tail) = (pattern.clone(), rest.clone());
            match (ahead.next(), tail.next()) {
                (Some('*'), _) => {
                    retry = Some((ahead.clone(), rest.clone()));
                    pattern = ahead;
                }
                (Some('?'), Some(_)) => (pattern, rest) = (ahead, tail),
                (Some(wanted), Some(found)) if wanted == found => (pattern, rest) = (ahead, tail),
                (None, None) => return true,
                _ => {
                    let Some((after_star, taken)) = &mut retry else { return false };
                    if taken.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after_star.clone(), taken.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_cover_runs_and_question_marks_one_character() {
        for (pattern, name, matches) in [
            ("tea", "tea", true),
            ("tea", "teas", false),
            ("tea", "te", false),
            ("", "", true),
            ("*", "", true),
            ("*", "anything", true),
            ("room-*", "room-", true),
            ("room-*", "room-7", true),
            ("room-*", "rom-7", false),
            ("t?a", "tea", true),
            ("t?a", "täa", true),
            ("t?a", "ta", false),
            ("*-a-*-b", "x-a-y-a-z-b", true),
            ("*-a-*-b", "x-a-y-a-z-c", false),
            ("**?", "", false),
            ("**?", "x", true),
        ] {
            assert_eq!(Glob(pattern.into()).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length_times_the_name() {
        let pattern = Glob("*a".repeat(2000));
        assert!(!pattern.matches(&"a".repeat(1999)));
    }
}
