//! What the commands of an operator ask of a running daemon, over its admin socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long an answer may take: a reload reads files, and every part is told.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the largest answer.
const LARGEST: usize = 1 << 20;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens at any place.
    #[error("no daemon answers at {}: {source}", places(.paths))]
    Nobody {
        /// Where it was looked for.
        paths: Vec<PathBuf>,
        /// What the system said last.
        source: io::Error,
    },
    /// What came was no answer.
    #[error("the daemon's answer breaks off: {0}")]
    Broken(String),
    /// No answer came.
    #[error("the daemon does not answer within {} s", PATIENCE.as_secs())]
    Silence,
}

fn places(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Asks the daemon at the first of several sockets where one listens. Returns status and body.
pub fn ask(paths: &[PathBuf], method: &Method, path: &str) -> Result<(u16, String), AskError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| AskError::Nobody { paths: paths.to_vec(), source })?;
    runtime.block_on(async {
        let stream = connect(paths).await?;
        timeout(PATIENCE, exchange(stream, method, path)).await.map_err(|_| AskError::Silence)?
    })
}

async fn connect(paths: &[PathBuf]) -> Result<UnixStream, AskError> {
    let mut source = io::ErrorKind::NotFound.into();
    for path in paths {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            // That nothing is there is the least of what can be said.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => source = error,
        }
    }
    Err(AskError::Nobody { paths: paths.to_vec(), source })
}

async fn exchange(stream: UnixStream, method: &Method, path: &str) -> Result<(u16, String), AskError> {
    let broken = |error: &dyn std::error::Error| AskError::Broken(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let serving = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| broken(error.as_ref()))?.to_bytes();
    serving.abort();
    let text = String::from_utf8(body.to_vec()).map_err(|error| broken(&error))?;
    Ok((status, text))
}
