//! Stand-ins for what a store offers, where a test has no use for it.

use async_trait::async_trait;
use landbridge::audit::Event;
use landbridge::identity::Timestamp;
use landbridge::signin::store::{Alert, Alerts, RaisedAlert, StoreDown};

/// Alerts that nobody hears.
pub struct NoAlerts;

#[async_trait]
impl Alerts for NoAlerts {
    async fn raise(&self, _: Alert, _: Vec<Event>) -> Result<bool, StoreDown> {
        Ok(true)
    }

    async fn clear(&self, _: &'static str, _: String, _: Timestamp, _: Vec<Event>) -> Result<bool, StoreDown> {
        Ok(false)
    }

    async fn raised(&self) -> Result<Vec<RaisedAlert>, StoreDown> {
        Ok(Vec::new())
    }
}
