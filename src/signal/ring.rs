//! The frames of a session that its client has not acknowledged (signaling.md §5).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::signal::frame::{Frame, FrameId, cost};
use crate::signal::ids::{RoomKey, SessionKey};
use crate::signal::names::Tell;

/// Frames for which room is kept in an empty ring.
const USUAL_ROOM: usize = 32;

/// One frame as the ring keeps it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tell: Tell,
    pub(super) body: Arc<str>,
    /// Request that it answers; 0: none.
    pub(super) re: u64,
    /// Who wants to know if it is lost.
    pub(super) note: Option<Note>,
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    pub(super) sender: SessionKey,
    pub(super) re: u64,
    pub(super) room: RoomKey,
}

/// Frames by their numbers, without a hole, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    /// Number of the frame before the oldest.
    base: u64,
    bytes: usize,
}

impl Ring {
    /// Appends a frame and returns its number.
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        self.bytes += cost(&entry.body);
        self.entries.push_back(entry);
        self.last()
    }

    /// Takes out the oldest frame.
    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        let entry = self.entries.pop_front()?;
        self.bytes -= cost(&entry.body);
        self.base += 1;
        if self.entries.is_empty() && self.entries.capacity() > USUAL_ROOM {
            self.entries.shrink_to(8);
        }
        Some((self.base, entry))
    }

    /// Drops all frames up to a number.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        while self.base < seq && self.pop().is_some() {}
    }

    /// Returns the frame of a number.
    pub(super) fn frame(&self, seq: u64) -> Option<Frame> {
        let entry = self.entries.get(self.index(seq)?)?;
        Some(Frame { tell: entry.tell, id: FrameId::Seq(seq), body: entry.body.clone() })
    }

    /// Returns the frame that answers a request.
    pub(super) fn reply(&self, re: u64) -> Option<Frame> {
        let index = self.entries.iter().position(|entry| entry.re == re && re != 0)?;
        self.frame(self.base + 1 + index as u64)
    }

    /// Puts a void in a frame's place and returns what it withdrew.
    pub(super) fn withdraw(&mut self, seq: u64) -> Option<Note> {
        let index = self.index(seq)?;
        let entry = self.entries.get_mut(index)?;
        let note = entry.note.take()?;
        self.bytes -= cost(&entry.body);
        *entry = Entry { tell: Tell::Void, body: "".into(), re: 0, note: None };
        self.bytes += cost(&entry.body);
        Some(note)
    }

    /// Returns the signals in it, with their numbers.
    pub(super) fn notes(&self) -> impl Iterator<Item = (u64, Note)> + '_ {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(index, entry)| Some((self.base + 1 + index as u64, entry.note?)))
    }

    /// Returns the number of the frame before the oldest.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Returns the number of the newest frame there ever was.
    pub(super) fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns what its frames cost together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.base + 1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: &str, re: u64) -> Entry {
        let note = Note { sender: SessionKey(1), re, room: RoomKey(1) };
        Entry { tell: Tell::Ok, body: body.into(), re, note: Some(note) }
    }

    #[test]
    fn numbers_go_on_whatever_is_taken_out() {
        let mut ring = Ring::default();
        assert_eq!(ring.push(entry("a", 1)), 1);
        assert_eq!(ring.push(entry("b", 2)), 2);
        ring.acknowledge(1);
        assert_eq!((ring.base(), ring.last(), ring.len()), (1, 2, 1));
        ring.acknowledge(9);
        assert_eq!((ring.base(), ring.last(), ring.bytes()), (2, 2, 0));
        assert_eq!(ring.push(entry("c", 3)), 3);
        assert!(ring.frame(2).is_none() && ring.frame(4).is_none() && ring.frame(0).is_none());
        assert_eq!(ring.frame(3).unwrap().text(), r#"{"t":"ok","seq":3,c}"#);
    }

    #[test]
    fn replies_are_found_by_their_request() {
        let mut ring = Ring::default();
        for re in 0..5 {
            ring.push(entry("x", re));
        }
        assert_eq!(ring.reply(3).unwrap().seq(), Some(4));
        assert!(ring.reply(0).is_none() && ring.reply(9).is_none());
    }

    #[test]
    fn a_void_keeps_the_number_and_none_of_the_bytes() {
        let mut ring = Ring::default();
        ring.push(entry("long body", 7));
        assert_eq!(ring.withdraw(1).unwrap().re, 7);
        assert!(ring.withdraw(1).is_none());
        assert_eq!(ring.bytes(), cost(""));
        assert_eq!(ring.frame(1).unwrap().text(), r#"{"t":"void","seq":1}"#);
    }
}
