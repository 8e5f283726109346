//! TLS for TURN clients: what is offered, and a certificate that can be replaced while it is served.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Application protocols of STUN and TURN (RFC 7443 §3).
const PROTOCOLS: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// Application protocols of HTTP (RFC 9113 §3.2).
const HTTP_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What new TLS connections are served with.
#[derive(Debug)]
pub struct TlsService {
    config: Arc<ServerConfig>,
    /// For the port of HTTPS.
    mixed: Arc<ServerConfig>,
    certificate: Arc<Current>,
}

impl TlsService {
    /// Makes a service of TLS 1.2 and 1.3 with rustls' own choice of suites.
    ///
    /// A client that names only other protocols is refused, one that names none is not.
    pub fn new(certificate: Arc<CertifiedKey>) -> Result<TlsService, rustls::Error> {
        let certificate = Arc::new(Current(ArcSwap::new(certificate)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        let mut mixed = config.clone();
        mixed.alpn_protocols = HTTP_PROTOCOLS.iter().chain(&PROTOCOLS).map(|name| name.to_vec()).collect();
        Ok(TlsService { config: Arc::new(config), mixed: Arc::new(mixed), certificate })
    }

    /// Replaces the certificate; connections that stand keep theirs.
    pub fn replace(&self, certificate: Arc<CertifiedKey>) {
        self.certificate.0.store(certificate);
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns what the port of HTTPS is served with.
    pub(crate) fn mixed(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.mixed)
    }
}

/// Tells what an agreed protocol says of the stream: true for HTTP, false for STUN, none if nothing is agreed.
pub(crate) fn is_http(protocol: Option<&[u8]>) -> Option<bool> {
    protocol.map(|protocol| HTTP_PROTOCOLS.contains(&protocol))
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
