//! The rules for trading an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

use super::authorize::AuthorizationRequest;
use super::standing::Ended;
use crate::identity::Timestamp;

/// What the application sends with a code.
#[derive(Clone, Debug)]
pub struct Proof {
    pub redirect_uri: String,
    pub verifier: Option<String>,
}

/// Why a code gives nothing. The application is told `invalid_grant` for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRefusal {
    /// No such code.
    Unknown,
    /// Shown by a client to which it was not given: it has leaked. It is burnt, and the grant that it gave is revoked.
    OtherClient,
    /// Redeemed before: the grant of the first redemption is revoked.
    Reused,
    Expired,
    RedirectUri,
    VerifierMissing,
    VerifierWrong,
    /// A verifier, where the request had no challenge: somebody dropped it on the way (RFC 9700 section 2.1.1).
    VerifierUnasked,
    Ended(Ended),
}

impl CodeRefusal {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown-code",
            Self::OtherClient => "other-client",
            Self::Reused => "code-reused",
            Self::Expired => "code-expired",
            Self::RedirectUri => "wrong-redirect-uri",
            Self::VerifierMissing => "verifier-missing",
            Self::VerifierWrong => "wrong-verifier",
            Self::VerifierUnasked => "verifier-without-challenge",
            Self::Ended(ended) => ended.code(),
        }
    }
}

/// Judges a code that was found for its client. `redemptions` counts this one.
pub fn judge(
    request: &AuthorizationRequest,
    redemptions: i64,
    expires_at: Timestamp,
    proof: &Proof,
    now: Timestamp,
) -> Result<(), CodeRefusal> {
    if redemptions != 1 {
        return Err(CodeRefusal::Reused);
    }
    if expires_at <= now {
        return Err(CodeRefusal::Expired);
    }
    if request.redirect_uri.as_str() != proof.redirect_uri {
        return Err(CodeRefusal::RedirectUri);
    }
    match (&request.challenge, &proof.verifier) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(CodeRefusal::VerifierMissing),
        (None, Some(_)) => Err(CodeRefusal::VerifierUnasked),
        (Some(challenge), Some(verifier)) if challenge.is_proved_by(verifier) => Ok(()),
        (Some(_), Some(_)) => Err(CodeRefusal::VerifierWrong),
    }
}
