//! Whom the backup of a domain would let in: asked of the decision itself, with an outage that is only supposed.

use std::collections::HashSet;

use async_trait::async_trait;

use super::directory::{AccountRefusal, DirectoryState};
use super::failover::{
    Account, Asked, By, Decision, HashStanding, Policy, ProbeOutcome, Situation, StoredState, decide,
};
use super::realm::Managed;
use super::store::StoreDown;
use crate::identity::{Backup, ConnectorName, DomainName, GroupFailover, Pin, Timestamp, Upn, UserId, Verdict};
use crate::tenant::Domain;

/// What the store knows of a user that failover depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub oid: UserId,
    pub upn: Upn,
    /// The connector that is registered for the domain and has the account.
    pub connector: Option<ConnectorName>,
    pub hash: HashStanding,
    /// When the password channel last found the hash to be the directory's.
    pub confirmed_at: Option<Timestamp>,
    pub state: Option<DirectoryState>,
    /// The newest live refusal on record.
    pub refusal: Option<AccountRefusal>,
    /// When the last complete pass over the connector began.
    pub last_pass: Option<Timestamp>,
}

#[async_trait]
pub trait BackupCoverage: Send + Sync {
    /// At most `limit` enabled users in order of their oid, after `after`.
    async fn coverage(
        &self,
        domain: &DomainName,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Coverage>, StoreDown>;

    /// The members of the groups that failover is closed to, through nested groups too.
    async fn barred(&self) -> Result<HashSet<UserId>, StoreDown>;
}

/// Who lets the backup be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoAsks {
    /// An administrator forces it.
    Administrator,
    /// It is asked by itself, as far as the policy lets it.
    Nobody,
}

/// What groups say of a user's failover.
#[derive(Clone, Copy, Debug)]
pub struct Barriers {
    /// The user is in a group that failover is closed to everywhere.
    pub barred: bool,
    /// What the domain says of the user's groups.
    pub group: Option<GroupFailover>,
}

/// Whether the right password would let the user in, if nobody answered for the primary and the backup were asked; else the
/// code of the reason.
pub fn covered(
    user: &Coverage,
    domain: &Domain,
    barriers: Barriers,
    asked: WhoAsks,
    now: Timestamp,
) -> Result<(), String> {
    let situation = Situation {
        method: Managed::Pta,
        policy: Policy {
            backup: Backup::Phs,
            mode: domain.failover,
            // Asked of one user: the backup is reached, whatever holds for the others.
            automatic_group: true,
            pin: match asked {
                WhoAsks::Administrator => Some(Pin::Backup),
                WhoAsks::Nobody => None,
            },
            max_hash_age: domain.max_hash_age,
        },
        outage_known: true,
        primary: Asked::NotYet,
        probe: ProbeOutcome::EveryServerFailed,
        late: None,
        account: if user.connector.is_some() { Account::Allowed } else { Account::NoSource },
        state: match &user.state {
            None => StoredState::Unknown,
            Some(stored) => match stored.state.evaluate(now) {
                Ok(()) => StoredState::Allows,
                Err(refusal) => StoredState::Refuses(refusal),
            },
        },
        hash: user.hash,
        pass_age: user.last_pass.map(|pass| now.since(pass)),
        refusal_on_record: user
            .refusal
            .filter(|record| user.state.as_ref().is_none_or(|state| record.at > state.observed_at))
            .map(|record| record.refusal),
        barred_group: barriers.barred,
        group: barriers.group,
        backup: Asked::Verdict(Verdict::Verified),
    };
    match decide(&situation) {
        Decision::In(By::Backup) => Ok(()),
        Decision::Refuse(reason, _) => Err(reason.code()),
        Decision::TryAgain(cause) => Err(cause.code()),
        Decision::In(By::Primary)
        | Decision::AskPrimary
        | Decision::ConfirmOutage
        | Decision::ReadHash
        | Decision::AskBackup => Err("undecided".to_owned()),
    }
}
