//! What the operating system says about the machine; tests give their own.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

/// Facts that defaults depend on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub host_name: Option<String>,
    pub cores: usize,
    /// Addresses of the interfaces, without link-local and temporary ones.
    pub addresses: Vec<IpAddr>,
    /// Whether the daemon runs as root.
    pub root: bool,
    /// Whether standard error goes to the journal.
    pub journal: bool,
    /// The first of `$STATE_DIRECTORY`.
    pub state_directory: Option<PathBuf>,
    /// The first of `$RUNTIME_DIRECTORY`.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, else `~/.local/state`.
    pub user_state_home: Option<PathBuf>,
    /// The configuration file that is read if it exists.
    pub default_file: Option<PathBuf>,
}

impl Facts {
    /// Asks the operating system.
    pub fn gather() -> Facts {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = |name| env::var(name).ok().and_then(|list| first_directory(&list));
        let home_state = || path("HOME").map(|home| home.join(".local/state"));
        Facts {
            host_name: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            addresses: interface_addresses(),
            root: nix::unistd::geteuid().is_root(),
            journal: is_journal(env::var_os("JOURNAL_STREAM")),
            state_directory: directory("STATE_DIRECTORY"),
            runtime_directory: directory("RUNTIME_DIRECTORY"),
            user_state_home: path("XDG_STATE_HOME").or_else(home_state),
            default_file: Some(PathBuf::from("/etc/turnpike/turnpike.toml")),
        }
    }
}

/// Tells whether standard error is the journal: a terminal opened from a unit inherits the variable too.
fn is_journal(variable: Option<OsString>) -> bool {
    variable.is_some_and(|value| !value.is_empty()) && !std::io::IsTerminal::is_terminal(&std::io::stderr())
}

fn first_directory(list: &str) -> Option<PathBuf> {
    list.split(':').find(|path| !path.is_empty()).map(PathBuf::from)
}

fn interface_addresses() -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        if let Some(v4) = interface.address.as_ref().and_then(|address| address.as_sockaddr_in()) {
            addresses.push(IpAddr::V4(v4.ip()));
        }
    }
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    addresses.extend(table.lines().filter_map(lasting_ipv6).map(IpAddr::V6));
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Reads a line of `/proc/net/if_inet6`; `getifaddrs` does not say which addresses are temporary.
fn lasting_ipv6(line: &str) -> Option<Ipv6Addr> {
    const TEMPORARY_DEPRECATED_OR_TENTATIVE: u32 = 0x01 | 0x20 | 0x40;
    let mut fields = line.split_ascii_whitespace();
    let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    (flags & TEMPORARY_DEPRECATED_OR_TENTATIVE == 0 && !address.is_unicast_link_local()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_and_link_local_addresses_do_not_count() {
        let line = |address: &str, flags| format!("{address} 02 40 00 {flags}     eth0");
        let public = "20010db8000000000000000000000001";
        assert_eq!(lasting_ipv6(&line(public, "80")), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(lasting_ipv6(&line(public, "01")), None);
        assert_eq!(lasting_ipv6(&line("fe800000000000000000000000000001", "80")), None);
        assert_eq!(lasting_ipv6("nonsense"), None);
    }

    #[test]
    fn the_first_state_directory_of_systemd_counts() {
        assert_eq!(first_directory("/var/lib/a:/var/lib/b"), Some("/var/lib/a".into()));
        assert_eq!(first_directory(""), None);
    }
}
