//! Who derives next: the rules of the hashing pool, without threads and without time.

use std::collections::{HashMap, VecDeque};

use super::pool::Demand;
use crate::identity::Network;

/// How much may run and wait at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// All that run.
    pub permits: usize,
    /// Unfamiliar sign-ins that run: the rest is reserved for familiar devices.
    pub unfamiliar: usize,
    /// Permits beyond which background work does not start.
    pub background: usize,
    /// Permits that one network holds while another one waits.
    pub per_network: usize,
    /// All that wait.
    pub queue: usize,
    /// Places in the queue that one network holds.
    pub queue_per_network: usize,
}

pub(super) type Ticket = u64;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Start,
    Wait,
    Full,
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    running: usize,
    running_unfamiliar: usize,
    running_by_network: HashMap<Network, usize>,
    waiting_by_network: HashMap<Network, usize>,
    familiar: VecDeque<Ticket>,
    unfamiliar: VecDeque<(Ticket, Option<Network>)>,
    background: VecDeque<Ticket>,
}

impl Queue {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            running: 0,
            running_unfamiliar: 0,
            running_by_network: HashMap::new(),
            waiting_by_network: HashMap::new(),
            familiar: VecDeque::new(),
            unfamiliar: VecDeque::new(),
            background: VecDeque::new(),
        }
    }

    pub fn enter(&mut self, ticket: Ticket, demand: Demand) -> Entry {
        if self.may_start(demand) {
            self.start(demand);
            return Entry::Start;
        }
        if self.familiar.len() + self.unfamiliar.len() >= self.limits.queue {
            return Entry::Full;
        }
        match demand {
            Demand::Familiar => self.familiar.push_back(ticket),
            Demand::Unfamiliar(network) => {
                if let Some(network) = network {
                    let waiting = self.waiting_by_network.entry(network).or_default();
                    if *waiting >= self.limits.queue_per_network {
                        return Entry::Full;
                    }
                    *waiting += 1;
                }
                self.unfamiliar.push_back((ticket, network));
            }
            Demand::Background => self.background.push_back(ticket),
        }
        Entry::Wait
    }

    /// A derivation has ended.
    pub fn leave(&mut self, demand: Demand) {
        self.running -= 1;
        if let Demand::Unfamiliar(network) = demand {
            self.running_unfamiliar -= 1;
            if let Some(network) = network {
                count_down(&mut self.running_by_network, network);
            }
        }
    }

    /// Somebody who waited has gone.
    pub fn abandon(&mut self, ticket: Ticket, demand: Demand) {
        match demand {
            Demand::Familiar => self.familiar.retain(|waiting| *waiting != ticket),
            Demand::Unfamiliar(network) => {
                let before = self.unfamiliar.len();
                self.unfamiliar.retain(|(waiting, _)| *waiting != ticket);
                if let (Some(network), true) = (network, self.unfamiliar.len() < before) {
                    count_down(&mut self.waiting_by_network, network);
                }
            }
            Demand::Background => self.background.retain(|waiting| *waiting != ticket),
        }
    }

    /// The next of those waiting that may start now; called until nobody may.
    pub fn next(&mut self) -> Option<(Ticket, Demand)> {
        if self.running >= self.limits.permits {
            return None;
        }
        if let Some(ticket) = self.familiar.pop_front() {
            self.start(Demand::Familiar);
            return Some((ticket, Demand::Familiar));
        }
        if !self.unfamiliar.is_empty() {
            if self.running_unfamiliar >= self.limits.unfamiliar {
                return None;
            }
            // Whoever's network is within its share; a network alone may exceed it rather than leave cores idle.
            let within = |entry: &(Ticket, Option<Network>)| entry.1.is_none_or(|network| self.within_share(network));
            let position = self.unfamiliar.iter().position(within).unwrap_or(0);
            let (ticket, network) = self.unfamiliar.remove(position)?;
            if let Some(network) = network {
                count_down(&mut self.waiting_by_network, network);
            }
            let demand = Demand::Unfamiliar(network);
            self.start(demand);
            return Some((ticket, demand));
        }
        if self.running < self.limits.background {
            let ticket = self.background.pop_front()?;
            self.start(Demand::Background);
            return Some((ticket, Demand::Background));
        }
        None
    }

    fn may_start(&self, demand: Demand) -> bool {
        if self.running >= self.limits.permits || !self.familiar.is_empty() {
            return false;
        }
        match demand {
            Demand::Familiar => true,
            Demand::Unfamiliar(_) => self.unfamiliar.is_empty() && self.running_unfamiliar < self.limits.unfamiliar,
            Demand::Background => {
                self.unfamiliar.is_empty() && self.background.is_empty() && self.running < self.limits.background
            }
        }
    }

    fn start(&mut self, demand: Demand) {
        self.running += 1;
        if let Demand::Unfamiliar(network) = demand {
            self.running_unfamiliar += 1;
            if let Some(network) = network {
                *self.running_by_network.entry(network).or_default() += 1;
            }
        }
    }

    fn within_share(&self, network: Network) -> bool {
        self.running_by_network.get(&network).copied().unwrap_or(0) < self.limits.per_network
    }
}

fn count_down(counts: &mut HashMap<Network, usize>, network: Network) {
    if let Some(count) = counts.get_mut(&network) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&network);
        }
    }
}
