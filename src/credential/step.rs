//! One step of a chain: a published function from bytes to bytes, with its parameters.

use argon2::Argon2;
use md4::Md4;
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::output::ChainOutput;

/// A derivation step. Salts are public; no step holds anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// MD4 of the password in UTF-16LE, as typed and without normalisation: the NT hash (MS-NLMP, section 3.3.1).
    Md4Utf16,
    /// Upper-case hexadecimal digits of the input, in UTF-16LE.
    HexUpperUtf16,
    /// `H(input || salt)`; an empty salt for the unsalted schemes (RFC 2307, section 5.3).
    Digest { hash: DigestHash, salt: Vec<u8> },
    /// PBKDF2 with HMAC (RFC 8018, section 5.2).
    Pbkdf2 { hash: Pbkdf2Hash, iterations: u32, salt: Vec<u8>, length: usize },
    /// The SHA-crypt of Unix, `$5$` and `$6$`; the output is the raw digest, not its text.
    ShaCrypt { hash: ShaCryptHash, rounds: u32, salt: Vec<u8> },
    /// bcrypt as `$2a$`, `$2b$` and `$2y$` do it; the output is the 23 bytes that the text form holds.
    Bcrypt { cost: u32, salt: [u8; 16] },
    /// Argon2 version 1.3 (RFC 9106).
    Argon2 { variant: Argon2Variant, memory_kib: u32, passes: u32, lanes: u32, salt: Vec<u8>, length: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestHash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pbkdf2Hash {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShaCryptHash {
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argon2Variant {
    Argon2d,
    Argon2i,
    Argon2id,
}

/// Why a step could not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// bcrypt reads 72 bytes and ignores the rest, so that passwords which differ later would all be right. What it
    /// would not read is refused instead: the password counts as wrong.
    #[error("the password is longer than the 72 bytes that bcrypt reads")]
    BcryptInput,
    #[error("the parameters of a step are outside the limits of its function")]
    Parameters,
    #[error("there is not enough memory for the derivation")]
    Memory,
}

/// Most bytes that bcrypt takes in.
const BCRYPT_INPUT_BYTES: usize = 72;

impl DigestHash {
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Pbkdf2Hash {
    /// The output length of one block: more blocks cost more and prove nothing more.
    pub const fn block(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl Step {
    /// Whether guessing is held up by this step by itself.
    pub const fn is_slow(&self) -> bool {
        match self {
            Self::Md4Utf16 | Self::HexUpperUtf16 | Self::Digest { .. } => false,
            Self::Pbkdf2 { .. } | Self::ShaCrypt { .. } | Self::Bcrypt { .. } | Self::Argon2 { .. } => true,
        }
    }

    /// Whether the step takes the typed password itself and so can only be the first.
    pub const fn takes_password(&self) -> bool {
        match self {
            Self::Md4Utf16 | Self::ShaCrypt { .. } | Self::Bcrypt { .. } => true,
            Self::HexUpperUtf16 | Self::Digest { .. } | Self::Pbkdf2 { .. } | Self::Argon2 { .. } => false,
        }
    }

    /// The length of what the step puts out for an input of `input` bytes.
    pub const fn output_length(&self, input: usize) -> usize {
        match self {
            Self::Md4Utf16 => 16,
            Self::HexUpperUtf16 => input * 4,
            Self::Digest { hash, .. } => hash.length(),
            Self::Pbkdf2 { length, .. } | Self::Argon2 { length, .. } => *length,
            Self::ShaCrypt { hash: ShaCryptHash::Sha256, .. } => 32,
            Self::ShaCrypt { hash: ShaCryptHash::Sha512, .. } => 64,
            Self::Bcrypt { .. } => 23,
        }
    }

    /// Runs the step. The first step of a chain is given the password in UTF-8.
    pub fn run(&self, input: &[u8]) -> Result<ChainOutput, StepError> {
        match self {
            Self::Md4Utf16 => md4_utf16(input),
            Self::HexUpperUtf16 => Ok(hex_upper_utf16(input)),
            Self::Digest { hash, salt } => Ok(match hash {
                DigestHash::Md5 => digest::<Md5>(&[input, salt]),
                DigestHash::Sha1 => digest::<Sha1>(&[input, salt]),
                DigestHash::Sha256 => digest::<Sha256>(&[input, salt]),
                DigestHash::Sha384 => digest::<Sha384>(&[input, salt]),
                DigestHash::Sha512 => digest::<Sha512>(&[input, salt]),
            }),
            Self::Pbkdf2 { hash, iterations, salt, length } => {
                let mut output = ChainOutput::zeros(*length);
                let out = output.expose_mut();
                match hash {
                    Pbkdf2Hash::Sha1 => pbkdf2_hmac::<Sha1>(input, salt, *iterations, out),
                    Pbkdf2Hash::Sha256 => pbkdf2_hmac::<Sha256>(input, salt, *iterations, out),
                    Pbkdf2Hash::Sha512 => pbkdf2_hmac::<Sha512>(input, salt, *iterations, out),
                }
                Ok(output)
            }
            Self::ShaCrypt { hash, rounds, salt } => {
                let params = sha_crypt::Params::new(*rounds).map_err(|_| StepError::Parameters)?;
                Ok(match hash {
                    ShaCryptHash::Sha256 => taken(&mut sha_crypt::sha256_crypt(input, salt, params)),
                    ShaCryptHash::Sha512 => taken(&mut sha_crypt::sha512_crypt(input, salt, params)),
                })
            }
            Self::Bcrypt { cost, salt } => bcrypt(input, *cost, *salt),
            Self::Argon2 { variant, memory_kib, passes, lanes, salt, length } => {
                let params = argon2::Params::new(*memory_kib, *passes, *lanes, Some(*length))
                    .map_err(|_| StepError::Parameters)?;
                let algorithm = match variant {
                    Argon2Variant::Argon2d => argon2::Algorithm::Argon2d,
                    Argon2Variant::Argon2i => argon2::Algorithm::Argon2i,
                    Argon2Variant::Argon2id => argon2::Algorithm::Argon2id,
                };
                let mut output = ChainOutput::zeros(*length);
                Argon2::new(algorithm, argon2::Version::V0x13, params)
                    .hash_password_into(input, salt, output.expose_mut())
                    .map_err(|error| match error {
                        argon2::Error::OutOfMemory => StepError::Memory,
                        _ => StepError::Parameters,
                    })?;
                Ok(output)
            }
        }
    }
}

fn md4_utf16(password: &[u8]) -> Result<ChainOutput, StepError> {
    let text = std::str::from_utf8(password).map_err(|_| StepError::Parameters)?;
    let utf16: Zeroizing<Vec<u8>> = Zeroizing::new(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    Ok(digest::<Md4>(&[&utf16]))
}

fn hex_upper_utf16(input: &[u8]) -> ChainOutput {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut output = ChainOutput::zeros(input.len() * 4);
    for (byte, place) in input.iter().zip(output.expose_mut().chunks_exact_mut(4)) {
        place[0] = DIGITS[usize::from(byte >> 4)];
        place[2] = DIGITS[usize::from(byte & 15)];
    }
    output
}

fn digest<D: Digest>(parts: &[&[u8]]) -> ChainOutput {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    taken(&mut digest.finalize())
}

fn bcrypt(input: &[u8], cost: u32, salt: [u8; 16]) -> Result<ChainOutput, StepError> {
    if !(4..=31).contains(&cost) {
        return Err(StepError::Parameters);
    }
    // bcrypt reads the terminating NUL as well, up to 72 bytes in all. A password that is too long is worked on like
    // any other, so that its refusal takes the same time.
    let mut key = Zeroizing::new([0_u8; BCRYPT_INPUT_BYTES]);
    let read = input.len().min(BCRYPT_INPUT_BYTES);
    key[..read].copy_from_slice(&input[..read]);
    let output = taken(&mut bcrypt::bcrypt(cost, salt, &key[..(read + 1).min(BCRYPT_INPUT_BYTES)])[..23]);
    if input.len() > BCRYPT_INPUT_BYTES { Err(StepError::BcryptInput) } else { Ok(output) }
}

/// Takes a secret over and leaves zeros behind.
fn taken(secret: &mut [u8]) -> ChainOutput {
    let output = ChainOutput::new(secret.to_vec());
    zeroize::Zeroize::zeroize(secret);
    output
}
