//! A stream of any kind.

use tokio::io::{AsyncRead, AsyncWrite};

/// What HTTP, and a WebSocket after it, is spoken on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream of any kind, so that a WebSocket can take it back out of HTTP.
pub(crate) type BoxedStream = Box<dyn Stream>;
