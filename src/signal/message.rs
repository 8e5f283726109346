//! What a client says: the strict envelope, then the fields of each request (signaling.md §1 and §2).

use std::borrow::Cow;

use crate::json::{self, Fault, Member, Value};
use crate::signal::meta;
use crate::signal::names::Ask;

/// A message whose envelope is in order.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) ask: Ask,
    pub(super) id: Option<u64>,
    pub(super) ack: Option<u64>,
    members: Vec<Member<'a>>,
}

/// Why something is a bad request, for the person who reads it.
pub(super) type Advice = &'static str;

/// The first message of a connection.
#[derive(Debug)]
pub(super) struct Hello<'a> {
    pub(super) token: Option<Cow<'a, str>>,
    pub(super) resume: Option<Cow<'a, str>>,
    pub(super) last_seq: u64,
}

/// A request with its fields, in the order of the protocol's table.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Join(Join<'a>),
    Leave { room: Cow<'a, str> },
    Signal(Signal<'a>),
    Send { room: Cow<'a, str>, speech: Speech<'a>, echo: bool },
    Update { room: Cow<'a, str>, patch: Cow<'a, str> },
    State { room: Cow<'a, str>, key: Cow<'a, str>, change: Change<'a>, if_ver: Option<u64> },
    Ice,
    Refresh { token: Cow<'a, str> },
    Stats { room: Cow<'a, str> },
    Kick { room: Cow<'a, str>, peer: Cow<'a, str>, ban_s: Option<u32> },
    Bye,
}

/// Fields of `join`.
#[derive(Debug)]
pub(super) struct Join<'a> {
    pub(super) room: Cow<'a, str>,
    pub(super) meta: Option<Cow<'a, str>>,
    pub(super) token: Option<Cow<'a, str>>,
    pub(super) observer: bool,
}

/// Fields of `signal`.
#[derive(Debug)]
pub(super) struct Signal<'a> {
    pub(super) room: Cow<'a, str>,
    pub(super) to: Cow<'a, str>,
    pub(super) kind: Kind,
    pub(super) pc: Cow<'a, str>,
    pub(super) generation: u32,
    pub(super) data: Cow<'a, str>,
    pub(super) ttl_ms: Option<u64>,
}

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
    Candidate,
    End,
    Restart,
    Custom,
}

impl Kind {
    pub(super) fn label(self) -> &'static str {
        match self {
            Kind::Offer => "offer",
            Kind::Answer => "answer",
            Kind::Candidate => "candidate",
            Kind::End => "end",
            Kind::Restart => "restart",
            Kind::Custom => "custom",
        }
    }
}

/// Something said to members of a room, by a client or by the application's own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech<'a> {
    pub(super) to: Target<'a>,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) data: Cow<'a, str>,
}

/// Whom something is said to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Room,
    Peer(Cow<'a, str>),
    List(Vec<Cow<'a, str>>),
    Uid(Cow<'a, str>),
}

/// Change of a key of a room's state.
#[derive(Debug)]
pub(super) enum Change<'a> {
    Set { value: Cow<'a, str>, ttl_ms: Option<u64> },
    Delete,
}

const MAX_NAME: usize = 128;
const MAX_LABEL: usize = 64;
const MAX_TTL_MS: u64 = 30_000;
const MAX_STATE_TTL_MS: u64 = 86_400_000;

impl<'a> Envelope<'a> {
    /// Reads a message. What fails here is no request and has no effect.
    pub(super) fn read(text: &'a str) -> Result<Envelope<'a>, Advice> {
        let members = json::members(text).map_err(|fault| match fault {
            Fault::Depth => "nested over 64",
            Fault::Kind => "no object",
            Fault::RepeatedKey => "a key is repeated",
            Fault::Syntax => "no JSON",
        })?;
        let mut envelope = Envelope { ask: Ask::Unknown, id: None, ack: None, members };
        let word = envelope.get("t").and_then(Value::string).ok_or("t is no string")?;
        let ask = Ask::ALL.iter().copied().find(|ask| ask.label() == word);
        envelope.ask = ask.unwrap_or(Ask::Unknown);
        envelope.id = envelope.get("id").and_then(Value::clamped);
        envelope.ack = envelope.get("ack").and_then(Value::unsigned);
        if envelope.id.is_none() && !matches!(envelope.ask, Ask::Hello | Ask::Pong) {
            return Err("id is no integer");
        }
        Ok(envelope)
    }

    pub(super) fn hello(&self) -> Result<Hello<'a>, Advice> {
        self.optional("sdk", Value::string, "sdk is no string")?;
        self.optional("features", Value::items, "features is no list")?;
        Ok(Hello {
            token: self.optional("token", Value::string, "token is no string")?,
            resume: self.optional("resume", Value::string, "resume is no string")?,
            last_seq: self.optional("last_seq", Value::unsigned, "last_seq is no number")?.unwrap_or(0),
        })
    }

    /// Reads the fields of the request that this is.
    pub(super) fn request(&self) -> Result<Request<'a>, Advice> {
        match self.ask {
            Ask::Bye => Ok(Request::Bye),
            Ask::Ice => Ok(Request::Ice),
            Ask::Join => self.join().map(Request::Join),
            Ask::Kick => Ok(Request::Kick {
                room: self.room()?,
                peer: self.string("peer", "peer is no string")?,
                ban_s: {
                    self.optional("reason", Value::string, "reason is no string")?;
                    self.optional("ban_s", u32_of, "ban_s is no number of seconds")?
                },
            }),
            Ask::Leave => Ok(Request::Leave { room: self.room()? }),
            Ask::Refresh => Ok(Request::Refresh { token: self.string("token", "token is no string")? }),
            Ask::Send => Ok(Request::Send {
                room: self.room()?,
                speech: self.speech()?,
                echo: self
                    .optional("echo", Value::boolean, "echo is neither true nor false")?
                    .unwrap_or(false),
            }),
            Ask::Signal => self.signal().map(Request::Signal),
            Ask::State => self.state(),
            Ask::Stats => self.stats(),
            Ask::Update => Ok(Request::Update {
                room: self.room()?,
                patch: self.clients_meta()?.ok_or("meta is missing")?,
            }),
            Ask::Hello | Ask::Pong | Ask::Unknown => Err("no request"),
        }
    }

    fn join(&self) -> Result<Join<'a>, Advice> {
        Ok(Join {
            room: self.room()?,
            meta: self.clients_meta()?,
            token: self.optional("token", Value::string, "token is no string")?,
            observer: match self.optional("as", Value::string, "as is no string")?.as_deref() {
                None | Some("peer") => false,
                Some("observer") => true,
                Some(_) => return Err("as is neither peer nor observer"),
            },
        })
    }

    fn signal(&self) -> Result<Signal<'a>, Advice> {
        Ok(Signal {
            room: self.room()?,
            to: self.string("to", "to is no string")?,
            kind: match self.string("kind", "kind is no string")?.as_ref() {
                "offer" => Kind::Offer,
                "answer" => Kind::Answer,
                "candidate" => Kind::Candidate,
                "end" => Kind::End,
                "restart" => Kind::Restart,
                "custom" => Kind::Custom,
                _ => return Err("kind is unknown"),
            },
            pc: self.get("pc").and_then(label).ok_or("pc is no string of at most 64 bytes")?,
            generation: self.get("gen").and_then(u32_of).ok_or("gen is no number of 32 bits")?,
            data: self.data(),
            ttl_ms: self.optional("ttl_ms", up_to::<0, MAX_TTL_MS>, "ttl_ms is not 0 to 30000")?,
        })
    }

    fn speech(&self) -> Result<Speech<'a>, Advice> {
        let event = match self.get("event") {
            None => None,
            Some(value) if value.is_null() => None,
            Some(value) => Some(label(value).ok_or("event is no string of at most 64 bytes")?),
        };
        Ok(Speech { to: self.target()?, event, data: self.data() })
    }

    fn target(&self) -> Result<Target<'a>, Advice> {
        const ADVICE: Advice = "to is neither a peer, a list of peers nor {uid}";
        let Some(to) = self.get("to") else { return Ok(Target::Room) };
        if let Some(peer) = to.string() {
            return Ok(Target::Peer(peer));
        }
        if let Some(items) = to.items() {
            let peers: Option<Vec<_>> = items.into_iter().map(Value::string).collect();
            return peers.map(Target::List).ok_or(ADVICE);
        }
        let uid = to.members().and_then(|members| members.into_iter().find(|member| member.key == "uid"));
        uid.and_then(|member| member.value.string()).map(Target::Uid).ok_or(ADVICE)
    }

    fn state(&self) -> Result<Request<'a>, Advice> {
        let change = match self.string("op", "op is no string")?.as_ref() {
            "set" => Change::Set {
                value: self.get("value").map(Value::text).ok_or("value is missing")?,
                ttl_ms: self.optional(
                    "ttl_ms",
                    up_to::<1, MAX_STATE_TTL_MS>,
                    "ttl_ms is not 1 to 86400000",
                )?,
            },
            "del" => Change::Delete,
            _ => return Err("op is neither set nor del"),
        };
        Ok(Request::State {
            room: self.room()?,
            key: self.get("key").and_then(name).ok_or("key is no name")?,
            change,
            if_ver: self.optional("if_ver", Value::unsigned, "if_ver is no number")?,
        })
    }

    fn stats(&self) -> Result<Request<'a>, Advice> {
        self.string("to", "to is no string")?;
        self.get("pc").and_then(label).ok_or("pc is no string of at most 64 bytes")?;
        self.string("state", "state is no string")?;
        self.optional("reason", Value::string, "reason is no string")?;
        self.optional("selected", Value::members, "selected is no object")?;
        Ok(Request::Stats { room: self.room()? })
    }

    fn clients_meta(&self) -> Result<Option<Cow<'a, str>>, Advice> {
        let Some(value) = self.get("meta") else { return Ok(None) };
        if !value.is_object() {
            return Err("meta is no object");
        }
        if !meta::is_clients(value) {
            return Err("keys of meta with $ come from the token");
        }
        Ok(Some(value.text()))
    }

    fn room(&self) -> Result<Cow<'a, str>, Advice> {
        self.get("room").and_then(name).ok_or("room is no name of 1 to 128 bytes without control characters")
    }

    fn data(&self) -> Cow<'a, str> {
        self.get("data").map_or(Cow::Borrowed("null"), Value::text)
    }

    fn string(&self, key: &str, advice: Advice) -> Result<Cow<'a, str>, Advice> {
        self.get(key).and_then(Value::string).ok_or(advice)
    }

    fn optional<T>(
        &self,
        key: &str,
        read: impl Fn(Value<'a>) -> Option<T>,
        advice: Advice,
    ) -> Result<Option<T>, Advice> {
        self.get(key).map(|value| read(value).ok_or(advice)).transpose()
    }

    fn get(&self, key: &str) -> Option<Value<'a>> {
        self.members.iter().find(|member| member.key == key).map(|member| member.value)
    }
}

impl<'a> Speech<'a> {
    /// Reads the body of `POST /v1/rooms/{room}/messages`: `event`, `data` and `to`, all optional.
    ///
    /// Returns an error that says to a person what is wrong.
    pub fn read(body: &'a str) -> Result<Speech<'a>, &'static str> {
        let members = json::members(body).map_err(|_| "no JSON object")?;
        Envelope { ask: Ask::Send, id: None, ack: None, members }.speech()
    }
}

/// Reads the name of a room or key.
fn name(value: Value<'_>) -> Option<Cow<'_, str>> {
    value.string().filter(|text| is_name(text))
}

/// Returns whether a text is the name of a room or key.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn label(value: Value<'_>) -> Option<Cow<'_, str>> {
    value.string().filter(|text| text.len() <= MAX_LABEL)
}

fn u32_of(value: Value<'_>) -> Option<u32> {
    value.unsigned().and_then(|number| u32::try_from(number).ok())
}

fn up_to<const LEAST: u64, const MOST: u64>(value: Value<'_>) -> Option<u64> {
    value.unsigned().filter(|number| (LEAST..=MOST).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<(), Advice> {
        Envelope::read(text).unwrap().request().map(|_| ())
    }

    #[test]
    fn what_is_no_request_is_told_from_a_bad_one() {
        for text in [
            "",
            "[]",
            "7",
            r#"{"t":"join""#,
            r#"{"id":1}"#,
            r#"{"t":7,"id":1}"#,
            r#"{"t":"join"}"#,
            r#"{"t":"join","id":"1"}"#,
            r#"{"t":"join","id":1.5}"#,
            r#"{"t":"join","id":1,"id":2}"#,
            r#"{"t":"what"}"#,
        ] {
            assert!(Envelope::read(text).is_err(), "{text}");
        }
        assert_eq!(Envelope::read(r#"{"t":"what","id":3}"#).unwrap().ask, Ask::Unknown);
        assert_eq!(Envelope::read(r#"{"t":"unknown","id":3}"#).unwrap().ask, Ask::Unknown);
        assert_eq!(Envelope::read(r#"{"t":"pong","ack":3}"#).unwrap().ack, Some(3));
        assert_eq!(Envelope::read(r#"{"t":"ice","id":-3}"#).unwrap().id, Some(0));
    }

    #[test]
    fn fields_of_the_wrong_kind_are_bad_requests() {
        let long = "x".repeat(129);
        for text in [
            r#"{"t":"join","id":1}"#.to_owned(),
            r#"{"t":"join","id":1,"room":""}"#.to_owned(),
            r#"{"t":"join","id":1,"room":"a\u0007"}"#.to_owned(),
            format!(r#"{{"t":"join","id":1,"room":"{long}"}}"#),
            r#"{"t":"join","id":1,"room":"a","as":"king"}"#.to_owned(),
            r#"{"t":"join","id":1,"room":"a","meta":[]}"#.to_owned(),
            r#"{"t":"join","id":1,"room":"a","meta":{"$a":1}}"#.to_owned(),
            r#"{"t":"join","id":1,"room":"a","meta":{"\u0024a":1}}"#.to_owned(),
            r#"{"t":"signal","id":1,"room":"a","to":"b","kind":"shout","pc":"p","gen":1}"#.to_owned(),
            r#"{"t":"signal","id":1,"room":"a","to":"b","kind":"offer","pc":"p","gen":4294967296}"#
                .to_owned(),
            r#"{"t":"signal","id":1,"room":"a","to":"b","kind":"offer","pc":"p","gen":1,"ttl_ms":30001}"#
                .to_owned(),
            format!(r#"{{"t":"signal","id":1,"room":"a","to":"b","kind":"offer","pc":"{long}","gen":1}}"#),
            r#"{"t":"send","id":1,"room":"a","to":7}"#.to_owned(),
            r#"{"t":"send","id":1,"room":"a","to":["a",7]}"#.to_owned(),
            r#"{"t":"send","id":1,"room":"a","to":{}}"#.to_owned(),
            r#"{"t":"send","id":1,"room":"a","echo":1}"#.to_owned(),
            r#"{"t":"update","id":1,"room":"a"}"#.to_owned(),
            r#"{"t":"state","id":1,"room":"a","op":"set","key":"k"}"#.to_owned(),
            r#"{"t":"state","id":1,"room":"a","op":"set","key":"k","value":1,"ttl_ms":0}"#.to_owned(),
            r#"{"t":"state","id":1,"room":"a","op":"add","key":"k","value":1}"#.to_owned(),
            r#"{"t":"refresh","id":1}"#.to_owned(),
            r#"{"t":"kick","id":1,"room":"a","peer":"b","ban_s":-1}"#.to_owned(),
            r#"{"t":"stats","id":1,"room":"a","to":"b","pc":"p"}"#.to_owned(),
        ] {
            assert!(request(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_that_are_not_known_are_ignored() {
        assert_eq!(request(r#"{"t":"leave","id":1,"room":"a","color":"red"}"#), Ok(()));
    }

    #[test]
    fn a_published_body_has_three_optional_fields() {
        let speech = Speech::read(r#"{"event":"price","data":{"x":1.50},"to":{"uid":"ann"}}"#).unwrap();
        assert_eq!((speech.event.as_deref(), speech.data.as_ref()), (Some("price"), r#"{"x":1.50}"#));
        assert_eq!(speech.to, Target::Uid("ann".into()));
        assert_eq!(Speech::read("{}").unwrap().data, "null");
        assert!(Speech::read("[]").is_err());
        assert!(Speech::read(r#"{"to":7}"#).is_err());
    }
}
