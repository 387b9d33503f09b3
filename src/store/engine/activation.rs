//! Activated rules in `gateway.db`: rows are added, never changed (design D6).

use std::sync::Arc;

use sqlx::Row as _;

use crate::identity::{Clock, Timestamp};
use crate::store::{Database, StoreError, Urgency};
use crate::sync::activation::{Activation, ActivationError, Activations};
use crate::sync::rule::RuleSource;

#[derive(Clone, Debug)]
pub struct SqlActivations {
    db: Database,
    clock: Arc<dyn Clock>,
}

impl From<StoreError> for ActivationError {
    fn from(error: StoreError) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl SqlActivations {
    pub fn new(db: Database, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }
}

#[async_trait::async_trait]
impl Activations for SqlActivations {
    async fn current(&self) -> Result<Option<Activation>, ActivationError> {
        let sql = "SELECT number, digest, content, activated_at, activated_by FROM activation \
                   ORDER BY number DESC LIMIT 1";
        let row = sqlx::query(sql)
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading the activated rules"))?;
        row.map(|row| {
            let content: String = row.get("content");
            Ok(Activation {
                number: row.get("number"),
                digest: row.get("digest"),
                sources: serde_json::from_str(&content).map_err(|e| ActivationError::Broken(Box::new(e)))?,
                at: Timestamp::from_millis(row.get("activated_at")),
                by: row.get("activated_by"),
            })
        })
        .transpose()
    }

    async fn store(&self, sources: Vec<RuleSource>, digest: &str, by: &str) -> Result<Activation, ActivationError> {
        let content = serde_json::to_string(&sources).map_err(|e| ActivationError::Broken(Box::new(e)))?;
        let at = self.clock.now();
        let (digest_text, by_text) = (digest.to_owned(), by.to_owned());
        let number: i64 = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let sql = "INSERT INTO activation (number, digest, content, activated_at, activated_by) \
                               SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4 FROM activation RETURNING number";
                    let row = sqlx::query(sql)
                        .bind(digest_text)
                        .bind(content)
                        .bind(at.millis())
                        .bind(by_text)
                        .fetch_one(conn)
                        .await
                        .map_err(StoreError::doing("activating rules"))?;
                    Ok::<_, ActivationError>(row.get(0))
                })
            })
            .await?;
        Ok(Activation { number, digest: digest.to_owned(), sources, at, by: by.to_owned() })
    }
}
