//! Accepting connections, through times without descriptors too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::net::bind::Carrier;
use crate::net::counters::Close;
use crate::net::lobby::welcome::Lobby;

/// Pause after a failure that the next call would meet again.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Accepts on one listener until it is dropped.
pub(crate) async fn accept(listener: TcpListener, carrier: Carrier, lobby: Arc<Lobby>) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                is_failing = false;
                lobby.stats.count_accepted();
                let Some(place) = lobby.admission.enter() else {
                    lobby.stats.count_close(Close::TotalConnections);
                    continue;
                };
                let lobby = Arc::clone(&lobby);
                tokio::spawn(async move { lobby.welcome(stream, remote, carrier, place).await });
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                lobby.stats.count_accept_error();
                if !is_failing {
                    tracing::error!(%error, "no connection can be accepted for now");
                }
                is_failing = true;
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF, libc::EINVAL];
    error.raw_os_error().is_some_and(|code| !exhausted.contains(&code))
}
