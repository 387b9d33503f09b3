//! Domains: the suffixes of user principal names, who owns them, and how their users' credentials are checked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{
    AuthenticationMethod, Backup, ConnectorName, DomainName, EntityId, FailoverMode, Pin, Timestamp,
};

/// A domain of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub name: DomainName,
    pub verification: Verification,
    /// The value of the TXT record that proves ownership.
    pub challenge: String,
    pub created_at: Timestamp,
    pub method: AuthenticationMethod,
    pub method_since: Timestamp,
    pub backup: Backup,
    pub failover: FailoverMode,
    /// The channel's last complete pass may be this old for the backup to count.
    pub max_hash_age: Duration,
    /// For how long every node must have found the federation partner without service before that is an outage.
    pub partner_outage_after: Duration,
    pub pin: Option<PinMark>,
    /// The federation partner of a federated domain.
    pub partner: Option<EntityId>,
    /// Grows with each change of these settings; a change names the version it was decided on.
    pub version: i64,
}

/// How we know that the domain is the tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "at")]
pub enum Verification {
    /// The tenant's own domain: always managed, never federated.
    Initial,
    Pending,
    Dns(Timestamp),
    /// An operator vouched for it.
    Operator(Timestamp),
}

impl Verification {
    pub const fn is_verified(self) -> bool {
        match self {
            Self::Initial | Self::Dns(_) | Self::Operator(_) => true,
            Self::Pending => false,
        }
    }
}

/// An operator's pin, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinMark {
    pub pin: Pin,
    pub by: String,
    pub at: Timestamp,
    /// When it is to be released by itself.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// How old the last complete pass of the password channel may be, unless a domain says otherwise.
pub const DEFAULT_MAX_HASH_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a federation partner must have given no service to any node, unless a domain says otherwise.
pub const DEFAULT_PARTNER_OUTAGE: Duration = Duration::from_secs(10 * 60);

impl Domain {
    /// A domain as it is added: pending, with password hash sync and nothing behind it.
    pub fn added(name: DomainName, challenge: String, now: Timestamp) -> Self {
        Self {
            name,
            verification: Verification::Pending,
            challenge,
            created_at: now,
            method: AuthenticationMethod::Phs,
            method_since: now,
            backup: Backup::None,
            failover: FailoverMode::Manual,
            max_hash_age: DEFAULT_MAX_HASH_AGE,
            partner_outage_after: DEFAULT_PARTNER_OUTAGE,
            pin: None,
            partner: None,
            version: 1,
        }
    }

    /// The tenant's own domain, made once.
    pub fn initial(name: DomainName, now: Timestamp) -> Self {
        Self { verification: Verification::Initial, ..Self::added(name, String::new(), now) }
    }

    pub fn is_initial(&self) -> bool {
        self.verification == Verification::Initial
    }
}

/// What the calculation of effective names needs to know of the domains.
#[derive(Clone, Debug)]
pub struct DomainRules {
    initial: DomainName,
    /// By their texts: addresses are asked for as they are stored.
    verified: HashSet<String>,
    registered: HashMap<String, HashSet<ConnectorName>>,
}

/// What a suffix is to a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffix {
    /// Verified, and the connector may speak for it.
    Usable,
    Unverified,
    /// Verified, but not the connector's.
    NotRegistered,
}

impl DomainRules {
    pub fn new(initial: DomainName) -> Self {
        Self { initial, verified: HashSet::new(), registered: HashMap::new() }
    }

    pub fn verify(&mut self, name: DomainName) {
        self.verified.insert(name.to_string());
    }

    pub fn register(&mut self, connector: ConnectorName, name: DomainName) {
        self.registered.entry(name.to_string()).or_default().insert(connector);
    }

    pub fn initial(&self) -> &DomainName {
        &self.initial
    }

    pub fn is_verified(&self, name: &DomainName) -> bool {
        *name == self.initial || self.verified.contains(name.as_str())
    }

    /// The connectors that speak for a verified domain, where there are any. The initial domain is everybody's.
    pub fn speakers(&self, name: &str) -> Option<&HashSet<ConnectorName>> {
        let verified = *name != *self.initial.as_str() && self.verified.contains(name);
        self.registered.get(name).filter(|connectors| verified && !connectors.is_empty())
    }

    /// The initial domain is everybody's: unique values keep its names apart.
    pub fn suffix(&self, name: &DomainName, connector: &ConnectorName) -> Suffix {
        if *name == self.initial {
            return Suffix::Usable;
        }
        if !self.verified.contains(name.as_str()) {
            return Suffix::Unverified;
        }
        match self.registered.get(name.as_str()) {
            Some(connectors) if connectors.contains(connector) => Suffix::Usable,
            Some(_) | None => Suffix::NotRegistered,
        }
    }
}
