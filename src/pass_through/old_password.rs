//! Ruling out the previous password after a change (design section 3, the live check).

use std::sync::Arc;
use std::time::Duration;

use crate::config::Dialect;
use crate::identity::{
    Answer, Clock, ConnectorName, CredentialSource, PlainPassword, Refusal, Timestamp, UnavailableCause, Verdict,
};
use crate::signin::{Admission, HashCheck};

/// Active Directory takes the previous password on simple binds for a while after a change. Within that window a bind
/// counts only if the password also matches the stored hash of the very change that the directory shows.
pub struct OldPasswordRule {
    pub connector: ConnectorName,
    pub dialect: Dialect,
    /// Zero switches the rule off.
    pub window: Duration,
    /// How long to wait for a place in the hashing pool.
    pub patience: Duration,
    pub hashes: Option<Arc<dyn HashCheck>>,
    pub clock: Arc<dyn Clock>,
}

impl OldPasswordRule {
    /// The verdict on a password that `source`'s directory verified, and says was set at `password_set`; or why there is
    /// none: a check that could not be made says nothing of the password.
    pub async fn judge(
        &self,
        source: &CredentialSource,
        password_set: Option<Timestamp>,
        password: &PlainPassword,
    ) -> Result<Verdict, UnavailableCause> {
        let now = self.clock.now();
        // Not to know when the password was set is to be within the window.
        let within = password_set.is_none_or(|set| now.since(set) < self.window);
        if self.dialect != Dialect::ActiveDirectory || self.window.is_zero() || !within {
            return Ok(Verdict::Verified);
        }
        let present = self.is_present_password(source, password_set, password).await?;
        Ok(if present { Verdict::Verified } else { Verdict::Refused(Refusal::OldPasswordWindow) })
    }

    async fn is_present_password(
        &self,
        source: &CredentialSource,
        password_set: Option<Timestamp>,
        password: &PlainPassword,
    ) -> Result<bool, UnavailableCause> {
        let (Some(hashes), Some(set)) = (&self.hashes, password_set) else { return Ok(false) };
        match hashes.facts(source).await {
            Ok(Some(facts)) if facts.usable && facts.password_set == Some(set) => {}
            Ok(_) => return Ok(false),
            Err(error) => {
                tracing::warn!(connector = %self.connector, error = %error, "the stored hash could not be asked");
                return Err(UnavailableCause::CredentialUnreadable);
            }
        }
        let admission = Admission { familiar: false, network: None, patience: self.patience };
        match hashes.check(Some(source), password, admission).await.answer {
            Answer::Verdict(verdict) => Ok(verdict == Verdict::Verified),
            Answer::Unavailable(unavailable) => Err(unavailable.cause),
        }
    }
}

#[cfg(test)]
mod tests;
