//! Tests through the public edge, against real servers. One binary, so that everything links once.

mod agents;
mod connectors;
mod e2e_admin;
mod e2e_agents;
mod e2e_failover;
mod e2e_keys;
mod e2e_kill;
mod e2e_nodes;
mod e2e_runs;
mod e2e_switch;
mod e2e_sync;
mod e2e_web;
mod federation;
mod issuer_store;
mod ldap;
mod listener;
mod oidc;
mod pass_through;
mod password_sync;
mod password_sync_ad;
mod rules_commands;
mod saml;
mod saml_table;
mod serve;
mod servers;
mod signin;
mod store_credentials;
mod store_tenant;
mod store_writes;
#[expect(dead_code, reason = "shared with the benchmarks, which use other parts of it")]
mod support;
mod sync_delta;
mod sync_slapd;
mod sync_stories;
mod sync_writeback;
mod web_servers;
