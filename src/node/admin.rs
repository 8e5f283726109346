//! The admin socket: HTTP for whoever may open it, which its permissions say.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::config::AdminSocketPath;
use crate::http::Http;

/// Connections that are served at once; more wait.
const CONNECTIONS: usize = 32;

/// Why the admin socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody listens there and answers.
    #[error("another daemon listens on {}", .0.display())]
    Taken(PathBuf),
    /// The operating system refused something.
    #[error("{}: {source}", path.display())]
    System {
        /// Where the socket was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound socket that nobody listens to yet.
pub(super) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// A socket that is served; dropping it takes it away.
pub(super) struct Serving {
    accepting: JoinHandle<()>,
    path: PathBuf,
}

/// Binds the socket for its owner alone. One that nobody asked for by name is left out, with a warning, where it cannot be
/// had.
pub(super) fn bind(wanted: Option<&AdminSocketPath>) -> Result<Option<AdminSocket>, AdminError> {
    let Some(AdminSocketPath { path, is_default }) = wanted else { return Ok(None) };
    match bind_at(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(AdminError::System { source, .. }) if *is_default => {
            tracing::warn!(path = %path.display(), error = %source, "no admin socket: reload and status take SIGHUP and HTTP");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn bind_at(path: &Path) -> Result<AdminSocket, AdminError> {
    let system = |source| AdminError::System { path: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(AdminError::Taken(path.to_owned()));
    }
    // Under its own name only once nobody else may open it; that takes the place of one left behind, too.
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(format!(".{}", std::process::id()));
    let unnamed = PathBuf::from(unnamed);
    let listener = UnixListener::bind(&unnamed).map_err(system)?;
    let named = fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&unnamed, path));
    if let Err(source) = named {
        let _ = fs::remove_file(&unnamed);
        return Err(system(source));
    }
    Ok(AdminSocket { listener, path: path.to_owned() })
}

impl AdminSocket {
    /// Serves HTTP on it, inside a runtime.
    pub(super) fn serve(self, http: Arc<Http>) -> Result<Serving, AdminError> {
        let AdminSocket { listener, path } = self;
        let listener = tokio::net::UnixListener::from_std(listener)
            .map_err(|source| AdminError::System { path: path.clone(), source })?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let http = Arc::clone(&http);
                        tokio::spawn(async move {
                            http.serve_admin(stream).await;
                            drop(place);
                        });
                    }
                    // No descriptor is free, perhaps.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
                }
            }
        });
        Ok(Serving { accepting, path })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = fs::remove_file(&self.path);
    }
}
