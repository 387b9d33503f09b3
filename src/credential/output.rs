//! What a step of a chain puts out.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The output of a chain, or of one of its steps: password-equivalent until Argon2id, so it is erased when dropped,
/// compared in constant time and never printed.
#[derive(Clone)]
pub struct ChainOutput(Zeroizing<Vec<u8>>);

impl ChainOutput {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn zeros(length: usize) -> Self {
        Self::new(vec![0; length])
    }

    /// The bytes, for the next step or for the seal and nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Whether both are equal; the time taken depends on the lengths alone.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for ChainOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainOutput(..)")
    }
}
