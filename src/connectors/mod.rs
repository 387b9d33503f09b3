//! One file per kind of connected system. Each implements [`crate::sync::Connector`] and knows no rules and no plans.

pub mod ldap;
pub mod tenant;
