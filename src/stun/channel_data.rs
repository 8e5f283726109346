//! ChannelData messages (RFC 8656 §12.4).

/// A ChannelData message, without its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// Channel number.
    pub number: u16,
    /// Application data.
    pub payload: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Length of the header in bytes.
    pub const HEADER: usize = 4;

    /// Parses a message; bytes behind its length are padding. None if it is shorter than it says.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<ChannelData<'a>> {
        let (header, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let payload = rest.get(..length)?;
        Some(ChannelData { number: u16::from_be_bytes([header[0], header[1]]), payload })
    }

    /// Returns the header in front of a payload; none if the payload is over 65,535 bytes.
    #[must_use]
    pub fn header(number: u16, payload_len: usize) -> Option<[u8; 4]> {
        let [n0, n1] = number.to_be_bytes();
        let [l0, l1] = u16::try_from(payload_len).ok()?.to_be_bytes();
        Some([n0, n1, l0, l1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_field_decides_and_padding_is_left_out() {
        // T-8656-12.6-02
        assert_eq!(
            ChannelData::parse(&[0x40, 0, 0, 1, 7, 0, 0, 0]),
            Some(ChannelData { number: 0x4000, payload: &[7] })
        );
        assert_eq!(ChannelData::parse(&[0x40, 0, 0, 2, 7]), None);
        assert_eq!(ChannelData::parse(&[0x40, 0, 0]), None);
        assert_eq!(ChannelData::parse(&[0x40, 1, 0, 0]), Some(ChannelData { number: 0x4001, payload: &[] }));
    }
}
