//! Values that wait for their holders, as administrators read them.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::error::StoreError;
use super::load::{kind, object_id};
use super::rows::text;
use super::store::TenantStore;
use crate::identity::{Timestamp, fold};
use crate::tenant::ObjectId;
use crate::tenant::addresses::MAIL;
use crate::tenant::record::fold_mail;
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
}

/// `text` as a pattern of `LIKE` that means itself.
pub(super) fn literal(text: &str) -> String {
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
        UniqueKind::Address if mail.is_some_and(|mail| fold_mail(&mail) == value) => MAIL,
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
