//! Users that are made in the cloud: no connector owns them until one takes them over.

use serde_json::Map;
use uuid::Uuid;

use super::super::error::StoreError;
use super::super::writer::Urgency;
use super::export::write_alone;
use super::store::TenantStore;
use crate::identity::{SourceAnchor, Timestamp, Upn, UserId};
use crate::tenant::matching::{Draft, Record};
use crate::tenant::record::{Quarantine, UserRecord};
use crate::tenant::{ErrorCode, ExportError};

/// A user as an administrator makes it.
#[derive(Clone, Debug)]
pub struct CloudUser {
    pub upn: Upn,
    pub display_name: Option<String>,
    pub mail: Option<String>,
    /// A directory's object with this anchor takes the user over.
    pub source_anchor: Option<SourceAnchor>,
    /// Nothing takes the user over.
    pub privileged: bool,
}

/// Why an administrator's change was not made.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    #[error(transparent)]
    Refused(#[from] ExportError),
    #[error("there is no user {0}")]
    Unknown(String),
    #[error("{0} is mastered by connector {1}: change it there")]
    MasteredOnPremises(String, String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TenantStore {
    /// Makes a user of the cloud, enabled and without a password.
    pub async fn add_cloud_user(&self, user: CloudUser) -> Result<UserId, CloudError> {
        let now = self.clock.now();
        let suffix = user.upn.domain().clone();
        let record = UserRecord {
            oid: UserId::from_uuid(Uuid::new_v4()),
            source_anchor: user.source_anchor,
            anchor_connector: None,
            upn: user.upn,
            on_premises_upn: None,
            upn_connector: None,
            nickname: None,
            named_by: None,
            display_name: user.display_name,
            given_name: None,
            surname: None,
            on_premises_mail: user.mail,
            mail: None,
            addresses: Vec::new(),
            sam: None,
            attributes: Map::new(),
            account_enabled: true,
            cloud_mastered: true,
            privileged: user.privileged,
            security_stamp: Uuid::new_v4().to_string(),
            credential: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            quarantined: Quarantine::new(),
        };
        let oid = record.oid;
        let (options, clock) = (self.options, now);
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let rules = super::load::domain_rules(conn).await?;
                    // No connector: only what is verified, or the initial domain, makes a name of the cloud.
                    if !rules.is_verified(&suffix) {
                        let message = format!("{suffix} is no verified domain of the tenant");
                        return Ok(Err(ExportError { code: ErrorCode::IdentityDataValidationFailed, message }));
                    }
                    let after = Record::User(Box::new(record));
                    let draft = Draft { before: None, after, restored: false, matched: None };
                    write_alone(conn, draft, clock, options).await
                })
            })
            .await??;
        Ok(oid)
    }

    /// Deletes a user of the cloud, softly as every delete.
    pub async fn delete_cloud_user(&self, asked: &str) -> Result<UserId, CloudError> {
        self.change_cloud_user(asked, |user, now| {
            user.deleted_at = Some(now);
            user.security_stamp = Uuid::new_v4().to_string();
        })
        .await
    }

    /// Makes a user of the cloud privileged, or takes that away.
    pub async fn set_privileged(&self, asked: &str, privileged: bool) -> Result<UserId, CloudError> {
        self.change_cloud_user(asked, move |user, _| user.privileged = privileged).await
    }

    async fn change_cloud_user(
        &self,
        asked: &str,
        change: impl FnOnce(&mut UserRecord, Timestamp) + Send,
    ) -> Result<UserId, CloudError> {
        let found = self.find_user(asked).await?.filter(|found| found.user.deleted_at.is_none());
        let before = found.ok_or_else(|| CloudError::Unknown(asked.to_owned()))?.user;
        if !before.cloud_mastered {
            let connector = before.anchor_connector.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(CloudError::MasteredOnPremises(before.upn.to_string(), connector));
        }
        let (now, options, oid) = (self.clock.now(), self.options, before.oid);
        let mut after = before.clone();
        change(&mut after, now);
        let draft = Draft {
            before: Some(Record::User(Box::new(before))),
            after: Record::User(Box::new(after)),
            restored: false,
            matched: None,
        };
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { write_alone(conn, draft, now, options).await }))
            .await??;
        Ok(oid)
    }

    /// How many objects the directory holds, and how many it may.
    pub async fn object_usage(&self) -> Result<(i64, i64), StoreError> {
        let rows = self.db.fetch("counting objects", vec![super::load::objects_statement()]).await?;
        let held = rows.first().ok_or(StoreError::NotInitialised)?.get("value");
        Ok((held, self.options.object_quota))
    }
}
