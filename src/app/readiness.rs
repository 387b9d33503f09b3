//! What `/readyz` looks at.

use std::time::Duration;

use async_trait::async_trait;

use tokio_util::sync::CancellationToken;

use crate::store::Database;
use crate::store::values::StoreValues;
use crate::web::{Check, Readiness};

/// Longest time for a check.
const DEADLINE: Duration = Duration::from_secs(2);

/// Ready when the store answers and no stop was asked for. Directories are not looked at: hash sync and failover serve without them.
pub struct StoreReadiness {
    values: StoreValues,
    stop: CancellationToken,
}

impl StoreReadiness {
    /// `stop` ends the public listener; balancers are to learn of it from here first.
    pub fn new(gateway: Database, stop: CancellationToken) -> Self {
        Self { values: StoreValues::new(gateway), stop }
    }
}

#[async_trait]
impl Readiness for StoreReadiness {
    async fn check(&self) -> Vec<Check> {
        let answered = tokio::time::timeout(DEADLINE, self.values.read("canary")).await;
        vec![
            Check { name: "store", ok: matches!(answered, Ok(Ok(Some(_)))) },
            Check { name: "stays", ok: !self.stop.is_cancelled() },
        ]
    }
}
