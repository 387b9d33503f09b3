//! The demonstration directory: a small LDAP server on loopback, over TLS, with a switch that cuts it off.
//!
//! It speaks the wire protocol (RFC 4511) to whoever asks: bind, paged search, Who am I, unbind. It holds a handful of
//! entries in memory and takes no changes. It is for watching the product, not for keeping people in.

mod entries;
mod filter;
mod server;

pub use entries::{Entries, Person};
pub use server::{Directory, DirectorySwitch};
