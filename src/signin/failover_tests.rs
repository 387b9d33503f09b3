//! The decision, enumerated: every combination of verdict, cause, policy, pin, outage, probe, late verdict, account,
//! state, hash, age, record, group and backup is compared with an oracle that is written as the design's table. Then
//! faults are seeded, and each must be caught by the same comparison.

use super::*;
use Verdict::{Refused, Verified};

const LIMIT: Duration = Duration::from_secs(7 * 86_400);
const OVER: Duration = Duration::from_millis(7 * 86_400_000 + 1);

/// What the design allows in a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    AskPrimary,
    ConfirmOutage,
    ReadHash,
    AskBackup,
    In(By),
    Refuse(Notice),
    TryAgain,
}

/// The design's section 3, row by row.
fn table(s: &Situation) -> Expected {
    let proved_but_ended = |refusal| {
        let told =
            s.account == Account::Allowed && [Refusal::PasswordExpired, Refusal::MustChangePassword].contains(&refusal);
        Expected::Refuse(if told { Notice::MustChange } else { Notice::Refused })
    };
    // "refused, any reason -> refused; the backup is never asked", also when it came late.
    let verdict = match (s.late, s.primary) {
        (Some(verdict), _) | (None, Asked::Verdict(verdict)) => Some(verdict),
        (None, Asked::NotYet | Asked::Unavailable(_)) => None,
    };
    if let Some(Refused(refusal)) = verdict {
        return proved_but_ended(refusal);
    }
    if verdict == Some(Verified) {
        // "verified -> in", if both halves of the account's state allow it. A live check has read one half itself.
        return match (s.account, s.method, s.state) {
            (Account::Allowed, Managed::Pta, _) | (Account::Allowed, Managed::Phs, StoredState::Allows) => {
                Expected::In(By::Primary)
            }
            (Account::Allowed, Managed::Phs, StoredState::Refuses(refusal)) => proved_but_ended(refusal),
            _ => Expected::Refuse(Notice::Refused),
        };
    }
    let asked = s.primary != Asked::NotYet;
    if s.method == Managed::Phs {
        // Nothing stands behind password hash sync.
        return if asked { Expected::TryAgain } else { Expected::AskPrimary };
    }
    let forced = s.policy.pin == Some(Pin::Backup);
    if !forced && !s.outage_known {
        if !asked {
            return Expected::AskPrimary;
        }
        // "Confirmed means: without this user's input."
        match s.probe {
            ProbeOutcome::NotRun => return Expected::ConfirmOutage,
            ProbeOutcome::SomeServerAnswers => return Expected::TryAgain,
            ProbeOutcome::EveryServerFailed => {}
        }
    }
    let automatic = s.policy.mode == FailoverMode::Automatic && s.policy.pin.is_none();
    if s.policy.backup == Backup::None || !(forced || automatic) {
        return Expected::TryAgain;
    }
    let conditions = [
        s.hash == HashStanding::Usable || s.hash == HashStanding::NotRead,
        s.pass_age.is_some_and(|age| age <= s.policy.max_hash_age),
        s.state == StoredState::Allows,
        s.refusal_on_record.is_none(),
        !s.barred_group,
    ];
    if s.account != Account::Allowed {
        return Expected::Refuse(Notice::Refused);
    }
    if s.hash == HashStanding::NotRead {
        return Expected::ReadHash;
    }
    if conditions.contains(&false) {
        return Expected::Refuse(Notice::Refused);
    }
    match s.backup {
        Asked::NotYet => Expected::AskBackup,
        Asked::Verdict(Verified) => Expected::In(By::Backup),
        Asked::Verdict(Refused(_)) | Asked::Unavailable(UnavailableCause::CredentialUnreadable) => {
            Expected::Refuse(Notice::Refused)
        }
        Asked::Unavailable(_) => Expected::TryAgain,
    }
}

fn shape(decision: Decision) -> Expected {
    match decision {
        Decision::AskPrimary => Expected::AskPrimary,
        Decision::ConfirmOutage => Expected::ConfirmOutage,
        Decision::ReadHash => Expected::ReadHash,
        Decision::AskBackup => Expected::AskBackup,
        Decision::In(by) => Expected::In(by),
        Decision::Refuse(_, notice) => Expected::Refuse(notice),
        Decision::TryAgain(_) => Expected::TryAgain,
    }
}

const REFUSALS: [Refusal; 13] = [
    Refusal::UnknownUser,
    Refusal::WrongPassword,
    Refusal::NotInDirectory,
    Refusal::Disabled,
    Refusal::Expired,
    Refusal::LockedOut,
    Refusal::PasswordExpired,
    Refusal::MustChangePassword,
    Refusal::OutsideLogonHours,
    Refusal::WorkstationNotAllowed,
    Refusal::OldPasswordWindow,
    Refusal::NoCredential,
    Refusal::RefusedUnknown(7),
];

/// All that an authority can say.
fn all_answers() -> Vec<Asked> {
    let mut all = vec![Asked::NotYet, Asked::Verdict(Verified)];
    all.extend(REFUSALS.map(|refusal| Asked::Verdict(Refused(refusal))));
    all.extend(UnavailableCause::ALL.map(Asked::Unavailable));
    all
}

/// Calls `visit` with every combination of the given answers and conditions; stops at the first `false`.
fn enumerate(
    primaries: &[Asked],
    backups: &[Asked],
    lates: &[Option<Verdict>],
    conditions: &[Situation],
    visit: &mut dyn FnMut(&Situation) -> bool,
) -> bool {
    for condition in conditions {
        for method in [Managed::Phs, Managed::Pta] {
            for backup_policy in [Backup::None, Backup::Phs] {
                for mode in [FailoverMode::Manual, FailoverMode::Automatic] {
                    for pin in [None, Some(Pin::Primary), Some(Pin::Backup)] {
                        for outage_known in [false, true] {
                            for probe in
                                [ProbeOutcome::NotRun, ProbeOutcome::EveryServerFailed, ProbeOutcome::SomeServerAnswers]
                            {
                                for &primary in primaries {
                                    for &late in lates {
                                        for &backup in backups {
                                            let policy = Policy { backup: backup_policy, mode, pin, ..fair().policy };
                                            let situation = Situation {
                                                method,
                                                policy,
                                                outage_known,
                                                primary,
                                                probe,
                                                late,
                                                backup,
                                                ..*condition
                                            };
                                            if !visit(&situation) {
                                                return false;
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    true
}

fn fair() -> Situation {
    Situation {
        method: Managed::Pta,
        policy: Policy {
            backup: Backup::Phs,
            mode: FailoverMode::Automatic,
            automatic_group: false,
            pin: None,
            max_hash_age: LIMIT,
        },
        outage_known: false,
        primary: Asked::NotYet,
        probe: ProbeOutcome::NotRun,
        late: None,
        account: Account::Allowed,
        state: StoredState::Allows,
        hash: HashStanding::Usable,
        pass_age: Some(Duration::from_secs(60)),
        refusal_on_record: None,
        barred_group: false,
        group: None,
        backup: Asked::NotYet,
    }
}

/// All conditions hold, and each one fails alone.
fn conditions_one_by_one() -> Vec<Situation> {
    let mut all = vec![fair(), Situation { pass_age: Some(LIMIT), ..fair() }];
    all.extend([Account::Unknown, Account::NoSource, Account::Disabled].map(|account| Situation { account, ..fair() }));
    all.extend(REFUSALS.map(|refusal| Situation { state: StoredState::Refuses(refusal), ..fair() }));
    all.extend(REFUSALS.map(|refusal| Situation { refusal_on_record: Some(refusal), ..fair() }));
    all.push(Situation { state: StoredState::Unknown, ..fair() });
    all.extend(
        [HashStanding::NotRead, HashStanding::Missing, HashStanding::Outdated].map(|hash| Situation { hash, ..fair() }),
    );
    all.extend([None, Some(OVER)].map(|pass_age| Situation { pass_age, ..fair() }));
    all.push(Situation { barred_group: true, ..fair() });
    all
}

/// Every combination of conditions.
fn conditions_combined() -> Vec<Situation> {
    let mut all = Vec::new();
    for account in [Account::Unknown, Account::NoSource, Account::Disabled, Account::Allowed] {
        for state in [
            StoredState::Unknown,
            StoredState::Allows,
            StoredState::Refuses(Refusal::LockedOut),
            StoredState::Refuses(Refusal::MustChangePassword),
        ] {
            for hash in [HashStanding::NotRead, HashStanding::Missing, HashStanding::Outdated, HashStanding::Usable] {
                for pass_age in [None, Some(LIMIT), Some(OVER)] {
                    for refusal_on_record in [None, Some(Refusal::Disabled)] {
                        for barred_group in [false, true] {
                            all.push(Situation {
                                account,
                                state,
                                hash,
                                pass_age,
                                refusal_on_record,
                                barred_group,
                                ..fair()
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

/// The first situation in which `decide` is not the design's table.
fn first_fault(decide: fn(&Situation) -> Decision) -> Option<Situation> {
    let mut fault = None;
    let mut visit = |situation: &Situation| {
        let right = shape(decide(situation)) == table(situation);
        if !right {
            fault = Some(*situation);
        }
        right
    };
    let answers = all_answers();
    let lates: Vec<Option<Verdict>> =
        [None, Some(Verified)].into_iter().chain(REFUSALS.map(|refusal| Some(Refused(refusal)))).collect();
    // Every answer and cause against every condition failing alone.
    let few = [Asked::NotYet, Asked::Verdict(Verified)];
    let fine = enumerate(&answers, &answers, &[None], &conditions_one_by_one(), &mut visit)
        && enumerate(&answers, &few, &lates, &conditions_one_by_one(), &mut visit);
    if fine {
        // Every combination of conditions against one answer of each kind.
        let primaries = [
            Asked::NotYet,
            Asked::Verdict(Verified),
            Asked::Verdict(Refused(Refusal::WrongPassword)),
            Asked::Unavailable(UnavailableCause::Deadline),
        ];
        let backups = [
            Asked::NotYet,
            Asked::Verdict(Verified),
            Asked::Verdict(Refused(Refusal::WrongPassword)),
            Asked::Unavailable(UnavailableCause::Overloaded),
        ];
        let lates = [None, Some(Refused(Refusal::WrongPassword))];
        enumerate(&primaries, &backups, &lates, &conditions_combined(), &mut visit);
    }
    fault
}

#[test]
fn the_decision_is_the_designs_table_in_every_situation() {
    assert_eq!(first_fault(decide), None);
}

/// Faults, each the kind that an edit could bring in.
fn seeded_faults() -> Vec<(&'static str, fn(&Situation) -> Decision)> {
    fn with(s: &Situation, change: impl FnOnce(&mut Situation)) -> Decision {
        let mut changed = *s;
        change(&mut changed);
        decide(&changed)
    }
    vec![
        ("fallback on refusal", |s| match s.primary {
            Asked::Verdict(Refused(_)) => with(s, |s| {
                s.primary = Asked::Unavailable(UnavailableCause::ConnectionLost);
                s.outage_known = true;
            }),
            _ => decide(s),
        }),
        ("age ignored", |s| with(s, |s| s.pass_age = Some(Duration::ZERO))),
        ("age off by one", |s| with(s, |s| s.pass_age = s.pass_age.map(|age| age + Duration::from_millis(1)))),
        ("no pass ever taken for a fresh one", |s| with(s, |s| s.pass_age = s.pass_age.or(Some(Duration::ZERO)))),
        ("late refusal dropped", |s| with(s, |s| s.late = s.late.filter(|late| *late == Verified))),
        ("unconfirmed outage accepted", |s| {
            with(s, |s| {
                if s.probe == ProbeOutcome::SomeServerAnswers {
                    s.probe = ProbeOutcome::EveryServerFailed;
                }
            })
        }),
        ("breaker opened by one user", |s| with(s, |s| s.outage_known |= matches!(s.primary, Asked::Unavailable(_)))),
        ("outdated hash accepted", |s| {
            with(s, |s| {
                if s.hash == HashStanding::Outdated {
                    s.hash = HashStanding::Usable;
                }
            })
        }),
        ("missing hash accepted", |s| {
            with(s, |s| {
                if s.hash == HashStanding::Missing {
                    s.hash = HashStanding::Usable;
                }
            })
        }),
        ("pin to the primary ignored", |s| with(s, |s| s.policy.pin = s.policy.pin.filter(|pin| *pin == Pin::Backup))),
        ("pin to the backup ignored", |s| with(s, |s| s.policy.pin = s.policy.pin.filter(|pin| *pin == Pin::Primary))),
        ("manual taken for automatic", |s| with(s, |s| s.policy.mode = FailoverMode::Automatic)),
        ("a domain without backup falls back", |s| with(s, |s| s.policy.backup = Backup::Phs)),
        ("barred group ignored", |s| with(s, |s| s.barred_group = false)),
        ("account state ignored", |s| with(s, |s| s.state = StoredState::Allows)),
        ("unknown account state allowed", |s| {
            with(s, |s| {
                if s.state == StoredState::Unknown {
                    s.state = StoredState::Allows;
                }
            })
        }),
        ("disabled in the tenant ignored", |s| {
            with(s, |s| {
                if s.account == Account::Disabled {
                    s.account = Account::Allowed;
                }
            })
        }),
        ("newer refusal ignored", |s| with(s, |s| s.refusal_on_record = None)),
        ("backup's refusal ignored", |s| match decide(s) {
            Decision::Refuse(Reason::Backup(_), _) => Decision::In(By::Backup),
            other => other,
        }),
        ("try again told to one user in an outage", |s| match decide(s) {
            Decision::Refuse(Reason::BackupUnreadable, _) => {
                Decision::TryAgain(Cause::Backup(UnavailableCause::CredentialUnreadable))
            }
            other => other,
        }),
        ("must change told without proof", |s| match decide(s) {
            Decision::Refuse(reason @ Reason::Condition(Bar::State(Refusal::MustChangePassword)), _) => {
                Decision::Refuse(reason, Notice::MustChange)
            }
            other => other,
        }),
        ("backup answers without its mark", |s| match decide(s) {
            Decision::In(By::Backup) => Decision::In(By::Primary),
            other => other,
        }),
        ("backup of hash sync", |s| match (s.method, decide(s)) {
            (Managed::Phs, Decision::TryAgain(_)) => Decision::In(By::Backup),
            (_, other) => other,
        }),
    ]
}

#[test]
fn every_seeded_fault_is_caught() {
    for (name, faulty) in seeded_faults() {
        assert!(first_fault(faulty).is_some(), "`{name}` was not caught");
    }
}

#[test]
fn nobody_gets_in_by_the_backup_unless_every_condition_holds() {
    let mut visit = |s: &Situation| {
        if decide(s) == Decision::In(By::Backup) {
            assert_eq!(s.method, Managed::Pta);
            assert_eq!(s.policy.backup, Backup::Phs);
            assert_eq!(s.backup, Asked::Verdict(Verified));
            assert!(!matches!(s.primary, Asked::Verdict(_)));
            assert_eq!((s.account, s.hash, s.state), (Account::Allowed, HashStanding::Usable, StoredState::Allows));
            assert_eq!((s.refusal_on_record, s.barred_group), (None, false));
            assert!(s.pass_age.is_some_and(|age| age <= LIMIT));
            let confirmed = s.outage_known || s.probe == ProbeOutcome::EveryServerFailed;
            let allowed = s.policy.mode == FailoverMode::Automatic && s.policy.pin.is_none();
            assert!(s.policy.pin == Some(Pin::Backup) || (allowed && confirmed), "{s:?}");
        }
        true
    };
    enumerate(&all_answers(), &all_answers(), &[None], &conditions_one_by_one(), &mut visit);
}

#[test]
fn every_question_is_asked_once() {
    // Whatever the answers, the service's loop ends: a question changes what it asks about.
    let mut visit = |s: &Situation| {
        match decide(s) {
            Decision::AskPrimary => assert_eq!(s.primary, Asked::NotYet),
            Decision::ConfirmOutage => assert_eq!(s.probe, ProbeOutcome::NotRun),
            Decision::ReadHash => assert_eq!(s.hash, HashStanding::NotRead),
            Decision::AskBackup => assert_eq!(s.backup, Asked::NotYet),
            Decision::In(_) | Decision::Refuse(..) | Decision::TryAgain(_) => {}
        }
        true
    };
    enumerate(&all_answers(), &all_answers(), &[None], &conditions_one_by_one(), &mut visit);
}

#[test]
fn a_late_refusal_revokes_and_counts_like_one_in_time() {
    for refusal in REFUSALS {
        let judged = judge_late(Refused(refusal));
        assert!(judged.revoke, "{refusal:?}");
        assert_eq!(judged.record.is_some(), concerns_account(refusal));
        assert_eq!(judged.counts, counts(refusal));
    }
    assert_eq!(judge_late(Verified), LateJudgement { revoke: false, record: None, counts: false });
    assert!(judge_late(Refused(Refusal::WrongPassword)).counts);
    assert!(!judge_late(Refused(Refusal::RefusedUnknown(1))).counts);
}

#[test]
fn account_refusals_bar_the_backup_and_password_refusals_do_not() {
    let barring: Vec<_> = REFUSALS.into_iter().filter(|refusal| concerns_account(*refusal)).collect();
    assert_eq!(
        barring,
        [
            Refusal::NotInDirectory,
            Refusal::Disabled,
            Refusal::Expired,
            Refusal::LockedOut,
            Refusal::PasswordExpired,
            Refusal::MustChangePassword,
            Refusal::OutsideLogonHours,
            Refusal::WorkstationNotAllowed,
            Refusal::RefusedUnknown(7),
        ]
    );
}
