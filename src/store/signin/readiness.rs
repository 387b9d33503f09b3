//! The users of a domain and where their passwords are, in pages.

use async_trait::async_trait;
use sqlx::Row;

use super::domain_users::{UsersOf, connector};
use super::{SignInTables, unreadable};
use crate::identity::{DomainName, Timestamp, UserId};
use crate::signin::readiness::{CredentialReadiness, StoredHash, UserReadiness};
use crate::signin::store::StoreDown;
use crate::store::StoreError;

#[async_trait]
impl CredentialReadiness for SignInTables {
    async fn users(
        &self,
        domain: &DomainName,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<UserReadiness>, StoreDown> {
        let users = UsersOf { domain, after, limit };
        users.read(&self.db, "u.source_anchor", "reading the users of a domain", read).await
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<UserReadiness, StoreError> {
    let (oid, upn): (String, String) = (row.get("oid"), row.get("upn"));
    let known = |column: &str| row.get::<Option<String>, _>(column);
    let outdated = row.get::<Option<i64>, _>("outdated_at").is_some();
    Ok(UserReadiness {
        oid: oid.parse().map_err(|e| unreadable("tenant_user", "oid", e))?,
        upn: upn.parse().map_err(|e| unreadable("tenant_user", "upn", e))?,
        has_source_anchor: known("source_anchor").is_some(),
        connector: connector(row)?,
        hash: match known("stage").as_deref() {
            // The rules took the account out of password synchronisation: its hash is asked no more.
            _ if row.get::<Option<i64>, _>("eligible") == Some(0) => StoredHash::None,
            Some("sealed" | "wrapped") if outdated => StoredHash::Outdated,
            Some("sealed" | "wrapped") => StoredHash::Usable,
            Some("quarantined") => StoredHash::Quarantined,
            _ => StoredHash::None,
        },
        state_known: row.get::<Option<i64>, _>("observed_at").is_some(),
        last_pass: row.get::<Option<i64>, _>("completed_at").map(Timestamp::from_millis),
    })
}
