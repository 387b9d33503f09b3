//! What `/readyz` looks at.

use std::time::Duration;

use async_trait::async_trait;

use crate::store::Database;
use crate::store::values::StoreValues;
use crate::web::{Check, Readiness};

/// Longest time for a check.
const DEADLINE: Duration = Duration::from_secs(2);

/// Ready when the store answers. Directories are not looked at: hash sync and failover serve without them.
pub struct StoreReadiness {
    values: StoreValues,
}

impl StoreReadiness {
    pub fn new(gateway: Database) -> Self {
        Self { values: StoreValues::new(gateway) }
    }
}

#[async_trait]
impl Readiness for StoreReadiness {
    async fn check(&self) -> Vec<Check> {
        let answered = tokio::time::timeout(DEADLINE, self.values.read("canary")).await;
        vec![Check { name: "store", ok: matches!(answered, Ok(Ok(Some(_)))) }]
    }
}
