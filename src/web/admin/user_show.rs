//! `user.show`: one user in full, by sign-in name or `oid`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tenant::{Tenant, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{AccountState, ConnectorName, CredentialSource, SourceAnchor, Timestamp, Upn, UserId};
use crate::store::tenant::UserDetail;
use crate::tenant::record::fold_mail;
use crate::tenant::unique::UniqueKind;
use crate::tenant::{GroupMembership, SignInDirectory};

pub struct UserShow;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A sign-in name, or an `oid` (also of a deleted user).
    pub user: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
    pub upn: Upn,
    pub on_premises_upn: Option<String>,
    pub source_anchor: Option<SourceAnchor>,
    pub connector: Option<ConnectorName>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub mail: Option<String>,
    /// Of the exported `proxyAddresses` those that are the user's.
    pub proxy_addresses: Vec<String>,
    /// The local part of the name in the initial domain that stands in when the directory's name cannot be given.
    pub mail_nickname: Option<String>,
    pub sam: Option<String>,
    /// As they were exported.
    pub attributes: Map<String, Value>,
    pub account_enabled: bool,
    /// What the password channel knows of the account.
    pub directory_state: Option<AccountState>,
    pub credential: Option<Credential>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    /// Values that another object holds, by attribute.
    pub quarantined: BTreeMap<String, Vec<Held>>,
    /// Groups, also through other groups, by display name or `oid`.
    pub groups: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Credential {
    pub source: CredentialSource,
    /// Password sync is enabled by the rules in scope.
    pub eligible: bool,
    pub stage: Option<String>,
    pub reason: Option<String>,
    pub outdated: bool,
    pub fetch_queued: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    pub value: String,
    pub held_by: String,
    pub since: Timestamp,
}

impl Operation for UserShow {
    const NAME: &'static str = "user.show";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.user.clone())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let found = tenant.store.find_user(&request.user).await.map_err(store_error)?;
        let found = found.ok_or_else(|| OperationError::not_found(format!("there is no user {}", request.user)))?;
        let groups = tenant.store.groups_of(found.user.oid).await.map_err(|error| OperationError::internal(&error))?;
        Ok(response(found, groups))
    }
}

fn response(found: UserDetail, groups: Vec<GroupMembership>) -> Response {
    let user = found.user;
    let credential = user.credential.map(|link| Credential {
        source: link.source,
        eligible: link.eligible,
        stage: found.credential_stage,
        reason: found.credential_reason,
        outdated: found.credential_outdated,
        fetch_queued: found.fetch_queued,
    });
    let mail = user.on_premises_mail.as_deref().map(fold_mail);
    let mut quarantined: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for ((kind, value), waits) in user.quarantined {
        let is_mail = kind == UniqueKind::Address && mail.as_ref() == Some(&value);
        let attribute = if is_mail { "mail" } else { kind.attribute() };
        let held = Held { value, held_by: waits.held_by, since: waits.since };
        quarantined.entry(attribute.to_owned()).or_default().push(held);
    }
    Response {
        oid: user.oid,
        upn: user.upn,
        on_premises_upn: user.on_premises_upn,
        source_anchor: user.source_anchor,
        connector: user.anchor_connector,
        display_name: user.display_name,
        given_name: user.given_name,
        surname: user.surname,
        mail: user.mail,
        proxy_addresses: user.addresses.iter().map(ToString::to_string).collect(),
        mail_nickname: user.nickname.map(|nickname| nickname.to_string()),
        sam: user.sam,
        attributes: user.attributes,
        account_enabled: user.account_enabled,
        directory_state: found.directory_state,
        credential,
        created_at: user.created_at,
        updated_at: user.updated_at,
        deleted_at: user.deleted_at,
        quarantined,
        groups: groups.into_iter().map(|group| group.display_name.unwrap_or_else(|| group.oid.to_string())).collect(),
    }
}
