//! Load for `signaling.mjs` and `signaling-memory.mjs`. `signal_load rate` measures signals between pairs at
//! saturation and, open loop, at half of the rate found there (or at `--fixed`); `signal_load idle` holds connections on which
//! nothing happens until its input ends. Each prints lines of JSON. Loopback only.

#![allow(clippy::disallowed_methods, reason = "a load generator reads the clock")]

mod dialect;
mod idle;
mod link;
#[path = "../options.rs"]
mod options;
mod rate;

pub(crate) use options::{Fallible, Options};

fn main() -> Fallible<()> {
    let (mode, options) = Options::read();
    match mode.as_str() {
        "idle" => idle::run(&options),
        "rate" => rate::run(&options),
        other => Err(format!("`{other}` is neither `idle` nor `rate`").into()),
    }
}
