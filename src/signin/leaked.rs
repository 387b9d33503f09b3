//! A right password that is known from leaks: where settings say so, it is to be changed before it signs anybody in.

use super::candidate::Candidate;
use super::failover::{Bar, Decision, Reason};
use super::outcome::Notice;
use super::service::SignIn;
use super::store::StoreDown;
use crate::identity::Timestamp;

impl SignIn {
    /// The decision, or a refusal in the place of an admission. `password_set`: when the directory says that the password
    /// was set that it has just taken; one that is newer than the stored hash is not the one that was found.
    pub(super) async fn demand_change(
        &self,
        decision: Decision,
        candidate: &Candidate,
        password_set: Option<Timestamp>,
    ) -> Result<Decision, StoreDown> {
        let room = &self.room;
        let (Decision::In(_), Some(source)) = (decision, &candidate.source) else { return Ok(decision) };
        if !room.settings.leaked.are_refused_in(&candidate.realm.domain) {
            return Ok(decision);
        }
        let facts = room.hashes.facts(source).await.map_err(|down| StoreDown(Box::new(down)))?;
        let is_listed = facts.is_some_and(|facts| {
            let replaced = password_set.zip(facts.password_set).is_some_and(|(live, stored)| live > stored);
            facts.leaked && facts.usable && !replaced
        });
        Ok(match is_listed {
            true => Decision::Refuse(Reason::Account(Bar::LeakedPassword), Notice::MustChange),
            false => decision,
        })
    }
}
