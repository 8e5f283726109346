//! One HTTP request at a time, written and read by hand.

use std::io::{Read, Write};

use serde_json::{Value, json};

/// An answer, its body read to the end of the connection.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Says that the answer is a problem document with this code.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!((&problem["type"], &problem["code"]), (&json!("about:blank"), &json!(code)));
        assert_eq!(problem["status"], json!(status));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
}

/// Sends one request and reads the answer to the end of the connection.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    // A peer that ends without a word of TLS has said all the same.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub fn request(line: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: turn.example\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    (text + "\r\n" + body).into_bytes()
}

/// What a `curl` command asks for.
pub struct Call {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Reads a `curl` command of the documents; `variables` are those of the shell.
pub fn curl(command: &str, variables: &[(&str, &str)]) -> Call {
    let words = words(command, variables);
    let values = |flag: &str| {
        let at = words.iter().enumerate().filter(move |(_, word)| *word == flag).map(|(at, _)| at + 1);
        at.map(|at| words[at].clone()).collect::<Vec<_>>()
    };
    let path = words.iter().find_map(|word| word.strip_prefix("http://127.0.0.1:8080")).unwrap();
    let body = values("-d").first().cloned().unwrap_or_default();
    let pair = |line: String| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    Call { line: format!("{method} {path}"), headers: values("-H").into_iter().map(pair).collect(), body }
}

/// Splits a line of shell into words, with quotes of both kinds and variables.
fn words(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.replace("\\\n", " ").chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    let expand = |word: String| {
        variables.iter().fold(word, |word, (name, value)| word.replace(&format!("${name}"), value))
    };
    words.into_iter().filter(|word| !word.is_empty()).map(expand).collect()
}
