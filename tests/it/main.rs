//! Tests through the public edge, against real servers. One binary, so that everything links once.

mod federation;
mod issuer_store;
mod saml;
mod saml_table;
mod servers;
mod store_tenant;
mod support;
mod sync_stories;
mod web_servers;
