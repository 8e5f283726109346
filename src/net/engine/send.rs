//! Sending datagrams in batches, grouped by socket; header, payload and padding leave without a copy.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use crate::net::engine::control::{Control, OwnIp};
use crate::net::engine::name::Name;
use crate::net::engine::socket;
use crate::turn::{Head, RelayId};

/// Datagrams that one call sends at most.
pub(crate) const BATCH: usize = 64;

const PARTS: usize = 3;

/// A socket to send from. It stays open until the outbox that holds it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct From {
    socket: RawFd,
    wide: bool,
}

impl From {
    /// Names a socket; `wide` says that it is one of IPv6, where IPv4 addresses are mapped.
    pub(crate) fn new(socket: BorrowedFd<'_>, wide: bool) -> From {
        From { socket: socket.as_raw_fd(), wide }
    }
}

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'b> {
    pub(crate) from: From,
    /// Source address, where the socket is bound to none.
    pub(crate) source: Option<OwnIp>,
    pub(crate) to: SocketAddr,
    pub(crate) head: Option<Head>,
    pub(crate) payload: &'b [u8],
    /// Set the Don't Fragment bit.
    pub(crate) df: bool,
    /// Relay whose socket this is, if it is one.
    pub(crate) relay: Option<RelayId>,
}

/// The headers of `sendmmsg`.
pub(crate) struct Sender {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<[libc::iovec; PARTS]>,
    names: Vec<Name>,
    controls: Vec<Control>,
    order: Vec<u16>,
}

impl Sender {
    pub(crate) fn new() -> Sender {
        // SAFETY: a header of zeros is a valid value: null pointers with length zero.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Sender {
            headers: vec![header; BATCH],
            vectors: vec![[libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PARTS]; BATCH],
            names: vec![Name::EMPTY; BATCH],
            controls: vec![Control::EMPTY; BATCH],
            order: Vec::with_capacity(BATCH),
        }
    }

    /// Sends up to [`BATCH`] datagrams, those of one socket in their order, and reports those that were lost.
    ///
    /// Returns how many the kernel took.
    pub(crate) fn send(
        &mut self,
        batch: &[Outgoing<'_>],
        mut lost: impl FnMut(&Outgoing<'_>, &io::Error),
    ) -> usize {
        let mut order = mem::take(&mut self.order);
        order.clear();
        order.extend(0..batch.len().min(BATCH) as u16);
        if batch.windows(2).any(|pair| pair[0].from != pair[1].from) {
            order.sort_unstable_by_key(|&i| (batch[usize::from(i)].from.socket, i));
        }
        let mut sent = 0;
        let same_call = |&a: &u16, &b: &u16| {
            let (a, b) = (&batch[usize::from(a)], &batch[usize::from(b)]);
            a.from == b.from && !a.df && !b.df
        };
        for group in order.chunk_by(same_call) {
            let first = &batch[usize::from(group[0])];
            let result = if first.df { socket::set_dont_fragment(first.from.socket, true) } else { Ok(()) };
            match result {
                Ok(()) => sent += self.send_group(batch, group, &mut lost),
                Err(error) => lost(first, &error),
            }
            if first.df
                && let Err(error) = socket::set_dont_fragment(first.from.socket, false)
            {
                tracing::error!(%error, "a relay socket keeps its Don't Fragment bit");
            }
        }
        self.order = order;
        sent
    }

    fn send_group(
        &mut self,
        batch: &[Outgoing<'_>],
        group: &[u16],
        lost: &mut impl FnMut(&Outgoing<'_>, &io::Error),
    ) -> usize {
        for (i, &at) in group.iter().enumerate() {
            self.prepare(i, &batch[usize::from(at)]);
        }
        let socket = batch[usize::from(group[0])].from.socket;
        let (mut at, mut sent) = (0, 0);
        while at < group.len() {
            // SAFETY: the headers up to the group's length point into this sender and into the payloads,
            // which live through the call; the kernel writes only the lengths.
            let count = unsafe {
                let headers = self.headers.as_mut_ptr().add(at);
                libc::sendmmsg(socket, headers, (group.len() - at) as _, libc::MSG_DONTWAIT as _)
            };
            match usize::try_from(count) {
                Ok(count) => {
                    at += count;
                    sent += count;
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        lost(&batch[usize::from(group[at])], &error);
                        at += 1;
                    }
                }
            }
        }
        sent
    }

    fn prepare(&mut self, i: usize, out: &Outgoing<'_>) {
        let (name, name_len) = Name::encode(out.to, out.from.wide);
        self.names[i] = name;
        let (head, padding) = match &out.head {
            Some(head) => (head.as_bytes(), head.padding()),
            None => (&[][..], &[][..]),
        };
        let mut parts = 0;
        for part in [head, out.payload, padding] {
            if !part.is_empty() {
                let iov_base = part.as_ptr().cast_mut().cast();
                self.vectors[i][parts] = libc::iovec { iov_base, iov_len: part.len() };
                parts += 1;
            }
        }
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = (&raw mut self.names[i]).cast();
        header.msg_namelen = name_len;
        header.msg_iov = self.vectors[i].as_mut_ptr();
        header.msg_iovlen = parts as _;
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        header.msg_flags = 0;
        if let Some(source) = out.source {
            header.msg_controllen = self.controls[i].set_source(source, out.from.wide) as _;
            header.msg_control = self.controls[i].as_mut_ptr();
        }
    }
}

/// Says whether a lost packet was lost to a full send buffer.
pub(crate) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}
