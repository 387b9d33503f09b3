//! Real servers for the tests: each starts on free loopback ports (or on a network that its test made), in a folder of its
//! own, and is gone when its guard is dropped or the test binary ends, however it ends. A server that is not installed fails the
//! test that asks for it.
//!
//! Starting and stopping block and need no async runtime; only the browser's calls are async.

pub mod agent;
pub mod apache;
pub mod balancer;
pub mod chromium;
pub mod cutting_proxy;
pub mod directory;
pub mod ds389;
pub mod gateway;
pub mod holding_proxy;
pub mod html;
pub mod lan;
pub mod mail;
pub mod name_proxy;
pub mod passwords;
pub mod pki;
pub mod ports;
pub mod postgres;
pub mod power_loss;
pub mod process;
pub mod samba;
pub mod scim;
pub mod scripted_ad;
pub mod scripted_ldap;
pub mod simplesamlphp;
pub mod slapd;
pub mod store;
pub mod sync_server;
pub mod tab;
pub mod thousands;
pub mod visitor;
pub mod wait;
pub mod wire;
