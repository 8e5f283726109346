//! What the routes share: settings, keys with their budgets, and the way to the rest of the daemon.

use std::any::Any;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::watch;

use crate::auth::{ApiKeys, KeyIndex, Minted, Origins, Scope, Scopes};
use crate::bucket::Bucket;
use crate::http::bodies::Bodies;
use crate::http::changes::{Answer, Reloaded};
use crate::http::feed_ticket::Tickets;
use crate::http::peer::TrustedProxies;
use crate::http::problem::Problem;
use crate::http::signaling::Signaling;
use crate::http::token::TokenKeys;
use crate::time::{Mono, Now};

/// Requests a second that one key may make.
const RATE: u64 = 100;
/// Requests that one key may make at once.
const BURST: u64 = 200;

/// A place among the connections of a client, held until the last copy is dropped.
pub type Place = Arc<dyn Any + Send + Sync>;

/// What HTTP asks of the rest of the daemon.
pub trait Backend: Send + Sync + 'static {
    /// Returns this moment.
    fn now(&self) -> Now;
    /// Returns whether clients are taken.
    fn is_ready(&self) -> bool;
    /// Mints a TURN credential that expires at a Unix second.
    fn mint(&self, subject: &str, expires_at: u64) -> Minted;
    /// Returns the URLs that clients reach the relay by.
    fn ice_urls(&self) -> Vec<String>;
    /// Returns a subject that nobody else has.
    fn fresh_subject(&self) -> String;
    /// Reads the configuration again and puts in force what can be.
    fn reload(&self) -> Answer<Reloaded>;
    /// Says how the daemon is, as a JSON object.
    fn status(&self) -> Answer<String>;
    /// Takes a place for a client behind a proxy; none if it has as many as it may.
    fn enter(&self, client: IpAddr) -> Option<Place>;
    /// Returns the way to the hub.
    fn signaling(&self) -> &Signaling;
}

/// What HTTP goes by. What is not said to be fixed may be replaced while it serves.
pub struct Settings {
    /// Keys of the API.
    pub keys: ApiKeys,
    /// Keys of join tokens.
    pub tokens: Arc<TokenKeys>,
    /// Foreign origins that are let in.
    pub origins: Origins,
    /// Proxies whose headers are believed.
    pub proxies: TrustedProxies,
    /// How long a credential lives that is asked for without a time.
    pub credential_ttl: Duration,
    /// How long one may live at most; none: unlimited.
    pub max_credential_ttl: Option<Duration>,
    /// Largest message of a WebSocket in bytes; 0: 1 MiB.
    pub max_message: usize,
    /// Whether clients without a token are let in.
    pub open: bool,
    /// Whether a join token may stand in a URL.
    pub token_in_url: bool,
    /// Whether the demo page is served; fixed.
    pub demo: bool,
    /// Whether only those are answered who ask for this host as `localhost` or by a loopback address.
    pub local_only: bool,
    /// Random key of this run, for tickets; fixed.
    pub ticket_key: [u8; 32],
}

/// The API as the routes see it.
pub(crate) struct Api {
    live: ArcSwap<Live>,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) tickets: Tickets,
    /// Says that no more requests are taken; what still goes on holds a receiver.
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) bodies: Arc<Bodies>,
}

/// Settings in force, with what their keys have left.
pub(crate) struct Live {
    settings: Settings,
    budgets: Mutex<Vec<Bucket>>,
}

impl Live {
    fn new(settings: Settings, now: Mono) -> Arc<Live> {
        let budgets = vec![Bucket::full(now, BURST); settings.keys.len()];
        Arc::new(Live { settings, budgets: Mutex::new(budgets) })
    }
}

impl Deref for Live {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Api {
    pub(crate) fn new(settings: Settings, backend: Box<dyn Backend>) -> Api {
        let tickets = Tickets::new(settings.ticket_key);
        let stop = watch::Sender::new(false);
        let live = ArcSwap::new(Live::new(settings, backend.now().mono));
        Api { live, backend, tickets, stop, bodies: Arc::default() }
    }

    /// Returns the settings that are in force now.
    pub(crate) fn settings(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts other settings in force, for requests that come from now on; each key has its whole budget then.
    pub(crate) fn replace(&self, settings: Settings) {
        self.live.store(Live::new(settings, self.backend.now().mono));
    }

    /// Lets a request pass whose key has the scope and requests left.
    pub(crate) fn authorize(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        let shown = bearer(headers).ok_or(Problem::Unauthorized)?;
        let live = self.settings();
        let (key, scopes): (KeyIndex, Scopes) =
            live.keys.find(shown.as_bytes()).ok_or(Problem::Unauthorized)?;
        live.spend(key, self.backend.now().mono)?;
        if scopes.allow(scope) {
            Ok(())
        } else {
            Err(Problem::Forbidden("the key has not the scope for this"))
        }
    }
}

impl Live {
    fn spend(&self, key: KeyIndex, now: Mono) -> Result<(), Problem> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(budget) = budgets.get_mut(key.0) else { return Err(Problem::Unauthorized) };
        if budget.take(now, RATE, BURST, 1) {
            Ok(())
        } else {
            Err(Problem::RateLimited(budget.wait(now, RATE, BURST, 1)))
        }
    }
}

/// Returns the token of the one `Authorization` header, if its scheme is Bearer (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::auth;

    /// A daemon whose clock stands until it is moved.
    #[derive(Clone)]
    pub(crate) struct Fake(pub(crate) Arc<AtomicU64>, Signaling);

    impl Default for Fake {
        fn default() -> Fake {
            Fake(Arc::default(), Signaling::new().0)
        }
    }

    impl Backend for Fake {
        fn now(&self) -> Now {
            let millis = self.0.load(Ordering::Relaxed);
            Now { mono: Mono(millis * 1_000_000), unix: 1_000_000 }
        }

        fn is_ready(&self) -> bool {
            true
        }

        fn mint(&self, subject: &str, expires_at: u64) -> Minted {
            auth::mint(b"secret", subject, expires_at)
        }

        fn ice_urls(&self) -> Vec<String> {
            vec!["turn:a?transport=udp".into()]
        }

        fn fresh_subject(&self) -> String {
            "fresh".into()
        }

        fn reload(&self) -> Answer<Reloaded> {
            Box::pin(async { None })
        }

        fn status(&self) -> Answer<String> {
            Box::pin(async { Some("{}".into()) })
        }

        fn enter(&self, _: IpAddr) -> Option<Place> {
            Some(Arc::new(()))
        }

        fn signaling(&self) -> &Signaling {
            &self.1
        }
    }

    pub(crate) fn settings() -> Settings {
        let minter = Scopes::parse("mint").unwrap_or_default();
        Settings {
            keys: ApiKeys::new([(b"all".as_slice(), Scopes::ALL), (b"minter", minter)]),
            tokens: Arc::new(TokenKeys::new([(Some("k"), b"secret".as_slice())])),
            origins: Origins { allowed: vec!["https://app.example".into()] },
            proxies: TrustedProxies::default(),
            credential_ttl: Duration::from_secs(3600),
            max_credential_ttl: Some(Duration::from_secs(86_400)),
            max_message: 64 << 10,
            open: false,
            token_in_url: false,
            demo: false,
            local_only: false,
            ticket_key: [7; 32],
        }
    }

    pub(crate) fn api(fake: &Fake) -> Api {
        Api::new(settings(), Box::new(fake.clone()))
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (AUTHORIZATION, line.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_passes_with_its_scope_alone() {
        let api = api(&Fake::default());
        assert_eq!(api.authorize(&headers(&["Bearer minter"]), Scope::Mint), Ok(()));
        assert_eq!(api.authorize(&headers(&["bearer  all"]), Scope::Admin), Ok(()));
        let forbidden = api.authorize(&headers(&["Bearer minter"]), Scope::Token);
        assert!(matches!(forbidden, Err(Problem::Forbidden(_))));
        for wrong in [&["Bearer other"][..], &["Basic all"], &["all"], &["Bearer "], &[], &["Bearer all"; 2]]
        {
            assert_eq!(api.authorize(&headers(wrong), Scope::Mint), Err(Problem::Unauthorized), "{wrong:?}");
        }
    }

    #[test]
    fn each_key_has_a_budget_of_its_own() {
        let fake = Fake::default();
        let api = api(&fake);
        let passes = |key: &str| api.authorize(&headers(&[key]), Scope::Mint).is_ok();
        assert_eq!((0..300).filter(|_| passes("Bearer minter")).count(), 200);
        assert!(passes("Bearer all"));
        let refused = api.authorize(&headers(&["Bearer minter"]), Scope::Mint);
        assert_eq!(refused, Err(Problem::RateLimited(Duration::from_millis(10))));
        fake.0.store(1000, Ordering::Relaxed);
        assert_eq!((0..300).filter(|_| passes("Bearer minter")).count(), 100);
    }
}
