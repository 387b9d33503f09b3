//! The stable text form of a chain: `md4-utf16>hex-upper-utf16>pbkdf2-sha256(1000,SALT,32)>argon2id(19456,2,1,SALT,32)`.
//!
//! Salts are base64url without padding. A chain has exactly one text: numbers have no leading zeros and no signs, and
//! salts no stray bits, because the text is part of what the seal authenticates.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::chain::ChainError;
use super::step::{Argon2Variant, DigestHash, Pbkdf2Hash, ShaCryptHash, Step};

/// Longest text that is looked at.
const MAX_TEXT_BYTES: usize = 4096;

pub(super) fn write(steps: &[Step], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (position, step) in steps.iter().enumerate() {
        if position > 0 {
            f.write_str(">")?;
        }
        write_step(step, f)?;
    }
    Ok(())
}

fn write_step(step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let b64 = |salt: &[u8]| URL_SAFE_NO_PAD.encode(salt);
    match step {
        Step::Md4Utf16 => f.write_str("md4-utf16"),
        Step::HexUpperUtf16 => f.write_str("hex-upper-utf16"),
        Step::Digest { hash, salt } => write!(f, "{}({})", digest_word(*hash), b64(salt)),
        Step::Pbkdf2 { hash, iterations, salt, length } => {
            write!(f, "{}({iterations},{},{length})", pbkdf2_word(*hash), b64(salt))
        }
        Step::ShaCrypt { hash, rounds, salt } => write!(f, "{}({rounds},{})", sha_crypt_word(*hash), b64(salt)),
        Step::Bcrypt { cost, salt } => write!(f, "bcrypt({cost},{})", b64(salt)),
        Step::Argon2 { variant, memory_kib, passes, lanes, salt, length } => {
            write!(f, "{}({memory_kib},{passes},{lanes},{},{length})", argon2_word(*variant), b64(salt))
        }
    }
}

pub(super) fn read(text: &str) -> Result<Vec<Step>, ChainError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ChainError::Syntax);
    }
    text.split('>').take(super::chain::MAX_STEPS + 1).map(|step| read_step(step).ok_or(ChainError::Syntax)).collect()
}

fn read_step(text: &str) -> Option<Step> {
    let Some((word, rest)) = text.split_once('(') else {
        return match text {
            "md4-utf16" => Some(Step::Md4Utf16),
            "hex-upper-utf16" => Some(Step::HexUpperUtf16),
            _ => None,
        };
    };
    let arguments: Vec<&str> = rest.strip_suffix(')')?.split(',').collect();
    let named = |word_of: fn(DigestHash) -> &'static str| {
        [DigestHash::Md5, DigestHash::Sha1, DigestHash::Sha256, DigestHash::Sha384, DigestHash::Sha512]
            .into_iter()
            .find(|hash| word_of(*hash) == word)
    };
    match arguments[..] {
        [salt] => Some(Step::Digest { hash: named(digest_word)?, salt: read_salt(salt)? }),
        [number, salt] if word == "bcrypt" => {
            Some(Step::Bcrypt { cost: read_number(number)?, salt: read_salt(salt)?.try_into().ok()? })
        }
        [number, salt] => {
            let hash =
                [ShaCryptHash::Sha256, ShaCryptHash::Sha512].into_iter().find(|hash| sha_crypt_word(*hash) == word)?;
            Some(Step::ShaCrypt { hash, rounds: read_number(number)?, salt: read_salt(salt)? })
        }
        [iterations, salt, length] => {
            let hash = [Pbkdf2Hash::Sha1, Pbkdf2Hash::Sha256, Pbkdf2Hash::Sha512]
                .into_iter()
                .find(|hash| pbkdf2_word(*hash) == word)?;
            let iterations = read_number(iterations)?;
            Some(Step::Pbkdf2 { hash, iterations, salt: read_salt(salt)?, length: read_length(length)? })
        }
        [memory, passes, lanes, salt, length] => {
            let variant = [Argon2Variant::Argon2d, Argon2Variant::Argon2i, Argon2Variant::Argon2id]
                .into_iter()
                .find(|variant| argon2_word(*variant) == word)?;
            Some(Step::Argon2 {
                variant,
                memory_kib: read_number(memory)?,
                passes: read_number(passes)?,
                lanes: read_number(lanes)?,
                salt: read_salt(salt)?,
                length: read_length(length)?,
            })
        }
        _ => None,
    }
}

fn read_number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn read_length(text: &str) -> Option<usize> {
    usize::try_from(read_number(text)?).ok()
}

fn read_salt(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

const fn digest_word(hash: DigestHash) -> &'static str {
    match hash {
        DigestHash::Md5 => "md5",
        DigestHash::Sha1 => "sha1",
        DigestHash::Sha256 => "sha256",
        DigestHash::Sha384 => "sha384",
        DigestHash::Sha512 => "sha512",
    }
}

const fn pbkdf2_word(hash: Pbkdf2Hash) -> &'static str {
    match hash {
        Pbkdf2Hash::Sha1 => "pbkdf2-sha1",
        Pbkdf2Hash::Sha256 => "pbkdf2-sha256",
        Pbkdf2Hash::Sha512 => "pbkdf2-sha512",
    }
}

const fn sha_crypt_word(hash: ShaCryptHash) -> &'static str {
    match hash {
        ShaCryptHash::Sha256 => "sha256-crypt",
        ShaCryptHash::Sha512 => "sha512-crypt",
    }
}

const fn argon2_word(variant: Argon2Variant) -> &'static str {
    match variant {
        Argon2Variant::Argon2d => "argon2d",
        Argon2Variant::Argon2i => "argon2i",
        Argon2Variant::Argon2id => "argon2id",
    }
}
