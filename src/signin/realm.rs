//! Home realm discovery: from what somebody typed to the road they walk.
//!
//! By domain alone: whether the user exists is not asked here. A domain that is none of ours walks the road of the
//! initial domain to the password page and is refused there like a wrong password.

use serde::{Deserialize, Serialize};

use super::directory::Realm;
use crate::identity::{AuthenticationMethod, DomainName, EntityId};

/// The methods in which the gateway sees the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Managed {
    Phs,
    Pta,
}

impl Managed {
    pub const fn method(self) -> AuthenticationMethod {
        match self {
            Self::Phs => AuthenticationMethod::Phs,
            Self::Pta => AuthenticationMethod::Pta,
        }
    }
}

/// The road of a transaction, fixed when the name is known: a method that is switched later does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Road {
    /// Ask for the password. `ours` is false for a domain that is none of ours.
    Password { domain: DomainName, method: Managed, ours: bool },
    /// Send the browser to the partner.
    Partner { domain: DomainName, partner: EntityId },
}

/// The road for a name whose domain is `found` (`None` when it is none of ours).
pub fn discover(found: Option<&Realm>, initial: &Realm) -> Road {
    let password = |realm: &Realm, ours| Road::Password {
        domain: realm.domain.clone(),
        method: managed(realm).unwrap_or(Managed::Phs),
        ours,
    };
    match found {
        None => password(initial, false),
        Some(realm) => match (realm.method, &realm.partner) {
            (AuthenticationMethod::Federated, Some(partner)) => {
                Road::Partner { domain: realm.domain.clone(), partner: partner.clone() }
            }
            // Federated without a partner cannot be set; should it be met, nobody of the domain signs in.
            (AuthenticationMethod::Federated, None) => password(initial, false),
            (AuthenticationMethod::Phs | AuthenticationMethod::Pta, _) => password(realm, true),
        },
    }
}

/// The managed method of a realm; `None` for a federated one.
pub fn managed(realm: &Realm) -> Option<Managed> {
    match realm.method {
        AuthenticationMethod::Phs => Some(Managed::Phs),
        AuthenticationMethod::Pta => Some(Managed::Pta),
        AuthenticationMethod::Federated => None,
    }
}
