//! Where partners are kept.

use std::fmt;

use async_trait::async_trait;

use super::partner::Partner;
use crate::audit::Event;
use crate::identity::{DomainName, EntityId, Timestamp};

/// The partners of the tenant.
#[async_trait]
pub trait PartnerStore: Send + Sync + fmt::Debug {
    /// Adds a partner or replaces the one with its entity id.
    async fn save(&self, partner: &Partner, now: Timestamp) -> Result<(), PartnerStoreError>;

    /// Puts `renewed` in the place of `former` and writes the record, unless the partner is no longer as `former` says; then
    /// false.
    async fn renew(
        &self,
        former: &Partner,
        renewed: &Partner,
        now: Timestamp,
        event: Event,
    ) -> Result<bool, PartnerStoreError>;

    /// Takes the look at what a partner publishes that is due when the last was at `before` or earlier; false when another
    /// node has taken it.
    async fn claim_look(
        &self,
        entity_id: &EntityId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, PartnerStoreError>;

    /// Counts a look that failed, or begins anew after one that did not; how many have failed in a row.
    async fn count_look(&self, entity_id: &EntityId, failed: bool) -> Result<u32, PartnerStoreError>;

    /// The partner with this entity id.
    async fn partner(&self, entity_id: &EntityId) -> Result<Option<Partner>, PartnerStoreError>;

    /// The partner that answers for this domain. Subdomains are domains of their own.
    async fn partner_of(&self, domain: &DomainName) -> Result<Option<Partner>, PartnerStoreError>;

    /// All partners, by entity id.
    async fn partners(&self) -> Result<Vec<Partner>, PartnerStoreError>;

    /// Removes a partner; false if there was none.
    async fn remove(&self, entity_id: &EntityId) -> Result<bool, PartnerStoreError>;
}

/// Why a partner could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PartnerStoreError {
    /// One domain, one issuer.
    #[error("domain `{domain}` is answered for by partner `{by}`")]
    DomainTaken { domain: DomainName, by: EntityId },
    #[error("the store of federation partners cannot be asked")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
