//! The catalogue of export errors: codes that stay the same, what each means and what ends it (reference, section 9.2).
//! `docs/export-errors.md` is held to it by a test.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The object is unchanged. `code` is stable; the text says what is wrong with this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ExportError {
    pub code: ErrorCode,
    pub message: String,
}

macro_rules! catalogue {
    ($($code:ident { cause: $cause:literal, remedy: $remedy:literal $(,)? })*) => {
        /// Why the directory refused a change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $(#[doc = $cause] $code),*
        }

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),* }
            }

            /// What led to it.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$code => $cause),* }
            }

            /// What an operator does about it. The change is sent again by every run until it is accepted.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$code => $remedy),* }
            }
        }
    };
}

catalogue! {
    InvalidSourceAnchor {
        cause: "The source anchor is missing or breaks the published rules.",
        remedy: "Choose an attribute that every object has and that keeps to them, such as `objectGUID` or `entryUUID`.",
    }
    SourceAnchorChanged {
        cause: "The object was exported with another source anchor before. Nothing of it is exported any more.",
        remedy: "Put the former value back at its source. To change the attribute for all, see `sync anchor-migrate`.",
    }
    InvalidHardMatch {
        cause: "An object that was made in the cloud has this source anchor, and taking over is blocked.",
        remedy: "Set `matching.hard_match = true` while objects are handed over, or delete the object of the cloud.",
    }
    InvalidSoftMatch {
        cause: "An object that was made in the cloud holds the mail address or name, and must not be taken over: soft match is blocked, the object has another source anchor, or the connector may not speak for the domain.",
        remedy: "Set `matching.soft_match = true` while objects are handed over, give the object the right source anchor, or rename one of the two.",
    }
    ExistingAdminRoleConflict {
        cause: "The object that would be taken over is privileged.",
        remedy: "If it is to be handed over, take its privilege away with `user set-privileged`, run a cycle, and give it back.",
    }
    ObjectTypeMismatch {
        cause: "The source anchor, or the mail address of an object of the cloud, belongs to an object of another type.",
        remedy: "Delete the other object, or correct the value on premises.",
    }
    ObjectOwnedElsewhere {
        cause: "The object belongs to another connector, or is mastered in the cloud.",
        remedy: "Let one connector alone export the object; an object of the cloud is changed and deleted there.",
    }
    AttributeValueMustBeUnique {
        cause: "Another object holds a unique value, and no stand-in is free.",
        remedy: "Change the value of one of the two.",
    }
    IdentityDataValidationFailed {
        cause: "A value is malformed in a way that no stand-in can repair.",
        remedy: "Correct the value at its source.",
    }
    DomainNotRegisteredForConnector {
        cause: "The suffix of the user principal name is a verified domain for which the connector may not speak.",
        remedy: "List the domain in the connector's `domains`.",
    }
    CredentialSourceTaken {
        cause: "Another user has the same account as the source of the password.",
        remedy: "Let one account give `accountEnabled` to one user alone.",
    }
    DirectoryQuotaExceeded {
        cause: "The directory holds as many objects as its quota allows.",
        remedy: "Filter objects that nobody needs, or raise `directory.object_quota`.",
    }
    ObjectNotFound {
        cause: "There is no object with this `oid`, or it was deleted.",
        remedy: "Nothing: the next import sees that the object is gone, and adds it again if the rules want it.",
    }
    ObjectTwiceInBatch {
        cause: "The object occurs twice in a batch.",
        remedy: "Find the two objects with one source anchor.",
    }
    ExceededAllowedLength {
        cause: "An attribute is longer than the directory keeps.",
        remedy: "Shorten the value at its source or in a rule, as with `Left`.",
    }
    LargeObject {
        cause: "An attribute has more values than the directory keeps.",
        remedy: "Remove values that are not needed, such as certificates that have expired.",
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_export_errors_tells_every_code_with_its_cause_and_remedy() {
        let page = include_str!("../../docs/export-errors.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> =
            ErrorCode::ALL.iter().map(|code| format!("| `{code}` | {} | {} |", code.cause(), code.remedy())).collect();
        assert_eq!(rows, expected, "the table should be:\n{}", expected.join("\n"));
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).expect("a word");
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).expect("a code"), *code);
        }
    }
}
