//! Join tokens as JWT (RFC 7515, RFC 7519): signed here, and checked before a claim is read.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};

use tokio::sync::Notify;

use crate::auth::{JoinToken, KeyMaterial, KeySet, PublicKey, TokenError};
use crate::json;

/// Longest token in bytes.
const LONGEST: usize = 16 << 10;
const HS256: &str = "HS256";

/// The keys that sign and verify join tokens; the first secret signs.
pub struct TokenKeys {
    secrets: Vec<Key>,
    signing: Option<EncodingKey>,
    public: Arc<PublicKeys>,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    verifying: DecodingKey,
}

/// Public keys that may be replaced while tokens are verified.
#[derive(Default)]
pub struct PublicKeys {
    keys: ArcSwap<Vec<Key>>,
    missed: Notify,
}

impl PublicKeys {
    /// Verifies with the keys of a set from now on, and with no others.
    pub fn replace(&self, set: &KeySet) {
        self.keys.store(Arc::new(set.keys.iter().map(Key::public).collect()));
    }

    /// Waits until a token names a key that is not there; one that did so before counts too.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }
}

impl Key {
    fn secret(kid: Option<&str>, secret: &[u8]) -> Key {
        let verifying = DecodingKey::from_secret(secret);
        Key { kid: kid.map(str::to_owned), algorithm: Algorithm::HS256, verifying }
    }

    fn public(key: &PublicKey) -> Key {
        let (algorithm, verifying) = match &key.material {
            KeyMaterial::Ed25519(key) => (Algorithm::EdDSA, DecodingKey::from_ed_der(key)),
            KeyMaterial::P256 { x, y } => {
                // SEC 1 §2.3.3: an uncompressed point.
                let point = [[0x04].as_slice(), x, y].concat();
                (Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            KeyMaterial::Rsa { modulus, exponent } => {
                (Algorithm::RS256, DecodingKey::from_rsa_raw_components(modulus, exponent))
            }
        };
        Key { kid: key.kid.clone(), algorithm, verifying }
    }
}

impl TokenKeys {
    /// Makes the set from secrets with the names that tokens call them by (`kid`).
    pub fn new<'a>(secrets: impl IntoIterator<Item = (Option<&'a str>, &'a [u8])>) -> TokenKeys {
        let mut secrets = secrets.into_iter().peekable();
        let signing = secrets.peek().map(|(_, secret)| EncodingKey::from_secret(secret));
        let secrets = secrets.map(|(kid, secret)| Key::secret(kid, secret)).collect();
        TokenKeys { secrets, signing, public: Arc::default() }
    }

    /// Verifies with public keys too.
    #[must_use]
    pub fn with_public(self, public: Arc<PublicKeys>) -> TokenKeys {
        TokenKeys { public, ..self }
    }

    /// Signs claims, a JSON object, with the first key; none without any key.
    #[must_use]
    pub fn sign(&self, claims: &str) -> Option<String> {
        let (key, signing) = (self.secrets.first()?, self.signing.as_ref()?);
        let mut header = format!(r#"{{"alg":"{HS256}","typ":"JWT""#);
        if let Some(kid) = &key.kid {
            header.push_str(",\"kid\":");
            json::push_string(&mut header, kid);
        }
        header.push('}');
        let message =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(message.as_bytes(), signing, Algorithm::HS256).ok()?;
        Some(format!("{message}.{signature}"))
    }

    /// Reads a token that is worth something at a Unix second, or says why it is none.
    ///
    /// The key alone decides the algorithm: what the header says must agree. A token without `kid` is checked
    /// against the keys without a name.
    pub fn verify(&self, token: &str, unix: u64) -> Result<JoinToken, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if token.len() > LONGEST || payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let (algorithm, kid) = read_header(&decoded(header)?)?;
        let public = self.public.keys.load();
        let mut named = self.secrets.iter().chain(public.iter()).filter(|key| key.kid == kid).peekable();
        if named.peek().is_none() {
            if kid.is_some() {
                self.public.missed.notify_one();
            }
            return Err(TokenError::KeyUnknown);
        }
        let mut fitting = named.filter(|key| key.algorithm == algorithm).peekable();
        fitting.peek().ok_or(TokenError::Algorithm)?;
        let proves = |key: &Key| {
            crypto::verify(signature, message.as_bytes(), &key.verifying, key.algorithm).unwrap_or(false)
        };
        if !fitting.any(proves) {
            return Err(TokenError::Signature);
        }
        let token = JoinToken::read(&decoded(payload)?)?;
        token.judge(unix).map(|()| token)
    }
}

/// Returns algorithm and `kid` of a header that asks for nothing but what is done.
fn read_header(header: &str) -> Result<(Algorithm, Option<String>), TokenError> {
    let members = json::members(header).map_err(|_| TokenError::Malformed)?;
    let find = |name: &str| members.iter().find(|member| member.key == name).map(|member| member.value);
    if find("crit").is_some() {
        return Err(TokenError::Critical);
    }
    let algorithm = match find("alg").and_then(json::Value::string).as_deref() {
        Some(HS256) => Algorithm::HS256,
        Some("RS256") => Algorithm::RS256,
        Some("ES256") => Algorithm::ES256,
        Some("EdDSA") => Algorithm::EdDSA,
        Some(_) | None => return Err(TokenError::Algorithm),
    };
    let kid = find("kid").map(|kid| kid.string().ok_or(TokenError::Malformed)).transpose()?;
    Ok((algorithm, kid.map(Cow::into_owned)))
}

fn decoded(part: &str) -> Result<String, TokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    String::from_utf8(bytes).map_err(|_| TokenError::Malformed)
}

/// Members of the claims that whoever mints may choose.
const CLAIMS: [&str; 6] = ["ice", "max_peers", "meta", "perm", "room", "sub"];

/// Puts the claims of a request together and checks them as a verifier will; members that are no claims stay out.
pub fn claims(request: &[json::Member<'_>], expires_at: u64) -> Result<String, TokenError> {
    let mut text = String::from("{");
    for member in request.iter().filter(|member| CLAIMS.contains(&member.key.as_ref())) {
        json::push_string(&mut text, &member.key);
        text.push(':');
        text.push_str(&member.value.text());
        text.push(',');
    }
    text.push_str(&format!("\"exp\":{expires_at}}}"));
    JoinToken::read(&text).map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1000;
    const GOOD: &str = r#"{"sub":"ann","room":"tea","exp":1001}"#;

    fn keys() -> TokenKeys {
        TokenKeys::new([(Some("new"), b"first".as_slice()), (Some("old"), b"second"), (None, b"third")])
    }

    fn signed(header: &str, claims: &str, secret: &[u8], algorithm: Algorithm) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature =
            crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn refused(header: &str, claims: &str, secret: &[u8]) -> TokenError {
        keys().verify(&signed(header, claims, secret, Algorithm::HS256), NOW).unwrap_err()
    }

    #[test]
    fn what_is_signed_verifies_and_names_its_key() {
        let token = keys().sign(GOOD).unwrap();
        let header = decoded(token.split('.').next().unwrap()).unwrap();
        assert_eq!(header, r#"{"alg":"HS256","typ":"JWT","kid":"new"}"#);
        let read = keys().verify(&token, NOW).unwrap();
        assert!(read.sub.as_deref() == Some("ann") && read.opens("tea"));
    }

    #[test]
    fn older_keys_and_those_without_a_name_verify_too() {
        for (header, secret) in
            [(r#"{"alg":"HS256","kid":"old"}"#, b"second".as_slice()), (r#"{"alg":"HS256"}"#, b"third")]
        {
            assert!(keys().verify(&signed(header, GOOD, secret, Algorithm::HS256), NOW).is_ok());
        }
    }

    #[test]
    fn the_example_of_rfc_7515_verifies() {
        // RFC 7515 appendix A.1; its `exp` is 1300819380, its other claims are not ours.
        let secret = BASE64_URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog\
                     Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let keys = TokenKeys::new([(None, secret.as_slice())]);
        assert_eq!(keys.verify(token, 1_300_819_379).unwrap().exp, 1_300_819_380);
        assert_eq!(keys.verify(token, 1_300_819_380), Err(TokenError::Expired));
    }

    #[test]
    fn no_algorithm_but_that_of_the_key_is_taken() {
        for header in [
            r#"{"alg":"none","kid":"new"}"#,
            r#"{"alg":"None","kid":"new"}"#,
            r#"{"alg":"HS512","kid":"new"}"#,
            r#"{"alg":"RS256","kid":"new"}"#,
            r#"{"alg":7,"kid":"new"}"#,
            r#"{"kid":"new"}"#,
        ] {
            assert_eq!(refused(header, GOOD, b"first"), TokenError::Algorithm, "{header}");
        }
        let none = format!(
            "{}.{}.",
            BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            BASE64_URL_SAFE_NO_PAD.encode(GOOD)
        );
        assert_eq!(keys().verify(&none, NOW), Err(TokenError::Algorithm));
        let longer = signed(r#"{"alg":"HS256","kid":"new"}"#, GOOD, b"first", Algorithm::HS512);
        assert_eq!(keys().verify(&longer, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn extensions_unknown_keys_and_repeated_members_are_refused() {
        let crit = r#"{"alg":"HS256","kid":"new","crit":["b64"],"b64":false}"#;
        assert_eq!(refused(crit, GOOD, b"first"), TokenError::Critical);
        for header in [r#"{"alg":"HS256","kid":"other"}"#, r#"{"alg":"HS256","kid":""}"#] {
            assert_eq!(refused(header, GOOD, b"first"), TokenError::KeyUnknown);
        }
        for header in
            [r#"{"alg":"HS256","alg":"none"}"#, r#"{"alg":"HS256","kid":7}"#, r#"["HS256"]"#, "", "{"]
        {
            assert_eq!(refused(header, GOOD, b"first"), TokenError::Malformed, "{header}");
        }
    }

    #[test]
    fn another_secret_or_a_changed_byte_is_no_signature() {
        let header = r#"{"alg":"HS256","kid":"new"}"#;
        assert_eq!(refused(header, GOOD, b"second"), TokenError::Signature);
        assert_eq!(refused(header, GOOD, b""), TokenError::Signature);
        let good = keys().sign(GOOD).unwrap();
        let unsigned = good.rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(keys().verify(&unsigned, NOW), Err(TokenError::Signature));
        let other = keys().sign(r#"{"sub":"eve","room":"*","exp":1001}"#).unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let mixed = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
        assert_eq!(keys().verify(&mixed, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn times_are_judged_with_leeway_for_the_beginning_alone() {
        let header = r#"{"alg":"HS256","kid":"new"}"#;
        assert_eq!(refused(header, r#"{"exp":1000}"#, b"first"), TokenError::Expired);
        assert_eq!(refused(header, r#"{"exp":2000,"nbf":1011}"#, b"first"), TokenError::NotYet);
        let begins = signed(header, r#"{"exp":2000,"nbf":1010}"#, b"first", Algorithm::HS256);
        assert!(keys().verify(&begins, NOW).is_ok());
    }

    #[test]
    fn claims_missing_repeated_or_of_wrong_type_are_refused() {
        let header = r#"{"alg":"HS256","kid":"new"}"#;
        for claims in
            [r#"{"sub":"a"}"#, r#"{"exp":1001,"exp":9999}"#, r#"{"exp":"1001"}"#, r#"{"exp":1001,"sub":7}"#]
        {
            assert_eq!(refused(header, claims, b"first"), TokenError::Claims, "{claims}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_early() {
        let long = format!("a.{}.c", "x".repeat(LONGEST));
        for text in ["", ".", "..", "a.b", "a.b.c.d", "\u{1F600}.a.b", &long] {
            assert_eq!(keys().verify(text, NOW), Err(TokenError::Malformed), "{text:.40}");
        }
        assert_eq!(TokenKeys::new([]).verify(&keys().sign(GOOD).unwrap(), NOW), Err(TokenError::KeyUnknown));
        assert_eq!(TokenKeys::new([]).sign(GOOD), None);
    }

    #[test]
    fn claims_of_a_request_are_taken_and_the_rest_left_out() {
        let request = json::members(r#"{"sub":"ann","room":["a","b*"],"ttl":60,"exp":9,"nbf":1}"#).unwrap();
        assert_eq!(claims(&request, 50).unwrap(), r#"{"sub":"ann","room":["a","b*"],"exp":50}"#);
        let wrong = json::members(r#"{"room":7}"#).unwrap();
        assert_eq!(claims(&wrong, 50), Err(TokenError::Claims));
    }
}
