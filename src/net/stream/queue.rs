//! Frames that wait for a stream to take them, before encryption.
//!
//! ```text
//! bytes  | written already | frame | dropped frame | frame | frame |
//!                          ^ start
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes of frames that may wait.
pub(crate) const LIMIT: usize = 256 << 10;

const KEPT: usize = 4 << 10;

/// What a frame is, and so what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer: never dropped.
    Control,
    /// Relayed data: the oldest gives way.
    Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live(Kind),
    Dropped,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    len: u32,
    state: State,
}

/// The client does not read, and answers alone fill the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// A queue of frames in their order.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    bytes: Vec<u8>,
    start: usize,
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written already.
    begun: usize,
    /// Frames before this one are not to be dropped any more.
    first_droppable: usize,
    live: usize,
}

impl WriteQueue {
    /// Adds a frame that is written in parts; returns how many data frames gave way for it, itself included.
    pub(crate) fn push(&mut self, kind: Kind, parts: [&[u8]; 3]) -> Result<u64, Overflow> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut dropped = 0;
        while self.live + len > LIMIT {
            match (self.drop_oldest(), kind) {
                (true, _) => dropped += 1,
                (false, Kind::Data) => return Ok(dropped + 1),
                (false, Kind::Control) => return Err(Overflow),
            }
        }
        if self.bytes.len() + len > 2 * LIMIT {
            self.compact();
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.frames.push_back(Frame { len: len as u32, state: State::Live(kind) });
        self.live += len;
        Ok(dropped)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns how many bytes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.live
    }

    /// Fills `slices` with what is to be written next, about `most` bytes, and returns how many it used.
    pub(crate) fn slices<'q>(&'q self, most: usize, slices: &mut [IoSlice<'q>]) -> usize {
        let (mut used, mut at, mut found) = (0, self.start, 0);
        let mut run = at..at;
        for (i, frame) in self.frames.iter().enumerate() {
            let len = frame.len as usize - if i == 0 { self.begun } else { 0 };
            if frame.state == State::Dropped {
                if !run.is_empty() {
                    slices[used] = IoSlice::new(&self.bytes[run]);
                    used += 1;
                }
                run = at + len..at + len;
            } else {
                run.end = at + len;
                found += len;
            }
            at += len;
            if used == slices.len() {
                return used;
            }
            if found >= most {
                break;
            }
        }
        if !run.is_empty() {
            slices[used] = IoSlice::new(&self.bytes[run]);
            used += 1;
        }
        used
    }

    /// Returns the rest of the first frame; empty if none waits.
    pub(crate) fn front(&self) -> &[u8] {
        let mut at = self.start;
        for (i, frame) in self.frames.iter().enumerate() {
            let len = frame.len as usize - if i == 0 { self.begun } else { 0 };
            if frame.state != State::Dropped {
                return &self.bytes[at..at + len];
            }
            at += len;
        }
        &[]
    }

    /// Takes off what was written: `count` bytes of the slices.
    pub(crate) fn consume(&mut self, mut count: usize) {
        self.live -= count;
        while let Some(frame) = self.frames.front() {
            let rest = frame.len as usize - self.begun;
            match frame.state {
                State::Live(_) if count < rest => {
                    self.start += count;
                    self.begun += count;
                    break;
                }
                State::Live(_) => count -= rest,
                State::Dropped => {}
            }
            self.start += rest;
            self.begun = 0;
            self.frames.pop_front();
            self.first_droppable = self.first_droppable.saturating_sub(1);
        }
        if self.frames.is_empty() {
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.start = 0;
        self.first_droppable = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        if self.frames.capacity() > KEPT / size_of::<Frame>() {
            self.frames = VecDeque::new();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let from = self.first_droppable.max(usize::from(self.begun > 0));
        let oldest = self.frames.iter().skip(from).position(|frame| frame.state == State::Live(Kind::Data));
        match oldest {
            Some(offset) => {
                let frame = &mut self.frames[from + offset];
                frame.state = State::Dropped;
                self.live -= frame.len as usize;
                self.first_droppable = from + offset + 1;
                true
            }
            None => {
                self.first_droppable = self.frames.len();
                false
            }
        }
    }

    /// Moves the frames that still count to the front.
    fn compact(&mut self) {
        let (mut from, mut to) = (self.start, 0);
        let begun = self.begun;
        for (i, frame) in self.frames.iter().enumerate() {
            let len = frame.len as usize - if i == 0 { begun } else { 0 };
            if frame.state != State::Dropped {
                self.bytes.copy_within(from..from + len, to);
                to += len;
            }
            from += len;
        }
        self.bytes.truncate(to);
        self.frames.retain(|frame| frame.state != State::Dropped);
        self.start = 0;
        self.first_droppable = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(queue: &mut WriteQueue, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = queue.slices(LIMIT, &mut slices);
        let mut out: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        out.truncate(most);
        queue.consume(out.len());
        out
    }

    fn push(queue: &mut WriteQueue, kind: Kind, byte: u8, len: usize) -> Result<u64, Overflow> {
        queue.push(kind, [&vec![byte; len], &[], &[]])
    }

    #[test]
    fn frames_leave_in_order_however_little_the_stream_takes() {
        let mut queue = WriteQueue::default();
        let mut expected = Vec::new();
        for byte in 1..=9 {
            queue.push(Kind::Data, [&[byte; 4], &[byte; 5], &[0]]).unwrap();
            expected.extend([byte; 9]);
            expected.push(0);
        }
        let mut out = Vec::new();
        while !queue.is_empty() {
            out.extend(write(&mut queue, 3));
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn data_overflow_drops_the_oldest_frame_that_is_not_begun() {
        let mut queue = WriteQueue::default();
        let frame = LIMIT / 4;
        for byte in 1..=4 {
            assert_eq!(push(&mut queue, Kind::Data, byte, frame), Ok(0));
        }
        assert_eq!(write(&mut queue, 1), [1]);
        assert_eq!(push(&mut queue, Kind::Data, 5, frame), Ok(1));
        assert_eq!(push(&mut queue, Kind::Data, 6, 1), Ok(0));
        let mut order = write(&mut queue, usize::MAX);
        order.dedup();
        assert_eq!(order, [1, 3, 4, 5, 6]);
        assert!(queue.is_empty());
    }

    #[test]
    fn frames_come_one_by_one_past_those_that_were_dropped() {
        let mut queue = WriteQueue::default();
        for byte in 1..=4 {
            push(&mut queue, Kind::Data, byte, LIMIT / 4).unwrap();
        }
        assert_eq!(push(&mut queue, Kind::Control, 5, LIMIT / 2 + 1), Ok(3));
        assert_eq!(queue.front(), vec![4; LIMIT / 4]);
        queue.consume(LIMIT / 4 - 1);
        assert_eq!(queue.front(), [4]);
        queue.consume(1);
        assert_eq!(queue.front(), vec![5; LIMIT / 2 + 1]);
        queue.consume(LIMIT / 2 + 1);
        assert!(queue.is_empty() && queue.front().is_empty());
    }

    #[test]
    fn answers_are_never_dropped_and_alone_overflow_the_queue() {
        let mut queue = WriteQueue::default();
        assert_eq!(push(&mut queue, Kind::Control, 1, LIMIT / 2), Ok(0));
        assert_eq!(push(&mut queue, Kind::Data, 2, LIMIT / 2), Ok(0));
        assert_eq!(push(&mut queue, Kind::Control, 3, LIMIT / 2), Ok(1));
        assert_eq!(push(&mut queue, Kind::Data, 4, 1), Ok(1));
        assert_eq!(push(&mut queue, Kind::Control, 5, 1), Err(Overflow));
        let mut order = write(&mut queue, usize::MAX);
        order.dedup();
        assert_eq!(order, [1, 3]);
    }

    #[test]
    fn memory_stays_bounded_behind_a_frame_that_is_stuck() {
        let mut queue = WriteQueue::default();
        push(&mut queue, Kind::Control, 1, 1000).unwrap();
        write(&mut queue, 1);
        let mut dropped = 0;
        for _ in 0..20_000 {
            dropped += push(&mut queue, Kind::Data, 2, 1200).unwrap();
        }
        assert!(dropped > 19_000);
        assert!(queue.bytes.len() <= 2 * LIMIT && queue.live <= LIMIT);
        while !queue.is_empty() {
            write(&mut queue, usize::MAX);
        }
        assert_eq!(queue.bytes.capacity(), 0);
    }
}
