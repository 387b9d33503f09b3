//! Takes out of a history that fails what has no part in it.

use std::time::{Duration, Instant};

use super::history::{History, Step};
use super::world::Fault;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leaves out steps, ever fewer at a time, as long as the history fails without them.
pub fn shrink(mut history: History, mut fault: Fault, fails: impl Fn(&History) -> Option<Fault>) -> (History, Fault) {
    let began = Instant::now();
    let mut size = history.steps.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut smaller) = (0, false);
        while at < history.steps.len() {
            if began.elapsed() > PATIENCE {
                return (history, fault);
            }
            let mut shorter = history.clone();
            shorter.steps.drain(at..(at + size).min(shorter.steps.len()));
            match fails(&shorter) {
                Some(other) => (history, fault, smaller) = (shorter, other, true),
                None => at += size,
            }
        }
        if !smaller || size > 1 {
            size /= 2;
        }
    }
    plain(history, fault, fails)
}

/// Runs without what goes wrong in them, where that has no part either.
fn plain(mut history: History, mut fault: Fault, fails: impl Fn(&History) -> Option<Fault>) -> (History, Fault) {
    for at in 0..history.steps.len() {
        if let Step::Run(profile, Some(_)) = history.steps[at] {
            let mut simpler = history.clone();
            simpler.steps[at] = Step::Run(profile, None);
            if let Some(other) = fails(&simpler) {
                (history, fault) = (simpler, other);
            }
        }
    }
    (history, fault)
}
