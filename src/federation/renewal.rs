//! Partners roll their keys. Who has said where a partner publishes its metadata need not be awake then: the gateway looks
//! there each hour. What has changed is taken over only when it is signed by the pinned certificate or, where none is
//! pinned, by one that may sign the partner's assertions at present. Even then no certificate comes back that was given up,
//! and nobody is sent to another host: old documents keep their signatures. Everything else is told, and waits for an
//! operator.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::partner::{Partner, PartnerError};
use super::partner_store::{PartnerStore, PartnerStoreError};
use super::published::fetch;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Clock, EntityId, Timestamp, causes};
use crate::saml::SigningCertificate;
use crate::saml::engine::XmlSignatureEngine;
use crate::saml::metadata::{IdentityProviderMetadata, MetadataError};
use crate::signin::store::{Alert, Alerts, RaisedAlert, StoreDown};

/// The partner publishes something new that nothing proves to be its own.
pub const METADATA_CHANGED: &str = "partner-metadata-changed";
/// The partner's metadata could not be read several times in a row.
pub const METADATA_UNREADABLE: &str = "partner-metadata-unreadable";
/// What the partner had signed was taken over. Over with the next look that finds nothing new.
pub const METADATA_RENEWED: &str = "partner-metadata-renewed";
const ALERTS: [&str; 3] = [METADATA_CHANGED, METADATA_UNREADABLE, METADATA_RENEWED];

const BETWEEN_LOOKS: Duration = Duration::from_secs(3600);
/// Between two questions whether a look is due.
const PAUSE: Duration = Duration::from_secs(60);
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
    /// Something has changed that an operator has to look at.
    Doubtful {
        changes: Vec<String>,
        why: Doubt,
    },
    Unusable(Unusable),
}

/// Why a change is not taken over by itself.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    #[error("nobody known has signed it")]
    Unproven(#[source] MetadataError),
    /// Whoever holds an old document could send everybody to a host that is no longer the partner's.
    #[error("the sign-in address moves to another host")]
    Moved,
    /// Whoever holds an old document could bring back a key that was stolen since.
    #[error("it brings back the certificate sha256 {0}, which was given up")]
    GivenUp(String),
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
    let told = match IdentityProviderMetadata::parse_published(document, now).map_err(unusable).and_then(own) {
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
        Err(why @ MetadataError::Unproven(_)) => return Finding::Doubtful { changes, why: Doubt::Unproven(why) },
        Err(error) => return unusable(error),
    };
    let proved = match proved {
        Ok(proved) => proved,
        Err(finding) => return finding,
    };
    let changes = self::changes(partner, &proved);
    if proved.endpoint.location.origin() != partner.endpoint().location.origin() {
        return Finding::Doubtful { changes, why: Doubt::Moved };
    }
    if let Some(back) = proved.certificates.iter().find(|certificate| partner.has_given_up(certificate)) {
        return Finding::Doubtful { changes, why: Doubt::GivenUp(back.fingerprint()) };
    }
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
    Doubtful {
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

/// Looks at what partners publish: each once an hour, whichever node comes first.
pub struct PartnerRenewal {
    pub partners: Arc<dyn PartnerStore>,
    pub engine: Arc<dyn XmlSignatureEngine>,
    pub alerts: Arc<dyn Alerts>,
    pub clock: Arc<dyn Clock>,
}

impl PartnerRenewal {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look_at_due() => if let Err(error) = looked {
                    tracing::warn!(error = causes(&error), "what partners publish could not be looked at");
                }
            }
        }
    }

    /// Looks at every partner whose look is due.
    pub async fn look_at_due(&self) -> Result<(), LookError> {
        let mut partners = self.partners.partners().await?;
        partners.retain(|partner| partner.source().is_some());
        for partner in &partners {
            let (entity_id, now) = (partner.entity_id(), self.clock.now());
            if !self.partners.claim_look(entity_id, now - BETWEEN_LOOKS, now).await? {
                continue;
            }
            let looked = self.look(partner, Actor::System("partner-renewal".to_owned())).await?;
            let failures = self.partners.count_look(entity_id, matches!(looked, Looked::Failed { .. })).await?;
            let Looked::Failed { why } = looked else { continue };
            tracing::warn!(partner = %entity_id, why, "a partner's metadata could not be read");
            if failures >= PATIENCE {
                let remedy = "should the partner roll its key meanwhile, nobody of its domains signs in";
                self.raise(METADATA_UNREADABLE, entity_id, format!("{why}; {remedy}")).await?;
            }
        }
        for raised in self.alerts.raised().await? {
            let is_one = |partner: &Partner| partner.entity_id().as_str() == raised.subject;
            let Some(name) = ALERTS.into_iter().find(|name| *name == raised.name) else { continue };
            if !partners.iter().any(is_one) {
                self.clear(name, raised.subject).await?;
            }
        }
        Ok(())
    }

    /// Looks at one partner that publishes its metadata, and takes over what it has proved.
    pub async fn look(&self, partner: &Partner, actor: Actor) -> Result<Looked, LookError> {
        let Some(source) = partner.source() else {
            return Ok(Looked::Failed { why: "it is not known where the partner publishes its metadata".to_owned() });
        };
        let (entity_id, now) = (partner.entity_id(), self.clock.now());
        let document = match fetch(source).await {
            Ok(document) => document,
            Err(error) => return Ok(Looked::Failed { why: causes(&error) }),
        };
        let finding = {
            let (known, engine) = (partner.clone(), self.engine.clone());
            tokio::task::spawn_blocking(move || judge(&known, &document, &*engine, now)).await
        };
        match finding {
            Err(error) => Ok(Looked::Failed { why: causes(&error) }),
            Ok(Finding::Unusable(why)) => Ok(Looked::Failed { why: causes(&why) }),
            Ok(Finding::Same) => {
                self.settle(entity_id).await?;
                Ok(Looked::Same)
            }
            Ok(Finding::Doubtful { changes, why }) => {
                let why = causes(&why);
                let remedy = "compare with the partner's administrator, then take it with landbridge partner add";
                let detail = format!("{} ({why}): {remedy}", changes.join(", "));
                self.clear(METADATA_UNREADABLE, entity_id.to_string()).await?;
                self.raise(METADATA_CHANGED, entity_id, detail).await?;
                Ok(Looked::Doubtful { changes, why })
            }
            Ok(Finding::Proved { renewed, changes }) => {
                let told = changes.join(", ");
                let event = Event::new(EventKind::PartnerRenewed, Outcome::Success, actor).about(entity_id);
                if !self.partners.renew(partner, &renewed, now, event.with("changes", told.as_str())).await? {
                    return Ok(Looked::Outdated);
                }
                tracing::info!(partner = %entity_id, changes = told, "a partner's metadata is renewed");
                self.settle(entity_id).await?;
                self.raise(METADATA_RENEWED, entity_id, told).await?;
                Ok(Looked::Renewed { changes })
            }
        }
    }

    /// Nothing is new, or an operator has taken it.
    pub async fn settle(&self, partner: &EntityId) -> Result<(), LookError> {
        for name in ALERTS {
            self.clear(name, partner.to_string()).await?;
        }
        Ok(())
    }

    /// What an alert tells never changes behind an operator's back: something else is another alert.
    async fn raise(&self, name: &'static str, partner: &EntityId, detail: String) -> Result<(), LookError> {
        let other =
            |raised: &RaisedAlert| raised.name == name && raised.subject == partner.as_str() && raised.detail != detail;
        if name != METADATA_UNREADABLE && self.alerts.raised().await?.iter().any(other) {
            self.clear(name, partner.to_string()).await?;
        }
        let event = event(EventKind::AlertRaised, name, partner.as_str()).with("detail", detail.as_str());
        let alert = Alert { name, subject: partner.to_string(), detail, at: self.clock.now() };
        self.alerts.raise(alert, vec![event]).await?;
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
