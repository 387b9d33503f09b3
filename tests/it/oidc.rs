//! The OpenID provider and the sign-in pages over HTTP on loopback: an independent client library, and a browser that is
//! played by hand. The directory and the hash check are scripted; store, sign-in and issuer are the product's.

mod pages;
pub mod provider;
mod refusals;
mod support;
