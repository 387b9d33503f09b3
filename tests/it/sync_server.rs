//! The connector API over real TLS: the conformance suite, cut wires, and who is refused.

mod bounds;
mod conformance;
mod faults;
mod world;
