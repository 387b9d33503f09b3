//! What a derivation costs, estimated from its parameters and never by running it.
//!
//! The rates are those of one core of 2020s server hardware (measured: PBKDF2-HMAC-SHA256 x1000 0.114 ms, Argon2id
//! 19 MiB t=2 15 ms). They serve two ends that need no more than their proportions: refusing stored hashes that were
//! made to burn our time, and holding all answers of a domain to its slowest chain.

use std::time::Duration;

use super::step::{DigestHash, Pbkdf2Hash, ShaCryptHash, Step};

/// Time and memory of one derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub time: Duration,
    pub memory_kib: u32,
}

/// The most that checking a source's hash may cost (design D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLimits {
    pub time: Duration,
    pub memory_kib: u32,
}

impl Default for CostLimits {
    fn default() -> Self {
        Self { time: Duration::from_millis(500), memory_kib: 256 * 1024 }
    }
}

/// Which limit a derivation would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    Time,
    Memory,
}

const PBKDF2_SHA256_NANOS: u64 = 114;
const PBKDF2_SHA1_NANOS: u64 = 110;
const PBKDF2_SHA512_NANOS: u64 = 443;
const SHA256_CRYPT_NANOS: u64 = 400;
const SHA512_CRYPT_NANOS: u64 = 600;
const BCRYPT_ROUND_NANOS: u64 = 52_000;
const ARGON2_KIB_PASS_NANOS: u64 = 400;
const DIGEST_NANOS: u64 = 1_000;

impl Cost {
    pub const ZERO: Self = Self { time: Duration::ZERO, memory_kib: 0 };

    pub(super) fn of(step: &Step) -> Self {
        let (nanos, memory_kib) = match step {
            Step::Md4Utf16 | Step::HexUpperUtf16 => (DIGEST_NANOS, 0),
            Step::Digest { hash, .. } => match hash {
                DigestHash::Md5 | DigestHash::Sha1 | DigestHash::Sha256 | DigestHash::Sha384 | DigestHash::Sha512 => {
                    (DIGEST_NANOS, 0)
                }
            },
            Step::Pbkdf2 { hash, iterations, .. } => {
                let each = match hash {
                    Pbkdf2Hash::Sha1 => PBKDF2_SHA1_NANOS,
                    Pbkdf2Hash::Sha256 => PBKDF2_SHA256_NANOS,
                    Pbkdf2Hash::Sha512 => PBKDF2_SHA512_NANOS,
                };
                (each.saturating_mul(u64::from(*iterations)), 0)
            }
            Step::ShaCrypt { hash, rounds, .. } => {
                let each = match hash {
                    ShaCryptHash::Sha256 => SHA256_CRYPT_NANOS,
                    ShaCryptHash::Sha512 => SHA512_CRYPT_NANOS,
                };
                (each.saturating_mul(u64::from(*rounds)), 0)
            }
            Step::Bcrypt { cost, .. } => (BCRYPT_ROUND_NANOS.saturating_mul(1_u64 << (*cost).min(31)), 4),
            Step::Argon2 { memory_kib, passes, .. } => {
                let units = u64::from(*memory_kib).saturating_mul(u64::from(*passes));
                (ARGON2_KIB_PASS_NANOS.saturating_mul(units), *memory_kib)
            }
        };
        Self { time: Duration::from_nanos(nanos), memory_kib }
    }

    /// The cost of doing both, one after the other.
    pub(super) fn then(self, next: Self) -> Self {
        Self { time: self.time.saturating_add(next.time), memory_kib: self.memory_kib.max(next.memory_kib) }
    }

    /// The limit that this cost exceeds, if any.
    pub fn excess(self, limits: CostLimits) -> Option<Excess> {
        if self.memory_kib > limits.memory_kib {
            Some(Excess::Memory)
        } else if self.time > limits.time {
            Some(Excess::Time)
        } else {
            None
        }
    }
}
