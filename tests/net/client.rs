//! A small TURN client over any carrier.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use turnpike::auth::LongTermKey;
use turnpike::stun::{
    Attribute, AttributeType, Builder, ChannelData, Class, Frame, Message, Method, TransactionId, next_frame,
};

use crate::host::{Host, PASSWORD, REALM, USER};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What carries the messages.
pub(crate) enum Link {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, Vec<u8>),
}

/// A client with its nonce and its key.
pub(crate) struct Client {
    pub(crate) link: Link,
    nonce: Vec<u8>,
    next: u32,
}

/// An answer of the server.
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Link {
    pub(crate) async fn udp(server: SocketAddr) -> Link {
        let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).await.unwrap();
        socket.connect(server).await.unwrap();
        Link::Udp(socket)
    }

    pub(crate) async fn tcp(server: SocketAddr) -> Link {
        Link::Stream(Box::new(connect(server).await), Vec::new())
    }

    pub(crate) async fn tls(host: &Host, protocols: &[&str]) -> std::io::Result<Link> {
        let stream = connect(host.tcp).await;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(&host.certificate, protocols).connect(name, stream).await?;
        Ok(Link::Stream(Box::new(stream), Vec::new()))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        match self {
            Link::Udp(socket) => {
                socket.send(bytes).await.unwrap();
            }
            Link::Stream(stream, _) => {
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }

    /// Receives one message; none if the stream has ended.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Link::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let len = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(len);
                Some(buffer)
            }
            Link::Stream(stream, buffer) => loop {
                match next_frame(buffer) {
                    Frame::Whole { len, total } => {
                        let rest = buffer.split_off(total);
                        let mut message = std::mem::replace(buffer, rest);
                        assert!(message[len..].iter().all(|byte| *byte == 0), "padding is zero");
                        message.truncate(len);
                        return Some(message);
                    }
                    Frame::Partial { .. } => {}
                    Frame::OutOfStep => panic!("the server is out of step"),
                }
                if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            },
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self, Link::Stream(..))
    }
}

impl Client {
    pub(crate) fn new(link: Link) -> Client {
        Client { link, nonce: Vec::new(), next: 0 }
    }

    /// Makes an allocation and returns the client with its relayed address.
    pub(crate) async fn allocated(link: Link) -> (Client, SocketAddr) {
        let mut client = Client::new(link);
        client.challenge().await;
        let relay = client.allocate().await;
        (client, relay)
    }

    pub(crate) async fn binding(&mut self) -> SocketAddr {
        let request = self.message(Class::Request, Method::BINDING, &[], false);
        self.link.send(&request).await;
        self.answer().await.mapped()
    }

    /// Learns the nonce.
    pub(crate) async fn challenge(&mut self) {
        let request =
            self.message(Class::Request, Method::ALLOCATE, &[Attribute::RequestedTransport(17)], false);
        self.link.send(&request).await;
        let answer = self.answer().await;
        assert_eq!(answer.class(), Class::Error);
        self.nonce = answer.message().value(AttributeType::NONCE).unwrap().to_vec();
    }

    pub(crate) async fn allocate(&mut self) -> SocketAddr {
        let answer = self.request(Method::ALLOCATE, &[Attribute::RequestedTransport(17)]).await;
        assert_eq!(answer.class(), Class::Success, "{:?}", answer.message());
        match answer.message().attribute(AttributeType::XOR_RELAYED_ADDRESS) {
            Ok(Some(Attribute::XorRelayedAddress(addr))) => addr,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn refresh(&mut self, lifetime: u32) -> Answer {
        self.request(Method::REFRESH, &[Attribute::Lifetime(lifetime)]).await
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) {
        let answer = self.request(Method::CREATE_PERMISSION, &[Attribute::XorPeerAddress(peer)]).await;
        assert_eq!(answer.class(), Class::Success);
    }

    pub(crate) async fn bind(&mut self, number: u16, peer: SocketAddr) {
        let wanted = [Attribute::ChannelNumber(number), Attribute::XorPeerAddress(peer)];
        let answer = self.request(Method::CHANNEL_BIND, &wanted).await;
        assert_eq!(answer.class(), Class::Success);
    }

    pub(crate) async fn send_indication(&mut self, peer: SocketAddr, payload: &[u8]) {
        let wanted = [Attribute::XorPeerAddress(peer), Attribute::Data(payload)];
        let indication = self.message(Class::Indication, Method::SEND, &wanted, false);
        self.link.send(&indication).await;
    }

    pub(crate) async fn send_channel(&mut self, number: u16, payload: &[u8]) {
        let frame = channel_frame(number, payload, self.link.is_stream());
        self.link.send(&frame).await;
    }

    /// Receives the payload of a ChannelData message or a Data indication.
    pub(crate) async fn data(&mut self) -> Vec<u8> {
        let bytes = self.link.receive().await.unwrap();
        if let Some(data) = ChannelData::parse(&bytes).filter(|data| data.number >= 0x4000) {
            return data.payload.to_vec();
        }
        Message::parse(&bytes).unwrap().value(AttributeType::DATA).unwrap().to_vec()
    }

    pub(crate) async fn request(&mut self, method: Method, attributes: &[Attribute<'_>]) -> Answer {
        let request = self.message(Class::Request, method, attributes, true);
        self.link.send(&request).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        Answer(self.link.receive().await.unwrap())
    }

    pub(crate) fn message(
        &mut self,
        class: Class,
        method: Method,
        attributes: &[Attribute<'_>],
        is_signed: bool,
    ) -> Vec<u8> {
        self.next += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.next.to_be_bytes());
        let mut buffer = vec![0; 65_700];
        let mut builder = Builder::new(&mut buffer, class, method, TransactionId(id));
        for attribute in attributes {
            builder.attribute(attribute);
        }
        if is_signed {
            let key = LongTermKey::derive(USER, REALM, PASSWORD).unwrap();
            builder
                .attribute(&Attribute::Username(USER.as_bytes()))
                .attribute(&Attribute::Realm(REALM.as_bytes()))
                .attribute(&Attribute::Nonce(&self.nonce))
                .integrity(key.as_bytes());
        }
        let len = builder.finish().unwrap();
        buffer.truncate(len);
        buffer
    }
}

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    pub(crate) fn class(&self) -> Class {
        self.message().class()
    }

    pub(crate) fn mapped(&self) -> SocketAddr {
        match self.message().attribute(AttributeType::XOR_MAPPED_ADDRESS) {
            Ok(Some(Attribute::XorMappedAddress(addr))) => addr,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn channel_frame(number: u16, payload: &[u8], is_padded: bool) -> Vec<u8> {
    let mut frame = ChannelData::header(number, payload.len()).unwrap().to_vec();
    frame.extend_from_slice(payload);
    if is_padded {
        frame.resize(frame.len().next_multiple_of(4), 0);
    }
    frame
}

fn connector(certificate: &CertificateDer<'static>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}
