//! A password value of a source, understood.

use rand::CryptoRng;

use super::nt::NtHash;
use crate::credential::derived::{Argon2Cost, DeriveError, Derived};
use crate::identity::PlainPassword;

/// What a source keeps for an account.
#[derive(Debug)]
pub enum SourceValue {
    /// A hash, with the chain that leads to it.
    Hashed(Derived),
    /// The NT hash of Active Directory and Samba.
    Nt(NtHash),
    /// The password itself, where the connector's settings accept that.
    Clear(PlainPassword),
}

impl SourceValue {
    /// Makes what is to be sealed. An NT hash costs one PBKDF2 of 1000 iterations, clear text one Argon2id, a hash
    /// nothing.
    pub fn into_derived<R: CryptoRng + ?Sized>(self, cost: Argon2Cost, rng: &mut R) -> Result<Derived, DeriveError> {
        match self {
            Self::Hashed(derived) => Ok(derived),
            Self::Nt(hash) => hash.into_pph1(rng),
            Self::Clear(password) => Derived::from_password(&password, cost, rng),
        }
    }

    /// Which of several values of one account to keep: the one that costs a guesser most.
    pub(super) fn strength(&self) -> std::time::Duration {
        match self {
            Self::Hashed(derived) => derived.chain.cost().time,
            Self::Nt(_) => std::time::Duration::ZERO,
            Self::Clear(_) => std::time::Duration::MAX,
        }
    }
}
