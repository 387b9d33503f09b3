//! Landbridge: an authentication gateway for hybrid identity. The map of the rooms is in `ARCHITECTURE.md`.

pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connectors;

pub mod credential;
pub mod demo;
pub mod dns;
pub mod federation;
pub mod identity;
pub mod issuer;
pub mod ldap;
pub mod pass_through;
pub mod password_sync;
pub mod saml;
pub mod signin;
pub mod store;
pub mod sync;
pub mod tenant;
pub mod web;
