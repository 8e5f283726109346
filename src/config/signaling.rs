//! Resolves signaling: who may come, its limits, and the demo.

use ipnet::IpNet;

use crate::config::mistake::Fault;
use crate::config::reader::Reader;
use crate::config::types::{Listen, SignalLimits};
use crate::config::units;

/// What `--demo` and its kin ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether clients without a token are let in.
    pub is_open: bool,
    /// Whether the demo page is served.
    pub demo: bool,
    /// Whether it is served on every address.
    pub demo_public: bool,
}

impl Access {
    /// Tells whether the demo is for this host alone.
    pub fn is_local_demo(&self) -> bool {
        self.demo && !self.demo_public
    }
}

/// Peers that a demo on this host has: itself, and what is in its local networks.
const LOCAL_PEERS: &[&str] = &[
    "10.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Addresses in those networks where clouds keep the secrets of their machines.
const METADATA: &[&str] = &["169.254.169.254/32", "fd00:ec2::254/128"];

const OPEN_WARNING: &str = "signaling is open: whoever reaches it may enter every room and gets TURN credentials; \
     they live 10 minutes at most and carry 64 allocations an address, 8 Mbit/s each";

pub fn access(r: &mut Reader<'_>) -> Access {
    let given_open = r.value("signal-auth", is_open);
    let demo_public = r.single("demo-public", units::switch).unwrap_or(false);
    let demo = r.single("demo", units::switch).unwrap_or(false) || demo_public;
    if demo && !given_open && r.is_given("signal-auth") && r.are_good(&["signal-auth"]) {
        r.blame("signal-auth", "the demo page has no tokens", "leave it out, or leave out the demo");
    }
    let is_open = given_open || demo;
    if is_open {
        r.warnings.push(OPEN_WARNING.to_owned());
    }
    Access { is_open, demo, demo_public }
}

pub fn limits(r: &mut Reader<'_>) -> SignalLimits {
    let limits = SignalLimits {
        resume_grace: r.value("resume-grace", units::fine_duration),
        ping_interval: r.value("ping-interval", units::fine_duration),
        ring_memory: r.value("ring-memory", units::size),
        messages: r.value("signal-rate", units::message_rate),
        messages_per_ip: r.value("signal-rate-per-ip", units::message_rate),
        bytes: r.value("signal-bytes", units::byte_rate),
        max_message: r.value("max-message", units::message_size),
        max_meta: r.value("max-meta", units::size),
        rooms_per_session: r.value("max-rooms-per-session", units::count),
        peers_per_room: r.value("max-peers-per-room", units::count),
    };
    if let (Some(bytes), Some(message)) = (limits.bytes, limits.max_message)
        && bytes.burst < message.get()
    {
        r.warnings.push(
            "a message of --max-message is larger than the burst of --signal-bytes: it is never sent"
                .to_owned(),
        );
    }
    limits
}

/// Checks where the demo is served.
pub fn demo_listeners(r: &mut Reader<'_>, access: Access, http: Option<Listen>, https: Option<Listen>) {
    if access.demo && http.is_none() && https.is_none() && r.are_good(&["http", "https"]) {
        r.blame("http", "the demo page needs HTTP", "give an address like 127.0.0.1:8080");
    }
    if !access.is_local_demo() {
        return;
    }
    for (name, listen) in [("http", http), ("https", https)] {
        if listen.is_some_and(|listen| !listen.address.ip().is_loopback()) {
            let problem =
                "--demo opens signaling and private peers, so it is served on loopback addresses alone";
            r.blame(name, problem, "write one like 127.0.0.1:8080, or give --demo-public in place of --demo");
        }
    }
}

/// Returns the rules that a demo on this host adds to those given: allowed peers, and refused ones.
pub fn demo_peers(access: Access, allowed: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    if !access.is_local_demo() {
        return (Vec::new(), Vec::new());
    }
    let networks = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<IpNet>>();
    let mut denied = networks(METADATA);
    denied.retain(|network| !allowed.contains(network));
    (networks(LOCAL_PEERS), denied)
}

fn is_open(text: &str) -> Result<bool, Fault> {
    match text {
        "open" => Ok(true),
        "token" => Ok(false),
        _ => Err(Fault::new("this is not a choice", "write token or open")),
    }
}
