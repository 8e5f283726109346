//! Makes text from outside harmless in a log line.

use std::fmt::{self, Write};

const LONGEST_SUBJECT: usize = 128;

/// A user name or subject as it came, for a log field: quoted where it is more than a word, and cut at 128 bytes.
#[derive(Clone, Copy)]
pub struct Subject<'a>(&'a [u8]);

impl<'a> From<&'a str> for Subject<'a> {
    fn from(text: &'a str) -> Subject<'a> {
        Subject(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Subject<'a> {
    fn from(bytes: &'a [u8]) -> Subject<'a> {
        Subject(bytes)
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:@~+".contains(byte);
        let shown = &self.0[..self.0.len().min(LONGEST_SUBJECT)];
        if !shown.is_empty() && shown.iter().all(is_word) {
            f.write_str(&String::from_utf8_lossy(shown))?;
        } else {
            f.write_char('"')?;
            for chunk in shown.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '"' | '\\' => write!(f, "\\{c}")?,
                        c => write_safe(f, c)?,
                    }
                }
                for byte in chunk.invalid() {
                    write!(f, "\\x{byte:02x}")?;
                }
            }
            f.write_char('"')?;
        }
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// Escapes everything in a line that could end it, move a cursor or turn the direction of writing.
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        write_safe(&mut safe, c).expect("writing to a string does not fail");
    }
    safe
}

/// Does the same for a line of JSON, which stays JSON: such characters stand in its strings only.
pub fn json_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_unsafe(c) {
            write!(safe, "\\u{:04x}", u32::from(c)).expect("writing to a string does not fail");
        } else {
            safe.push(c);
        }
    }
    safe
}

fn write_safe(out: &mut impl Write, c: char) -> fmt::Result {
    if is_unsafe(c) { write!(out, "\\u{{{:x}}}", u32::from(c)) } else { out.write_char(c) }
}

fn is_unsafe(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_subject_stands_bare() {
        assert_eq!(Subject::from("1790000000:alice").to_string(), "1790000000:alice");
    }

    #[test]
    fn a_subject_cannot_forge_a_field() {
        assert_eq!(Subject::from("a level=ERROR").to_string(), "\"a level=ERROR\"");
        assert_eq!(Subject::from("a\" b=\"").to_string(), "\"a\\\" b=\\\"\"");
        assert_eq!(Subject::from("").to_string(), "\"\"");
    }

    #[test]
    fn invalid_utf8_and_control_characters_are_spelled_out() {
        assert_eq!(Subject::from(&b"\xff\x1b[2Jol\xc3\xa9"[..]).to_string(), "\"\\xff\\u{1b}[2Jolé\"");
    }

    #[test]
    fn a_line_of_json_stays_json() {
        let event = serde_json::json!({ "path": "a\u{202e}b\u{7f}\u{9b}c\nd" });
        let line = json_line(&event.to_string());
        assert!(line.chars().all(|c| !is_unsafe(c)), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), event);
    }

    #[test]
    fn a_long_subject_is_cut() {
        let text = Subject::from("x".repeat(1000).as_str()).to_string();
        assert_eq!(text.chars().count(), LONGEST_SUBJECT + 1);
    }
}
