//! Looks at federation partners from this node, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::identity::causes;
use crate::signin::desk::SignInDesk;

/// Looks between two clearances of what nodes knew that are gone.
const CLEARANCE: u32 = 1000;

pub async fn run(desk: Arc<SignInDesk>, pause: Duration, stop: CancellationToken) {
    let mut looks = tokio::time::interval(pause);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            looked = desk.look_at_partners() => if let Err(error) = looked {
                tracing::warn!(error = causes(&error), "federation partners could not be looked at");
            }
        }
        if number.is_multiple_of(CLEARANCE)
            && let Err(error) = desk.forget_views().await
        {
            tracing::warn!(error = causes(&error), "old looks at federation partners could not be removed");
        }
    }
}
