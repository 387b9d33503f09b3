//! Uniform timing of refusals (design section 3).
//!
//! Unknown and wrong names walk the same road, so that most of the time is alike. What differs still (a lock that was
//! met before the road, a condition that failed early) is hidden by answering refusals only at whole multiples of one
//! quantum after the question. No jitter: random noise averages out over repeated questions, a step does not.

use std::time::Duration;

use tokio::time::Instant;

/// Waits until a whole multiple of `quantum` has passed since `asked`.
pub async fn hold(asked: Instant, quantum: Duration) {
    if let Some(until) = next_multiple(asked.elapsed(), quantum) {
        tokio::time::sleep_until(asked + until).await;
    }
}

fn next_multiple(elapsed: Duration, quantum: Duration) -> Option<Duration> {
    let quanta = elapsed.as_nanos().checked_div(quantum.as_nanos())? + 1;
    Some(quantum.saturating_mul(u32::try_from(quanta).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_at_whole_multiples() {
        let ms = Duration::from_millis;
        for (elapsed, expected) in [(0, 250), (1, 250), (249, 250), (250, 500), (2100, 2250)] {
            assert_eq!(next_multiple(ms(elapsed), ms(250)), Some(ms(expected)));
        }
        assert_eq!(next_multiple(ms(5), Duration::ZERO), None);
    }

    #[tokio::test]
    async fn a_refusal_waits_for_the_next_multiple() {
        let (asked, quantum) = (Instant::now(), Duration::from_millis(20));
        hold(asked, quantum).await;
        assert!(asked.elapsed() >= quantum);
    }
}
