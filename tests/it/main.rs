//! Tests through the public edge, against real servers. One binary, so that everything links once.

mod federation;
mod issuer_store;
mod ldap;
mod pass_through;
mod saml;
mod saml_table;
mod servers;
mod signin;
mod store_credentials;
mod store_tenant;
mod support;
mod web_servers;
