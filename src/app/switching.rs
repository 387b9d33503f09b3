//! Lets changes of methods go on by themselves, on every node: each step of them is taken once.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::identity::causes;
use crate::signin::desk::SignInDesk;

/// Between two looks: what was counted meanwhile is lost with a node that is killed.
const INTERVAL: Duration = Duration::from_secs(5);
/// Looks between two clearances of old counts.
const CLEARANCE: u32 = 720;

pub async fn run(desk: Arc<SignInDesk>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0u32.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        if let Err(error) = desk.upkeep().await {
            tracing::warn!(error = causes(&error), "changes of methods could not be looked after");
        }
        if number.is_multiple_of(CLEARANCE)
            && let Err(error) = desk.forget_tally().await
        {
            tracing::warn!(error = causes(&error), "old counts of sign-ins could not be removed");
        }
    }
    if let Err(error) = desk.write_tally().await {
        tracing::warn!(error = causes(&error), "what was counted of sign-ins could not be written down");
    }
}
