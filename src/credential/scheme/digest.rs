//! `{SHA}`, `{SSHA}` and their family: base64 of `H(password || salt) || salt`.

use super::base64_forms;
use crate::credential::chain::{Chain, MAX_SALT_BYTES};
use crate::credential::derived::Derived;
use crate::credential::output::ChainOutput;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{DigestHash, Step};

/// Whether the bytes behind the digest are a salt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Salted {
    Yes,
    No,
}

pub(super) fn parse(scheme: &'static str, hash: DigestHash, salted: Salted, body: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    let bytes = base64_forms::standard(body).map(zeroize::Zeroizing::new).ok_or(malformed("it is not base64"))?;
    let (digest, salt) =
        bytes.split_at_checked(hash.length()).ok_or(malformed("it is shorter than the digest of its scheme"))?;
    match salted {
        Salted::Yes if salt.is_empty() => return Err(malformed("it has no salt")),
        Salted::No if !salt.is_empty() => return Err(malformed("it is longer than the digest of its scheme")),
        Salted::Yes | Salted::No if salt.len() > MAX_SALT_BYTES => return Err(malformed("its salt is too long")),
        Salted::Yes | Salted::No => {}
    }
    let chain = Chain::new(vec![Step::Digest { hash, salt: salt.to_vec() }])
        .map_err(|_| malformed("its parameters are outside the limits"))?;
    Ok(Derived { chain, output: ChainOutput::new(digest.to_vec()) })
}
