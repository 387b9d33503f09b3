//! The two secrets: the sync account's password and the hashes that are read.

use std::fmt;

use md4::{Digest, Md4};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A password in clear. Erased when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The NT hash of a password: MD4 over its UTF-16LE code units (MS-NLMP 3.3.1, NTOWFv1). Whoever holds it can sign in as
/// its owner. Erased when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct NtHash([u8; 16]);

impl NtHash {
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The hash of a password as typed; nothing is normalised.
    pub fn of(password: &Password) -> Self {
        let units: Zeroizing<Vec<u8>> =
            Zeroizing::new(password.expose().encode_utf16().flat_map(u16::to_le_bytes).collect());
        Self(Md4::digest(&*units).into())
    }

    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(password: &str) -> String {
        NtHash::of(&Password::new(password.to_owned())).expose().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn nt_hashes_equal_the_published_ones() {
        for (password, hash) in [
            ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
            ("Pa$$w0rd", "92937945b518814341de3f726500d4ff"),
            ("Pâsswörd€", "4f74f2b51775652b9ec4bf40ac971b4d"),
            ("🔑Key", "8cc40b2ac6141f1bd1db89ac18e703ef"),
        ] {
            assert_eq!(hash_of(password), hash, "{password}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Password::new("open sesame".to_owned())), "Password(..)");
        assert_eq!(format!("{:?}", NtHash::new([7; 16])), "NtHash(..)");
    }
}
