//! Connections on which nothing happens but what keeps them alive.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::dialect::{Dialect, Heard, Talk};
use crate::link::connect;
use crate::{Fallible, Options};

/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Plan {
    dialect: Dialect,
    server: std::net::SocketAddrV4,
    enters_room: bool,
    tls: Option<TlsConnector>,
    opening: Semaphore,
    lost: AtomicUsize,
}

pub(crate) fn run(options: &Options) -> Fallible<()> {
    let connections = usize::try_from(options.number("--connections")?)?;
    let plan = Arc::new(Plan {
        dialect: Dialect::of(options.text("--dialect")?)?,
        server: options.address("--server")?,
        enters_room: options.text("--rooms").is_ok(),
        tls: options.text("--trust").ok().map(connector).transpose()?,
        opening: Semaphore::new(AT_ONCE),
        lost: AtomicUsize::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (opened, mut openings) = mpsc::unbounded_channel();
        for number in 0..connections {
            let (plan, opened) = (Arc::clone(&plan), opened.clone());
            tokio::spawn(async move {
                match plan.open(number).await {
                    Ok((ws, talk)) => {
                        _ = opened.send(Ok(()));
                        // However it ends, it is a loss.
                        _ = plan.stay(ws, talk).await;
                        plan.lost.fetch_add(1, Relaxed);
                    }
                    Err(error) => _ = opened.send(Err(error)),
                }
            });
        }
        for _ in 0..connections {
            openings.recv().await.ok_or("no opening is left")??;
        }
        writeln!(io::stdout(), r#"{{"open":{connections}}}"#)?;
        tokio::task::spawn_blocking(|| io::stdin().read(&mut [0])).await??;
        writeln!(io::stdout(), r#"{{"lost":{}}}"#, plan.lost.load(Relaxed))?;
        // Nothing is closed one by one.
        std::process::exit(0)
    })
}

fn connector(trust: &str) -> Fallible<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trust)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into())
}

impl Plan {
    async fn open(&self, number: usize) -> Fallible<(WebSocketStream<Box<dyn Stream>>, Talk)> {
        let _place = self.opening.acquire().await?;
        let mut talk = Talk::new(number / 2, number % 2);
        let stream = connect(self.server, number)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost")?, stream).await?),
            None => Box::new(stream),
        };
        let path = self.dialect.path(&talk);
        let mut request = format!("ws://{}{path}", self.server).into_client_request()?;
        if let Some(protocol) = self.dialect.subprotocol() {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse()?);
        }
        let (mut ws, _) = client_async(request, stream).await?;
        for greeting in self.dialect.greetings(&mut talk, self.enters_room) {
            if !greeting.is_empty() {
                ws.send(Message::text(greeting)).await?;
            }
            let answer = ws.next().await.ok_or("closed")??;
            self.dialect.greeted(&mut talk, answer.to_text()?)?;
        }
        Ok((ws, talk))
    }

    async fn stay(&self, mut ws: WebSocketStream<Box<dyn Stream>>, mut talk: Talk) -> Fallible<()> {
        while let Some(message) = ws.next().await {
            if let Message::Text(text) = message?
                && let Heard::Ping(answer) = self.dialect.hear(&mut talk, &text)?
            {
                ws.send(Message::text(answer)).await?;
            }
        }
        Ok(())
    }
}
