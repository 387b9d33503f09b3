//! The chain that stands in for users who have none: an unknown name must cost what a known one does.

use super::chain::{Chain, Match};
use super::derived::{Hardening, SEALED_PBKDF2_ITERATIONS};
use super::output::ChainOutput;
use super::step::{Argon2Variant, Pbkdf2Hash, Step, StepError};
use crate::identity::PlainPassword;

impl Chain {
    /// What chains end in under `hardening`, with a fixed salt.
    pub fn dummy(hardening: Hardening) -> Self {
        let step = match hardening {
            Hardening::Argon2id(cost) => Step::Argon2 {
                variant: Argon2Variant::Argon2id,
                memory_kib: cost.memory_kib(),
                passes: cost.passes(),
                lanes: cost.lanes(),
                salt: vec![0; 16],
                length: 32,
            },
            Hardening::Sealed => Step::Pbkdf2 {
                hash: Pbkdf2Hash::Sha256,
                iterations: SEALED_PBKDF2_ITERATIONS,
                salt: vec![0; 16],
                length: 32,
            },
        };
        Self::new(vec![step]).expect("the parameters of our own steps are within the limits")
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
