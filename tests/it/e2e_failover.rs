//! Failover as people at the pages, an operator at the command line and slapd see it.

mod conditions;
mod outage;
mod partner;
mod site;
