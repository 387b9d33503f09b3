//! Which admin principal may do what.

use serde::{Deserialize, Serialize};

/// The right that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Read settings, users, domains, health.
    Read,
    /// Read the audit log.
    ReadAudit,
    /// Change how people sign in: methods, failover, lockout.
    ManageSignIn,
    /// Change domains, clients and partners.
    ManageTenant,
    /// Run and release synchronisation, activate rules.
    ManageSync,
}

/// What a principal is. Each role lists its rights, so that a new right is granted to nobody by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Owner,
    SignInAdmin,
    SyncAdmin,
    Auditor,
    Reader,
}

impl Role {
    pub fn grants(self, right: Right) -> bool {
        match self {
            Self::Owner => true,
            Self::SignInAdmin => matches!(right, Right::Read | Right::ManageSignIn),
            Self::SyncAdmin => matches!(right, Right::Read | Right::ManageSync),
            Self::Auditor => matches!(right, Right::Read | Right::ReadAudit),
            Self::Reader => matches!(right, Right::Read),
        }
    }
}
