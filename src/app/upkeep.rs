//! What the gateway itself keeps up under the engine lease, whoever holds it: under whose epoch, and how far the change feed
//! has been read.

use std::sync::Arc;

use async_trait::async_trait;

use crate::agents::broker::registry::AgentRegistry;
use crate::connectors::tenant::feed_number;
use crate::identity::{ConnectorName, LeaseEpoch, causes};
use crate::password_sync::EngineEpoch;
use crate::store::{Database, lease};
use crate::sync::store::Spaces;

/// A sync server holds the lease. Wrapping and purging go on under its epoch, and begin again when that changes: each of
/// their transactions is right by itself, so that they need no lease of their own.
pub struct PresentEpoch(pub Database);

#[async_trait]
impl EngineEpoch for PresentEpoch {
    async fn current(&self) -> Option<LeaseEpoch> {
        match lease::present_epoch(&self.0).await {
            Ok(epoch) => Some(epoch),
            Err(error) => {
                tracing::warn!(error = causes(&error), "the engine lease could not be read");
                None
            }
        }
    }
}

/// How far everybody who follows the change feed has read it.
#[async_trait]
pub trait FeedReaders: Send + Sync {
    /// `None`: nobody has yet, or somebody has not.
    async fn read_up_to(&self) -> Result<Option<i64>, Box<dyn std::error::Error + Send + Sync>>;
}

/// The engine of the gateway itself.
pub struct OwnEngine {
    /// Where the engine keeps how far it has read.
    pub spaces: Arc<dyn Spaces>,
    pub tenant_connector: ConnectorName,
}

#[async_trait]
impl FeedReaders for OwnEngine {
    async fn read_up_to(&self) -> Result<Option<i64>, Box<dyn std::error::Error + Send + Sync>> {
        let watermark = self.spaces.watermark(&self.tenant_connector).await?;
        Ok(watermark.as_ref().and_then(feed_number))
    }
}

/// Sync servers, all that are not revoked.
pub struct SyncServers(pub Arc<dyn AgentRegistry>);

#[async_trait]
impl FeedReaders for SyncServers {
    async fn read_up_to(&self) -> Result<Option<i64>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.feed_read().await?)
    }
}
