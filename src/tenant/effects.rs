//! What a changed user means beyond its row: sessions, credential, names held before.

use super::export::CredentialLink;
use super::plan::Written;
use super::read_back::ChangeOperation;
use super::record::UserRecord;
use crate::identity::CredentialSource;

/// Why a single-object read of a password hash is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReason {
    Provisioned,
    Restored,
    /// Another account won the user's credential source.
    Rejoined,
    EligibilityGained,
}

impl FetchReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "provisioned",
            Self::Restored => "restored",
            Self::Rejoined => "rejoined",
            Self::EligibilityGained => "eligibility-gained",
        }
    }
}

impl Written<UserRecord> {
    /// The user was deleted: sessions and grants end in the same transaction.
    pub fn ends_sessions(&self) -> bool {
        self.operation == ChangeOperation::Delete
    }

    /// The stored credential that must go (deleted, no longer eligible, or no longer the user's source).
    pub fn wipes(&self) -> Option<&CredentialSource> {
        let before = eligible(self.before.as_ref()?)?;
        match eligible(&self.after) {
            Some(after) if after.source == before.source => None,
            Some(_) | None => Some(&before.source),
        }
    }

    /// The password that must be asked for anew.
    pub fn fetches(&self) -> Option<(&CredentialSource, FetchReason)> {
        let after = eligible(&self.after)?;
        let reason = match &self.before {
            None => FetchReason::Provisioned,
            Some(before) if before.deleted_at.is_some() => FetchReason::Restored,
            Some(before) => match &before.credential {
                Some(link) if link.source != after.source => FetchReason::Rejoined,
                Some(link) if link.eligible => return None,
                Some(_) | None => FetchReason::EligibilityGained,
            },
        };
        Some((&after.source, reason))
    }

    /// The effective name that the user had and lost: federation matches it for 24 hours more.
    pub fn former_upn(&self) -> Option<String> {
        let before = self.before.as_ref().filter(|before| before.deleted_at.is_none())?;
        let former = before.upn.folded();
        if self.after.deleted_at.is_none() && former == self.after.upn.folded() { None } else { Some(former) }
    }
}

fn eligible(user: &UserRecord) -> Option<&CredentialLink> {
    user.credential.as_ref().filter(|link| link.eligible && user.deleted_at.is_none())
}
