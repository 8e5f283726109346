//! Sockets, threads and streams.
