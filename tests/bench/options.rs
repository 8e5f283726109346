//! The command line of a load generator: a mode, then names with values. Loopback only.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddrV4;

pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) struct Options(HashMap<String, String>);

impl Options {
    /// Reads the command line; returns the mode too.
    pub(crate) fn read() -> (String, Options) {
        let mut words = std::env::args().skip(1);
        let mode = words.next().unwrap_or_default();
        let mut options = HashMap::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            options.insert(name, value);
        }
        (mode, Options(options))
    }

    pub(crate) fn text(&self, name: &str) -> Fallible<&str> {
        Ok(self.0.get(name).ok_or_else(|| format!("{name} is missing"))?)
    }

    pub(crate) fn number(&self, name: &str) -> Fallible<u64> {
        Ok(self.text(name)?.parse()?)
    }

    pub(crate) fn address(&self, name: &str) -> Fallible<SocketAddrV4> {
        let address: SocketAddrV4 = self.text(name)?.parse()?;
        if address.ip().is_loopback() { Ok(address) } else { Err(format!("{name} is not loopback").into()) }
    }
}
