//! The reads of sign-in, one statement each.

use async_trait::async_trait;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::error::StoreError;
use super::rows::{CREDENTIAL_COLUMNS, DOMAIN_COLUMNS, parse, read_credential, read_domain, text};
use super::sql::unreadable;
use super::store::TenantStore;
use crate::identity::{DomainName, SignInName, SourceAnchor, Timestamp, UserId};
use crate::signin::directory::Holder;
use crate::tenant::lookup::{DirectoryState, NewerRefusal, SignInCredential};
use crate::tenant::{DirectoryUnavailable, Domain, GroupMembership, SignInDirectory, SignInLookup, UserForSignIn};

/// Whose the folded name `$1` is.
const OID_OF_NAME: &str = "(SELECT oid FROM sign_in_name WHERE folded = $1 \
     ORDER BY CASE kind WHEN 'upn' THEN 0 WHEN 'alternate' THEN 1 ELSE 2 END LIMIT 1)";

fn unavailable(error: StoreError) -> DirectoryUnavailable {
    DirectoryUnavailable(Box::new(error))
}

#[async_trait]
impl SignInDirectory for TenantStore {
    async fn by_name(&self, name: &SignInName) -> Result<SignInLookup, DirectoryUnavailable> {
        self.look_up(&format!("u.oid = {OID_OF_NAME}"), name.folded()).await.map_err(unavailable)
    }

    async fn by_oid(&self, oid: UserId) -> Result<SignInLookup, DirectoryUnavailable> {
        self.look_up("u.oid = $1", oid.to_string()).await.map_err(unavailable)
    }

    async fn by_source_anchor(&self, anchor: &SourceAnchor) -> Result<SignInLookup, DirectoryUnavailable> {
        self.look_up("u.source_anchor = $1", anchor.to_string()).await.map_err(unavailable)
    }

    async fn domain(&self, name: &DomainName) -> Result<Option<Domain>, DirectoryUnavailable> {
        self.read_domain(name).await.map_err(unavailable)
    }

    async fn domains(&self) -> Result<Vec<Domain>, DirectoryUnavailable> {
        self.read_domains().await.map_err(unavailable)
    }

    async fn groups_of(&self, oid: UserId) -> Result<Vec<GroupMembership>, DirectoryUnavailable> {
        self.read_groups_of(oid).await.map_err(unavailable)
    }
}

impl TenantStore {
    /// The domain, behind `after`, of users whose down-level names begin with `netbios`, in an order that stays.
    pub async fn domain_of_netbios(
        &self,
        netbios: &str,
        after: Option<&DomainName>,
    ) -> Result<Option<DomainName>, StoreError> {
        const DOING: &str = "looking up whose down-level names begin so";
        let sql = "SELECT MIN(domain) AS domain FROM tenant_user WHERE netbios = $1 AND domain > $2";
        let query = sqlx::query(sql).bind(netbios).bind(after.map_or("", DomainName::as_str));
        let row = query.fetch_one(self.db.read()).await.map_err(StoreError::doing(DOING))?;
        text(&row, "domain").map(|domain| parse("tenant_user", "domain", &domain)).transpose()
    }

    /// Whoever has `name`; with `nested`, and the groups of staged rollouts that they are in, through nested ones too.
    pub async fn holder_of_name(&self, name: &SignInName, nested: bool) -> Result<Option<Holder>, StoreError> {
        let sql = if nested {
            format!(
                "WITH RECURSIVE reached (oid) AS ( \
                   SELECT m.group_oid FROM membership m JOIN tenant_group g ON g.oid = m.group_oid \
                   WHERE m.member_kind = 'user' AND m.member_oid = {OID_OF_NAME} AND g.deleted_at IS NULL \
                   UNION \
                   SELECT m.group_oid FROM reached r \
                   JOIN membership m ON m.member_kind = 'group' AND m.member_oid = r.oid \
                   JOIN tenant_group g ON g.oid = m.group_oid WHERE g.deleted_at IS NULL \
                 ) \
                 SELECT u.oid, u.domain, meant.oid AS in_group FROM tenant_user u \
                 LEFT JOIN (SELECT r.oid FROM reached r JOIN method_rollout mr ON mr.group_oid = r.oid) meant ON 1 = 1 \
                 WHERE u.oid = {OID_OF_NAME} AND u.deleted_at IS NULL"
            )
        } else {
            format!(
                "SELECT oid, domain, NULL AS in_group FROM tenant_user \
                 WHERE oid = {OID_OF_NAME} AND deleted_at IS NULL"
            )
        };
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(name.folded())
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("looking up who has a sign-in name"))?;
        let Some(first) = rows.first() else { return Ok(None) };
        let groups = rows.iter().filter_map(|row| text(row, "in_group"));
        Ok(Some(Holder {
            oid: parse("tenant_user", "oid", first.get("oid"))?,
            domain: parse("tenant_user", "domain", first.get("domain"))?,
            groups: groups.map(|oid| parse("tenant_group", "oid", &oid)).collect::<Result<_, _>>()?,
        }))
    }

    /// The counter's row is always there, so that the settings' number comes with an unknown user too. Former names
    /// make several rows of one user.
    async fn look_up(&self, which: &str, key: String) -> Result<SignInLookup, StoreError> {
        let sql = format!(
            "SELECT c.value AS settings_version, u.oid, u.upn, u.source_anchor, u.display_name, u.given_name, \
             u.surname, u.mail, u.on_premises_upn, u.account_enabled, u.security_stamp, {CREDENTIAL_COLUMNS}, \
             {DOMAIN_COLUMNS}, cd.connector AS registered, ds.state, ds.source_version, ds.observed_at, \
             (SELECT r.reason FROM account_refusal r WHERE r.connector = cs.connector AND r.anchor = cs.anchor \
              AND r.at > COALESCE(ds.observed_at, 0) ORDER BY r.at DESC, r.reason LIMIT 1) AS refusal, \
             (SELECT CAST(MAX(r.at) AS BIGINT) FROM account_refusal r WHERE r.connector = cs.connector \
              AND r.anchor = cs.anchor AND r.at > COALESCE(ds.observed_at, 0)) AS refusal_at, \
             h.folded AS former, h.held_until AS former_until \
             FROM counter c \
             LEFT JOIN tenant_user u ON {which} AND u.deleted_at IS NULL \
             LEFT JOIN tenant_domain d ON d.name = u.domain \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN connector_domain cd ON cd.connector = cs.connector AND cd.domain = u.domain \
             LEFT JOIN directory_state ds ON ds.connector = cs.connector AND ds.anchor = cs.anchor \
             LEFT JOIN upn_history h ON h.oid = u.oid AND h.held_until > $2 \
             WHERE c.name = 'settings'"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(key)
            .bind(self.clock.now().millis())
            .fetch_all(self.db.lookups())
            .await
            .map_err(StoreError::doing("looking up a user for sign-in"))?;
        let row = rows.first().ok_or(StoreError::NotInitialised)?;
        let user = match text(row, "oid") {
            Some(oid) => Some(Box::new(read_user(row, &oid, &rows)?)),
            None => None,
        };
        Ok(SignInLookup { settings_version: row.get("settings_version"), user })
    }

    async fn read_groups_of(&self, oid: UserId) -> Result<Vec<GroupMembership>, StoreError> {
        // UNION drops what was reached before, so that groups that contain each other end the walk.
        let rows = sqlx::query(
            "WITH RECURSIVE reached (oid) AS ( \
               SELECT m.group_oid FROM membership m JOIN tenant_group g ON g.oid = m.group_oid \
               WHERE m.member_kind = 'user' AND m.member_oid = $1 AND g.deleted_at IS NULL \
               UNION \
               SELECT m.group_oid FROM reached r JOIN membership m ON m.member_kind = 'group' AND m.member_oid = r.oid \
               JOIN tenant_group g ON g.oid = m.group_oid WHERE g.deleted_at IS NULL \
             ) \
             SELECT g.oid, g.display_name, g.sid, g.source_anchor FROM reached r \
             JOIN tenant_group g ON g.oid = r.oid ORDER BY g.oid",
        )
        .bind(oid.to_string())
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the groups of a user"))?;
        rows.iter()
            .map(|row| {
                Ok(GroupMembership {
                    oid: parse("tenant_group", "oid", row.get("oid"))?,
                    display_name: text(row, "display_name"),
                    sid: text(row, "sid"),
                    source_anchor: text(row, "source_anchor").map(SourceAnchor::from_stored),
                })
            })
            .collect()
    }
}

fn read_user(row: &AnyRow, oid: &str, rows: &[AnyRow]) -> Result<UserForSignIn, StoreError> {
    const TABLE: &str = "tenant_user";
    let required = |column: &'static str| text(row, column).ok_or_else(|| unreadable(TABLE, column, "NULL"));
    if text(row, "d_name").is_none() {
        return Err(unreadable(TABLE, "domain", "the domain of a user's name is not in the directory"));
    }
    let domain = read_domain(row)?;
    let former = |row: &AnyRow| {
        let until = row.get::<Option<i64>, _>("former_until")?;
        Some((text(row, "former")?, Timestamp::from_millis(until)))
    };
    Ok(UserForSignIn {
        oid: parse(TABLE, "oid", oid)?,
        upn: parse(TABLE, "upn", &required("upn")?)?,
        source_anchor: text(row, "source_anchor").map(SourceAnchor::from_stored),
        display_name: text(row, "display_name"),
        given_name: text(row, "given_name"),
        surname: text(row, "surname"),
        mail: text(row, "mail"),
        on_premises_upn: text(row, "on_premises_upn"),
        account_enabled: row.get::<Option<i64>, _>("account_enabled") == Some(1),
        security_stamp: required("security_stamp")?,
        credential: read_sign_in_credential(row, domain.is_initial())?,
        former_upns: rows.iter().filter_map(former).collect(),
        domain,
    })
}

fn read_sign_in_credential(row: &AnyRow, in_initial: bool) -> Result<Option<SignInCredential>, StoreError> {
    const TABLE: &str = "directory_state";
    let Some(link) = read_credential(row)? else { return Ok(None) };
    let directory_state = match (text(row, "state"), text(row, "source_version"), observed(row)) {
        (Some(state), Some(source_version), Some(observed_at)) => Some(DirectoryState {
            state: serde_json::from_str(&state).map_err(|error| unreadable(TABLE, "state", error))?,
            source_version,
            observed_at,
        }),
        _ => None,
    };
    let refused_at = row.get::<Option<i64>, _>("refusal_at").map(Timestamp::from_millis);
    Ok(Some(SignInCredential {
        source: link.source,
        eligible: link.eligible,
        registered: in_initial || text(row, "registered").is_some(),
        directory_state,
        newer_refusal: text(row, "refusal").zip(refused_at).map(|(reason, at)| NewerRefusal { reason, at }),
    }))
}

fn observed(row: &AnyRow) -> Option<Timestamp> {
    row.get::<Option<i64>, _>("observed_at").map(Timestamp::from_millis)
}
