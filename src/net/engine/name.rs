//! Socket addresses as the kernel writes them, with IPv4 unwrapped from IPv6 sockets.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A socket address in the kernel's form.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// Room for any name that the kernel writes.
    pub(crate) const EMPTY: Name = Name {
        v6: libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// Bytes of the largest form.
    pub(crate) const SIZE: libc::socklen_t = mem::size_of::<Name>() as libc::socklen_t;

    /// Writes an address for a socket of IPv6 (`wide`) or IPv4, with the length of the form.
    pub(crate) fn encode(addr: SocketAddr, wide: bool) -> (Name, libc::socklen_t) {
        match addr {
            SocketAddr::V4(v4) if !wide => {
                let sin_addr = libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) };
                let name = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr,
                    sin_zero: [0; 8],
                };
                (Name { v4: name }, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V4(v4) => Name::wide(v4.ip().to_ipv6_mapped(), v4.port(), 0),
            SocketAddr::V6(v6) => Name::wide(*v6.ip(), v6.port(), v6.scope_id()),
        }
    }

    fn wide(ip: Ipv6Addr, port: u16, scope: u32) -> (Name, libc::socklen_t) {
        let name = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: port.to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
            sin6_scope_id: scope,
        };
        (Name { v6: name }, mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t)
    }

    /// Reads an address; a v4-mapped one comes out as IPv4. None if it is of another family.
    pub(crate) fn decode(&self) -> Option<SocketAddr> {
        // SAFETY: every bit pattern is valid for both variants, and both begin with the family.
        let family = unsafe { self.v4.sin_family };
        match libc::c_int::from(family) {
            libc::AF_INET => {
                // SAFETY: as above.
                let name = unsafe { self.v4 };
                let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let name = unsafe { self.v6 };
                let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
                Some(unmapped(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

/// Unwraps IPv4 from a v4-mapped address, and drops a scope that says nothing.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => unmapped(v6),
    }
}

fn unmapped(addr: SocketAddrV6) -> SocketAddr {
    match addr.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(IpAddr::V4(v4), addr.port()),
        None => {
            let scope = if addr.ip().is_unicast_link_local() { addr.scope_id() } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(*addr.ip(), addr.port(), 0, scope))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_through_the_kernel_form() {
        for (text, wide) in [
            ("192.0.2.1:3478", false),
            ("192.0.2.1:3478", true),
            ("[2001:db8::1]:1", true),
            ("[fe80::1%3]:9", true),
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::encode(addr, wide).0.decode(), Some(addr), "{text}");
        }
        assert_eq!(Name::EMPTY.decode(), None);
    }

    #[test]
    fn scope_is_kept_for_link_local_addresses_only() {
        assert_eq!(canonical("[2001:db8::1%4]:1".parse().unwrap()), "[2001:db8::1]:1".parse().unwrap());
        assert_eq!(canonical("[::ffff:1.2.3.4]:1".parse().unwrap()), "1.2.3.4:1".parse().unwrap());
    }
}
