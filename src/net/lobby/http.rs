//! A stream that speaks HTTP, on its way to whoever serves it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::net::stream::connection::Places;

/// What takes HTTP streams; called with one of which nothing is read.
pub type HttpEntry = Arc<dyn Fn(HttpStream) + Send + Sync>;

/// A stream that speaks HTTP. Its places among the connections are given back when it is dropped.
pub struct HttpStream {
    /// The bytes.
    pub stream: HttpBytes,
    /// Address of the client, as a PROXY header named it or as the kernel did.
    pub remote: SocketAddr,
    /// Address that the client connected to.
    pub local: SocketAddr,
    /// Whether its address has as many connections as it may: it is to be told so, and closed.
    pub is_over: bool,
    /// To be kept as long as the stream lives.
    pub places: HttpPlaces,
}

/// Places that an HTTP stream holds among the connections.
pub struct HttpPlaces(#[expect(dead_code, reason = "held until it is dropped")] pub(crate) Places);

/// The bytes of a stream, decrypted where it is one of TLS.
pub enum HttpBytes {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl HttpBytes {
    /// Returns the socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            HttpBytes::Plain(stream) => stream,
            HttpBytes::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsyncRead for HttpBytes {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpBytes::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            HttpBytes::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for HttpBytes {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            HttpBytes::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            HttpBytes::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpBytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            HttpBytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HttpBytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            HttpBytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            HttpBytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            HttpBytes::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            HttpBytes::Plain(stream) => stream.is_write_vectored(),
            HttpBytes::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
