//! Alerts on their way to people: the channels of the settings, and the certificates that are watched.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gateway::StartError;
use crate::alerts::{
    AlertDesk, CertificateWatch, Channel, Delivery, Ending, Endings, MailChannel, Outbox, WebhookChannel,
};
use crate::config::{ChannelSettings, Settings};
use crate::federation::{Partner, PartnerStore};
use crate::identity::{Clock, Timestamp};
use crate::password_sync::EngineEpoch;
use crate::signin::store::Alerts;
use crate::store::Database;
use crate::store::notices::NoticeTables;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What alerts rest on.
pub(super) struct Ground {
    pub db: Database,
    pub alerts: Arc<dyn Alerts>,
    pub partners: Arc<dyn PartnerStore>,
    pub epoch: Arc<dyn EngineEpoch>,
    pub clock: Arc<dyn Clock>,
}

/// Starts delivery and watch; what operators ask.
pub(super) fn start(
    settings: &Settings,
    ground: Ground,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<AlertDesk, StartError> {
    let Ground { db, alerts, partners, epoch, clock } = ground;
    let outbox: Arc<dyn Outbox> = Arc::new(NoticeTables::new(db));
    let channels = channels(settings, &clock)?;
    let delivery = Delivery { outbox: outbox.clone(), channels: channels.clone(), clock: clock.clone() };
    tasks.spawn(delivery.run(stop.clone()));
    let own = OwnCertificate { host: settings.gateway.public_url.clone(), file: settings.gateway.certificate.clone() };
    let sources: Vec<Arc<dyn Endings>> = vec![Arc::new(PartnerEndings(partners)), Arc::new(own)];
    let watch = CertificateWatch { sources, alerts, epoch, clock: clock.clone() };
    tasks.spawn(watch.run(stop.clone()));
    Ok(AlertDesk { outbox, channels, clock })
}

fn channels(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Vec<Arc<dyn Channel>>, StartError> {
    let organisation = || settings.gateway.organisation.clone();
    let channel = |(name, channel): &(_, ChannelSettings)| -> Result<Arc<dyn Channel>, StartError> {
        let part = StartError::part("channels of alerts");
        Ok(match channel {
            ChannelSettings::Webhook(webhook) => {
                Arc::new(WebhookChannel::new(Clone::clone(name), organisation(), webhook, clock.clone()).map_err(part)?)
            }
            ChannelSettings::Mail(mail) => {
                Arc::new(MailChannel::new(Clone::clone(name), organisation(), mail).map_err(part)?)
            }
        })
    };
    settings.alerts.iter().map(channel).collect()
}

/// The last signing certificate of each federation partner.
struct PartnerEndings(Arc<dyn PartnerStore>);

#[async_trait]
impl Endings for PartnerEndings {
    async fn endings(&self) -> Result<Vec<Ending>, Failed> {
        let partners = self.0.partners().await?;
        let ending = |partner: &Partner| Ending {
            subject: partner.entity_id().to_string(),
            not_after: partner.last_certificate_expiry(),
            remedy: "nobody of its domains signs in after that: add its new metadata with `landbridge partner add`"
                .to_owned(),
        };
        let signer = |partner: &Partner| {
            let signer = partner.source()?.signer.as_ref()?;
            Some(Ending {
                subject: format!("{} (metadata)", partner.entity_id()),
                not_after: signer.not_after(),
                remedy: "no rolled key is taken over after that: pin the next one with `partner add --metadata-signer`"
                    .to_owned(),
            })
        };
        Ok(partners.iter().map(ending).chain(partners.iter().filter_map(signer)).collect())
    }
}

/// The certificate of the public address, as it is in its file now.
struct OwnCertificate {
    host: url::Url,
    file: PathBuf,
}

#[async_trait]
impl Endings for OwnCertificate {
    async fn endings(&self) -> Result<Vec<Ending>, Failed> {
        let text = tokio::fs::read(&self.file).await?;
        let leaf = CertificateDer::from_pem_slice(&text)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&leaf)?;
        Ok(vec![Ending {
            subject: self.host.host_str().unwrap_or_default().to_owned(),
            not_after: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
            remedy: format!("replace {} and restart the nodes one after another", self.file.display()),
        }])
    }
}
