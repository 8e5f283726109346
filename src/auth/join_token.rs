//! What a join token says (signaling.md §9), once its signature is verified.

use serde::{Deserialize, Serialize};

use crate::auth::glob::Glob;
use crate::json;

/// The claims of a join token as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The application's own identity (`sub`).
    pub sub: Option<String>,
    /// Unix second from which the token is worth nothing.
    pub exp: u64,
    /// Unix second before which it is worth nothing.
    pub nbf: Option<u64>,
    /// Name of the token.
    pub jti: Option<String>,
    /// Rooms that it opens; empty: none.
    pub rooms: Vec<Glob>,
    /// What it permits there.
    pub perm: Permissions,
    /// Object whose members become `$` keys of the member's `meta`, as JSON; empty: none.
    pub meta: String,
    /// Peers that a room may have for this token to open it.
    pub max_peers: Option<u32>,
    /// Terms of the ICE credentials.
    pub ice: IceTerms,
}

/// Terms of a session's ICE credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceTerms {
    /// Which candidates a client may use.
    pub policy: IcePolicy,
    /// Seconds that a credential lives; none: as the server's settings say.
    pub ttl: Option<u32>,
    /// Kilobits a second that each allocation may carry; none: as the server's limits say.
    pub kbps: Option<u32>,
}

/// `iceTransportPolicy` of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IcePolicy {
    /// Every candidate.
    #[default]
    All,
    /// Relayed candidates alone.
    Relay,
}

impl IcePolicy {
    /// Returns the word of the protocol.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            IcePolicy::All => "all",
            IcePolicy::Relay => "relay",
        }
    }
}

/// What a client may do in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Enter as a peer.
    pub join: bool,
    /// Enter as an observer, or read the feed.
    pub observe: bool,
    /// Negotiate with a peer.
    pub signal: bool,
    /// Send messages.
    pub send: bool,
    /// Change the room's state.
    pub state: bool,
    /// Remove peers.
    pub kick: bool,
}

impl Permissions {
    /// What a token without `perm` grants.
    pub const USUAL: Permissions =
        Permissions { join: true, observe: false, signal: true, send: true, state: true, kick: false };
    /// What open signaling grants without a token.
    pub const OPEN: Permissions = Permissions { observe: true, ..Permissions::USUAL };
}

/// Why a join token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenError {
    /// The algorithm is not that of the key.
    Algorithm,
    /// A claim is missing, repeated or of the wrong type.
    Claims,
    /// It names an extension in `crit`.
    Critical,
    /// `exp` is past.
    Expired,
    /// It names no key of this server.
    KeyUnknown,
    /// It is no JWT.
    Malformed,
    /// `nbf` lies ahead.
    NotYet,
    /// The signature does not verify.
    Signature,
}

impl TokenError {
    /// All of them, in alphabetical order of their labels.
    pub const ALL: &'static [TokenError] = &[
        TokenError::Algorithm,
        TokenError::Claims,
        TokenError::Critical,
        TokenError::Expired,
        TokenError::KeyUnknown,
        TokenError::Malformed,
        TokenError::NotYet,
        TokenError::Signature,
    ];

    /// Returns the word that logs, metrics and tests use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            TokenError::Algorithm => "token_algorithm",
            TokenError::Claims => "token_claims",
            TokenError::Critical => "token_critical",
            TokenError::Expired => "token_expired",
            TokenError::KeyUnknown => "token_key_unknown",
            TokenError::Malformed => "token_malformed",
            TokenError::NotYet => "token_not_yet",
            TokenError::Signature => "token_signature",
        }
    }
}

/// Seconds by which the signer's clock may be ahead of ours; for `exp` there is no such leeway.
const NBF_LEEWAY: u64 = 10;
/// Longest `sub` in bytes: it travels in the username of a TURN credential (RFC 8489 §14.3).
const MAX_SUB: usize = 256;

impl JoinToken {
    /// Reads the payload of a verified token.
    pub fn read(payload: &str) -> Result<JoinToken, TokenError> {
        let claims = json::members(payload).map_err(|fault| match fault {
            json::Fault::RepeatedKey => TokenError::Claims,
            json::Fault::Depth | json::Fault::Kind | json::Fault::Syntax => TokenError::Malformed,
        })?;
        read_claims(&claims).ok_or(TokenError::Claims)
    }

    /// Says whether the token is worth something at a Unix second.
    pub fn judge(&self, unix: u64) -> Result<(), TokenError> {
        if unix >= self.exp {
            Err(TokenError::Expired)
        } else if self.nbf.is_some_and(|nbf| nbf > unix.saturating_add(NBF_LEEWAY)) {
            Err(TokenError::NotYet)
        } else {
            Ok(())
        }
    }

    /// Returns whether the token opens a room.
    #[must_use]
    pub fn opens(&self, room: &str) -> bool {
        self.rooms.iter().any(|glob| glob.matches(room))
    }
}

fn read_claims(claims: &[json::Member<'_>]) -> Option<JoinToken> {
    let mut exp = None;
    let mut token = JoinToken {
        sub: None,
        exp: 0,
        nbf: None,
        jti: None,
        rooms: Vec::new(),
        perm: Permissions::USUAL,
        meta: String::new(),
        max_peers: None,
        ice: IceTerms::default(),
    };
    for claim in claims {
        let value = claim.value;
        match claim.key.as_ref() {
            "exp" => exp = Some(value.unsigned()?),
            "ice" => token.ice = read_ice(value)?,
            "jti" => token.jti = Some(value.string()?.into_owned()),
            "max_peers" => token.max_peers = Some(u32::try_from(value.unsigned()?).ok()?),
            "meta" => token.meta = value.is_object().then(|| value.text().into_owned())?,
            "nbf" => token.nbf = Some(value.unsigned()?),
            "perm" => token.perm = read_permissions(value)?,
            "room" => token.rooms = read_strings(value)?.into_iter().map(Glob).collect(),
            "sub" => {
                token.sub = Some(value.string()?.into_owned()).filter(|sub| sub.len() <= MAX_SUB);
                token.sub.as_ref()?;
            }
            _ => {}
        }
    }
    token.exp = exp?;
    Some(token)
}

fn read_strings(value: json::Value<'_>) -> Option<Vec<String>> {
    match value.string() {
        Some(one) => Some(vec![one.into_owned()]),
        None => value.items()?.into_iter().map(|item| item.string().map(|text| text.into_owned())).collect(),
    }
}

fn read_permissions(value: json::Value<'_>) -> Option<Permissions> {
    let mut granted = Permissions::default();
    for item in value.items()? {
        match item.string()?.as_ref() {
            "join" => granted.join = true,
            "kick" => granted.kick = true,
            "observe" => granted.observe = true,
            "send" => granted.send = true,
            "signal" => granted.signal = true,
            "state" => granted.state = true,
            _ => {}
        }
    }
    Some(granted)
}

fn read_ice(value: json::Value<'_>) -> Option<IceTerms> {
    let mut terms = IceTerms::default();
    for member in value.members()? {
        let number = || member.value.unsigned().and_then(|number| u32::try_from(number).ok());
        match member.key.as_ref() {
            "kbps" => terms.kbps = Some(number()?),
            "policy" => {
                terms.policy = match member.value.string()?.as_ref() {
                    "all" => IcePolicy::All,
                    "relay" => IcePolicy::Relay,
                    _ => return None,
                }
            }
            "ttl" => terms.ttl = Some(number()?),
            _ => {}
        }
    }
    Some(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_token_is_read() {
        let token = JoinToken::read(
            r#"{"sub":"ann","exp":100,"nbf":50,"jti":"x","room":["tea","lab-*"],"perm":["observe","kick","later"],
                "meta":{"name":"Ann"},"max_peers":2,"ice":{"policy":"relay","ttl":60,"kbps":500},"aud":["a"],"iss":7}"#,
        )
        .unwrap();
        assert_eq!(token.sub.as_deref(), Some("ann"));
        assert!(token.opens("tea") && token.opens("lab-3") && !token.opens("coffee"));
        assert!(token.perm.observe && token.perm.kick && !token.perm.join);
        assert_eq!(token.meta, r#"{"name":"Ann"}"#);
        assert_eq!(token.max_peers, Some(2));
        assert_eq!(token.ice, IceTerms { policy: IcePolicy::Relay, ttl: Some(60), kbps: Some(500) });
    }

    #[test]
    fn a_token_without_room_opens_none_and_without_perm_grants_the_usual() {
        let token = JoinToken::read(r#"{"exp":100}"#).unwrap();
        assert!(!token.opens("tea") && !token.opens(""));
        assert_eq!(token.perm, Permissions::USUAL);
        assert!(!token.perm.observe && !token.perm.kick);
    }

    #[test]
    fn claims_missing_repeated_or_of_the_wrong_type_are_refused() {
        for payload in [
            r"{}",
            r#"{"sub":"a"}"#,
            r#"{"exp":"100"}"#,
            r#"{"exp":100.5}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":100,"exp":200}"#,
            r#"{"exp":100,"aud":"a","aud":"b"}"#,
            r#"{"exp":100,"sub":7}"#,
            r#"{"exp":100,"sub":null}"#,
            r#"{"exp":100,"nbf":"1"}"#,
            r#"{"exp":100,"room":7}"#,
            r#"{"exp":100,"room":["a",7]}"#,
            r#"{"exp":100,"perm":"join"}"#,
            r#"{"exp":100,"meta":[]}"#,
            r#"{"exp":100,"max_peers":-1}"#,
            r#"{"exp":100,"ice":{"policy":"none"}}"#,
            r#"{"exp":100,"ice":"relay"}"#,
        ] {
            assert_eq!(JoinToken::read(payload), Err(TokenError::Claims), "{payload}");
        }
        assert_eq!(JoinToken::read("[]"), Err(TokenError::Malformed));
        assert_eq!(JoinToken::read("{"), Err(TokenError::Malformed));
    }

    #[test]
    fn expiry_has_no_leeway_and_the_beginning_ten_seconds() {
        let token = JoinToken::read(r#"{"exp":100,"nbf":50}"#).unwrap();
        assert_eq!(token.judge(39), Err(TokenError::NotYet));
        assert_eq!(token.judge(40), Ok(()));
        assert_eq!(token.judge(99), Ok(()));
        assert_eq!(token.judge(100), Err(TokenError::Expired));
    }

    #[test]
    fn labels_are_unique_and_in_order() {
        assert!(TokenError::ALL.iter().map(|error| error.label()).is_sorted_by(|a, b| a < b));
    }
}
