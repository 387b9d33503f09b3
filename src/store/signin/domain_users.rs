//! The users of a domain and what is kept of their passwords, in pages: what a change of method and a drill look at.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Database, down, unreadable};
use crate::identity::{ConnectorName, DomainName, UserId};
use crate::signin::store::StoreDown;
use crate::store::StoreError;

/// Which users of a domain are read, in the order of their ids.
pub(super) struct UsersOf<'a> {
    pub domain: &'a DomainName,
    pub after: Option<UserId>,
    pub limit: u32,
}

impl UsersOf<'_> {
    /// Enabled users, each with `columns` of what is joined here and whose the password is ([`connector`]).
    pub async fn read<T>(
        self,
        db: &Database,
        columns: &str,
        doing: &'static str,
        read: fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreDown> {
        let sql = format!(
            "SELECT u.oid, u.upn, cs.connector, cs.eligible, cd.connector AS registered, td.is_initial, c.stage, \
             c.outdated_at, ds.observed_at, p.completed_at, {columns} FROM tenant_user u \
             LEFT JOIN tenant_domain td ON td.name = u.domain \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN connector_domain cd ON cd.connector = cs.connector AND cd.domain = u.domain \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             LEFT JOIN directory_state ds ON ds.connector = cs.connector AND ds.anchor = cs.anchor \
             LEFT JOIN connector_pass p ON p.connector = cs.connector \
             WHERE u.domain = $1 AND u.oid > $2 AND u.deleted_at IS NULL AND u.account_enabled = 1 \
             ORDER BY u.oid LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(self.domain.as_str().to_owned())
            .bind(self.after.map(|oid| oid.to_string()).unwrap_or_default())
            .bind(i64::from(self.limit))
            .fetch_all(db.read())
            .await
            .map_err(StoreError::doing(doing))
            .map_err(down)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(down)
    }
}

/// The connector that has a user's password, if it speaks for the user's domain.
pub(super) fn connector(row: &AnyRow) -> Result<Option<ConnectorName>, StoreError> {
    let text = |column: &str| row.get::<Option<String>, _>(column);
    let registered = row.get::<Option<i64>, _>("is_initial") == Some(1) || text("registered").is_some();
    let name = text("connector").filter(|_| registered);
    name.map(|name| name.parse().map_err(|e| unreadable("credential_source", "connector", e))).transpose()
}
