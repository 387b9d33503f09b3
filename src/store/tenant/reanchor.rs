//! Other source anchors for objects that are there (see `sync::anchor_migration`).

use async_trait::async_trait;

use super::super::error::StoreError;
use super::super::lease;
use super::super::statement::{Statement, update};
use super::super::writer::Urgency;
use super::export::PIECE;
use super::feed::Feed;
use super::sql::{keys, where_in};
use super::store::TenantStore;
use crate::identity::{LeaseEpoch, SourceAnchor};
use crate::store::Connection;
use crate::sync::anchor_migration::{Reanchor, ReanchorError};
use crate::tenant::ChangeOperation;

/// What stands for an anchor while all are moved, so that two objects may swap theirs. No anchor has a colon.
const BETWEEN: &str = "migrating:";

const TABLES: [&str; 3] = ["tenant_user", "tenant_group", "tenant_plain"];

#[async_trait]
impl Reanchor for TenantStore {
    async fn reanchor(&self, epoch: LeaseEpoch, moves: Vec<(String, SourceAnchor)>) -> Result<(), ReanchorError> {
        let away = moves.iter().map(|(oid, _)| (oid.clone(), format!("{BETWEEN}{oid}"))).collect();
        let there = moves.into_iter().map(|(oid, anchor)| (oid, anchor.to_string())).collect();
        for step in [away, there] {
            self.move_anchors(epoch, step).await.map_err(|error| ReanchorError(Box::new(error)))?;
        }
        Ok(())
    }
}

impl TenantStore {
    async fn move_anchors(&self, epoch: LeaseEpoch, anchors: Vec<(String, String)>) -> Result<(), StoreError> {
        for piece in anchors.chunks(PIECE) {
            let (piece, now) = (piece.to_vec(), self.clock.now());
            self.db
                .write(Urgency::Bulk, move |conn| {
                    Box::pin(async move {
                        lease::check_epoch(conn, epoch).await?;
                        let mut feed = Feed::lock(conn, now).await?;
                        write(conn, &mut feed, &piece).await?;
                        feed.close(conn).await
                    })
                })
                .await?;
        }
        Ok(())
    }
}

async fn write(conn: &mut Connection, feed: &mut Feed, piece: &[(String, String)]) -> Result<(), StoreError> {
    let oids = keys(piece.iter().map(|(oid, _)| oid.clone()));
    for select in [
        "SELECT oid, 'user' AS kind FROM tenant_user WHERE oid",
        "SELECT oid, 'group' AS kind FROM tenant_group WHERE oid",
        "SELECT oid, kind FROM tenant_plain WHERE oid",
    ] {
        for row in &where_in(conn, select, "", &oids, "looking for objects to be anchored anew").await? {
            let kind: String = row.get("kind");
            feed.note(&kind, row.get("oid"), None, ChangeOperation::Update);
        }
    }
    let mut statements: Vec<Statement> = Vec::new();
    for table in TABLES {
        let rows = piece.iter().map(|(oid, anchor)| vec![oid.clone().into(), anchor.clone().into()]).collect();
        statements.extend(update(table, &["oid"], &["source_anchor"], rows));
    }
    conn.rows("writing source anchors", statements).await.map(drop)
}
