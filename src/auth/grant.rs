//! What a verified credential entitles to.

use serde::{Deserialize, Serialize};

/// What the subject of a signaling session's credential begins with.
pub const SESSION_MARK: &str = "s~";

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
            Some((session, "")) => session,
            Some((_, uid)) => uid,
            None => self.subject(),
        }
    }

    fn session_parts(&self) -> Option<(&str, &str)> {
        self.expires_at?;
        let rest = self.subject().strip_prefix(SESSION_MARK)?;
        let (session, uid) = rest.split_once('~')?;
        (!session.is_empty()).then_some((session, uid))
    }
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
}
