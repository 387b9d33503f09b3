//! The circuit breaker of one connector on one node: a pure state machine, moved only by probes.
//!
//! INVARIANT: nothing that depends on one user's input moves it. It opens on a confirmed outage (every server fails a
//! probe), and closes after several good probes in a row, so that an authority that flaps stays open.

use super::failover::ProbeOutcome;
use crate::identity::Timestamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    #[default]
    Closed,
    /// Sign-ins do not wait for the primary. `good` probes have succeeded in a row: above zero it is half-open.
    Open { since: Timestamp, good: u32 },
}

/// What a probe changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    No,
    Opened,
    Closed { was_open_since: Timestamp },
}

impl Breaker {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The breaker after a probe at `now`; `needed` good probes in a row close it.
    pub fn after_probe(self, outcome: ProbeOutcome, now: Timestamp, needed: u32) -> (Self, Moved) {
        match (self, outcome) {
            (state, ProbeOutcome::NotRun) => (state, Moved::No),
            (Self::Closed, ProbeOutcome::SomeServerAnswers) => (self, Moved::No),
            (Self::Closed, ProbeOutcome::EveryServerFailed) => (Self::Open { since: now, good: 0 }, Moved::Opened),
            (Self::Open { since, .. }, ProbeOutcome::EveryServerFailed) => (Self::Open { since, good: 0 }, Moved::No),
            (Self::Open { since, good }, ProbeOutcome::SomeServerAnswers) => {
                if good + 1 >= needed {
                    (Self::Closed, Moved::Closed { was_open_since: since })
                } else {
                    (Self::Open { since, good: good + 1 }, Moved::No)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_000);
    const BAD: ProbeOutcome = ProbeOutcome::EveryServerFailed;
    const GOOD: ProbeOutcome = ProbeOutcome::SomeServerAnswers;

    fn run(outcomes: &[ProbeOutcome]) -> Breaker {
        outcomes.iter().fold(Breaker::Closed, |breaker, outcome| breaker.after_probe(*outcome, AT, 3).0)
    }

    #[test]
    fn it_opens_only_when_every_server_failed() {
        assert_eq!(run(&[GOOD, ProbeOutcome::NotRun]), Breaker::Closed);
        assert_eq!(Breaker::Closed.after_probe(BAD, AT, 3), (Breaker::Open { since: AT, good: 0 }, Moved::Opened));
    }

    #[test]
    fn a_flapping_authority_stays_open() {
        assert_eq!(run(&[BAD, GOOD, GOOD, BAD, GOOD, GOOD]), Breaker::Open { since: AT, good: 2 });
        assert_eq!(run(&[BAD, GOOD, GOOD, GOOD]), Breaker::Closed);
    }

    #[test]
    fn it_tells_when_it_opens_and_closes_and_only_then() {
        let open = Breaker::Open { since: AT, good: 2 };
        assert_eq!(open.after_probe(GOOD, AT, 3), (Breaker::Closed, Moved::Closed { was_open_since: AT }));
        assert_eq!(open.after_probe(BAD, AT, 3), (Breaker::Open { since: AT, good: 0 }, Moved::No));
    }
}
