//! A chain: the steps from a typed password to what is stored.

use std::fmt;

use super::cost::Cost;
use super::output::ChainOutput;
use super::step::{Argon2Variant, DigestHash, Step, StepError};
use crate::identity::PlainPassword;

/// One to [`MAX_STEPS`] steps, each within the limits of its function; those that take the typed password stand first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Vec<Step>);

/// Why steps or a text are not a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("a chain has one to eight steps")]
    Length,
    #[error("a step that takes the typed password is not the first")]
    Order,
    #[error("the parameters of a step are outside the limits of its function")]
    Parameters,
    #[error("the text is not a chain")]
    Syntax,
}

/// No source needs more than four.
pub const MAX_STEPS: usize = 8;
/// Longest salt; 389 Directory Server uses 64 bytes, others 4 to 24.
pub const MAX_SALT_BYTES: usize = 256;
/// Most PBKDF2 iterations that any known server writes (389 Directory Server's upper limit).
pub const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// Shortest output that a step of a chain may have: a shorter one would be matched by chance.
pub const MIN_OUTPUT_BYTES: usize = 16;

impl Chain {
    pub fn new(steps: Vec<Step>) -> Result<Self, ChainError> {
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(ChainError::Length);
        }
        if steps.iter().skip(1).any(Step::takes_password) {
            return Err(ChainError::Order);
        }
        if steps.iter().all(within_limits) { Ok(Self(steps)) } else { Err(ChainError::Parameters) }
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This chain with one more step at its end.
    pub fn then(&self, step: Step) -> Result<Self, ChainError> {
        let mut steps = self.0.clone();
        steps.push(step);
        Self::new(steps)
    }

    /// Runs all steps on a typed password. Costs what [`cost`](Self::cost) says.
    pub fn derive(&self, password: &PlainPassword) -> Result<ChainOutput, StepError> {
        self.derive_bytes(password.expose().as_bytes())
    }

    fn derive_bytes(&self, password: &[u8]) -> Result<ChainOutput, StepError> {
        let mut refused = None;
        let mut output: Option<ChainOutput> = None;
        for step in &self.0 {
            let input = output.as_ref().map_or(password, ChainOutput::expose);
            match step.run(input) {
                Ok(next) => output = Some(next),
                // The rest runs on, over zeros: the refusal must not be told by its time.
                Err(error @ StepError::BcryptInput) => {
                    refused = Some(error);
                    output = Some(ChainOutput::zeros(step.output_length(input.len())));
                }
                Err(error @ (StepError::Parameters | StepError::Memory)) => return Err(error),
            }
        }
        match (refused, output) {
            (Some(error), _) => Err(error),
            (None, Some(output)) => Ok(output),
            (None, None) => Err(StepError::Parameters),
        }
    }

    /// Whether `password` leads to `expected`. A password that the chain's scheme cannot take in whole is a wrong one.
    pub fn verify(&self, password: &PlainPassword, expected: &ChainOutput) -> Result<Match, StepError> {
        match self.derive(password) {
            Ok(output) if output.matches(expected) => Ok(Match::Same),
            Ok(_) | Err(StepError::BcryptInput) => Ok(Match::Different),
            Err(error) => Err(error),
        }
    }

    pub fn has_slow_step(&self) -> bool {
        self.0.iter().any(Step::is_slow)
    }

    /// Whether the chain ends in Argon2id at or above the floor and needs no wrapping (design D7).
    pub fn is_wrapped(&self) -> bool {
        matches!(self.0.last(), Some(Step::Argon2 { variant: Argon2Variant::Argon2id, memory_kib, passes, .. })
            if *memory_kib >= super::derived::FLOOR.memory_kib && *passes >= super::derived::FLOOR.passes)
    }

    /// What one derivation costs, estimated from the parameters.
    pub fn cost(&self) -> Cost {
        self.0.iter().map(Cost::of).fold(Cost::ZERO, Cost::then)
    }
}

/// What a verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Match {
    Same,
    Different,
}

impl fmt::Display for Chain {
    /// The stable text form, part of the seal's associated data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::chain_text::write(&self.0, f)
    }
}

impl std::str::FromStr for Chain {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(super::chain_text::read(text)?)
    }
}

fn within_limits(step: &Step) -> bool {
    let salt_fits = |salt: &[u8]| salt.len() <= MAX_SALT_BYTES;
    match step {
        Step::Md4Utf16 | Step::HexUpperUtf16 => true,
        Step::Digest { hash, salt } => salt_fits(salt) && hash.length() >= DigestHash::Md5.length(),
        Step::Pbkdf2 { hash, iterations, salt, length } => {
            salt_fits(salt)
                && (1..=MAX_PBKDF2_ITERATIONS).contains(iterations)
                && (MIN_OUTPUT_BYTES..=hash.block()).contains(length)
        }
        Step::ShaCrypt { rounds, salt, .. } => {
            salt.len() <= 16
                && !salt.contains(&b'$')
                && (sha_crypt::Params::ROUNDS_MIN..=sha_crypt::Params::ROUNDS_MAX).contains(rounds)
        }
        Step::Bcrypt { cost, .. } => (4..=31).contains(cost),
        Step::Argon2 { memory_kib, passes, lanes, salt, length, .. } => {
            salt_fits(salt)
                && salt.len() >= argon2::MIN_SALT_LEN
                && *passes >= 1
                && (1..=255).contains(lanes)
                && *memory_kib >= 8 * lanes
                && (MIN_OUTPUT_BYTES..=128).contains(length)
        }
    }
}
