//! Binding every listener before any thread starts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::engine::socket::{self, ListenerOptions};
use crate::net::interfaces::{self, HostAddresses};
use crate::net::outbound::Listener;

const BACKLOG: i32 = 1024;

/// Ports tried where the choice is ours, until one is free for UDP and TCP.
const PORT_TRIES: u32 = 32;

/// Own addresses that get sockets of their own under a wildcard; it serves the rest itself.
const MOST_ADDRESSES: usize = 32;

/// What to listen on.
#[derive(Clone, Debug)]
pub struct BindSpec {
    /// Listeners in the order of their naming.
    pub listeners: Vec<Listen>,
    /// Number of shards, 1 to 255.
    pub workers: u8,
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address; port 0 means any free one, the same for UDP and TCP.
    pub addr: SocketAddr,
    /// Whether UDP is served.
    pub udp: bool,
    /// Whether TCP is served.
    pub tcp: bool,
    /// What TCP connections carry: anything but [`Carrier::Udp`].
    pub stream: Carrier,
    /// Whether `[::]` may give way to `0.0.0.0` on a host without IPv6.
    pub may_fall_back: bool,
    /// Whether the daemon starts without it where another program has the port.
    pub may_be_missing: bool,
}

/// A listener as it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundListener {
    /// Real address.
    pub addr: SocketAddr,
    /// Carrier.
    pub carrier: Carrier,
}

/// What a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// Plain streams, and TLS where there is a certificate.
    Tcp,
    /// Streams inside TLS alone.
    Tls,
    /// HTTP alone.
    Http,
    /// HTTP and STUN inside TLS.
    Https,
}

impl Carrier {
    /// Returns the word for logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Carrier::Udp => "udp",
            Carrier::Tcp => "tcp",
            Carrier::Tls => "tls",
            Carrier::Http => "http",
            Carrier::Https => "https",
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {} {addr}: {source}{}", .carrier.label(), advice(.source))]
pub struct BindError {
    /// Carrier that was tried.
    pub carrier: Carrier,
    /// Address that was tried.
    pub addr: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "; another program has the port, perhaps a second turnpike: stop it, or listen elsewhere"
        }
        Some(libc::EADDRNOTAVAIL) => "; no interface of this host has that address",
        Some(libc::EACCES) => "; ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// Bound sockets that nobody reads yet.
pub struct Bound {
    pub(crate) shards: Vec<Vec<Listener>>,
    pub(crate) tcp: Vec<(TcpListener, Carrier)>,
    listeners: Vec<BoundListener>,
}

impl Bound {
    /// Binds every listener, or says which one cannot be.
    pub fn new(spec: &BindSpec) -> Result<Bound, BindError> {
        let shards = (0..spec.workers.max(1)).map(|_| Vec::new()).collect();
        let mut bound = Bound { shards, tcp: Vec::new(), listeners: Vec::new() };
        for listen in &spec.listeners {
            let has_v4_twin = spec.listeners.iter().any(|other| {
                other.addr.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
                    && other.addr.port() == listen.addr.port()
            });
            match bound.add(listen, !has_v4_twin) {
                Err(error) if listen.may_fall_back && is_without_ipv6(&error) => {
                    tracing::warn!(%error, "no IPv6 on this host: listening on 0.0.0.0 instead of [::]");
                    let addr = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), listen.addr.port());
                    bound.add(&Listen { addr, ..*listen }, false)?;
                }
                Err(error) if listen.may_be_missing && error.source.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!("{error}; this listener is left out");
                }
                result => result?,
            }
        }
        Ok(bound)
    }

    /// Returns the real addresses, in the order of the specification.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    fn add(&mut self, listen: &Listen, dual: bool) -> Result<(), BindError> {
        let carrier = listen.stream;
        let mut addr = listen.addr;
        for attempt in 1.. {
            let tcp = if listen.tcp {
                let listener = tcp(addr, dual).map_err(|source| BindError { carrier, addr, source })?;
                let real = listener.local_addr().map_err(|source| BindError { carrier, addr, source })?;
                addr.set_port(real.port());
                Some(listener)
            } else {
                None
            };
            if listen.udp {
                match self.add_udp(addr, dual) {
                    Ok(real) => addr = real,
                    Err(error)
                        if error.kind() == io::ErrorKind::AddrInUse
                            && listen.addr.port() == 0
                            && attempt < PORT_TRIES =>
                    {
                        addr.set_port(0);
                        continue;
                    }
                    Err(source) => return Err(BindError { carrier: Carrier::Udp, addr, source }),
                }
                self.listeners.push(BoundListener { addr, carrier: Carrier::Udp });
            }
            if let Some(listener) = tcp {
                self.tcp.push((listener, carrier));
                self.listeners.push(BoundListener { addr, carrier });
            }
            break;
        }
        Ok(())
    }

    /// Binds one socket a shard, and under a wildcard one more for each own address, which spares its packets
    /// the control message that tells the address.
    fn add_udp(&mut self, addr: SocketAddr, dual: bool) -> io::Result<SocketAddr> {
        // Alone first: sharing the port with another daemon would take half of its traffic. This socket is never
        // given up, so that two daemons that start at once do not both find the port free.
        let alone = socket::listener(addr, ListenerOptions { shared: false, dual })?;
        let addr = SocketAddr::new(addr.ip(), socket::local_addr(alone.as_fd())?.port());
        socket::share(&alone)?;
        let mut alone = Some(alone);
        let own = if addr.ip().is_unspecified() { own_addresses(addr, dual) } else { Vec::new() };
        for shard in &mut self.shards {
            for &local in &own {
                match socket::listener(local, ListenerOptions { shared: true, dual }) {
                    Ok(socket) => shard.push(Listener { socket, local }),
                    Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                        tracing::debug!(addr = %local, "left to the wildcard socket");
                    }
                    Err(error) => return Err(error),
                }
            }
            let socket = match alone.take() {
                Some(socket) => socket,
                None => socket::listener(addr, ListenerOptions { shared: true, dual })?,
            };
            shard.push(Listener { socket, local: addr });
        }
        Ok(addr)
    }
}

/// Returns the addresses that get sockets of their own. Without them the wildcard socket serves all, at some cost.
fn own_addresses(wildcard: SocketAddr, dual: bool) -> Vec<SocketAddr> {
    let is_covered = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => wildcard.is_ipv4() || dual,
        IpAddr::V6(v6) => wildcard.is_ipv6() && !v6.is_unicast_link_local(),
    };
    let all = interfaces::host_addresses().unwrap_or_else(|error| {
        tracing::warn!(%error, "the addresses of this host cannot be read");
        HostAddresses::default()
    });
    let covered = all.local.into_iter().filter(is_covered);
    covered.map(|ip| SocketAddr::new(ip, wildcard.port())).take(MOST_ADDRESSES).collect()
}

fn tcp(addr: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_without_ipv6(error: &BindError) -> bool {
    let is_absent = error.source.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.source.kind() == io::ErrorKind::AddrNotAvailable;
    is_absent && error.addr.is_ipv6() && error.addr.ip().is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addr: &str) -> Listen {
        Listen {
            addr: addr.parse().unwrap(),
            udp: true,
            tcp: true,
            stream: Carrier::Tcp,
            may_fall_back: false,
            may_be_missing: false,
        }
    }

    fn bind(listeners: Vec<Listen>) -> Result<Bound, BindError> {
        Bound::new(&BindSpec { listeners, workers: 2 })
    }

    #[test]
    fn port_zero_is_one_free_port_for_udp_and_tcp_on_every_shard() {
        let bound = bind(vec![listen("127.0.0.1:0")]).unwrap();
        let [udp, tcp] = bound.listeners() else { panic!("{:?}", bound.listeners()) };
        assert_eq!((udp.carrier, tcp.carrier), (Carrier::Udp, Carrier::Tcp));
        assert!(udp.addr == tcp.addr && udp.addr.port() != 0);
        for shard in &bound.shards {
            let addrs: Vec<_> =
                shard.iter().map(|one| socket::local_addr(one.socket.as_fd()).unwrap()).collect();
            assert_eq!(addrs, [udp.addr]);
        }
    }

    #[test]
    fn a_second_daemon_fails_and_is_told_why() {
        for only_udp in [false, true] {
            let first = bind(vec![Listen { tcp: !only_udp, ..listen("127.0.0.1:0") }]).unwrap();
            let addr = first.listeners()[0].addr;
            let error = bind(vec![Listen { addr, tcp: !only_udp, ..listen("127.0.0.1:0") }]).err().unwrap();
            assert_eq!(error.addr, addr);
            assert!(error.to_string().contains("another program has the port"), "{error}");
        }
    }

    #[test]
    fn of_daemons_that_start_at_once_one_has_the_port() {
        for _ in 0..100 {
            let port = bind(vec![listen("127.0.0.1:0")]).unwrap().listeners()[0].addr.port();
            let spec = Listen { tcp: false, ..listen(&format!("127.0.0.1:{port}")) };
            let start = std::sync::Barrier::new(2);
            let bound = std::thread::scope(|scope| {
                let both = [(); 2].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        bind(vec![spec])
                    })
                });
                both.map(|one| one.join().unwrap())
            });
            assert!(bound.iter().filter(|bound| bound.is_ok()).count() < 2);
        }
    }

    #[test]
    fn clients_are_spread_over_the_sockets_of_all_shards() {
        let bound = bind(vec![Listen { tcp: false, ..listen("127.0.0.1:0") }]).unwrap();
        let addr = bound.listeners()[0].addr;
        for _ in 0..64 {
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", addr).unwrap();
        }
        let mut received = Vec::new();
        for shard in &bound.shards {
            let socket = std::net::UdpSocket::from(shard[0].socket.try_clone().unwrap());
            received.push(std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count());
        }
        assert!(received.iter().sum::<usize>() == 64 && !received.contains(&0), "{received:?}");
    }

    #[test]
    fn a_listener_that_may_be_missing_gives_way() {
        let http = Listen { udp: false, stream: Carrier::Http, ..listen("127.0.0.1:0") };
        let first = bind(vec![http]).unwrap();
        let taken = Listen { addr: first.listeners()[0].addr, ..http };
        assert!(bind(vec![taken]).is_err());
        let bound = bind(vec![listen("127.0.0.1:0"), Listen { may_be_missing: true, ..taken }]).unwrap();
        assert_eq!(bound.listeners().len(), 2);
    }

    #[test]
    fn a_wildcard_has_a_socket_for_each_own_address_and_one_for_the_rest() {
        let bound = bind(vec![listen("0.0.0.0:0")]).unwrap();
        let port = bound.listeners()[0].addr.port();
        for shard in &bound.shards {
            let locals: Vec<_> = shard.iter().map(|one| one.local).collect();
            assert!(locals.contains(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)), "{locals:?}");
            assert_eq!(*locals.last().unwrap(), SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
        }
    }

    #[test]
    fn both_wildcards_on_one_port_stand_beside_each_other() {
        let port = bind(vec![listen("[::]:0")]).unwrap().listeners()[0].addr.port();
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|addr| listen(&addr));
        assert_eq!(bind(both.to_vec()).unwrap().listeners().len(), 4);
    }
}
