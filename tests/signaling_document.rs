//! The examples of `docs/signaling.md`, run in their order against one server.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use support::Daemon;
use support::events::Events;
use support::http::{curl, exchange, request};
use support::socket::Socket;

const FLAGS: &[&str] = &[
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--signal-auth=open",
    "--api-key=usual-key",
];

/// Stands where the document leaves something out.
const ANYTHING: &str = "..";

/// What the examples have said so far.
struct Stage {
    daemon: Daemon,
    sockets: HashMap<String, Socket>,
    /// Open to the end, so that nobody goes offline.
    events: Vec<Events>,
    /// Values of the server's, by the names that the document gives them.
    known: HashMap<String, String>,
}

/// Makes JSON of a text in which `..` leaves out a value, or the rest of an object or array.
fn read(text: &str) -> Value {
    let mut whole = text.replace(",..}", ",\"..\":null}").replace("{..}", "{\"..\":null}");
    whole = whole.replace("[..]", "\"..\"").replace(":..", ":\"..\"");
    serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Stage {
    /// Compares what came with what the document shows, and takes note of the values that it names.
    fn compare(&mut self, shown: &Value, came: &Value) -> bool {
        match (shown, came) {
            (Value::String(text), _) if text == ANYTHING => true,
            (Value::String(text), Value::String(came)) if text.starts_with('$') => {
                self.known.entry(text[1..].to_owned()).or_insert_with(|| came.clone()) == came
            }
            (Value::Object(shown), Value::Object(came)) => {
                let is_part = shown.contains_key(ANYTHING);
                let named = shown.len() - usize::from(is_part);
                (is_part || came.len() == named)
                    && shown
                        .iter()
                        .filter(|(key, _)| *key != ANYTHING)
                        .all(|(key, value)| came.get(key).is_some_and(|came| self.compare(value, came)))
            }
            (Value::Array(shown), Value::Array(came)) => {
                shown.len() == came.len()
                    && shown.iter().zip(came).all(|(one, other)| self.compare(one, other))
            }
            (shown, came) => shown == came,
        }
    }

    fn expect(&mut self, shown: &str, came: &Value) {
        let is_so = self.compare(&read(shown), came);
        assert!(is_so, "the document shows\n{shown}\nbut this came:\n{came}");
    }

    /// Puts the known values into a message.
    fn filled(&self, text: &str) -> Value {
        let mut names: Vec<_> = self.known.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let text = names
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn signal(&mut self, block: &str) {
        let mut lines: Vec<String> = Vec::new();
        for line in block.lines() {
            match line.strip_prefix(' ') {
                Some(rest) => lines.last_mut().unwrap().push_str(rest.trim_start()),
                None => lines.push(line.to_owned()),
            }
        }
        for line in lines {
            if let Some((who, text)) = line.split_once("> ") {
                let message = self.filled(text);
                let daemon = &self.daemon;
                let socket = self.sockets.entry(who.to_owned()).or_insert_with(|| Socket::open(daemon));
                socket.say(&message);
            } else if let Some((who, text)) = line.split_once("< ") {
                let came = self.sockets.get_mut(who).unwrap().hear();
                self.expect(text, &came);
            } else if let Some(who) = line.strip_suffix(" is cut off") {
                let mut socket = self.sockets.remove(who).unwrap();
                socket.ws.get_mut().shutdown(Shutdown::Both).unwrap();
            } else if let Some((who, code)) = line.split_once(" is closed with ") {
                assert_eq!(self.sockets.remove(who).unwrap().closed(), (code.parse().unwrap(), None));
            } else {
                panic!("what is {line}?");
            }
        }
    }

    fn http(&mut self, command: &str, kind: &str, shown: &str) {
        let mut variables = vec![("KEY", "usual-key")];
        variables.extend(self.known.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let call = curl(command, &variables);
        let headers: Vec<_> =
            call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if kind == "events" {
            let url = call.line.strip_prefix("GET ").unwrap();
            let mut events =
                Events::open(&self.daemon, url, &headers).unwrap_or_else(|no| panic!("{}", no.body));
            let (id, event, data) = events.next().unwrap();
            for line in shown.lines() {
                match line.split_once(": ").unwrap() {
                    ("id", shown) => assert_eq!(id.as_deref(), Some(shown)),
                    ("event", shown) => assert_eq!(event, shown),
                    (_, shown) => self.expect(shown, &data),
                }
            }
            self.events.push(events);
            return;
        }
        let mut stream = TcpStream::connect(self.daemon.addr("http")).unwrap();
        let answer = exchange(&mut stream, &request(&call.line, &headers, &call.body));
        assert!(answer.status < 300, "{command}: {}", answer.body);
        self.expect(shown, &answer.json());
    }
}

#[test]
fn the_examples_of_the_document_happen_as_it_says() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/signaling.md")).unwrap();
    let mut stage = Stage {
        daemon: Daemon::start(FLAGS),
        sockets: HashMap::new(),
        events: Vec::new(),
        known: HashMap::new(),
    };
    let (mut command, mut blocks) = (String::new(), 0);
    for part in text.split("\n```").skip(1).step_by(2) {
        let (kind, body) = part.split_once('\n').unwrap();
        blocks += 1;
        match kind {
            "signal" => stage.signal(body),
            "sh" => body.clone_into(&mut command),
            "json" | "events" => stage.http(&command, kind, body),
            _ => blocks -= 1,
        }
    }
    assert!(blocks > 10, "{blocks}");
    assert_ne!(stage.known["resume"], stage.known["resume2"]);
}

#[test]
fn the_document_names_every_code_and_flag() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/signaling.md")).unwrap();
    for code in turnpike::signal::CloseCode::ALL {
        assert!(text.contains(&format!("| {} | `{}` |", code.number(), code.label())), "{code:?}");
    }
    for code in turnpike::signal::ErrorCode::ALL {
        assert!(text.contains(code.label()), "{code:?}");
    }
    for ask in turnpike::signal::Ask::ALL.iter().filter(|ask| ask.label() != "unknown") {
        assert!(text.contains(&format!("| `{}` |", ask.label())), "{ask:?}");
    }
}
