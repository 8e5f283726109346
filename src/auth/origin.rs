//! Which web pages may speak to this server.

/// The origins that are let in besides the server's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Serialized origins, compared exactly; `*` lets every one in.
    pub allowed: Vec<String>,
}

impl Origins {
    /// Returns whether a request with this `Origin` and `Host` is let in.
    ///
    /// Without an `Origin` no browser asks. `null` is foreign, whatever is allowed.
    #[must_use]
    pub fn admit(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if origin == "null" {
            return false;
        }
        let own = || {
            let (scheme, authority) = origin.split_once("://")?;
            let port = default_port(scheme)?;
            Some(host_and_port(authority, port)? == host_and_port(host?, port)?)
        };
        self.allowed.iter().any(|allowed| allowed == "*" || allowed == origin) || own() == Some(true)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_address..].rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_address + colon);
            (host, port[1..].parse().ok()?)
        }
        None => (authority, default),
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allowed: &[&str], origin: &str, host: &str) -> bool {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        Origins { allowed }.admit(Some(origin), Some(host))
    }

    #[test]
    fn without_an_origin_no_browser_asks() {
        assert!(Origins::default().admit(None, Some("a.example")));
    }

    #[test]
    fn the_own_host_and_port_are_let_in() {
        assert!(admits(&[], "https://a.example", "a.example"));
        assert!(admits(&[], "https://a.example", "A.example:443"));
        assert!(admits(&[], "http://[::1]:8080", "[::1]:8080"));
        assert!(!admits(&[], "https://a.example:8443", "a.example"));
        assert!(!admits(&[], "https://b.example", "a.example"));
        assert!(!admits(&[], "https://a.example.b.example", "a.example"));
        assert!(!Origins::default().admit(Some("https://a.example"), None));
    }

    #[test]
    fn allowed_origins_are_compared_whole() {
        let allowed = ["https://app.example"];
        assert!(admits(&allowed, "https://app.example", "a.example"));
        assert!(!admits(&allowed, "http://app.example", "a.example"));
        assert!(!admits(&allowed, "https://app.example:444", "a.example"));
        assert!(admits(&["*"], "https://anything.example", "a.example"));
    }

    #[test]
    fn null_is_foreign_even_to_a_star() {
        assert!(!admits(&["*"], "null", "a.example"));
        assert!(!admits(&["null"], "null", "a.example"));
    }

    #[test]
    fn what_is_no_origin_is_foreign() {
        for origin in ["", "a.example", "https://", "file://a.example", "https://a.example:x"] {
            assert!(!admits(&[], origin, "a.example"), "{origin}");
        }
    }
}
