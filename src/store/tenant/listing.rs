//! What administrators read: users in pages, one user in full, and how many of a domain could sign in.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::bulk::values_clause;
use super::super::error::StoreError;
use super::load::quarantined_of;
use super::rows::{CREDENTIAL_COLUMNS, USER_COLUMNS, parse, read_credential, read_user, text};
use super::sql::unreadable;
use super::store::TenantStore;
use crate::identity::{
    AccountState, ConnectorName, CredentialSource, DomainName, GroupId, SignInName, SourceAnchor, Timestamp, Upn,
    UserId,
};
use crate::tenant::record::UserRecord;

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSummary {
    pub oid: UserId,
    pub upn: Upn,
    pub display_name: Option<String>,
    pub account_enabled: bool,
    pub source_anchor: Option<SourceAnchor>,
    pub credential_source: Option<CredentialSource>,
    /// `sealed`, `wrapped`, `quarantined` or `wiped`; absent when none was ever stored.
    pub credential: Option<String>,
}

/// A user in full.
#[derive(Clone, Debug, PartialEq)]
pub struct UserDetail {
    pub user: UserRecord,
    pub credential_stage: Option<String>,
    pub credential_reason: Option<String>,
    /// The directory has moved on since the stored hash was read.
    pub credential_outdated: bool,
    /// A single-object read of the password is queued.
    pub fetch_queued: bool,
    /// As the password channel stored it.
    pub directory_state: Option<AccountState>,
}

/// What there is to know before a domain's method is changed. All counts are of enabled, undeleted users whose
/// effective name is in the domain, but for `users`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainReadiness {
    /// Undeleted users, disabled ones included.
    pub users: i64,
    pub enabled: i64,
    /// Without a credential source, or with one whose connector may not speak for the domain.
    pub without_source: i64,
    /// Without a stored credential that could be checked: none, wiped, or quarantined.
    pub without_hash: i64,
    /// Of those: the credential was quarantined.
    pub quarantined: i64,
    /// With a hash that the directory is known to have moved on from.
    pub outdated: i64,
    /// With a hash, but no pass of the password channel over their connector since the time asked for.
    pub stale: i64,
    /// Users, disabled ones included, one of whose names waits for its holder to let go.
    pub waiting_for_a_name: i64,
}

const LIST_COLUMNS: &str = "u.oid, u.upn, u.display_name, u.account_enabled, u.source_anchor, c.stage";

impl TenantStore {
    /// Undeleted users in order of their folded names, after `after` (a folded name); at most `limit`.
    pub async fn list_users(
        &self,
        domain: Option<&DomainName>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<UserSummary>, StoreError> {
        let of_domain = if domain.is_some() { "AND u.domain = $3" } else { "" };
        let sql = format!(
            "SELECT {LIST_COLUMNS}, {CREDENTIAL_COLUMNS} FROM tenant_user u \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             WHERE u.deleted_at IS NULL AND u.upn_folded > $1 {of_domain} ORDER BY u.upn_folded LIMIT $2"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after.to_owned()).bind(i64::from(limit));
        if let Some(domain) = domain {
            query = query.bind(domain.to_string());
        }
        let rows = query.fetch_all(self.db.read()).await.map_err(StoreError::doing("listing users"))?;
        rows.iter().map(read_summary).collect()
    }

    /// Enabled users of `domain` without a usable hash, in order of their folded names; at most `limit`.
    pub async fn users_without_hash(&self, domain: &DomainName, limit: u32) -> Result<Vec<UserSummary>, StoreError> {
        let sql = format!(
            "SELECT {LIST_COLUMNS}, {CREDENTIAL_COLUMNS} FROM tenant_user u \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             WHERE u.domain = $1 AND u.deleted_at IS NULL AND u.account_enabled = 1 \
             AND (c.stage IS NULL OR c.stage NOT IN ('sealed', 'wrapped')) ORDER BY u.upn_folded LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(domain.to_string())
            .bind(i64::from(limit))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("listing users without a hash"))?;
        rows.iter().map(read_summary).collect()
    }

    /// The user with this `oid`, deleted or not, or the undeleted one that signs in by this name.
    pub async fn find_user(&self, asked: &str) -> Result<Option<UserDetail>, StoreError> {
        let (which, key) = match (asked.parse::<UserId>(), asked.parse::<SignInName>()) {
            (Ok(oid), _) => ("$1", oid.to_string()),
            (Err(_), Ok(name)) => (
                "(SELECT oid FROM sign_in_name WHERE folded = $1 \
                  ORDER BY CASE kind WHEN 'upn' THEN 0 WHEN 'alternate' THEN 1 ELSE 2 END LIMIT 1)",
                name.folded(),
            ),
            (Err(_), Err(_)) => return Ok(None),
        };
        let sql = format!(
            "SELECT {USER_COLUMNS}, {CREDENTIAL_COLUMNS}, c.stage, c.reason, c.outdated_at, f.queued_at, ds.state \
             FROM tenant_user u \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             LEFT JOIN credential_fetch f ON f.connector = cs.connector AND f.anchor = cs.anchor \
             LEFT JOIN directory_state ds ON ds.connector = cs.connector AND ds.anchor = cs.anchor \
             WHERE u.oid = {which}"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(key)
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading a user"))?;
        let Some(row) = row else { return Ok(None) };
        let mut user = read_user(&row)?;
        let mut conn = self.db.reader("reading a user").await?;
        let mut quarantined = quarantined_of(&mut conn, &[user.id()]).await?;
        user.quarantined = quarantined.remove(&user.oid.to_string()).unwrap_or_default();
        Ok(Some(UserDetail {
            user,
            credential_stage: text(&row, "stage"),
            credential_reason: text(&row, "reason"),
            credential_outdated: row.get::<Option<i64>, _>("outdated_at").is_some(),
            fetch_queued: row.get::<Option<i64>, _>("queued_at").is_some(),
            directory_state: text(&row, "state")
                .map(|state| serde_json::from_str(&state))
                .transpose()
                .map_err(|error| unreadable("directory_state", "state", error))?,
        }))
    }

    /// How many users of `domain` could sign in. A hash is stale when the last complete pass over its connector began
    /// before `fresh_since`.
    pub async fn readiness(&self, domain: &DomainName, fresh_since: Timestamp) -> Result<DomainReadiness, StoreError> {
        const ENABLED: &str = "u.account_enabled = 1";
        const USABLE: &str = "c.stage IN ('sealed', 'wrapped')";
        let count = |condition: String, name: &str| {
            format!("CAST(COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS BIGINT) AS {name}")
        };
        let counts = [
            count("1 = 1".to_owned(), "users"),
            count(ENABLED.to_owned(), "enabled"),
            count(
                format!("{ENABLED} AND (cs.connector IS NULL OR (cd.connector IS NULL AND d.is_initial = 0))"),
                "without_source",
            ),
            count(format!("{ENABLED} AND NOT COALESCE({USABLE}, 1 = 0)"), "without_hash"),
            count(format!("{ENABLED} AND c.stage = 'quarantined'"), "quarantined"),
            count(format!("{ENABLED} AND {USABLE} AND c.outdated_at IS NOT NULL"), "outdated"),
            count(format!("{ENABLED} AND {USABLE} AND COALESCE(p.completed_at, 0) < $2"), "stale"),
            count(
                "EXISTS (SELECT 1 FROM quarantined_value q WHERE q.oid = u.oid AND q.kind = 'upn')".to_owned(),
                "waiting_for_a_name",
            ),
        ];
        let sql = format!(
            "SELECT {} FROM tenant_user u JOIN tenant_domain d ON d.name = u.domain \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN connector_domain cd ON cd.connector = cs.connector AND cd.domain = u.domain \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             LEFT JOIN connector_pass p ON p.connector = cs.connector \
             WHERE u.domain = $1 AND u.deleted_at IS NULL",
            counts.join(", ")
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(domain.to_string())
            .bind(fresh_since.millis())
            .fetch_one(self.db.read())
            .await
            .map_err(StoreError::doing("counting the users of a domain"))?;
        Ok(DomainReadiness {
            users: row.get("users"),
            enabled: row.get("enabled"),
            without_source: row.get("without_source"),
            without_hash: row.get("without_hash"),
            quarantined: row.get("quarantined"),
            outdated: row.get("outdated"),
            stale: row.get("stale"),
            waiting_for_a_name: row.get("waiting_for_a_name"),
        })
    }

    /// How many enabled users of `domain` are in one of the groups that `is_meant` picks by SID, source anchor and
    /// display name, through nested groups too.
    pub async fn count_members(
        &self,
        domain: &DomainName,
        is_meant: impl Fn(Option<&str>, Option<&str>, Option<&str>) -> bool,
    ) -> Result<i64, StoreError> {
        let doing = || StoreError::doing("counting the members of groups");
        let rows =
            sqlx::query("SELECT oid, sid, source_anchor, display_name FROM tenant_group WHERE deleted_at IS NULL")
                .fetch_all(self.db.read())
                .await
                .map_err(doing())?;
        let meant: Vec<GroupId> = rows
            .iter()
            .filter(|row| {
                let (sid, anchor, name) = (text(*row, "sid"), text(*row, "source_anchor"), text(*row, "display_name"));
                is_meant(sid.as_deref(), anchor.as_deref(), name.as_deref())
            })
            .map(|row| parse("tenant_group", "oid", row.get("oid")))
            .collect::<Result<_, _>>()?;
        if meant.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "WITH RECURSIVE inside (oid) AS ( \
               SELECT oid FROM tenant_group WHERE oid IN (VALUES {}) \
               UNION \
               SELECT m.member_oid FROM inside i JOIN membership m ON m.group_oid = i.oid AND m.member_kind = 'group' \
               JOIN tenant_group g ON g.oid = m.member_oid WHERE g.deleted_at IS NULL \
             ) \
             SELECT CAST(COUNT(DISTINCT u.oid) AS BIGINT) AS members FROM inside i \
             JOIN membership m ON m.group_oid = i.oid AND m.member_kind = 'user' \
             JOIN tenant_user u ON u.oid = m.member_oid \
             WHERE u.domain = $1 AND u.account_enabled = 1 AND u.deleted_at IS NULL",
            values_clause(meant.len(), 1, 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(domain.to_string());
        for oid in meant {
            query = query.bind(oid.to_string());
        }
        Ok(query.fetch_one(self.db.read()).await.map_err(doing())?.get("members"))
    }

    /// The connectors that may speak for `domain`.
    pub async fn connectors_of(&self, domain: &DomainName) -> Result<Vec<ConnectorName>, StoreError> {
        let rows = sqlx::query("SELECT connector FROM connector_domain WHERE domain = $1 ORDER BY connector")
            .bind(domain.to_string())
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the connectors of a domain"))?;
        rows.iter().map(|row| parse("connector_domain", "connector", row.get("connector"))).collect()
    }
}

fn read_summary(row: &AnyRow) -> Result<UserSummary, StoreError> {
    Ok(UserSummary {
        oid: parse("tenant_user", "oid", row.get("oid"))?,
        upn: parse("tenant_user", "upn", row.get("upn"))?,
        display_name: text(row, "display_name"),
        account_enabled: row.get::<i64, _>("account_enabled") == 1,
        source_anchor: text(row, "source_anchor").map(SourceAnchor::from_stored),
        credential_source: read_credential(row)?.map(|link| link.source),
        credential: text(row, "stage"),
    })
}
