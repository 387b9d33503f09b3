//! `userPassword`: a scheme in braces and its value (RFC 2307, section 5.3).

use zeroize::Zeroizing;

use super::digest::Salted;
use super::nt::{PPH1, parse_pph1};
use super::source_value::SourceValue;
use super::{argon2, crypt, digest, pbkdf2};
use crate::credential::cost::{CostLimits, Excess};
use crate::credential::derived::Derived;
use crate::credential::quarantine::Quarantine;
use crate::credential::step::{DigestHash, Pbkdf2Hash};
use crate::identity::PlainPassword;

/// Whether a connector's settings accept passwords that its directory keeps in the clear. They are turned into
/// Argon2id at once either way; refusing them makes the practice visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClearText {
    #[default]
    Refused,
    Accepted,
}

/// Longest value that is looked at; the longest known form has 450 bytes.
const MAX_VALUE_BYTES: usize = 2048;

/// Parses one value. Nothing is derived; a hash whose check would cost more than the limits is refused unrun.
pub fn parse_user_password(value: &[u8], clear_text: ClearText) -> Result<SourceValue, Quarantine> {
    if value.is_empty() {
        return Err(Quarantine::Absent);
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(Quarantine::TooLong);
    }
    let text = std::str::from_utf8(value).map_err(|_| Quarantine::UnknownScheme)?;
    let Some((scheme, body)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return clear(text, clear_text);
    };
    use DigestHash::{Md5, Sha1, Sha256, Sha384, Sha512};
    use Salted::{No, Yes};
    let (name, derived) = match scheme.to_ascii_uppercase().as_str() {
        "SHA" => named("{SHA}", |name| digest::parse(name, Sha1, No, body)),
        "SSHA" => named("{SSHA}", |name| digest::parse(name, Sha1, Yes, body)),
        "MD5" => named("{MD5}", |name| digest::parse(name, Md5, No, body)),
        "SMD5" => named("{SMD5}", |name| digest::parse(name, Md5, Yes, body)),
        "SHA256" => named("{SHA256}", |name| digest::parse(name, Sha256, No, body)),
        "SSHA256" => named("{SSHA256}", |name| digest::parse(name, Sha256, Yes, body)),
        "SHA384" => named("{SHA384}", |name| digest::parse(name, Sha384, No, body)),
        "SSHA384" => named("{SSHA384}", |name| digest::parse(name, Sha384, Yes, body)),
        "SHA512" => named("{SHA512}", |name| digest::parse(name, Sha512, No, body)),
        "SSHA512" => named("{SSHA512}", |name| digest::parse(name, Sha512, Yes, body)),
        "PBKDF2" => named("{PBKDF2}", |name| pbkdf2::parse_text(name, Pbkdf2Hash::Sha1, body)),
        "PBKDF2-SHA1" => named("{PBKDF2-SHA1}", |name| pbkdf2::parse_text(name, Pbkdf2Hash::Sha1, body)),
        "PBKDF2-SHA256" => named("{PBKDF2-SHA256}", |name| pbkdf2::parse_text(name, Pbkdf2Hash::Sha256, body)),
        "PBKDF2-SHA512" => named("{PBKDF2-SHA512}", |name| pbkdf2::parse_text(name, Pbkdf2Hash::Sha512, body)),
        "PBKDF2_SHA256" => named("{PBKDF2_SHA256}", |name| pbkdf2::parse_binary(name, body)),
        "PPH1" => named(PPH1, |name| parse_pph1(name, body)),
        "CRYPT" => named("{CRYPT}", |_| crypt::parse(body)),
        "ARGON2" => named("{ARGON2}", |_| argon2::parse(body)),
        "CLEARTEXT" | "CLEAR" => return clear(body, clear_text),
        "SASL" => return Err(Quarantine::Delegated),
        "UNIX" => return Err(Quarantine::UnsupportedScheme("{UNIX}")),
        "LANMAN" => return Err(Quarantine::UnsupportedScheme("{LANMAN}")),
        "NS-MTA-MD5" => return Err(Quarantine::UnsupportedScheme("{NS-MTA-MD5}")),
        "GOST_YESCRYPT" => return Err(Quarantine::UnsupportedScheme("{GOST_YESCRYPT}")),
        "YESCRYPT" => return Err(Quarantine::UnsupportedScheme("{YESCRYPT}")),
        "SCRYPT" => return Err(Quarantine::UnsupportedScheme("{SCRYPT}")),
        // Not repeated in the report: it may be the beginning of a password in the clear.
        _ => return Err(Quarantine::UnknownScheme),
    };
    affordable(name, derived?).map(SourceValue::Hashed)
}

impl SourceValue {
    /// Reads all values of a `userPassword`. A directory accepts any of them; one is kept, the most costly to guess.
    pub fn strongest(values: &[Zeroizing<Vec<u8>>], clear_text: ClearText) -> Result<Self, Quarantine> {
        let mut first_fault = None;
        let mut best: Option<Self> = None;
        for value in values {
            match parse_user_password(value, clear_text) {
                Ok(parsed) if best.as_ref().is_none_or(|best| best.strength() < parsed.strength()) => {
                    best = Some(parsed);
                }
                Ok(_) => {}
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        best.ok_or(first_fault.unwrap_or(Quarantine::Absent))
    }
}

fn named(
    name: &'static str,
    parse: impl FnOnce(&'static str) -> Result<Derived, Quarantine>,
) -> (&'static str, Result<Derived, Quarantine>) {
    (name, parse(name))
}

fn affordable(scheme: &'static str, derived: Derived) -> Result<Derived, Quarantine> {
    match derived.chain.cost().excess(CostLimits::default()) {
        None => Ok(derived),
        Some(Excess::Time) => Err(Quarantine::TooSlow { scheme }),
        Some(Excess::Memory) => Err(Quarantine::TooMuchMemory { scheme }),
    }
}

fn clear(text: &str, clear_text: ClearText) -> Result<SourceValue, Quarantine> {
    match clear_text {
        ClearText::Refused => Err(Quarantine::ClearText),
        ClearText::Accepted => {
            PlainPassword::new(text.to_owned()).map(SourceValue::Clear).map_err(|_| Quarantine::UnusableClearText)
        }
    }
}
