//! Faults that tests plant in the product to prove that they would notice them.
//!
//! Without the feature `planted-faults`, which no release build takes, no fault is ever planted and none of this costs
//! anything.

/// Makes the enumeration `Fault` of a room, and `planted`, which asks for one; with the feature, `plant` too.
macro_rules! faults {
    ($(#[$of:meta])* { $($(#[$doc:meta])* $name:ident),* $(,)? }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name),* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        #[cfg(not(feature = "planted-faults"))]
        pub const fn planted(_: Fault) -> bool {
            false
        }

        #[cfg(feature = "planted-faults")]
        thread_local! {
            static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
        }

        /// Plants a fault in what this thread does.
        #[cfg(feature = "planted-faults")]
        pub fn plant(fault: Option<Fault>) {
            PLANTED.set(fault);
        }

        #[cfg(feature = "planted-faults")]
        pub fn planted(fault: Fault) -> bool {
            PLANTED.get() == Some(fault)
        }
    };
}

pub(crate) use faults;
