//! The limit for any signaling server on this WebSocket library: it forwards each message of `/PAIR/SIDE` to the other
//! side as it is, with `--answer` it answers the sender too, and it does nothing else. Loopback only.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const ANSWER: &str = r#"{"t":"ok"}"#;
/// Messages that may wait for a side.
const WAITING: usize = 1024;

type Sides = Arc<Mutex<HashMap<String, mpsc::Sender<Utf8Bytes>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let answers = std::env::args().any(|word| word == "--answer");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "listening {}", listener.local_addr()?)?;
    let sides = Sides::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that fails ends alone.
        tokio::spawn(relay(stream, Arc::clone(&sides), answers));
    }
}

async fn relay(stream: TcpStream, sides: Sides, answers: bool) -> Option<()> {
    let mut path = String::new();
    // The buffers of the daemon.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(8 << 10);
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let read_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let mut ws = accept_hdr_async_with_config(stream, read_path, Some(config)).await.ok()?;
    let (pair, side) = path.rsplit_once('/')?;
    let other = format!("{pair}/{}", if side == "0" { 1 } else { 0 });
    let (sender, mut own) = mpsc::channel(WAITING);
    sides.lock().unwrap_or_else(PoisonError::into_inner).insert(path, sender);
    let mut peer = None;
    loop {
        tokio::select! {
            message = ws.next() => {
                let Message::Text(text) = message?.ok()? else { continue };
                if peer.is_none() {
                    peer = sides.lock().unwrap_or_else(PoisonError::into_inner).get(&other).cloned();
                }
                if let Some(peer) = &peer {
                    peer.send(text).await.ok()?;
                }
                if answers {
                    ws.send(Message::text(ANSWER)).await.ok()?;
                }
            }
            text = own.recv() => ws.send(Message::Text(text?)).await.ok()?,
        }
    }
}
