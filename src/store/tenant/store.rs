//! The value that a tenant's directory hangs from (design D20).

use std::sync::Arc;

use super::super::database::Database;
use crate::identity::{Clock, Timestamp};

/// The tenant directory of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantStore {
    pub(super) db: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: TenantOptions,
}

/// Settings of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantOptions {
    /// Users may sign in by their mail address too. A change takes effect per user with the user's next change.
    pub alternate_login_id: bool,
}

impl TenantStore {
    pub fn new(db: Database, clock: Arc<dyn Clock>, options: TenantOptions) -> Self {
        Self { db, clock, options }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
