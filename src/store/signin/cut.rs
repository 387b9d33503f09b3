//! The end of what rests on a domain's former method.

use async_trait::async_trait;

use super::{SignInTables, down};
use crate::audit::Event;
use crate::identity::{AuthenticationMethod, DomainName, Timestamp};
use crate::signin::store::{CutOff, MethodCut, StoreDown};
use crate::store::database::Engine;
use crate::store::{Connection, StoreError, Urgency};

#[async_trait]
impl MethodCut for SignInTables {
    async fn cut(
        &self,
        domain: DomainName,
        kept: AuthenticationMethod,
        at: Timestamp,
        event: Event,
    ) -> Result<CutOff, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let cut = cut_in(conn, &domain, kept, at).await?;
                    audit.append(conn, told(event, cut)).await?;
                    Ok(cut)
                })
            })
            .await
            .map_err(down)
    }
}

/// The class of PostgreSQL's advisory locks on what the sign-ins of a domain rest on.
const GROUND_LOCK: i32 = 7_216_552;

/// How a transaction holds what the sign-ins of a domain rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// A sign-in comes to rest on the domain's method.
    Shared,
    /// A cut ends those that rest on another.
    Alone,
}

/// Until the transaction ends, no cut of the domain goes on beside sign-ins that come to rest on its method: either the cut
/// sees them, or they see what it follows. Without it, a row that is not committed yet would escape the cut, and the cut
/// the row. SQLite has one writer. To be taken in a statement of its own: the next one must see what was waited for.
pub(super) async fn hold_ground(conn: &mut Connection, domain: &str, hold: Hold) -> Result<(), StoreError> {
    let sql = match (conn.engine(), hold) {
        (Engine::Sqlite, _) => return Ok(()),
        (Engine::Postgres, Hold::Shared) => {
            "SELECT CAST(pg_advisory_xact_lock_shared($1, hashtext($2)) AS TEXT) AS held"
        }
        (Engine::Postgres, Hold::Alone) => "SELECT CAST(pg_advisory_xact_lock($1, hashtext($2)) AS TEXT) AS held",
    };
    sqlx::query(sql)
        .bind(GROUND_LOCK)
        .bind(domain.to_owned())
        .execute(conn)
        .await
        .map_err(StoreError::doing("holding what sign-ins of a domain rest on"))?;
    Ok(())
}

/// The record of a cut.
pub(super) fn told(event: Event, cut: CutOff) -> Event {
    event.with("transactions", cut.transactions).with("sessions", cut.sessions)
}

/// Cuts within a transaction; the record is the caller's to write. A session of failover rests on the stored hash, whatever
/// the method it stood in for: it ends too, and so does a federated sign-in that was asked for a password.
pub(super) async fn cut_in(
    conn: &mut Connection,
    domain: &DomainName,
    kept: AuthenticationMethod,
    at: Timestamp,
) -> Result<CutOff, StoreError> {
    hold_ground(conn, domain.as_str(), Hold::Alone).await?;
    let transactions = sqlx::query(
        "UPDATE signin_transaction SET state = 'cut', detail = '{\"state\":{\"awaits\":\"cut\"}}', \
         version = version + 1 WHERE domain = $1 AND state IN ('await-password', 'await-assertion') \
         AND (method <> $2 OR (method = 'federated' AND state = 'await-password'))",
    )
    .bind(domain.as_str())
    .bind(kept.as_str())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("ending sign-in transactions of the former method"))?
    .rows_affected();
    let sessions = sqlx::query(
        "UPDATE session SET ended_at = $3, end_reason = 'method-cut' \
         WHERE domain = $1 AND (method <> $2 OR failover <> 0) AND ended_at IS NULL AND expires_at > $3",
    )
    .bind(domain.as_str())
    .bind(kept.as_str())
    .bind(at.millis())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("ending sessions of the former method"))?
    .rows_affected();
    Ok(CutOff { transactions, sessions })
}
