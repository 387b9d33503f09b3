//! Password values as directories store them, computed here so that the product's own code is not its own oracle.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md4::Digest;

use super::process::run;

/// How a generated person's password is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Ssha,
    Ssha512,
    /// 10,000 rounds of PBKDF2-HMAC-SHA-512, as slapd's pw-pbkdf2 writes it.
    Pbkdf2Sha512,
    /// Argon2id, m=4096, t=3, p=1.
    Argon2,
    /// SHA-512 crypt.
    CryptSha512,
}

impl Scheme {
    /// The value of `userPassword`.
    pub fn hash(self, password: &str, salt: &[u8; 16]) -> String {
        match self {
            Self::Ssha => ssha(password, &salt[..8]),
            Self::Ssha512 => ssha512(password, &salt[..8]),
            Self::Pbkdf2Sha512 => pbkdf2_sha512(password, salt, 10_000),
            Self::Argon2 => argon2id(password, salt),
            Self::CryptSha512 => crypt_sha512(password, &hex::encode(&salt[..8])),
        }
    }
}

/// `{SSHA}`: base64 of SHA-1(password, salt) and the salt.
pub fn ssha(password: &str, salt: &[u8]) -> String {
    let mut value = sha1::Sha1::digest([password.as_bytes(), salt].concat()).to_vec();
    value.extend_from_slice(salt);
    format!("{{SSHA}}{}", STANDARD.encode(value))
}

/// `{SSHA512}` of pw-sha2.
pub fn ssha512(password: &str, salt: &[u8]) -> String {
    let mut value = sha2::Sha512::digest([password.as_bytes(), salt].concat()).to_vec();
    value.extend_from_slice(salt);
    format!("{{SSHA512}}{}", STANDARD.encode(value))
}

/// `{PBKDF2-SHA512}` of pw-pbkdf2: rounds, salt and key, in base64 with `.` for `+` and no padding.
pub fn pbkdf2_sha512(password: &str, salt: &[u8; 16], rounds: u32) -> String {
    let mut key = [0; 64];
    pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password.as_bytes(), salt, rounds, &mut key);
    let adapted = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
    format!("{{PBKDF2-SHA512}}{rounds}${}${}", adapted(salt), adapted(&key))
}

/// `{ARGON2}` with an Argon2id string in PHC format.
pub fn argon2id(password: &str, salt: &[u8; 16]) -> String {
    let mut key = [0; 32];
    let params = argon2::Params::new(4096, 3, 1, Some(32)).expect("valid parameters");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut key)
        .expect("valid lengths");
    let (salt, key) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(key));
    format!("{{ARGON2}}$argon2id$v=19$m=4096,t=3,p=1${salt}${key}")
}

/// `{CRYPT}` with SHA-512 crypt, by the openssl command.
pub fn crypt_sha512(password: &str, salt: &str) -> String {
    let hash = run(Command::new("openssl").args(["passwd", "-6", "-salt", salt, password]));
    format!("{{CRYPT}}{}", hash.trim())
}

/// `sambaNTPassword`: MD4 of the UTF-16LE password in upper-case hexadecimal.
pub fn nt_hash(password: &str) -> String {
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    hex::encode_upper(md4::Md4::digest(utf16))
}

/// Writes a list of these passwords, with how often each was met, among many others; what it was is replaced at once.
pub fn write_leaked_list(file: &Path, passwords: &[(&str, u64)]) {
    let mut hashes: BTreeMap<String, u64> = (0..3000_u32)
        .map(|number| (nt_hash(&format!("somebody else's {number}")), u64::from(number % 40) + 1))
        .collect();
    hashes.extend(passwords.iter().map(|(password, count)| (nt_hash(password), *count)));
    let lines = hashes.iter().map(|(hash, count)| format!("{}:{count}\r\n", hash.to_uppercase()));
    let other = file.with_extension("new");
    std::fs::write(&other, lines.collect::<String>()).expect("a list");
    std::fs::rename(&other, file).expect("the place of the list");
}
