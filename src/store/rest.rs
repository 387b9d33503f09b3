//! Gives back what bulk works needed. Connections to an SQLite file keep pages between works, which a first import reads
//! again and again; once nothing of the kind was done for a while, a process that signs people in has no use for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::connection::Readers;
use super::writer::BulkWatch;

/// How long without bulk works.
const QUIET: Duration = Duration::from_secs(5);

/// Looks after a writer until it is gone. `readers`: connections that are closed with it, since nobody waits for them.
pub(super) fn keep(watch: BulkWatch, readers: Option<Readers>) {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(QUIET);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut before, mut rested) = (0, 0);
        loop {
            ticks.tick().await;
            let done = watch.works.load(Ordering::Relaxed);
            if done == before && done != rested {
                rested = done;
                if watch.shrink().await.is_none() {
                    return;
                }
                if let Some(readers) = &readers {
                    readers.release();
                }
            }
            if watch.is_gone() {
                return;
            }
            before = done;
        }
    });
}
