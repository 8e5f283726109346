//! A signaling WebSocket that is read and written by hand.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Type};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{self, Error, HandshakeError, Message, WebSocket};

use super::Daemon;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection and the ids of its requests.
pub struct Socket {
    pub ws: WebSocket<TcpStream>,
    next_id: u64,
}

/// The request that opens a socket; `protocols` is the header of that name.
pub fn upgrade(daemon: &Daemon, path: &str, protocols: &str) -> Request {
    let mut request = format!("ws://{}{path}", daemon.addr("http")).into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    request
}

/// Opens a socket, or returns the status of the refusal.
pub fn try_open(daemon: &Daemon, request: Request) -> Result<(Socket, http::Response<()>), u16> {
    open_on(connect(daemon, Ipv4Addr::LOCALHOST, None), request)
}

/// Connects from an address of 127.0.0.0/8, with a receive buffer of some size.
pub fn connect(daemon: &Daemon, source: Ipv4Addr, buffer: Option<usize>) -> TcpStream {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(size) = buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&daemon.addr("http").into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Opens a socket on a connection, or returns the status of the refusal.
pub fn open_on(stream: TcpStream, request: Request) -> Result<(Socket, http::Response<()>), u16> {
    match tungstenite::client(request, stream) {
        Ok((ws, response)) => Ok((Socket { ws, next_id: 1 }, response.map(|_| ()))),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

impl Socket {
    /// Opens a socket on which nothing is said yet.
    pub fn open(daemon: &Daemon) -> Socket {
        Socket::open_on(daemon, connect(daemon, Ipv4Addr::LOCALHOST, None))
    }

    /// Opens a socket on a connection, on which nothing is said yet.
    pub fn open_on(daemon: &Daemon, stream: TcpStream) -> Socket {
        let opened = open_on(stream, upgrade(daemon, "/v1/ws", "signal.v1.json"));
        opened.unwrap_or_else(|status| panic!("refused with {status}")).0
    }

    /// Opens a socket, says `hello`, and returns the `welcome` too.
    pub fn hello(daemon: &Daemon, hello: Value) -> (Socket, Value) {
        let mut socket = Socket::open(daemon);
        let welcome = socket.greet(hello);
        (socket, welcome)
    }

    /// Says `hello` and returns the `welcome`.
    pub fn greet(&mut self, mut hello: Value) -> Value {
        hello["t"] = json!("hello");
        self.say(&hello);
        let welcome = self.hear();
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        self.next_id = welcome["last_id"].as_u64().unwrap() + 1;
        welcome
    }

    /// Sends a message as it is.
    pub fn say(&mut self, message: &Value) {
        self.ws.send(Message::text(message.to_string())).unwrap();
    }

    /// Sends a request under the next id, which is returned.
    pub fn request(&mut self, mut request: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        self.say(&request);
        id
    }

    /// Sends a request and returns its reply; what comes before it is dropped.
    pub fn ask(&mut self, request: Value) -> Value {
        let id = self.request(request);
        self.hear_until(|message| message["re"] == json!(id))
    }

    /// Joins a room, and returns the `joined`.
    pub fn join(&mut self, room: &str) -> Value {
        let joined = self.ask(json!({"t": "join", "room": room}));
        assert_eq!(joined["t"], "joined", "{joined}");
        joined
    }

    /// Returns the next message.
    pub fn hear(&mut self) -> Value {
        let message = self.ws.read().unwrap();
        assert!(message.is_text(), "{message:?}");
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// Returns the next message of a type.
    pub fn hear_of(&mut self, t: &str) -> Value {
        self.hear_until(|message| message["t"] == t)
    }

    fn hear_until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.hear();
            if is_it(&message) {
                return message;
            }
        }
    }

    /// Reads on to the close frame; returns its code and the last message before it.
    pub fn closed(mut self) -> (u16, Option<Value>) {
        let mut last = None;
        loop {
            match self.ws.read().unwrap() {
                Message::Text(text) => last = Some(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => return (frame.unwrap().code.into(), last),
                Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }
}
