//! Secret attributes as they are replicated (MS-DRSR 4.1.10.6.8 and the value encryption of section 5): RC4 under a key
//! of session key and salt with a checksum inside, and for hashes a second layer of DES under the account's relative id.

use des::Des;
use des::cipher::{BlockCipherDecrypt, KeyInit};
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};
use zeroize::Zeroizing;

use crate::account::Unreadable;
use crate::password::NtHash;

const SALT: usize = 16;
const CHECKSUM: usize = 4;

/// The key of the security context (16 bytes by NTLM, 16 or 32 by Kerberos), not the one of the RPC runtime.
pub(crate) struct SessionKey(Zeroizing<Vec<u8>>);

impl SessionKey {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The outer layer: `salt || RC4(MD5(key || salt), crc32 || body)`.
    pub(crate) fn open(&self, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let (salt, sealed) = value.split_at_checked(SALT).ok_or(Unreadable::Truncated)?;
        if sealed.len() < CHECKSUM {
            return Err(Unreadable::Truncated);
        }
        let key: Zeroizing<[u8; 16]> =
            Zeroizing::new(Md5::new().chain_update(&*self.0).chain_update(salt).finalize().into());
        let mut open = Zeroizing::new(sealed.to_vec());
        Rc4::new_from_slice(&*key).expect("RC4 takes keys of 16 bytes").apply_keystream(&mut open);
        let (checksum, body) = open.split_first_chunk::<CHECKSUM>().expect("longer than its checksum");
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(Unreadable::Checksum);
        }
        Ok(Zeroizing::new(body.to_vec()))
    }

    /// Both layers of `unicodePwd`.
    pub(crate) fn open_hash(&self, value: &[u8], relative_id: u32) -> Result<NtHash, Unreadable> {
        let body = self.open(value)?;
        let body: &[u8; 16] = body.as_slice().try_into().map_err(|_| Unreadable::Length)?;
        Ok(remove_relative_id(body, relative_id))
    }
}

/// The inner layer (MS-SAMR 2.2.11.1.3): two halves under two keys made of the relative id. It has no checksum: a wrong id
/// gives a wrong hash.
fn remove_relative_id(body: &[u8; 16], relative_id: u32) -> NtHash {
    let [a, b, c, d] = relative_id.to_le_bytes();
    let mut open = Zeroizing::new(*body);
    for (half, key) in open.as_chunks_mut::<8>().0.iter_mut().zip([[a, b, c, d, a, b, c], [d, a, b, c, d, a, b]]) {
        let mut block = (*half).into();
        Des::new(&des_key(key).into()).decrypt_block(&mut block);
        *half = block.into();
    }
    NtHash::new(*open)
}

/// Seven bytes spread over eight; the lowest bit of each is parity, which DES ignores (MS-SAMR 2.2.11.1.2).
pub(crate) fn des_key(bytes: [u8; 7]) -> [u8; 8] {
    let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|i| u8::try_from(bits >> (49 - 7 * i) & 0x7f).expect("seven bits") << 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    const KEY: &str = "b0133bfc9ce59c805dd15d5872e247c5";
    const VALUE: &str = "e650e0179becf540e1e6dbe37deb38b379618228d74d9ff7e08a588c2a6fbd511ad78f61";

    // From the tests of DSInternals (ReplicationSecretDecryptorTester.cs).
    #[test]
    fn published_secrets_open() {
        let other_key = "7dfee67fc2476e6bc1b68563e5ee7614";
        let other = "fd2db3a4edba8fb08cf372b701449c1c28ddb6fcd70226fa571d490f9798f30efe6454fc";
        for (key, value, relative_id, hash) in [
            (KEY, VALUE, 500, "92937945b518814341de3f726500d4ff"),
            (other_key, other, 35093, "727e3576618fa1754a3b108f3fa6cb6d"),
        ] {
            let opened = SessionKey::new(hex(key)).open_hash(&hex(value), relative_id).unwrap();
            assert_eq!(opened.expose().as_slice(), hex(hash));
        }
    }

    #[test]
    fn a_history_opens_hash_by_hash() {
        let key = SessionKey::new(hex("f029c008decee208f36450cc1f767892"));
        let value = hex(concat!(
            "491e1b5e8ff95982ccedc4ff2c50ad5fe154650df83e8430ede739271da2e03d9aa99aa8d4b598ef56c9650eb71a233a",
            "9fd580f4d9c2dbc33f92e0002e1d2901050fb5d7f66ca3555e5befbf322cd23c1eeaaf7c"
        ));
        let body = key.open(&value).unwrap();
        let hashes: Vec<_> = body.as_chunks::<16>().0.iter().map(|hash| remove_relative_id(hash, 1375)).collect();
        assert_eq!(hashes[0].expose().as_slice(), hex("a4ff9743bdda4849cb2108d2ceb5c5b9"));
        assert_eq!(hashes[3].expose().as_slice(), hex("92937945b518814341de3f726500d4ff"));
    }

    #[test]
    fn another_key_or_a_changed_bit_is_refused() {
        assert_eq!(SessionKey::new(vec![0; 16]).open_hash(&hex(VALUE), 500), Err(Unreadable::Checksum));
        let key = SessionKey::new(hex(KEY));
        for bit in 0..VALUE.len() / 2 * 8 {
            let mut value = hex(VALUE);
            value[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open_hash(&value, 500), Err(Unreadable::Checksum), "bit {bit}");
        }
        for length in 0..SALT + CHECKSUM {
            assert_eq!(key.open_hash(&hex(VALUE)[..length], 500), Err(Unreadable::Truncated));
        }
    }

    proptest! {
        #[test]
        fn values_of_any_kind_are_refused(value in prop::collection::vec(any::<u8>(), 0..100), relative_id: u32) {
            prop_assert!(SessionKey::new(hex(KEY)).open_hash(&value, relative_id).is_err());
        }
    }
}
