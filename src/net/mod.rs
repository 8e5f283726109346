//! Stand-in: only the clock.

pub mod clock;
