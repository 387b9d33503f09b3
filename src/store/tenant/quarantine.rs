//! Values that wait for their holders: what administrators read, and the judgement of addresses that were exported before
//! addresses were unique.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::error::StoreError;
use super::super::lease;
use super::super::writer::Urgency;
use super::export::PIECE;
use super::load::{kind, object_id};
use super::rows::text;
use super::store::TenantStore;
use crate::identity::{LeaseEpoch, Timestamp, fold};
use crate::tenant::ObjectId;
use crate::tenant::record::{PROXY_ADDRESSES, fold_mail};
use crate::tenant::unique::UniqueKind;

/// A value that an object goes without, since another holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingValue {
    /// What only one object may have: `upn`, `mail` (an address, whichever attribute lists it) or `sam`.
    pub kind: String,
    pub attribute: String,
    /// In folded form.
    pub value: String,
    pub waiting: NamedObject,
    /// `None` when the value was freed in this moment.
    pub held_by: Option<NamedObject>,
    pub since: Timestamp,
}

/// An object with what people call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedObject {
    #[serde(flatten)]
    pub id: ObjectId,
    pub name: Option<String>,
}

/// Where a page ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantinePosition {
    pub kind: String,
    pub value: String,
    pub oid: String,
}

const ADDRESSES_UNJUDGED: &str = "addresses_unjudged";

impl TenantStore {
    /// Quarantined values in which `search` occurs, ordered by kind and value, after `after`; at most `limit`.
    pub async fn quarantine(
        &self,
        search: &str,
        after: &QuarantinePosition,
        limit: u32,
    ) -> Result<Vec<WaitingValue>, StoreError> {
        // Names of either table: an `oid` is in one of them.
        let named = |alias: &str, oid: &str| {
            format!(
                "LEFT JOIN tenant_user {alias}u ON {alias}u.oid = {oid} LEFT JOIN tenant_group {alias}g ON {alias}g.oid = {oid} \
                 LEFT JOIN tenant_plain {alias}p ON {alias}p.oid = {oid}"
            )
        };
        let sql = format!(
            "SELECT q.kind, q.value, q.oid, q.since, v.owner_kind, v.owner, \
             CASE WHEN wu.oid IS NOT NULL THEN 'user' WHEN wg.oid IS NOT NULL THEN 'group' ELSE wp.kind END AS waiting_kind, \
             COALESCE(wu.upn, wg.display_name, wp.display_name) AS waiting_name, \
             COALESCE(hu.upn, hg.display_name, hp.display_name) AS holder_name, \
             COALESCE(wu.on_premises_mail, wg.on_premises_mail, wp.on_premises_mail) AS on_premises_mail \
             FROM quarantined_value q LEFT JOIN unique_value v ON v.kind = q.kind AND v.value = q.value {} {} \
             WHERE (q.kind > $1 OR (q.kind = $1 AND (q.value > $2 OR (q.value = $2 AND q.oid > $3)))) \
             AND q.value LIKE $4 ESCAPE '!' ORDER BY q.kind, q.value, q.oid LIMIT $5",
            named("w", "q.oid"),
            named("h", "v.owner"),
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after.kind.clone())
            .bind(after.value.clone())
            .bind(after.oid.clone())
            .bind(format!("%{}%", literal(&fold(search))))
            .bind(i64::from(limit))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("listing quarantined values"))?;
        rows.iter().map(read_waiting).collect()
    }

    /// Judges the addresses of objects that were exported before addresses were unique; once. Returns how many were judged.
    pub async fn judge_addresses(&self, epoch: LeaseEpoch) -> Result<u64, StoreError> {
        let unjudged = sqlx::query("SELECT value FROM counter WHERE name = $1")
            .bind(ADDRESSES_UNJUDGED)
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading whether addresses are judged"))?;
        if unjudged.is_none_or(|row| row.get::<i64, _>("value") == 0) {
            return Ok(0);
        }
        let mut judged = 0;
        for (table, word) in [("tenant_user", "'user'"), ("tenant_group", "'group'"), ("tenant_plain", "kind")] {
            let mut after = String::new();
            loop {
                let piece = self.unjudged(table, word, &after).await?;
                let Some(last) = piece.last() else { break };
                after = last.to_string();
                judged += piece.len() as u64;
                self.recalculate_piece(piece).await?;
            }
        }
        self.db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    lease::check_epoch(conn, epoch).await?;
                    sqlx::query("UPDATE counter SET value = 0 WHERE name = $1")
                        .bind(ADDRESSES_UNJUDGED)
                        .execute(conn)
                        .await
                        .map_err(StoreError::doing("noting that addresses are judged"))?;
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        Ok(judged)
    }

    async fn unjudged(&self, table: &str, word: &str, after: &str) -> Result<Vec<ObjectId>, StoreError> {
        let sql = format!(
            "SELECT oid, {word} AS kind FROM {table} WHERE oid > $1 AND deleted_at IS NULL AND proxy_addresses IS NULL \
             AND LOWER(attributes) LIKE $2 ORDER BY oid LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after.to_owned())
            .bind(format!("%\"{}\"%", PROXY_ADDRESSES.to_ascii_lowercase()))
            .bind(i64::try_from(PIECE).unwrap_or(i64::MAX))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("looking for addresses to judge"))?;
        rows.iter().map(|row| object_id(row.get("kind"), row.get("oid"))).collect()
    }
}

/// `text` as a pattern of `LIKE` that means itself.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut pattern, c| {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
        pattern
    })
}

fn read_waiting(row: &AnyRow) -> Result<WaitingValue, StoreError> {
    let value: String = row.get("value");
    let kind = kind(row.get("kind"))?;
    let mail = text(row, "on_premises_mail");
    let attribute = match kind {
        UniqueKind::Address if mail.is_some_and(|mail| fold_mail(&mail) == value) => "mail",
        UniqueKind::Upn | UniqueKind::Address | UniqueKind::Sam | UniqueKind::Credential => kind.attribute(),
    };
    let holder = text(row, "owner_kind").zip(text(row, "owner"));
    let held_by = match holder {
        Some((kind, oid)) => Some(NamedObject { id: object_id(&kind, &oid)?, name: text(row, "holder_name") }),
        None => None,
    };
    let waiting_kind = text(row, "waiting_kind").unwrap_or_default();
    Ok(WaitingValue {
        kind: kind.as_str().to_owned(),
        attribute: attribute.to_owned(),
        value,
        waiting: NamedObject { id: object_id(&waiting_kind, row.get("oid"))?, name: text(row, "waiting_name") },
        held_by,
        since: Timestamp::from_millis(row.get("since")),
    })
}
