//! Control messages: which own address a datagram came to, and which one its answer leaves from.
//!
//! ```text
//! | length: usize | level: i32 | type: i32 | data .. | padding to the next usize
//! ```

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = mem::size_of::<libc::cmsghdr>();
const ALIGN: usize = mem::size_of::<usize>();

/// Room for the control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; Control::SIZE]);

/// An own address with the interface that it was seen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnIp {
    pub(crate) ip: IpAddr,
    pub(crate) interface: u32,
}

impl Control {
    /// Bytes of the room: a packet information of either family and some to spare.
    pub(crate) const SIZE: usize = 128;

    /// Room with nothing in it.
    pub(crate) const EMPTY: Control = Control([0; Control::SIZE]);

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Finds the destination address of a datagram in the first `len` bytes.
    pub(crate) fn destination(&self, len: usize) -> Option<OwnIp> {
        let mut rest = self.0.get(..len)?;
        while rest.len() >= HEADER {
            let message = usize::from_ne_bytes(*rest.first_chunk()?);
            let data = rest.get(HEADER..message)?;
            match (int_at(rest, ALIGN)?, int_at(rest, ALIGN + 4)?) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let octets: [u8; 4] = *data.get(4..)?.first_chunk()?;
                    return Some(OwnIp { ip: Ipv4Addr::from(octets).into(), interface: index_at(data, 0)? });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let ip = Ipv6Addr::from(*data.first_chunk::<16>()?);
                    return Some(OwnIp { ip: ip.to_canonical(), interface: index_at(data, 16)? });
                }
                _ => rest = rest.get(message.next_multiple_of(ALIGN)..)?,
            }
        }
        None
    }

    /// Writes the source address of a datagram for a socket of IPv6 (`wide`) or IPv4; returns the length.
    pub(crate) fn set_source(&mut self, source: OwnIp, wide: bool) -> usize {
        match (source.ip, wide) {
            (IpAddr::V4(v4), false) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&v4.octets());
                self.write(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            (IpAddr::V4(v4), true) => self.write_wide(v4.to_ipv6_mapped(), 0),
            (IpAddr::V6(v6), _) => self.write_wide(v6, source.interface),
        }
    }

    fn write_wide(&mut self, ip: Ipv6Addr, interface: u32) -> usize {
        let mut info = [0; 20];
        info[..16].copy_from_slice(&ip.octets());
        info[16..].copy_from_slice(&interface.to_ne_bytes());
        self.write(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
    }

    fn write(&mut self, level: i32, kind: i32, data: &[u8]) -> usize {
        let len = HEADER + data.len();
        self.0 = [0; Control::SIZE];
        self.0[..ALIGN].copy_from_slice(&len.to_ne_bytes());
        self.0[ALIGN..ALIGN + 4].copy_from_slice(&level.to_ne_bytes());
        self.0[ALIGN + 4..ALIGN + 8].copy_from_slice(&kind.to_ne_bytes());
        self.0[HEADER..len].copy_from_slice(data);
        len.next_multiple_of(ALIGN)
    }
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn index_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_destination_reads_back_and_mapped_comes_out_as_ipv4() {
        let mut control = Control::EMPTY;
        for (ip, interface, seen) in [("2001:db8::7", 3, 3), ("192.0.2.7", 3, 0)] {
            let ip: IpAddr = ip.parse().unwrap();
            let len = control.set_source(OwnIp { ip, interface }, true);
            assert_eq!(control.destination(len), Some(OwnIp { ip, interface: seen }));
        }
    }

    #[test]
    fn broken_lengths_find_nothing() {
        let mut control = Control::EMPTY;
        for length in [0_usize, 1, 15, 17, 4096, usize::MAX] {
            control.0[..ALIGN].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(control.destination(40), None, "{length}");
        }
        assert_eq!(control.destination(Control::SIZE + 1), None);
    }
}
