//! The NT hash, and the PPH1 form in which hybrid identity carries it.

use std::fmt;

use rand::CryptoRng;
use zeroize::Zeroizing;

use super::base64_forms;
use super::pbkdf2;

use crate::credential::chain::Chain;
use crate::credential::derived::{DeriveError, Derived};
use crate::credential::output::ChainOutput;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{Pbkdf2Hash, Step};

/// MD4 of the password in UTF-16LE: `unicodePwd` of Active Directory, `sambaNTPassword` of Samba. Equivalent to the
/// password on a Windows network.
#[derive(Clone)]
pub struct NtHash(ChainOutput);

/// Bytes of a PPH1 salt.
pub const PPH1_SALT_BYTES: usize = 10;
/// The scheme under which it is written as a value.
pub const PPH1: &str = "{PPH1}";
const PPH1_KEY_BYTES: usize = 32;
/// Iterations of PPH1 as the field writes it.
const PPH1_ITERATIONS: u32 = 1_000;

impl NtHash {
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(ChainOutput::new(bytes.to_vec()))
    }

    /// The bytes, to be compared with a list and nothing else.
    pub(in crate::credential) fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The PPH1 chain of this hash under a salt of its own.
    pub fn into_pph1<R: CryptoRng + ?Sized>(self, rng: &mut R) -> Result<Derived, DeriveError> {
        let mut salt = vec![0; PPH1_SALT_BYTES];
        rng.fill_bytes(&mut salt);
        self.into_pph1_with(salt, PPH1_ITERATIONS)
    }

    /// The PPH1 chain under a given salt: PBKDF2-HMAC-SHA256 of the upper-case hexadecimal NT hash in UTF-16LE.
    pub fn into_pph1_with(self, salt: Vec<u8>, iterations: u32) -> Result<Derived, DeriveError> {
        Derived { chain: Chain::new(vec![Step::Md4Utf16])?, output: self.0 }
            .then(Step::HexUpperUtf16)?
            .then(Step::Pbkdf2 { hash: Pbkdf2Hash::Sha256, iterations, salt, length: PPH1_KEY_BYTES })
    }
}

impl NtHash {
    /// PPH1 as a value of its own, `{PPH1}iterations$salt$key`, which [`parse_user_password`](super::parse_user_password)
    /// reads.
    pub fn into_pph1_value(self, salt: Vec<u8>) -> Result<Zeroizing<String>, DeriveError> {
        let written = base64_forms::write_adapted(&salt);
        let key = self.into_pph1_with(salt, PPH1_ITERATIONS)?.output;
        let key = Zeroizing::new(base64_forms::write_adapted(key.expose()));
        Ok(Zeroizing::new(format!("{PPH1}{PPH1_ITERATIONS}${written}${}", *key)))
    }
}

/// The body of a `{PPH1}` value.
pub(super) fn parse_pph1(scheme: &'static str, body: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    let (iterations, salt, key) = pbkdf2::parts(scheme, body)?;
    if key.len() != PPH1_KEY_BYTES {
        return Err(malformed("its key has another length"));
    }
    let step = Step::Pbkdf2 { hash: Pbkdf2Hash::Sha256, iterations, salt, length: PPH1_KEY_BYTES };
    let chain = Chain::new(vec![Step::Md4Utf16, Step::HexUpperUtf16, step]);
    let chain = chain.map_err(|_| malformed("its parameters are outside the limits"))?;
    Ok(Derived { chain, output: ChainOutput::new(key) })
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(..)")
    }
}

/// Parses a `sambaNTPassword`: 32 hexadecimal digits of either case.
pub fn parse_nt_hash(value: &[u8]) -> Result<NtHash, Quarantine> {
    const SCHEME: &str = "sambaNTPassword";
    // Samba writes this for accounts that have no password.
    if value.starts_with(b"NO PASSWORD") {
        return Err(Quarantine::NoPassword);
    }
    if value.len() != 32 {
        return Err(Quarantine::Malformed { scheme: SCHEME, fault: "32 hexadecimal digits are expected" });
    }
    let mut bytes = zeroize::Zeroizing::new([0_u8; 16]);
    hex::decode_to_slice(value, bytes.as_mut_slice())
        .map_err(|_| Quarantine::Malformed { scheme: SCHEME, fault: "a character is not a hexadecimal digit" })?;
    Ok(NtHash::new(*bytes))
}
