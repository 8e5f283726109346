//! Reading datagrams in batches.
//!
//! ```text
//! Inbox   | slot 0: 64 KiB and a bit | slot 1 | .. | slot 63 | answers |
//!           used by earlier sockets  ^ the next socket's batch goes here
//! ```

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::net::engine::control::{Control, OwnIp};
use crate::net::engine::name::Name;

/// Datagrams that one call reads at most.
pub(crate) const BATCH: usize = 32;

/// Receive buffers of a shard. Pages that no datagram reached are not resident.
pub(crate) struct Inbox {
    memory: Box<[u8]>,
}

impl Inbox {
    const SLOTS: usize = 2 * BATCH;
    const LARGEST: usize = 65_536;
    // An odd number of cache lines, so that the packets' first lines do not all share one set.
    const SLOT: usize = Inbox::LARGEST + 19 * 64;
    const ANSWERS: usize = 65_536;

    pub(crate) fn new() -> Inbox {
        Inbox { memory: vec![0; Inbox::SLOTS * Inbox::SLOT + Inbox::ANSWERS].into_boxed_slice() }
    }

    /// Lends all of the buffers, and a space for answers.
    pub(crate) fn room(&mut self) -> (Room<'_>, &mut [u8]) {
        let (slots, answers) = self.memory.split_at_mut(Inbox::SLOTS * Inbox::SLOT);
        (Room { slots }, answers)
    }
}

/// Receive buffers that are still free.
pub(crate) struct Room<'b> {
    slots: &'b mut [u8],
}

impl<'b> Room<'b> {
    /// Returns how many datagrams fit.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() / Inbox::SLOT
    }

    fn take(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = mem::take(&mut self.slots).split_at_mut(count * Inbox::SLOT);
        self.slots = rest;
        taken
    }
}

/// A datagram in its buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'b> {
    pub(crate) from: SocketAddr,
    pub(crate) to: Option<OwnIp>,
    pub(crate) bytes: &'b [u8],
    pub(crate) truncated: bool,
}

/// The headers of `recvmmsg`.
pub(crate) struct Receiver {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

impl Receiver {
    pub(crate) fn new() -> Receiver {
        // SAFETY: a header of zeros is a valid value: null pointers with length zero.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Receiver {
            headers: vec![header; BATCH],
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH],
            names: vec![Name::EMPTY; BATCH],
            controls: vec![Control::EMPTY; BATCH],
        }
    }

    /// Reads what is there, up to `want` datagrams; with `with_own`, each tells the address it was sent to.
    pub(crate) fn receive<'r, 'b>(
        &'r mut self,
        socket: BorrowedFd<'_>,
        room: &mut Room<'b>,
        want: usize,
        with_own: bool,
    ) -> io::Result<Batch<'r, 'b>> {
        let want = want.min(BATCH).min(room.len());
        for (i, slot) in room.slots.chunks_exact_mut(Inbox::SLOT).take(want).enumerate() {
            self.vectors[i] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: Inbox::LARGEST };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = Name::SIZE;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = if with_own { self.controls[i].as_mut_ptr() } else { ptr::null_mut() };
            header.msg_controllen = if with_own { Control::SIZE as _ } else { 0 };
            header.msg_flags = 0;
        }
        // SAFETY: the first `want` headers point into live buffers of the lengths they state, and nothing
        // else touches those during the call.
        let count = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket.as_raw_fd(), headers, want as _, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(Batch { receiver: self, memory: room.take(count), count })
    }
}

/// The datagrams that one call read.
pub(crate) struct Batch<'r, 'b> {
    receiver: &'r Receiver,
    memory: &'b [u8],
    count: usize,
}

impl<'b> Batch<'_, 'b> {
    /// Returns how many datagrams there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the datagrams in the order of their arrival, but for those without a source that makes sense.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Datagram<'b>> {
        self.memory.chunks_exact(Inbox::SLOT).enumerate().filter_map(|(i, slot)| {
            let header = &self.receiver.headers[i];
            let own = &self.receiver.controls[i];
            Some(Datagram {
                from: self.receiver.names[i].decode()?,
                to: own.destination(header.msg_hdr.msg_controllen),
                bytes: &slot[..(header.msg_len as usize).min(Inbox::LARGEST)],
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            })
        })
    }
}
