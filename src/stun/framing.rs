//! Where one message ends on a stream (RFC 8489 §6.2.2, RFC 8656 §12.5).

use crate::stun::names::MAGIC_COOKIE;

/// What the front of a stream's buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message: `len` bytes of it, `total` with its padding.
    Whole {
        /// Bytes of the message.
        len: usize,
        /// Bytes to take off the stream.
        total: usize,
    },
    /// More bytes are needed before the message is whole: `total` in all, as far as is known.
    Partial {
        /// Bytes that the buffer needs to hold.
        total: usize,
    },
    /// Neither STUN nor ChannelData: the stream is out of step and cannot be mended.
    OutOfStep,
}

/// Finds the end of the first message in `bytes`.
#[must_use]
pub fn next_frame(bytes: &[u8]) -> Frame {
    let Some(header) = bytes.first_chunk::<4>() else {
        return match bytes.first() {
            Some(first) if first & 0x80 != 0 => Frame::OutOfStep,
            _ => Frame::Partial { total: 4 },
        };
    };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    match header[0] {
        0x00..=0x3f => {
            let cookie = MAGIC_COOKIE.to_be_bytes();
            let given = &bytes[4..bytes.len().min(8)];
            if !length.is_multiple_of(4) || given != &cookie[..given.len()] {
                return Frame::OutOfStep;
            }
            whole(bytes, 20 + length, 20 + length)
        }
        0x40..=0x7f => whole(bytes, 4 + length, (4 + length).next_multiple_of(4)),
        _ => Frame::OutOfStep,
    }
}

fn whole(bytes: &[u8], len: usize, total: usize) -> Frame {
    if bytes.len() >= total { Frame::Whole { len, total } } else { Frame::Partial { total } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn channel_data_of_every_length_is_padded_and_what_follows_is_found() {
        // T-8656-12.6-01
        for length in 0..=7_u8 {
            let mut bytes = vec![0x40, 0, 0, length];
            bytes.resize(4 + usize::from(length).next_multiple_of(4), 0xaa);
            bytes.extend(BINDING);
            let total = 4 + usize::from(length).next_multiple_of(4);
            assert_eq!(next_frame(&bytes), Frame::Whole { len: 4 + usize::from(length), total });
            assert_eq!(next_frame(&bytes[total..]), Frame::Whole { len: 20, total: 20 });
        }
    }

    #[test]
    fn a_message_is_partial_at_every_cut_before_its_end() {
        // T-8489-6.2.2-03
        for cut in 0..BINDING.len() {
            assert!(matches!(next_frame(&BINDING[..cut]), Frame::Partial { .. }), "{cut}");
        }
    }

    #[test]
    fn longest_length_fields_do_not_wrap() {
        // T-8656-12.6-06
        for low in [0xfd, 0xfe, 0xff] {
            assert_eq!(next_frame(&[0x40, 0, 0xff, low, 0, 0, 0, 0]), Frame::Partial { total: 65_540 });
        }
    }

    #[test]
    fn noise_is_out_of_step() {
        for first in 0x80..=0xff_u8 {
            assert_eq!(next_frame(&[first]), Frame::OutOfStep);
        }
        assert_eq!(next_frame(&[0, 1, 0, 1]), Frame::OutOfStep);
        assert_eq!(next_frame(&[0, 1, 0, 0, 0x21, 0x13]), Frame::OutOfStep);
    }
}
