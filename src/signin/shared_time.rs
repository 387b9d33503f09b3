//! The time that all nodes agree on: what one node writes down and another one compares is told by it, whatever their own
//! clocks say.

use async_trait::async_trait;

use super::store::StoreDown;
use crate::identity::Timestamp;

#[async_trait]
pub trait SharedTime: Send + Sync {
    async fn now(&self) -> Result<Timestamp, StoreDown>;
}
