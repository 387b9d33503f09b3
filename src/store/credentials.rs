//! Credentials, account states and the password channel's progress on SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::audit::AuditLog;
use super::bulk::chunk_sizes;
use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::lease;
use super::writer::Urgency;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::credential::{KeyName, LeakClass};
use crate::identity::{ConnectorName, CredentialSource, LeaseEpoch, SourceAnchor, Timestamp};
use crate::password_sync::store::{
    AccountChange, CredentialReader, CredentialStoreError, Eligibility, KnownAccount, KnownCredential, KnownResult,
    OutdatedMark, PassEnd, PassStore, Stage, StoredCredential, Upgrade, UpgradeStore,
};
use crate::password_sync::{SourcePosition, SourceVersion, account_result};
use crate::signin::store::Mark;

mod apply;
mod overview;
mod wipe;

/// The credential tables of the tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    db: Database,
    audit: AuditLog,
}

impl From<StoreError> for CredentialStoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { epoch } => Self::LeaseLost { epoch: LeaseEpoch::from_number(epoch) },
            other => Self::Store(Box::new(other)),
        }
    }
}

/// First interval after which a single read is tried again; doubled each time.
const FETCH_AGAIN_MS: i64 = 5_000;
/// Longest such interval.
const FETCH_AGAIN_MOST_MS: i64 = 600_000;

impl Credentials {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }

    async fn write<T, F>(&self, epoch: LeaseEpoch, work: F) -> Result<T, CredentialStoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> futures::future::BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let done: Result<T, StoreError> = self
            .db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    lease::check_epoch(conn, epoch).await?;
                    work(conn).await
                })
            })
            .await;
        Ok(done?)
    }
}

#[async_trait]
impl PassStore for Credentials {
    async fn begin_pass(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        at: Timestamp,
    ) -> Result<Option<SourcePosition>, CredentialStoreError> {
        let connector = connector.clone();
        self.write(epoch, move |conn| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO connector_pass (connector, started_at, completed_at, watermark, error) \
                     VALUES ($1, $2, NULL, NULL, NULL) ON CONFLICT (connector) DO UPDATE SET started_at = excluded.started_at \
                     RETURNING watermark",
                )
                .bind(connector.as_str())
                .bind(at.millis())
                .fetch_one(conn)
                .await
                .map_err(StoreError::doing("recording the beginning of a password pass"))?;
                Ok(row.get::<Option<String>, _>("watermark").map(SourcePosition::new))
            })
        })
        .await
    }

    async fn end_pass(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        end: PassEnd,
    ) -> Result<(), CredentialStoreError> {
        let (connector, audit) = (connector.clone(), self.audit.clone());
        self.write(epoch, move |conn| {
            Box::pin(async move {
                let (started, report, reached, leaked_error) = match end {
                    PassEnd::Complete { started, report, reached, leaked_error } => {
                        (started, report, reached, leaked_error)
                    }
                    PassEnd::Failed { error } => {
                        sqlx::query("UPDATE connector_pass SET error = $2 WHERE connector = $1")
                            .bind(connector.as_str())
                            .bind(error)
                            .execute(conn)
                            .await
                            .map_err(StoreError::doing("recording the failure of a password pass"))?;
                        return Ok(());
                    }
                };
                let ended = "UPDATE connector_pass SET completed_at = $2, error = NULL, \
                             watermark = COALESCE($3, watermark), leaked_error = $4 WHERE connector = $1";
                sqlx::query(ended)
                    .bind(connector.as_str())
                    .bind(started.millis())
                    .bind(reached.map(|position| position.as_str().to_owned()))
                    .bind(leaked_error)
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("recording the end of a password pass"))?;
                let kept_since = started - account_result::KEPT;
                sqlx::query("DELETE FROM credential_result WHERE connector = $1 AND at < $2")
                    .bind(connector.as_str())
                    .bind(kept_since.millis())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("dropping old results"))?;
                if report.stored > 0 {
                    let event = Event::new(EventKind::CredentialStored, Outcome::Success, channel())
                        .about(&connector)
                        .with("stored", report.stored)
                        .with("quarantined", report.quarantined);
                    audit.append(conn, event).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn known(
        &self,
        connector: &ConnectorName,
        anchors: &[SourceAnchor],
    ) -> Result<Vec<KnownAccount>, CredentialStoreError> {
        let mut known: HashMap<&str, KnownAccount> = anchors
            .iter()
            .map(|anchor| {
                let anchor_key = anchor.as_str();
                let account = KnownAccount {
                    anchor: anchor.clone(),
                    link: None,
                    credential: None,
                    state: None,
                    result: None,
                    fetch_queued: false,
                };
                (anchor_key, account)
            })
            .collect();
        for row in self.of_anchors("anchor, eligible FROM credential_source", connector, anchors).await? {
            let link = if row.get::<i64, _>("eligible") == 1 { Eligibility::Eligible } else { Eligibility::Ineligible };
            set(&mut known, &row, |account| account.link = Some(link));
        }
        let columns = "anchor, stage, reason, source_stamp, outdated_at, outdated_by, password_set, confirmed_at, written, leaked_class \
             FROM credential";
        for row in self.of_anchors(columns, connector, anchors).await? {
            let credential = known_credential(&row)?;
            set(&mut known, &row, |account| account.credential = Some(credential));
        }
        for row in self.of_anchors("anchor, state, source_version FROM directory_state", connector, anchors).await? {
            let version = SourceVersion::new(row.get("source_version"));
            match serde_json::from_str(row.get("state")) {
                Ok(state) => set(&mut known, &row, |account| account.state = Some((state, version))),
                // Written anew from the directory; until then sign-in cannot read it either and refuses.
                Err(error) => tracing::error!(%connector, %error, "an account state in the store cannot be read"),
            }
        }
        for row in self.of_anchors("anchor, result, detail, at FROM credential_result", connector, anchors).await? {
            let at = Timestamp::from_millis(row.get("at"));
            let result = KnownResult { code: row.get("result"), detail: row.get("detail"), at };
            set(&mut known, &row, |account| account.result = Some(result));
        }
        for row in self.of_anchors("anchor FROM credential_fetch", connector, anchors).await? {
            set(&mut known, &row, |account| account.fetch_queued = true);
        }
        Ok(known.into_values().collect())
    }

    async fn linked_after(
        &self,
        connector: &ConnectorName,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError> {
        let rows = sqlx::query(
            "SELECT anchor FROM credential_source WHERE connector = $1 AND anchor > $2 ORDER BY anchor LIMIT $3",
        )
        .bind(connector.as_str())
        .bind(after.map_or("", SourceAnchor::as_str))
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("listing credential sources"))?;
        Ok(rows.iter().map(|row| SourceAnchor::from_stored(row.get("anchor"))).collect())
    }

    async fn usable_count(&self, connector: &ConnectorName) -> Result<u64, CredentialStoreError> {
        let row = sqlx::query(
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM credential WHERE connector = $1 AND stage IN ('sealed', 'wrapped')",
        )
        .bind(connector.as_str())
        .fetch_one(self.db.read())
        .await
        .map_err(StoreError::doing("counting credentials"))?;
        Ok(row.get::<i64, _>("n").cast_unsigned())
    }

    async fn apply(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        at: Timestamp,
        changes: Vec<AccountChange>,
    ) -> Result<(), CredentialStoreError> {
        let applying = apply::Applying { connector: connector.clone(), at, audit: self.audit.clone() };
        self.write(epoch, move |conn| Box::pin(async move { applying.run(conn, changes).await })).await
    }

    async fn due_fetches(
        &self,
        connector: &ConnectorName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError> {
        let rows = sqlx::query(
            "SELECT anchor FROM credential_fetch WHERE connector = $1 AND next_at <= $2 ORDER BY next_at LIMIT $3",
        )
        .bind(connector.as_str())
        .bind(now.millis())
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("listing single reads"))?;
        Ok(rows.iter().map(|row| SourceAnchor::from_stored(row.get("anchor"))).collect())
    }

    async fn postpone_fetches(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        anchors: &[SourceAnchor],
        now: Timestamp,
    ) -> Result<(), CredentialStoreError> {
        let (connector, anchors) = (connector.clone(), anchors.to_vec());
        self.write(epoch, move |conn| {
            Box::pin(async move {
                for anchor in anchors {
                    sqlx::query(
                        "UPDATE credential_fetch SET attempts = attempts + 1, next_at = $3 + CASE \
                         WHEN attempts >= 7 THEN $5 ELSE $4 * (1 << CAST(attempts AS INTEGER)) END \
                         WHERE connector = $1 AND anchor = $2",
                    )
                    .bind(connector.as_str())
                    .bind(anchor.as_str())
                    .bind(now.millis())
                    .bind(FETCH_AGAIN_MS)
                    .bind(FETCH_AGAIN_MOST_MS)
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("postponing a single read"))?;
                }
                Ok(())
            })
        })
        .await
    }
}

#[async_trait]
impl CredentialReader for Credentials {
    async fn credential(&self, source: &CredentialSource) -> Result<Option<StoredCredential>, CredentialStoreError> {
        let sql = format!(
            "SELECT {STORED} FROM credential c LEFT JOIN credential_source s \
             ON s.connector = c.connector AND s.anchor = c.anchor WHERE c.connector = $1 AND c.anchor = $2"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(source.connector.as_str())
            .bind(source.anchor.as_str())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading a credential"))?;
        Ok(row.as_ref().map(stored_credential).transpose()?)
    }

    async fn chains_after(
        &self,
        after: Option<&CredentialSource>,
        limit: u32,
    ) -> Result<Vec<(CredentialSource, String)>, CredentialStoreError> {
        let (connector, anchor) = position(after);
        let rows = sqlx::query(
            "SELECT connector, anchor, chain FROM credential WHERE stage IN ('sealed', 'wrapped') \
             AND (connector, anchor) > ($1, $2) ORDER BY connector, anchor LIMIT $3",
        )
        .bind(connector)
        .bind(anchor)
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("listing the chains in use"))?;
        Ok(rows.iter().map(|row| Ok((source_of(row)?, row.get("chain")))).collect::<Result<_, StoreError>>()?)
    }
}

#[async_trait]
impl UpgradeStore for Credentials {
    async fn upgradable_after(
        &self,
        primary: &KeyName,
        unwrapped: bool,
        after: Option<&CredentialSource>,
        limit: u32,
    ) -> Result<Vec<StoredCredential>, CredentialStoreError> {
        let (connector, anchor) = position(after);
        let prefix = format!("{primary}:");
        let sql = format!(
            "SELECT {STORED} FROM credential c LEFT JOIN credential_source s \
             ON s.connector = c.connector AND s.anchor = c.anchor \
             WHERE (c.connector, c.anchor) > ($1, $2) AND c.stage IN ('sealed', 'wrapped') \
             AND ((c.stage = 'sealed' AND $3 = 1) OR substr(c.sealed, 1, $4) <> $5) \
             ORDER BY c.connector, c.anchor LIMIT $6"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(connector)
            .bind(anchor)
            .bind(i64::from(unwrapped))
            // The type of substr's length is INTEGER on PostgreSQL.
            .bind(i32::try_from(prefix.len()).unwrap_or(i32::MAX))
            .bind(prefix)
            .bind(i64::from(limit))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("listing credentials to upgrade"))?;
        Ok(rows.iter().map(stored_credential).collect::<Result<_, _>>()?)
    }

    async fn upgrade(&self, epoch: LeaseEpoch, upgrades: Vec<Upgrade>) -> Result<u64, CredentialStoreError> {
        self.write(epoch, move |conn| {
            Box::pin(async move {
                let mut upgraded = 0;
                for upgrade in upgrades {
                    let done = sqlx::query(
                        "UPDATE credential SET stage = $5, chain = $6, sealed = $7 \
                         WHERE connector = $1 AND anchor = $2 AND version = $3 AND sealed = $4",
                    )
                    .bind(upgrade.source.connector.as_str())
                    .bind(upgrade.source.anchor.as_str())
                    .bind(upgrade.version)
                    .bind(upgrade.was)
                    .bind(upgrade.new.stage.as_str())
                    .bind(upgrade.new.chain.to_string())
                    .bind(upgrade.new.sealed.to_string())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("upgrading a credential"))?;
                    upgraded += done.rows_affected();
                }
                Ok(upgraded)
            })
        })
        .await
    }

    async fn sealed_count(&self) -> Result<u64, CredentialStoreError> {
        let row = sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) FROM credential WHERE stage = 'sealed'")
            .fetch_one(self.db.read())
            .await
            .map_err(StoreError::doing("counting credentials without Argon2id"))?;
        Ok(row.get::<i64, _>(0).cast_unsigned())
    }

    async fn stage_counts(&self) -> Result<(u64, u64), CredentialStoreError> {
        let rows = sqlx::query(
            "SELECT stage, CAST(COUNT(*) AS BIGINT) AS n FROM credential WHERE stage IN ('sealed', 'wrapped') GROUP BY stage",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("counting credentials by stage"))?;
        let of = |stage: Stage| {
            let found = rows.iter().find(|row| row.get::<&str, _>("stage") == stage.as_str());
            found.map_or(0, |row| row.get::<i64, _>("n").cast_unsigned())
        };
        Ok((of(Stage::Sealed), of(Stage::Wrapped)))
    }
}

impl Credentials {
    /// Rows of a table for some anchors, by statements of a few fixed sizes.
    async fn of_anchors(
        &self,
        columns_from: &'static str,
        connector: &ConnectorName,
        anchors: &[SourceAnchor],
    ) -> Result<Vec<AnyRow>, StoreError> {
        let (mut rows, mut rest) = (Vec::new(), anchors);
        for size in chunk_sizes(anchors.len()) {
            let (chunk, left) = rest.split_at(size);
            rest = left;
            let sql = format!("SELECT {columns_from} WHERE connector = $1 AND anchor IN {}", placeholders(size, 2));
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(connector.as_str().to_owned());
            for anchor in chunk {
                query = query.bind(anchor.as_str().to_owned());
            }
            let found = query.fetch_all(self.db.read()).await;
            rows.extend(found.map_err(StoreError::doing("reading what is stored about accounts"))?);
        }
        Ok(rows)
    }
}

/// `($2,$3,...)`: `count` placeholders from `first`.
fn placeholders(count: usize, first: usize) -> String {
    super::bulk::values_clause(1, count, first)
}

/// The actor of what the channel does by itself.
fn channel() -> Actor {
    Actor::System("password-sync".to_owned())
}

const STORED: &str = "c.connector AS connector, c.anchor AS anchor, c.stage AS stage, c.chain AS chain, \
    c.sealed AS sealed, c.version AS version, c.outdated_at AS outdated_at, c.outdated_by AS outdated_by, \
    c.password_set AS password_set, c.stored_at AS stored_at, c.confirmed_at AS confirmed_at, c.leaked_at AS leaked_at, \
    s.eligible AS eligible";

fn stored_credential(row: &AnyRow) -> Result<StoredCredential, StoreError> {
    Ok(StoredCredential {
        source: source_of(row)?,
        stage: stage_of(row)?,
        chain: row.get("chain"),
        sealed: row.get("sealed"),
        version: row.get("version"),
        outdated: outdated_of(row),
        password_set: row.get::<Option<i64>, _>("password_set").map(Timestamp::from_millis),
        stored_at: Timestamp::from_millis(row.get("stored_at")),
        confirmed_at: Timestamp::from_millis(row.get("confirmed_at")),
        ineligible: row.get::<Option<i64>, _>("eligible") == Some(0),
        leaked: row.get::<Option<i64>, _>("leaked_at").is_some(),
    })
}

fn known_credential(row: &AnyRow) -> Result<KnownCredential, StoreError> {
    Ok(KnownCredential {
        stage: stage_of(row)?,
        reason: row.get("reason"),
        // Empty after a wipe; one that cannot be read compares with nothing, so that the hash is taken anew.
        stamp: row.get::<&str, _>("source_stamp").parse().ok(),
        outdated: outdated_of(row),
        password_set: row.get::<Option<i64>, _>("password_set").map(Timestamp::from_millis),
        confirmed_at: Timestamp::from_millis(row.get("confirmed_at")),
        written: row.get::<Option<String>, _>("written").and_then(|text| text.parse().ok()),
        leaked: row.get::<Option<String>, _>("leaked_class").as_deref().and_then(LeakClass::from_code),
    })
}

fn outdated_of(row: &AnyRow) -> Option<OutdatedMark> {
    let at = row.get::<Option<i64>, _>("outdated_at").map(Timestamp::from_millis)?;
    let by = row.get::<Option<String>, _>("outdated_by").unwrap_or_default();
    Some(OutdatedMark { at, by: Mark::from_code(&by) })
}

fn stage_of(row: &AnyRow) -> Result<Stage, StoreError> {
    Stage::from_word(row.get("stage")).ok_or_else(|| unreadable("credential", "stage", &"an unknown word"))
}

fn source_of(row: &AnyRow) -> Result<CredentialSource, StoreError> {
    let connector: &str = row.get("connector");
    let connector = connector.parse().map_err(|error| unreadable("credential", "connector", &error))?;
    Ok(CredentialSource { connector, anchor: SourceAnchor::from_stored(row.get("anchor")) })
}

fn set(known: &mut HashMap<&str, KnownAccount>, row: &AnyRow, change: impl FnOnce(&mut KnownAccount)) {
    if let Some(account) = known.get_mut(row.get::<&str, _>("anchor")) {
        change(account);
    }
}

fn position(after: Option<&CredentialSource>) -> (String, String) {
    match after {
        None => (String::new(), String::new()),
        Some(source) => (source.connector.as_str().to_owned(), source.anchor.as_str().to_owned()),
    }
}

fn unreadable(table: &'static str, column: &'static str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table, column, reason: reason.to_string() }
}
