//! A signaling session that survives cuts as signaling.md §5 tells a client to, over either carrier, and keeps account.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::wire::{Cut, Wire};

/// Requests that may wait for their reply, so that no ring overflows.
const MOST_PENDING: usize = 16;
const PACE: Duration = Duration::from_millis(60);
const BACKOFF: Duration = Duration::from_millis(50);
/// What no connection attempt takes without having been lost.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Socket,
    Events,
}

/// One member of a room, which speaks until its wire has been cut and its session resumed often enough.
pub struct Client {
    wire: Wire,
    rng: StdRng,
    room: String,
    /// Carriers of which each connection takes one.
    carriers: Vec<Carrier>,
    resumes_to_come: usize,
    /// When the wire is cut next, if it is.
    moment: Option<Instant>,
    others: usize,
    session: Session,
    pub account: Account,
}

/// What a client said and heard; peers go by the numbers they have in the test.
#[derive(Debug, Default)]
pub struct Account {
    pub me: usize,
    /// For each message whom it was for: everybody, or one peer id.
    pub sent: Vec<Option<String>>,
    /// Numbers of the messages heard, by the sender's peer id, in order.
    pub heard: BTreeMap<String, Vec<usize>>,
    pub peer: String,
    pub cuts: usize,
    pub resumes: BTreeMap<&'static str, usize>,
    ended: BTreeSet<String>,
}

#[derive(Default)]
struct Session {
    resume: Option<String>,
    last_seq: u64,
    last_id: u64,
    pending: VecDeque<(u64, Value)>,
    peers: BTreeSet<String>,
    end_sent: bool,
}

impl Client {
    pub fn new(
        me: usize,
        others: usize,
        room: &str,
        wire: Wire,
        rng: StdRng,
        carriers: &[Carrier],
        resumes: usize,
    ) -> Client {
        Client {
            wire,
            rng,
            room: room.to_owned(),
            carriers: carriers.to_vec(),
            resumes_to_come: resumes,
            moment: None,
            others,
            session: Session::default(),
            account: Account { me, ..Account::default() },
        }
    }

    /// Speaks and is cut until everybody has said that it ends.
    pub async fn run(mut self) -> Account {
        self.request(json!({"t": "join", "room": self.room}));
        while !self.is_done() {
            match self.carriers[self.rng.random_range(0..self.carriers.len())] {
                Carrier::Socket => self.over_socket().await,
                Carrier::Events => self.over_events().await,
            }
            // A `hello` that is still on its way must not arrive after the next one.
            sleep(BACKOFF).await;
        }
        self.account
    }

    fn is_done(&self) -> bool {
        self.session.end_sent && self.session.pending.is_empty() && self.account.ended.len() == self.others
    }

    fn request(&mut self, mut request: Value) {
        self.session.last_id += 1;
        request["id"] = json!(self.session.last_id);
        self.session.pending.push_back((self.session.last_id, request));
    }

    /// Makes the next request, if it is time for one.
    fn speak(&mut self) {
        let everybody_is_here = self.session.peers.len() == self.others;
        if self.session.end_sent || self.session.pending.len() >= MOST_PENDING || !everybody_is_here {
            return;
        }
        if self.resumes_to_come == 0 {
            self.session.end_sent = true;
            return self.request(json!({"t": "send", "room": self.room, "event": "end"}));
        }
        let number = self.account.sent.len();
        if self.rng.random_bool(0.5) {
            self.account.sent.push(None);
            return self.request(json!({"t": "send", "room": self.room, "data": number}));
        }
        let to = self.session.peers.iter().nth(self.rng.random_range(0..self.others)).cloned();
        self.request(
            json!({"t": "signal", "room": self.room, "to": to, "kind": "custom", "pc": "p", "gen": 1,
            "data": number}),
        );
        self.account.sent.push(to);
    }

    /// Moves on by one frame of the server.
    fn take(&mut self, frame: &Value) {
        if let Some(seq) = frame["seq"].as_u64() {
            assert_eq!(seq, self.session.last_seq + 1, "a hole, or twice: {frame}");
            self.session.last_seq = seq;
            if let Some(re) = frame["re"].as_u64() {
                assert!(frame["t"] != "error", "{frame}");
                self.answered(re);
            }
        }
        match frame["t"].as_str().unwrap() {
            "joined" => self.session.peers.extend(ids(&frame["peers"])),
            "peer-joined" => {
                self.session.peers.insert(frame["peer"].as_str().unwrap().to_owned());
            }
            "message" | "signal" => {
                let from = frame["from"].as_str().unwrap().to_owned();
                if frame["event"] == "end" {
                    assert!(self.account.ended.insert(from), "twice: {frame}");
                } else {
                    let number = usize::try_from(frame["data"].as_u64().unwrap()).unwrap();
                    self.account.heard.entry(from).or_default().push(number);
                }
            }
            "peer-left" => panic!("nobody leaves within the grace: {frame}"),
            "undelivered" | "void" | "error" => panic!("{frame}"),
            _ => {}
        }
    }

    fn answered(&mut self, id: u64) {
        self.session.pending.retain(|(one, _)| *one != id);
    }

    /// Takes a `welcome`; what the server has not applied is to be sent again.
    fn welcomed(&mut self, welcome: &Value, carrier: &'static str) {
        let first = self.session.resume.is_none();
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        assert_eq!((&welcome["resumed"], &welcome["gap"]), (&json!(!first), &json!(false)), "{welcome}");
        if first {
            self.account.peer = welcome["peer"].as_str().unwrap().to_owned();
        } else {
            *self.account.resumes.entry(carrier).or_default() += 1;
            // Only now it is certain that the cut was one under a session.
            self.resumes_to_come = self.resumes_to_come.saturating_sub(1);
        }
        assert_eq!(welcome["peer"], json!(self.account.peer));
        assert!(welcome["last_id"].as_u64().unwrap() <= self.session.last_id, "{welcome}");
        self.session.resume = Some(welcome["resume"].as_str().unwrap().to_owned());
    }

    fn hello(&self) -> Value {
        match &self.session.resume {
            Some(resume) => json!({"t": "hello", "resume": resume, "last_seq": self.session.last_seq}),
            None => json!({"t": "hello"}),
        }
    }

    /// Sets the next cut to a moment in the life of a connection, its first milliseconds among them.
    fn set_moment(&mut self) {
        let most = if self.rng.random_bool(0.3) { 5 } else { 400 };
        let after = Duration::from_micros(self.rng.random_range(0..most * 1000));
        self.moment = (self.resumes_to_come > 0).then(|| Instant::now() + after);
    }

    /// Cuts the wire in some way; tells whether the client should give the connection up by itself.
    fn cut(&mut self) -> bool {
        let time = Duration::from_millis(self.rng.random_range(200..2000));
        let cut = match self.rng.random_range(0..10) {
            0..3 => Cut::Reset,
            3 => Cut::End,
            4..6 => Cut::Torn,
            6 => Cut::Lose { up: true, down: false, time },
            7 => Cut::Lose { up: false, down: true, time },
            8 => Cut::Lose { up: true, down: true, time },
            _ => Cut::Leave { time },
        };
        let hit = self.wire.cut(cut);
        self.account.cuts += usize::from(hit);
        // The cut may have hit another connection than the one that the session is on.
        self.set_moment();
        hit && matches!(cut, Cut::Leave { .. })
    }

    async fn over_socket(&mut self) {
        self.set_moment();
        let Ok(stream) = TcpStream::connect(self.wire.addr).await else { return };
        let mut request = format!("ws://{}/v1/ws", self.wire.addr).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "signal.v1.json".parse().unwrap());
        let mut opening = Box::pin(timeout(PATIENCE, client_async(request, stream)));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                () = reached(self.moment) => {
                    if self.cut() {
                        return;
                    }
                }
            }
        };
        let Ok(Ok((mut ws, _))) = opened else { return };
        if ws.send(Message::text(self.hello().to_string())).await.is_err() {
            return;
        }
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = Instant::now() + PATIENCE;
        let mut sent = None;
        while !self.is_done() {
            tokio::select! {
                message = ws.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return };
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["t"] == "welcome" {
                        self.welcomed(&frame, "socket");
                        sent = frame["last_id"].as_u64();
                    } else if frame["t"] == "ping" {
                        let pong = json!({"t": "pong", "ack": self.session.last_seq});
                        if ws.send(Message::text(pong.to_string())).await.is_err() {
                            return;
                        }
                    } else {
                        self.take(&frame);
                    }
                }
                _ = pace.tick(), if sent.is_some() => self.speak(),
                () = sleep_until(patience), if sent.is_none() => return,
                () = reached(self.moment) => {
                    if self.cut() {
                        return;
                    }
                }
            }
            let Some(sent) = &mut sent else { continue };
            let mut fresh = Vec::new();
            for (id, request) in self.session.pending.iter().filter(|(id, _)| id > sent) {
                let mut request = request.clone();
                request["ack"] = json!(self.session.last_seq);
                fresh.push((*id, request));
            }
            for (id, request) in fresh {
                *sent = id;
                if ws.send(Message::text(request.to_string())).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn over_events(&mut self) {
        self.set_moment();
        let Some(mut stream) = self.open_events().await else { return };
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut post: Option<Post> = None;
        let mut line = String::new();
        while !self.is_done() {
            tokio::select! {
                // What was read stays in `line` if another branch is taken.
                read = stream.read_line(&mut line) => {
                    if !matches!(read, Ok(1..)) || !line.ends_with('\n') {
                        return;
                    }
                    if let Some(data) = line.strip_prefix("data: ") {
                        let frame: Value = serde_json::from_str(data).unwrap();
                        if frame["t"] == "bye" {
                            return;
                        }
                        self.take(&frame);
                    }
                    line.clear();
                }
                _ = pace.tick() => self.speak(),
                answer = finished(&mut post) => {
                    post = None;
                    if let Some((status, body)) = answer {
                        self.posted(status, &body);
                    }
                }
                () = reached(self.moment) => {
                    if self.cut() {
                        return;
                    }
                }
            }
            if post.is_none() && !self.session.pending.is_empty() {
                let ack = self.session.last_seq;
                let requests: Vec<Value> =
                    self.session.pending.iter().map(|(_, request)| request.clone()).collect();
                let mut body = Value::Array(requests);
                body[0]["ack"] = json!(ack);
                let bearer = format!("Authorization: Bearer {}\r\n", self.session.resume.as_deref().unwrap());
                let wire = self.wire.addr;
                post = Some(Post(tokio::spawn(async move {
                    exchange(wire, "POST /v1/session/messages", &bearer, &body).await
                })));
            }
        }
    }

    /// Says `hello` and opens the stream; nothing if the wire was cut on the way.
    async fn open_events(&mut self) -> Option<BufReader<TcpStream>> {
        let (wire, hello) = (self.wire.addr, self.hello());
        let mut opening = Box::pin(exchange(wire, "POST /v1/session", "", &hello));
        let (status, created) = loop {
            tokio::select! {
                answer = &mut opening => break answer?,
                () = reached(self.moment) => {
                    if self.cut() {
                        return None;
                    }
                }
            }
        };
        drop(opening);
        assert_eq!(status, 201, "{created}");
        self.welcomed(&created["welcome"], "events");
        let url = created["events_url"].as_str().unwrap();
        let last = self.session.last_seq;
        let head = format!("GET {url} HTTP/1.0\r\nHost: turn.example\r\nLast-Event-ID: {last}\r\n\r\n");
        let mut stream = TcpStream::connect(wire).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        timeout(PATIENCE, reader.read_line(&mut line)).await.ok()?.ok().filter(|read| *read > 0)?;
        // A `hello` that was given up may be applied after the next one, whose ticket it ends.
        if line.contains(" 401 ") {
            return None;
        }
        assert!(line.contains(" 200 "), "{line}");
        Some(reader)
    }

    fn posted(&mut self, status: u16, body: &Value) {
        assert!(status == 200 || status == 409, "{status} {body}");
        // Each of these replies comes by the stream too, where it is counted.
        for reply in body.as_array().or_else(|| body["replies"].as_array()).into_iter().flatten() {
            // A reply that was acknowledged already is known to this client.
            let known = reply["t"] == "error" && reply["code"] == "conflict";
            assert!(reply["t"] != "error" || known, "{reply}");
        }
    }
}

/// A POST under way, which ends with the connection that it belongs to.
struct Post(JoinHandle<Option<(u16, Value)>>);

impl Drop for Post {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn finished(post: &mut Option<Post>) -> Option<(u16, Value)> {
    match post {
        Some(post) => (&mut post.0).await.unwrap(),
        None => std::future::pending().await,
    }
}

fn ids(peers: &Value) -> Vec<String> {
    let peers = peers.as_array().into_iter().flatten();
    peers.map(|peer| peer["peer"].as_str().unwrap().to_owned()).collect()
}

/// One request on a connection of its own; nothing if it was cut.
async fn exchange(
    addr: std::net::SocketAddr,
    what: &str,
    headers: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let whole = async {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        let body = body.to_string();
        let head = format!(
            "{what} HTTP/1.1\r\nHost: turn.example\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // A body that was torn is no answer.
        Some((status, serde_json::from_str(body).ok()?))
    };
    timeout(PATIENCE, whole).await.ok()?
}
