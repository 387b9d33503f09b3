//! Readiness: who could not sign in after a change of method, per user and in sum.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::rollout::Choice;
use super::store::StoreDown;
use crate::identity::{AuthenticationMethod, ConnectorName, DomainName, EntityId, Timestamp, Upn, UserId};

/// Users that a report names; beyond them it only counts.
const MOST_NAMED: usize = 1000;
/// A partner's certificate that ends sooner is a warning.
pub const EXPIRES_SOON: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// Where the enabled users of a domain have their passwords.
#[async_trait]
pub trait CredentialReadiness: Send + Sync {
    /// At most `limit` users in order of their oid, after `after`.
    async fn users(
        &self,
        domain: &DomainName,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<UserReadiness>, StoreDown>;
}

/// What federation knows of a partner's certificates.
#[async_trait]
pub trait PartnerWatch: Send + Sync {
    /// When the partner's last signing certificate ends; `None` when there is no such partner.
    async fn usable_until(&self, partner: &EntityId) -> Result<Option<Timestamp>, StoreDown>;

    /// The partner that answers for a domain.
    async fn partner_of(&self, domain: &DomainName) -> Result<Option<EntityId>, StoreDown>;
}

/// A user's credential as readiness asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserReadiness {
    pub oid: UserId,
    pub upn: Upn,
    pub has_source_anchor: bool,
    /// The connector that is registered for the domain and has the account.
    pub connector: Option<ConnectorName>,
    pub hash: StoredHash,
    pub state_known: bool,
    /// When the last complete pass over the connector began.
    pub last_pass: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredHash {
    None,
    Quarantined,
    Outdated,
    Usable,
}

/// Why a user could not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotReady {
    NoCredentialSource,
    NoHash,
    HashQuarantined,
    HashOutdated,
    StalePass,
    StateUnknown,
    ServersUnreachable,
    NoSourceAnchor,
    PartnerUnusable,
}

impl NotReady {
    /// The stable word of reports, and what it means for the operator.
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::NoCredentialSource => ("no-credential-source", "no connector of the domain has the account"),
            Self::NoHash => ("no-hash", "no password hash is stored: let the password channel run"),
            Self::HashQuarantined => ("hash-quarantined", "the hash is of a scheme that costs too much to check"),
            Self::HashOutdated => ("hash-outdated", "the directory has a later password: let the channel run"),
            Self::StalePass => ("stale-pass", "the password channel has not been through for too long"),
            Self::StateUnknown => ("state-unknown", "the password channel has not seen the account"),
            Self::ServersUnreachable => ("servers-unreachable", "no server of the user's connector answers"),
            Self::NoSourceAnchor => ("no-source-anchor", "the partner has nothing to name the user by"),
            Self::PartnerUnusable => ("partner-unusable", "no partner answers, or its certificates have ended"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNotReady {
    pub oid: UserId,
    pub upn: Upn,
    pub reason: NotReady,
}

/// Who could not sign in, and what else stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Enabled users of the domain; of a rollout, those whose method it changes.
    pub users: u64,
    pub not_ready: u64,
    /// The first thousand of them.
    pub named: Vec<UserNotReady>,
    pub reasons: Vec<ReasonCount>,
    /// By which methods they sign in then.
    #[serde(default)]
    pub methods: Vec<MethodCount>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodCount {
    pub method: AuthenticationMethod,
    pub users: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    pub reason: NotReady,
    pub users: u64,
}

/// What a method needs of the world outside the users' rows.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Connectors none of whose servers answered a probe.
    pub unreachable: Vec<ConnectorName>,
    /// Partners with a signing certificate that is valid now.
    pub usable_partners: BTreeSet<EntityId>,
    /// Passes of the password channel that began before are stale.
    pub stale_before: Option<Timestamp>,
}

impl Readiness {
    /// Adds a user to the report.
    pub fn judge(&mut self, user: UserReadiness, to: &Choice, around: &Surroundings) {
        self.users += 1;
        match self.methods.iter_mut().find(|count| count.method == to.method) {
            Some(count) => count.users += 1,
            None => self.methods.push(MethodCount { method: to.method, users: 1 }),
        }
        let Some(reason) = not_ready(&user, to, around) else { return };
        self.not_ready += 1;
        match self.reasons.iter_mut().find(|count| count.reason == reason) {
            Some(count) => count.users += 1,
            None => self.reasons.push(ReasonCount { reason, users: 1 }),
        }
        if self.named.len() < MOST_NAMED {
            self.named.push(UserNotReady { oid: user.oid, upn: user.upn, reason });
        }
    }
}

/// Why a user could not sign in as `to` says.
pub fn not_ready(user: &UserReadiness, to: &Choice, around: &Surroundings) -> Option<NotReady> {
    match to.method {
        AuthenticationMethod::Phs => {
            if user.connector.is_none() {
                return Some(NotReady::NoCredentialSource);
            }
            match user.hash {
                StoredHash::None => return Some(NotReady::NoHash),
                StoredHash::Quarantined => return Some(NotReady::HashQuarantined),
                StoredHash::Outdated => return Some(NotReady::HashOutdated),
                StoredHash::Usable => {}
            }
            if around.stale_before.is_some_and(|limit| user.last_pass.is_none_or(|pass| pass < limit)) {
                return Some(NotReady::StalePass);
            }
            (!user.state_known).then_some(NotReady::StateUnknown)
        }
        AuthenticationMethod::Pta => match &user.connector {
            None => Some(NotReady::NoCredentialSource),
            Some(connector) if around.unreachable.contains(connector) => Some(NotReady::ServersUnreachable),
            Some(_) => None,
        },
        AuthenticationMethod::Federated
            if to.partner.as_ref().is_none_or(|partner| !around.usable_partners.contains(partner)) =>
        {
            Some(NotReady::PartnerUnusable)
        }
        AuthenticationMethod::Federated => (!user.has_source_anchor).then_some(NotReady::NoSourceAnchor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signin::rollout::Because;

    fn ready() -> UserReadiness {
        UserReadiness {
            oid: UserId::random(),
            upn: "ada@example.org".parse().expect("a upn"),
            has_source_anchor: true,
            connector: Some("corp".parse().expect("a connector")),
            hash: StoredHash::Usable,
            state_known: true,
            last_pass: Some(Timestamp::from_secs(100)),
        }
    }

    fn around() -> Surroundings {
        Surroundings {
            usable_partners: BTreeSet::from([partner()]),
            stale_before: Some(Timestamp::from_secs(100)),
            ..Surroundings::default()
        }
    }

    fn partner() -> EntityId {
        "https://idp.example".parse().expect("an entity id")
    }

    fn by(method: AuthenticationMethod) -> Choice {
        let partner = (method == AuthenticationMethod::Federated).then(partner);
        Choice { method, partner, because: Because::Domain }
    }

    #[test]
    fn each_method_names_what_it_misses() {
        use AuthenticationMethod::{Federated, Phs, Pta};
        for method in [Phs, Pta, Federated] {
            assert_eq!(not_ready(&ready(), &by(method), &around()), None);
        }
        let corp = ready().connector.into_iter().collect();
        let down = Surroundings { unreachable: corp, ..around() };
        let unusable = Surroundings { usable_partners: BTreeSet::new(), ..around() };
        let none = UserReadiness { connector: None, ..ready() };
        let stale = UserReadiness { last_pass: Some(Timestamp::from_secs(99)), ..ready() };
        let with = |hash| UserReadiness { hash, ..ready() };
        let rows = [
            (none.clone(), Phs, around(), NotReady::NoCredentialSource),
            (with(StoredHash::None), Phs, around(), NotReady::NoHash),
            (with(StoredHash::Quarantined), Phs, around(), NotReady::HashQuarantined),
            (with(StoredHash::Outdated), Phs, around(), NotReady::HashOutdated),
            (stale, Phs, around(), NotReady::StalePass),
            (UserReadiness { last_pass: None, ..ready() }, Phs, around(), NotReady::StalePass),
            (UserReadiness { state_known: false, ..ready() }, Phs, around(), NotReady::StateUnknown),
            (none, Pta, around(), NotReady::NoCredentialSource),
            (ready(), Pta, down, NotReady::ServersUnreachable),
            (ready(), Federated, unusable, NotReady::PartnerUnusable),
            (UserReadiness { has_source_anchor: false, ..ready() }, Federated, around(), NotReady::NoSourceAnchor),
        ];
        for (user, method, around, reason) in rows {
            assert_eq!(not_ready(&user, &by(method), &around), Some(reason));
        }
    }

    #[test]
    fn a_report_names_a_thousand_and_counts_all() {
        let mut report = Readiness::default();
        for _ in 0..1500 {
            let user = UserReadiness { hash: StoredHash::None, oid: UserId::random(), ..ready() };
            report.judge(user, &by(AuthenticationMethod::Phs), &around());
        }
        report.judge(ready(), &by(AuthenticationMethod::Phs), &around());
        assert_eq!((report.users, report.not_ready, report.named.len()), (1501, 1500, 1000));
        assert_eq!(report.reasons, [ReasonCount { reason: NotReady::NoHash, users: 1500 }]);
    }
}
