//! Directories behind agents, over real TLS: the conformance suite, agents that come and go, and agents that are false.

mod bounds;
mod conformance;
mod faults;
mod passwords;
mod world;
