//! Sockets, threads and streams.

pub mod clock;
