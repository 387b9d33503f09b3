//! Tests through the public edge, against real servers. One binary, so that everything links once.

mod federation;
mod issuer_store;
mod ldap;
mod pass_through;
mod oidc;
mod saml;
mod saml_table;
mod store_writes;
mod servers;
mod signin;
mod store_tenant;
mod store_credentials;
mod serve;
mod password_sync;
mod support;
mod sync_stories;
mod web_servers;
