//! The rules of the protocol, one by one, without a socket.

mod carriers;
mod limits;
mod requests;
mod resume;
mod rooms;
mod talk;
mod tokens;
mod world;
