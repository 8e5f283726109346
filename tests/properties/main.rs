//! Invariants of the relay core over random histories.
//!
//! `PROPTEST_CASES` says how often each is tried; failures are kept in `tests/regressions`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by it")]

#[path = "../script/cases.rs"]
#[allow(unreachable_pub, reason = "each test binary uses a part")]
mod cases;
#[path = "../script/mod.rs"]
mod script;
#[path = "../script/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod world;

mod histories;
mod noise;
mod quotas;
