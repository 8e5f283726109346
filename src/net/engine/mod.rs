//! Which system calls move packets. What to do with the packets is the shard's business.

pub(crate) mod control;
pub(crate) mod name;
pub(crate) mod netlink;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod wake;
