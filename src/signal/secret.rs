//! Resume secrets and tickets: which node and boot they come from, and which of two is valid.

use subtle::ConstantTimeEq as _;

use crate::rng::Rng;
use crate::signal::ids::{base62, random_bits, text_of};
use crate::signal::limits::Settings;

/// Finds a session in the table; says nothing about who asks.
pub(super) type Handle = [u8; 11];

/// 128 random bits in base 62.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; 22]);

impl Secret {
    fn random(rng: &mut impl Rng) -> Secret {
        Secret(base62(random_bits(rng, 16)))
    }

    fn is(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

pub(super) fn random_handle(rng: &mut impl Rng) -> Handle {
    base62(random_bits(rng, 8))
}

/// What a secret says in the open.
#[derive(Clone, Copy)]
pub(super) struct Presented {
    pub(super) handle: Handle,
    pub(super) secret: Secret,
    /// Whether this boot of this node made it.
    pub(super) ours: bool,
}

/// Writes `<node>.e<epoch>.<handle><secret>`.
pub(super) fn write(settings: &Settings, handle: &Handle, secret: &Secret) -> String {
    format!("{}.e{}.{}{}", settings.node, settings.epoch, text_of(handle), text_of(&secret.0))
}

/// Reads what could be a secret of some node.
pub(super) fn read(settings: &Settings, text: &str) -> Option<Presented> {
    let (origin, random) = text.rsplit_once('.')?;
    let (node, epoch) = origin.rsplit_once('.')?;
    let epoch: u64 = epoch.strip_prefix('e')?.parse().ok()?;
    if !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (handle, secret) = random.as_bytes().split_at_checked(11)?;
    Some(Presented {
        handle: handle.try_into().ok()?,
        secret: Secret(secret.try_into().ok()?),
        ours: node == settings.node && epoch == settings.epoch,
    })
}

/// The secrets that are valid for a session: the newest, and the last that the client was seen to hold.
pub(super) struct Secrets {
    newest: Secret,
    held: Option<Secret>,
    ticket: Option<Secret>,
}

impl Secrets {
    pub(super) fn new(rng: &mut impl Rng) -> Secrets {
        Secrets { newest: Secret::random(rng), held: None, ticket: None }
    }

    pub(super) fn newest(&self) -> &Secret {
        &self.newest
    }

    /// Makes a new secret for a `welcome`. It leaves valid what the client is known to hold.
    pub(super) fn renew(&mut self, rng: &mut impl Rng) {
        self.newest = Secret::random(rng);
    }

    /// Makes a ticket, which ends the older one.
    pub(super) fn new_ticket(&mut self, rng: &mut impl Rng) -> Secret {
        *self.ticket.insert(Secret::random(rng))
    }

    /// Notes that the client holds the newest secret: the other dies.
    pub(super) fn confirm(&mut self) {
        self.held = Some(self.newest);
    }

    /// Says whether a secret is valid; use of the newest kills the other.
    pub(super) fn accept(&mut self, secret: &Secret) -> bool {
        if self.newest.is(secret) {
            self.confirm();
            return true;
        }
        self.held.is_some_and(|held| held.is(secret))
    }

    pub(super) fn accept_ticket(&self, secret: &Secret) -> bool {
        self.ticket.is_some_and(|ticket| ticket.is(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u8);

    impl Rng for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_secret_says_which_node_and_boot_it_is_from() {
        let settings = Settings { node: "n.1".into(), epoch: 7, open: false };
        let mut rng = Counter(0);
        let handle = random_handle(&mut rng);
        let secrets = Secrets::new(&mut rng);
        let text = write(&settings, &handle, secrets.newest());
        let presented = read(&settings, &text).unwrap();
        assert!(presented.ours && presented.handle == handle && presented.secret.is(secrets.newest()));
        let rebooted = Settings { epoch: 8, ..settings.clone() };
        assert!(!read(&rebooted, &text).unwrap().ours);
        for garbage in ["", "n.1", "n.e7.", "n.1.e7.short", "n.1.7.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(read(&settings, garbage).is_none(), "{garbage}");
        }
    }

    #[test]
    fn two_secrets_are_valid_until_the_newest_is_used() {
        let mut rng = Counter(0);
        let mut secrets = Secrets::new(&mut rng);
        let first = *secrets.newest();
        assert!(secrets.accept(&first));
        secrets.renew(&mut rng);
        let second = *secrets.newest();
        secrets.renew(&mut rng);
        let third = *secrets.newest();
        assert!(!secrets.accept(&second), "it was neither the newest nor seen in use");
        assert!(secrets.accept(&first));
        assert!(secrets.accept(&third));
        assert!(!secrets.accept(&first));
    }
}
