//! One transaction of a pass: credentials, account states, results and served single reads of a few accounts.

use std::collections::HashSet;

use sqlx::Row;

use super::{channel, placeholders};
use crate::audit::{Event, EventKind, Outcome};
use crate::credential::{LeakClass, Quarantine, SourceStamp};
use crate::identity::{ConnectorName, CredentialSource, SourceAnchor, Timestamp};
use crate::password_sync::store::{AccountChange, CredentialChange, OutdatedMark, SealedChain, StateChange};
use crate::password_sync::{AccountResult, Leak, WriteStamp};
use crate::store::Connection;
use crate::store::audit::AuditLog;
use crate::store::bulk::{chunk_sizes, values_clause};
use crate::store::error::StoreError;
use crate::store::statement::{Statement, in_list};

pub(super) struct Applying {
    pub connector: ConnectorName,
    pub at: Timestamp,
    pub audit: AuditLog,
}

/// A credential row to be written.
struct CredentialRow {
    anchor: SourceAnchor,
    stage: &'static str,
    chain: String,
    sealed: String,
    reason: Option<String>,
    stamp: SourceStamp,
    password_set: Option<Timestamp>,
    written: Option<WriteStamp>,
    leaked: Option<LeakClass>,
}

/// The lock that every export takes first.
const LOCK_EXPORTS: &str = "UPDATE counter SET value = value WHERE name = 'change_feed'";

const CREDENTIAL_COLUMNS: usize = 14;

impl Applying {
    pub async fn run(self, conn: &mut Connection, changes: Vec<AccountChange>) -> Result<(), StoreError> {
        if changes
            .iter()
            .any(|change| change.credential.is_some() || change.state.as_ref().is_some_and(|s| s.ends_sessions))
        {
            // Exports lock users before their credential sources, in an order of their own: they wait, or this does.
            conn.rows("waiting for exports", vec![Statement::new(LOCK_EXPORTS, Vec::new())]).await?;
        }
        let live = self.live_links(conn, &changes).await?;
        let (mut replaced, mut doubted, mut states, mut results) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut records = Vec::new();
        for change in changes {
            let AccountChange { anchor, read_at, written, credential, state, result, fetched, ask_again, leak } =
                change;
            match credential {
                Some(_) if !live.contains(&anchor) => {}
                Some(CredentialChange::Store { new, stamp, password_set, keep_outdated }) => {
                    let leaked = match leak {
                        Leak::Listed(class) => Some(class),
                        Leak::NotLookedFor | Leak::NotListed => None,
                    };
                    records.extend(leaked.map(|class| self.leak_record(&anchor, class)));
                    let row = CredentialRow { written, leaked, ..stored(anchor.clone(), new, stamp, password_set) };
                    if keep_outdated { doubted.push(row) } else { replaced.push(row) }
                }
                Some(CredentialChange::Quarantine { reason, stamp }) => {
                    records.push(self.quarantine_record(&anchor, reason));
                    replaced.push(CredentialRow { written, ..quarantined(anchor.clone(), reason, stamp) });
                }
                Some(CredentialChange::Confirm { clear, stamp, password_set }) => {
                    self.confirm(conn, &anchor, &stamp, password_set, written).await?;
                    if let Some(mark) = clear {
                        self.clear_mark(conn, &anchor, &mark).await?;
                    }
                    records.extend(self.put_leak(conn, &anchor, leak).await?);
                }
                None => records.extend(self.put_leak(conn, &anchor, leak).await?),
            }
            if fetched {
                self.end_fetch(conn, &anchor, read_at).await?;
            }
            if ask_again && live.contains(&anchor) {
                self.queue_fetch(conn, &anchor).await?;
            }
            if let Some(state) = state {
                if state.ends_sessions {
                    records.push(self.end_sessions(conn, &anchor, &state).await?);
                }
                states.push((anchor.clone(), state));
            }
            if let Some(result) = result {
                results.push((anchor, result));
            }
        }
        records.extend(self.ended_leaks(conn, replaced.iter().chain(&doubted)).await?);
        self.put_credentials(conn, replaced, true).await?;
        self.put_credentials(conn, doubted, false).await?;
        self.put_states(conn, states).await?;
        self.put_results(conn, results).await?;
        // Records come last: sign-ins write theirs, too, after the rows that they lock.
        for event in records {
            self.audit.append(conn, event).await?;
        }
        Ok(())
    }

    /// Accounts that still are a user's eligible credential source, locked until the commit: a user who is deleted
    /// meanwhile must not get the wiped credential back.
    async fn live_links(
        &self,
        conn: &mut Connection,
        changes: &[AccountChange],
    ) -> Result<HashSet<SourceAnchor>, StoreError> {
        let anchors: Vec<&SourceAnchor> =
            changes.iter().filter(|change| change.credential.is_some()).map(|change| &change.anchor).collect();
        let (mut live, mut rest) = (HashSet::new(), &anchors[..]);
        for size in chunk_sizes(anchors.len()) {
            let (chunk, left) = rest.split_at(size);
            rest = left;
            let sql = format!(
                "UPDATE credential_source SET eligible = eligible \
                 WHERE connector = $1 AND eligible = 1 AND anchor IN {} RETURNING anchor",
                placeholders(size, 2)
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(self.connector.as_str().to_owned());
            for anchor in chunk {
                query = query.bind(anchor.as_str().to_owned());
            }
            let rows = query.fetch_all(&mut *conn).await.map_err(StoreError::doing("locking credential sources"))?;
            live.extend(rows.iter().map(|row| SourceAnchor::from_stored(row.get("anchor"))));
        }
        Ok(live)
    }

    async fn put_credentials(
        &self,
        conn: &mut Connection,
        rows: Vec<CredentialRow>,
        clear_outdated: bool,
    ) -> Result<(), StoreError> {
        let outdated = if clear_outdated { ", outdated_at = NULL, outdated_by = NULL" } else { "" };
        let mut rows = rows.into_iter();
        for size in chunk_sizes(rows.len()) {
            let sql = format!(
                "INSERT INTO credential (connector, anchor, stage, chain, sealed, reason, source_stamp, password_set, \
                 version, stored_at, confirmed_at, written, leaked_at, leaked_class) VALUES {} \
                 ON CONFLICT (connector, anchor) DO UPDATE SET stage = excluded.stage, chain = excluded.chain, \
                 sealed = excluded.sealed, reason = excluded.reason, source_stamp = excluded.source_stamp, \
                 password_set = excluded.password_set, version = credential.version + 1, \
                 stored_at = excluded.stored_at, confirmed_at = excluded.confirmed_at, \
                 leaked_at = excluded.leaked_at, leaked_class = excluded.leaked_class, \
                 written = COALESCE(excluded.written, credential.written){outdated}",
                values_clause(size, CREDENTIAL_COLUMNS, 1)
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for row in rows.by_ref().take(size) {
                query = query
                    .bind(self.connector.as_str().to_owned())
                    .bind(row.anchor.as_str().to_owned())
                    .bind(row.stage)
                    .bind(row.chain)
                    .bind(row.sealed)
                    .bind(row.reason)
                    .bind(row.stamp.to_string())
                    .bind(row.password_set.map(Timestamp::millis))
                    .bind(1_i64)
                    .bind(self.at.millis())
                    .bind(self.at.millis())
                    .bind(row.written.map(|stamp| stamp.to_string()))
                    .bind(row.leaked.map(|_| self.at.millis()))
                    .bind(row.leaked.map(LeakClass::code));
            }
            query.execute(&mut *conn).await.map_err(StoreError::doing("storing credentials"))?;
        }
        Ok(())
    }

    async fn put_states(
        &self,
        conn: &mut Connection,
        states: Vec<(SourceAnchor, StateChange)>,
    ) -> Result<(), StoreError> {
        let mut states = states.into_iter();
        for size in chunk_sizes(states.len()) {
            let sql = format!(
                "INSERT INTO directory_state (connector, anchor, state, source_version, observed_at) VALUES {} \
                 ON CONFLICT (connector, anchor) DO UPDATE SET state = excluded.state, \
                 source_version = excluded.source_version, observed_at = excluded.observed_at",
                values_clause(size, 5, 1)
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (anchor, change) in states.by_ref().take(size) {
                let state = serde_json::to_string(&change.state)
                    .map_err(|error| super::unreadable("directory_state", "state", &error))?;
                query = query
                    .bind(self.connector.as_str().to_owned())
                    .bind(anchor.as_str().to_owned())
                    .bind(state)
                    .bind(change.version.as_str().to_owned())
                    .bind(change.as_of.millis());
            }
            query.execute(&mut *conn).await.map_err(StoreError::doing("storing account states"))?;
        }
        Ok(())
    }

    async fn put_results(
        &self,
        conn: &mut Connection,
        results: Vec<(SourceAnchor, AccountResult)>,
    ) -> Result<(), StoreError> {
        let mut results = results.into_iter();
        for size in chunk_sizes(results.len()) {
            let sql = format!(
                "INSERT INTO credential_result (connector, anchor, result, detail, at) VALUES {} \
                 ON CONFLICT (connector, anchor) DO UPDATE SET result = excluded.result, detail = excluded.detail, \
                 at = excluded.at",
                values_clause(size, 5, 1)
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (anchor, result) in results.by_ref().take(size) {
                query = query
                    .bind(self.connector.as_str().to_owned())
                    .bind(anchor.as_str().to_owned())
                    .bind(result.code())
                    .bind(result.detail())
                    .bind(self.at.millis());
            }
            query.execute(&mut *conn).await.map_err(StoreError::doing("storing results"))?;
        }
        Ok(())
    }

    async fn confirm(
        &self,
        conn: &mut Connection,
        anchor: &SourceAnchor,
        stamp: &SourceStamp,
        password_set: Option<Timestamp>,
        written: Option<WriteStamp>,
    ) -> Result<(), StoreError> {
        // A row that was wiped meanwhile has no stamp.
        sqlx::query(
            "UPDATE credential SET confirmed_at = $3, source_stamp = $4, password_set = $5, \
             written = COALESCE($6, written) \
             WHERE connector = $1 AND anchor = $2 AND source_stamp <> ''",
        )
        .bind(self.connector.as_str())
        .bind(anchor.as_str())
        .bind(self.at.millis())
        .bind(stamp.to_string())
        .bind(password_set.map(Timestamp::millis))
        .bind(written.map(|stamp| stamp.to_string()))
        .execute(conn)
        .await
        .map_err(StoreError::doing("confirming a credential"))?;
        Ok(())
    }

    /// Takes a mark off; one that was set anew in the meantime stays.
    async fn clear_mark(
        &self,
        conn: &mut Connection,
        anchor: &SourceAnchor,
        mark: &OutdatedMark,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE credential SET outdated_at = NULL, outdated_by = NULL \
             WHERE connector = $1 AND anchor = $2 AND outdated_at = $3",
        )
        .bind(self.connector.as_str())
        .bind(anchor.as_str())
        .bind(mark.at.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("clearing a mark"))?;
        Ok(())
    }

    /// The account was disabled or deleted in its directory: sessions and grants that compare the stamp end. Returns the
    /// record of it.
    async fn end_sessions(
        &self,
        conn: &mut Connection,
        anchor: &SourceAnchor,
        change: &StateChange,
    ) -> Result<Event, StoreError> {
        sqlx::query(
            "UPDATE tenant_user SET security_stamp = $3 WHERE oid = \
             (SELECT oid FROM credential_source WHERE connector = $1 AND anchor = $2)",
        )
        .bind(self.connector.as_str())
        .bind(anchor.as_str())
        .bind(uuid::Uuid::new_v4().to_string())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("moving a security stamp"))?;
        let reason = if change.state.deleted { "deleted" } else { "disabled" };
        let event = Event::new(EventKind::AccountStateChanged, Outcome::Success, channel());
        Ok(event.about(self.source(anchor)).because(reason))
    }

    /// What the list of leaked passwords says of a password that stays as it is. Returns the record of it.
    async fn put_leak(
        &self,
        conn: &mut Connection,
        anchor: &SourceAnchor,
        leak: Leak,
    ) -> Result<Option<Event>, StoreError> {
        let class = match leak {
            Leak::NotLookedFor => return Ok(None),
            Leak::NotListed => None,
            Leak::Listed(class) => Some(class),
        };
        let put = sqlx::query(
            "UPDATE credential SET leaked_at = $3, leaked_class = $4 \
             WHERE connector = $1 AND anchor = $2 AND stage IN ('sealed', 'wrapped')",
        )
        .bind(self.connector.as_str())
        .bind(anchor.as_str())
        .bind(class.map(|_| self.at.millis()))
        .bind(class.map(LeakClass::code))
        .execute(conn)
        .await
        .map_err(StoreError::doing("marking a leaked password"))?;
        let record = || match class {
            Some(class) => self.leak_record(anchor, class),
            None => self.cleared_record(anchor),
        };
        Ok((put.rows_affected() > 0).then(record))
    }

    /// The records of findings that end because another credential takes the place of the one that was found.
    async fn ended_leaks(
        &self,
        conn: &mut Connection,
        rows: impl Iterator<Item = &CredentialRow>,
    ) -> Result<Vec<Event>, StoreError> {
        let anchors = rows.filter(|row| row.leaked.is_none()).map(|row| row.anchor.as_str().into()).collect();
        let sql = "SELECT anchor FROM credential WHERE connector = $1 AND leaked_at IS NOT NULL AND anchor IN ({})";
        let statements = in_list(sql, &[self.connector.as_str().into()], anchors);
        let found = conn.rows("reading findings of leaked passwords", statements).await?;
        let anchors = found.iter().map(|row| SourceAnchor::from_stored(row.get(0)));
        Ok(anchors.map(|anchor| self.cleared_record(&anchor)).collect())
    }

    fn cleared_record(&self, anchor: &SourceAnchor) -> Event {
        Event::new(EventKind::LeakedPasswordCleared, Outcome::Success, channel()).about(self.source(anchor))
    }

    fn leak_record(&self, anchor: &SourceAnchor, class: LeakClass) -> Event {
        metrics::counter!("landbridge_leaked_passwords_found_total").increment(1);
        Event::new(EventKind::LeakedPasswordFound, Outcome::Success, channel())
            .about(self.source(anchor))
            .with("met", class.code())
    }

    fn quarantine_record(&self, anchor: &SourceAnchor, reason: Quarantine) -> Event {
        Event::new(EventKind::CredentialQuarantined, Outcome::Success, channel())
            .about(self.source(anchor))
            .because(reason.code())
            .with("text", reason.to_string())
    }

    async fn end_fetch(
        &self,
        conn: &mut Connection,
        anchor: &SourceAnchor,
        read_at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM credential_fetch WHERE connector = $1 AND anchor = $2 AND queued_at <= $3")
            .bind(self.connector.as_str())
            .bind(anchor.as_str())
            .bind(read_at.millis())
            .execute(conn)
            .await
            .map_err(StoreError::doing("ending a single read"))?;
        Ok(())
    }

    async fn queue_fetch(&self, conn: &mut Connection, anchor: &SourceAnchor) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO credential_fetch (connector, anchor, reason, queued_at, attempts, next_at) \
             VALUES ($1, $2, 'unreadable', $3, 0, $3) ON CONFLICT (connector, anchor) DO NOTHING",
        )
        .bind(self.connector.as_str())
        .bind(anchor.as_str())
        .bind(self.at.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("queueing a single read"))?;
        Ok(())
    }

    fn source(&self, anchor: &SourceAnchor) -> CredentialSource {
        CredentialSource { connector: self.connector.clone(), anchor: anchor.clone() }
    }
}

fn stored(
    anchor: SourceAnchor,
    new: SealedChain,
    stamp: SourceStamp,
    password_set: Option<Timestamp>,
) -> CredentialRow {
    CredentialRow {
        anchor,
        stage: new.stage.as_str(),
        chain: new.chain.to_string(),
        sealed: new.sealed.to_string(),
        reason: None,
        stamp,
        password_set,
        written: None,
        leaked: None,
    }
}

fn quarantined(anchor: SourceAnchor, reason: Quarantine, stamp: SourceStamp) -> CredentialRow {
    CredentialRow {
        anchor,
        stage: "quarantined",
        chain: String::new(),
        sealed: String::new(),
        reason: Some(reason.to_string()),
        stamp,
        password_set: None,
        written: None,
        leaked: None,
    }
}
