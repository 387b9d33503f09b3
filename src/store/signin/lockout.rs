//! The lockout counters. Reserving is one statement on a counter's row, so that parallel guesses, on whichever node, pass
//! the limit at most together.
//!
//! INVARIANT: a transaction that writes several of these tables does so in one order, or two of them wait for each other:
//! the reservation, the counter, the wrong passwords, where they came from.

use sqlx::Row;

use super::evidence::{self, Failure};
use crate::identity::{AttemptId, Timestamp, UserId};
use crate::signin::lockout::{Limits, Repeats, Settlement, Try};
use crate::signin::store::{Ages, Reservation};
use crate::store::{Connection, Database, StoreError};

/// Wrong passwords that are known again.
const FINGERPRINTS: i64 = 3;

/// Failures that still count at `$3`: none once the window has passed without one; where the window does not bind
/// (`$5` = 0), one try is left after a lock that has ended.
const FAILED: &str = "CASE WHEN lockout.window_from + $4 <= $3 THEN 0 \
     WHEN $5 = 0 AND lockout.locked_until > 0 AND lockout.failed >= $6 THEN $6 - 1 ELSE lockout.failed END";

pub(super) async fn reserve(conn: &mut Connection, attempt: Try) -> Result<Reservation, StoreError> {
    let familiar = match &attempt.device {
        Some((oid, device)) => is_familiar(conn, *oid, device).await?,
        None => false,
    };
    if let Some(network) = attempt.network.filter(|_| !familiar)
        && let Some(wait) = evidence::slow_down(conn, &network.to_string(), &attempt.spray, attempt.at).await?
    {
        return Ok(Reservation::Slowed { network, wait });
    }
    let limits = &attempt.limits;
    let (place, limit) = match (limits.one_counter, familiar) {
        (true, _) => ("any", limits.familiar),
        (false, true) => ("familiar", limits.familiar),
        (false, false) => ("unfamiliar", limits.unfamiliar),
    };
    let now = attempt.at.millis();
    let sql = format!(
        "INSERT INTO lockout (subject, place, failed, in_flight, window_from, locked_until, times_locked) \
         VALUES ($1, $2, 0, 1, $3, 0, 0) \
         ON CONFLICT (subject, place) DO UPDATE SET failed = {FAILED}, in_flight = lockout.in_flight + 1 \
         WHERE lockout.locked_until <= $3 AND {FAILED} + lockout.in_flight < $6 RETURNING in_flight"
    );
    let reserved = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(attempt.subject.as_str())
        .bind(place)
        .bind(now)
        .bind(limits.window_ms)
        .bind(i64::from(limits.window_binds))
        .bind(i64::from(limit))
        .fetch_optional(&mut *conn)
        .await
        .map_err(StoreError::doing("reserving a try at a password"))?;
    let network = attempt.network.map(|network| network.to_string());
    if reserved.is_none() {
        let network = network.unwrap_or_default();
        let from = Failure { subject: attempt.subject.as_str(), network: &network, familiar, at: attempt.at };
        evidence::turned_away(conn, from).await?;
        return Ok(Reservation::Full);
    }
    sqlx::query(
        "INSERT INTO lockout_reservation (attempt, subject, place, at, outcome, network, familiar) \
         VALUES ($1, $2, $3, $4, NULL, $5, $6)",
    )
    .bind(attempt.attempt.to_string())
    .bind(attempt.subject.as_str())
    .bind(place)
    .bind(now)
    .bind(network)
    .bind(i64::from(familiar))
    .execute(conn)
    .await
    .map_err(StoreError::doing("writing a reservation"))?;
    Ok(Reservation::Granted { familiar })
}

/// Settles a reservation; one that was settled before stays as it is.
pub(super) async fn settle(
    conn: &mut Connection,
    attempt: AttemptId,
    settlement: &Settlement,
    limits: &Limits,
    at: Timestamp,
) -> Result<(), StoreError> {
    let outcome = match settlement {
        Settlement::Leave => return Ok(()),
        Settlement::Return | Settlement::Forgive => "returned",
        Settlement::Keep { .. } => "kept",
    };
    let row = sqlx::query(
        "UPDATE lockout_reservation SET outcome = $2 WHERE attempt = $1 AND outcome IS NULL \
         RETURNING subject, place, network, familiar",
    )
    .bind(attempt.to_string())
    .bind(outcome)
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("settling a reservation"))?;
    let Some(row) = row else { return Ok(()) };
    let (subject, place): (String, String) = (row.get("subject"), row.get("place"));
    // Both are missing in a reservation that a former version made.
    let network = row.get::<Option<String>, _>("network").unwrap_or_default();
    let familiar = row.get::<Option<i64>, _>("familiar") == Some(1);
    let from = Failure { subject: &subject, network: &network, familiar, at };
    match settlement {
        Settlement::Leave => Ok(()),
        Settlement::Return => give_back(conn, &subject, &place).await,
        Settlement::Forgive => {
            counter(
                conn,
                "UPDATE lockout SET failed = 0, times_locked = 0, locked_until = 0, \
                 in_flight = CASE WHEN in_flight > 0 THEN in_flight - 1 ELSE 0 END WHERE subject = $1 AND place = $2",
                &subject,
                &place,
            )
            .await?;
            // Whoever had no wrong password has nothing to be excused.
            if forget_fingerprints(conn, &subject).await? {
                evidence::succeeded(conn, from).await?;
            }
            Ok(())
        }
        Settlement::Keep { fingerprint, repeats } => {
            give_back(conn, &subject, &place).await?;
            let is_new = match fingerprint {
                Some(fingerprint) => is_new_fingerprint(conn, &subject, fingerprint, at).await?,
                None => true,
            };
            if is_new || *repeats == Repeats::Count {
                count(conn, &subject, &place, limits, at).await?;
            }
            evidence::failed(conn, from, is_new).await
        }
    }
}

/// Gives back the reservation of an attempt that nobody will settle.
pub(super) async fn abandon(conn: &mut Connection, attempt: &str) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE lockout_reservation SET outcome = 'returned' WHERE attempt = $1 AND outcome IS NULL \
         RETURNING subject, place",
    )
    .bind(attempt)
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("giving a reservation back"))?;
    match row {
        Some(row) => give_back(conn, row.get("subject"), row.get("place")).await,
        None => Ok(()),
    }
}

/// Lifts the lock of `subject` in every place; `true` if there was anything to lift.
pub(super) async fn unlock(conn: &mut Connection, subject: &str) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE lockout SET failed = 0, locked_until = 0, times_locked = 0 \
         WHERE subject = $1 AND (failed > 0 OR locked_until > 0)",
    )
    .bind(subject)
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("unlocking a user"))?;
    forget_fingerprints(conn, subject).await?;
    Ok(done.rows_affected() > 0)
}

/// Remembers the device on which `oid` has signed in.
pub(super) async fn remember_device(
    conn: &mut Connection,
    oid: UserId,
    device: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO familiar_device (oid, device_hash, first_at, last_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (oid, device_hash) DO UPDATE SET last_at = $3",
    )
    .bind(oid.to_string())
    .bind(device)
    .bind(at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("remembering a device"))?;
    Ok(())
}

/// Reservations that nobody has settled until `orphaned`.
pub(super) async fn orphans(db: &Database, orphaned: Timestamp) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT attempt FROM lockout_reservation WHERE outcome IS NULL AND at <= $1 LIMIT 500")
        .bind(orphaned.millis())
        .fetch_all(db.read())
        .await
        .map_err(StoreError::doing("looking for tries that nobody settled"))?;
    Ok(rows.iter().map(|row| row.get("attempt")).collect())
}

/// Forgets settled reservations, and counters that were quiet for long.
pub(super) async fn sweep(conn: &mut Connection, ages: Ages) -> Result<(), StoreError> {
    for (sql, before) in [
        ("DELETE FROM lockout_reservation WHERE outcome IS NOT NULL AND at <= $1", ages.orphaned),
        ("DELETE FROM lockout WHERE in_flight = 0 AND window_from <= $1 AND locked_until <= $1", ages.forgotten),
        ("DELETE FROM wrong_password WHERE at <= $1", ages.forgotten),
    ] {
        let swept = sqlx::query(sql).bind(before.millis()).execute(&mut *conn).await;
        swept.map_err(StoreError::doing("sweeping the lockout counters"))?;
    }
    evidence::sweep(conn, ages.evidence).await
}

async fn is_familiar(conn: &mut Connection, oid: UserId, device: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM familiar_device WHERE oid = $1 AND device_hash = $2")
        .bind(oid.to_string())
        .bind(device)
        .fetch_optional(conn)
        .await
        .map_err(StoreError::doing("looking for a familiar device"))?;
    Ok(row.is_some())
}

/// Counts a failure; the one that fills the limit locks, each time twice as long.
async fn count(
    conn: &mut Connection,
    subject: &str,
    place: &str,
    limits: &Limits,
    at: Timestamp,
) -> Result<(), StoreError> {
    let limit = if place == "unfamiliar" { limits.unfamiliar } else { limits.familiar };
    let failing = StoreError::doing("counting a wrong password");
    let row = sqlx::query(
        "UPDATE lockout SET failed = failed + 1, window_from = $3 WHERE subject = $1 AND place = $2 \
         RETURNING failed, times_locked",
    )
    .bind(subject)
    .bind(place)
    .bind(at.millis())
    .fetch_optional(&mut *conn)
    .await
    .map_err(failing)?;
    let Some(row) = row else { return Ok(()) };
    let (failed, times): (i64, i64) = (row.get("failed"), row.get("times_locked"));
    if failed < i64::from(limit) {
        return Ok(());
    }
    let lock = u32::try_from(times).ok().and_then(|times| limits.first_lock_ms.checked_mul(2_i64.checked_pow(times)?));
    let lock = lock.unwrap_or(i64::MAX).min(limits.longest_lock_ms);
    sqlx::query(
        "UPDATE lockout SET locked_until = $3, times_locked = times_locked + 1 WHERE subject = $1 AND place = $2",
    )
    .bind(subject)
    .bind(place)
    .bind(at.millis().saturating_add(lock))
    .execute(conn)
    .await
    .map_err(StoreError::doing("locking a user"))?;
    Ok(())
}

async fn give_back(conn: &mut Connection, subject: &str, place: &str) -> Result<(), StoreError> {
    counter(
        conn,
        "UPDATE lockout SET in_flight = CASE WHEN in_flight > 0 THEN in_flight - 1 ELSE 0 END \
         WHERE subject = $1 AND place = $2",
        subject,
        place,
    )
    .await
}

async fn counter(conn: &mut Connection, sql: &'static str, subject: &str, place: &str) -> Result<(), StoreError> {
    sqlx::query(sql)
        .bind(subject)
        .bind(place)
        .execute(conn)
        .await
        .map_err(StoreError::doing("returning a try at a password"))?;
    Ok(())
}

/// Remembers a wrong password; `false` if it was among the last ones.
async fn is_new_fingerprint(
    conn: &mut Connection,
    subject: &str,
    fingerprint: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let doing = || StoreError::doing("remembering a wrong password");
    let added = sqlx::query(
        "INSERT INTO wrong_password (subject, fingerprint, at) VALUES ($1, $2, $3) \
         ON CONFLICT (subject, fingerprint) DO NOTHING",
    )
    .bind(subject)
    .bind(fingerprint)
    .bind(at.millis())
    .execute(&mut *conn)
    .await
    .map_err(doing())?;
    if added.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "DELETE FROM wrong_password WHERE subject = $1 AND fingerprint <> $2 AND fingerprint NOT IN \
         (SELECT fingerprint FROM wrong_password WHERE subject = $1 AND fingerprint <> $2 \
          ORDER BY at DESC, fingerprint LIMIT $3)",
    )
    .bind(subject)
    .bind(fingerprint)
    .bind(FINGERPRINTS - 1)
    .execute(conn)
    .await
    .map_err(doing())?;
    Ok(true)
}

/// `true` if there were any.
async fn forget_fingerprints(conn: &mut Connection, subject: &str) -> Result<bool, StoreError> {
    let forgotten = sqlx::query("DELETE FROM wrong_password WHERE subject = $1")
        .bind(subject)
        .execute(conn)
        .await
        .map_err(StoreError::doing("forgetting wrong passwords"))?;
    Ok(forgotten.rows_affected() > 0)
}
