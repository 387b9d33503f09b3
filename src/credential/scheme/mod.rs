//! The forms in which directories keep passwords, parsed into chains.
//!
//! Governed by RFC 2307 section 5.3 and by what OpenLDAP, 389 Directory Server and Samba write. The values are outside
//! bytes: they are capped in length and in what checking them may cost, and whatever is not understood whole is
//! quarantined. Parsing runs no derivation.

mod argon2;
mod base64_forms;
mod crypt;
mod digest;
mod nt;
mod pbkdf2;
mod source_value;
#[cfg(test)]
mod tests;
mod user_password;

pub use nt::{NtHash, PPH1, PPH1_SALT_BYTES, parse_nt_hash};
pub use source_value::SourceValue;
pub use user_password::{ClearText, parse_user_password};
