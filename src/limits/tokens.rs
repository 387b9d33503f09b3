//! Token buckets per network: how many requests a network may make in a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::identity::Network;

/// How many requests a network may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

/// A bucket for each network that was heard of lately.
#[derive(Debug)]
pub struct Tokens {
    rate: Rate,
    buckets: Mutex<HashMap<Network, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Networks remembered at once: some megabytes.
const MOST_NETWORKS: usize = 65_536;

impl Tokens {
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes a token of the network's; `false` when it has none.
    pub fn take(&self, network: Network, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_NETWORKS && !buckets.contains_key(&network) {
            // A full bucket is as good as none. If none is full, those who come from so many networks gain by being
            // forgotten no more than they gain by having them.
            buckets.retain(|_, bucket| bucket.refilled(self.rate, now).left < f64::from(self.rate.burst));
            if buckets.len() >= MOST_NETWORKS {
                buckets.clear();
            }
        }
        let fresh = Bucket { left: f64::from(self.rate.burst), at: now };
        let bucket = buckets.entry(network).or_insert(fresh);
        *bucket = bucket.refilled(self.rate, now);
        let takes = bucket.left >= 1.0;
        if takes {
            bucket.left -= 1.0;
        }
        takes
    }

    /// How long a network without tokens waits for the next one.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(60) / self.rate.per_minute.max(1)
    }
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Instant) -> Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_minute) / 60.0;
        Self { left: (self.left + gained).min(f64::from(rate.burst)), at: now.max(self.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u16) -> Network {
        let [high, low] = number.to_be_bytes();
        Network::of([10, high, low, 1].into())
    }

    #[test]
    fn a_network_gets_its_burst_then_its_rate_and_others_are_not_concerned() {
        let (tokens, start) = (Tokens::new(Rate { per_minute: 60, burst: 5 }), Instant::now());
        let taken = |number, at| (0..20).filter(|_| tokens.take(network(number), at)).count();
        assert_eq!(taken(1, start), 5);
        assert_eq!(taken(2, start), 5);
        assert_eq!(taken(1, start + Duration::from_secs(3)), 3);
        assert_eq!(taken(1, start + Duration::from_secs(3600)), 5, "no more than the burst is saved up");
    }

    #[test]
    fn networks_without_number_take_no_memory_without_bound() {
        let (tokens, start) = (Tokens::new(Rate { per_minute: 60, burst: 2 }), Instant::now());
        for number in 0..=u16::MAX {
            assert!(tokens.take(network(number), start));
        }
        assert!(tokens.take(Network::of([192, 0, 2, 1].into()), start));
        assert!(tokens.buckets.lock().expect("nothing panicked").len() <= MOST_NETWORKS);
    }
}
