//! A chain together with its last output: what is stored for a user, before the seal.

use rand::CryptoRng;

use super::chain::{Chain, ChainError, Match};
use super::output::ChainOutput;
use super::step::{Argon2Variant, Pbkdf2Hash, Step, StepError};
use crate::identity::PlainPassword;

/// A stored password outside its seal. Holds a secret: no `Debug` text shows it.
#[derive(Clone, Debug)]
pub struct Derived {
    pub chain: Chain,
    pub output: ChainOutput,
}

/// Parameters of our own Argon2id (RFC 9106), never below [`FLOOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The least memory and passes of an Argon2id that counts as finished.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    pub memory_kib: u32,
    pub passes: u32,
}

/// OWASP's floor: 19 MiB, two passes, one lane.
pub const FLOOR: Floor = Floor { memory_kib: 19_456, passes: 2 };

/// What a stored chain ends in (design D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardening {
    /// Argon2id, added in the background; the default.
    Argon2id(Argon2Cost),
    /// The seal alone. Chains without a slow step get a PBKDF2 first.
    Sealed,
}

/// Parameters below the floor, or above what one check may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Argon2id needs at least 19456 KiB and 2 passes, and at most 256 MiB, 500 ms and 16 lanes")]
pub struct Argon2CostError;

#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    #[error("a step could not be run")]
    Step(#[from] StepError),
    #[error("the chain could not be extended")]
    Chain(#[from] ChainError),
}

const OUTPUT_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// Iterations of the PBKDF2 that `Hardening::Sealed` puts behind a fast hash: a quarter of a millisecond, so that a
/// core still checks more than a thousand passwords a second.
pub(super) const SEALED_PBKDF2_ITERATIONS: u32 = 2_000;

impl Argon2Cost {
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Argon2CostError> {
        let cost = Self { memory_kib, passes, lanes };
        let above_floor = memory_kib >= FLOOR.memory_kib && passes >= FLOOR.passes && (1..=16).contains(&lanes);
        let step = cost.step(vec![0; SALT_BYTES]);
        if above_floor && super::cost::Cost::of(&step).excess(super::cost::CostLimits::default()).is_none() {
            Ok(cost)
        } else {
            Err(Argon2CostError)
        }
    }

    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    pub const fn passes(self) -> u32 {
        self.passes
    }

    pub const fn lanes(self) -> u32 {
        self.lanes
    }

    fn step(self, salt: Vec<u8>) -> Step {
        Step::Argon2 {
            variant: Argon2Variant::Argon2id,
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
            salt,
            length: OUTPUT_BYTES,
        }
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: FLOOR.memory_kib, passes: FLOOR.passes, lanes: 1 }
    }
}

impl Derived {
    /// A password of our own: Argon2id over the password itself.
    pub fn from_password<R: CryptoRng + ?Sized>(
        password: &PlainPassword,
        cost: Argon2Cost,
        rng: &mut R,
    ) -> Result<Self, DeriveError> {
        let chain = Chain::new(vec![cost.step(salt(rng))])?;
        let output = chain.derive(password)?;
        Ok(Self { chain, output })
    }

    /// Appends a step, computed from the last output.
    pub fn then(self, step: Step) -> Result<Self, DeriveError> {
        let output = step.run(self.output.expose())?;
        Ok(Self { chain: self.chain.then(step)?, output })
    }

    /// Appends an Argon2id step with a salt of its own. Costs one Argon2id.
    pub fn wrap<R: CryptoRng + ?Sized>(self, cost: Argon2Cost, rng: &mut R) -> Result<Self, DeriveError> {
        self.then(cost.step(salt(rng)))
    }

    /// What has to happen before a freshly imported chain may be sealed under `hardening`.
    pub fn ready_to_seal<R: CryptoRng + ?Sized>(self, hardening: Hardening, rng: &mut R) -> Result<Self, DeriveError> {
        match hardening {
            Hardening::Sealed if !self.chain.has_slow_step() => self.then(Step::Pbkdf2 {
                hash: Pbkdf2Hash::Sha256,
                iterations: SEALED_PBKDF2_ITERATIONS,
                salt: salt(rng),
                length: OUTPUT_BYTES,
            }),
            Hardening::Sealed | Hardening::Argon2id(_) => Ok(self),
        }
    }

    pub fn verify(&self, password: &PlainPassword) -> Result<Match, StepError> {
        self.chain.verify(password, &self.output)
    }
}

fn salt<R: CryptoRng + ?Sized>(rng: &mut R) -> Vec<u8> {
    let mut salt = vec![0; SALT_BYTES];
    rng.fill_bytes(&mut salt);
    salt
}
