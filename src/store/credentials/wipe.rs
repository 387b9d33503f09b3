//! The end of a stored password on purpose.

use super::Credentials;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{CredentialSource, Timestamp};
use crate::store::{Connection, StoreError, Urgency};

impl Credentials {
    /// Wipes the credential of `source` for good, within the transaction that ended it (the release of a guarded
    /// export, or an operator's order). Nothing else wipes.
    pub async fn wipe(
        &self,
        conn: &mut Connection,
        source: &CredentialSource,
        at: Timestamp,
        actor: Actor,
    ) -> Result<bool, StoreError> {
        let wiped = sqlx::query(
            "UPDATE credential SET stage = 'wiped', chain = '', sealed = '', reason = NULL, source_stamp = '', \
             password_set = NULL, version = version + 1, outdated_at = NULL, outdated_by = NULL, leaked_at = NULL, leaked_class = NULL, stored_at = $3 \
             WHERE connector = $1 AND anchor = $2 AND stage <> 'wiped'",
        )
        .bind(source.connector.as_str())
        .bind(source.anchor.as_str())
        .bind(at.millis())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("wiping a credential"))?
        .rows_affected()
            > 0;
        if wiped {
            self.audit
                .append(conn, Event::new(EventKind::CredentialWiped, Outcome::Success, actor).about(source))
                .await?;
        }
        Ok(wiped)
    }

    /// [`wipe`](Self::wipe) in a transaction of its own.
    pub async fn wipe_one(&self, source: CredentialSource, at: Timestamp, actor: Actor) -> Result<bool, StoreError> {
        let tables = self.clone();
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { tables.wipe(conn, &source, at, actor).await }))
            .await
    }
}
