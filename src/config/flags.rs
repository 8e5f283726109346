//! The one definition of every `serve` flag; command line, environment, file, help and documents come from it.

/// How often a flag may be given and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    Single,
    /// Any number of values, comma separated in an environment variable.
    List,
    /// Any number of values that may contain commas, one a line in an environment variable.
    Lines,
    /// No value, or `true` or `false`.
    Switch,
}

/// What holds when a flag is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A value, spelled as a user would.
    Value(&'static str),
    /// Something found out at start, described for a reader.
    Described(&'static str),
    /// Nothing: the feature is off, the list is empty.
    Nothing,
}

impl Fallback {
    /// Returns what help and documents say, if there is anything to say.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Fallback::Value(text) | Fallback::Described(text) => Some(text),
            Fallback::Nothing => None,
        }
    }
}

/// One flag of `serve`, which is also an environment variable and a key of the file.
#[derive(Debug)]
pub struct Flag {
    /// Spelling without the dashes; also the key of the file.
    pub name: &'static str,
    /// Name of the value in help, empty for a switch.
    pub value: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    /// One sentence or two, without a period at the end.
    pub help: &'static str,
    /// Heading in help and documents.
    pub section: &'static str,
    /// Whether the value must never be printed.
    pub secret: bool,
}

impl Flag {
    /// Returns the name of the environment variable.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Tells whether several values are kept.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::Lines)
    }

    const fn keeping_secret(mut self) -> Flag {
        self.secret = true;
        self
    }
}

pub const VARIABLE_PREFIX: &str = "TURNPIKE_";

/// The only variable with the prefix that is not a flag: extra arguments that the systemd unit expands.
pub const FLAGS_VARIABLE: &str = "TURNPIKE_FLAGS";

/// Looks up a flag that the caller knows to exist.
pub fn flag(name: &str) -> &'static Flag {
    find(name).expect("the caller names a flag of the table")
}

pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// Returns the candidate that a mistyped name most likely meant, if any is near.
pub fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase().replace('_', "-");
    candidates
        .map(|name| (strsim::jaro_winkler(&given, &name.to_lowercase().replace('_', "-")), name))
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Returns the sections in the order in which they are shown.
pub fn sections() -> Vec<&'static str> {
    let mut sections = Vec::new();
    for flag in &FLAGS {
        if !sections.contains(&flag.section) {
            sections.push(flag.section);
        }
    }
    sections
}

const FILE: &str = "Configuration file";
const LISTEN: &str = "Listeners";
const TLS: &str = "TLS";
const HTTP: &str = "HTTP";
const SIGNALING: &str = "Signaling";
const URLS: &str = "What clients are told";
const RELAY: &str = "Relay addresses and ports";
const USERS: &str = "Users and credentials";
const PEERS: &str = "Peers";
const LIMITS: &str = "Limits";
const PROCESS: &str = "Process";
const LOGS: &str = "Logs";

use Fallback::{Described, Nothing, Value};

const fn single(
    section: &'static str,
    name: &'static str,
    value: &'static str,
    fallback: Fallback,
    help: &'static str,
) -> Flag {
    Flag { name, value, kind: Kind::Single, fallback, help, section, secret: false }
}

const fn list(
    section: &'static str,
    name: &'static str,
    value: &'static str,
    fallback: Fallback,
    help: &'static str,
) -> Flag {
    Flag { name, value, kind: Kind::List, fallback, help, section, secret: false }
}

const fn lines(section: &'static str, name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, kind: Kind::Lines, fallback: Nothing, help, section, secret: false }
}

const fn switch(section: &'static str, name: &'static str, help: &'static str) -> Flag {
    Flag { name, value: "", kind: Kind::Switch, fallback: Nothing, help, section, secret: false }
}

/// Every flag, in the order of help and documents.
#[rustfmt::skip]
pub static FLAGS: [Flag; 62] = [
    single(FILE, "config", "FILE", Described("/etc/turnpike/turnpike.toml if it exists"),
        "TOML file with the same names as keys; flags win over the environment, that over the file"),

    list(LISTEN, "listen", "[udp:|tcp:]ADDR:PORT", Value("[::]:3478"),
        "Address for plain STUN and TURN, UDP and TCP unless one is named; TLS is recognized too once a certificate is set"),
    list(LISTEN, "listen-tls", "[tcp:]ADDR:PORT", Described("[::]:5349 once a certificate is set"),
        "Address for TURN over TLS; refuses plaintext"),
    list(LISTEN, "proxy-protocol", "CIDR", Nothing,
        "Sources that must send a PROXY v1 or v2 header on every TCP listener"),
    single(LISTEN, "max-connections-per-ip", "N", Value("1000"),
        "TCP connections of every kind from one IPv4 address or IPv6 /64 (the one that a PROXY header names); 0 = unlimited"),

    single(TLS, "tls-cert", "PEM", Nothing,
        "File with the certificate chain; goes with --tls-key"),
    single(TLS, "tls-key", "PEM", Nothing,
        "File with the private key of --tls-cert"),
    switch(TLS, "tls-self-signed",
        "Make a certificate of its own, kept in the state directory, for --public-host, the host name, localhost and the listen addresses"),

    single(HTTP, "http", "ADDR:PORT|off", Value("127.0.0.1:8080"),
        "Address for the HTTP API without TLS: for the same host, or behind a proxy; a default that is taken is left out with a warning"),
    single(HTTP, "https", "ADDR:PORT", Nothing,
        "Address for the HTTP API over TLS, HTTP/1.1 and HTTP/2; TURN over TLS is served on the same port"),
    lines(HTTP, "api-key", "[SCOPES@]KEY",
        "Bearer key of the HTTP API, like mint,token@KEY; scopes are mint, token, publish, read and admin, all but admin if none is named; without a key one of all scopes is made on first start and kept in the state directory").keeping_secret(),
    list(HTTP, "api-key-file", "FILE", Nothing,
        "File with keys like those of --api-key, one a line"),
    lines(HTTP, "token-secret", "[KID:]SECRET",
        "Shared secret for join tokens (HS256), with the kid that names it: the first signs, all verify; without one it is made on first start and kept in the state directory").keeping_secret(),
    single(HTTP, "token-jwks", "FILE|URL", Nothing,
        "Public keys of join tokens as a JWK set (RS256, ES256, EdDSA): a file, read again when it changes, or an https URL, fetched again and again"),
    switch(HTTP, "token-in-url",
        "Take join tokens in URLs too (?token=), where access logs may keep them"),
    list(HTTP, "allow-origin", "ORIGIN", Described("the own origin"),
        "Web origin whose pages may call the API, like https://app.example, or *"),
    list(HTTP, "trusted-proxy", "CIDR", Nothing,
        "Proxies whose Forwarded and X-Forwarded headers are believed"),

    single(SIGNALING, "signal-auth", "token|open", Value("token"),
        "Who may open a signaling session: the bearer of a join token, or anybody, in any room"),
    single(SIGNALING, "resume-grace", "TIME", Value("30s"),
        "How long a session waits for a client whose connection is gone"),
    single(SIGNALING, "ping-interval", "TIME", Value("15s"),
        "Silence after which a client is pinged; after twice that the connection is closed"),
    single(SIGNALING, "ring-memory", "SIZE", Value("256m"),
        "Bytes kept for clients that are absent or slow, all sessions together; 0 = unlimited"),
    single(SIGNALING, "signal-rate", "RATE/BURST", Value("50/200"),
        "Messages a second from one session, and how many at once; 0 = unlimited"),
    single(SIGNALING, "signal-rate-per-ip", "RATE/BURST", Value("1000/2000"),
        "Messages a second from one IPv4 address or IPv6 /64, and how many at once; 0 = unlimited"),
    single(SIGNALING, "signal-bytes", "RATE/BURST", Value("512k/4m"),
        "Bytes a second sent out on behalf of one session, each copy counted, and how many at once; 0 = unlimited"),
    single(SIGNALING, "max-message", "SIZE", Value("64k"),
        "Largest signaling message, up to 1m; 0 = unlimited"),
    single(SIGNALING, "max-meta", "SIZE", Value("4k"),
        "Largest meta of a peer, and largest value in a room's state; 0 = unlimited"),
    single(SIGNALING, "max-rooms-per-session", "N", Value("64"),
        "Rooms that one session may be in; 0 = unlimited"),
    single(SIGNALING, "max-peers-per-room", "N", Value("500"),
        "Peers of one room, and observers as many; 0 = unlimited"),
    switch(SIGNALING, "demo",
        "Serve the demo page at /demo/ with open signaling, on loopback addresses alone; peers on loopback and in private networks are allowed"),
    switch(SIGNALING, "demo-public",
        "Serve the demo page with open signaling on every address; peers stay refused as by default"),

    single(URLS, "public-host", "NAME", Described("first DNS name of the certificate, else the external, else the relay address"),
        "Host in every URL that is handed out; for turns: it must match the certificate"),
    list(URLS, "ice-url", "URL", Described("generated: stun:, turn: over UDP and TCP, turns: once a certificate is set"),
        "URL in the iceServers list in place of the generated ones; at most four"),
    single(URLS, "realm", "NAME", Described("host name"),
        "TURN realm, at most 127 bytes; best up to 64, see SECURITY.md"),

    list(RELAY, "relay-address", "IP", Described("source address of each family's default route"),
        "Local address that relay sockets bind to, one a family"),
    list(RELAY, "external-address", "PUBLIC[=LOCAL]", Nothing,
        "Address advertised in place of the local relay address (1:1 NAT)"),
    single(RELAY, "relay-ports", "MIN-MAX", Value("49152-65535"),
        "Relay port range; it bounds the allocations of one relay address and family"),

    lines(USERS, "user", "NAME:PASSWORD",
        "Static long-term user").keeping_secret(),
    single(USERS, "users-file", "FILE", Nothing,
        "File with static users, NAME:PASSWORD, one a line; # begins a comment line"),
    lines(USERS, "auth-secret", "SECRET",
        "Shared secret for expiring credentials: the first mints, all verify; without one it is made on first start and kept in the state directory").keeping_secret(),
    list(USERS, "auth-secret-file", "FILE", Nothing,
        "File with a shared secret, counted after those of --auth-secret; several may stand one a line"),
    single(USERS, "credential-ttl", "TIME", Value("1h"),
        "Lifetime of minted credentials"),
    single(USERS, "max-credential-ttl", "TIME", Value("24h"),
        "Longest lifetime minted or accepted; 0 = unlimited"),
    single(USERS, "expiry-grace", "TIME", Value("24h"),
        "How long a live allocation may be refreshed after its credential has expired; 0 = strict"),

    list(PEERS, "allow-peer", "CIDR", Nothing,
        "Peers allowed over the built-in list of refused ranges; the longest prefix wins"),
    list(PEERS, "deny-peer", "CIDR", Nothing,
        "Peers refused; at equal length it wins over --allow-peer"),

    single(LIMITS, "max-allocations", "N", Described("bounded by the ports"),
        "Allocations of the daemon; 0 = bounded by the ports alone"),
    single(LIMITS, "max-allocations-per-user", "N", Value("128"),
        "Allocations of one user; 0 = unlimited"),
    single(LIMITS, "max-allocations-per-ip", "N", Value("1024"),
        "Allocations of one client address (an IPv4 address or an IPv6 /64); 0 = unlimited"),
    single(LIMITS, "max-permissions", "N", Value("256"),
        "Permissions of one allocation; 0 = unlimited"),
    single(LIMITS, "max-channels", "N", Value("256"),
        "Channels of one allocation; 0 = unlimited"),
    single(LIMITS, "max-bitrate", "RATE", Value("0"),
        "Relayed bits a second of the daemon, like 500kbit, 2mbit or 1gbit; 0 = unlimited"),
    single(LIMITS, "max-bitrate-per-user", "RATE", Value("0"),
        "Relayed bits a second of one user; 0 = unlimited"),
    single(LIMITS, "max-bitrate-per-allocation", "RATE", Value("0"),
        "Relayed bits a second of one allocation; 0 = unlimited"),
    single(LIMITS, "max-lifetime", "TIME", Value("3600s"),
        "Longest lifetime of an allocation; 0 = unlimited"),
    single(LIMITS, "default-lifetime", "TIME", Value("600s"),
        "Lifetime of an allocation that asks for none"),
    single(LIMITS, "unauthenticated-rate", "N", Value("50"),
        "Answers a second to unauthenticated UDP requests per IPv4 address or IPv6 /64, ten times that per /24 and /48; 0 = unlimited"),

    single(PROCESS, "workers", "N", Described("number of cores"),
        "Threads that carry media, 1 to 255"),
    single(PROCESS, "state-dir", "DIR", Described("$STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike"),
        "Directory for generated secrets and certificates"),
    single(PROCESS, "admin-socket", "PATH|off", Described("admin.sock in $RUNTIME_DIRECTORY, else in the state directory"),
        "Unix socket for turnpike reload and status, open to its owner alone"),

    single(LOGS, "log-format", "text|json", Described("text, or json under systemd"),
        "Format of log lines on standard error"),
    single(LOGS, "log-level", "LEVEL", Value("info"),
        "Least important level that is logged: error, warn, info, debug or trace; peer addresses appear only from debug on"),
    single(LOGS, "log-addresses", "full|prefix|none", Value("prefix"),
        "How client addresses are logged: in full, as an IPv4 /24 or IPv6 /48, or not at all"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_spelled_as_flags() {
        let names: BTreeSet<_> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn a_variable_is_the_flag_in_capitals() {
        assert_eq!(flag("relay-ports").variable(), "TURNPIKE_RELAY_PORTS");
    }

    #[test]
    fn a_typing_error_finds_the_flag_that_was_meant() {
        let names = || FLAGS.iter().map(|flag| flag.name);
        assert_eq!(nearest("relay-prots", names()), Some("relay-ports"));
        assert_eq!(nearest("relay_ports", names()), Some("relay-ports"));
        assert_eq!(nearest("max-alocations", names()), Some("max-allocations"));
        assert_eq!(nearest("listne", names()), Some("listen"));
        assert_eq!(nearest("zzz", names()), None);
    }

    #[test]
    fn flags_that_hold_secrets_never_show_their_value() {
        let secret: Vec<_> = FLAGS.iter().filter(|flag| flag.secret).map(|flag| flag.name).collect();
        assert_eq!(secret, ["api-key", "token-secret", "user", "auth-secret"]);
    }
}
