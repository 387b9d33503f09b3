//! Ruling out the previous password after a change (design section 3, the live check).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::Dialect;
use crate::identity::{
    Answer, Clock, ConnectorName, CredentialSource, PlainPassword, Refusal, Timestamp, UnavailableCause, Verdict,
};
use crate::signin::{Admission, HashCheck};

/// An account of a domain, and the controller that has just taken its bind.
#[derive(Clone, Debug)]
pub struct DomainAccount {
    pub controller: String,
    /// The DNS name of the domain.
    pub realm: String,
    /// `sAMAccountName`.
    pub name: String,
}

/// A controller's other service, which takes no former password.
#[async_trait]
pub trait PresentPassword: Send + Sync {
    /// Whether this is the account's present password; `None` when that cannot be told.
    async fn is_present(&self, account: &DomainAccount, password: &PlainPassword) -> Option<bool>;
}

/// What was verified by a bind.
pub struct Verified<'a> {
    pub source: &'a CredentialSource,
    /// As the directory shows it.
    pub password_set: Option<Timestamp>,
    /// `None` where the controller cannot be asked again from here.
    pub account: Option<&'a DomainAccount>,
}

/// Active Directory takes the previous password on simple binds for a while after a change. Within that window a bind
/// counts only if the password also matches the stored hash of the very change that the directory shows, or, where there is
/// no such hash, if the same controller's ticket service takes it.
pub struct OldPasswordRule {
    pub connector: ConnectorName,
    pub dialect: Dialect,
    /// Zero switches the rule off.
    pub window: Duration,
    /// How long to wait for a place in the hashing pool.
    pub patience: Duration,
    pub hashes: Option<Arc<dyn HashCheck>>,
    pub tickets: Option<Arc<dyn PresentPassword>>,
    pub clock: Arc<dyn Clock>,
}

impl OldPasswordRule {
    /// The verdict on a password that a directory verified; or why there is none: a check that could not be made says
    /// nothing of the password.
    pub async fn judge(&self, verified: &Verified<'_>, password: &PlainPassword) -> Result<Verdict, UnavailableCause> {
        let now = self.clock.now();
        // Not to know when the password was set is to be within the window.
        let within = verified.password_set.is_none_or(|set| now.since(set) < self.window);
        if self.dialect != Dialect::ActiveDirectory || self.window.is_zero() || !within {
            return Ok(Verdict::Verified);
        }
        let by_hash = self.matches_hash(verified, password).await?;
        let present = match (by_hash, &self.tickets, verified.account) {
            (Some(present), ..) => present,
            (None, Some(tickets), Some(account)) => tickets.is_present(account, password).await.unwrap_or(false),
            (None, ..) => false,
        };
        Ok(if present { Verdict::Verified } else { Verdict::Refused(Refusal::OldPasswordWindow) })
    }

    /// By the stored hash; `None` when there is none of the change that the directory shows.
    async fn matches_hash(
        &self,
        verified: &Verified<'_>,
        password: &PlainPassword,
    ) -> Result<Option<bool>, UnavailableCause> {
        let (Some(hashes), Some(set)) = (&self.hashes, verified.password_set) else { return Ok(None) };
        match hashes.facts(verified.source).await {
            Ok(Some(facts)) if facts.usable && facts.password_set == Some(set) => {}
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::warn!(connector = %self.connector, error = %error, "the stored hash could not be asked");
                return Err(UnavailableCause::CredentialUnreadable);
            }
        }
        let admission = Admission { familiar: false, network: None, patience: self.patience };
        match hashes.check(Some(verified.source), password, admission).await.answer {
            Answer::Verdict(verdict) => Ok(Some(verdict == Verdict::Verified)),
            Answer::Unavailable(unavailable) => Err(unavailable.cause),
        }
    }
}

#[cfg(test)]
mod tests;
