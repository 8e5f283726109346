//! The signaling hub (`docs/signaling.md`) as a state machine: messages and events in, actions out.

#![warn(missing_docs)]

mod action;
mod authority;
mod core;
mod deadline;
mod deliver;
mod due;
mod enter;
mod feed;
mod frame;
mod hello;
mod hub;
mod ids;
mod inbound;
mod limits;
mod message;
mod meta;
mod names;
mod post;
mod presence;
mod refusal;
mod ring;
mod room;
mod secret;
mod session;
mod shared_state;
mod stats;
mod talk;
#[cfg(test)]
mod tests;

pub use action::{Action, SessionTerms};
pub use authority::{Authority, Holder, IceServer, IceServers};
pub use frame::{Frame, FrameId};
pub use hub::{Footprint, Hub};
pub use ids::{AddressKey, ConnId, PeerId};
pub use limits::{Limits, Rate, Settings};
pub use message::Speech;
pub use names::{
    Ask, Carrier, CloseCode, ErrorCode, LeftReason, ResumeResult, SessionEnd, Tell, Undelivered,
};
pub use post::{Created, EventsRefusal, FeedReader, FeedRefusal, Posted};
pub use stats::Stats;
