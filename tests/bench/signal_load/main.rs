//! Load for `signaling.mjs` and `signaling-memory.mjs`. `signal_load rate` measures signals between pairs at
//! saturation and, open loop, at half of the rate found there (or at `--fixed`); `signal_load idle` holds connections on which
//! nothing happens until its input ends. Each prints lines of JSON. Loopback only.

#![allow(clippy::disallowed_methods, reason = "a load generator reads the clock")]

mod dialect;
mod idle;
mod link;
mod rate;

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddrV4;

pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Fallible<()> {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_default();
    let mut options = HashMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        options.insert(name, value);
    }
    let options = Options(options);
    match mode.as_str() {
        "idle" => idle::run(&options),
        "rate" => rate::run(&options),
        other => Err(format!("`{other}` is neither `idle` nor `rate`").into()),
    }
}

pub(crate) struct Options(HashMap<String, String>);

impl Options {
    pub(crate) fn text(&self, name: &str) -> Fallible<&str> {
        Ok(self.0.get(name).ok_or_else(|| format!("{name} is missing"))?)
    }

    pub(crate) fn number(&self, name: &str) -> Fallible<u64> {
        Ok(self.text(name)?.parse()?)
    }

    pub(crate) fn server(&self) -> Fallible<SocketAddrV4> {
        let address: SocketAddrV4 = self.text("--server")?.parse()?;
        if address.ip().is_loopback() { Ok(address) } else { Err("--server is not loopback".into()) }
    }
}
