//! The model of method, failover and rollout: the production decisions are driven through every combination of what
//! authorities say and when, of what is stored, of policies and rollouts, and compared with what the design demands of
//! the end. With `planted-faults` each fault of `signin::fault` must be noticed.

use std::collections::BTreeSet;
use std::time::Duration;

use landbridge::identity::{
    AuthenticationMethod, Backup, FailoverMode, GroupFailover, GroupId, NodeId, Pin, Refusal, RolloutId, Timestamp,
    UnavailableCause, UserId, Verdict,
};
use landbridge::signin::failover::{
    Account, Asked, Bar, By, Cause, Decision, HashStanding, Policy, ProbeOutcome, Reason, Situation, StoredState,
    decide, stands_in,
};
use landbridge::signin::failover_groups::{FailoverGroup, strictest};
use landbridge::signin::partner_outage::{
    FEWEST_FAILURES, Measure, NodeView, PartnerHealth, Synthetic, judge as judge_partner,
};
use landbridge::signin::realm::Managed;
use landbridge::signin::rollout::{Ground, Lot, Rollout, Scope, Standing, choose};

use AuthenticationMethod::{Phs, Pta};

const LIMIT: Duration = Duration::from_secs(7 * 86_400);

/// What is true of one try, whoever finds it out.
#[derive(Clone, Copy, Debug)]
struct Truth {
    policy: Policy,
    directory: Directory,
    probe: ProbeOutcome,
    outage_known: bool,
    account: Account,
    state: StoredState,
    hash: HashStanding,
    pass_age: Option<Duration>,
    record: Option<Refusal>,
    barred: bool,
    group: Option<GroupFailover>,
    stored_hash: Asked,
}

/// What the directory says, and when.
#[derive(Clone, Copy, Debug)]
enum Directory {
    Answers(Verdict),
    Silent(UnavailableCause),
    /// Silent at first; the verdict comes before the n-th decision from then on.
    Late(Verdict, u8),
}

/// How a try went.
#[derive(Debug)]
struct Course {
    end: Decision,
    primary_asked: bool,
    backup_asked: bool,
    /// The verdict of the primary that had come before the end.
    verdict: Option<Verdict>,
    probed: bool,
}

/// Carries a try out as the service does.
fn run(method: Managed, truth: &Truth) -> Result<Course, String> {
    let mut situation = Situation {
        method,
        policy: truth.policy,
        outage_known: truth.outage_known,
        primary: Asked::NotYet,
        probe: ProbeOutcome::NotRun,
        late: None,
        account: truth.account,
        state: truth.state,
        hash: HashStanding::NotRead,
        pass_age: None,
        refusal_on_record: truth.record,
        barred_group: true,
        group: None,
        backup: Asked::NotYet,
    };
    let (mut primary_asked, mut backup_asked, mut probed, mut verdict, mut until_late) =
        (false, false, false, None, None);
    for _ in 0..8 {
        if let Some(left) = until_late {
            if left == 0 {
                let Directory::Late(late, _) = truth.directory else { return Err("nobody is late".to_owned()) };
                (situation.late, verdict, until_late) = (Some(late), Some(late), None);
            } else {
                until_late = Some(left - 1);
            }
        }
        match decide(&situation) {
            Decision::AskPrimary if primary_asked => return Err("the primary was asked twice".to_owned()),
            Decision::AskPrimary => {
                primary_asked = true;
                situation.primary = match (method, truth.directory) {
                    (Managed::Phs, _) => truth.stored_hash,
                    (Managed::Federated, _) => return Err("a partner was asked from here".to_owned()),
                    (Managed::Pta, Directory::Answers(verdict)) => Asked::Verdict(verdict),
                    (Managed::Pta, Directory::Silent(cause)) => Asked::Unavailable(cause),
                    (Managed::Pta, Directory::Late(_, after)) => {
                        until_late = Some(after);
                        Asked::Unavailable(UnavailableCause::Deadline)
                    }
                };
                if let Asked::Verdict(said) = situation.primary {
                    verdict = Some(said);
                }
            }
            Decision::ConfirmOutage => {
                probed = true;
                situation.probe = truth.probe;
            }
            Decision::ReadHash => {
                situation.hash = truth.hash;
                situation.pass_age = truth.pass_age;
                situation.barred_group = truth.barred;
                situation.group = truth.group;
            }
            Decision::AskBackup if backup_asked => return Err("the backup was asked twice".to_owned()),
            Decision::AskBackup => {
                backup_asked = true;
                situation.backup = truth.stored_hash;
            }
            end @ (Decision::In(_) | Decision::Refuse(..) | Decision::TryAgain(_)) => {
                return Ok(Course { end, primary_asked, backup_asked, verdict, probed });
            }
        }
    }
    Err("it does not come to an end".to_owned())
}

/// What the design demands of the end, whatever way led there.
fn judge(method: Managed, truth: &Truth, course: &Course) -> Result<(), String> {
    let demand = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let refused = matches!(course.verdict, Some(Verdict::Refused(_)));
    if refused {
        let by_primary = matches!(course.end, Decision::Refuse(Reason::Primary(_), _));
        demand(by_primary, "a definitive refusal is the end")?;
        // A late one may have found the backup asked already; one that came in time may not.
        let late = matches!(truth.directory, Directory::Late(..)) && method == Managed::Pta;
        demand(late || !course.backup_asked, "what the primary refused is asked of no other")?;
    }
    let primary_lets_in = course.verdict == Some(Verdict::Verified)
        && truth.account == Account::Allowed
        && (method == Managed::Pta || truth.state == StoredState::Allows);
    match course.end {
        Decision::In(By::Primary) => demand(primary_lets_in, "the primary let in whom it may not")?,
        Decision::In(By::Backup) => {
            demand(method != Managed::Phs && backup_lets_in(method, truth, course), "so did the backup")?
        }
        _ => {}
    }
    demand(!primary_lets_in || matches!(course.end, Decision::In(_)), "a healthy method locks nobody out")?;
    let conclusive = course.verdict.is_none() && method != Managed::Phs && backup_lets_in(method, truth, course);
    demand(!conclusive || course.end == Decision::In(By::Backup), "the backup locks nobody out whom it may let in")?;
    let healthy = matches!(truth.directory, Directory::Answers(_)) && !truth.outage_known;
    let forced = truth.policy.pin == Some(Pin::Backup);
    if method == Managed::Pta && healthy && !forced {
        demand(course.primary_asked && !course.backup_asked, "a healthy directory answers for itself")?;
    }
    if method == Managed::Federated {
        demand(!course.primary_asked && !course.probed, "the partner is the browser's to ask")?;
        let passed_over = stands_in(&truth.policy, truth.outage_known);
        let wanted = forced || truth.outage_known && truth.policy.pin.is_none();
        demand(wanted || !passed_over, "a partner that serves is passed over by a pin alone")?;
        let serves = course.end == Decision::TryAgain(Cause::PartnerServes);
        demand(serves != passed_over, "the road and the decision are of one mind")?;
    }
    if let Decision::TryAgain(Cause::ManualFailover | Cause::PinnedToPrimary | Cause::NoBackup | Cause::PartnerServes) =
        course.end
    {
        demand(!course.backup_asked, "nobody is asked in vain")?;
    }
    if let Decision::Refuse(Reason::Condition(bar), _) = course.end {
        demand(bar == first_bar(truth), "the reason is the first condition that does not hold")?;
    }
    Ok(())
}

/// The design's section 3, condition by condition.
fn backup_lets_in(method: Managed, truth: &Truth, course: &Course) -> bool {
    let probed = method == Managed::Pta && course.probed && truth.probe == ProbeOutcome::EveryServerFailed;
    let confirmed = truth.outage_known || probed;
    let by_itself = match truth.group {
        Some(GroupFailover::Automatic) => truth.policy.automatic_group,
        Some(GroupFailover::Manual | GroupFailover::Barred) => false,
        None => truth.policy.mode == FailoverMode::Automatic,
    };
    let wanted = match truth.policy.pin {
        Some(Pin::Backup) => truth.group != Some(GroupFailover::Barred),
        Some(Pin::Primary) => false,
        None => by_itself && confirmed,
    };
    wanted
        && truth.policy.backup == Backup::Phs
        && truth.account == Account::Allowed
        && truth.hash == HashStanding::Usable
        && truth.pass_age.is_some_and(|age| age <= truth.policy.max_hash_age)
        && truth.state == StoredState::Allows
        && truth.record.is_none()
        && !truth.barred
        && truth.stored_hash == Asked::Verdict(Verdict::Verified)
}

fn first_bar(truth: &Truth) -> Bar {
    match truth.account {
        Account::Unknown => return Bar::UnknownUser,
        Account::NoSource => return Bar::NoSource,
        Account::Disabled => return Bar::Disabled,
        Account::Allowed => {}
    }
    match (truth.hash, truth.pass_age, truth.state, truth.record) {
        (HashStanding::NotRead | HashStanding::Missing, ..) => Bar::NoHash,
        (HashStanding::Outdated, ..) => Bar::HashOutdated,
        (HashStanding::Usable, age, ..) if age.is_none_or(|age| age > truth.policy.max_hash_age) => Bar::PassTooOld,
        (_, _, StoredState::Unknown, _) => Bar::StateUnknown,
        (_, _, StoredState::Refuses(refusal), _) => Bar::State(refusal),
        (_, _, StoredState::Allows, Some(refusal)) => Bar::RefusedBefore(refusal),
        (_, _, StoredState::Allows, None) if truth.barred || truth.group == Some(GroupFailover::Barred) => {
            Bar::BarredGroup
        }
        (_, _, StoredState::Allows, None) => Bar::NotForced,
    }
}

/// Every combination; `check` ends the walk by an error.
fn every_truth(check: &mut dyn FnMut(&Truth) -> Result<(), String>) -> Result<(), String> {
    let wrong = Verdict::Refused(Refusal::WrongPassword);
    let directories = [
        Directory::Answers(Verdict::Verified),
        Directory::Answers(wrong),
        Directory::Answers(Verdict::Refused(Refusal::Disabled)),
        Directory::Answers(Verdict::Refused(Refusal::PasswordExpired)),
        Directory::Silent(UnavailableCause::Connect),
        Directory::Late(Verdict::Verified, 0),
        Directory::Late(wrong, 0),
        Directory::Late(wrong, 2),
        Directory::Late(Verdict::Refused(Refusal::LockedOut), 1),
    ];
    let hashes = [
        Asked::Verdict(Verdict::Verified),
        Asked::Verdict(wrong),
        Asked::Verdict(Verdict::Refused(Refusal::NoCredential)),
        Asked::Unavailable(UnavailableCause::CredentialUnreadable),
        Asked::Unavailable(UnavailableCause::Overloaded),
    ];
    let mut policies = Vec::new();
    for backup in [Backup::None, Backup::Phs] {
        for mode in [FailoverMode::Manual, FailoverMode::Automatic] {
            for pin in [None, Some(Pin::Primary), Some(Pin::Backup)] {
                policies.push(Policy { backup, mode, automatic_group: false, pin, max_hash_age: LIMIT });
            }
        }
    }
    let states = [StoredState::Allows, StoredState::Unknown, StoredState::Refuses(Refusal::Expired)];
    let stored = [HashStanding::Usable, HashStanding::Outdated, HashStanding::Missing];
    let ages = [Some(LIMIT), Some(LIMIT + Duration::from_millis(1)), None];
    for directory in directories {
        for (probe, outage_known) in [
            (ProbeOutcome::EveryServerFailed, false),
            (ProbeOutcome::EveryServerFailed, true),
            (ProbeOutcome::SomeServerAnswers, false),
            (ProbeOutcome::SomeServerAnswers, true),
        ] {
            for policy in &policies {
                for account in [Account::Allowed, Account::Disabled, Account::NoSource, Account::Unknown] {
                    for (state, hash) in states.iter().flat_map(|state| stored.iter().map(move |hash| (*state, *hash)))
                    {
                        for (pass_age, record) in
                            ages.iter().flat_map(|age| [None, Some(Refusal::Disabled)].map(|record| (*age, record)))
                        {
                            for (barred, stored_hash) in
                                [false, true].iter().flat_map(|barred| hashes.iter().map(move |hash| (*barred, *hash)))
                            {
                                let truth = Truth {
                                    policy: *policy,
                                    directory,
                                    probe,
                                    outage_known,
                                    account,
                                    state,
                                    hash,
                                    pass_age,
                                    record,
                                    barred,
                                    group: None,
                                    stored_hash,
                                };
                                every_group(&truth, check)?;
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// The same with everything that may be said of the user's groups. Where another condition fails already they are never
/// looked at.
fn every_group(truth: &Truth, check: &mut dyn FnMut(&Truth) -> Result<(), String>) -> Result<(), String> {
    check(truth)?;
    let others_hold = truth.account == Account::Allowed
        && (truth.state, truth.hash) == (StoredState::Allows, HashStanding::Usable)
        && (truth.pass_age, truth.record) == (Some(LIMIT), None);
    if !others_hold {
        return Ok(());
    }
    use GroupFailover::{Automatic, Barred, Manual};
    for (automatic_group, group) in [
        (false, Some(Manual)),
        (false, Some(Barred)),
        (true, None),
        (true, Some(Automatic)),
        (true, Some(Manual)),
        (true, Some(Barred)),
    ] {
        check(&Truth { policy: Policy { automatic_group, ..truth.policy }, group, ..*truth })?;
    }
    Ok(())
}

fn every_decision() -> Result<u64, String> {
    let mut tries = 0;
    every_truth(&mut |truth| {
        for method in [Managed::Phs, Managed::Pta, Managed::Federated] {
            tries += 1;
            let course = run(method, truth).map_err(|what| format!("{what}: {method:?} {truth:?}"))?;
            judge(method, truth, &course).map_err(|what| format!("{what}: {method:?} {truth:?} {course:?}"))?;
        }
        Ok(())
    })?;
    Ok(tries)
}

fn group(number: u128) -> GroupId {
    GroupId::from_uuid(uuid::Uuid::from_u128(number))
}

fn rollout(scope: Scope, method: AuthenticationMethod) -> Rollout {
    Rollout {
        id: RolloutId::random(),
        domain: "example.org".parse().expect("a domain"),
        scope,
        method,
        partner: None,
        by: "operator".to_owned(),
        at: Timestamp::from_secs(1),
    }
}

fn of_group(number: u128, precedence: u32, method: AuthenticationMethod) -> Rollout {
    rollout(Scope::Group { group: group(number), precedence, drawn: Lot::share(0, 1) }, method)
}

fn of_share(percent: u8, method: AuthenticationMethod) -> Rollout {
    rollout(Scope::Share { percent: percent.try_into().expect("a share") }, method)
}

/// Rollouts of two groups and a share, each absent or to either method, with either order of precedence.
fn every_rollout() -> Vec<Vec<Rollout>> {
    let methods = [None, Some(Phs), Some(Pta)];
    let mut all = Vec::new();
    for first in methods {
        for second in methods {
            for share in methods {
                for (one, two) in [(10, 20), (20, 10)] {
                    for percent in [1, 50, 100] {
                        let mut rollouts = Vec::new();
                        rollouts.extend(share.map(|method| of_share(percent, method)));
                        rollouts.extend(second.map(|method| of_group(2, two, method)));
                        rollouts.extend(first.map(|method| of_group(1, one, method)));
                        all.push(rollouts);
                    }
                }
            }
        }
    }
    all
}

/// The rules as their page states them.
fn expected(
    own: AuthenticationMethod,
    rollouts: &[Rollout],
    mine: &BTreeSet<GroupId>,
    lot: u32,
) -> AuthenticationMethod {
    let of_mine = rollouts.iter().filter_map(|rollout| match rollout.scope {
        Scope::Group { group, precedence, .. } if mine.contains(&group) => Some((precedence, rollout.method)),
        Scope::Group { .. } | Scope::Share { .. } => None,
    });
    if let Some((_, method)) = of_mine.min_by_key(|(precedence, _)| *precedence) {
        return method;
    }
    let share = rollouts.iter().find_map(|rollout| match rollout.scope {
        Scope::Share { percent } => Some((u32::from(percent.get()) * 100, rollout.method)),
        Scope::Group { .. } => None,
    });
    share.filter(|(upper, _)| lot < *upper).map_or(own, |(_, method)| method)
}

/// Methods are chosen as the page says, and what is chosen is decided as the design demands: also when the domain or its
/// rollouts are changed between the name and the password.
fn every_choice() -> Result<u64, String> {
    let people: Vec<UserId> = (0..12).map(|number| UserId::from_uuid(uuid::Uuid::from_u128(number))).collect();
    let mut truths = Vec::new();
    let mut number = 0u64;
    every_truth(&mut |truth| {
        number += 1;
        // A few hundred of them, spread over all: each is tried whole by `every_decision`.
        if number.is_multiple_of(2_003) {
            truths.push(*truth);
        }
        Ok(())
    })?;
    let (all, mut tries) = (every_rollout(), 0);
    for (index, rollouts) in all.iter().enumerate() {
        for own in [Phs, Pta] {
            for member_of in [vec![], vec![1], vec![2], vec![1, 2]] {
                let groups: BTreeSet<GroupId> = member_of.iter().map(|number| group(*number)).collect();
                for oid in &people {
                    let ground = Ground { method: own, partner: None, rollouts };
                    let chosen = choose(ground, Standing::User { oid: *oid, groups: &groups }).method;
                    let wanted = expected(own, rollouts, &groups, Lot::of(*oid).number());
                    if chosen != wanted {
                        return Err(format!("{chosen} rather than {wanted}: {own} {rollouts:?} {groups:?} {oid}"));
                    }
                    tries += 1;
                }
                // The name is known under these rollouts; whatever comes before the password changes nothing.
                let oid = people[index % people.len()];
                let ground = Ground { method: own, partner: None, rollouts };
                let begun = choose(ground, Standing::User { oid, groups: &groups }).method;
                let method = if begun == Phs { Managed::Phs } else { Managed::Pta };
                for truth in truths.iter().skip(index % 7).step_by(7) {
                    let course = run(method, truth)?;
                    judge(method, truth, &course).map_err(|what| format!("{what}: {method:?} {truth:?} {course:?}"))?;
                    tries += 1;
                }
            }
        }
    }
    // A share that grows moves nobody back.
    for oid in &people {
        let mut moved = false;
        for percent in 1..=100 {
            let rollouts = [of_share(percent, Pta)];
            let ground = Ground { method: Phs, partner: None, rollouts: &rollouts };
            let now = choose(ground, Standing::User { oid: *oid, groups: &BTreeSet::new() }).method == Pta;
            if moved && !now {
                return Err(format!("{percent} % moved {oid} back"));
            }
            moved = now;
        }
    }
    Ok(tries)
}

/// Of two nodes each finds what it may find, either may be gone: an outage is what the page says it is.
fn every_outage() -> Result<u64, String> {
    let (now, after, fresh) = (Timestamp::from_secs(100_000), Duration::from_secs(600), Duration::from_secs(60));
    let measure = Measure { after, fresh, good: 2 };
    let names: Vec<NodeId> = ["one", "two"].iter().map(|name| name.parse().expect("a node")).collect();
    let ago = |seconds| now - Duration::from_secs(seconds);
    // For how long without service, how many good ones in a row, good at any time, seconds since the last look.
    type Course = (Option<u64>, u32, bool, u64);
    let courses: [Option<Course>; 9] = [
        None,
        Some((Some(600), 0, true, 5)),
        Some((Some(600), 0, false, 5)),
        Some((Some(599), 0, true, 5)),
        Some((Some(900), 0, true, 61)),
        Some((None, 1, true, 5)),
        Some((None, 2, true, 5)),
        Some((None, 2, true, 61)),
        Some((None, 0, true, 5)),
    ];
    let view = |name: &NodeId, (failing, good, known, looked): Course| {
        let found = if failing.is_some() { Synthetic::NoService(String::new()) } else { Synthetic::SignedIn };
        NodeView {
            failing_since: failing.map(ago),
            failures: if failing.is_some() { FEWEST_FAILURES } else { 0 },
            good,
            last_good: known.then(|| ago(5_000)),
            ..NodeView::after(None, name.clone(), &found, Duration::ZERO, ago(looked))
        }
    };
    let mut tries = 0;
    for first in courses {
        for second in courses {
            for live in [&names[..0], &names[..1], &names[1..], &names[..]] {
                let all = [first, second];
                let views: Vec<_> =
                    names.iter().zip(all).filter_map(|(name, course)| Some(view(name, course?))).collect();
                let of_live: Vec<_> =
                    names.iter().zip(all).filter(|(name, _)| live.contains(name)).map(|(_, course)| course).collect();
                let recent = |course: &Option<Course>| course.filter(|course| course.3 <= 60);
                let serves = of_live.iter().filter_map(recent).any(|course| course.1 >= 2);
                let long = |course: &Option<Course>| recent(course).is_some_and(|course| course.0 >= Some(600));
                let ever = all.iter().flatten().any(|course| course.2);
                let wanted = match (serves, !of_live.is_empty() && of_live.iter().all(long) && ever) {
                    (true, _) => PartnerHealth::Serves,
                    (false, true) => PartnerHealth::Down,
                    (false, false) => PartnerHealth::Undecided,
                };
                let found = judge_partner(&views, live, measure, now);
                if found != wanted {
                    return Err(format!("{found:?} rather than {wanted:?}: {first:?} {second:?} {live:?}"));
                }
                tries += 1;
            }
        }
    }
    Ok(tries)
}

/// Of a user's groups the strictest counts, whatever their number and order.
fn every_membership() -> Result<u64, String> {
    use GroupFailover::{Automatic, Barred, Manual};
    let kinds = [None, Some(Automatic), Some(Manual), Some(Barred)];
    let mut tries = 0;
    for (first, second) in kinds.iter().flat_map(|first| kinds.iter().map(move |second| (*first, *second))) {
        let policies: Vec<_> = [(1, first), (2, second)]
            .into_iter()
            .filter_map(|(number, failover)| {
                Some(FailoverGroup {
                    domain: "example.org".parse().expect("a domain"),
                    group: group(number),
                    failover: failover?,
                    by: "operator".to_owned(),
                    at: Timestamp::from_secs(1),
                })
            })
            .collect();
        for member_of in [vec![], vec![1], vec![2], vec![1, 2]] {
            let mine: BTreeSet<GroupId> = member_of.iter().map(|number| group(*number)).collect();
            for gone in [vec![], vec![1], vec![2], vec![1, 2]] {
                let mut said: Vec<_> = [(1, first), (2, second)]
                    .into_iter()
                    .filter(|(number, _)| member_of.contains(number))
                    .filter_map(|(_, failover)| failover)
                    .collect();
                let lost = |(number, failover): (u128, Option<GroupFailover>)| {
                    gone.contains(&number) && matches!(failover, Some(Manual | Barred))
                };
                said.extend([(1, first), (2, second)].into_iter().any(lost).then_some(Manual));
                let wanted = [Barred, Manual, Automatic].into_iter().find(|kind| said.contains(kind));
                let found = strictest(&policies, &mine, &gone.iter().map(|number| group(*number)).collect());
                if found != wanted {
                    return Err(format!(
                        "{found:?} rather than {wanted:?}: {first:?} {second:?} {member_of:?} {gone:?}"
                    ));
                }
                tries += 1;
            }
        }
    }
    Ok(tries)
}

#[test]
fn every_combination_ends_as_the_design_demands() {
    let decided = every_decision().unwrap_or_else(|fault| panic!("{fault}"));
    let chosen = every_choice().unwrap_or_else(|fault| panic!("{fault}"));
    let outages = every_outage().unwrap_or_else(|fault| panic!("{fault}"));
    let memberships = every_membership().unwrap_or_else(|fault| panic!("{fault}"));
    assert!(decided > 1_000_000 && chosen > 10_000, "{decided} decisions, {chosen} choices");
    assert!(outages > 300 && memberships == 256, "{outages} outages, {memberships} memberships");
}

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_fault_is_noticed() {
    use landbridge::signin::fault::{Fault, plant};
    assert!(Fault::ALL.len() >= 8);
    for fault in Fault::ALL {
        plant(Some(*fault));
        let noticed = every_membership().is_err()
            || every_outage().is_err()
            || every_choice().is_err()
            || every_decision().is_err();
        plant(None);
        assert!(noticed, "{fault:?} was not noticed");
    }
}
