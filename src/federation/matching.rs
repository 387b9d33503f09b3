//! Whether a claimed identity is a certain user of the tenant. Both keys must fit: an anchor alone would let a partner speak
//! for a user who has moved to another domain, a name alone for whoever inherited it.

use std::time::Duration;

use super::identify::{FederatedIdentity, FederationRefusal};
use crate::identity::{SourceAnchor, Timestamp, Upn};

/// How long a former user principal name is still accepted: the partner may learn of a rename later than the tenant.
pub const FORMER_UPN_ACCEPTED: Duration = Duration::from_secs(24 * 60 * 60);

/// What the tenant knows of the user whom it found by source anchor.
#[derive(Debug, Clone, Copy)]
pub struct TenantUser<'a> {
    /// `None` for a user mastered in the cloud, whom no partner can sign in.
    pub source_anchor: Option<&'a SourceAnchor>,
    /// The present user principal name.
    pub upn: &'a Upn,
    /// Names held before.
    pub former_upns: &'a [FormerUpn],
}

/// A user principal name that a user held before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerUpn {
    /// The name in folded form.
    pub folded: String,
    /// When it was given up.
    pub held_until: Timestamp,
}

/// By which name a user was matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The present name.
    PresentUpn,
    /// A name given up within the last 24 hours.
    FormerUpn,
}

/// Accepts the identity as this user if source anchor and user principal name fit.
pub fn match_user(
    identity: &FederatedIdentity,
    user: TenantUser<'_>,
    now: Timestamp,
) -> Result<MatchedBy, FederationRefusal> {
    if user.source_anchor != Some(identity.source_anchor()) {
        return Err(FederationRefusal::AnchorMismatch);
    }
    if user.upn == identity.upn() {
        return Ok(MatchedBy::PresentUpn);
    }
    let claimed = identity.upn().folded();
    let recent = |former: &FormerUpn| former.folded == claimed && now < former.held_until + FORMER_UPN_ACCEPTED;
    if user.former_upns.iter().any(recent) { Ok(MatchedBy::FormerUpn) } else { Err(FederationRefusal::UpnMismatch) }
}
