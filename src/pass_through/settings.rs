//! What the live check needs to know of a connector.

use std::sync::Arc;
use std::time::Duration;

use super::old_password::OldPasswordRule;
use super::tickets::Tickets;
use crate::config::{ConnectorSettings, Dialect, DisabledTest};
use crate::identity::{Clock, ConnectorName, DistinguishedName, SourceAnchor};
use crate::ldap::pool::PoolSettings;
use crate::ldap::{Filter, ServerUrl, ServerUrlError, ServiceAccount, Trust, TrustError};
use crate::signin::HashCheck;

/// The live check's settings of one connector.
#[derive(Clone, Debug)]
pub struct PassThroughSettings {
    pub connector: ConnectorName,
    /// In order of preference; at least one.
    pub servers: Vec<ServerUrl>,
    pub trust: Trust,
    pub account: ServiceAccount,
    /// Where users are looked for; at least one.
    pub bases: Vec<DistinguishedName>,
    pub anchor: AnchorAttribute,
    pub dialect: Dialect,
    pub disabled: DisabledTest,
    /// How long a lock lasts where the directory tells only when it began.
    pub lockout_duration: Duration,
    /// For reaching a server, and for each question to it before the bind.
    pub connect_deadline: Duration,
    /// For a check as a whole, from its first packet.
    pub bind_deadline: Duration,
    /// For a probe of a server as a whole.
    pub probe_deadline: Duration,
    pub search_connections: usize,
    pub bind_connections: usize,
    /// How long after a change Active Directory may still take the previous password; zero switches the rule off.
    pub old_password_window: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("connector {connector}: a server address is refused")]
    Server { connector: ConnectorName, source: ServerUrlError },
    #[error("connector {connector}: the certificate authorities are refused")]
    Trust { connector: ConnectorName, source: TrustError },
    #[error("connector {0} has no server")]
    NoServer(ConnectorName),
    #[error("connector {0} has no base")]
    NoBase(ConnectorName),
}

/// Active Directory takes the previous password for an hour by default; five minutes more for clocks.
pub const OLD_PASSWORD_WINDOW: Duration = Duration::from_secs(65 * 60);
/// For a probe of a server as a whole.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// Enough for thousands of checks a second on a healthy server, few enough for a domain controller's limits.
const SEARCH_CONNECTIONS: usize = 16;
const BIND_CONNECTIONS: usize = 32;

impl PassThroughSettings {
    /// The live check's part of a connector's settings.
    pub fn new(settings: &ConnectorSettings) -> Result<Self, SettingsError> {
        let connector = settings.name.clone();
        if settings.servers.is_empty() {
            return Err(SettingsError::NoServer(connector));
        }
        if settings.scope.bases.is_empty() {
            return Err(SettingsError::NoBase(connector));
        }
        let servers = settings
            .servers
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|source| SettingsError::Server { connector: connector.clone(), source })?;
        let trust = Trust::new(settings.ca_file.as_slice())
            .map_err(|source| SettingsError::Trust { connector: connector.clone(), source })?;
        Ok(Self {
            connector,
            servers,
            trust,
            account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
            bases: settings.scope.bases.clone(),
            anchor: AnchorAttribute::new(&settings.scope.anchor_attribute),
            dialect: settings.scope.dialect,
            disabled: settings.scope.disabled.clone(),
            lockout_duration: settings.lockout_duration,
            connect_deadline: settings.connect_deadline,
            bind_deadline: settings.bind_deadline,
            probe_deadline: PROBE_DEADLINE,
            search_connections: SEARCH_CONNECTIONS,
            bind_connections: BIND_CONNECTIONS,
            old_password_window: OLD_PASSWORD_WINDOW,
        })
    }

    /// The rule about previous passwords for this connector.
    pub fn old_password_rule(&self, hashes: Option<Arc<dyn HashCheck>>, clock: Arc<dyn Clock>) -> OldPasswordRule {
        OldPasswordRule {
            connector: self.connector.clone(),
            dialect: self.dialect,
            window: self.old_password_window,
            patience: self.bind_deadline,
            hashes,
            tickets: Some(Arc::new(Tickets { deadline: self.bind_deadline })),
            clock,
        }
    }

    pub(super) fn pool(&self, max_size: usize) -> PoolSettings {
        PoolSettings { max_size, connect_deadline: self.connect_deadline, ..PoolSettings::default() }
    }
}

/// The directory's own immutable id of an entry, and how its values are written as anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorAttribute {
    /// `entryUUID`, `nsUniqueId`: the anchor is the text.
    Text(String),
    /// `objectGUID`, `mS-DS-ConsistencyGuid`: the anchor is the base64 of the bytes.
    Binary(String),
}

impl AnchorAttribute {
    pub fn new(attribute: &str) -> Self {
        let binary = ["objectGUID", "objectSid", "mS-DS-ConsistencyGuid"];
        if binary.iter().any(|known| known.eq_ignore_ascii_case(attribute)) {
            Self::Binary(attribute.to_owned())
        } else {
            Self::Text(attribute.to_owned())
        }
    }

    /// Finds the entry of `anchor`; `None` when no entry can have that anchor.
    pub(super) fn filter(&self, anchor: &SourceAnchor) -> Option<Filter> {
        match self {
            Self::Text(attribute) => Some(Filter::equal(attribute, anchor.as_str())),
            Self::Binary(attribute) => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(anchor.as_str()).ok()?;
                Some(Filter::equal(attribute, bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_anchor_is_searched_by_its_bytes() {
        let guid = SourceAnchor::from_binary(&[0x2a, 0x28, 0xff]).expect("short");
        let filter = AnchorAttribute::new("objectguid").filter(&guid).expect("base64");
        assert_eq!(filter.to_string(), "(objectguid=\\2a\\28\\ff)");
        let text = SourceAnchor::from_stored("not base64!".to_owned());
        assert_eq!(AnchorAttribute::new("objectGUID").filter(&text), None);
    }

    #[test]
    fn a_text_anchor_is_a_value_and_nothing_else() {
        let filter = AnchorAttribute::new("entryUUID").filter(&SourceAnchor::from_stored("*)(uid=*".to_owned()));
        assert_eq!(filter.expect("text").to_string(), "(entryUUID=\\2a\\29\\28uid=\\2a)");
    }
}
