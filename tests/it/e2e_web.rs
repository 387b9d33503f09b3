//! The product as its users meet it: the gateway as a process, slapd as the directory, SimpleSAMLphp as the federation
//! partner, Apache as the application, Chromium as the browser.

mod applications;
mod pages;
mod responses;
mod world;
