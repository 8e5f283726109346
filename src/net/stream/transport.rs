//! The bytes of a stream: plain, or inside TLS. rustls does no I/O of its own and fits the shard's loop.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::ServerConnection;

use crate::net::counters::Close;
use crate::net::stream::queue::WriteQueue;

/// Free space that [`Transport::read`] needs to take what TLS may hold decrypted.
pub(crate) const SLACK: usize = 64 << 10;

const SLICES: usize = 32;
const PLAIN_CHUNK: usize = 256 << 10;
const TLS_CHUNK: usize = 16 << 10;
/// What rustls asks a socket for at least: less means that the socket is empty.
const TLS_READ: usize = 4 << 10;

/// A stream's socket, with its session if it is one of TLS.
pub(crate) struct Transport {
    socket: TcpStream,
    session: Option<Box<ServerConnection>>,
}

impl Transport {
    pub(crate) fn new(socket: TcpStream, session: Option<Box<ServerConnection>>) -> Transport {
        Transport { socket, session }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    /// Reads once, or as often as TLS needs to fill `into` but for its slack, and stops after about `most` bytes;
    /// returns the bytes and why there will be no more.
    pub(crate) fn read(&mut self, into: &mut [u8], most: usize) -> (usize, Option<Close>) {
        let slack = if self.is_tls() { SLACK } else { 0 };
        let len = into.len().min(most.saturating_add(slack));
        let into = &mut into[..len];
        match &mut self.session {
            None => match self.socket.read(into) {
                Ok(0) => (0, Some(Close::Client)),
                Ok(count) => (count, None),
                Err(error) if is_passing(&error) => (0, None),
                Err(_) => (0, Some(Close::Io)),
            },
            Some(session) => read_tls(&mut self.socket, session, into),
        }
    }

    /// Writes what waits; false if the socket takes no more for now.
    pub(crate) fn write(&mut self, queue: &mut WriteQueue) -> io::Result<bool> {
        match &mut self.session {
            None => write_plain(&mut self.socket, queue),
            Some(session) => write_tls(&mut self.socket, session, queue),
        }
    }

    /// Says whether bytes wait that the socket did not take, encrypted ones included.
    pub(crate) fn wants_write(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// Says goodbye as far as the socket takes it at once.
    pub(crate) fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            while session.wants_write() && session.write_tls(&mut self.socket).is_ok_and(|count| count > 0) {}
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn read_tls(
    socket: &mut TcpStream,
    session: &mut ServerConnection,
    into: &mut [u8],
) -> (usize, Option<Close>) {
    let mut filled = 0;
    let mut is_empty = false;
    loop {
        // All of it every time: no readiness tells of bytes that are decrypted already.
        match session.reader().read(&mut into[filled..]) {
            Ok(0) => return (filled, Some(Close::Client)),
            Ok(count) => {
                filled += count;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return (filled, Some(Close::Client)),
        }
        if is_empty || into.len() - filled < SLACK {
            return (filled, None);
        }
        match session.read_tls(socket) {
            Ok(0) => return (filled, Some(Close::Client)),
            Ok(count) => is_empty = count < TLS_READ,
            Err(error) if is_passing(&error) => return (filled, None),
            Err(_) => return (filled, Some(Close::Io)),
        }
        if session.process_new_packets().is_err() {
            let _ = session.write_tls(socket);
            return (filled, Some(Close::Tls));
        }
    }
}

fn write_plain(socket: &mut TcpStream, queue: &mut WriteQueue) -> io::Result<bool> {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = queue.slices(PLAIN_CHUNK, &mut slices);
        match socket.write_vectored(&slices[..used]) {
            Ok(count) => queue.consume(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn write_tls(
    socket: &mut TcpStream,
    session: &mut ServerConnection,
    queue: &mut WriteQueue,
) -> io::Result<bool> {
    loop {
        while session.wants_write() {
            match session.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if queue.is_empty() {
            return Ok(true);
        }
        // A record a frame, all in one flush: there are clients that take a record for a message.
        let mut fed = 0;
        while fed < TLS_CHUNK && !queue.is_empty() {
            let count = session.writer().write(queue.front())?;
            queue.consume(count);
            fed += count;
            if count == 0 {
                break;
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
