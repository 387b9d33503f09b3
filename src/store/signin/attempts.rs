//! Attempts: from the reserved place to one commit of settlement, session and audit record.

use async_trait::async_trait;

use super::{SignInTables, down, lockout, sessions, transactions};
use crate::audit::{Event, Outcome};
use crate::identity::{AttemptId, CredentialSource, Timestamp};
use crate::signin::lockout::{Subject, Try};
use crate::signin::store::{Ages, Attempts, Concluded, Conclusion, Late, Learned, Reservation, StoreDown};
use crate::signin::transaction::State;
use crate::store::{AuditLog, Connection, StoreError, Urgency, lease};

#[async_trait]
impl Attempts for SignInTables {
    async fn reserve(&self, attempt: Try) -> Result<Reservation, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { lockout::reserve(conn, attempt).await }))
            .await
            .map_err(down)
    }

    async fn conclude(&self, conclusion: Conclusion) -> Result<Concluded, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { conclude(conn, &audit, conclusion).await }))
            .await
            .map_err(down)
    }

    async fn late(&self, late: Late) -> Result<(), StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { write_late(conn, &audit, late).await }))
            .await
            .map_err(down)
    }

    async fn record(&self, event: Event) -> Result<(), StoreDown> {
        self.audit.record(event).await.map(|_| ()).map_err(down)
    }

    async fn give_back(&self, attempt: AttemptId) -> Result<(), StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move { lockout::abandon(conn, &attempt.to_string()).await })
            })
            .await
            .map_err(down)
    }

    async fn unlock(&self, subject: Subject) -> Result<bool, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { lockout::unlock(conn, subject.as_str()).await }))
            .await
            .map_err(down)
    }

    async fn sweep(&self, ages: Ages) -> Result<(), StoreDown> {
        // Each by itself, so that none waits for a sign-in that waits for another.
        for attempt in lockout::orphans(&self.db, ages.orphaned).await.map_err(down)? {
            self.db
                .write(Urgency::Bulk, move |conn| Box::pin(async move { lockout::abandon(conn, &attempt).await }))
                .await
                .map_err(down)?;
        }
        self.db
            .write(Urgency::Bulk, move |conn| Box::pin(async move { lockout::sweep(conn, ages).await }))
            .await
            .map_err(down)?;
        self.db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM signin_transaction WHERE expires_at <= $1")
                        .bind(ages.now.millis())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("removing expired sign-in transactions"))?;
                    forget_assertions(conn).await
                })
            })
            .await
            .map_err(down)
    }
}

async fn conclude(conn: &mut Connection, audit: &AuditLog, conclusion: Conclusion) -> Result<Concluded, StoreError> {
    let Conclusion {
        attempt,
        at,
        transaction,
        version,
        next,
        session,
        settlement,
        device,
        learned,
        assertion,
        mut event,
    } = conclusion;
    if let Some((assertion, until)) = assertion
        && !take_assertion(conn, &assertion, until).await?
    {
        if let Some((settlement, limits)) = settlement {
            lockout::settle(conn, attempt, &settlement, &limits, at).await?;
        }
        audit.append(conn, Event { outcome: Outcome::Refused, ..event }.because("federation.replayed")).await?;
        return Ok(Concluded::Replayed);
    }
    let held = match &next {
        State::Complete { .. } => transactions::leave(conn, transaction, version, &next).await?,
        State::Identifier { .. } | State::Password { .. } | State::Assertion { .. } | State::Cut => {
            transactions::note(conn, transaction, version, &next).await?
        }
    };
    if let Some((settlement, limits)) = settlement {
        lockout::settle(conn, attempt, &settlement, &limits, at).await?;
    }
    learn(conn, learned, at).await?;
    if !held {
        // What was checked stays counted and recorded; nobody gets in.
        if event.outcome == Outcome::Success {
            event = Event { outcome: Outcome::Refused, ..event }.because("transaction-left");
        }
        audit.append(conn, event).await?;
        return Ok(Concluded::Left);
    }
    if let Some(session) = session {
        sessions::open(conn, session, at).await?;
    }
    if let Some((oid, device)) = device {
        lockout::remember_device(conn, oid, &device, at).await?;
    }
    audit.append(conn, event).await?;
    Ok(Concluded::Done)
}

/// `false` if the assertion had been taken before.
async fn take_assertion(conn: &mut Connection, assertion: &str, until: Timestamp) -> Result<bool, StoreError> {
    let taken = sqlx::query(
        "INSERT INTO assertion_replay (assertion, expires_at) VALUES ($1, $2) ON CONFLICT (assertion) DO NOTHING",
    )
    .bind(assertion)
    .bind(until.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("taking an assertion"))?;
    Ok(taken.rows_affected() == 1)
}

/// How long an assertion is remembered beyond its end: by so much may the clocks of nodes and database differ.
const REPLAY_MARGIN_MS: i64 = 3_600_000;

/// By the database's time: a node whose clock is ahead must not open an assertion to a second use at another.
async fn forget_assertions(conn: &mut Connection) -> Result<(), StoreError> {
    let now = lease::database_time(conn).await?;
    sqlx::query("DELETE FROM assertion_replay WHERE expires_at <= $1")
        .bind(now.saturating_sub(REPLAY_MARGIN_MS))
        .execute(conn)
        .await
        .map_err(StoreError::doing("forgetting assertions that have expired"))?;
    Ok(())
}

async fn write_late(conn: &mut Connection, audit: &AuditLog, late: Late) -> Result<(), StoreError> {
    lockout::settle(conn, late.attempt, &late.settlement, &late.limits, late.at).await?;
    learn(conn, late.learned, late.at).await?;
    if let Some(oid) = late.revoke {
        // As exports do: the user before the sessions.
        sessions::move_stamp(conn, oid).await?;
        sessions::end_attempt(conn, late.attempt, late.at).await?;
    }
    audit.append(conn, late.event).await?;
    Ok(())
}

async fn learn(conn: &mut Connection, learned: Learned, at: Timestamp) -> Result<(), StoreError> {
    let doing = || StoreError::doing("recording what a directory said of an account");
    match learned {
        Learned::Nothing => Ok(()),
        Learned::Refused { source: CredentialSource { connector, anchor }, refusal, server } => {
            sqlx::query(
                "INSERT INTO account_refusal (connector, anchor, reason, at, server) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (connector, anchor, reason) DO UPDATE SET at = $4, server = $5",
            )
            .bind(connector.as_str())
            .bind(anchor.as_str())
            .bind(refusal.code())
            .bind(at.millis())
            .bind(server)
            .execute(conn)
            .await
            .map_err(doing())?;
            Ok(())
        }
        Learned::Allowed { source: CredentialSource { connector, anchor } } => {
            sqlx::query("DELETE FROM account_refusal WHERE connector = $1 AND anchor = $2 AND at <= $3")
                .bind(connector.as_str())
                .bind(anchor.as_str())
                .bind(at.millis())
                .execute(conn)
                .await
                .map_err(doing())?;
            Ok(())
        }
    }
}
