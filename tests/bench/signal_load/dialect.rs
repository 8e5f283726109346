//! How each server is spoken to.

use serde_json::Value;

use crate::Fallible;

/// A signal's body in bytes.
const BODY: usize = 200;
/// Precedes the number of a signal in its body, and occurs nowhere else.
const MARK: u8 = b'#';
const DIGITS: usize = 10;

/// The protocol of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Forwards to the other of a pair; answers the sender or not.
    Bare {
        answers: bool,
    },
    /// The npm package `peer`, which answers nothing.
    Peer,
    /// Socket.IO 4 with a relay of one room; with acknowledgements or without.
    SocketIo {
        answers: bool,
    },
    Turnpike,
}

/// What a message of the server is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Answer,
    /// Wants these bytes back.
    Ping(String),
    /// The number of a signal.
    Signal(u64),
    Other,
}

/// What a connection knows of itself, as far as its dialect has it.
#[derive(Default)]
pub(crate) struct Talk {
    pub(crate) pair: usize,
    pub(crate) side: usize,
    /// Signals that it has sent.
    pub(crate) sent: u64,
    /// Id of the other.
    to: String,
    /// Id of its last request.
    id: u64,
    /// Highest number of a frame that it has heard.
    seq: u64,
}

impl Talk {
    pub(crate) fn new(pair: usize, side: usize) -> Talk {
        Talk { pair, side, ..Talk::default() }
    }
}

impl Dialect {
    pub(crate) fn of(name: &str) -> Fallible<Dialect> {
        Ok(match name {
            "bare" => Dialect::Bare { answers: false },
            "bare-answer" => Dialect::Bare { answers: true },
            "peer" => Dialect::Peer,
            "socket.io" => Dialect::SocketIo { answers: false },
            "socket.io-ack" => Dialect::SocketIo { answers: true },
            "turnpike" => Dialect::Turnpike,
            other => return Err(format!("`{other}` is no dialect").into()),
        })
    }

    pub(crate) fn answers(self) -> bool {
        match self {
            Dialect::Bare { answers } | Dialect::SocketIo { answers } => answers,
            Dialect::Peer => false,
            Dialect::Turnpike => true,
        }
    }

    pub(crate) fn path(self, talk: &Talk) -> String {
        match self {
            Dialect::Bare { .. } => format!("/{}/{}", talk.pair, talk.side),
            Dialect::Peer => {
                format!("/peerjs?key=peerjs&id={}&token=t&version=1.5.5", peer_id(talk.pair, talk.side))
            }
            Dialect::SocketIo { .. } => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Dialect::Turnpike => "/v1/ws".to_owned(),
        }
    }

    pub(crate) fn subprotocol(self) -> Option<&'static str> {
        match self {
            Dialect::Turnpike => Some("signal.v1.json"),
            Dialect::Bare { .. } | Dialect::Peer | Dialect::SocketIo { .. } => None,
        }
    }

    /// What is said first; the server answers each with one message before the next.
    pub(crate) fn greetings(self, talk: &mut Talk, enters_room: bool) -> Vec<String> {
        let pair = talk.pair;
        match self {
            Dialect::Bare { .. } => Vec::new(),
            // Only listens to the first message.
            Dialect::Peer => vec![String::new()],
            Dialect::SocketIo { .. } if enters_room => {
                vec![String::new(), "40".to_owned(), format!(r#"420["enter","p{pair}"]"#)]
            }
            Dialect::SocketIo { .. } => vec![String::new(), "40".to_owned()],
            Dialect::Turnpike if enters_room => {
                talk.id = 1;
                vec![r#"{"t":"hello"}"#.to_owned(), format!(r#"{{"t":"join","id":1,"room":"p{pair}"}}"#)]
            }
            Dialect::Turnpike => vec![r#"{"t":"hello"}"#.to_owned()],
        }
    }

    /// Takes the answer to a greeting. Returns the id that the other is to know.
    pub(crate) fn greeted(self, talk: &mut Talk, answer: &str) -> Fallible<Option<String>> {
        if self != Dialect::Turnpike {
            return Ok(None);
        }
        let answer: Value = serde_json::from_str(answer)?;
        talk.seq = answer["seq"].as_u64().unwrap_or(talk.seq);
        match answer["t"].as_str() {
            Some("welcome") => Ok(answer["peer"].as_str().map(str::to_owned)),
            Some("joined") => Ok(None),
            _ => Err(format!("{answer}").into()),
        }
    }

    pub(crate) fn meet(talk: &mut Talk, other: Option<&String>) {
        talk.to = other.cloned().unwrap_or_default();
    }

    /// Makes the next signal.
    pub(crate) fn signal(self, talk: &mut Talk) -> String {
        talk.sent += 1;
        talk.id += 1;
        let number = format!("{}{:0width$}", MARK as char, talk.sent, width = DIGITS);
        let data = format!("{number}{}", "x".repeat(BODY - number.len()));
        match self {
            Dialect::Bare { .. } => format!(r#"{{"data":"{data}"}}"#),
            Dialect::Peer => {
                let dst = peer_id(talk.pair, 1 - talk.side);
                format!(r#"{{"type":"CANDIDATE","dst":"{dst}","payload":"{data}"}}"#)
            }
            Dialect::SocketIo { answers: true } => format!(r#"42{}["signal","{data}"]"#, talk.id),
            Dialect::SocketIo { answers: false } => format!(r#"42["signal","{data}"]"#),
            Dialect::Turnpike => format!(
                r#"{{"t":"signal","id":{},"room":"p{}","to":"{}","kind":"candidate","pc":"p","gen":1,"data":"{data}","ack":{}}}"#,
                talk.id, talk.pair, talk.to, talk.seq
            ),
        }
    }

    /// Says what a message is.
    pub(crate) fn hear(self, talk: &mut Talk, text: &str) -> Fallible<Heard> {
        let starts = |prefix: &str| text.starts_with(prefix);
        match self {
            Dialect::Bare { .. } if starts(r#"{"data""#) => signal_number(text),
            Dialect::Bare { .. } if starts(r#"{"t":"ok""#) => Ok(Heard::Answer),
            Dialect::Peer if starts(r#"{"type":"CANDIDATE""#) => signal_number(text),
            Dialect::SocketIo { .. } if starts("42") => signal_number(text),
            Dialect::SocketIo { .. } if starts("43") => Ok(Heard::Answer),
            Dialect::SocketIo { .. } if text == "2" => Ok(Heard::Ping("3".to_owned())),
            Dialect::Turnpike => {
                if let Some((_, rest)) = text.split_once(r#""seq":"#) {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let seq = rest[..digits].parse()?;
                    if seq != talk.seq + 1 {
                        return Err(format!("{text} after {}", talk.seq).into());
                    }
                    talk.seq = seq;
                }
                if starts(r#"{"t":"signal""#) {
                    return signal_number(text);
                }
                if starts(r#"{"t":"ok""#) {
                    return Ok(Heard::Answer);
                }
                if starts(r#"{"t":"ping""#) {
                    return Ok(Heard::Ping(format!(r#"{{"t":"pong","ack":{}}}"#, talk.seq)));
                }
                if starts(r#"{"t":"error""#) || starts(r#"{"t":"bye""#) {
                    return Err(text.into());
                }
                Ok(Heard::Other)
            }
            Dialect::Bare { .. } | Dialect::Peer | Dialect::SocketIo { .. } => Err(text.into()),
        }
    }
}

fn peer_id(pair: usize, side: usize) -> String {
    format!("p{pair}s{side}")
}

fn signal_number(text: &str) -> Fallible<Heard> {
    let (_, rest) = text.split_once(MARK as char).ok_or("a signal without a number")?;
    Ok(Heard::Signal(rest.get(..DIGITS).ok_or("a number that is too short")?.parse()?))
}
