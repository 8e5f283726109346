//! JWK sets (RFC 7517): the public keys of whoever signs join tokens elsewhere.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::json::{self, Member, Value};

/// Keys of one set that are looked at: a token without `kid` is tried against all that have no name.
const MOST_KEYS: usize = 100;
/// RFC 7518 §3.3: a key of RS256 has at least this size, in bits.
const LEAST_MODULUS: usize = 2048;
const LARGEST_MODULUS: usize = 8192;
/// Bytes of the largest exponent that is computed with.
const LARGEST_EXPONENT: usize = 4;

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// How tokens name it.
    pub kid: Option<String>,
    /// The key itself, which fixes the algorithm.
    pub material: KeyMaterial,
}

/// The numbers of a key, with the algorithm that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// EdDSA (RFC 8037 §2).
    Ed25519([u8; 32]),
    /// ES256 (RFC 7518 §6.2).
    P256 {
        /// First coordinate.
        x: [u8; 32],
        /// Second coordinate.
        y: [u8; 32],
    },
    /// RS256 (RFC 7518 §6.3); big-endian without leading zeros.
    Rsa {
        /// Modulus, 2048 to 8192 bits.
        modulus: Vec<u8>,
        /// Public exponent.
        exponent: Vec<u8>,
    },
}

/// The keys of a set that can be used, and why others cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// In the order of the set; never empty.
    pub keys: Vec<PublicKey>,
    /// A sentence for each key that was left out.
    pub left_out: Vec<String>,
}

/// Why a text is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON object, or one with a repeated member.
    #[error("it is no JSON object, or a member of it is repeated")]
    Syntax,
    /// There is no list `keys`.
    #[error("there is no list \"keys\"")]
    NoList,
    /// No key of it can be used.
    #[error("no key of it can be used: {}", if .0.is_empty() { "it is empty".to_owned() } else { .0.join("; ") })]
    NoKey(Vec<String>),
}

impl KeySet {
    /// Reads a set (RFC 7517 §5); keys that cannot be used are left out.
    pub fn read(text: &str) -> Result<KeySet, KeySetError> {
        let set = json::members(text).map_err(|_| KeySetError::Syntax)?;
        let list = find(&set, "keys").and_then(Value::items).ok_or(KeySetError::NoList)?;
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for (index, value) in list.iter().enumerate() {
            let read = if index < MOST_KEYS { read_key(*value) } else { Err("the set is too long") };
            match read {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(format!("key {}: {why}", index + 1)),
            }
            if index == MOST_KEYS {
                break;
            }
        }
        if keys.is_empty() { Err(KeySetError::NoKey(left_out)) } else { Ok(KeySet { keys, left_out }) }
    }
}

fn read_key(value: Value<'_>) -> Result<PublicKey, &'static str> {
    let key = value.members().ok_or("it is no object")?;
    let text = |name: &str| match find(&key, name) {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or("a member has the wrong type"),
    };
    if ["d", "k", "p", "q"].iter().any(|name| find(&key, name).is_some()) {
        return Err("it holds a secret, and a set is public");
    }
    let family = text("kty")?.ok_or("its \"kty\" is missing")?;
    let curve = text("crv")?.unwrap_or_default();
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its \"use\" is not \"sig\"");
    }
    if let Some(operations) = find(&key, "key_ops") {
        let operations = operations.items().ok_or("its \"key_ops\" is no list")?;
        if !operations.iter().any(|one| one.string().is_some_and(|one| one == "verify")) {
            return Err("its \"key_ops\" does not name \"verify\"");
        }
    }
    let bytes = |name: &str| {
        let text = text(name)?.ok_or("a number of it is missing")?;
        BASE64_URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(|_| "a number of it is no base64url")
    };
    let coordinate = |name: &str| bytes(name)?.try_into().map_err(|_| "a coordinate of it has not 32 bytes");
    let (algorithm, material) = match (family.as_ref(), curve.as_ref()) {
        ("EC", "P-256") => ("ES256", KeyMaterial::P256 { x: coordinate("x")?, y: coordinate("y")? }),
        ("OKP", "Ed25519") => ("EdDSA", KeyMaterial::Ed25519(coordinate("x")?)),
        ("EC" | "OKP", _) => return Err("its curve is neither P-256 nor Ed25519"),
        ("RSA", _) => ("RS256", rsa(&bytes("n")?, &bytes("e")?)?),
        _ => return Err("its type is none of RSA, EC and OKP"),
    };
    if text("alg")?.is_some_and(|named| named != algorithm) {
        return Err("its \"alg\" is another than RS256, ES256 and EdDSA, or does not fit its type");
    }
    Ok(PublicKey { kid: text("kid")?.map(Cow::into_owned), material })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<KeyMaterial, &'static str> {
    let (modulus, exponent) = (stripped(modulus), stripped(exponent));
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    if !(LEAST_MODULUS..=LARGEST_MODULUS).contains(&bits) {
        return Err("its modulus has not 2048 to 8192 bits");
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !is_odd(exponent) || exponent == [1] || exponent.len() > LARGEST_EXPONENT || !is_odd(modulus) {
        return Err("its modulus or exponent is none of RSA");
    }
    Ok(KeyMaterial::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn find<'a>(members: &[Member<'a>], name: &str) -> Option<Value<'a>> {
    members.iter().find(|member| member.key == name).map(|member| member.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 7515 appendix A.3, without its private part.
    const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    /// The key of RFC 8037 appendix A.2.
    const OKP: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn one(key: &str) -> Result<PublicKey, String> {
        match KeySet::read(&format!("{{\"keys\":[{{{key}}}]}}")) {
            Ok(set) => Ok(set.keys[0].clone()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn rsa_key(bits: usize, exponent: &[u8]) -> String {
        let mut modulus = vec![0xff; bits / 8];
        modulus.insert(0, 0);
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        format!(r#""kty":"RSA","n":"{}","e":"{}""#, part(&modulus), part(exponent))
    }

    #[test]
    fn keys_of_the_three_kinds_are_read_with_their_names() {
        let key =
            one(&format!(r#"{EC},"kid":"a","use":"sig","alg":"ES256","key_ops":["sign","verify"]"#)).unwrap();
        assert!(key.kid.as_deref() == Some("a") && matches!(key.material, KeyMaterial::P256 { .. }));
        assert!(matches!(one(OKP).unwrap(), PublicKey { kid: None, material: KeyMaterial::Ed25519(_) }));
        let KeyMaterial::Rsa { modulus, exponent } = one(&rsa_key(2048, &[1, 0, 1])).unwrap().material else {
            panic!("another kind")
        };
        assert_eq!((modulus.len(), exponent.as_slice()), (256, [1, 0, 1].as_slice()));
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let cases = [
            (r#""kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ""#.to_owned(), "secret"),
            (r#""kty":"oct""#.to_owned(), "none of RSA"),
            (format!(r#"{EC},"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI""#), "secret"),
            (format!(r#"{EC},"use":"enc""#), "\"use\""),
            (format!(r#"{EC},"key_ops":["sign"]"#), "\"key_ops\""),
            (format!(r#"{EC},"alg":"RS256""#), "\"alg\""),
            (format!(r#"{OKP},"alg":"ES256""#), "\"alg\""),
            (format!(r#"{EC},"kid":7"#), "wrong type"),
            (EC.replace("P-256", "P-384"), "curve"),
            (OKP.replace("Ed25519", "Ed448"), "curve"),
            (EC.replace("f83OJ3", "f8"), "32 bytes"),
            (EC.replace("f83OJ3", "f8===="), "base64url"),
            (r#""kty":"EC","crv":"P-256","x":"AA""#.to_owned(), "32 bytes"),
            (rsa_key(1024, &[1, 0, 1]), "2048"),
            (rsa_key(2040, &[1, 0, 1]), "2048"),
            (rsa_key(16384, &[1, 0, 1]), "2048"),
            (rsa_key(2048, &[1]), "exponent"),
            (rsa_key(2048, &[2]), "exponent"),
            (rsa_key(2048, &[]), "exponent"),
            (rsa_key(2048, &[1, 0, 0, 0, 1]), "exponent"),
            (format!(r#"{},"alg":"PS256""#, rsa_key(2048, &[3])), "\"alg\""),
            (r#""crv":"P-256""#.to_owned(), "\"kty\""),
        ];
        for (key, why) in cases {
            let error = one(&key).unwrap_err();
            assert!(error.contains(why), "{key}: {error}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_leaves_the_others() {
        let set = KeySet::read(&format!(r#"{{"later":1,"keys":[{{"kty":"oct"}},{{{EC}}},7]}}"#)).unwrap();
        assert_eq!((set.keys.len(), set.left_out.len()), (1, 2));
        assert!(set.left_out[0].starts_with("key 1:") && set.left_out[1].starts_with("key 3:"));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "[]", "{", r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kid":"a","kid":"b"}]}"#] {
            assert_eq!(KeySet::read(text), Err(KeySetError::Syntax), "{text}");
        }
        assert_eq!(KeySet::read("{}"), Err(KeySetError::NoList));
        assert_eq!(KeySet::read(r#"{"keys":{}}"#), Err(KeySetError::NoList));
        assert_eq!(KeySet::read(r#"{"keys":[]}"#), Err(KeySetError::NoKey(Vec::new())));
    }

    #[test]
    fn a_long_set_is_cut() {
        let keys = vec![format!("{{{OKP}}}"); 200].join(",");
        let set = KeySet::read(&format!("{{\"keys\":[{keys}]}}")).unwrap();
        assert_eq!((set.keys.len(), set.left_out.len()), (MOST_KEYS, 1));
    }
}
