//! Where TCP connections begin: accepted, named, told apart, their handshakes done, and handed to a shard.

pub(crate) mod accept;
pub(crate) mod http;
pub(crate) mod opening;
pub(crate) mod proxy;
pub(crate) mod welcome;
