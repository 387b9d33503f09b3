//! One identifier type per kind of thing, so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::source_anchor::SourceAnchor;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random identifier (122 bits from the operating system).
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(/// A user's `oid` in the tenant directory. Never reused (design D22).
    UserId);
uuid_id!(/// A group's `oid` in the tenant directory.
    GroupId);
uuid_id!(/// A contact's `oid` in the tenant directory.
    ContactId);
uuid_id!(/// A device's `oid` in the tenant directory.
    DeviceId);
uuid_id!(/// The public id of a session, the `sid` claim. The cookie's secret is another value.
    SessionId);
uuid_id!(/// A sign-in transaction.
    TransactionId);
uuid_id!(/// One try at one password: ties reservation, bind, audit row and late answer together.
    AttemptId);
uuid_id!(/// An enrolled pass-through agent.
    AgentId);
uuid_id!(/// A staged rollout of a method.
    RolloutId);
uuid_id!(/// A change of a domain's method: proposed, scheduled, under way or done.
    ChangeId);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                    return Err(IdError { kind: stringify!($name), max: $max });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

/// Text that is not an identifier of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: 1 to {max} characters of its alphabet are expected")]
pub struct IdError {
    kind: &'static str,
    max: usize,
}

fn name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

text_id!(/// The name of a connector, as the configuration gives it.
    ConnectorName, 64, name_char);
text_id!(/// The `client_id` of a relying party.
    ClientId, 128, name_char);
text_id!(/// The name of a gateway node; audit numbers are gapless per node.
    NodeId, 64, name_char);
text_id!(/// A SAML entity ID: a URI of at most 1024 characters (SAML core, section 8.3.6).
    EntityId, 1024, |c| c.is_ascii_graphic());

/// Where a user's password and account state live: the connector and the anchor of the account that won
/// `accountEnabled` (design D9). Hash, live bind, breaker and directory state are keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CredentialSource {
    pub connector: ConnectorName,
    /// The object's anchor in its connector space (`entryUUID`, `objectGUID`), not the source anchor of the tenant.
    pub anchor: SourceAnchor,
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.connector, self.anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_identifiers_keep_to_their_alphabet() {
        assert!("corp-ad.1".parse::<ConnectorName>().is_ok());
        for text in ["", "a b", "a/b", "a\n"] {
            assert!(text.parse::<ConnectorName>().is_err(), "{text:?}");
        }
        assert!("https://idp.example/metadata".parse::<EntityId>().is_ok());
        assert!("urn:a b".parse::<EntityId>().is_err());
    }
}
