//! A server that lies: the protocol's other side, scripted, for tests of what a client must refuse.

mod page;
mod server;
mod tests;
