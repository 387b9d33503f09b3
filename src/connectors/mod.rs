//! One file per kind of connected system. Each implements [`crate::sync::Connector`] and knows no rules and no plans.

pub mod files;
pub mod ldap;
pub mod ldap_target;
mod page_stream;
pub mod scim;
pub mod sql;
pub mod tenant;
