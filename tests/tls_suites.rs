//! What TLS offers: `net` takes the suites of this provider and the versions of rustls as they are.
#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use rustls::{ALL_VERSIONS, ProtocolVersion};

#[test]
fn every_suite_has_forward_secrecy_and_no_version_is_below_1_2() {
    // T-8489-6.2.3-01, T-8489-6.2.3-02
    let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    let names: Vec<String> = suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    assert!(
        names.iter().all(|name| name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_")),
        "{names:?}"
    );
    let weak = ["RC4", "DES", "NULL", "EXPORT", "CBC"];
    assert!(!names.iter().any(|name| weak.iter().any(|weak| name.contains(weak))), "{names:?}");
    assert!(names.contains(&"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()));
    let versions: Vec<_> = ALL_VERSIONS.iter().map(|version| version.version).collect();
    assert_eq!(versions, [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]);
}
