//! HTTP: routes, extractors and pages. One file per operation. Decides nothing: it calls and renders.

pub mod admin;
