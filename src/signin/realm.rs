//! Home realm discovery: from what somebody typed to the road they walk.
//!
//! Whether the user exists is not to be told from the road. A domain that is none of ours walks the road of the initial
//! domain to the password page and is refused there like a wrong password. A name of another domain than its user's own
//! (an alternate mail address, a down-level name) walks to the password page like a name that nobody has; which method
//! checks the password there, and whose switch of method ends it, is the user's own domain's to say.

use serde::{Deserialize, Serialize};

use super::directory::Realm;
use super::failover::stands_in;
use crate::identity::{AuthenticationMethod, DomainName, EntityId};

/// The methods in which the gateway sees the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Managed {
    Phs,
    Pta,
    /// Federation, while its partner gives no service: the stored hash stands in.
    Federated,
}

impl Managed {
    pub const fn method(self) -> AuthenticationMethod {
        match self {
            Self::Phs => AuthenticationMethod::Phs,
            Self::Pta => AuthenticationMethod::Pta,
            Self::Federated => AuthenticationMethod::Federated,
        }
    }
}

/// The road of a transaction, fixed when the name is known: a method that is switched later does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Road {
    /// Ask for the password. `ours` is false where no password can be right: the domain is none of ours, or the name's
    /// user is a partner's.
    Password { domain: DomainName, method: Managed, ours: bool },
    /// Send the browser to the partner.
    Partner { domain: DomainName, partner: EntityId },
}

/// The road for a name whose domain is `found` (`None` when it is none of ours) and whose user's own domain is `own`
/// (`None` when nobody has the name).
pub fn discover(found: Option<&Realm>, initial: &Realm, own: Option<&Realm>) -> Road {
    let password = |realm: &Realm, ours| Road::Password {
        domain: realm.domain.clone(),
        method: at_the_gateway(realm).unwrap_or(Managed::Phs),
        ours,
    };
    match found {
        None => password(initial, false),
        Some(realm) => match (at_the_gateway(realm), &realm.partner) {
            (None, Some(partner)) => Road::Partner { domain: realm.domain.clone(), partner: partner.clone() },
            // Federated without a partner cannot be set; should it be met, nobody of the domain signs in.
            (None, None) => password(initial, false),
            (Some(_), _) => match own {
                None => password(realm, true),
                Some(own) if at_the_gateway(own).is_some() => password(own, true),
                Some(_) => password(realm, false),
            },
        },
    }
}

/// How the gateway itself checks the passwords of a realm; `None` where that is the partner's.
fn at_the_gateway(realm: &Realm) -> Option<Managed> {
    match realm.method {
        AuthenticationMethod::Phs => Some(Managed::Phs),
        AuthenticationMethod::Pta => Some(Managed::Pta),
        AuthenticationMethod::Federated => {
            let partner_down = realm.partner_outage.is_some();
            (realm.partner.is_some() && stands_in(&realm.policy(), partner_down)).then_some(Managed::Federated)
        }
    }
}
