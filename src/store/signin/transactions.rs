//! Sign-in transactions. `version` is the optimistic lock: a state is left once.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::cut::{Hold, hold_ground};
use super::{SignInTables, down, unreadable};
use crate::identity::{Timestamp, TransactionId};
use crate::signin::ProtocolRequest;
use crate::signin::store::{StoreDown, Transactions};
use crate::signin::transaction::{State, Transaction};
use crate::store::{Connection, StoreError, Urgency};

/// What the `detail` column holds.
#[derive(Serialize, Deserialize)]
struct Detail {
    state: State,
}

/// What the `protocol` column holds: all that stays the same from the first page to the end.
#[derive(Serialize, Deserialize)]
struct Begun {
    #[serde(flatten)]
    protocol: ProtocolRequest,
    #[serde(default)]
    replaces: Option<String>,
}

#[async_trait]
impl Transactions for SignInTables {
    async fn open(&self, transaction: Transaction) -> Result<bool, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let begun = Begun { protocol: transaction.protocol, replaces: transaction.replaces };
                    let protocol =
                        serde_json::to_string(&begun).map_err(|e| unreadable("signin_transaction", "protocol", e))?;
                    let (domain, method) = ground_of(&transaction.state);
                    if !domain.is_empty() {
                        hold_ground(conn, &domain, Hold::Shared).await?;
                    }
                    let done = sqlx::query(
                        "INSERT INTO signin_transaction \
                     (id, cookie_hash, state, detail, protocol, domain, method, version, created_at, expires_at) \
                     SELECT $1, $2, $3, $4, $5, NULLIF($6, ''), NULLIF($7, ''), $8, $9, $10 \
                     WHERE $6 = '' OR EXISTS (SELECT 1 FROM tenant_domain d WHERE d.name = $6 AND d.method = $7) \
                     OR EXISTS (SELECT 1 FROM method_rollout r WHERE r.domain = $6 AND r.method = $7)",
                    )
                    .bind(transaction.id.to_string())
                    .bind(transaction.cookie_hash)
                    .bind(transaction.state.word())
                    .bind(detail_of(&transaction.state)?)
                    .bind(protocol)
                    .bind(domain)
                    .bind(method)
                    .bind(transaction.version)
                    .bind(transaction.created_at.millis())
                    .bind(transaction.expires_at.millis())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("opening a sign-in transaction"))?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
            .map_err(down)
    }

    async fn load(&self, id: TransactionId) -> Result<Option<Transaction>, StoreDown> {
        let row = sqlx::query(
            "SELECT cookie_hash, detail, protocol, version, created_at, expires_at FROM signin_transaction WHERE id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(self.db.lookups())
        .await
        .map_err(StoreError::doing("reading a sign-in transaction"))
        .map_err(down)?;
        row.map(|row| read(id, &row)).transpose().map_err(down)
    }

    async fn advance(&self, id: TransactionId, version: i64, next: State) -> Result<bool, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { leave(conn, id, version, &next).await }))
            .await
            .map_err(down)
    }
}

/// Leaves the state of `version` for `next`, unless somebody else did, or nobody of the domain signs in any longer by the
/// method that `next` newly rests on.
pub(super) async fn leave(
    conn: &mut Connection,
    id: TransactionId,
    version: i64,
    next: &State,
) -> Result<bool, StoreError> {
    let (domain, method) = ground_of(next);
    if !domain.is_empty() {
        hold_ground(conn, &domain, Hold::Shared).await?;
    }
    let done = sqlx::query(
        "UPDATE signin_transaction SET state = $3, detail = $4, version = version + 1, \
         domain = CASE WHEN $5 = '' THEN domain ELSE $5 END, method = CASE WHEN $6 = '' THEN method ELSE $6 END \
         WHERE id = $1 AND version = $2 AND ($5 = '' OR EXISTS \
         (SELECT 1 FROM tenant_domain d WHERE d.name = $5 AND d.method = $6) \
         OR EXISTS (SELECT 1 FROM method_rollout r WHERE r.domain = $5 AND r.method = $6))",
    )
    .bind(id.to_string())
    .bind(version)
    .bind(next.word())
    .bind(detail_of(next)?)
    .bind(domain)
    .bind(method)
    .execute(conn)
    .await
    .map_err(StoreError::doing("leaving a sign-in transaction's state"))?;
    Ok(done.rows_affected() == 1)
}

/// Notes something in a state without leaving it; `false` when it has been left.
pub(super) async fn note(
    conn: &mut Connection,
    id: TransactionId,
    version: i64,
    same: &State,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE signin_transaction SET detail = $4 WHERE id = $1 AND version = $2 AND state = $3")
        .bind(id.to_string())
        .bind(version)
        .bind(same.word())
        .bind(detail_of(same)?)
        .execute(conn)
        .await
        .map_err(StoreError::doing("noting a refusal in a sign-in transaction"))?;
    Ok(done.rows_affected() == 1)
}

/// Domain and method that a state rests on; empty where there are none. Not NULL: PostgreSQL could not tell the type of
/// a parameter that is only ever compared with NULL.
fn ground_of(state: &State) -> (String, &'static str) {
    state.rests_on().map_or((String::new(), ""), |(domain, method)| (domain.to_string(), method.as_str()))
}

fn detail_of(state: &State) -> Result<String, StoreError> {
    serde_json::to_string(&Detail { state: state.clone() }).map_err(|e| unreadable("signin_transaction", "detail", e))
}

fn read(id: TransactionId, row: &sqlx::any::AnyRow) -> Result<Transaction, StoreError> {
    let (detail, protocol): (String, String) = (row.get("detail"), row.get("protocol"));
    let Detail { state } = serde_json::from_str(&detail).map_err(|e| unreadable("signin_transaction", "detail", e))?;
    let Begun { protocol, replaces } =
        serde_json::from_str(&protocol).map_err(|e| unreadable("signin_transaction", "protocol", e))?;
    Ok(Transaction {
        id,
        cookie_hash: row.get("cookie_hash"),
        state,
        protocol,
        replaces,
        version: row.get("version"),
        created_at: Timestamp::from_millis(row.get("created_at")),
        expires_at: Timestamp::from_millis(row.get("expires_at")),
    })
}
