//! Hashes as they may leave an agent: NT hashes as PPH1 and in no other form, nothing in the clear.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::credential::scheme::{PPH1, PPH1_SALT_BYTES};
use crate::credential::{ClearText, Quarantine, parse_nt_hash, parse_user_password};
use crate::identity::SourceAnchor;
use crate::password_sync::source::{PasswordValues, is_nt_hash};

/// Makes the salts of one gateway's hashes: the same for an account in every read by every agent, so that a hash that did
/// not change is seen not to have.
pub struct Salts(hmac::Key);

/// The attribute under which wrapped hashes travel.
const WRAPPED: &str = "pph1";

impl Salts {
    /// With the gateway's secret for it.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn salt(&self, anchor: &SourceAnchor) -> Vec<u8> {
        hmac::sign(&self.0, anchor.as_str().as_bytes()).as_ref()[..PPH1_SALT_BYTES].to_vec()
    }

    /// The values of an attribute as they may leave.
    pub fn wrapped(&self, anchor: &SourceAnchor, password: PasswordValues) -> PasswordValues {
        let PasswordValues { attribute, values } = password;
        if is_nt_hash(&attribute) {
            let values = values.iter().map(|value| self.pph1(anchor, value)).collect();
            return PasswordValues { attribute: WRAPPED.to_owned(), values };
        }
        PasswordValues { attribute, values: values.into_iter().map(fit).collect() }
    }

    fn pph1(&self, anchor: &SourceAnchor, value: &[u8]) -> Zeroizing<Vec<u8>> {
        let text = match parse_nt_hash(value) {
            Ok(hash) => hash.into_pph1_value(self.salt(anchor)).ok(),
            // An entry of crypt(3) that no password matches.
            Err(Quarantine::NoPassword) => return Zeroizing::new(b"{CRYPT}*".to_vec()),
            Err(_) => None,
        };
        // What cannot be read here is told as what cannot be read there.
        text.map_or_else(|| Zeroizing::new(PPH1.as_bytes().to_vec()), |text| Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// A value of `userPassword`, or as little of it as tells why it is none.
fn fit(value: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let scheme_of = |value: &[u8]| {
        let end = value.iter().position(|byte| *byte == b'}').map_or(0, |at| at + 1);
        Zeroizing::new(value[..end].to_vec())
    };
    match parse_user_password(&value, ClearText::Refused) {
        Ok(_) | Err(Quarantine::TooSlow { .. } | Quarantine::TooMuchMemory { .. } | Quarantine::NoPassword) => value,
        Err(Quarantine::Absent) => Zeroizing::default(),
        Err(Quarantine::ClearText | Quarantine::UnusableClearText) => Zeroizing::new(b"{CLEARTEXT}".to_vec()),
        Err(Quarantine::Malformed { .. } | Quarantine::UnsupportedScheme(_) | Quarantine::Delegated) => {
            scheme_of(&value)
        }
        // Its beginning could be that of a password in the clear.
        Err(Quarantine::UnknownScheme | Quarantine::TooLong) => Zeroizing::new(b"{?}".to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::SourceValue;
    use crate::credential::chain::Match;
    use crate::identity::PlainPassword;

    const NT: &str = "92937945B518814341DE3F726500D4FF";

    fn wrapped(attribute: &str, value: &str) -> PasswordValues {
        let anchor = SourceAnchor::from_stored("a1".to_owned());
        let values = vec![Zeroizing::new(value.as_bytes().to_vec())];
        Salts::new(&[7; 32]).wrapped(&anchor, PasswordValues { attribute: attribute.to_owned(), values })
    }

    #[test]
    fn an_nt_hash_leaves_as_pph1_that_verifies_the_password_and_is_the_same_each_time() {
        for attribute in ["unicodePwd", "sambaNTPassword"] {
            let left = wrapped(attribute, NT);
            let text = String::from_utf8(left.values[0].to_vec()).expect("text");
            assert!(text.starts_with("{PPH1}1000$"), "{text}");
            let raw = hex::decode(NT).expect("hex");
            assert!(!text.to_ascii_uppercase().contains(NT) && !is_nt_hash(&left.attribute));
            assert!(!left.values[0].windows(raw.len()).any(|window| window == raw));
            let Ok(SourceValue::Hashed(derived)) = SourceValue::strongest(&left.values, ClearText::Refused) else {
                panic!("{text} is no hash");
            };
            assert!(derived.chain.to_string().starts_with("md4-utf16>hex-upper-utf16>pbkdf2-sha256(1000,"));
            let password = PlainPassword::new("Pa$$w0rd".to_owned()).expect("may be typed");
            assert_eq!(derived.verify(&password), Ok(Match::Same));
            assert_eq!(wrapped(attribute, NT).values, left.values);
        }
        let other = SourceAnchor::from_stored("a2".to_owned());
        let values = vec![Zeroizing::new(NT.as_bytes().to_vec())];
        let password = PasswordValues { attribute: "unicodePwd".to_owned(), values };
        assert_ne!(Salts::new(&[7; 32]).wrapped(&other, password).values, wrapped("unicodePwd", NT).values);
    }

    #[test]
    fn nothing_leaves_in_the_clear_and_faults_keep_their_reasons() {
        let rows = [
            ("userPassword", "correct horse", "clear-text"),
            ("userPassword", "{CLEARTEXT}correct horse", "clear-text"),
            ("userPassword", "{correct}horse", "unknown-scheme"),
            ("userPassword", "{SSHA}correct horse", "malformed"),
            ("userPassword", "{SASL}horse@correct", "delegated"),
            ("userPassword", "", "absent"),
            ("userPassword", "{CRYPT}*", "no-password"),
            ("sambaNTPassword", "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX", "no-password"),
            ("sambaNTPassword", "correct horse", "malformed"),
        ];
        for (attribute, value, expected) in rows {
            let left = wrapped(attribute, value);
            let text = String::from_utf8_lossy(&left.values[0]).into_owned();
            assert!(!text.contains("horse") && !text.contains("correct"), "{value}: {text}");
            let told = SourceValue::strongest(&left.values, ClearText::Refused).map(drop);
            assert_eq!(told.map_err(|reason| reason.code()), Err(expected), "{value}: {text}");
        }
        let hash = "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3";
        assert_eq!(wrapped("userPassword", hash).values[0].as_slice(), hash.as_bytes());
    }
}
