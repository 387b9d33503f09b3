//! Equal answers in time: every check is held to what the slowest chain in use would take, so that no answer tells
//! which scheme a hash has, or whether there is one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::credential::Cost;

/// The slowest chain known, and how this machine's speed compares with the estimates. The time that is missing is
/// waited for, not burnt.
#[derive(Debug)]
pub(super) struct Pace {
    /// Estimated nanoseconds of the slowest chain.
    slowest: AtomicU64,
    /// Thousandths of the estimate that a derivation really takes, smoothed.
    factor: AtomicU32,
}

/// Estimates below this are too short to measure a machine by.
const MEASURABLE: Duration = Duration::from_millis(5);
/// Weight of what was known against a new measurement.
const SMOOTHING: u64 = 7;
/// A measurement counts at most this many times the estimate: a machine that was suspended is not slow.
const MOST_FACTOR: u64 = 20_000;

impl Pace {
    pub fn new(own: Cost) -> Self {
        Self { slowest: AtomicU64::new(nanos(own.time)), factor: AtomicU32::new(1_000) }
    }

    /// A chain of this cost is in use.
    pub fn meet(&self, cost: Cost) {
        self.slowest.fetch_max(nanos(cost.time), Ordering::Relaxed);
    }

    /// Replaces what is known by the cost of the chains really in use.
    pub fn set(&self, slowest: Cost) {
        self.slowest.store(nanos(slowest.time), Ordering::Relaxed);
    }

    /// A derivation of this cost took `elapsed`.
    pub fn observe(&self, cost: Cost, elapsed: Duration) {
        if cost.time < MEASURABLE {
            return;
        }
        let measured = (nanos(elapsed).saturating_mul(1_000) / nanos(cost.time).max(1)).min(MOST_FACTOR);
        let known = u64::from(self.factor.load(Ordering::Relaxed));
        let smoothed = (known * SMOOTHING + measured) / (SMOOTHING + 1);
        // Two measurements at once may lose one: it is an average.
        self.factor.store(u32::try_from(smoothed).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// What the slowest chain takes here.
    pub fn each(&self) -> Duration {
        let factor = u64::from(self.factor.load(Ordering::Relaxed));
        Duration::from_nanos(self.slowest.load(Ordering::Relaxed).saturating_mul(factor) / 1_000)
    }

    /// What is missing to the slowest chain after `elapsed`.
    pub fn missing(&self, elapsed: Duration) -> Duration {
        self.each().saturating_sub(elapsed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cost(millis: u64) -> Cost {
        Cost { time: Duration::from_millis(millis), memory_kib: 0 }
    }

    #[test]
    fn every_answer_is_held_to_the_slowest_chain() {
        let pace = Pace::new(cost(16));
        assert_eq!(pace.missing(Duration::from_millis(1)), Duration::from_millis(15));
        pace.meet(cost(200));
        pace.meet(cost(50));
        assert_eq!(pace.missing(Duration::from_millis(16)), Duration::from_millis(184));
        assert_eq!(pace.missing(Duration::from_millis(300)), Duration::ZERO);
    }

    #[test]
    fn a_slower_machine_stretches_the_hold_and_short_work_does_not_measure_it() {
        let pace = Pace::new(cost(16));
        pace.observe(cost(1), Duration::from_secs(5));
        assert_eq!(pace.missing(Duration::ZERO), Duration::from_millis(16));
        for _ in 0..100 {
            pace.observe(cost(16), Duration::from_millis(32));
        }
        let hold = pace.missing(Duration::ZERO).as_millis();
        assert!((31..=32).contains(&hold), "{hold}");
    }
}
