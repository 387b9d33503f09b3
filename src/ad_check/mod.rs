//! What a connector's account may do in its Active Directory: enough for what is configured, and no more.
//!
//! Looks at a directory as the gateway would, and changes nothing. What is asked by trying is tried: connections, sign-ins,
//! the deleted objects, one hash of the account's own. What cannot be tried without doing it is read from the access
//! control lists (MS-ADTS, section 5.1.3).

mod commands;
mod descriptor;
mod examination;
mod hashes;
mod report;
mod token;
mod writeback;

pub use examination::examine;
pub use report::{Area, Finding, Report, Standing};
