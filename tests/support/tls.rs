//! TLS clients, and certificates for the servers that they trust.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes a new certificate and key for `localhost` and returns the certificate.
pub fn write_certificate(cert: &Path, key: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
    fs::write(cert, made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Connects as a client of `localhost` that trusts these certificates alone; the handshake comes with the first bytes.
pub fn connect(
    addr: SocketAddr,
    trusted: impl IntoIterator<Item = CertificateDer<'static>>,
    protocols: &[&str],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, TcpStream::connect(addr).unwrap())
}

/// Tells whether a client that trusts only `certificate` is served.
pub fn is_served(addr: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    let mut stream = connect(addr, [certificate.clone()], &[]);
    stream.conn.complete_io(&mut stream.sock).is_ok()
}
