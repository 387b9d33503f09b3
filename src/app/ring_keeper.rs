//! Rolls the key ring: a new primary key, and everything sealed anew under it. Credentials follow in the background,
//! with the wrapping of the password channel.
//!
//! With several nodes a roll has three steps. The new key is handed to all nodes, sealed under the present one; none seals with
//! it yet. Once every node has written it into its file, all of them seal with it; until a node has noticed, it seals with the
//! former key, which everybody opens. A former key is retired when every node seals with another and nothing names it.
//!
//! INVARIANT: nothing is sealed under a key that some node of the store lacks, and no key is forgotten that something is
//! sealed with.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::installation::{CANARY, Installation, installation_data};
use super::ring_exchange::{follow, handed_over};
use super::sealing::issuer_data;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::credential::{AssociatedData, KeyName, Sealed};
use crate::identity::{NodeId, causes};
use crate::issuer::key_set::sealing_purpose;
use crate::issuer::provider::PAIRWISE_PURPOSE;
use crate::store::StoreError;
use crate::store::issuer::PAIRWISE_SUBJECTS;
use crate::store::ring_keys::{KeyStage, RingKeys, RingNode, on_their_way};
use crate::store::sealed_values::{Place, SealedValues};
use crate::web::admin::ring_desk::{HandOver, NextKey, OlderKey, RingKeeping, RingRefusal, RingStatus};

/// Between two looks at what other nodes have handed over.
const INTERVAL: Duration = Duration::from_secs(3);
/// How long a roll waits for the other nodes; whoever is slower takes the key later, and the roll is asked for again.
const PATIENCE: Duration = Duration::from_secs(15);
/// What was sealed with a former key just before a node changed over is written by then: a write that hangs is ended by the
/// database after 8 seconds.
const WRITTEN_AFTER_MS: i64 = 15_000;

/// The installation's ring with its file.
pub struct RingKeeper {
    pub installation: Installation,
    pub file: PathBuf,
    pub node: NodeId,
    pub values: SealedValues,
    pub keys: RingKeys,
    /// Rolls take turns: each writes the whole file.
    turn: tokio::sync::Mutex<()>,
}

impl RingKeeper {
    pub fn new(installation: Installation, file: PathBuf, node: NodeId, values: SealedValues, keys: RingKeys) -> Self {
        Self { installation, file, node, values, keys, turn: tokio::sync::Mutex::default() }
    }

    /// Seals anew what a roll that was cut short left under an older key.
    pub async fn finish_interrupted_roll(&self) -> Result<(), RingRefusal> {
        let _turn = self.turn.lock().await;
        self.follow().await?;
        self.reseal(Actor::System("key-ring".to_owned())).await
    }

    /// Follows what other nodes do, until stopped.
    pub async fn run(self: std::sync::Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let _turn = self.turn.lock().await;
            if let Err(error) = self.follow().await {
                tracing::warn!(error = causes(&error), "the key ring could not be brought to what other nodes have");
            }
        }
    }

    /// Takes over what other nodes handed out, and says what this one has.
    async fn follow(&self) -> Result<(), RingRefusal> {
        let Installation { ring, tenant, gateway, .. } = &self.installation;
        let keys = on_their_way(gateway).await.map_err(store)?;
        if follow(ring, &self.file, tenant, &keys).map_err(failed)? {
            tracing::info!(primary = %ring.primary(), file = %self.file.display(), "the key ring follows another node's");
        }
        let (primary, mut opens) = (ring.primary(), ring.older());
        opens.push(primary.clone());
        self.keys.announce(self.node.clone(), primary, opens).await.map_err(store)
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
            let opened = ring.open(&sealed, &bound_to).map_err(failed)?;
            let anew = ring.seal(opened.expose(), &bound_to).map_err(failed)?;
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

    /// The key that is on its way to all nodes; a new one if there is none.
    async fn next_key(&self, hand: HandOver, by: &str) -> Result<KeyName, RingRefusal> {
        let Installation { ring, tenant, gateway, .. } = &self.installation;
        let keys = on_their_way(gateway).await.map_err(store)?;
        if let Some(row) = keys.into_iter().find(|row| row.stage == KeyStage::Next) {
            return Ok(row.name);
        }
        let key = ring.add_next(&self.file, &mut rand::rng()).map_err(failed)?;
        let sealed = match hand {
            HandOver::ToEveryNode => ring.handed_over(&key, &handed_over(tenant, &key)).transpose().map_err(failed)?,
            HandOver::ToNobody => None,
        };
        let event = event("key-offered", by).about(&key);
        match self.keys.offer(key.clone(), sealed, event).await.map_err(store)? {
            None => Ok(key),
            // Another node was first; nothing was ever sealed with ours.
            Some(theirs) => {
                ring.forget(&self.file, &key).map_err(failed)?;
                Ok(theirs)
            }
        }
    }

    /// The other nodes of the store that `has` does not hold for; those that said nothing of their rings among them.
    async fn others_without(&self, has: impl Fn(&RingNode) -> bool) -> Result<Vec<String>, RingRefusal> {
        let others = self.values.other_nodes(&self.node).await.map_err(store)?;
        let known = self.keys.nodes().await.map_err(store)?;
        let lacks = |other: &String| !known.iter().any(|node| node.node.as_str() == other && has(node));
        Ok(others.into_iter().filter(lacks).collect())
    }

    async fn lacking(&self, key: &KeyName) -> Result<Vec<String>, RingRefusal> {
        self.others_without(|node| node.opens.contains(key)).await
    }
}

#[async_trait]
impl RingKeeping for RingKeeper {
    async fn roll(&self, hand: HandOver, by: &str) -> Result<RingStatus, RingRefusal> {
        let turn = self.turn.lock().await;
        if hand == HandOver::ToNobody {
            let others = self.values.other_nodes(&self.node).await.map_err(store)?;
            if !others.is_empty() {
                return Err(RingRefusal::NotAlone(others));
            }
        }
        let key = self.next_key(hand, by).await?;
        // One that another node made.
        self.follow().await?;
        let asked = tokio::time::Instant::now();
        while !self.lacking(&key).await?.is_empty() {
            if asked.elapsed() >= PATIENCE {
                drop(turn);
                return self.status().await;
            }
            tokio::time::sleep(INTERVAL / 6).await;
        }
        self.keys.activate(key.clone(), event("key-activated", by).about(&key)).await.map_err(store)?;
        self.follow().await?;
        tracing::info!(%key, file = %self.file.display(), "the key ring has a new primary key");
        self.reseal(Actor::Admin(by.to_owned())).await?;
        drop(turn);
        self.status().await
    }

    async fn retire(&self, key: &str, by: &str) -> Result<RingStatus, RingRefusal> {
        let turn = self.turn.lock().await;
        let ring = &self.installation.ring;
        let unknown = || RingRefusal::Unknown(key.to_owned());
        let name: KeyName = key.parse().map_err(|_| unknown())?;
        let stage = on_their_way(&self.installation.gateway).await.map_err(store)?;
        let stage = stage.into_iter().find(|row| row.name == name).map(|row| row.stage);
        if ring.primary() == name || stage == Some(KeyStage::Next) {
            return Err(RingRefusal::InUse(key.to_owned()));
        }
        if !ring.has(&name) {
            return Err(unknown());
        }
        self.follow().await?;
        let changed_over = |node: &RingNode| node.primary != name && node.primary_for >= WRITTEN_AFTER_MS;
        let mut behind = self.others_without(changed_over).await?;
        let own = self.keys.nodes().await.map_err(store)?;
        behind.extend(
            own.iter().filter(|node| node.node == self.node && !changed_over(node)).map(|n| n.node.to_string()),
        );
        if !behind.is_empty() {
            return Err(RingRefusal::NodesBehind(behind));
        }
        let rows = self.values.rows_under(&name).await.map_err(store)?;
        if rows > 0 {
            return Err(RingRefusal::StillNamed { key: key.to_owned(), rows });
        }
        self.keys.retire(name.clone(), event("key-retired", by).about(&name)).await.map_err(store)?;
        self.follow().await?;
        drop(turn);
        self.status().await
    }

    async fn status(&self) -> Result<RingStatus, RingRefusal> {
        let ring = &self.installation.ring;
        let keys = on_their_way(&self.installation.gateway).await.map_err(store)?;
        let next = keys.into_iter().find(|row| row.stage == KeyStage::Next).map(|row| row.name);
        let mut older = Vec::new();
        for key in ring.older().into_iter().filter(|key| Some(key) != next.as_ref()) {
            let rows = self.values.rows_under(&key).await.map_err(store)?;
            older.push(OlderKey { key: key.to_string(), rows });
        }
        let next = match next {
            Some(key) => Some(NextKey { lacking: self.lacking(&key).await?, key: key.to_string() }),
            None => None,
        };
        Ok(RingStatus { primary: ring.primary().to_string(), next, older })
    }
}

fn event(what: &'static str, by: &str) -> Event {
    Event::new(EventKind::KeyRingRolled, Outcome::Success, Actor::Admin(by.to_owned())).because(what)
}

fn store(error: StoreError) -> RingRefusal {
    failed(error)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> RingRefusal {
    RingRefusal::Failed(Box::new(error))
}
