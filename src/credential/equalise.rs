//! Equal work for unequal chains: no answer's time may tell whether a user exists or which scheme the hash has.

use std::time::Duration;

use super::chain::{Chain, Match};
use super::cost::{Cost, PBKDF2_SHA256_NANOS};
use super::derived::Argon2Cost;
use super::output::ChainOutput;
use super::step::{Argon2Variant, Pbkdf2Hash, Step, StepError};
use crate::identity::PlainPassword;

impl Chain {
    /// The chain that stands in for a user who has none: our Argon2id with a fixed salt.
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

    /// Does the work of a check against this chain and of the rest up to `slowest`, and finds nothing.
    pub fn verify_dummy(&self, password: &PlainPassword, slowest: Cost) -> Result<(), StepError> {
        // An output that no derivation has: the lengths differ.
        let nothing = ChainOutput::new(Vec::new());
        match self.verify_equalised(password, &nothing, slowest)? {
            Match::Same | Match::Different => Ok(()),
        }
    }

    /// [`verify`](Chain::verify), and then as much work as is missing to `slowest`, the cost of the domain's slowest
    /// chain, whatever the outcome.
    pub fn verify_equalised(
        &self,
        password: &PlainPassword,
        expected: &ChainOutput,
        slowest: Cost,
    ) -> Result<Match, StepError> {
        let found = self.verify(password, expected)?;
        spend(slowest.time.saturating_sub(self.cost().time))?;
        Ok(found)
    }
}

/// Burns about `time` of one core, by estimate: the same scale by which chains are compared, so that both stretch
/// alike on a slower machine.
fn spend(time: Duration) -> Result<(), StepError> {
    let iterations = u32::try_from(time.as_nanos() / u128::from(PBKDF2_SHA256_NANOS)).unwrap_or(u32::MAX);
    if iterations == 0 {
        return Ok(());
    }
    let work = Step::Pbkdf2 { hash: Pbkdf2Hash::Sha256, iterations, salt: vec![0; 16], length: 32 };
    std::hint::black_box(work.run(b"equal work for all")?);
    Ok(())
}
