//! Sign-in over a real store, with authorities that do what the test tells them.

mod administration;
mod changes;
mod decisions;
mod failover;
mod federated;
mod lockout;
mod partner_outage;
mod password;
mod rollouts;
mod scripted;
mod transactions;
mod world;
