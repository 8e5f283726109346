//! Making UDP sockets, and their options that no crate sets.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::engine::name;

const LISTENER_BUFFER: usize = 4 << 20;
const RELAY_BUFFER: usize = 512 << 10;

/// How a listener's socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerOptions {
    /// Other sockets of the group bind the same address.
    pub(crate) shared: bool,
    /// An IPv6 wildcard takes IPv4 too.
    pub(crate) dual: bool,
}

/// Binds a listener's socket, which tells the own address of each datagram if it is bound to none.
pub(crate) fn listener(addr: SocketAddr, options: ListenerOptions) -> io::Result<OwnedFd> {
    let socket = udp(addr)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!options.dual)?;
    }
    if options.shared {
        socket.set_reuse_port(true)?;
    }
    // As much as the kernel grants: it is charged only when it is filled.
    let _ = socket.set_recv_buffer_size(LISTENER_BUFFER);
    let _ = socket.set_send_buffer_size(LISTENER_BUFFER);
    let _ = set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT);
    if addr.ip().is_unspecified() {
        match addr.ip() {
            IpAddr::V4(_) => set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
            IpAddr::V6(_) => {
                set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
        }
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Lets other sockets of the group bind the address of one that was bound alone.
pub(crate) fn share(socket: &OwnedFd) -> io::Result<()> {
    socket2::SockRef::from(socket).set_reuse_port(true)
}

/// Binds a relay's socket: one address, shared with nobody, Don't Fragment off.
pub(crate) fn relay(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = udp(addr)?;
    match addr {
        SocketAddr::V4(_) => set_dont_fragment(socket.as_raw_fd(), false)?,
        SocketAddr::V6(_) => socket.set_only_v6(true)?,
    }
    let _ = socket.set_recv_buffer_size(RELAY_BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Returns the address that a socket is bound to.
pub(crate) fn local_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let addr = socket2::SockRef::from(&socket).local_addr()?;
    addr.as_socket().map(name::canonical).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Sets or clears the Don't Fragment bit of what an IPv4 socket sends; set, the path's size is not looked at.
pub(crate) fn set_dont_fragment(socket: RawFd, on: bool) -> io::Result<()> {
    let how = if on { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, how)
}

/// Returns how many datagrams the kernel has dropped at a socket for want of room.
pub(crate) fn kernel_drops(socket: BorrowedFd<'_>) -> u64 {
    let mut info = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the buffer has the length that is stated, and both live through the call.
    let done = unsafe {
        let to = info.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len)
    };
    if done < 0 { 0 } else { info[libc::SK_MEMINFO_DROPS as usize].into() }
}

fn udp(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
}

fn set_option(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives through the call and has the length that is stated.
    let done = unsafe {
        let size = mem::size_of_val(&value) as libc::socklen_t;
        libc::setsockopt(socket, level, option, (&raw const value).cast(), size)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
