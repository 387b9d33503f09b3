//! Proof key for code exchange (RFC 7636), method S256 alone.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// `code_challenge`: base64url of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code challenge is the base64url text of 32 bytes")]
pub struct CodeChallengeError;

impl CodeChallenge {
    /// Whether `verifier` is what the challenge was made of. A verifier outside the form of section 4.1 is not.
    pub fn is_proved_by(&self, verifier: &str) -> bool {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return false;
        }
        let derived = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        derived.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl FromStr for CodeChallenge {
    type Err = CodeChallengeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(CodeChallengeError),
        }
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = CodeChallengeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        challenge.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_is_proved_by_its_verifier_and_no_other() {
        let challenge: CodeChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse().expect("valid");
        assert!(challenge.is_proved_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        for wrong in ["", "dBjftJeZ4CVP", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"] {
            assert!(!challenge.is_proved_by(wrong), "{wrong}");
        }
        assert!(!challenge.is_proved_by("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), "the plain method");
    }

    #[test]
    fn only_the_form_of_a_sha_256_is_a_challenge() {
        for text in
            ["", "abc", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"]
        {
            assert_eq!(text.parse::<CodeChallenge>(), Err(CodeChallengeError), "{text}");
        }
    }
}
