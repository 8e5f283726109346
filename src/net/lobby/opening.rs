//! What a stream is, by its first byte (RFC 7983 §7 and what HTTP begins with).

/// What a client begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A STUN message.
    Stun,
    /// A TLS handshake.
    Tls,
    /// The letter of an HTTP method.
    Http,
    /// Nothing that is served; ChannelData too, before any allocation.
    Other,
}

impl Opening {
    pub(crate) fn of(first: u8) -> Opening {
        match first {
            0x00..=0x03 => Opening::Stun,
            0x16 => Opening::Tls,
            // ChannelData has 0x40 to 0x4F too, but a client that begins with it has no channel.
            b'A'..=b'Z' => Opening::Http,
            _ => Opening::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_are_told_apart() {
        // T-8489-8.1-01
        assert_eq!([0, 1, 3].map(Opening::of), [Opening::Stun; 3]);
        assert_eq!(Opening::of(0x16), Opening::Tls);
        assert_eq!([b'G', b'P', b'O'].map(Opening::of), [Opening::Http; 3]);
        assert_eq!([0x04, 0x15, 0x17, 0x40, 0x80, 0xff].map(Opening::of), [Opening::Other; 6]);
    }
}
