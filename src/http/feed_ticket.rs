//! Tickets for feeds, for readers that cannot send headers.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Seals tickets of feeds, so that none has to be kept.
pub(crate) struct Tickets([u8; 32]);

impl Tickets {
    /// Makes the sealer of one run of the daemon.
    pub(crate) fn new(key: [u8; 32]) -> Tickets {
        Tickets(key)
    }

    /// Makes a ticket for a room that is good until a Unix second.
    pub(crate) fn seal(&self, room: &str, until: u64) -> String {
        format!("{until}.{}", BASE64_URL_SAFE_NO_PAD.encode(self.mac(room, until).finalize().into_bytes()))
    }

    /// Returns until when a ticket for a room is good; none if it is not.
    pub(crate) fn open(&self, ticket: &str, room: &str, now: u64) -> Option<u64> {
        let (until, seal) = ticket.split_once('.')?;
        let until = until.parse().ok().filter(|until| now < *until)?;
        let seal = BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?;
        self.mac(room, until).verify_slice(&seal).ok().map(|()| until)
    }

    fn mac(&self, room: &str, until: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&until.to_be_bytes());
        mac.update(room.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_its_room_until_its_time() {
        let tickets = Tickets::new([7; 32]);
        let ticket = tickets.seal("tea", 100);
        assert_eq!(tickets.open(&ticket, "tea", 99), Some(100));
        assert_eq!(tickets.open(&ticket, "tea", 100), None);
        assert_eq!(tickets.open(&ticket, "teas", 99), None);
        assert_eq!(Tickets::new([8; 32]).open(&ticket, "tea", 99), None);
        let later = ticket.replacen("100", "101", 1);
        for forged in [later.as_str(), "", ".", "100.", "100.AAAA", "x.AAAA"] {
            assert_eq!(tickets.open(forged, "tea", 99), None, "{forged}");
        }
    }
}
