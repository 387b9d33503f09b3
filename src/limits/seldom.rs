//! Things that are worth doing once in a while, however often there is reason to.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one of many through in every interval.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    pub const fn new(every: Duration) -> Self {
        Self { every, last: Mutex::new(None) }
    }

    /// Whether this is the one.
    pub fn now(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_an_interval_gets_through() {
        let (seldom, start) = (Seldom::new(Duration::from_secs(60)), Instant::now());
        let at = |seconds| seldom.now(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59), at(60), at(61), at(120)], [true, false, false, true, false, true]);
    }
}
