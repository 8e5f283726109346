//! How often a property is tried, and where its failures are kept.

use proptest::test_runner::{Config, FileFailurePersistence};

/// Returns the settings of a property: `PROPTEST_CASES`, else `usual` cases.
pub fn cases(usual: u32, regressions: &'static str) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(regressions)) as _);
    Config { cases, failure_persistence, ..Config::default() }
}
