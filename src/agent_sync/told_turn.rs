//! The turn of the gateway's run, as an agent knows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::words::TURN_LASTS;
use crate::identity::{Clock, LeaseEpoch, Timestamp};
use crate::sync::lease::EngineLease;

/// The gateway checks epochs itself; one agent serves one gateway.
const EPOCH: LeaseEpoch = LeaseEpoch::from_number(0);

/// An instant by both of a machine's clocks: the stopwatch stands still while the machine sleeps, the clock does not.
#[derive(Clone, Copy, Debug)]
struct Moment {
    clock: Timestamp,
    stopwatch: Instant,
}

/// INVARIANT: a turn lasts for [`TURN_LASTS`] from when this agent *asked* about it, however late the answer comes. The
/// gateway looks at its lease between question and answer, so no message that lay about makes a turn longer, and no two
/// clocks are compared.
pub struct ToldTurn {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holds_since: Option<Moment>,
    /// Questions without an answer, by their numbers.
    asked: BTreeMap<u64, Moment>,
    next: u64,
}

impl ToldTurn {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The number of a question that is asked now.
    pub fn ask(&self) -> u64 {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        // Whose answer would come too late.
        state.asked.retain(|_, asked| age(*asked, now) < TURN_LASTS);
        state.asked.insert(number, now);
        number
    }

    /// The gateway's run had its turn after question `number` was asked.
    pub fn answered(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = state.asked.remove(&number) {
            // Those before it say less.
            state.asked = state.asked.split_off(&number);
            state.holds_since = Some(asked);
        }
    }

    /// A gateway of the former release is not asked: it says by itself, from time to time, that its run has its turn.
    pub fn told(&self) {
        let now = self.now();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).holds_since = Some(now);
    }

    fn now(&self) -> Moment {
        Moment { clock: self.clock.now(), stopwatch: Instant::now() }
    }
}

fn age(since: Moment, now: Moment) -> Duration {
    now.clock.since(since.clock).max(now.stopwatch.saturating_duration_since(since.stopwatch))
}

impl EngineLease for ToldTurn {
    fn held(&self) -> Option<LeaseEpoch> {
        let since = self.state.lock().unwrap_or_else(PoisonError::into_inner).holds_since?;
        (age(since, self.now()) < TURN_LASTS).then_some(EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SettableClock;

    const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn turn() -> (Arc<SettableClock>, ToldTurn) {
        let clock = Arc::new(SettableClock::at(BEGIN));
        let turn = ToldTurn::new(clock.clone());
        (clock, turn)
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_lasts_from_the_question_on_however_late_its_answer_comes() {
        let (_, turn) = turn();
        assert!(turn.held().is_none(), "nothing was answered");
        let first = turn.ask();
        tokio::time::advance(TURN_LASTS / 2).await;
        turn.answered(first);
        assert!(turn.held().is_some());
        tokio::time::advance(TURN_LASTS / 2).await;
        assert!(turn.held().is_none(), "the answer made it no longer");
        // What lay about for longer than a turn says nothing.
        let second = turn.ask();
        tokio::time::advance(TURN_LASTS).await;
        turn.answered(second);
        assert!(turn.held().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_once_and_an_older_one_takes_nothing_back() {
        let (_, turn) = turn();
        let (first, second) = (turn.ask(), {
            tokio::time::advance(TURN_LASTS / 2).await;
            turn.ask()
        });
        turn.answered(second);
        turn.answered(first);
        tokio::time::advance(TURN_LASTS * 3 / 4).await;
        assert!(turn.held().is_some());
        turn.answered(7);
        tokio::time::advance(TURN_LASTS / 2).await;
        turn.answered(second);
        assert!(turn.held().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_has_no_turn() {
        let (clock, turn) = turn();
        let number = turn.ask();
        turn.answered(number);
        assert!(turn.held().is_some());
        clock.advance(TURN_LASTS);
        assert!(turn.held().is_none(), "the stopwatch stood still");
    }
}
