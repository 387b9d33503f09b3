//! Partners roll their keys. Who has said where a partner publishes its metadata need not be awake then: the gateway looks
//! there each hour. What has changed is taken over only when it is signed by the pinned certificate or, where none is
//! pinned, by one that may sign the partner's assertions at present; whoever holds that key could sign those as well.
//! Everything else is told, and waits for an operator.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::partner::{Partner, PartnerError};
use super::partner_store::{PartnerStore, PartnerStoreError};
use super::published::fetch;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Clock, EntityId, Timestamp, causes};
use crate::password_sync::EngineEpoch;
use crate::saml::SigningCertificate;
use crate::saml::engine::XmlSignatureEngine;
use crate::saml::metadata::{IdentityProviderMetadata, MetadataError};
use crate::signin::store::{Alert, Alerts, StoreDown};

/// The partner publishes something new that nothing proves to be its own.
pub const METADATA_CHANGED: &str = "partner-metadata-changed";
/// The partner's metadata could not be read several times in a row.
pub const METADATA_UNREADABLE: &str = "partner-metadata-unreadable";

const LOOK: Duration = Duration::from_secs(3600);
/// Looks in a row that fail before anybody is told.
const PATIENCE: u32 = 3;

/// What published metadata means for the partner that is known.
#[derive(Debug)]
pub enum Finding {
    /// Nothing new.
    Same,
    /// The partner has changed, and has signed it.
    Proved {
        renewed: Box<Partner>,
        changes: Vec<String>,
    },
    /// Something has changed, and nobody known has signed it.
    Unproven {
        changes: Vec<String>,
        why: MetadataError,
    },
    Unusable(Unusable),
}

/// Why metadata cannot be used, whoever signed it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Metadata(MetadataError),
    #[error("the metadata is that of `{0}`")]
    Foreign(EntityId),
    #[error(transparent)]
    Partner(PartnerError),
}

/// Compares a fetched document with the partner.
pub fn judge(partner: &Partner, document: &str, engine: &dyn XmlSignatureEngine, now: Timestamp) -> Finding {
    let own = |metadata: IdentityProviderMetadata| match metadata.entity_id == *partner.entity_id() {
        true => Ok(metadata),
        false => Err(Finding::Unusable(Unusable::Foreign(metadata.entity_id))),
    };
    let unusable = |error| Finding::Unusable(Unusable::Metadata(error));
    let told = match IdentityProviderMetadata::parse(document).map_err(unusable).and_then(own) {
        Ok(told) => told,
        Err(finding) => return finding,
    };
    let changes = changes(partner, &told);
    if changes.is_empty() {
        return Finding::Same;
    }
    let pinned = partner.source().and_then(|source| source.signer.as_ref()).map(std::slice::from_ref);
    let trusted = pinned.unwrap_or(partner.certificates());
    let proved = match IdentityProviderMetadata::parse_signed(document, engine, trusted, now) {
        Ok(proved) => own(proved),
        Err(why @ MetadataError::Unproven(_)) => return Finding::Unproven { changes, why },
        Err(error) => return unusable(error),
    };
    let proved = match proved {
        Ok(proved) => proved,
        Err(finding) => return finding,
    };
    let changes = self::changes(partner, &proved);
    match partner.renewed(proved, now) {
        Ok(renewed) => Finding::Proved { renewed: Box::new(renewed), changes },
        Err(error) => Finding::Unusable(Unusable::Partner(error)),
    }
}

/// What is new in metadata, in words.
fn changes(partner: &Partner, told: &IdentityProviderMetadata) -> Vec<String> {
    let word = |sign: &str, certificate: &SigningCertificate| {
        format!("{sign} certificate sha256 {} until {}", certificate.fingerprint(), certificate.not_after())
    };
    let new = told.certificates.iter().filter(|one| !partner.certificates().contains(one)).map(|one| word("+", one));
    let gone = partner.certificates().iter().filter(|one| !told.certificates.contains(one)).map(|one| word("-", one));
    let moved = (told.endpoint != *partner.endpoint()).then(|| format!("sign-in at {}", told.endpoint.location));
    new.chain(gone).chain(moved).collect()
}

/// How one look ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Looked {
    Same,
    Renewed {
        changes: Vec<String>,
    },
    Unproven {
        changes: Vec<String>,
        why: String,
    },
    Failed {
        why: String,
    },
    /// An operator changed the partner meanwhile.
    Outdated,
}

/// Why a look could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Partners(#[from] PartnerStoreError),
    #[error(transparent)]
    Alerts(#[from] StoreDown),
}

/// Looks at what partners publish, on the node that holds the engine lease.
pub struct PartnerRenewal {
    partners: Arc<dyn PartnerStore>,
    engine: Arc<dyn XmlSignatureEngine>,
    alerts: Arc<dyn Alerts>,
    clock: Arc<dyn Clock>,
    /// Looks in a row that have failed.
    failures: Mutex<HashMap<EntityId, u32>>,
}

impl PartnerRenewal {
    pub fn new(
        partners: Arc<dyn PartnerStore>,
        engine: Arc<dyn XmlSignatureEngine>,
        alerts: Arc<dyn Alerts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { partners, engine, alerts, clock, failures: Mutex::default() }
    }

    pub async fn run(self: Arc<Self>, epoch: Arc<dyn EngineEpoch>, stop: CancellationToken) {
        // A node that has just started may not hold the lease yet.
        let mut wait = Duration::from_secs(30);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if epoch.current().await.is_none() {
                wait = Duration::from_secs(60);
                continue;
            }
            wait = LOOK;
            if let Err(error) = self.look_at_all().await {
                tracing::warn!(error = causes(&error), "what partners publish could not be looked at");
            }
        }
    }

    /// Looks once at every partner that publishes its metadata.
    pub async fn look_at_all(&self) -> Result<(), LookError> {
        let mut partners = self.partners.partners().await?;
        partners.retain(|partner| partner.source().is_some());
        for partner in &partners {
            let entity_id = partner.entity_id();
            let looked = self.look(partner, Actor::System("partner-renewal".to_owned())).await?;
            let count = self.count(entity_id, matches!(looked, Looked::Failed { .. }));
            let Looked::Failed { why } = looked else { continue };
            tracing::warn!(partner = %entity_id, why, "a partner's metadata could not be read");
            if count >= PATIENCE {
                let remedy = "should the partner roll its key meanwhile, nobody of its domains signs in";
                self.raise(METADATA_UNREADABLE, entity_id, format!("{why}; {remedy}")).await?;
            }
        }
        for raised in self.alerts.raised().await? {
            let Some(name) = [METADATA_CHANGED, METADATA_UNREADABLE].into_iter().find(|name| *name == raised.name)
            else {
                continue;
            };
            if !partners.iter().any(|partner| partner.entity_id().as_str() == raised.subject) {
                self.clear(name, raised.subject).await?;
            }
        }
        Ok(())
    }

    /// How many looks at a partner have failed in a row, with this one.
    fn count(&self, partner: &EntityId, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(partner);
            return 0;
        }
        let count = failures.entry(partner.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Looks at one partner that publishes its metadata, and takes over what it has proved.
    pub async fn look(&self, partner: &Partner, actor: Actor) -> Result<Looked, LookError> {
        let Some(source) = partner.source() else {
            return Ok(Looked::Failed { why: "it is not known where the partner publishes its metadata".to_owned() });
        };
        let now = self.clock.now();
        let document = match fetch(source).await {
            Ok(document) => document,
            Err(error) => return Ok(Looked::Failed { why: causes(&error) }),
        };
        let finding = {
            let (known, engine) = (partner.clone(), self.engine.clone());
            tokio::task::spawn_blocking(move || judge(&known, &document, &*engine, now)).await
        };
        let finding = match finding {
            Ok(finding) => finding,
            Err(error) => return Ok(Looked::Failed { why: causes(&error) }),
        };
        let looked = match finding {
            Finding::Same => Looked::Same,
            Finding::Proved { renewed, changes } => {
                let event = Event::new(EventKind::PartnerRenewed, Outcome::Success, actor)
                    .about(partner.entity_id())
                    .with("changes", changes.join(", "));
                if !self.partners.renew(partner, &renewed, now, event).await? {
                    return Ok(Looked::Outdated);
                }
                tracing::info!(partner = %partner.entity_id(), changes = changes.join(", "), "a partner's metadata is renewed");
                Looked::Renewed { changes }
            }
            Finding::Unusable(why) => return Ok(Looked::Failed { why: causes(&why) }),
            Finding::Unproven { changes, why } => {
                let detail = format!(
                    "{} ({}): compare with the partner's administrator, then take it with `landbridge partner add`",
                    changes.join(", "),
                    causes(&why)
                );
                self.raise(METADATA_CHANGED, partner.entity_id(), detail).await?;
                self.clear(METADATA_UNREADABLE, partner.entity_id().to_string()).await?;
                return Ok(Looked::Unproven { changes, why: causes(&why) });
            }
        };
        for name in [METADATA_CHANGED, METADATA_UNREADABLE] {
            self.clear(name, partner.entity_id().to_string()).await?;
        }
        Ok(looked)
    }

    async fn raise(&self, name: &'static str, partner: &EntityId, detail: String) -> Result<(), LookError> {
        let alert = Alert { name, subject: partner.to_string(), detail, at: self.clock.now() };
        self.alerts.raise(alert, vec![event(EventKind::AlertRaised, name, partner.as_str())]).await?;
        Ok(())
    }

    async fn clear(&self, name: &'static str, subject: String) -> Result<(), LookError> {
        let events = vec![event(EventKind::AlertCleared, name, &subject)];
        self.alerts.clear(name, subject, self.clock.now(), events).await?;
        Ok(())
    }
}

fn event(kind: EventKind, name: &str, partner: &str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("partner-renewal".to_owned())).about(partner).because(name)
}
