//! Messages on their way to a client: an envelope for each receiver, the body shared.

use std::fmt;
use std::sync::Arc;

use crate::signal::names::Tell;

/// One message to a client. Cloning it shares the body.
///
/// ```text
/// {"t":"message" ,"seq":41 ,  "room":"tea","from":...  }
///                `- each     `- shared by all receivers
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub(super) tell: Tell,
    pub(super) id: FrameId,
    pub(super) body: Arc<str>,
}

/// What an event stream calls a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameId {
    /// State, not an event: without a number.
    None,
    /// Number in its session.
    Seq(u64),
    /// Place in a room's feed: boot, room, count.
    Feed(u64, u64, u64),
}

impl Frame {
    /// Returns the type of the message, which is its `event:` in an event stream.
    #[must_use]
    pub fn tell(&self) -> Tell {
        self.tell
    }

    /// Returns the number in the session, if it has one.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self.id {
            FrameId::Seq(seq) => Some(seq),
            FrameId::None | FrameId::Feed(..) => None,
        }
    }

    /// Returns the `id:` of the message in an event stream, if it has one.
    #[must_use]
    pub fn event_id(&self) -> Option<String> {
        match self.id {
            FrameId::None => None,
            FrameId::Seq(seq) => Some(seq.to_string()),
            FrameId::Feed(boot, room, count) => Some(format!("{boot}-{room}-{count}")),
        }
    }

    /// Appends the message's text.
    pub fn write(&self, out: &mut String) {
        out.push_str("{\"t\":\"");
        out.push_str(self.tell.label());
        out.push('"');
        if let FrameId::Seq(seq) = self.id {
            push_number(out, ",\"seq\":", seq);
        }
        if !self.body.is_empty() {
            out.push(',');
            out.push_str(&self.body);
        }
        out.push('}');
    }

    /// Returns the message's text.
    #[must_use]
    pub fn text(&self) -> String {
        // Exactly: what is left over would be a second allocation on its way to the socket.
        let mut out = String::with_capacity(self.len());
        self.write(&mut out);
        out
    }

    fn len(&self) -> usize {
        let seq = match self.id {
            FrameId::Seq(seq) => ",\"seq\":".len() + 1 + seq.checked_ilog10().unwrap_or(0) as usize,
            FrameId::None | FrameId::Feed(..) => 0,
        };
        let body = if self.body.is_empty() { 0 } else { 1 + self.body.len() };
        "{\"t\":\"\"}".len() + self.tell.label().len() + seq + body
    }

    /// Returns what the frame counts in the accounts of memory and of what is not yet written, in bytes: a
    /// little more than its text.
    #[must_use]
    pub fn cost(&self) -> usize {
        cost(&self.body)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Returns the cost of a frame with this body.
pub(super) fn cost(body: &str) -> usize {
    body.len() + 64
}

pub(super) fn push_number(out: &mut String, label: &str, number: u64) {
    out.push_str(label);
    // Without the machinery of formatting: every message has several.
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

pub(super) fn push_text(out: &mut String, label: &str, text: &str) {
    out.push_str(label);
    crate::json::push_string(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 99, 1_000_000, u64::MAX] {
            let mut out = String::new();
            push_number(&mut out, "n:", number);
            assert_eq!(out, format!("n:{number}"));
        }
    }

    #[test]
    fn frames_are_an_envelope_around_a_shared_body() {
        let body: Arc<str> = "\"room\":\"tea\"".into();
        let frame = |tell, id| Frame { tell, id, body: body.clone() }.text();
        assert_eq!(frame(Tell::Message, FrameId::Seq(41)), r#"{"t":"message","seq":41,"room":"tea"}"#);
        assert_eq!(frame(Tell::Message, FrameId::Feed(1, 2, 3)), r#"{"t":"message","room":"tea"}"#);
        let void = Frame { tell: Tell::Void, id: FrameId::Seq(7), body: "".into() };
        assert_eq!(void.text(), r#"{"t":"void","seq":7}"#);
        assert!(void.cost() >= void.text().len());
        for seq in [0, 9, 10, 99, 100, u64::MAX] {
            let text = frame(Tell::Message, FrameId::Seq(seq));
            assert_eq!(
                Frame { tell: Tell::Message, id: FrameId::Seq(seq), body: body.clone() }.len(),
                text.len()
            );
        }
    }
}
