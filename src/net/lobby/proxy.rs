//! The PROXY header that a load balancer puts in front of a stream.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::net::engine::name;

/// Longest header that is read: one of version 2 with addresses and some kilobytes of extensions.
const LONGEST: usize = 4096;

/// No header, or none that makes sense.
#[derive(Debug)]
pub(crate) struct BadHeader;

/// Reads exactly the header off a stream and returns the source that it names; none if the proxy itself speaks.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, BadHeader> {
    let mut header = Vec::new();
    let mut ahead = [0; 512];
    loop {
        let seen = stream.peek(&mut ahead).await.map_err(|_| BadHeader)?;
        if seen == 0 || header.len() + seen > LONGEST {
            return Err(BadHeader);
        }
        let known = header.len();
        header.extend_from_slice(&ahead[..seen]);
        match ProxyHeader::parse(&header, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
            Ok((parsed, len)) => {
                let source = source(&parsed)?;
                take(stream, len - known).await.map_err(|_| BadHeader)?;
                return Ok(source);
            }
            Err(Error::BufferTooShort) => take(stream, seen).await.map_err(|_| BadHeader)?,
            Err(_) => return Err(BadHeader),
        }
    }
}

fn source(header: &ProxyHeader<'_>) -> Result<Option<SocketAddr>, BadHeader> {
    match header.proxied_address() {
        None => Ok(None),
        Some(addr) if addr.protocol == Protocol::Stream => Ok(Some(name::canonical(addr.source))),
        Some(_) => Err(BadHeader),
    }
}

async fn take(stream: &mut TcpStream, len: usize) -> io::Result<()> {
    let mut taken = [0; 512];
    stream.read_exact(&mut taken[..len]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    fn v2() -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([192, 0, 2, 9, 10, 0, 0, 1, 0x30, 0x39, 0x0d, 0x96]);
        header
    }

    #[tokio::test]
    async fn the_header_is_taken_at_every_cut_and_not_a_byte_more() {
        for header in [b"PROXY TCP4 192.0.2.9 10.0.0.1 12345 3478\r\n".to_vec(), v2()] {
            for cut in [1, 5, header.len() - 1, header.len()] {
                let (mut client, mut server) = pair().await;
                client.set_nodelay(true).unwrap();
                let sent = header.clone();
                let writing = tokio::spawn(async move {
                    client.write_all(&sent[..cut]).await.unwrap();
                    tokio::task::yield_now().await;
                    client.write_all(&sent[cut..]).await.unwrap();
                    client.write_all(b"rest").await.unwrap();
                    client
                });
                let source = read(&mut server).await.unwrap();
                assert_eq!(source, Some("192.0.2.9:12345".parse().unwrap()));
                let _client = writing.await.unwrap();
                let mut rest = [0; 4];
                server.read_exact(&mut rest).await.unwrap();
                assert_eq!(&rest, b"rest");
            }
        }
    }

    #[tokio::test]
    async fn a_stream_without_a_header_is_refused() {
        for opening in [&b"\0\x01\0\0"[..], b"PROXY nonsense\r\n", b"GET / HTTP/1.1\r\n"] {
            let (mut client, mut server) = pair().await;
            client.write_all(opening).await.unwrap();
            client.shutdown().await.unwrap();
            assert!(read(&mut server).await.is_err());
        }
    }
}
