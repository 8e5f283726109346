//! Keeps the public keys of join tokens as their file or URL has them; no request ever waits for that.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AGE, CACHE_CONTROL, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::Rng as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Notify;

use crate::auth::{KeySet, KeySetError};
use crate::config::JwksSource;
use crate::http::PublicKeys;
use crate::node::stamp::{LOOK_EVERY, Stamp};

/// Shortest and longest time between two fetches that a server may ask for, and the usual one.
const LEAST_REFRESH: Duration = Duration::from_secs(5 * 60);
const MOST_REFRESH: Duration = Duration::from_secs(24 * 3600);
const USUAL_REFRESH: Duration = Duration::from_secs(3600);
/// First and longest pause after a fetch that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Least time between a fetch and the next one that a token with an unknown key asks for.
const ASKED_PAUSE: Duration = Duration::from_secs(30);
/// How long a fetch may take with all its redirects.
const FETCH_TIME: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(5);
const MOST_REDIRECTS: usize = 3;
/// Bytes of the largest set.
const LARGEST_SET: usize = 256 << 10;

/// Why a set of keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read, or the certificates that HTTPS is checked against.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS cannot be set up.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// What came is no set of keys.
    #[error("{0}")]
    Set(#[from] KeySetError),
    /// The server cannot be asked.
    #[error("{}", chain(.0))]
    Ask(#[from] hyper_util::client::legacy::Error),
    /// The server answers with another status.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// The server points to a place that is not safe to ask, or round and round.
    #[error("the server redirects too often, or to a place that is not asked")]
    Redirect,
    /// The set does not arrive whole.
    #[error("the set breaks off, or is larger than {LARGEST_SET} bytes")]
    Body,
    /// The set is no UTF-8.
    #[error("the set is no UTF-8")]
    Text,
    /// The fetch takes too long.
    #[error("no whole answer within {} s", FETCH_TIME.as_secs())]
    Time,
}

/// Tells what follows the source to look at it now.
pub(super) struct Follower(Arc<Notify>);

impl Follower {
    pub(super) fn read_again(&self) {
        self.0.notify_one();
    }
}

/// Reads a file of keys now, and lets a task follow it or the URL from then on.
///
/// Has to be called inside a runtime.
pub(super) fn follow(source: &JwksSource, keys: Arc<PublicKeys>) -> Result<Follower, JwksError> {
    let again = Arc::new(Notify::new());
    let mut held = Held { keys, last: None };
    match source {
        JwksSource::File(path) => {
            let stamp = Stamp::of(path);
            held.take(read(path)?);
            tokio::spawn(follow_file(path.clone(), stamp, held, Arc::clone(&again)));
        }
        JwksSource::Url(url) => {
            let server = Server::new(url.clone())?;
            tokio::spawn(follow_url(server, held, Arc::clone(&again)));
        }
    }
    Ok(Follower(again))
}

/// The keys in use, and the set that they are from.
struct Held {
    keys: Arc<PublicKeys>,
    last: Option<KeySet>,
}

impl Held {
    fn take(&mut self, set: KeySet) {
        if self.last.as_ref() == Some(&set) {
            return;
        }
        self.keys.replace(&set);
        for why in &set.left_out {
            tracing::warn!("--token-jwks, {why}: it is left out");
        }
        tracing::info!(keys = set.keys.len(), "the public keys of join tokens were read");
        self.last = Some(set);
    }
}

fn read(path: &Path) -> Result<KeySet, JwksError> {
    Ok(KeySet::read(&fs::read_to_string(path)?)?)
}

async fn follow_file(path: PathBuf, mut seen: Stamp, mut held: Held, again: Arc<Notify>) {
    loop {
        let asked = tokio::select! {
            () = again.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let path = path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            // The stamp comes first: what is written after it is seen the next time.
            let stamp = Stamp::of(&path);
            let set = (asked || stamp != seen).then(|| read(&path));
            (stamp, set)
        });
        let Ok((stamp, set)) = looked.await else { return };
        seen = stamp;
        match set {
            Some(Ok(set)) => held.take(set),
            Some(Err(error)) => tracing::error!(%error, "the public keys of join tokens stay as they were"),
            None => {}
        }
    }
}

async fn follow_url(server: Server, mut held: Held, again: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let fetched = tokio::time::timeout(FETCH_TIME, server.fetch()).await;
        let wait = match fetched.unwrap_or(Err(JwksError::Time)) {
            Ok((set, wait)) => {
                failures = 0;
                held.take(set);
                wait
            }
            Err(error) => {
                let wait = pause(failures);
                failures += 1;
                tracing::warn!(%error, again_in_s = wait.as_secs(), "the public keys of join tokens stay as they were");
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(rand::rng().random_range(0.8..=1.0))) => {}
            () = again.notified() => {}
            () = asked_for(&held.keys) => {}
        }
    }
}

/// Waits until a token names a key that is not there, but a while at least.
async fn asked_for(keys: &PublicKeys) {
    tokio::time::sleep(ASKED_PAUSE).await;
    keys.missed().await;
}

/// Returns the pause after so many failures before this one.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}

/// Returns how long a set may be kept (RFC 9111 §5.2.2.1), within our own bounds.
fn refresh(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives: Vec<String> =
        lines.flat_map(|line| line.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|one| one == "no-store" || one == "no-cache") {
        return LEAST_REFRESH;
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
    let max_age =
        directives.iter().find_map(|one| one.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    max_age.map_or(USUAL_REFRESH, |seconds: u64| {
        Duration::from_secs(seconds.saturating_sub(age)).clamp(LEAST_REFRESH, MOST_REFRESH)
    })
}

/// The server of a URL.
struct Server {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Uri,
}

impl Server {
    fn new(url: Uri) -> Result<Server, JwksError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = if url.scheme_str() == Some("https") {
            config.with_native_roots()?
        } else {
            config.with_root_certificates(RootCertStore::empty())
        };
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(CONNECT_TIME));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Server { client, url })
    }

    /// Fetches the set; the second value is when to do so again.
    async fn fetch(&self) -> Result<(KeySet, Duration), JwksError> {
        let mut url = self.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.ask(&url).await?;
            match response.status() {
                StatusCode::OK => return take(response).await,
                status if status.is_redirection() => {
                    url = target(&url, response.headers()).ok_or(JwksError::Redirect)?;
                }
                status => return Err(JwksError::Status(status)),
            }
        }
        Err(JwksError::Redirect)
    }

    async fn ask(&self, url: &Uri) -> Result<Response<Incoming>, JwksError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.clone();
        let json = "application/jwk-set+json, application/json";
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static(json));
        request.headers_mut().insert(USER_AGENT, http::HeaderValue::from_static("turnpike"));
        Ok(self.client.request(request).await?)
    }
}

async fn take(response: Response<Incoming>) -> Result<(KeySet, Duration), JwksError> {
    let wait = refresh(response.headers());
    let body =
        Limited::new(response.into_body(), LARGEST_SET).collect().await.map_err(|_| JwksError::Body)?;
    let text = String::from_utf8(body.to_bytes().into()).map_err(|_| JwksError::Text)?;
    Ok((KeySet::read(&text)?, wait))
}

/// Returns where a redirect leads, if that is as safe to ask as the place before.
fn target(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.split('#').next()?.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    match crate::config::names::jwks(location).ok()? {
        JwksSource::Url(url) if url.scheme() == from.scheme() => Some(url),
        JwksSource::Url(_) | JwksSource::File(_) => None,
    }
}

/// Writes an error with all that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::http::TokenKeys;

    const SET: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn answer(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Answers one connection after the other with these, `{port}` replaced, and returns what a fetch makes of them.
    async fn fetched(answers: &[String]) -> Result<(KeySet, Duration), JwksError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let answers: Vec<String> = answers.iter().map(|answer| answer.replace("{port}", &port)).collect();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                // A client that has seen enough hangs up.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Server::new(format!("http://127.0.0.1:{port}/jwks").parse().unwrap()).unwrap().fetch().await
    }

    #[tokio::test]
    async fn a_set_is_fetched_and_kept_as_long_as_its_server_says() {
        let (set, wait) =
            fetched(&[answer("200 OK\r\nCache-Control: public, max-age=600", SET)]).await.unwrap();
        assert_eq!((set.keys.len(), wait.as_secs()), (1, 600));
    }

    #[tokio::test]
    async fn redirects_are_followed_where_that_is_safe() {
        let to = |place: &str| answer(&format!("302 Found\r\nLocation: {place}"), "");
        let good = || answer("200 OK", SET);
        assert!(fetched(&[to("/other"), good()]).await.is_ok());
        assert!(fetched(&[to("http://localhost:{port}/other?x#y"), good()]).await.is_err());
        assert!(fetched(&[to("http://127.0.0.1:{port}/other"), good()]).await.is_ok());
        for place in ["http://a.example/", "//a.example/", "ftp://127.0.0.1/", "other", "file:///etc/keys"] {
            assert!(matches!(fetched(&[to(place), good()]).await, Err(JwksError::Redirect)), "{place}");
        }
        let round: Vec<String> = vec![to("/jwks"); MOST_REDIRECTS + 1];
        assert!(matches!(fetched(&round).await, Err(JwksError::Redirect)));
    }

    #[test]
    fn nothing_leads_off_https() {
        let from: Uri = "https://a.example/jwks".parse().unwrap();
        let to = |place: &str| target(&from, &HeaderMap::from_iter([(LOCATION, place.parse().unwrap())]));
        assert_eq!(to("https://b.example/k").unwrap(), "https://b.example/k");
        assert_eq!(to("/k?x=1").unwrap(), "https://a.example/k?x=1");
        for place in ["http://b.example/", "http://127.0.0.1/", "http://localhost/"] {
            assert!(to(place).is_none(), "{place}");
        }
    }

    #[tokio::test]
    async fn what_is_no_good_answer_is_an_error() {
        let large = answer("200 OK", &" ".repeat(LARGEST_SET + 1));
        assert!(matches!(fetched(&[large]).await, Err(JwksError::Body)));
        let short = format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{SET}");
        assert!(matches!(fetched(&[short]).await, Err(JwksError::Body)));
        assert!(matches!(fetched(&[answer("404 Not Found", SET)]).await, Err(JwksError::Status(_))));
        assert!(matches!(fetched(&[answer("200 OK", "<html>")]).await, Err(JwksError::Set(_))));
        let gone = Server::new("http://127.0.0.1:1/".parse().unwrap()).unwrap().fetch().await.unwrap_err();
        assert!(gone.to_string().contains("refused"), "{gone}");
    }

    #[test]
    fn times_of_a_server_are_kept_within_bounds() {
        let seconds = |line: &str, age: &str| {
            let line = (CACHE_CONTROL, line.parse().unwrap());
            refresh(&HeaderMap::from_iter([line, (AGE, age.parse().unwrap())])).as_secs()
        };
        assert_eq!(refresh(&HeaderMap::new()), USUAL_REFRESH);
        assert_eq!(seconds("private", "0"), 3600);
        assert_eq!(seconds("Max-Age=7200, must-revalidate", "200"), 7000);
        assert_eq!(seconds("max-age=0", "0"), 300);
        assert_eq!(seconds("max-age=600", "9999"), 300);
        assert_eq!(seconds("max-age=31536000", "0"), 86_400);
        assert_eq!(seconds("no-store, max-age=7200", "0"), 300);
        assert_eq!(seconds("max-age=x", "0"), 3600);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!([0, 1, 2, 8, 9, 99].map(|failures| pause(failures).as_secs()), [1, 2, 4, 256, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_asks_for_a_fetch_once_in_a_while() {
        let keys = Arc::new(PublicKeys::default());
        let tokens = TokenKeys::new([]).with_public(Arc::clone(&keys));
        let signed = TokenKeys::new([(Some("k"), b"secret".as_slice())]).sign(r#"{"exp":9}"#).unwrap();
        let begun = Instant::now();
        for _ in 0..5 {
            assert!(tokens.verify(&signed, 1).is_err());
        }
        asked_for(&keys).await;
        assert_eq!(begun.elapsed(), ASKED_PAUSE);
        assert!(tokio::time::timeout(USUAL_REFRESH, asked_for(&keys)).await.is_err());
        assert!(TokenKeys::new([]).with_public(Arc::clone(&keys)).verify(&signed, 1).is_err());
        asked_for(&keys).await;
    }
}
