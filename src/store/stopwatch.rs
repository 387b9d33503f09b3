//! Time that passes, the machine's sleep included.

use std::time::Duration;

/// A moment from which time is counted. Unlike [`std::time::Instant`], which stands still on Linux while the machine is
/// suspended, it goes on: whoever wakes up knows how long it slept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Duration);

impl Stopwatch {
    pub fn start() -> Self {
        Self(since_boot())
    }

    pub fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Elsewhere the monotonic clock counts sleep itself, or nothing better is offered.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn it_counts_by_the_clock_that_goes_on_while_the_machine_sleeps() {
        // The kernel's uptime includes suspends (proc_uptime(5)).
        let text = std::fs::read_to_string("/proc/uptime").expect("an uptime");
        let uptime: f64 = text.split(' ').next().expect("a word").parse().expect("seconds");
        let counted = since_boot().as_secs_f64();
        assert!((counted - uptime).abs() < 10.0, "{counted} and {uptime}");
    }
}
