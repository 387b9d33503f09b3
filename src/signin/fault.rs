//! Faults that the model test plants in the decisions of sign-in to prove that it would notice them.
//!
//! Without the feature `planted-faults`, which no release build takes, no fault is ever planted and none of this costs
//! anything.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What could be wrong with decisions that are right otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name),* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    /// A refusal of the primary is taken to the backup.
    RefusalAsksBackup,
    /// A refusal that came late is passed over.
    LateRefusalIgnored,
    /// One failure counts as an outage, whatever the probe says.
    OutageUnconfirmed,
    /// The backup answers though failover is manual.
    ManualTakenAsAutomatic,
    /// A pin to the primary is passed over.
    PinIgnored,
    /// A hash that the directory has moved on from is asked all the same.
    OutdatedHashAsked,
    /// How long ago the channel's last pass was does not matter.
    PassAgeIgnored,
    /// A live refusal on record does not bar the backup.
    RecordIgnored,
    /// Members of barred groups are let in by the backup.
    BarredGroupLetIn,
    /// What a domain says of a group does not matter.
    GroupPolicyIgnored,
    /// Of several groups of a user the laxest counts.
    LaxestGroupCounts,
    /// A partner is passed over though not every node has found it without service.
    PartnerOutageUnconfirmed,
    /// An outage of a partner is taken for confirmed at the first failure.
    PartnerDownAtOnce,
    /// A node that still reaches the partner is passed over.
    OneNodeSpeaksForAll,
    /// The stored state of the account does not bar the backup.
    StateIgnored,
    /// A disabled account gets in by its right password.
    DisabledLetIn,
    /// Of several groups of a user, the highest number counts.
    HighestPrecedenceWins,
    /// A share that grows draws anew.
    ShareDrawnAnew,
}

#[cfg(not(feature = "planted-faults"))]
mod switch {
    use super::Fault;

    pub const fn planted(_: Fault) -> bool {
        false
    }
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Plants a fault in the decisions of this thread.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::plant;
pub use switch::planted;
