//! A TCP wire between a client and the daemon that can be cut in every way in which networks cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What happens to every connection of a wire.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Both ends are reset.
    Reset,
    /// Both ends are closed.
    End,
    /// The next bytes either way arrive in part, then both ends are reset.
    Torn,
    /// Bytes are lost on their way for a time, then both ends are reset.
    Lose { up: bool, down: bool, time: Duration },
    /// The server hears nothing more, and not even that for a time, whatever the client does.
    Leave { time: Duration },
}

/// One wire; each connection reaches the daemon from another address of 127.0.0.0/8.
pub struct Wire {
    pub addr: SocketAddr,
    cuts: Arc<Mutex<Vec<watch::Sender<Option<Cut>>>>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// Starts a wire to `server`; everything random about it comes from `seed`.
    pub async fn start(server: SocketAddr, seed: u64) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cuts: Arc<Mutex<Vec<watch::Sender<Option<Cut>>>>> = Arc::default();
        let accepting = tokio::spawn({
            let cuts = Arc::clone(&cuts);
            let mut rng = StdRng::seed_from_u64(seed);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let (sender, cut) = watch::channel(None);
                    cuts.lock().unwrap().push(sender);
                    let source = Ipv4Addr::new(127, rng.random(), rng.random(), rng.random_range(2..255));
                    let rng = StdRng::seed_from_u64(rng.random());
                    tokio::spawn(async move {
                        // A server that has gone is a connection that ends.
                        if let Ok(server) = dial(source.into(), server).await {
                            Pair { client, server, cut, rng }.carry().await;
                        }
                    });
                }
            }
        });
        Wire { addr, cuts, accepting }
    }

    /// Cuts every connection that was not cut yet; tells whether there was one.
    pub fn cut(&self, cut: Cut) -> bool {
        let mut cuts = self.cuts.lock().unwrap();
        // A connection that ends in this moment has no ears, and counts as none.
        let hit = cuts.drain(..).filter(|one| one.send(Some(cut)).is_ok()).count();
        hit > 0
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn dial(source: IpAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(server).await
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
    cut: watch::Receiver<Option<Cut>>,
    rng: StdRng,
}

impl Pair {
    async fn carry(mut self) {
        for stream in [&self.client, &self.server] {
            stream.set_nodelay(true).unwrap();
        }
        let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        let mut until: Option<Instant> = None;
        loop {
            let cut = *self.cut.borrow_and_update();
            if until.is_none() {
                let time = match cut {
                    None => None,
                    Some(Cut::Reset) => return self.reset(),
                    Some(Cut::End) => return,
                    Some(Cut::Torn) => Some(Duration::from_millis(50)),
                    Some(Cut::Lose { time, .. } | Cut::Leave { time }) => Some(time),
                };
                until = time.map(|time| Instant::now() + time);
            }
            let chunk = tokio::select! {
                read = self.client.read(&mut up), if !matches!(cut, Some(Cut::Leave { .. })) => (read, true),
                read = self.server.read(&mut down) => (read, false),
                changed = self.cut.changed(), if cut.is_none() => match changed {
                    Ok(()) => continue,
                    // The wire is gone.
                    Err(_) => return,
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return self.reset(),
            };
            let (Ok(read @ 1..), is_up) = chunk else { return };
            let keep = match cut {
                Some(Cut::Torn) => self.rng.random_range(0..read),
                Some(Cut::Lose { up, down, .. }) if (is_up && up) || (!is_up && down) => 0,
                Some(Cut::Leave { .. }) => 0,
                Some(Cut::Reset | Cut::End | Cut::Lose { .. }) | None => read,
            };
            let written = match is_up {
                true => self.server.write_all(&up[..keep]).await,
                false => self.client.write_all(&down[..keep]).await,
            };
            if written.is_err() {
                return;
            }
            if matches!(cut, Some(Cut::Torn)) {
                return self.reset();
            }
        }
    }

    /// Ends both connections at once; what is on its way is lost.
    fn reset(self) {
        for stream in [&self.client, &self.server] {
            // The other end may have reset it already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
