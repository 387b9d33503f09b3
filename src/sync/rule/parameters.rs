//! `%parameters%` of rules: what the connector tells, and what rule files set.

use std::collections::BTreeMap;

/// Parameters by name. Case tells names apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

/// Parameters that connectors may tell; a rule may use them without setting them.
pub const TOLD_BY_CONNECTORS: [&str; 7] =
    [CONNECTOR_ID, "Domain.FQDN", "Domain.LDAP", "Domain.Netbios", "Forest.FQDN", "Forest.LDAP", "Forest.Netbios"];

/// The name of the connector, told for every one.
pub const CONNECTOR_ID: &str = "Connector.ID";

impl Parameters {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets what is not set yet.
    pub fn fill(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}
