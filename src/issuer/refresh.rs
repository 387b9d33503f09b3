//! Rotation of refresh tokens and what counts as theft (design section 3, RFC 9700 section 4.14.2).
//!
//! Each use trades a token for a successor. An answer may be lost on the way, so the token just traded is good for
//! another successor for a short while, as long as no successor was used: whoever uses one first goes on, and the
//! siblings are dead with it. Anything else means that two parties hold the family, and ends it.

use std::time::Duration;

use super::scope::Scope;
use super::standing::Ended;
use crate::identity::Timestamp;

/// How long the immediate predecessor is good for another successor.
pub const LOST_ANSWER: Duration = Duration::from_secs(30);

/// The presented token and its place in the family, read under the family's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    pub expires_at: Timestamp,
    /// First use.
    pub used_at: Option<Timestamp>,
    /// Whether a token that was given for this one has been used.
    pub successor_used: bool,
    /// Whether another token that was given for the same predecessor has been used.
    pub sibling_used: bool,
    pub grant_expires_at: Timestamp,
    pub revoked: bool,
    pub same_client: bool,
    pub granted: Scope,
    /// Narrower than granted, where the request asks for it.
    pub wanted: Option<Scope>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A new successor, with this scope in its access token.
    Rotate {
        scope: Scope,
        repeated: bool,
    },
    Refuse(RefreshRefusal),
    /// Reuse, or a client to which it was not given: the whole family ends.
    Revoke(RefreshRefusal),
}

/// Why a refresh token gives nothing. The application is told `invalid_grant` (or `invalid_scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshRefusal {
    Unknown,
    OtherClient,
    Revoked,
    Expired,
    GrantExpired,
    Reused,
    Scope,
    Ended(Ended),
}

impl RefreshRefusal {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown-refresh-token",
            Self::OtherClient => "other-client",
            Self::Revoked => "grant-revoked",
            Self::Expired => "refresh-token-expired",
            Self::GrantExpired => "grant-expired",
            Self::Reused => "refresh-token-reused",
            Self::Scope => "scope-not-granted",
            Self::Ended(ended) => ended.code(),
        }
    }
}

/// Decides on a presented token. `standing` is what [`super::standing::standing`] said.
pub fn decide(presented: &Presented, standing: Result<(), Ended>, now: Timestamp) -> Decision {
    let refuse = |refusal| Decision::Refuse(refusal);
    if !presented.same_client {
        return Decision::Revoke(RefreshRefusal::OtherClient);
    }
    if presented.revoked {
        return refuse(RefreshRefusal::Revoked);
    }
    if presented.grant_expires_at <= now {
        return refuse(RefreshRefusal::GrantExpired);
    }
    if let Err(ended) = standing {
        return refuse(RefreshRefusal::Ended(ended));
    }
    let repeated = match presented.used_at {
        None if presented.sibling_used => return Decision::Revoke(RefreshRefusal::Reused),
        None if presented.expires_at <= now => return refuse(RefreshRefusal::Expired),
        None => false,
        Some(used_at) if !presented.successor_used && !presented.sibling_used && now.since(used_at) <= LOST_ANSWER => {
            true
        }
        Some(_) => return Decision::Revoke(RefreshRefusal::Reused),
    };
    match presented.wanted {
        Some(wanted) if !wanted.is_within(presented.granted) => refuse(RefreshRefusal::Scope),
        Some(wanted) => Decision::Rotate { scope: wanted, repeated },
        None => Decision::Rotate { scope: presented.granted, repeated },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn scope(text: &str) -> Scope {
        text.parse().expect("a scope")
    }

    fn fresh() -> Presented {
        Presented {
            expires_at: NOW + Duration::from_secs(60),
            used_at: None,
            successor_used: false,
            sibling_used: false,
            grant_expires_at: NOW + Duration::from_secs(3600),
            revoked: false,
            same_client: true,
            granted: scope("openid profile offline_access"),
            wanted: None,
        }
    }

    fn used(ago: Duration) -> Presented {
        Presented { used_at: Some(NOW - ago), ..fresh() }
    }

    #[test]
    fn a_fresh_token_rotates() {
        let granted = fresh().granted;
        assert_eq!(decide(&fresh(), Ok(()), NOW), Decision::Rotate { scope: granted, repeated: false });
    }

    #[test]
    fn a_lost_answer_signs_nobody_out_for_thirty_seconds() {
        let granted = fresh().granted;
        for ago in [Duration::ZERO, Duration::from_secs(29), LOST_ANSWER] {
            assert_eq!(decide(&used(ago), Ok(()), NOW), Decision::Rotate { scope: granted, repeated: true }, "{ago:?}");
        }
        assert_eq!(
            decide(&used(LOST_ANSWER + Duration::from_millis(1)), Ok(()), NOW),
            Decision::Revoke(RefreshRefusal::Reused)
        );
    }

    #[test]
    fn any_other_reuse_revokes_the_family() {
        let rows = [
            ("a successor was used", Presented { successor_used: true, ..used(Duration::ZERO) }),
            ("a sibling was used before", Presented { sibling_used: true, ..fresh() }),
            ("used, and a sibling went on", Presented { sibling_used: true, ..used(Duration::ZERO) }),
            ("used long ago", used(Duration::from_secs(3600))),
        ];
        for (name, presented) in rows {
            assert_eq!(decide(&presented, Ok(()), NOW), Decision::Revoke(RefreshRefusal::Reused), "{name}");
        }
    }

    #[test]
    fn refusals_come_before_rotation_and_change_nothing() {
        let rows = [
            (Presented { revoked: true, ..fresh() }, Ok(()), RefreshRefusal::Revoked),
            (Presented { grant_expires_at: NOW, ..fresh() }, Ok(()), RefreshRefusal::GrantExpired),
            (Presented { expires_at: NOW, ..fresh() }, Ok(()), RefreshRefusal::Expired),
            (fresh(), Err(Ended::UserDisabled), RefreshRefusal::Ended(Ended::UserDisabled)),
            (Presented { wanted: Some(scope("openid groups")), ..fresh() }, Ok(()), RefreshRefusal::Scope),
        ];
        for (presented, standing, refusal) in rows {
            assert_eq!(decide(&presented, standing, NOW), Decision::Refuse(refusal), "{presented:?}");
        }
    }

    #[test]
    fn a_token_that_another_client_shows_has_leaked_and_ends_the_family() {
        let ended = Decision::Revoke(RefreshRefusal::OtherClient);
        for presented in [fresh(), used(Duration::from_secs(99))] {
            assert_eq!(decide(&Presented { same_client: false, ..presented }, Ok(()), NOW), ended);
        }
    }

    #[test]
    fn a_narrower_scope_is_given_as_asked() {
        let wanted = scope("openid");
        let presented = Presented { wanted: Some(wanted), ..fresh() };
        assert_eq!(decide(&presented, Ok(()), NOW), Decision::Rotate { scope: wanted, repeated: false });
    }
}
