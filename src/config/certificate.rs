//! Certificates: PEM files of the user, or one that the daemon signs itself.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::config::mistake::Fault;
use crate::config::state::{self, Existing, StateError};
use crate::config::types::Certificate;

const DAY: u64 = 86400;
/// Browsers refuse certificates that live longer than 398 days.
const LIFETIME_DAYS: u64 = 397;
const RENEWAL_DAYS: u64 = 30;
const SELF_SIGNED_FILE: &str = "self-signed.pem";

/// Loads a chain and its key from PEM files, at start and again on reload.
pub fn load(cert: &Path, key: &Path) -> Result<Certificate, Fault> {
    join(read_chain(cert)?, read_key(key)?)
}

pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    chain(&read(path)?)
}

pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    key(&read(path)?)
}

/// Checks that key and leaf belong together.
pub fn join(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Certificate, Fault> {
    let dns_names = chain.first().map(dns_names).unwrap_or_default();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified_key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        if let rustls::Error::InconsistentKeys(_) = error {
            return Fault::new(
                "the key does not belong to the certificate",
                "give the key that it was issued for",
            );
        }
        Fault::new(format!("certificate and key cannot be used: {error}"), "check both files")
    })?;
    Ok(Certificate { certified_key: Arc::new(certified_key), dns_names })
}

/// Reads the certificate of the daemon's own or makes it; the flag tells whether it is new.
///
/// It is made again when a name is missing in it or it expires within 30 days.
pub fn read_or_make_self_signed(
    directory: &Path,
    names: &[String],
    now_unix: u64,
) -> Result<(Certificate, bool), StateError> {
    let path = directory.join(SELF_SIGNED_FILE);
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) if is_current(&text, names, now_unix) => {
            // A damaged file is replaced like an old one.
            if let Ok(certificate) =
                chain(text.as_bytes()).and_then(|chain| join(chain, key(text.as_bytes())?))
            {
                return Ok((certificate, false));
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StateError::new(&path, format!("cannot be read: {error}"))),
    }
    let text = make(names, now_unix).map_err(|error| StateError::new(&path, error))?;
    state::create_directory(directory)?;
    state::write_private(&path, text.as_bytes(), Existing::Replace)?;
    let certificate = chain(text.as_bytes()).and_then(|chain| join(chain, key(text.as_bytes())?));
    certificate.map(|certificate| (certificate, true)).map_err(|fault| StateError::new(&path, fault.problem))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    fs::read(path).map(Zeroizing::new).map_err(|error| {
        Fault::new(format!("the file cannot be read: {error}"), "check path and permissions")
    })
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let advice = "give a PEM file that begins with -----BEGIN CERTIFICATE-----";
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Fault::new("there is no certificate in the file", advice)),
        Ok(chain) => Ok(chain),
        Err(error) => Err(Fault::new(format!("the file is not PEM: {error}"), advice)),
    }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let advice = "give a PEM file with an unencrypted PKCS#8, PKCS#1 or SEC1 key";
        Fault::new("there is no private key in the file", advice)
    })
}

fn dns_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let leaf = webpki::EndEntityCert::try_from(leaf);
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}

fn make(names: &[String], now_unix: u64) -> Result<Zeroizing<String>, rcgen::Error> {
    let not_after = now_unix + LIFETIME_DAYS * DAY;
    let mut parameters = rcgen::CertificateParams::new(names)?;
    let (year, month, day) = civil_date(now_unix.saturating_sub(DAY));
    parameters.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = civil_date(not_after);
    parameters.not_after = rcgen::date_time_ymd(year, month, day);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "turnpike self-signed");
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let header = format!("names: {}\nnot-after: {not_after}\n", names.join(" "));
    Ok(Zeroizing::new(format!("{header}{}{}", certificate.pem(), *Zeroizing::new(key.serialize_pem()))))
}

fn is_current(text: &str, names: &[String], now_unix: u64) -> bool {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let kept: Vec<&str> = field("names: ").unwrap_or_default().split(' ').collect();
    let not_after: u64 = field("not-after: ").and_then(|text| text.parse().ok()).unwrap_or(0);
    let covers_all = names.iter().all(|name| kept.contains(&name.as_str()));
    covers_all && not_after > now_unix + RENEWAL_DAYS * DAY
}

/// Returns the day of a time in the civil calendar (Howard Hinnant, `civil_from_days`).
fn civil_date(unix: u64) -> (i32, u8, u8) {
    let days = unix / DAY + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year as i32, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn days_since_1970_become_dates() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(951_782_400), (2000, 2, 29));
        assert_eq!(civil_date(NOW), (2026, 9, 21));
    }

    #[test]
    fn a_self_signed_certificate_is_kept_while_it_serves() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = names(&["turn.example.org", "localhost", "127.0.0.1", "::1"]);
        let (first, new) = read_or_make_self_signed(directory.path(), &wanted, NOW).unwrap();
        assert!(new);
        assert_eq!(first.dns_names, ["turn.example.org", "localhost"]);
        let (second, new) = read_or_make_self_signed(directory.path(), &wanted[..2], NOW).unwrap();
        assert!(!new);
        assert_eq!(first.certified_key.cert, second.certified_key.cert);
        let mode = fs::metadata(directory.path().join(SELF_SIGNED_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_self_signed_certificate_is_made_again_for_a_new_name_or_near_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let make =
            |wanted: &[&str], now| read_or_make_self_signed(directory.path(), &names(wanted), now).unwrap().1;
        assert!(make(&["a"], NOW));
        assert!(make(&["a", "b"], NOW));
        assert!(!make(&["a", "b"], NOW + 366 * DAY));
        assert!(make(&["a", "b"], NOW + 368 * DAY));
    }

    #[test]
    fn a_damaged_self_signed_certificate_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let header = format!("names: a\nnot-after: {}\n", NOW + 300 * DAY);
        fs::write(directory.path().join(SELF_SIGNED_FILE), header).unwrap();
        assert!(read_or_make_self_signed(directory.path(), &names(&["a"]), NOW).unwrap().1);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let one = make(&names(&["a"]), NOW).unwrap();
        let two = make(&names(&["a"]), NOW).unwrap();
        let fault = join(chain(one.as_bytes()).unwrap(), key(two.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(fault.problem, "the key does not belong to the certificate");
    }

    #[test]
    fn files_without_pem_are_named_for_what_they_lack() {
        assert_eq!(chain(b"hello").unwrap_err().problem, "there is no certificate in the file");
        assert_eq!(key(b"hello").unwrap_err().problem, "there is no private key in the file");
        assert!(
            load(Path::new("/nonexistent"), Path::new("/nonexistent")).unwrap_err().problem.contains("read")
        );
    }
}
