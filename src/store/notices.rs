//! Notices of alerts that wait for their channels, on SQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;

use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::writer::Urgency;
use crate::alerts::{Edge, Notice, Outbox, OutboxDown, Progress};
use crate::config::ChannelName;
use crate::identity::Timestamp;

/// Adds a notice, in the transaction of what it tells. Numbers are given in the order of the commits.
pub(super) async fn add(
    conn: &mut Connection,
    (name, subject, detail): (&str, &str, &str),
    edge: Edge,
    at: Timestamp,
) -> Result<(), StoreError> {
    let number: i64 = sqlx::query("UPDATE alert_number SET last = last + 1 WHERE one = 1 RETURNING last")
        .fetch_one(&mut *conn)
        .await
        .map_err(StoreError::doing("numbering an alert"))?
        .get("last");
    sqlx::query("INSERT INTO alert_notice (number, name, subject, detail, edge, at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(number)
        .bind(name)
        .bind(subject)
        .bind(detail)
        .bind(edge.code())
        .bind(at.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("keeping an alert for its channels"))?;
    Ok(())
}

/// The tables of notices. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NoticeTables(Database);

impl NoticeTables {
    pub fn new(db: Database) -> Self {
        Self(db)
    }

    /// Runs one statement on the row of `channel`, with up to two numbers and a text.
    async fn change(
        &self,
        sql: &'static str,
        channel: &ChannelName,
        (number, other): (i64, i64),
        text: Option<String>,
    ) -> Result<(), OutboxDown> {
        let channel = channel.to_string();
        let done: Result<(), StoreError> = self
            .0
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let query = sqlx::query(sql).bind(channel).bind(number).bind(other).bind(text);
                    query.execute(conn).await.map_err(StoreError::doing("keeping how far alerts are sent"))?;
                    Ok(())
                })
            })
            .await;
        done.map_err(down)
    }
}

fn down(error: StoreError) -> OutboxDown {
    OutboxDown(Box::new(error))
}

const OLDEST: &str = "SELECT c.done, c.tries, c.next_at, n.number, n.name, n.subject, n.detail, n.edge, n.at \
     FROM alert_channel c JOIN alert_notice n ON n.number = \
     (SELECT MIN(m.number) FROM alert_notice m WHERE m.number > c.done) WHERE c.name = $1";

async fn claim(
    conn: &mut Connection,
    channel: String,
    now: Timestamp,
    pause: fn(i64) -> Duration,
) -> Result<Option<Notice>, StoreError> {
    let row = sqlx::query(OLDEST).bind(channel.as_str()).fetch_optional(&mut *conn).await;
    let Some(row) = row.map_err(StoreError::doing("looking for alerts to send"))? else { return Ok(None) };
    let (done, tries, next_at): (i64, i64, i64) = (row.get("done"), row.get("tries"), row.get("next_at"));
    if next_at > now.millis() {
        return Ok(None);
    }
    // Whoever else looked at the same row finds it changed.
    let taken = sqlx::query(
        "UPDATE alert_channel SET tries = tries + 1, next_at = $4 WHERE name = $1 AND done = $2 AND next_at = $3",
    )
    .bind(channel)
    .bind(done)
    .bind(next_at)
    .bind((now + pause(tries.saturating_add(1))).millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("taking an alert to send"))?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    let edge: String = row.get("edge");
    let edge = Edge::from_code(&edge).ok_or_else(|| StoreError::Unreadable {
        table: "alert_notice",
        column: "edge",
        reason: format!("{edge:?} is no edge"),
    })?;
    Ok(Some(Notice {
        number: row.get("number"),
        alert: row.get("name"),
        subject: row.get("subject"),
        detail: row.get("detail"),
        edge,
        at: Timestamp::from_millis(row.get("at")),
    }))
}

#[async_trait]
impl Outbox for NoticeTables {
    async fn register(&self, channel: &ChannelName) -> Result<(), OutboxDown> {
        let channel = channel.to_string();
        let done: Result<(), StoreError> = self
            .0
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let add = sqlx::query(
                        "INSERT INTO alert_channel (name, done, tries, next_at, given_up) \
                         SELECT $1, last, 0, 0, 0 FROM alert_number WHERE one = 1 ON CONFLICT (name) DO NOTHING",
                    );
                    let add = add.bind(channel).execute(conn).await;
                    add.map_err(StoreError::doing("adding a channel of alerts"))?;
                    Ok(())
                })
            })
            .await;
        done.map_err(down)
    }

    async fn claim(
        &self,
        channel: &ChannelName,
        now: Timestamp,
        pause: fn(i64) -> Duration,
    ) -> Result<Option<Notice>, OutboxDown> {
        // Nearly always there is nothing, and nothing is written.
        let waits = sqlx::query(OLDEST).bind(channel.as_str()).fetch_optional(self.0.read()).await;
        let waits = waits.map_err(StoreError::doing("looking for alerts to send")).map_err(down)?;
        if waits.is_none_or(|row| row.get::<i64, _>("next_at") > now.millis()) {
            return Ok(None);
        }
        let channel = channel.to_string();
        let claimed: Result<Option<Notice>, StoreError> =
            self.0.write(Urgency::Waited, move |conn| Box::pin(claim(conn, channel, now, pause))).await;
        claimed.map_err(down)
    }

    async fn delivered(&self, channel: &ChannelName, number: i64, at: Timestamp) -> Result<(), OutboxDown> {
        let sql = "UPDATE alert_channel SET done = $2, tries = 0, next_at = 0, delivered_at = $3, last_error = $4 \
                   WHERE name = $1 AND done < $2";
        self.change(sql, channel, (number, at.millis()), None).await
    }

    async fn failed(&self, channel: &ChannelName, number: i64, why: &str, give_up: bool) -> Result<(), OutboxDown> {
        let sql = match give_up {
            true => {
                "UPDATE alert_channel SET done = $2, tries = 0, next_at = 0, given_up = given_up + $3, last_error = $4 \
                 WHERE name = $1 AND done < $2"
            }
            false => "UPDATE alert_channel SET last_error = $4 WHERE name = $1 AND done < $2 AND tries >= $3",
        };
        self.change(sql, channel, (number, 1), Some(why.to_owned())).await
    }

    async fn progress(&self, channel: &ChannelName) -> Result<Option<Progress>, OutboxDown> {
        let row = sqlx::query(
            "SELECT tries, next_at, delivered_at, last_error, given_up, \
             (SELECT COUNT(*) FROM alert_notice n WHERE n.number > c.done) AS waiting FROM alert_channel c WHERE name = $1",
        );
        let row = row.bind(channel.as_str()).fetch_optional(self.0.read()).await;
        let row = row.map_err(StoreError::doing("reading how far alerts are sent")).map_err(down)?;
        Ok(row.map(|row| {
            let next: i64 = row.get("next_at");
            Progress {
                waiting: row.get("waiting"),
                delivered_at: row.get::<Option<i64>, _>("delivered_at").map(Timestamp::from_millis),
                tries: row.get("tries"),
                next_try: (next > 0).then(|| Timestamp::from_millis(next)),
                last_error: row.get("last_error"),
                given_up: row.get("given_up"),
            }
        }))
    }

    async fn trim(&self, before: Timestamp) -> Result<(), OutboxDown> {
        let done: Result<(), StoreError> = self
            .0
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    let old = sqlx::query("DELETE FROM alert_notice WHERE at < $1").bind(before.millis());
                    old.execute(conn).await.map_err(StoreError::doing("removing old alerts"))?;
                    Ok(())
                })
            })
            .await;
        done.map_err(down)
    }
}
