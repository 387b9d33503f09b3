//! The judgement of addresses without an export: of those that were exported before addresses were unique, and of those in
//! a domain for which other connectors speak than before.

use sqlx::{AssertSqlSafe, Row};

use super::super::error::StoreError;
use super::super::lease;
use super::super::writer::Urgency;
use super::export::PIECE;
use super::load::object_id;
use super::quarantine::literal;
use super::store::TenantStore;
use crate::identity::{DomainName, LeaseEpoch};
use crate::tenant::ObjectId;
use crate::tenant::addresses::PROXY_ADDRESSES;
use crate::tenant::plan::Touched;

const ADDRESSES_UNJUDGED: &str = "addresses_unjudged";

/// The tables of objects, with the word for their type.
const TABLES: [(&str, &str); 3] = [("tenant_user", "'user'"), ("tenant_group", "'group'"), ("tenant_plain", "kind")];

impl TenantStore {
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
        let pattern = format!("%\"{}\"%", PROXY_ADDRESSES.to_ascii_lowercase());
        let mut judged = 0;
        for (table, word) in TABLES {
            judged += self.judge(table, word, "proxy_addresses IS NULL AND LOWER(attributes)", &pattern).await?;
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

    /// Judges whatever lists an address of this domain, users of that suffix left out.
    pub(super) async fn judge_domain(&self, name: &DomainName) -> Result<(), StoreError> {
        // Exports spell a name of other letters as their directory does.
        let pattern =
            if name.as_str().contains("xn--") { "%@%".to_owned() } else { format!("%@{}\"%", literal(name.as_str())) };
        for (table, word) in TABLES {
            let others = match table {
                // Nothing in a domain name ends a text of SQL.
                "tenant_user" => format!("COALESCE(on_premises_suffix, '') <> '{name}' AND"),
                _ => String::new(),
            };
            let listed = format!("{others} LOWER(attributes || COALESCE(on_premises_mail, '') || '\"')");
            self.judge(table, word, &listed, &pattern).await?;
        }
        Ok(())
    }

    /// Judges the objects of a table of which a text is `like` a pattern, in short transactions.
    async fn judge(&self, table: &str, word: &str, text: &str, like: &str) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT oid, {word} AS kind FROM {table} WHERE oid > $1 AND deleted_at IS NULL AND {text} LIKE $2 ESCAPE '!' \
             ORDER BY oid LIMIT $3"
        );
        let (mut judged, mut after) = (0, String::new());
        loop {
            let rows = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(after)
                .bind(like.to_owned())
                .bind(i64::try_from(PIECE).unwrap_or(i64::MAX))
                .fetch_all(self.db.read())
                .await
                .map_err(StoreError::doing("looking for addresses to judge"))?;
            let piece = rows.iter().map(|row| object_id(row.get("kind"), row.get("oid")));
            let piece = piece.collect::<Result<Vec<ObjectId>, _>>()?;
            let Some(last) = piece.last() else { return Ok(judged) };
            after = last.to_string();
            judged += piece.len() as u64;
            self.judge_piece(Touched::Judged(piece)).await?;
        }
    }
}
