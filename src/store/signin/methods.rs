//! How domains sign in: method, failover policy, pins. Each change moves the change number of cached settings.

use async_trait::async_trait;
use sqlx::AnyConnection;

use super::{SignInTables, down};
use crate::signin::store::{CutOff, FailoverChange, MethodChange, Methods, PinChange, StoreDown};
use crate::store::{StoreError, Urgency};

#[async_trait]
impl Methods for SignInTables {
    async fn set_method(&self, change: MethodChange) -> Result<CutOff, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE tenant_domain SET method = $3, method_since = $4, partner = $5, pin = NULL, \
                         pin_by = NULL, pin_at = NULL WHERE name = $1 AND method = $2",
                    )
                    .bind(change.domain.as_str())
                    .bind(change.from.as_str())
                    .bind(change.to.as_str())
                    .bind(change.at.millis())
                    .bind(change.partner.as_ref().map(|partner| partner.as_str().to_owned()))
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("changing a domain's method"))?;
                    if done.rows_affected() == 0 {
                        return Ok(CutOff::Conflict);
                    }
                    settings_changed(conn).await?;
                    let (mut transactions, mut sessions) = (0, 0);
                    if change.cut {
                        transactions = cut_transactions(conn, &change).await?;
                        sessions = cut_sessions(conn, &change).await?;
                    }
                    let event = change.event.with("transactions_cut", transactions).with("sessions_cut", sessions);
                    audit.append(conn, event).await?;
                    Ok(CutOff::Changed { transactions, sessions })
                })
            })
            .await
            .map_err(down)
    }

    async fn set_failover(&self, change: FailoverChange) -> Result<bool, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let age = i64::try_from(change.max_hash_age.as_millis()).unwrap_or(i64::MAX);
                    let done = sqlx::query(
                        "UPDATE tenant_domain SET backup = $2, failover = $3, max_hash_age_ms = $4 WHERE name = $1",
                    )
                    .bind(change.domain.as_str())
                    .bind(change.backup.as_str())
                    .bind(change.mode.as_str())
                    .bind(age)
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("changing a domain's failover policy"))?;
                    settings_changed(conn).await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await
            .map_err(down)
    }

    async fn pin(&self, change: PinChange) -> Result<bool, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let set = change.pin.is_some();
                    let done =
                        sqlx::query("UPDATE tenant_domain SET pin = $2, pin_by = $3, pin_at = $4 WHERE name = $1")
                            .bind(change.domain.as_str())
                            .bind(change.pin.map(|pin| pin.as_str()))
                            .bind(set.then(|| change.by.clone()))
                            .bind(set.then(|| change.at.millis()))
                            .execute(&mut *conn)
                            .await
                            .map_err(StoreError::doing("pinning a domain's authority"))?;
                    settings_changed(conn).await?;
                    audit.append(conn, change.event).await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await
            .map_err(down)
    }
}

/// Caches of settings on other nodes see the number move with the next user they load (design D3).
async fn settings_changed(conn: &mut AnyConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'settings'")
        .execute(conn)
        .await
        .map_err(StoreError::doing("moving the change number of the settings"))?;
    Ok(())
}

async fn cut_transactions(conn: &mut AnyConnection, change: &MethodChange) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE signin_transaction SET state = 'cut', detail = '{\"state\":{\"awaits\":\"cut\"}}', \
         version = version + 1 WHERE domain = $1 AND method = $2 AND state IN ('await-password', 'await-assertion')",
    )
    .bind(change.domain.as_str())
    .bind(change.from.as_str())
    .execute(conn)
    .await
    .map_err(StoreError::doing("ending sign-in transactions of the former method"))?;
    Ok(done.rows_affected())
}

async fn cut_sessions(conn: &mut AnyConnection, change: &MethodChange) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE session SET ended_at = $3, end_reason = 'method-cut' \
         WHERE domain = $1 AND method = $2 AND ended_at IS NULL AND expires_at > $3",
    )
    .bind(change.domain.as_str())
    .bind(change.from.as_str())
    .bind(change.at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("ending sessions of the former method"))?;
    Ok(done.rows_affected())
}
