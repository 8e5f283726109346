//! Strict JSON, scanned once: nesting and repeated keys are judged before anything is built, and values
//! stay the text that they were.

#![warn(missing_docs)]

use std::borrow::Cow;

/// Deepest nesting that a message may have, its own braces counted.
pub const MAX_DEPTH: usize = 64;

/// Room that is made for the members of an object: no request has more.
const USUAL_MEMBERS: usize = 10;
/// Keys of an object that are compared each with each, which is quicker than to sort so few.
const FEW_KEYS: usize = 16;
/// Bytes of a string that are judged together.
const BLOCK: usize = 16;

/// Why a text is no object that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Objects and arrays are nested too deep.
    Depth,
    /// The text is good JSON, but no object (or no array of objects).
    Kind,
    /// An object has the same key twice.
    RepeatedKey,
    /// The text is no JSON.
    Syntax,
}

/// One value as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    raw: &'a str,
    /// Whether white space stands between its tokens.
    spaced: bool,
}

/// One member of an object.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Key, unescaped.
    pub key: Cow<'a, str>,
    /// Key as it was written, quotes included.
    pub raw_key: &'a str,
    /// Value.
    pub value: Value<'a>,
}

impl<'a> Value<'a> {
    /// Returns the text without white space between its tokens.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        if self.spaced { Cow::Owned(compact(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// Returns the string that this is.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        unescape(self.raw)
    }

    /// Returns the number that this is, if it is written as an integer from 0 to 2^64 - 1.
    #[must_use]
    pub fn unsigned(self) -> Option<u64> {
        if self.raw.bytes().all(|byte| byte.is_ascii_digit()) { self.raw.parse().ok() } else { None }
    }

    /// Returns the integer that this is, held inside 0 to 2^64 - 1.
    #[must_use]
    pub fn clamped(self) -> Option<u64> {
        match self.raw.strip_prefix('-') {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(0),
            None if self.raw.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(self.raw.parse().unwrap_or(u64::MAX))
            }
            None => None,
        }
    }

    /// Returns the truth value that this is.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Returns whether this is null.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.raw == "null"
    }

    /// Returns whether this is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.raw.starts_with('{')
    }

    /// Returns the members of the object that this is.
    #[must_use]
    pub fn members(self) -> Option<Vec<Member<'a>>> {
        if self.is_object() { members(self.raw).ok() } else { None }
    }

    /// Returns the items of the array that this is.
    #[must_use]
    pub fn items(self) -> Option<Vec<Value<'a>>> {
        if self.raw.starts_with('[') { items(self.raw, MAX_DEPTH).ok() } else { None }
    }
}

/// Reads one object: its members in order, keys unique at every depth.
pub fn members(text: &str) -> Result<Vec<Member<'_>>, Fault> {
    let mut scanner = Scanner::new(text, MAX_DEPTH);
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        scanner.end()?;
        return Err(Fault::Kind);
    }
    let mut members = Vec::with_capacity(USUAL_MEMBERS);
    scanner.keys.reserve(USUAL_MEMBERS);
    scanner.open(true)?;
    scanner.skip_space();
    if scanner.peek() == Some(b'}') {
        scanner.close()?;
    } else {
        loop {
            let raw_key = scanner.key()?;
            scanner.skip_space();
            scanner.spaced = false;
            let from = scanner.at;
            scanner.value()?;
            let value = Value { raw: &text[from..scanner.at], spaced: scanner.spaced };
            let key = scanner.keys.last().cloned().unwrap_or_default();
            members.push(Member { key, raw_key, value });
            if !scanner.more()? {
                break;
            }
        }
    }
    scanner.end()?;
    Ok(members)
}

/// Splits an object or an array of objects into the objects' texts, however deep they are; of their keys
/// nothing is said.
pub fn objects(text: &str) -> Result<Vec<&str>, Fault> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    if trimmed.starts_with('{') {
        let mut scanner = Scanner::new(trimmed, usize::MAX);
        scanner.keyless = true;
        scanner.value()?;
        scanner.end()?;
        return Ok(vec![trimmed]);
    }
    let items = items(trimmed, usize::MAX)?;
    match items.iter().all(|item| item.is_object()) {
        true => Ok(items.into_iter().map(|item| item.raw).collect()),
        false => Err(Fault::Kind),
    }
}

fn items(text: &str, max_depth: usize) -> Result<Vec<Value<'_>>, Fault> {
    let mut scanner = Scanner::new(text, max_depth);
    scanner.keyless = max_depth > MAX_DEPTH;
    let mut items = Vec::new();
    if scanner.peek() != Some(b'[') {
        scanner.value()?;
        scanner.end()?;
        return Err(Fault::Kind);
    }
    scanner.open(false)?;
    scanner.skip_space();
    if scanner.peek() == Some(b']') {
        scanner.close()?;
    } else {
        loop {
            scanner.skip_space();
            scanner.spaced = false;
            let from = scanner.at;
            scanner.value()?;
            items.push(Value { raw: &text[from..scanner.at], spaced: scanner.spaced });
            if !scanner.more()? {
                break;
            }
        }
    }
    scanner.end()?;
    Ok(items)
}

/// Appends a string with quotes and escapes.
pub fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Returns the string that a quoted text stands for, unless it is none or half a surrogate pair is in it.
fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Takes the white space between the tokens out of good JSON.
fn compact(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['"', ' ', '\t', '\n', '\r']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let whole = if rest.starts_with('"') {
            let mut scanner = Scanner::new(rest, 0);
            let text = scanner.string().unwrap_or(rest);
            out.push_str(text);
            text.len()
        } else {
            1
        };
        rest = &rest[whole..];
    }
    out.push_str(rest);
    out
}

struct Level {
    object: bool,
    /// Where its keys begin.
    keys: usize,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
    /// Whether keys are left unjudged.
    keyless: bool,
    spaced: bool,
    levels: Vec<Level>,
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, max_depth: usize) -> Scanner<'a> {
        Scanner {
            text,
            at: 0,
            max_depth,
            keyless: false,
            spaced: false,
            levels: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.spaced = true;
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn open(&mut self, object: bool) -> Result<(), Fault> {
        self.at += 1;
        self.levels.push(Level { object, keys: self.keys.len() });
        if self.levels.len() > self.max_depth { Err(Fault::Depth) } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.at += 1;
        let level = self.levels.pop().ok_or(Fault::Syntax)?;
        let keys = &mut self.keys[level.keys..];
        let repeated = if keys.len() <= FEW_KEYS {
            // Most differ in length already.
            keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key))
        } else {
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair[0] == pair[1])
        };
        self.keys.truncate(level.keys);
        if repeated { Err(Fault::RepeatedKey) } else { Ok(()) }
    }

    /// Takes a comma (and says that more follows) or the end of the innermost level.
    fn more(&mut self) -> Result<bool, Fault> {
        self.skip_space();
        let object = self.levels.last().ok_or(Fault::Syntax)?.object;
        match (object, self.peek()) {
            (_, Some(b',')) => {
                self.at += 1;
                Ok(true)
            }
            (true, Some(b'}')) | (false, Some(b']')) => {
                self.close()?;
                Ok(false)
            }
            _ => Err(Fault::Syntax),
        }
    }

    fn key(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let raw = self.string()?;
        if !self.keyless {
            self.keys.push(unescape(raw).ok_or(Fault::Syntax)?);
        }
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(raw)
    }

    /// Scans one value, without recursion.
    fn value(&mut self) -> Result<(), Fault> {
        let base = self.levels.len();
        loop {
            self.skip_space();
            match self.peek().ok_or(Fault::Syntax)? {
                open @ (b'{' | b'[') => {
                    let object = open == b'{';
                    self.open(object)?;
                    self.skip_space();
                    match self.peek() {
                        Some(b'}') if object => self.close()?,
                        Some(b']') if !object => self.close()?,
                        _ => {
                            if object {
                                self.key()?;
                            }
                            continue;
                        }
                    }
                }
                b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(Fault::Syntax),
            }
            loop {
                if self.levels.len() == base {
                    return Ok(());
                }
                if self.more()? {
                    if self.levels.last().is_some_and(|level| level.object) {
                        self.key()?;
                    }
                    break;
                }
            }
        }
    }

    /// Skips blocks of a string in which nothing is special; without a branch inside, so that a block is one step.
    fn skip_plain(&mut self) {
        let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        let blocks = self.text.as_bytes()[self.at..].chunks_exact(BLOCK);
        let plain = blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | special(*byte)));
        self.at += BLOCK * plain.count();
    }

    /// Scans a string and returns it with its quotes.
    fn string(&mut self) -> Result<&'a str, Fault> {
        let from = self.at;
        if self.peek() != Some(b'"') {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek().ok_or(Fault::Syntax)? {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.text[from..self.at]);
                }
                b'\\' => {
                    self.at += 1;
                    let escaped = self.peek().ok_or(Fault::Syntax)?;
                    self.at += 1;
                    match escaped {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.text.as_bytes().get(self.at..self.at + 4);
                            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(Fault::Syntax);
                            }
                            self.at += 4;
                        }
                        _ => return Err(Fault::Syntax),
                    }
                }
                0x00..0x20 => return Err(Fault::Syntax),
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        members(text).expect_err(text)
    }

    #[test]
    fn values_stay_as_they_were_written_but_for_white_space_between_tokens() {
        let text = "{ \"a\" : { \"x\" : [ 1.0e+2 ,\n-0 ] , \"s\" : \" \\u00e4 \\ud800 \" },\"b\":1}";
        let members = members(text).unwrap();
        assert_eq!(members[0].key, "a");
        assert_eq!(members[0].value.text(), "{\"x\":[1.0e+2,-0],\"s\":\" \\u00e4 \\ud800 \"}");
        assert_eq!(members[1].value.unsigned(), Some(1));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\":1",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":1}{",
            "{\"a\":nul}",
            "{\"a\" 1}",
            "{\"a\":[1,]}",
            "{\"a\":[1}}",
            "{\"a\":\"\\",
            "{\"\\ud800\":1}",
            "{\"a\":-}",
            "{\"a\":1e}",
        ] {
            assert_eq!(fault(text), Fault::Syntax, "{text}");
        }
        for text in ["[]", "1", "\"a\"", "null"] {
            assert_eq!(fault(text), Fault::Kind, "{text}");
        }
    }

    #[test]
    fn a_key_may_not_be_repeated_at_any_depth_nor_by_escapes() {
        assert_eq!(fault("{\"a\":1,\"b\":2,\"a\":3}"), Fault::RepeatedKey);
        assert_eq!(fault("{\"a\":1,\"\\u0061\":3}"), Fault::RepeatedKey);
        assert_eq!(fault("{\"a\":[{\"b\":{},\"b\":1}]}"), Fault::RepeatedKey);
        assert!(members("{\"a\":{\"a\":{\"a\":1}}}").is_ok());
    }

    #[test]
    fn nesting_is_limited_without_recursion() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(members(&nested(63)).is_ok());
        assert_eq!(fault(&nested(64)), Fault::Depth);
        assert_eq!(fault(&format!("{{\"a\":{}", "[".repeat(1_000_000))), Fault::Depth);
        assert_eq!(objects(&nested(100_000)).map(|objects| objects.len()), Ok(1));
    }

    #[test]
    fn bodies_split_into_objects() {
        assert_eq!(objects(" [ {\"a\":1} , {} ] "), Ok(vec!["{\"a\":1}", "{}"]));
        assert_eq!(objects("{\"a\":1,\"a\":1}\n"), Ok(vec!["{\"a\":1,\"a\":1}"]));
        assert_eq!(objects("[]"), Ok(vec![]));
        assert_eq!(objects("[1]"), Err(Fault::Kind));
        assert_eq!(objects("7"), Err(Fault::Kind));
        assert_eq!(objects("[{}"), Err(Fault::Syntax));
        assert_eq!(objects("[{}]x"), Err(Fault::Syntax));
    }

    #[test]
    fn strings_are_written_so_that_they_read_back() {
        for text in ["plain", "q\"uote", "back\\slash", "line\nbreak", "\u{1}", "ä€😀"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(unescape(&out).unwrap(), text);
        }
    }

    #[test]
    fn integers_are_those_written_as_such() {
        let value = |raw| Value { raw, spaced: false };
        assert_eq!(value("7").unsigned(), Some(7));
        assert_eq!(value("-7").clamped(), Some(0));
        assert_eq!(value("99999999999999999999999").clamped(), Some(u64::MAX));
        for raw in ["7.0", "7e0", "\"7\"", "null"] {
            assert_eq!((value(raw).unsigned(), value(raw).clamped()), (None, None), "{raw}");
        }
    }
}
