//! The conformance suite of the tenant directory: the same rules on SQLite and on PostgreSQL.

mod domains;
mod exports;
mod people;
mod sign_in;
