//! The value that a tenant's directory hangs from (design D20).

use std::sync::Arc;

use super::super::audit::AuditLog;
use super::super::database::Database;
use crate::identity::{Clock, Timestamp};
use crate::tenant::soft_match::MatchPolicy;

/// The tenant directory of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantStore {
    pub(super) db: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: TenantOptions,
    pub(super) audit: Option<AuditLog>,
}

/// Settings of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantOptions {
    /// Users may sign in by their mail address too. A change takes effect per user with the user's next change.
    pub alternate_login_id: bool,
    /// Which objects of the cloud directories may take over.
    pub matching: MatchPolicy,
    /// Undeleted objects at most.
    pub object_quota: i64,
}

impl Default for TenantOptions {
    fn default() -> Self {
        Self { alternate_login_id: false, matching: MatchPolicy::default(), object_quota: 500_000 }
    }
}

impl TenantStore {
    pub fn new(db: Database, clock: Arc<dyn Clock>, options: TenantOptions) -> Self {
        Self { db, clock, options, audit: None }
    }

    /// Where it is written down that a directory took an object of the cloud over.
    pub fn audited(self, audit: AuditLog) -> Self {
        Self { audit: Some(audit), ..self }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
