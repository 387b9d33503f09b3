//! Places for what callers may have at once: so many together, and so many of them for one network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::Network;

/// How many places there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub all: usize,
    /// Of these, what one network may hold.
    pub per_network: usize,
}

/// Clones share the places.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_network: HashMap<Network, usize>,
}

/// Why nobody gets a place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("all places are taken")]
    All,
    #[error("the network has its share of the places")]
    Network,
}

impl Full {
    pub const fn code(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Network => "network",
        }
    }
}

/// A place that is held until this is dropped.
#[derive(Debug)]
pub struct Place {
    inner: Arc<Inner>,
    network: Option<Network>,
}

impl Places {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, taken: Mutex::default() }))
    }

    /// Takes a place; one of no known network counts among all alone.
    pub fn take(&self, network: Option<Network>) -> Result<Place, Full> {
        let mut place = self.0.take_any()?;
        if let Some(network) = network {
            place.count_for(network)?;
        }
        Ok(place)
    }
}

impl Inner {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counts are whole at every moment, so that a panic elsewhere leaves nothing half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_any(self: &Arc<Self>) -> Result<Place, Full> {
        let mut taken = self.taken();
        if taken.all >= self.limits.all {
            return Err(Full::All);
        }
        taken.all += 1;
        Ok(Place { inner: Arc::clone(self), network: None })
    }
}

impl Place {
    /// Counts the place for a network that became known after it was taken.
    pub fn count_for(&mut self, network: Network) -> Result<(), Full> {
        let mut taken = self.inner.taken();
        let count = taken.by_network.entry(network).or_default();
        if *count >= self.inner.limits.per_network {
            return Err(Full::Network);
        }
        *count += 1;
        self.network = Some(network);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.inner.taken();
        taken.all -= 1;
        if let Some(network) = self.network
            && let Some(count) = taken.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(third: u8) -> Option<Network> {
        Some(Network::of([192, 0, third, 1].into()))
    }

    #[test]
    fn one_network_leaves_places_to_others_and_all_together_are_bounded() {
        let places = Places::new(Limits { all: 3, per_network: 2 });
        let held: Vec<_> = (0..2).map(|_| places.take(network(1)).expect("a place")).collect();
        assert_eq!(places.take(network(1)).expect_err("its share"), Full::Network);
        let other = places.take(network(2)).expect("a place for another");
        assert_eq!(places.take(network(2)).expect_err("all"), Full::All);
        assert_eq!(places.take(None).expect_err("all"), Full::All);
        drop(other);
        let unknown = places.take(None).expect("the place given back");
        drop((held, unknown));
        assert!(places.0.taken().by_network.is_empty() && places.0.taken().all == 0);
    }

    #[test]
    fn a_refused_network_gives_its_place_back() {
        let places = Places::new(Limits { all: 2, per_network: 1 });
        let _held = places.take(network(1)).expect("a place");
        for _ in 0..5 {
            assert_eq!(places.take(network(1)).expect_err("its share"), Full::Network);
        }
        places.take(network(2)).expect("the other place is free");
    }
}
