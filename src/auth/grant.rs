//! What a verified credential entitles to.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the subject of a signaling session's credential begins with.
pub const SESSION_MARK: &str = "s~";

/// What stands for the uid of a session without a token (open signaling).
const OPEN_UID: &str = "~";

/// Longest uid in bytes that stands in a username as it is.
const LONGEST_UID: usize = 128;

/// Name of a signaling session, as it stands in a credential's subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub String);

/// A verified credential. Every allocation and every quota hangs on one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// USERNAME as it was sent.
    pub username: String,
    /// Unix second from which the credential makes no new allocation; none for static users.
    pub expires_at: Option<u64>,
}

impl Grant {
    /// Returns who holds the credential: what follows the expiry, else the whole name.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self.expires_at {
            Some(_) => self.username.split_once(':').map_or(self.username.as_str(), |(_, subject)| subject),
            None => &self.username,
        }
    }

    /// Returns the signaling session that the credential was minted for (`s~<session>~<uid>`).
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session_parts().map(|(session, _)| SessionId(session.to_owned()))
    }

    /// Returns the name that quotas count by: a session's uid, else the session, else the subject.
    #[must_use]
    pub fn quota_name(&self) -> &str {
        match self.session_parts() {
            Some((session, "" | OPEN_UID)) => session,
            Some((_, uid)) => uid,
            None => self.subject(),
        }
    }

    /// Returns whether the credential was minted for a session without a token, so that it is bound.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session_parts().is_some_and(|(_, uid)| uid == OPEN_UID)
    }

    fn session_parts(&self) -> Option<(&str, &str)> {
        self.expires_at?;
        let rest = self.subject().strip_prefix(SESSION_MARK)?;
        let (session, uid) = rest.split_once('~')?;
        (!session.is_empty()).then_some((session, uid))
    }
}

/// Returns the subject of a session's credential.
///
/// A uid that is too long or no part of a TURN username is known by its hash, which serves quotas as well.
#[must_use]
pub fn session_subject(session: &SessionId, uid: Option<&str>, is_open: bool) -> String {
    let uid = match uid {
        None if is_open => OPEN_UID.to_owned(),
        None => String::new(),
        Some(uid) if is_username_part(uid) => uid.to_owned(),
        Some(uid) => format!("~{}", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(uid))),
    };
    format!("{SESSION_MARK}{}~{uid}", session.0)
}

fn is_username_part(uid: &str) -> bool {
    uid.len() <= LONGEST_UID
        && !uid.starts_with('~')
        && (uid.is_empty() || OpaqueString::enforce(uid).is_ok_and(|enforced| enforced == uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(username: &str, expires_at: Option<u64>) -> Grant {
        Grant { username: username.to_owned(), expires_at }
    }

    #[test]
    fn subject_is_split_off_at_the_first_colon_only() {
        // T-REST-6-01
        assert_eq!(grant("17:a:b", Some(17)).subject(), "a:b");
        assert_eq!(grant("17", Some(17)).subject(), "17");
        assert_eq!(grant("ann:x", None).subject(), "ann:x");
    }

    #[test]
    fn session_credentials_count_by_uid_else_by_session() {
        let with_uid = grant("17:s~abc~ann", Some(17));
        assert_eq!(with_uid.session(), Some(SessionId("abc".into())));
        assert_eq!(with_uid.quota_name(), "ann");
        assert_eq!(grant("17:s~abc~", Some(17)).quota_name(), "abc");
    }

    #[test]
    fn a_static_user_never_names_a_session() {
        assert_eq!(grant("s~abc~ann", None).session(), None);
        assert_eq!(grant("17:s~~ann", Some(17)).session(), None);
    }

    #[test]
    fn the_subject_of_a_session_is_read_back() {
        let session = SessionId("sAbc".into());
        let read = |uid: Option<&str>, is_open| {
            grant(&format!("17:{}", session_subject(&session, uid, is_open)), Some(17))
        };
        for (uid, is_open, name) in [
            (None, true, "sAbc"),
            (None, false, "sAbc"),
            (Some(""), false, "sAbc"),
            (Some("ann:x~y"), false, "ann:x~y"),
        ] {
            let grant = read(uid, is_open);
            assert_eq!((grant.session(), grant.quota_name()), (Some(session.clone()), name));
            assert_eq!(grant.is_open(), is_open);
        }
        let long = "x".repeat(500);
        for odd in ["~", "~x", "a\u{0}b", long.as_str()] {
            let grant = read(Some(odd), false);
            assert!(grant.username.len() < 128 && !grant.is_open(), "{odd}");
            assert_eq!(grant.quota_name(), read(Some(odd), false).quota_name());
            assert_ne!(grant.quota_name(), read(Some("~y"), false).quota_name());
        }
    }
}
