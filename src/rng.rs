//! Randomness as an argument: every core is given its generator.

#![warn(missing_docs)]

/// Source of randomness; injected, so that the same seed gives the same output.
pub trait Rng {
    /// Fills `bytes` with random ones, fit for ports, tokens and secrets.
    fn fill(&mut self, bytes: &mut [u8]);
}
