//! A stream of server-sent events, read by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::Daemon;
use super::http::Answer;

/// One event of a stream: its `id`, its type and the object.
pub type Event = (Option<String>, String, Value);

/// A stream of events that is read by hand.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens a stream, or returns the refusal.
    pub fn open(daemon: &Daemon, url: &str, headers: &[(&str, &str)]) -> Result<Events, Answer> {
        let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // HTTP/1.0 knows no chunks, so that the events come bare.
        let mut text = format!("GET {url} HTTP/1.0\r\nHost: turn.example\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all((text + "\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 200 {
            assert!(
                head.contains("content-type: text/event-stream") && head.contains("x-accel-buffering: no")
            );
            return Ok(Events(reader));
        }
        let mut body = String::new();
        reader.read_to_string(&mut body).unwrap();
        Err(Answer { status, head, body })
    }

    /// Returns the next event; none at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        let (mut id, mut kind, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("event", value)) => kind = Some(value.to_owned()),
                Some(("data", value)) => data = Some(serde_json::from_str::<Value>(value).unwrap()),
                _ if line == "\n" && data.is_some() => {
                    let (kind, data) = (kind.unwrap(), data.unwrap());
                    assert_eq!(data["t"], json!(kind));
                    return Some((id, kind, data));
                }
                _ => {}
            }
        }
    }

    /// Returns the next event of a type.
    pub fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended without {kind}"));
            if event.1 == kind {
                return event;
            }
        }
    }
}
