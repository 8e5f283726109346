//! One WebSocket of a client, without buffers that hide a write.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::Fallible;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    /// Where in `received` the next frame begins.
    next: usize,
    waiting: Vec<u8>,
}

/// Connects from an address of 127.1.0.0/16, of which each has 250 connections.
pub(crate) fn connect(server: SocketAddrV4, number: usize) -> Fallible<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let [high, low] = u16::try_from(number / 250)?.to_be_bytes();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, high, low + 1), 0)).into())?;
    socket.connect(&SocketAddr::from(server).into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Link {
    /// Opens a WebSocket.
    pub(crate) fn open(mut stream: TcpStream, path: &str, protocol: Option<&str>) -> Fallible<Link> {
        let protocol =
            protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{protocol}\r\n",
            stream.peer_addr()?
        );
        stream.write_all(request.as_bytes())?;
        let mut link = Link { stream, received: Vec::new(), next: 0, waiting: Vec::new() };
        loop {
            let head = link.received.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = head {
                if !link.received.starts_with(b"HTTP/1.1 101 ") {
                    return Err(String::from_utf8_lossy(&link.received).into());
                }
                link.next = end + 4;
                return Ok(link);
            }
            link.receive()?;
        }
    }

    /// Sends a message, or keeps what the kernel does not take now. Tells whether all of it has left.
    pub(crate) fn send(&mut self, text: &str) -> Fallible<bool> {
        self.frame(TEXT, text.as_bytes());
        self.flush()
    }

    /// Goes on with what was kept.
    pub(crate) fn flush(&mut self) -> Fallible<bool> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Reads once; tells whether something came.
    pub(crate) fn receive(&mut self) -> Fallible<bool> {
        self.received.drain(..self.next);
        self.next = 0;
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err("the server has hung up".into()),
            Ok(read) => {
                self.received.extend_from_slice(&chunk[..read]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the next message of what was read.
    pub(crate) fn message(&mut self) -> Fallible<Option<String>> {
        loop {
            let bytes = &self.received[self.next..];
            let Some((head, body)) = frame(bytes) else { return Ok(None) };
            let Some(body) = bytes.get(head..head + body) else { return Ok(None) };
            let kind = bytes[0] & 0x0f;
            self.next += head + body.len();
            match kind {
                TEXT => return Ok(Some(String::from_utf8(body.to_vec())?)),
                PING => {
                    let body = body.to_vec();
                    self.frame(PONG, &body);
                    self.flush()?;
                }
                CLOSE => return Err(format!("closed with {:?}", body.get(..2)).into()),
                _ => {}
            }
        }
    }

    /// Waits for a message on a blocking stream.
    pub(crate) fn wait(&mut self) -> Fallible<String> {
        loop {
            if let Some(text) = self.message()? {
                return Ok(text);
            }
            self.receive()?;
        }
    }

    /// Appends a frame under a mask of zeros, which leaves the bytes as they are.
    fn frame(&mut self, kind: u8, body: &[u8]) {
        self.waiting.push(0x80 | kind);
        match u8::try_from(body.len()).ok().filter(|length| *length < 126) {
            Some(length) => self.waiting.push(0x80 | length),
            None => {
                let length = u16::try_from(body.len()).expect("no message is so long");
                self.waiting.push(0x80 | 126);
                self.waiting.extend(length.to_be_bytes());
            }
        }
        self.waiting.extend([0; 4]);
        self.waiting.extend_from_slice(body);
    }
}

/// Lengths of the head and the body of a frame, once its head is there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? & 0x7f {
        126 => Some((4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into())),
        127 => Some((10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?).try_into().ok()?)),
        length => Some((2, length.into())),
    }
}
