//! Names and secrets as typed: realm, host, users.

use std::net::IpAddr;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

use crate::auth::Scopes;
use crate::config::mistake::Fault;
use crate::config::reader;
use crate::config::types::{ApiKey, Host, JwksSource, Realm, Secret, StaticUser, TokenSecret};

/// RFC 8489 §14.9: a REALM is shorter than 128 characters.
const LONGEST_REALM: usize = 127;
/// With a longer realm the challenge to the plainest Allocate over UDP is over three times its size.
pub const LEAN_REALM: usize = 64;
/// RFC 8489 §14.3: a USERNAME is shorter than 509 bytes.
const LONGEST_USER: usize = 508;

/// Reads a realm (RFC 8489 §14.9): it stands in quotes elsewhere, so quotes and backslashes are refused.
pub fn realm(text: &str) -> Result<Realm, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the realm is empty", "write a name, like the domain of your service"));
    }
    if text.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err(Fault::new(
            "quotes, backslashes and control characters cannot stand here",
            "leave them out",
        ));
    }
    let realm = opaque(text)?;
    if realm.len() > LONGEST_REALM {
        let problem = format!("{} bytes are too many", realm.len());
        return Err(Fault::new(problem, format!("write at most {LONGEST_REALM}")));
    }
    Ok(Realm(realm))
}

/// Reads the name or address of a host.
pub fn host(text: &str) -> Result<Host, Fault> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    if is_host_name(text) {
        return Ok(Host::Name(text.to_ascii_lowercase()));
    }
    let advice = "write a name like turn.example.org or an IP address, without scheme and port";
    Err(Fault::new("this is not a host", advice))
}

/// Reads `NAME:PASSWORD`.
pub fn user(text: &str) -> Result<StaticUser, Fault> {
    let Some((name, password)) = text.split_once(':') else {
        return Err(Fault::new("there is no colon", "write NAME:PASSWORD"));
    };
    if name.is_empty() || password.is_empty() {
        return Err(Fault::new("the name or the password is empty", "write NAME:PASSWORD"));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::new("the name has control characters", "leave them out"));
    }
    let name = opaque(name)?;
    if name.len() > LONGEST_USER {
        return Err(Fault::new("the name is too long", format!("write at most {LONGEST_USER} bytes")));
    }
    Ok(StaticUser { name, password: Secret::new(opaque(password)?) })
}

/// Reads a shared secret.
pub fn secret(text: &str) -> Result<Secret, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("the secret is empty", "write at least 16 random characters"));
    }
    Ok(Secret::new(text))
}

/// Reads `[SCOPES@]KEY`, as it can stand behind `Authorization: Bearer`.
pub fn api_key(text: &str) -> Result<ApiKey, Fault> {
    let (scopes, key) = match text.split_once('@') {
        Some((scopes, key)) => {
            let advice = "write mint, token, publish, read or admin, with commas between them";
            let scopes = Scopes::parse(scopes).ok_or_else(|| Fault::new("a scope is unknown", advice))?;
            (scopes, key)
        }
        None => (Scopes::USUAL, text),
    };
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "the key is empty or has characters that no header takes";
        return Err(Fault::new(problem, "write at least 16 random letters and digits"));
    }
    Ok(ApiKey { scopes, secret: Secret::new(key) })
}

/// Reads `[KID:]SECRET`.
pub fn token_secret(text: &str) -> Result<TokenSecret, Fault> {
    let (kid, secret_text) = match text.split_once(':') {
        Some((kid, rest)) => (Some(kid), rest),
        None => (None, text),
    };
    let is_name = |kid: &str| {
        (1..=64).contains(&kid.len())
            && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !kid.is_none_or(is_name) {
        let problem = "the name before the colon is empty or strange";
        return Err(Fault::new(problem, "write up to 64 letters, digits, dashes and dots there"));
    }
    Ok(TokenSecret { kid: kid.map(str::to_owned), secret: secret(secret_text)? })
}

/// Reads the path of a JWK set, or its URL: `https:`, or `http:` where no other host can answer.
pub fn jwks(text: &str) -> Result<JwksSource, Fault> {
    let advice = "write a path, or a URL like https://login.example/.well-known/jwks.json";
    if !text.contains("://") {
        return reader::path(text).map(JwksSource::File);
    }
    let url: http::Uri = text.parse().map_err(|_| Fault::new("this is not a URL", advice))?;
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let has_user = url.authority().is_none_or(|authority| authority.as_str().contains('@'));
    match url.scheme_str() {
        _ if host.is_empty() || has_user || text.contains('#') => {
            Err(Fault::new("a user or a fragment makes no sense here, and a host must be named", advice))
        }
        Some("https") => Ok(JwksSource::Url(url)),
        Some("http") if is_loopback => Ok(JwksSource::Url(url)),
        Some("http") => {
            Err(Fault::new("over plain HTTP anybody on the way could put in keys", "write an https URL"))
        }
        Some(_) | None => Err(Fault::new("the scheme is neither https nor http", advice)),
    }
}

/// Reads a serialized web origin (RFC 6454 §6.2), or `*`.
pub fn origin(text: &str) -> Result<String, Fault> {
    let advice = "write one like https://app.example or http://localhost:5173, without a path";
    let is_good = text.split_once("://").is_some_and(|(scheme, authority)| {
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let is_authority = !authority.is_empty()
            && authority.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
            && !authority.contains(['/', '?', '#', '@']);
        is_scheme && is_authority
    });
    let has_default_port = [("http://", ":80"), ("https://", ":443")]
        .iter()
        .any(|(scheme, port)| text.starts_with(scheme) && text.ends_with(port));
    if text != "*" && (!is_good || has_default_port) {
        return Err(Fault::new("no browser sends this origin", advice));
    }
    Ok(text.to_owned())
}

/// Applies the OpaqueString profile (RFC 8265 §4.2).
pub fn opaque(text: &str) -> Result<String, Fault> {
    OpaqueString::enforce(text).map(std::borrow::Cow::into_owned).map_err(|_| {
        let problem = "there are characters that the OpaqueString profile (RFC 8265) forbids";
        Fault::new(problem, "write letters, digits, spaces and symbols")
    })
}

/// Tells whether a text is a host name in ASCII (RFC 1123 §2.1).
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let looks_like_an_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= 253 && text.split('.').all(label) && !looks_like_an_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_fit_into_a_quoted_string() {
        assert_eq!(realm("example.org").unwrap().as_str(), "example.org");
        assert!(realm(&"x".repeat(127)).is_ok());
        for bad in ["", "a\"b", "a\\b", "a\nb", &"x".repeat(128)] {
            assert!(realm(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_without_a_port() {
        assert_eq!(host("Turn.Example.org").unwrap().to_string(), "turn.example.org");
        assert_eq!(host("2001:db8::1").unwrap().to_string(), "[2001:db8::1]");
        assert_eq!(host("[2001:db8::1]").unwrap().to_string(), "[2001:db8::1]");
        for bad in ["", "a:1", "https://a", "a b", "-a", "a..b", "1.2.3", "ä.org"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_normalized_by_the_opaque_string_profile() {
        let user = user("al\u{69}\u{308}ce:pass:word").unwrap();
        assert_eq!(user.name, "al\u{ef}ce");
        assert_eq!(user.password.expose(), "pass:word");
    }

    #[test]
    fn keys_name_their_scopes_in_front() {
        assert_eq!(api_key("k").unwrap().scopes, Scopes::USUAL);
        let key = api_key("mint,read@k@y").unwrap();
        assert_eq!((key.scopes, key.secret.expose()), (Scopes::parse("mint,read").unwrap(), "k@y"));
        for bad in ["", "mint@", "mnt@k", "@k", "a b", "k\u{e9}y"] {
            assert!(api_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn token_secrets_name_their_kid_in_front() {
        assert_eq!(token_secret("s").unwrap().kid, None);
        let named = token_secret("2026-11:a:b").unwrap();
        assert_eq!((named.kid.as_deref(), named.secret.expose()), (Some("2026-11"), "a:b"));
        for bad in ["", ":s", "k:", "a b:s"] {
            assert!(token_secret(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn origins_are_those_that_browsers_send() {
        for good in ["*", "https://a.example", "http://localhost:5173", "http://[::1]:8080"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a.example", "https://a.example/", "https://", "null", "https://A.example", "https://a:443"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_jwk_set_is_a_file_or_a_url_that_nobody_can_change_on_the_way() {
        assert_eq!(jwks("/etc/keys.json").unwrap(), JwksSource::File("/etc/keys.json".into()));
        assert_eq!(jwks("keys.json").unwrap(), JwksSource::File("keys.json".into()));
        let urls =
            ["https://a.example/jwks?x=1", "http://127.0.0.1:1/k", "http://[::1]/", "http://localhost:8/"];
        for url in urls {
            assert_eq!(jwks(url).unwrap(), JwksSource::Url(url.parse().unwrap()));
        }
        for bad in [
            "",
            "http://a.example/jwks",
            "http://localhost.example/",
            "ftp://a.example/",
            "https://",
            "https://u:p@a.example/",
            "https://a.example/#k",
            "https://a b/",
        ] {
            assert!(jwks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn impossible_users_are_refused() {
        for bad in ["alice", ":password", "alice:", "al\nice:x", "alice:a\u{0}b", "alice:\u{ad}\u{200e}"] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }
}
