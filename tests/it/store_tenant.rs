//! The conformance suite of the tenant directory: the same rules on SQLite and on PostgreSQL.

mod addresses;
mod administration;
mod domains;
mod exports;
mod leases;
mod lock_order;
mod matching;
mod people;
mod purge;
mod read_back;
mod sign_in;
