//! Network Data Representation, version 2.0, little endian (C706 chapter 14, MS-RPCE 2.2.4.12): what a stub is written in.
//!
//! Pointers are read where their referents stand in the bytes, one after the other, never by following anything, so a
//! reply cannot lead the reader in circles; every count is checked against the bytes that are there before it is used.

mod reader;
mod writer;

pub(crate) use reader::{Reader, text};
pub(crate) use writer::Writer;
