//! Smart lockout: how many wrong passwords a name may take, and from where.
//!
//! A try is reserved before anything is asked and settled once the answer is known; the store does both in one atomic
//! statement each, so that parallel guesses cannot pass the limit together. Failures from familiar devices and from
//! elsewhere are counted apart: a stranger who guesses locks strangers out, not the owner.

use super::failover::{Asked, By, Decision, Reason, Situation, counts};
use super::realm::Managed;
use super::settings::{LockoutSettings, SignInKey};
use crate::identity::{
    AttemptId, DirectoryLockout, Network, PlainPassword, Refusal, SignInName, Timestamp, UserId, Verdict, Wire,
};

/// Whose failures are counted: a user, or a name that nobody has. Both look the same from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    pub fn user(oid: UserId) -> Self {
        Self(oid.to_string())
    }

    pub fn unknown(name: &SignInName, key: &SignInKey) -> Self {
        Self(format!("unknown:{}", key.mac("unknown-name", &[name.folded().as_bytes()])))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The keyed fingerprint by which a wrong password is known again.
pub fn fingerprint(subject: &Subject, password: &PlainPassword, key: &SignInKey) -> String {
    key.mac("wrong-password", &[subject.0.as_bytes(), password.expose().as_bytes()])
}

/// The limits of one name, below the directory's own threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub familiar: u32,
    pub unfamiliar: u32,
    /// The directory locks so early that there is room for one counter only.
    pub one_counter: bool,
    pub window_ms: i64,
    pub first_lock_ms: i64,
    pub longest_lock_ms: i64,
    /// While the window is full nothing is sent: set when the directory counts too. Else a lock that has ended leaves
    /// one more try, and the next failure locks for longer.
    pub window_binds: bool,
}

impl Limits {
    /// Where the directory counts too, `familiar + unfamiliar + 2 <= threshold`, its own for this user, and the window is
    /// at least as long as its own; below 4 one counter serves both places.
    pub fn new(settings: &LockoutSettings, directory: Option<DirectoryLockout>, method: Managed) -> Self {
        let (mut familiar, mut unfamiliar) = (settings.familiar_limit.max(1), settings.unfamiliar_limit.max(1));
        let mut one_counter = false;
        let directory = directory.filter(|_| method == Managed::Pta);
        match directory.map(|lockout| lockout.threshold) {
            None | Some(0) => {}
            Some(threshold @ 1..4) => {
                one_counter = true;
                familiar = threshold.saturating_sub(2).max(1);
                unfamiliar = familiar;
            }
            Some(threshold) => {
                let room = threshold - 2;
                if familiar.saturating_add(unfamiliar) > room {
                    unfamiliar = unfamiliar.min(room / 2).max(1);
                    familiar = familiar.min(room - unfamiliar).max(1);
                }
            }
        }
        let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self {
            familiar,
            unfamiliar,
            one_counter,
            window_ms: millis(settings.window).max(directory.map_or(0, |lockout| lockout.window_ms)),
            first_lock_ms: millis(settings.first_lock),
            longest_lock_ms: millis(settings.longest_lock),
            window_binds: method == Managed::Pta,
        }
    }
}

/// A try that asks to be let through.
#[derive(Clone, Debug)]
pub struct Try {
    pub attempt: AttemptId,
    pub subject: Subject,
    /// The user and the device, when both are known: decides whether the place is familiar.
    pub device: Option<(UserId, String)>,
    /// Where the try comes from, if that is known.
    pub network: Option<Network>,
    pub limits: Limits,
    pub spray: SprayLimits,
    pub at: Timestamp,
}

/// What becomes of a network from which many names are tried in vain: its tries from unknown devices are let through one
/// by one. Familiar devices and other networks are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SprayLimits {
    /// Names, of users and of nobody, that failed from unknown devices and did not succeed since.
    pub names: u32,
    /// For how long such a failure counts.
    pub window_ms: i64,
    /// Between two tries that are let through.
    pub pause_ms: i64,
}

impl SprayLimits {
    pub fn new(settings: &LockoutSettings) -> Self {
        let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let (window_ms, pause_ms) = (millis(settings.spray_window), millis(settings.spray_pause));
        Self { names: settings.spray_names, window_ms, pause_ms }
    }
}

/// Whether the same wrong password counts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    Free,
    /// The directory counts it each time.
    Count,
}

/// What becomes of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing was checked, or nothing was wrong: the try goes back.
    Return,
    /// The primary verified the password: the try goes back and the place's failures are forgotten.
    Forgive,
    /// It failed. By the fingerprint the same wrong password is known again.
    Keep { fingerprint: Option<String>, repeats: Repeats },
    /// The directory may have counted it: stays in flight until the late answer, or until it is given up.
    Leave,
}

/// What a decision means for the reservation. `wire` tells whether a password may have left for the directory when the
/// primary gave no verdict.
pub fn settle(situation: &Situation, decision: &Decision, wire: Wire, fingerprint: String) -> Settlement {
    let undecided = || match wire {
        Wire::NothingSent => Settlement::Return,
        Wire::MaybeSent => Settlement::Leave,
    };
    let keep = || Settlement::Keep {
        fingerprint: Some(fingerprint),
        repeats: match situation.method {
            Managed::Phs | Managed::Federated => Repeats::Free,
            Managed::Pta => Repeats::Count,
        },
    };
    match decision {
        Decision::In(By::Primary) => Settlement::Forgive,
        Decision::Refuse(Reason::Primary(refusal), _) => {
            if counts(*refusal) {
                keep()
            } else {
                Settlement::Return
            }
        }
        Decision::Refuse(Reason::Backup(Refusal::WrongPassword), _) => keep(),
        Decision::In(By::Backup)
        | Decision::Refuse(
            Reason::Account(_) | Reason::Backup(_) | Reason::Condition(_) | Reason::BackupUnreadable,
            _,
        )
        | Decision::TryAgain(_)
        | Decision::AskPrimary
        | Decision::ConfirmOutage
        | Decision::ReadHash
        | Decision::AskBackup => match situation.primary {
            Asked::Unavailable(_) => undecided(),
            Asked::NotYet | Asked::Verdict(Verdict::Verified | Verdict::Refused(_)) => Settlement::Return,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(familiar: u32, unfamiliar: u32) -> LockoutSettings {
        LockoutSettings { familiar_limit: familiar, unfamiliar_limit: unfamiliar, ..LockoutSettings::default() }
    }

    fn directory(threshold: u32) -> Option<DirectoryLockout> {
        Some(DirectoryLockout { threshold, window_ms: 600_000 })
    }

    #[test]
    fn the_limits_stay_below_the_directorys_own_threshold() {
        for threshold in 4..30 {
            for familiar in 1..15 {
                for unfamiliar in 1..15 {
                    let limits = Limits::new(&settings(familiar, unfamiliar), directory(threshold), Managed::Pta);
                    assert!(limits.familiar >= 1 && limits.unfamiliar >= 1 && !limits.one_counter);
                    assert!(limits.familiar + limits.unfamiliar + 2 <= threshold, "{threshold} {limits:?}");
                    assert!(limits.familiar <= familiar && limits.unfamiliar <= unfamiliar);
                }
            }
        }
    }

    #[test]
    fn a_threshold_below_four_leaves_one_counter() {
        for (threshold, limit) in [(3, 1), (2, 1), (1, 1)] {
            let limits = Limits::new(&settings(10, 5), directory(threshold), Managed::Pta);
            assert_eq!((limits.one_counter, limits.familiar, limits.unfamiliar), (true, limit, limit));
        }
    }

    #[test]
    fn a_directory_that_never_locks_takes_the_settings() {
        for threshold in [None, directory(0), directory(100)] {
            let limits = Limits::new(&settings(10, 5), threshold, Managed::Pta);
            assert_eq!((limits.familiar, limits.unfamiliar, limits.one_counter), (10, 5, false));
        }
        assert_eq!(Limits::new(&settings(1, 1), None, Managed::Phs).window_ms, 1_800_000);
        assert_eq!(Duration::from_secs(1800), LockoutSettings::default().window);
    }

    #[test]
    fn the_directory_counts_live_checks_alone() {
        let limits = Limits::new(&settings(10, 5), directory(3), Managed::Phs);
        assert_eq!((limits.familiar, limits.unfamiliar, limits.one_counter), (10, 5, false));
    }

    #[test]
    fn the_window_is_never_shorter_than_the_directorys() {
        for (theirs, expected) in [(600_000, 1_800_000), (7_200_000, 7_200_000)] {
            let directory = Some(DirectoryLockout { threshold: 10, window_ms: theirs });
            assert_eq!(Limits::new(&settings(3, 3), directory, Managed::Pta).window_ms, expected);
        }
    }

    #[test]
    fn known_and_unknown_names_are_told_apart_only_inside() {
        let key = SignInKey::new([1; 32]);
        let name: SignInName = "ghost@example.org".parse().expect("a name");
        let same: SignInName = "GHOST@example.org".parse().expect("a name");
        assert_eq!(Subject::unknown(&name, &key), Subject::unknown(&same, &key));
        assert!(!Subject::unknown(&name, &key).as_str().contains("ghost"));
    }
}
