//! `{PBKDF2...}`: the text form of OpenLDAP and 389 Directory Server's plug-in, and the binary form of the latter.

use super::base64_forms;
use crate::credential::chain::{Chain, MAX_PBKDF2_ITERATIONS, MIN_OUTPUT_BYTES};
use crate::credential::derived::Derived;
use crate::credential::output::ChainOutput;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{Pbkdf2Hash, Step};

/// `iterations$salt$key` in adapted base64.
pub(super) fn parse_text(scheme: &'static str, hash: Pbkdf2Hash, body: &str) -> Result<Derived, Quarantine> {
    let (iterations, salt, key) = parts(scheme, body)?;
    build(scheme, hash, iterations, salt, key)
}

pub(super) fn parts(scheme: &'static str, body: &str) -> Result<(u32, Vec<u8>, Vec<u8>), Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    let mut parts = body.split('$');
    let (Some(iterations), Some(salt), Some(key), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("iterations, salt and key are expected, separated by `$`"));
    };
    if iterations.is_empty() || !iterations.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed("its iterations are not a number"));
    }
    // More digits than any sensible number has: a cost, not a fault of form.
    let iterations: u32 = iterations.parse().map_err(|_| Quarantine::TooSlow { scheme })?;
    let salt = base64_forms::adapted(salt).ok_or(malformed("its salt is not base64"))?;
    let key = base64_forms::adapted(key).ok_or(malformed("its key is not base64"))?;
    Ok((iterations, salt, key))
}

/// Base64 of the iterations (32 bits, big-endian), 64 bytes of salt and 256 of key.
pub(super) fn parse_binary(scheme: &'static str, body: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    let bytes = base64_forms::standard(body).ok_or(malformed("it is not base64"))?;
    if bytes.len() != 4 + 64 + 256 {
        return Err(malformed("324 bytes are expected"));
    }
    let (iterations, rest) = bytes.split_first_chunk::<4>().ok_or(malformed("324 bytes are expected"))?;
    let (salt, key) = rest.split_at(64);
    build(scheme, Pbkdf2Hash::Sha256, u32::from_be_bytes(*iterations), salt.to_vec(), key.to_vec())
}

fn build(
    scheme: &'static str,
    hash: Pbkdf2Hash,
    iterations: u32,
    salt: Vec<u8>,
    mut key: Vec<u8>,
) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    if iterations == 0 {
        return Err(malformed("it has no iterations"));
    }
    if iterations > MAX_PBKDF2_ITERATIONS {
        return Err(Quarantine::TooSlow { scheme });
    }
    if key.len() < MIN_OUTPUT_BYTES {
        return Err(malformed("its key is too short"));
    }
    // The blocks of a PBKDF2 key are independent of one another: the first proves the password as well as all eight
    // of 389 Directory Server do, for an eighth of the work.
    key.truncate(hash.block());
    let step = Step::Pbkdf2 { hash, iterations, salt, length: key.len() };
    let chain = Chain::new(vec![step]).map_err(|_| malformed("its parameters are outside the limits"))?;
    Ok(Derived { chain, output: ChainOutput::new(key) })
}
