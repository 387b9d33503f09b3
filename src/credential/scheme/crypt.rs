//! `{CRYPT}`: the Unix forms `$5$` and `$6$` (SHA-crypt) and `$2a$`, `$2b$`, `$2y$` (bcrypt).

use super::base64_forms;
use crate::credential::chain::Chain;
use crate::credential::derived::Derived;
use crate::credential::output::ChainOutput;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{ShaCryptHash, Step};

const SHA256_CRYPT: &str = "{CRYPT} $5$";
const SHA512_CRYPT: &str = "{CRYPT} $6$";
const BCRYPT: &str = "{CRYPT} $2$";
/// What `$5$` and `$6$` run when the value names no rounds.
const DEFAULT_ROUNDS: u32 = 5_000;

pub(super) fn parse(body: &str) -> Result<Derived, Quarantine> {
    // Unix tools lock an account by a value that no password matches.
    if body.is_empty() || body.starts_with(['!', '*']) || body == "x" {
        return Err(Quarantine::NoPassword);
    }
    let Some(rest) = body.strip_prefix('$') else {
        return Err(Quarantine::UnsupportedScheme("{CRYPT} with DES"));
    };
    match rest.split_once('$') {
        Some(("5", value)) => sha_crypt(SHA256_CRYPT, ShaCryptHash::Sha256, value),
        Some(("6", value)) => sha_crypt(SHA512_CRYPT, ShaCryptHash::Sha512, value),
        Some(("2a" | "2b" | "2y", value)) => bcrypt(value),
        Some(("2x", _)) => Err(Quarantine::UnsupportedScheme("{CRYPT} $2x$")),
        Some(("1", _)) => Err(Quarantine::UnsupportedScheme("{CRYPT} $1$")),
        Some(("y" | "gy" | "7", _)) => Err(Quarantine::UnsupportedScheme("{CRYPT} with yescrypt")),
        Some(_) | None => Err(Quarantine::UnsupportedScheme("{CRYPT} with an unknown method")),
    }
}

fn sha_crypt(scheme: &'static str, hash: ShaCryptHash, value: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme, fault };
    let (rounds, value) = match value.strip_prefix("rounds=") {
        None => (DEFAULT_ROUNDS, value),
        Some(rest) => {
            let (digits, rest) = rest.split_once('$').ok_or(malformed("salt and hash are expected"))?;
            let rounds = digits.parse().map_err(|_| malformed("its rounds are not a number"))?;
            (rounds, rest)
        }
    };
    let (salt, text) = value.split_once('$').ok_or(malformed("salt and hash are expected"))?;
    let digest = decode_sha_crypt(hash, text).ok_or(malformed("its hash has the wrong form"))?;
    let step = Step::ShaCrypt { hash, rounds, salt: salt.as_bytes().to_vec() };
    let chain = Chain::new(vec![step]).map_err(|_| malformed("its rounds or its salt are outside the limits"))?;
    Ok(Derived { chain, output: digest })
}

fn bcrypt(value: &str) -> Result<Derived, Quarantine> {
    let malformed = |fault| Quarantine::Malformed { scheme: BCRYPT, fault };
    let (cost, rest) = value.split_once('$').ok_or(malformed("cost, salt and hash are expected"))?;
    if cost.len() != 2 || !cost.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed("its cost is not a number of two digits"));
    }
    let cost: u32 = cost.parse().map_err(|_| malformed("its cost is not a number of two digits"))?;
    let (salt, hash) = rest.split_at_checked(22).ok_or(malformed("it is too short"))?;
    let salt = base64_forms::bcrypt(salt).and_then(|salt| salt.try_into().ok());
    let hash = base64_forms::bcrypt(hash).filter(|hash| hash.len() == 23);
    let (Some(salt), Some(hash)) = (salt, hash) else {
        return Err(malformed("its salt or its hash has the wrong form"));
    };
    let chain =
        Chain::new(vec![Step::Bcrypt { cost, salt }]).map_err(|_| malformed("its cost is outside the limits"))?;
    Ok(Derived { chain, output: ChainOutput::new(hash) })
}

/// Undoes the text form of a SHA-crypt digest: groups of up to three bytes, taken from the digest in a fixed order,
/// least significant six bits first (Drepper, "Unix crypt using SHA-256 and SHA-512", step 22).
fn decode_sha_crypt(hash: ShaCryptHash, text: &str) -> Option<ChainOutput> {
    let (length, order): (usize, &[&[usize]]) = match hash {
        ShaCryptHash::Sha256 => (32, &SHA256_ORDER),
        ShaCryptHash::Sha512 => (64, &SHA512_ORDER),
    };
    let mut output = ChainOutput::new(vec![0; length]);
    let mut characters = text.bytes();
    for group in order {
        // Three bytes are four characters, two are three, one is two.
        let mut bits = 0_u32;
        for position in 0..=group.len() {
            bits |= six_bits(characters.next()?)? << (6 * position);
        }
        if bits >> (8 * group.len()) != 0 {
            return None;
        }
        for (place, index) in group.iter().rev().enumerate() {
            output.expose_mut()[*index] = bits.to_le_bytes()[place];
        }
    }
    characters.next().is_none().then_some(output)
}

fn six_bits(character: u8) -> Option<u32> {
    let value = match character {
        b'.' => 0,
        b'/' => 1,
        b'0'..=b'9' => character - b'0' + 2,
        b'A'..=b'Z' => character - b'A' + 12,
        b'a'..=b'z' => character - b'a' + 38,
        _ => return None,
    };
    Some(u32::from(value))
}

const SHA256_ORDER: [&[usize]; 11] = [
    &[0, 10, 20],
    &[21, 1, 11],
    &[12, 22, 2],
    &[3, 13, 23],
    &[24, 4, 14],
    &[15, 25, 5],
    &[6, 16, 26],
    &[27, 7, 17],
    &[18, 28, 8],
    &[9, 19, 29],
    &[31, 30],
];

const SHA512_ORDER: [&[usize]; 22] = [
    &[0, 21, 42],
    &[22, 43, 1],
    &[44, 2, 23],
    &[3, 24, 45],
    &[25, 46, 4],
    &[47, 5, 26],
    &[6, 27, 48],
    &[28, 49, 7],
    &[50, 8, 29],
    &[9, 30, 51],
    &[31, 52, 10],
    &[53, 11, 32],
    &[12, 33, 54],
    &[34, 55, 13],
    &[56, 14, 35],
    &[15, 36, 57],
    &[37, 58, 16],
    &[59, 17, 38],
    &[18, 39, 60],
    &[40, 61, 19],
    &[62, 20, 41],
    &[63],
];
