//! How a domain's credentials are checked, and what stands behind when that fails.

use serde::{Deserialize, Serialize};

/// The authentication method of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationMethod {
    /// Password hash synchronisation: the gateway checks a stored chain.
    Phs,
    /// Pass-through authentication: a live bind against the directory.
    Pta,
    /// A federation partner checks the credential and sends an assertion.
    Federated,
}

/// What may answer when the primary method is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backup {
    None,
    Phs,
}

/// Who decides that the backup answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailoverMode {
    /// Nobody gets in through the backup until an administrator forces it.
    Manual,
    /// The gateway does, once the outage is confirmed and every condition holds.
    Automatic,
}

/// What failover is for a group where that is something else than for its domain, from the laxest to the strictest: of
/// several groups of a user the strictest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupFailover {
    /// Members get in through the backup by themselves, though the domain's failover is manual.
    Automatic,
    /// Only once an administrator forces the backup.
    Manual,
    /// Never, not even then.
    Barred,
}

/// An operator's decision that overrides the automatic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Never use the backup, whatever is down.
    Primary,
    /// Use the backup, whatever the primary would say.
    Backup,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ } $expected:literal) => {
        impl $type {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl std::str::FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(UnknownWord { expected: $expected }) }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(AuthenticationMethod { Phs = "phs", Pta = "pta", Federated = "federated" } "phs, pta or federated");
words!(Backup { None = "none", Phs = "phs" } "none or phs");
words!(FailoverMode { Manual = "manual", Automatic = "automatic" } "manual or automatic");
words!(GroupFailover { Automatic = "automatic", Manual = "manual", Barred = "barred" } "automatic, manual or barred");
words!(Pin { Primary = "primary", Backup = "backup" } "primary or backup");

/// A word outside the closed list of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnknownWord {
    pub expected: &'static str,
}
