//! Established streams of TURN clients, plain and inside TLS.

pub(crate) mod connection;
pub(crate) mod queue;
pub(crate) mod table;
pub(crate) mod transport;
