//! `{ARGON2}`: the PHC string of RFC 9106's function, as OpenLDAP's module writes it.

use super::base64_forms;
use crate::credential::chain::Chain;
use crate::credential::derived::Derived;
use crate::credential::output::ChainOutput;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{Argon2Variant, Step};

const SCHEME: &str = "{ARGON2}";

/// `$argon2id$v=19$m=65536,t=2,p=1$salt$hash`
pub(super) fn parse(body: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme: SCHEME, fault };
    let parts: Vec<&str> = body.split('$').take(7).collect();
    let ["", variant, version, parameters, salt, hash] = parts[..] else {
        return Err(malformed("variant, version, parameters, salt and hash are expected, separated by `$`"));
    };
    let variant = match variant {
        "argon2d" => Argon2Variant::Argon2d,
        "argon2i" => Argon2Variant::Argon2i,
        "argon2id" => Argon2Variant::Argon2id,
        _ => return Err(malformed("its variant is not argon2d, argon2i or argon2id")),
    };
    match version {
        "v=19" => {}
        "v=16" => return Err(Quarantine::UnsupportedScheme("{ARGON2} version 1.0")),
        _ => return Err(malformed("its version is not 19")),
    }
    let mut numbers = parameters.split(',');
    let mut number = |name: &str| {
        numbers.next().and_then(|part| part.strip_prefix(name)).filter(|text| is_number(text)).map(str::parse::<u32>)
    };
    let (Some(memory), Some(passes), Some(lanes)) = (number("m="), number("t="), number("p=")) else {
        return Err(malformed("its parameters are not `m=...,t=...,p=...`"));
    };
    if numbers.next().is_some() {
        return Err(malformed("it has parameters beyond m, t and p"));
    }
    let memory_kib = memory.map_err(|_| Quarantine::TooMuchMemory { scheme: SCHEME })?;
    let passes = passes.map_err(|_| Quarantine::TooSlow { scheme: SCHEME })?;
    let lanes = lanes.map_err(|_| malformed("it has too many lanes"))?;
    let salt = base64_forms::standard(salt).ok_or(malformed("its salt is not base64"))?;
    let hash = base64_forms::standard(hash).ok_or(malformed("its hash is not base64"))?;
    let step = Step::Argon2 { variant, memory_kib, passes, lanes, salt, length: hash.len() };
    let chain = Chain::new(vec![step]).map_err(|_| malformed("its parameters are outside the limits"))?;
    Ok(Derived { chain, output: ChainOutput::new(hash) })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}
