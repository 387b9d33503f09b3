//! How long partners can still sign.

use std::sync::Arc;

use async_trait::async_trait;

use super::partner_store::PartnerStore;
use crate::identity::{DomainName, EntityId, Timestamp};
use crate::signin::readiness::PartnerWatch;
use crate::signin::store::StoreDown;

/// Answers readiness from the partners' stored certificates.
pub struct PartnerCertificates(pub Arc<dyn PartnerStore>);

#[async_trait]
impl PartnerWatch for PartnerCertificates {
    async fn usable_until(&self, partner: &EntityId) -> Result<Option<Timestamp>, StoreDown> {
        let found = self.0.partner(partner).await.map_err(|e| StoreDown(Box::new(e)))?;
        Ok(found.map(|partner| partner.last_certificate_expiry()))
    }

    async fn partner_of(&self, domain: &DomainName) -> Result<Option<EntityId>, StoreDown> {
        let found = self.0.partner_of(domain).await.map_err(|e| StoreDown(Box::new(e)))?;
        Ok(found.map(|partner| partner.entity_id().clone()))
    }
}
