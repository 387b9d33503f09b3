//! Whether LDAP servers know what the settings and the rules name, and whether it is what they take it for.
//!
//! Looks at the subschema of a directory (RFC 4512, section 4.2) and changes nothing. A name that a server does not know is
//! no error to it: a filter with such an attribute matches nobody, and an attribute that is read has no value. So an
//! operator learns of a slip here, or by people who are missing.

mod comparison;
mod examination;
mod subject;

pub use comparison::compare;
pub use examination::examine;
pub use subject::Subject;
