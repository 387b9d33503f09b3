//! Waiting for a condition, with a deadline instead of a sleep of guessed length.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// Polls until `condition` yields a value; panics with `what` at the deadline.
#[track_caller]
pub fn wait_until<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::sleep(POLL);
    }
}

/// The same for conditions that await something.
pub async fn wait_until_async<T>(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}");
        tokio::time::sleep(POLL).await;
    }
}
