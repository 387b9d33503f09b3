//! How a new key of the ring reaches all nodes of a store, and which of them has it.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::audit::AuditLog;
use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::lease;
use super::writer::Urgency;
use crate::audit::Event;
use crate::credential::{KeyName, Sealed};
use crate::identity::NodeId;

/// What becomes of a key that nodes hand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStage {
    /// To be known by every node before one of them seals with it.
    Next,
    /// Every node seals with it.
    Primary,
    /// It sealed before the present one.
    Older,
    /// Nothing is sealed with it any more: to be forgotten.
    Retired,
}

impl KeyStage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Primary => "primary",
            Self::Older => "older",
            Self::Retired => "retired",
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        [Self::Next, Self::Primary, Self::Older, Self::Retired].into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A key on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingKeyRow {
    pub name: KeyName,
    /// Its secret, under a key that every node had before; `None` when it is handed to nobody any more.
    pub sealed: Option<Sealed>,
    pub stage: KeyStage,
}

/// What a node says of its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingNode {
    pub node: NodeId,
    pub primary: KeyName,
    /// For how long it has sealed with it, in milliseconds.
    pub primary_for: i64,
    pub opens: Vec<KeyName>,
}

/// The keys on their way through one database.
#[derive(Clone, Debug)]
pub struct RingKeys {
    db: Database,
    audit: AuditLog,
}

impl RingKeys {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }

    /// Offers a key to all nodes, unless one is on its way: its name is returned then. Without a sealed copy nobody can
    /// take it.
    pub async fn offer(
        &self,
        key: KeyName,
        sealed: Option<Sealed>,
        event: Event,
    ) -> Result<Option<KeyName>, StoreError> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    lock(conn).await?;
                    let on_its_way = read(conn).await?.into_iter().find(|row| row.stage == KeyStage::Next);
                    if let Some(row) = on_its_way {
                        return Ok(Some(row.name));
                    }
                    put(conn, &key, sealed.map(|sealed| sealed.to_string()), KeyStage::Next).await?;
                    audit.append(conn, event).await?;
                    Ok(None)
                })
            })
            .await
    }

    /// Lets every node seal with the key that was offered.
    pub async fn activate(&self, key: KeyName, event: Event) -> Result<(), StoreError> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    lock(conn).await?;
                    let done = sqlx::query("UPDATE ring_key SET state = $2 WHERE name = $1 AND state = $3")
                        .bind(key.as_str().to_owned())
                        .bind(KeyStage::Primary.as_str())
                        .bind(KeyStage::Next.as_str())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("activating a key of the ring"))?;
                    if done.rows_affected() == 0 {
                        return Ok(());
                    }
                    sqlx::query("UPDATE ring_key SET state = $2 WHERE state = $3 AND name <> $1")
                        .bind(key.as_str().to_owned())
                        .bind(KeyStage::Older.as_str())
                        .bind(KeyStage::Primary.as_str())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("replacing the former key of the ring"))?;
                    audit.append(conn, event).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Lets every node forget a key, and erases the copies that were sealed with it for nodes that lacked another.
    pub async fn retire(&self, key: KeyName, event: Event) -> Result<(), StoreError> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    lock(conn).await?;
                    for row in read(conn).await? {
                        if row.sealed.is_some_and(|sealed| *sealed.key() == key) {
                            put(conn, &row.name, None, row.stage).await?;
                        }
                    }
                    put(conn, &key, None, KeyStage::Retired).await?;
                    audit.append(conn, event).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Says what this node's ring is.
    pub async fn announce(&self, node: NodeId, primary: KeyName, opens: Vec<KeyName>) -> Result<(), StoreError> {
        let opens = opens.iter().map(KeyName::as_str).collect::<Vec<_>>().join(" ");
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let now = lease::database_time(conn).await?;
                    sqlx::query(
                        "INSERT INTO ring_node (node, primary_key, primary_since, opens, seen_at) \
                         VALUES ($1, $2, $3, $4, $3) ON CONFLICT (node) DO UPDATE SET primary_since = CASE WHEN \
                         ring_node.primary_key = excluded.primary_key THEN ring_node.primary_since \
                         ELSE excluded.primary_since END, primary_key = excluded.primary_key, opens = excluded.opens, \
                         seen_at = excluded.seen_at",
                    )
                    .bind(node.to_string())
                    .bind(primary.as_str().to_owned())
                    .bind(now)
                    .bind(opens)
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("telling which keys of the ring the node has"))?;
                    Ok(())
                })
            })
            .await
    }

    pub async fn nodes(&self) -> Result<Vec<RingNode>, StoreError> {
        const DOING: &str = "reading which keys of the ring nodes have";
        let mut conn = self.db.reader(DOING).await?;
        let now = lease::database_time(&mut conn).await?;
        let rows = sqlx::query("SELECT node, primary_key, primary_since, opens FROM ring_node ORDER BY node")
            .fetch_all(&mut *conn)
            .await
            .map_err(StoreError::doing(DOING))?;
        let node = |row: &AnyRow| {
            let text = |column: &str| row.get::<String, _>(column);
            let opens = text("opens");
            let opens: Result<Vec<KeyName>, _> =
                opens.split(' ').filter(|name| !name.is_empty()).map(str::parse).collect();
            Ok(RingNode {
                node: text("node").parse().map_err(|e| unreadable("ring_node", "node", e))?,
                primary: text("primary_key").parse().map_err(|e| unreadable("ring_node", "primary_key", e))?,
                primary_for: now.saturating_sub(row.get("primary_since")),
                opens: opens.map_err(|e| unreadable("ring_node", "opens", e))?,
            })
        };
        rows.iter().map(node).collect()
    }
}

/// The keys on their way; also asked before anything else is known of a store.
pub async fn on_their_way(db: &Database) -> Result<Vec<RingKeyRow>, StoreError> {
    read(&mut *db.reader("reading the keys of the ring").await?).await
}

async fn read(conn: &mut Connection) -> Result<Vec<RingKeyRow>, StoreError> {
    const TABLE: &str = "ring_key";
    let rows = sqlx::query("SELECT name, sealed, state FROM ring_key ORDER BY since, name")
        .fetch_all(conn)
        .await
        .map_err(StoreError::doing("reading the keys of the ring"))?;
    let key = |row: &AnyRow| {
        let sealed = row.get::<Option<String>, _>("sealed").map(|text| text.parse::<Sealed>()).transpose();
        let stage: String = row.get("state");
        Ok(RingKeyRow {
            name: row.get::<String, _>("name").parse().map_err(|e| unreadable(TABLE, "name", e))?,
            sealed: sealed.map_err(|e| unreadable(TABLE, "sealed", e))?,
            stage: KeyStage::of_text(&stage).ok_or_else(|| unreadable(TABLE, "state", "unknown"))?,
        })
    };
    rows.iter().map(key).collect()
}

async fn put(conn: &mut Connection, key: &KeyName, sealed: Option<String>, stage: KeyStage) -> Result<(), StoreError> {
    let now = lease::database_time(conn).await?;
    sqlx::query(
        "INSERT INTO ring_key (name, sealed, state, since) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET \
         sealed = excluded.sealed, state = excluded.state",
    )
    .bind(key.as_str().to_owned())
    .bind(sealed)
    .bind(stage.as_str())
    .bind(now)
    .execute(conn)
    .await
    .map_err(StoreError::doing("writing a key of the ring"))?;
    Ok(())
}

/// Rolls of several nodes take turns: until the transaction ends.
async fn lock(conn: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("UPDATE store_value SET value = value WHERE name = 'canary'")
        .execute(conn)
        .await
        .map_err(StoreError::doing("locking the keys of the ring"))?;
    Ok(())
}

fn unreadable(table: &'static str, column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table, column, reason: reason.to_string() }
}
