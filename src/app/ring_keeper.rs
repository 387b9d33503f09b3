//! Rolls the key ring: a new primary key, and everything sealed anew under it. Credentials follow in the background,
//! with the wrapping of the password channel.

use std::path::PathBuf;

use async_trait::async_trait;

use super::installation::{CANARY, Installation, installation_data};
use super::sealing::issuer_data;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::credential::{AssociatedData, Sealed};
use crate::identity::NodeId;
use crate::issuer::key_set::sealing_purpose;
use crate::issuer::provider::PAIRWISE_PURPOSE;
use crate::store::StoreError;
use crate::store::issuer::PAIRWISE_SUBJECTS;
use crate::store::sealed_values::{Place, SealedValues};
use crate::web::admin::ring_desk::{OlderKey, RingKeeping, RingRefusal, RingStatus};

/// The installation's ring with its file.
pub struct RingKeeper {
    pub installation: Installation,
    pub file: PathBuf,
    pub node: NodeId,
    pub values: SealedValues,
    /// Rolls take turns: each writes the whole file.
    turn: tokio::sync::Mutex<()>,
}

impl RingKeeper {
    pub fn new(installation: Installation, file: PathBuf, node: NodeId, values: SealedValues) -> Self {
        Self { installation, file, node, values, turn: tokio::sync::Mutex::default() }
    }

    /// Seals anew what a roll that was cut short left under an older key.
    pub async fn finish_interrupted_roll(&self) -> Result<(), RingRefusal> {
        let _turn = self.turn.lock().await;
        self.reseal(Actor::System("key-ring".to_owned())).await
    }

    async fn reseal(&self, by: Actor) -> Result<(), RingRefusal> {
        let ring = &self.installation.ring;
        let primary = ring.primary();
        let mut changes = Vec::new();
        for placed in self.values.all().await.map_err(store)? {
            let Ok(sealed) = placed.sealed.parse::<Sealed>() else { continue };
            if *sealed.key() == primary || !ring.older().contains(sealed.key()) {
                continue;
            }
            let bound_to = self.bound_to(&placed.place);
            let opened = ring.open(&sealed, &bound_to).map_err(|source| RingRefusal::Failed(Box::new(source)))?;
            let anew = ring.seal(opened.expose(), &bound_to).map_err(|source| RingRefusal::Failed(Box::new(source)))?;
            changes.push((placed, anew.to_string()));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let event =
            Event::new(EventKind::KeyRingRolled, Outcome::Success, by).about(&primary).with("values", changes.len());
        self.values.replace(changes, event).await.map_err(store)
    }

    /// What the seal of a value is bound to, as whoever sealed it said.
    fn bound_to(&self, place: &Place) -> AssociatedData {
        let tenant = &self.installation.tenant;
        match place {
            Place::SigningKey(kid) => issuer_data(tenant, &sealing_purpose(kid)),
            Place::Value(name) if name == PAIRWISE_SUBJECTS => issuer_data(tenant, PAIRWISE_PURPOSE),
            Place::Value(name) if name == CANARY => AssociatedData::canary(),
            Place::Value(name) => installation_data(tenant, name),
        }
    }
}

#[async_trait]
impl RingKeeping for RingKeeper {
    async fn roll(&self, by: &str) -> Result<RingStatus, RingRefusal> {
        let turn = self.turn.lock().await;
        // Another node would not open what is sealed under a key that its own file lacks.
        let others = self.values.other_nodes(&self.node).await.map_err(store)?;
        if !others.is_empty() {
            return Err(RingRefusal::OtherNodes(others));
        }
        let key = self
            .installation
            .ring
            .roll(&self.file, &mut rand::rng())
            .map_err(|source| RingRefusal::Failed(Box::new(source)))?;
        tracing::info!(%key, file = %self.file.display(), "the key ring has a new primary key");
        self.reseal(Actor::Admin(by.to_owned())).await?;
        drop(turn);
        self.status().await
    }

    async fn status(&self) -> Result<RingStatus, RingRefusal> {
        let ring = &self.installation.ring;
        let mut older = Vec::new();
        for key in ring.older() {
            let rows = self.values.rows_under(&key).await.map_err(store)?;
            older.push(OlderKey { key: key.to_string(), rows });
        }
        Ok(RingStatus { primary: ring.primary().to_string(), older })
    }
}

fn store(error: StoreError) -> RingRefusal {
    RingRefusal::Failed(Box::new(error))
}
