//! What a machine is enrolled for: bound to its certificate when it enrols, and checked with everything it asks.

use std::collections::BTreeSet;
use std::fmt;

use crate::identity::{ConnectorName, DomainName};

/// What a machine may do with its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calling {
    /// Live checks at the directory of one connector, for people of these domains.
    Checks { connector: ConnectorName, domains: Vec<DomainName> },
    /// The sync engine: writes what these connectors contribute, and reads that back.
    Synchronise { connectors: BTreeSet<ConnectorName> },
}

impl Calling {
    /// As the enrolment messages carry it: connector, domains, and the connectors of a sync server.
    pub(super) fn to_wire(&self) -> (String, Vec<String>, Option<Vec<String>>) {
        match self {
            Self::Checks { connector, domains } => {
                (connector.to_string(), domains.iter().map(ToString::to_string).collect(), None)
            }
            Self::Synchronise { connectors } => {
                (String::new(), Vec::new(), Some(connectors.iter().map(ToString::to_string).collect()))
            }
        }
    }

    /// `None`: what came is no calling.
    pub(super) fn from_wire(connector: &str, domains: &[String], synchronised: Option<&[String]>) -> Option<Self> {
        match synchronised {
            None => Some(Self::Checks {
                connector: connector.parse().ok()?,
                domains: domains.iter().map(|domain| domain.parse().ok()).collect::<Option<_>>()?,
            }),
            Some(connectors) if !connectors.is_empty() => Some(Self::Synchronise {
                connectors: connectors.iter().map(|name| name.parse().ok()).collect::<Option<_>>()?,
            }),
            Some(_) => None,
        }
    }

    /// Whether a sync server with it may bring this connector.
    pub fn synchronises(&self, connector: &ConnectorName) -> bool {
        match self {
            Self::Checks { .. } => false,
            Self::Synchronise { connectors } => connectors.contains(connector),
        }
    }
}

impl fmt::Display for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checks { connector, .. } => write!(f, "agent of connector {connector}"),
            Self::Synchronise { connectors } => {
                let names: Vec<&str> = connectors.iter().map(ConnectorName::as_str).collect();
                write!(f, "sync server of {}", names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ConnectorName {
        text.parse().expect("a name")
    }

    #[test]
    fn a_calling_goes_over_the_wire_and_an_empty_one_is_none() {
        let checks =
            Calling::Checks { connector: name("corp"), domains: vec!["example.org".parse().expect("a domain")] };
        let synchronise = Calling::Synchronise { connectors: [name("corp"), name("hr")].into() };
        for calling in [checks, synchronise] {
            let (connector, domains, synchronised) = calling.to_wire();
            let read = Calling::from_wire(&connector, &domains, synchronised.as_deref());
            assert_eq!(read, Some(calling));
        }
        assert_eq!(Calling::from_wire("", &[], None), None);
        assert_eq!(Calling::from_wire("corp", &[], Some(&[])), None);
        assert_eq!(Calling::from_wire("", &[], Some(&["a b".to_owned()])), None);
    }
}
