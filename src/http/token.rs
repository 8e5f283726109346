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

    /// The keys of RFC 7515 appendices A.2 and A.3 and of RFC 8037 appendix A.2.
    const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn public(keys: &[&str]) -> TokenKeys {
        let public = Arc::new(PublicKeys::default());
        public.replace(&KeySet::read(&format!("{{\"keys\":[{}]}}", keys.join(","))).unwrap());
        TokenKeys::new([(Some("new"), b"first".as_slice())]).with_public(public)
    }

    fn named(key: &str, kid: &str) -> String {
        key.replacen('{', &format!(r#"{{"kid":"{kid}","#), 1)
    }

    /// A pair of Ed25519: what signs, and the key of a set without its name.
    fn pair() -> (EncodingKey, String) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let public = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        (EncodingKey::from_ed_der(&pair.serialize_der()), public)
    }

    fn signed_by(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn the_examples_of_the_rfcs_verify_under_public_keys() {
        let keys = public(&[OKP, EC, RSA]);
        for token in [RS256, ES256] {
            assert_eq!(keys.verify(token, 1_300_819_379).unwrap().exp, 1_300_819_380);
            assert_eq!(keys.verify(token, 1_300_819_380), Err(TokenError::Expired));
            let (message, signature) = token.rsplit_once('.').unwrap();
            let changed = format!("{message}.{}", signature.replacen(['c', 'D'], "A", 1));
            assert_eq!(keys.verify(&changed, 0), Err(TokenError::Signature));
            let other = message.replacen(".eyJpc3", ".eyJpc2", 1);
            assert_eq!(keys.verify(&format!("{other}.{signature}"), 0), Err(TokenError::Signature));
        }
        // The payload of this one is no JSON: it is read after the signature has been found good.
        assert_eq!(keys.verify(EDDSA, 0), Err(TokenError::Malformed));
        let changed = EDDSA.replace("hgyY0", "hgyZ0");
        assert_eq!(keys.verify(&changed, 0), Err(TokenError::Signature));
    }

    #[test]
    fn a_public_key_fixes_its_algorithm() {
        assert_eq!(public(&[EC, OKP]).verify(RS256, 0), Err(TokenError::Algorithm));
        assert_eq!(public(&[RSA]).verify(ES256, 0), Err(TokenError::Algorithm));
        let keys = public(&[&named(RSA, "r")]);
        let modulus = RSA.split('"').nth(7).unwrap();
        for secret in [RSA.as_bytes(), modulus.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(modulus).unwrap()] {
            let confused = signed(r#"{"alg":"HS256","kid":"r"}"#, GOOD, secret, Algorithm::HS256);
            assert_eq!(keys.verify(&confused, NOW), Err(TokenError::Algorithm));
        }
        for algorithm in ["none", "PS256", "RS512", "ES384", "rs256"] {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"r"}}"#);
            let token = signed(&header, GOOD, b"first", Algorithm::HS256);
            assert_eq!(keys.verify(&token, NOW), Err(TokenError::Algorithm), "{algorithm}");
        }
    }

    #[test]
    fn public_keys_are_found_by_name_or_by_having_none() {
        let ((a, a_public), (b, b_public)) = (pair(), pair());
        let keys = public(&[&named(&a_public, "a"), &b_public]);
        let token = |key, header: &str| signed_by(key, Algorithm::EdDSA, header, GOOD);
        assert!(keys.verify(&token(&a, r#"{"alg":"EdDSA","kid":"a"}"#), NOW).is_ok());
        assert!(keys.verify(&token(&b, r#"{"alg":"EdDSA"}"#), NOW).is_ok());
        assert_eq!(keys.verify(&token(&a, r#"{"alg":"EdDSA"}"#), NOW), Err(TokenError::Signature));
        let unknown = keys.verify(&token(&a, r#"{"alg":"EdDSA","kid":"c"}"#), NOW);
        assert_eq!(unknown, Err(TokenError::KeyUnknown));
        let crit = r#"{"alg":"EdDSA","kid":"a","crit":["b64"]}"#;
        assert_eq!(keys.verify(&token(&a, crit), NOW), Err(TokenError::Critical));
        let named_by_secret = token(&a, r#"{"alg":"EdDSA","kid":"new"}"#);
        assert_eq!(keys.verify(&named_by_secret, NOW), Err(TokenError::Algorithm));
    }

    #[test]
    fn keys_of_one_name_are_all_tried() {
        let ((a, a_public), (b, b_public)) = (pair(), pair());
        let same = [named(RSA, "new"), named(&a_public, "new"), named(EC, "new"), named(&b_public, "new")];
        let keys = public(&same.each_ref().map(String::as_str));
        for key in [&a, &b] {
            let token = signed_by(key, Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"new"}"#, GOOD);
            assert!(keys.verify(&token, NOW).is_ok());
        }
        let secret = signed(r#"{"alg":"HS256","kid":"new"}"#, GOOD, b"first", Algorithm::HS256);
        assert!(keys.verify(&secret, NOW).is_ok());
    }

    #[test]
    fn replaced_keys_are_gone_at_once() {
        let ((a, a_public), (b, b_public)) = (pair(), pair());
        let public = Arc::new(PublicKeys::default());
        let keys = TokenKeys::new([]).with_public(Arc::clone(&public));
        let token = |key| signed_by(key, Algorithm::EdDSA, r#"{"alg":"EdDSA"}"#, GOOD);
        let set = |key: &str| KeySet::read(&format!("{{\"keys\":[{key}]}}")).unwrap();
        assert_eq!(keys.verify(&token(&a), NOW), Err(TokenError::KeyUnknown));
        public.replace(&set(&a_public));
        assert!(keys.verify(&token(&a), NOW).is_ok());
        public.replace(&set(&b_public));
        assert_eq!(keys.verify(&token(&a), NOW), Err(TokenError::Signature));
        assert!(keys.verify(&token(&b), NOW).is_ok());
        assert_eq!(keys.sign(GOOD), None);
    }

    #[test]
    fn a_key_that_is_no_point_of_its_curve_verifies_nothing() {
        let off = EC.replace("f83OJ3", "f83OJ4");
        assert_eq!(public(&[&off]).verify(ES256, 0), Err(TokenError::Signature));
    }
}
