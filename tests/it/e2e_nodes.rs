//! Two nodes on one PostgreSQL behind a plain TCP balancer without sticky sessions.

mod changes;
mod database;
mod lockout;
mod restarts;
mod site;
mod together;
