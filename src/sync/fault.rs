//! Faults that `tests/model` plants in the engine to prove that it would notice them, and the point at which it ends it.
//!
//! Without the feature `planted-faults`, which no release build takes, no fault is ever planted and none of this costs
//! anything.

use super::store::StoreResult;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What could be wrong with an engine that works otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name),* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    /// The watermark of a full read is kept before the read came to its end.
    WatermarkSavedEarly,
    /// What an aborted read did not show counts as gone.
    SweepAfterAbort,
    /// What is read and did not change counts as not seen.
    SeenMarkLost,
    /// Who refers to a name that changed hands is not compared again.
    ReferrersNotStale,
    /// A link does not follow when its target is joined or goes.
    NoReverseReference,
    /// Nobody waits for a join value.
    NoJoinWait,
    /// A metaverse object is left as it is when a contributor goes.
    ContributorForgotten,
    /// Other rules do not concern objects that stayed the same.
    RulesUnnoticed,
    /// A link does not follow when an object of the target comes.
    TargetComingUnnoticed,
    /// A metaverse object outlives whoever projected it.
    OrphansKept,
    /// A value that goes is not taken from the target.
    RemovalNotExported,
    /// A metaverse object makes a second target object instead of adopting the one that is there.
    NoAdoption,
    /// The guard forgets what earlier runs exported.
    GuardPerRun,
    /// Staging runs export.
    StagingExports,
    /// A batch leaves before it is recorded.
    SentUnrecorded,
    /// What was in doubt counts as carried out without a look at the target.
    DoubtTakenAsDone,
    /// What the target shows instead of what was exported is taken as it is.
    DriftAccepted,
    /// A batch that was read before the one in front of it was committed is committed as it is.
    StaleBatches,
}

#[cfg(not(feature = "planted-faults"))]
mod switch {
    use super::{Fault, StoreResult};

    pub const fn planted(_: Fault) -> bool {
        false
    }

    pub(crate) const fn batch(usual: usize) -> usize {
        usual
    }

    pub(crate) const fn looks_first() -> bool {
        false
    }

    #[expect(clippy::unnecessary_wraps, reason = "the other one of the two may end the engine")]
    pub(crate) const fn transaction(_committed: bool) -> StoreResult<()> {
        Ok(())
    }
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::{Fault, StoreResult};
    use crate::sync::store::EngineStoreError;

    /// Where a run ends as if its process had been killed.
    #[derive(Clone, Copy)]
    enum End {
        Never,
        /// At the n-th transaction from now; once it is committed, or before.
        At {
            left: u16,
            committed: bool,
        },
        Reached,
    }

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
        static END: Cell<End> = const { Cell::new(End::Never) };
        static BATCH: Cell<Option<usize>> = const { Cell::new(None) };
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the engine was ended by a test")]
    struct Ended;

    /// Plants a fault in the engines of this thread.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    /// Lets the engines of this thread synchronise so few objects at once, and evaluate each batch before the one in front of
    /// it is committed, as it may happen where reads and writes have threads of their own.
    pub fn hasten(batch: Option<usize>) {
        BATCH.set(batch);
    }

    pub(crate) fn batch(usual: usize) -> usize {
        BATCH.get().unwrap_or(usual)
    }

    pub(crate) fn looks_first() -> bool {
        BATCH.get().is_some()
    }

    /// Ends the engines of this thread at their n-th transaction.
    pub fn crash_at(transaction: u16, committed: bool) {
        END.set(End::At { left: transaction, committed });
    }

    /// Lets engines of this thread work again; tells whether they were ended.
    pub fn reopen() -> bool {
        matches!(END.replace(End::Never), End::Reached)
    }

    /// Asked before and after each transaction.
    pub(crate) fn transaction(committed: bool) -> StoreResult<()> {
        let end = match END.get() {
            End::At { left, committed: after } => {
                let left = left.saturating_sub(u16::from(!committed));
                if left == 0 && committed == after { End::Reached } else { End::At { left, committed: after } }
            }
            end @ (End::Never | End::Reached) => end,
        };
        END.set(end);
        match end {
            End::Reached => Err(EngineStoreError::Broken(Box::new(Ended))),
            End::Never | End::At { .. } => Ok(()),
        }
    }
}

pub use switch::planted;
pub(crate) use switch::{batch, looks_first, transaction};
#[cfg(feature = "planted-faults")]
pub use switch::{crash_at, hasten, plant, reopen};
