//! What to do with one account: a pure function of what is stored and what its directory shows.

use std::time::Duration;

use zeroize::Zeroizing;

use super::account_result::AccountResult;
use super::source::{PasswordTime, PasswordValues, Passwords, SourceAccount, SourceVersion, is_nt_hash};
use super::store::{Eligibility, KnownAccount, KnownCredential, KnownResult, OutdatedMark, Stage, StateChange};
use super::write_stamp::WriteStamp;
use crate::credential::{ClearText, KeyRing, Quarantine, SourceStamp, SourceValue, StampComparison, parse_nt_hash};
use crate::identity::{AccountState, ConnectorName, CredentialSource, Timestamp};
use crate::signin::store::Mark;

/// What holds for all accounts of a page.
pub(super) struct Context<'a> {
    pub connector: &'a ConnectorName,
    pub ring: &'a KeyRing,
    pub clear_text: ClearText,
    pub sole_server: bool,
    /// Older than before is no sign of a server that lags behind.
    pub restored: bool,
    pub read_at: Timestamp,
}

impl Context<'_> {
    /// The instant of which an entry of `version` tells: of the reading where there is but one server, else of the change,
    /// because one of several may lag behind what another has refused since.
    fn as_of(&self, version: &SourceVersion) -> Timestamp {
        if self.sole_server {
            return self.read_at;
        }
        version.instant().map_or(Timestamp::from_millis(0), |changed| changed.min(self.read_at))
    }
}

#[derive(Debug)]
pub(super) enum Decision {
    /// The server showed an older version than is stored: nothing of it is believed.
    Stale,
    Act(Box<Act>),
}

#[derive(Debug)]
pub(super) struct Act {
    pub state: Option<StateChange>,
    pub password: PasswordAct,
    /// The result where nothing more is to be derived.
    pub result: AccountResult,
    /// What is done about the password answers a single read that somebody asked for.
    pub settled: bool,
    /// The account is to be read again by itself: what it showed may be a fault that passes.
    pub ask_again: bool,
}

#[derive(Debug)]
pub(super) enum PasswordAct {
    Leave,
    Confirm {
        clear: Option<OutdatedMark>,
        stamp: SourceStamp,
        password_set: Option<Timestamp>,
    },
    Derive {
        value: SourceValue,
        stamp: SourceStamp,
        password_set: Option<Timestamp>,
        keep_outdated: bool,
    },
    Quarantine {
        reason: Quarantine,
        stamp: SourceStamp,
    },
    /// A password was stored and the entry shows none: one account's loss, or a lost right to read them all. The pass
    /// decides at its end.
    Vanished {
        stamp: SourceStamp,
    },
}

/// How old a confirmation or a result may get before it is written again; a write per account in every pass would cost
/// more than the pass.
const RENEWED_AFTER: Duration = Duration::from_secs(86_400);

pub(super) fn decide(known: &KnownAccount, account: SourceAccount, context: &Context<'_>) -> Decision {
    let Some(eligibility) = known.link else {
        let result = AccountResult::NoTargetConnection;
        let (password, settled, ask_again) = (PasswordAct::Leave, true, false);
        return Decision::Act(Box::new(Act { state: None, password, result, settled, ask_again }));
    };
    // An account that was gone may come back from a backup, in an older version.
    let is_older =
        |(state, version): &(AccountState, SourceVersion)| account.version.is_older_than(version) && !state.deleted;
    if !context.restored && known.state.as_ref().is_some_and(is_older) {
        return Decision::Stale;
    }
    let before = known.state.as_ref().map(|(state, _)| state);
    let (state, fault) = match account.state {
        Ok(state) => (state, None),
        Err(fault) => {
            let base = before.cloned().unwrap_or_else(AccountState::unrestricted);
            (AccountState { enabled: false, deleted: false, ..base }, Some(AccountResult::Error(fault.to_string())))
        }
    };
    let password_set = match account.password_time {
        PasswordTime::OfState => state.password_set,
        PasswordTime::Told(told) => told.filter(|told| state.password_set == Some(*told)),
    };
    let changed = known.state.as_ref().is_none_or(|(old, version)| *old != state || *version != account.version);
    let state = changed.then(|| StateChange {
        ends_sessions: ends(before, &state),
        as_of: context.as_of(&account.version),
        version: account.version.clone(),
        state,
    });
    let (password, result, settled) = match eligibility {
        Eligibility::Ineligible => (PasswordAct::Leave, AccountResult::FilteredByTarget, true),
        Eligibility::Eligible => {
            let changed_at = account.version.instant();
            let source = CredentialSource { connector: context.connector.clone(), anchor: account.anchor.clone() };
            let passwords: &[PasswordValues] = match &account.passwords {
                Passwords::Read(passwords) => passwords,
                Passwords::Unchanged | Passwords::Unreadable(_) => &[],
            };
            let values = Values { source: &source, passwords, password_set, changed_at };
            let lags = known.credential.as_ref().and_then(|known| known.written).zip(account.written);
            match &account.passwords {
                // The controller that was asked has not heard of the newest password yet.
                Passwords::Read(_) | Passwords::Unreadable(_)
                    if !context.restored && lags.is_some_and(|(known, shown)| shown < known) =>
                {
                    (PasswordAct::Leave, AccountResult::Success, false)
                }
                Passwords::Read(_) => {
                    let (act, result) = values.decide(known.credential.as_ref(), context);
                    (act, result, true)
                }
                Passwords::Unchanged => {
                    let (act, result) = values.unchanged(known.credential.as_ref(), context);
                    (act, result, false)
                }
                Passwords::Unreadable(reason) => {
                    let of_write = (*reason, account.written);
                    let (act, result) = values.unreadable(known.credential.as_ref(), of_write, context);
                    (act, result, false)
                }
            }
        }
    };
    let is_new = matches!(password, PasswordAct::Quarantine { .. });
    let ask_again = is_new && matches!(account.passwords, Passwords::Unreadable(_));
    Decision::Act(Box::new(Act { state, password, result: fault.unwrap_or(result), settled, ask_again }))
}

/// The change for an account that is not in its directory any more.
pub(super) fn missing(known: &KnownAccount, read_at: Timestamp) -> Option<StateChange> {
    let (before, version) = known.state.clone().unzip();
    if before.as_ref().is_some_and(|state| state.deleted) {
        return None;
    }
    let ends_sessions = before.as_ref().is_none_or(allowed);
    let state = AccountState { deleted: true, ..before.unwrap_or_else(AccountState::unrestricted) };
    Some(StateChange { state, version: version.unwrap_or_default(), as_of: read_at, ends_sessions })
}

/// Whether a result is worth a write.
pub(super) fn is_news(known: Option<&KnownResult>, result: &AccountResult, now: Timestamp) -> bool {
    known.is_none_or(|known| {
        known.code != result.code() || known.detail != result.detail() || now.since(known.at) > RENEWED_AFTER
    })
}

fn allowed(state: &AccountState) -> bool {
    state.enabled && !state.deleted
}

fn ends(before: Option<&AccountState>, after: &AccountState) -> bool {
    before.is_none_or(allowed) && !allowed(after)
}

/// The password values of one account.
struct Values<'a> {
    source: &'a CredentialSource,
    passwords: &'a [PasswordValues],
    password_set: Option<Timestamp>,
    changed_at: Option<Timestamp>,
}

impl Values<'_> {
    fn decide(&self, known: Option<&KnownCredential>, context: &Context<'_>) -> (PasswordAct, AccountResult) {
        let message = self.message();
        let stamp = || context.ring.stamp(self.source, STAMPED, &message);
        let seen = known.and_then(|known| Some((known, known.stamp.as_ref()?)));
        let comparison = seen.map(|(_, stamp)| context.ring.compare_stamp(stamp, self.source, STAMPED, &message));
        let usable = known.is_some_and(|known| known.stage.is_usable());
        match (seen, comparison) {
            (Some((known, old)), Some(StampComparison::Same)) if usable => {
                let old_key = !old.is_under(&context.ring.primary());
                (self.confirm(known, stamp(), old_key, context), AccountResult::Success)
            }
            (_, comparison) => match self.parse(context.clear_text) {
                Ok(value) => {
                    // A stamp under a lost key proves no change, so a doubt about the hash stays.
                    let keep_outdated = comparison == Some(StampComparison::UnknownKey);
                    let derive =
                        PasswordAct::Derive { value, stamp: stamp(), password_set: self.password_set, keep_outdated };
                    (derive, AccountResult::Success)
                }
                Err(Quarantine::Absent) if usable => {
                    (PasswordAct::Vanished { stamp: stamp() }, AccountResult::Quarantined(Quarantine::Absent))
                }
                Err(reason) if comparison == Some(StampComparison::Same) => {
                    (PasswordAct::Leave, AccountResult::Quarantined(reason))
                }
                Err(reason) => (PasswordAct::Quarantine { reason, stamp: stamp() }, AccountResult::Quarantined(reason)),
            },
        }
    }

    /// The stored hash is still the directory's. A time of setting that is newer than the stored one belongs to a password
    /// that the next read brings: until then nothing is confirmed.
    fn unchanged(&self, known: Option<&KnownCredential>, context: &Context<'_>) -> (PasswordAct, AccountResult) {
        let usable = known.filter(|known| known.stage.is_usable());
        let Some((known, stamp)) = usable.and_then(|known| Some((known, known.stamp.clone()?))) else {
            let reason = known.filter(|known| known.stage == Stage::Quarantined).and_then(|known| known.reason.clone());
            let absent = AccountResult::Quarantined(Quarantine::Absent);
            return (PasswordAct::Leave, reason.map_or(absent, AccountResult::StillQuarantined));
        };
        let act = if self.password_set == known.password_set {
            self.confirm(known, stamp, false, context)
        } else {
            PasswordAct::Leave
        };
        (act, AccountResult::Success)
    }

    /// The directory has a hash that cannot be read. If it comes from the write that is stored, nothing has changed; from
    /// any other, the stored one is no longer the user's and is set aside.
    fn unreadable(
        &self,
        known: Option<&KnownCredential>,
        (reason, written): (Quarantine, Option<WriteStamp>),
        context: &Context<'_>,
    ) -> (PasswordAct, AccountResult) {
        let is_stored = |known: &KnownCredential| known.written.is_some() && known.written == written;
        match known {
            Some(stored) if is_stored(stored) => self.unchanged(known, context),
            _ => {
                let stamp = context.ring.stamp(self.source, STAMPED, &[Zeroizing::new(UNREADABLE.to_vec())]);
                (PasswordAct::Quarantine { reason, stamp }, AccountResult::Quarantined(reason))
            }
        }
    }

    /// The value is the stored one.
    fn confirm(
        &self,
        known: &KnownCredential,
        stamp: SourceStamp,
        old_key: bool,
        context: &Context<'_>,
    ) -> PasswordAct {
        let set_again = self.password_set != known.password_set;
        let clear = known
            .outdated
            .clone()
            .filter(|mark| self.confirms(mark, context) || (mark.by == Mark::NewerPasswordSet && set_again));
        let due = context.read_at.since(known.confirmed_at) > RENEWED_AFTER;
        // What is known of the write goes back with the directory.
        if clear.is_some() || set_again || old_key || due || context.restored {
            PasswordAct::Confirm { clear, stamp, password_set: self.password_set }
        } else {
            PasswordAct::Leave
        }
    }

    /// The same value as before takes a doubt away only if it was read after the doubt arose. Where the directory has
    /// shown that it moved on, one of several servers may lag behind it: then the version must be younger too.
    fn confirms(&self, mark: &OutdatedMark, context: &Context<'_>) -> bool {
        let younger = || self.changed_at.is_some_and(|changed| changed > mark.at);
        context.read_at > mark.at && (mark.by == Mark::Unchecked || context.sole_server || younger())
    }

    fn parse(&self, clear_text: ClearText) -> Result<SourceValue, Quarantine> {
        let mut fault = None;
        for PasswordValues { attribute, values } in self.passwords {
            let Some(first) = values.first() else { continue };
            let parsed = if is_nt_hash(attribute) {
                parse_nt_hash(first).map(SourceValue::Nt)
            } else {
                SourceValue::strongest(values, clear_text)
            };
            match parsed {
                Ok(value) => return Ok(value),
                Err(reason) => fault = fault.or(Some(reason)),
            }
        }
        Err(fault.unwrap_or(Quarantine::Absent))
    }

    /// All values with their attributes: a change of any is a change.
    fn message(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let values = self
            .passwords
            .iter()
            .flat_map(|password| password.values.iter().map(|value| (password.attribute.to_ascii_lowercase(), value)));
        values
            .map(|(attribute, value)| {
                let mut bytes = Zeroizing::new(Vec::with_capacity(attribute.len() + 1 + value.len()));
                bytes.extend_from_slice(attribute.as_bytes());
                bytes.push(b':');
                bytes.extend_from_slice(value);
                bytes
            })
            .collect()
    }
}

/// What the stamp is over.
const STAMPED: &str = "passwords";
/// What stands for a value that cannot be read; no attribute has this name.
const UNREADABLE: &[u8] = b"";
