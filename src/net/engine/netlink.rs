//! Word from the kernel that this host's addresses change, or the routes that end on it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

/// Messages of the kernel about addresses and routes. What they say does not matter, lost ones included: all is read again.
pub(crate) struct AddressFeed(AsyncFd<OwnedFd>);

impl AddressFeed {
    /// Opens the feed inside a tokio runtime.
    pub(crate) fn open() -> io::Result<AddressFeed> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        let addresses = libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let groups = (addresses | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE) as u32;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        // SAFETY: an owned descriptor stays open, and the same, as long as it is registered.
        Ok(AddressFeed(unsafe { AsyncFd::register(fd) }?))
    }

    /// Waits for a message.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }

    /// Takes what messages there are.
    pub(crate) fn empty(&self) {
        while !matches!(recv(self.0.as_raw_fd(), &mut [0; 8192], MsgFlags::empty()), Err(nix::Error::EAGAIN))
        {
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_address_feed_opens_without_privileges_and_is_silent_at_rest() {
        AddressFeed::open().unwrap().empty();
    }
}
