//! The chain that stands in for users who have none: an unknown name must cost what a known one does.

use super::chain::{Chain, Match};
use super::derived::Argon2Cost;
use super::output::ChainOutput;
use super::step::{Argon2Variant, Step, StepError};
use crate::identity::PlainPassword;

impl Chain {
    /// Our Argon2id with a fixed salt.
    pub fn dummy(cost: Argon2Cost) -> Self {
        Self::new(vec![Step::Argon2 {
            variant: Argon2Variant::Argon2id,
            memory_kib: cost.memory_kib(),
            passes: cost.passes(),
            lanes: cost.lanes(),
            salt: vec![0; 16],
            length: 32,
        }])
        .expect("a checked Argon2 cost makes a chain")
    }

    /// Does the work of a check against this chain and finds nothing.
    pub fn verify_dummy(&self, password: &PlainPassword) -> Result<(), StepError> {
        // An output that no derivation has: the lengths differ.
        let nothing = ChainOutput::new(Vec::new());
        match self.verify(password, &nothing)? {
            Match::Same | Match::Different => Ok(()),
        }
    }
}
