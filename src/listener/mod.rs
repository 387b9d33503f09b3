//! Connections from outside, before anybody knows what they want: who gets a place, how long a handshake and the head of
//! a request may take, and how connections end. Knows TLS, the PROXY protocol and the framing of HTTP; no routes.

mod accept;
mod http;
pub mod open_files;
mod proxy_header;

pub use accept::{Arrival, Doors};
pub use http::{HEAD_DEADLINE, Leaving, serve};
