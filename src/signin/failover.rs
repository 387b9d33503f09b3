//! The decision: who gets in, by whom, when an authority answers, refuses, or does not answer at all.
//!
//! One pure function, [`decide`], over everything it may depend on. The service carries out what it asks for
//! ([`Decision::AskPrimary`], [`Decision::ConfirmOutage`] ...), writes the result into the [`Situation`] and asks again
//! until the decision is an end. Nothing else in the product decides about failover.
//!
//! A verdict is not an outage (design D4): a refusal of the primary is final, whoever else might agree. The backup is
//! asked only in a confirmed outage, that is one seen without this user's input, and only for users who meet every
//! condition of the design's section 3.

use std::time::Duration;

use super::fault::{Fault, planted};
use super::outcome::Notice;
use super::realm::Managed;
use crate::identity::{Backup, FailoverMode, GroupFailover, Pin, Refusal, UnavailableCause, Verdict};

/// All that a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    pub method: Managed,
    pub policy: Policy,
    /// Whether an outage is confirmed and not yet seen to end: of the connector, by this node; of a federation partner,
    /// by every node for as long as the domain demands.
    pub outage_known: bool,
    pub primary: Asked,
    pub probe: ProbeOutcome,
    /// A verdict that the primary gave after its deadline, while the answer had not left yet.
    pub late: Option<Verdict>,
    pub account: Account,
    pub state: StoredState,
    pub hash: HashStanding,
    /// How long ago the last complete pass of the password channel over the user's connector began.
    pub pass_age: Option<Duration>,
    /// The newest live refusal of the account, if it is newer than the stored state.
    pub refusal_on_record: Option<Refusal>,
    /// The user is in a group that failover is closed to in every domain.
    pub barred_group: bool,
    /// What the domain says of the user's groups; the strictest of them. Read with the hash.
    pub group: Option<GroupFailover>,
    pub backup: Asked,
}

/// A domain's failover policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub backup: Backup,
    pub mode: FailoverMode,
    /// Failover is automatic for some group of the domain, whatever `mode` says for the others.
    pub automatic_group: bool,
    pub pin: Option<Pin>,
    pub max_hash_age: Duration,
}

impl Policy {
    /// Whether somebody of the domain gets in through the backup without an administrator's word.
    const fn asks_by_itself(&self) -> bool {
        matches!(self.mode, FailoverMode::Automatic) || self.automatic_group
    }
}

/// What an authority has said about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    NotYet,
    Verdict(Verdict),
    Unavailable(UnavailableCause),
}

/// What the probe of every server gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    NotRun,
    EveryServerFailed,
    /// Some server answers: whatever went wrong concerns this user, this password or one server.
    SomeServerAnswers,
}

/// The user as the tenant directory has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    Unknown,
    /// Known, but no connector registered for the user's domain answers for the password.
    NoSource,
    /// `account_enabled` is off: the half of the state that the rules write.
    Disabled,
    Allowed,
}

/// The half of the account state that the password channel writes, evaluated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredState {
    /// The channel has not seen the account.
    Unknown,
    Allows,
    Refuses(Refusal),
}

/// What is known of the synchronised hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStanding {
    NotRead,
    /// None stored, wiped or quarantined.
    Missing,
    /// The directory has moved on since, or may have.
    Outdated,
    Usable,
}

/// What to do next, or how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    AskPrimary,
    /// Probe every server of the connector.
    ConfirmOutage,
    /// Read what is stored about the hash, the last pass of its channel, and the user's barred groups.
    ReadHash,
    AskBackup,
    In(By),
    Refuse(Reason, Notice),
    TryAgain(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Primary,
    Backup,
}

/// Why somebody is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The primary said no.
    Primary(Refusal),
    /// The primary verified the password; the account may not sign in.
    Account(Bar),
    /// The backup was not asked: a condition of failover does not hold.
    Condition(Bar),
    /// The backup said no.
    Backup(Refusal),
    /// The backup could not read this user's credential. Looks like any other refusal during an outage.
    BackupUnreadable,
}

/// What stands against an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    UnknownUser,
    NoSource,
    Disabled,
    StateUnknown,
    State(Refusal),
    NoHash,
    HashOutdated,
    PassTooOld,
    RefusedBefore(Refusal),
    BarredGroup,
    /// For the user's groups, or the domain, failover waits for an administrator, and nobody has forced it.
    NotForced,
    /// It is on the list of leaked passwords, and has to be changed.
    LeakedPassword,
}

/// Why nobody could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Password hash sync: the credential store gave no verdict.
    Primary(UnavailableCause),
    /// The failure was this user's alone, or passed.
    OutageUnconfirmed(UnavailableCause),
    NoBackup,
    /// Failover is manual and nobody has forced it.
    ManualFailover,
    PinnedToPrimary,
    /// The federation partner gives service, as far as every node knows: the password is its to check.
    PartnerServes,
    Backup(UnavailableCause),
}

/// Whether the stored hash stands in for a federation partner: who types a name of the domain is then asked for the
/// password here instead of being sent to the partner. The same for everybody of the domain, so that nobody can tell from
/// the road who is in which group; `outage` as in [`Situation::outage_known`].
pub fn stands_in(policy: &Policy, outage: bool) -> bool {
    let confirmed = outage || planted(Fault::PartnerOutageUnconfirmed);
    let wanted = match policy.pin {
        Some(Pin::Backup) => true,
        Some(Pin::Primary) => confirmed && planted(Fault::PinIgnored),
        None => confirmed && (policy.asks_by_itself() || planted(Fault::ManualTakenAsAutomatic)),
    };
    wanted && policy.backup != Backup::None
}

/// Decides. Total: every situation has an answer, and what is not allowed here is refused.
pub fn decide(situation: &Situation) -> Decision {
    // A late verdict is a verdict: it takes the place of the silence before it.
    let late = situation.late.filter(|_| !planted(Fault::LateRefusalIgnored));
    let primary = late.map_or(situation.primary, Asked::Verdict);
    match (primary, situation.method) {
        (Asked::Verdict(Verdict::Refused(_)), Managed::Pta) if planted(Fault::RefusalAsksBackup) => {
            in_outage(situation)
        }
        (Asked::Verdict(Verdict::Refused(refusal)), _) => {
            Decision::Refuse(Reason::Primary(refusal), told(situation.account, refusal))
        }
        (Asked::Verdict(Verdict::Verified), Managed::Phs) => after_proof(situation, situation.state),
        // The live read has just seen the directory's half of the state.
        (Asked::Verdict(Verdict::Verified), Managed::Pta) => after_proof(situation, StoredState::Allows),
        (Asked::NotYet, Managed::Phs) => Decision::AskPrimary,
        // A partner is asked by the browser alone: nothing that is checked here is its word.
        (Asked::Verdict(Verdict::Verified) | Asked::NotYet | Asked::Unavailable(_), Managed::Federated) => {
            match stands_in(&situation.policy, situation.outage_known) {
                true => by_backup(situation),
                false => Decision::TryAgain(Cause::PartnerServes),
            }
        }
        (Asked::Unavailable(cause), Managed::Phs) => Decision::TryAgain(Cause::Primary(cause)),
        (Asked::NotYet, Managed::Pta) if situation.policy.pin == Some(Pin::Backup) => by_backup(situation),
        (Asked::NotYet, Managed::Pta) if !situation.outage_known => Decision::AskPrimary,
        (Asked::NotYet, Managed::Pta) => in_outage(situation),
        (Asked::Unavailable(_), Managed::Pta) if situation.policy.pin == Some(Pin::Backup) => by_backup(situation),
        (Asked::Unavailable(_), Managed::Pta) if situation.outage_known => in_outage(situation),
        (Asked::Unavailable(cause), Managed::Pta) => match situation.probe {
            _ if planted(Fault::OutageUnconfirmed) => in_outage(situation),
            ProbeOutcome::NotRun => Decision::ConfirmOutage,
            ProbeOutcome::SomeServerAnswers => Decision::TryAgain(Cause::OutageUnconfirmed(cause)),
            ProbeOutcome::EveryServerFailed => in_outage(situation),
        },
    }
}

/// What became of a verdict that came after the answer had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateJudgement {
    /// End what the backup granted for the attempt, and move the user's security stamp.
    pub revoke: bool,
    /// A refusal of the account, to be put on record against failover.
    pub record: Option<Refusal>,
    /// It counts toward lockout like one that came in time.
    pub counts: bool,
}

/// Judges a late verdict.
pub fn judge_late(verdict: Verdict) -> LateJudgement {
    match verdict {
        Verdict::Verified => LateJudgement { revoke: false, record: None, counts: false },
        Verdict::Refused(refusal) => LateJudgement {
            revoke: true,
            record: concerns_account(refusal).then_some(refusal),
            counts: counts(refusal),
        },
    }
}

/// Whether a live refusal is about the account, not the password: such a one bars the backup while it is newer than the
/// stored state. An unknown answer is taken as one.
pub const fn concerns_account(refusal: Refusal) -> bool {
    match refusal {
        Refusal::UnknownUser | Refusal::WrongPassword | Refusal::OldPasswordWindow | Refusal::NoCredential => false,
        Refusal::NotInDirectory
        | Refusal::Disabled
        | Refusal::Expired
        | Refusal::LockedOut
        | Refusal::PasswordExpired
        | Refusal::MustChangePassword
        | Refusal::OutsideLogonHours
        | Refusal::WorkstationNotAllowed
        | Refusal::RefusedUnknown(_) => true,
    }
}

/// Whether a refusal counts toward lockout. What is only said once the directory took the password does not, nor does an
/// answer that this version does not know (design D4).
pub const fn counts(refusal: Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::PasswordExpired
            | Refusal::MustChangePassword
            | Refusal::OldPasswordWindow
            | Refusal::RefusedUnknown(_)
    )
}

fn after_proof(situation: &Situation, state: StoredState) -> Decision {
    let bar = match situation.account {
        Account::Unknown => Bar::UnknownUser,
        Account::NoSource => Bar::NoSource,
        Account::Disabled if planted(Fault::DisabledLetIn) => return Decision::In(By::Primary),
        Account::Disabled => Bar::Disabled,
        Account::Allowed => match state {
            StoredState::Allows => return Decision::In(By::Primary),
            StoredState::Unknown => Bar::StateUnknown,
            StoredState::Refuses(refusal) => {
                let notice = told(situation.account, refusal);
                return Decision::Refuse(Reason::Account(Bar::State(refusal)), notice);
            }
        },
    };
    Decision::Refuse(Reason::Account(bar), Notice::Refused)
}

/// Users are told that their password has ended only once they have proved it (design D12).
fn told(account: Account, refusal: Refusal) -> Notice {
    match (account, refusal) {
        (Account::Allowed, Refusal::PasswordExpired | Refusal::MustChangePassword) => Notice::MustChange,
        _ => Notice::Refused,
    }
}

fn in_outage(situation: &Situation) -> Decision {
    match (situation.policy.pin, situation.policy.mode) {
        (Some(Pin::Primary), _) if planted(Fault::PinIgnored) => by_backup(situation),
        (Some(Pin::Primary), _) => Decision::TryAgain(Cause::PinnedToPrimary),
        (Some(Pin::Backup), _) | (None, FailoverMode::Automatic) => by_backup(situation),
        (None, FailoverMode::Manual) if situation.policy.automatic_group => by_backup(situation),
        (None, FailoverMode::Manual) if planted(Fault::ManualTakenAsAutomatic) => by_backup(situation),
        (None, FailoverMode::Manual) => Decision::TryAgain(match situation.policy.backup {
            Backup::None => Cause::NoBackup,
            Backup::Phs => Cause::ManualFailover,
        }),
    }
}

fn by_backup(situation: &Situation) -> Decision {
    if situation.policy.backup == Backup::None {
        return Decision::TryAgain(Cause::NoBackup);
    }
    if situation.account == Account::Allowed && situation.hash == HashStanding::NotRead {
        return Decision::ReadHash;
    }
    if let Some(bar) = condition(situation) {
        return Decision::Refuse(Reason::Condition(bar), Notice::Refused);
    }
    match situation.backup {
        Asked::NotYet => Decision::AskBackup,
        Asked::Verdict(Verdict::Verified) => Decision::In(By::Backup),
        Asked::Verdict(Verdict::Refused(refusal)) => Decision::Refuse(Reason::Backup(refusal), Notice::Refused),
        Asked::Unavailable(UnavailableCause::CredentialUnreadable) => {
            Decision::Refuse(Reason::BackupUnreadable, Notice::Refused)
        }
        Asked::Unavailable(cause) => Decision::TryAgain(Cause::Backup(cause)),
    }
}

/// The first condition of failover that does not hold.
fn condition(situation: &Situation) -> Option<Bar> {
    match situation.account {
        Account::Unknown => return Some(Bar::UnknownUser),
        Account::NoSource => return Some(Bar::NoSource),
        Account::Disabled => return Some(Bar::Disabled),
        Account::Allowed => {}
    }
    match situation.hash {
        HashStanding::NotRead | HashStanding::Missing => return Some(Bar::NoHash),
        HashStanding::Outdated if planted(Fault::OutdatedHashAsked) => {}
        HashStanding::Outdated => return Some(Bar::HashOutdated),
        HashStanding::Usable => {}
    }
    let too_old = situation.pass_age.is_none_or(|age| age > situation.policy.max_hash_age);
    if too_old && !planted(Fault::PassAgeIgnored) {
        return Some(Bar::PassTooOld);
    }
    match situation.state {
        _ if planted(Fault::StateIgnored) => {}
        StoredState::Unknown => return Some(Bar::StateUnknown),
        StoredState::Refuses(refusal) => return Some(Bar::State(refusal)),
        StoredState::Allows => {}
    }
    if let Some(refusal) = situation.refusal_on_record.filter(|_| !planted(Fault::RecordIgnored)) {
        return Some(Bar::RefusedBefore(refusal));
    }
    if situation.barred_group && !planted(Fault::BarredGroupLetIn) {
        return Some(Bar::BarredGroup);
    }
    let group = situation.group.filter(|_| !planted(Fault::GroupPolicyIgnored));
    let forced = situation.policy.pin == Some(Pin::Backup);
    match (group, situation.policy.mode) {
        (Some(GroupFailover::Barred), _) => Some(Bar::BarredGroup),
        (Some(GroupFailover::Automatic), _) | (None, FailoverMode::Automatic) => None,
        (Some(GroupFailover::Manual), _) | (None, FailoverMode::Manual) => {
            (!forced && !planted(Fault::ManualTakenAsAutomatic)).then_some(Bar::NotForced)
        }
    }
}

impl Reason {
    /// The stable code for audit rows.
    pub fn code(self) -> String {
        match self {
            Self::Primary(refusal) => refusal.code().to_owned(),
            Self::Account(bar) => bar.code(),
            Self::Condition(bar) => format!("failover-{}", bar.code()),
            Self::Backup(refusal) => format!("backup-{}", refusal.code()),
            Self::BackupUnreadable => "backup-credential-unreadable".to_owned(),
        }
    }
}

impl Bar {
    fn code(self) -> String {
        match self {
            Self::UnknownUser => "unknown-user".to_owned(),
            Self::NoSource => "no-credential-source".to_owned(),
            Self::Disabled => "disabled-in-tenant".to_owned(),
            Self::StateUnknown => "state-unknown".to_owned(),
            Self::State(refusal) => refusal.code().to_owned(),
            Self::NoHash => "no-hash".to_owned(),
            Self::HashOutdated => "hash-outdated".to_owned(),
            Self::PassTooOld => "hash-too-old".to_owned(),
            Self::RefusedBefore(refusal) => format!("refused-before-{}", refusal.code()),
            Self::BarredGroup => "barred-group".to_owned(),
            Self::NotForced => "not-forced".to_owned(),
            Self::LeakedPassword => "leaked-password".to_owned(),
        }
    }
}

impl Cause {
    /// The stable code for audit rows.
    pub fn code(self) -> String {
        match self {
            Self::Primary(cause) => cause.code().to_owned(),
            Self::OutageUnconfirmed(cause) => format!("unconfirmed-{}", cause.code()),
            Self::NoBackup => "no-backup".to_owned(),
            Self::ManualFailover => "manual-failover".to_owned(),
            Self::PinnedToPrimary => "pinned-to-primary".to_owned(),
            Self::PartnerServes => "partner-serves".to_owned(),
            Self::Backup(cause) => format!("backup-{}", cause.code()),
        }
    }
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
