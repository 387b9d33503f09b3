//! The sign-in transaction: a state machine held by the server, bound to one browser, ten minutes long.
//!
//! A transition consumes the state and may refuse. The store writes it only over the version it was read from, so that
//! a state is left once, whatever arrives at the same time and on whichever node.

use serde::{Deserialize, Serialize};

use super::outcome::{Notice, ProtocolRequest, TransactionLost};
use super::realm::{Managed, Road};
use crate::identity::{AuthenticationMethod, DomainName, EntityId, SessionId, Timestamp, TransactionId};

/// What a transaction awaits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "awaits")]
pub enum State {
    Identifier {
        hint: Option<String>,
        refused: bool,
    },
    Password {
        /// As it was typed.
        name: String,
        /// The domain of the name's user, or of the name where nobody has it.
        domain: DomainName,
        /// The method it began with; a switch of the domain's method does not change it.
        method: Managed,
        /// Some password may be right.
        ours: bool,
        notice: Option<Notice>,
    },
    Assertion {
        name: Option<String>,
        domain: DomainName,
        partner: EntityId,
        request_id: String,
    },
    /// Nothing: signed in.
    Complete {
        sid: SessionId,
    },
    /// Nothing: ended by `domain set-method --cut`.
    Cut,
}

impl State {
    /// The name's road is known.
    pub fn identified(self, name: Option<String>, road: Road, request_id: String) -> Result<Self, TransactionLost> {
        match self {
            Self::Identifier { .. } => Ok(match road {
                Road::Password { domain, method, ours } => {
                    Self::Password { name: name.unwrap_or_default(), domain, method, ours, notice: None }
                }
                Road::Partner { domain, partner } => Self::Assertion { name, domain, partner, request_id },
            }),
            Self::Password { .. } | Self::Assertion { .. } | Self::Complete { .. } | Self::Cut => {
                Err(TransactionLost::OtherState)
            }
        }
    }

    /// What was typed is no sign-in name.
    pub fn misnamed(self) -> Result<Self, TransactionLost> {
        match self {
            Self::Identifier { hint, .. } => Ok(Self::Identifier { hint, refused: true }),
            Self::Password { .. } | Self::Assertion { .. } | Self::Complete { .. } | Self::Cut => {
                Err(TransactionLost::OtherState)
            }
        }
    }

    /// The password did not sign the user in.
    pub fn refused(self, with: Notice) -> Result<Self, TransactionLost> {
        match self {
            Self::Password { name, domain, method, ours, .. } => {
                Ok(Self::Password { name, domain, method, ours, notice: Some(with) })
            }
            Self::Identifier { .. } | Self::Assertion { .. } | Self::Complete { .. } | Self::Cut => {
                Err(TransactionLost::OtherState)
            }
        }
    }

    /// Another name is to be typed.
    pub fn started_over(self) -> Result<Self, TransactionLost> {
        match self {
            Self::Identifier { .. } | Self::Password { .. } | Self::Assertion { .. } => {
                Ok(Self::Identifier { hint: None, refused: false })
            }
            Self::Complete { .. } | Self::Cut => Err(TransactionLost::OtherState),
        }
    }

    /// The credential was proved.
    pub fn completed(self, sid: SessionId) -> Result<Self, TransactionLost> {
        match self {
            Self::Password { .. } | Self::Assertion { .. } => Ok(Self::Complete { sid }),
            Self::Identifier { .. } | Self::Complete { .. } | Self::Cut => Err(TransactionLost::OtherState),
        }
    }

    /// The stable word for the store.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Identifier { .. } => "await-identifier",
            Self::Password { .. } => "await-password",
            Self::Assertion { .. } => "await-assertion",
            Self::Complete { .. } => "complete",
            Self::Cut => "cut",
        }
    }

    /// The domain and method the transaction rests on, once the name is known.
    pub fn rests_on(&self) -> Option<(&DomainName, AuthenticationMethod)> {
        match self {
            Self::Password { domain, method, .. } => Some((domain, method.method())),
            Self::Assertion { domain, .. } => Some((domain, AuthenticationMethod::Federated)),
            Self::Identifier { .. } | Self::Complete { .. } | Self::Cut => None,
        }
    }
}

/// A transaction as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub id: TransactionId,
    /// SHA-256 (hex) of the browser's secret.
    pub cookie_hash: String,
    pub state: State,
    pub protocol: ProtocolRequest,
    /// SHA-256 (hex) of the session cookie with which it began. A partner's POST brings none along.
    pub replaces: Option<String>,
    pub version: i64,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}
