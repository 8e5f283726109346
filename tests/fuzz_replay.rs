//! Replays the corpus of every fuzz target, and mutations of it.
//!
//! `TURNPIKE_FUZZ_ROUNDS` says how many mutations each target gets; the soak tier sets it high. A failure
//! prints the bytes, which then belong into `tests/fuzz/corpus/<target>`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by it")]

#[path = "script/mod.rs"]
mod script;
#[path = "fuzz/targets.rs"]
#[allow(unreachable_pub, reason = "a fuzzer calls the targets by name")]
mod targets;
#[path = "script/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
mod world;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use script::TestRng;
use targets::TARGETS;

const USUAL_ROUNDS: usize = 200;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Bends an input: flips, writes, cuts, doubles, joins with another.
fn mutated(rng: &TestRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let below = |n: usize| (rng.draw() % n.max(1) as u64) as usize;
    let mut bytes = corpus[below(corpus.len())].clone();
    for _ in 0..=below(6) {
        let at = below(bytes.len());
        match below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => bytes[at] = rng.draw() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.draw() as u8),
            5 => {
                let part = bytes[at..bytes.len().min(at + below(32))].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes.truncate(4096);
    bytes
}

fn run(name: &str, target: fn(&[u8]), bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        panic!("{name} fails with {}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        inputs.iter().for_each(|bytes| run(name, *target, bytes));
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    let rounds = std::env::var("TURNPIKE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(USUAL_ROUNDS);
    for (name, target) in TARGETS {
        let (inputs, rng) = (corpus(name), TestRng::new(name.len() as u64));
        (0..rounds).for_each(|_| run(name, *target, &mutated(&rng, &inputs)));
    }
}
