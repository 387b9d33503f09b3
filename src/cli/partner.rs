//! `landbridge partner add|list|refresh|metadata`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::federation::partner::{AnchorSource, Claims, MfaBehaviour};
use crate::federation::renewal::Looked;
use crate::identity::{DomainName, EntityId};
use crate::web::admin::partner_add::{self, PartnerAdd, Published};
use crate::web::admin::partner_list::{self, PartnerList};
use crate::web::admin::partner_refresh::{self, PartnerRefresh};

#[derive(Debug, Subcommand)]
pub enum PartnerCommand {
    /// Take a partner's SAML metadata, or replace what an earlier one said.
    Add {
        /// The metadata file (XML).
        #[arg(long)]
        metadata: PathBuf,
        /// A domain that the partner answers for; may be given several times.
        #[arg(long = "domain", required = true)]
        domains: Vec<DomainName>,
        /// The attribute that carries the source anchor; the name identifier when absent. A partner that is known keeps how it
        /// is read when none of these three is given.
        #[arg(long)]
        anchor_attribute: Option<String>,
        /// The attribute that carries the user principal name; the usual ones when absent.
        #[arg(long)]
        upn_attribute: Option<String>,
        /// Believe the partner when it says that a second factor was used.
        #[arg(long)]
        accept_mfa: bool,
        /// Where the partner publishes its metadata: the gateway looks there each hour. As before when absent.
        #[arg(long)]
        metadata_url: Option<String>,
        /// Authorities for that address (PEM); those of the system when absent.
        #[arg(long, requires = "metadata_url")]
        metadata_ca: Option<PathBuf>,
        /// The certificate that signs the published metadata (PEM); one that may sign assertions when absent.
        #[arg(long, requires = "metadata_url")]
        metadata_signer: Option<PathBuf>,
        /// Look no longer at what the partner publishes.
        #[arg(long, conflicts_with = "metadata_url")]
        no_metadata_url: bool,
    },
    /// List the partners.
    List,
    /// Look now at what partners publish, and take over what they have signed.
    Refresh {
        /// One partner, by its entity ID; all that publish their metadata when absent.
        partner: Option<EntityId>,
    },
    /// Print the gateway's own SAML metadata, for the partner's administrator.
    Metadata,
}

pub(super) async fn run(client: &Client, command: &PartnerCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        PartnerCommand::Add {
            metadata,
            domains,
            anchor_attribute,
            upn_attribute,
            accept_mfa,
            metadata_url,
            metadata_ca,
            metadata_signer,
            no_metadata_url,
        } => {
            let xml = text_of("metadata", metadata)?;
            let settled = anchor_attribute.is_some() || upn_attribute.is_some() || *accept_mfa;
            let mut claims = Claims::default();
            if let Some(name) = anchor_attribute {
                claims.anchor = AnchorSource::Attribute(name.clone());
            }
            if let Some(name) = upn_attribute {
                claims.upn_attributes = vec![name.clone()];
            }
            if *accept_mfa {
                claims.mfa = MfaBehaviour::Accept;
            }
            let text = |what, file: &Option<PathBuf>| file.as_deref().map(|file| text_of(what, file)).transpose();
            let published = match metadata_url {
                Some(url) => Published::At(partner_add::Source {
                    url: url.clone(),
                    authorities: text("authorities", metadata_ca)?,
                    signer: text("signer", metadata_signer)?,
                }),
                None if *no_metadata_url => Published::Nowhere,
                None => Published::AsBefore,
            };
            let (domains, claims) = (domains.clone(), settled.then_some(claims));
            let request = partner_add::Request { metadata: xml, domains, claims, published };
            let partner = client.call::<PartnerAdd>(&request).await?;
            output.show(&partner, |partner| {
                format!(
                    "{} answers at {}; its certificate ends {}\nsha256 {}",
                    partner.entity_id,
                    partner.sso_url,
                    partner.certificate_expires,
                    partner.certificates.join(", ")
                )
            });
        }
        PartnerCommand::List => {
            let answer = client.call::<PartnerList>(&partner_list::Request {}).await?;
            output.show(&answer.partners, |partners| {
                let rows = partners.iter().map(|partner| {
                    let domains = partner.domains.iter().map(DomainName::as_str).collect::<Vec<_>>().join(", ");
                    let published = partner.metadata_url.clone().unwrap_or_else(|| "-".to_owned());
                    [partner.entity_id.to_string(), domains, partner.certificate_expires.rfc3339(), published]
                });
                table(["PARTNER", "DOMAINS", "CERTIFICATE ENDS", "PUBLISHED AT"], rows)
            });
        }
        PartnerCommand::Refresh { partner } => {
            let request = partner_refresh::Request { partner: partner.clone() };
            let answer = client.call::<PartnerRefresh>(&request).await?;
            output.show(&answer.partners, |partners| {
                let lines = partners.iter().map(|(partner, looked)| format!("{partner}: {}", told(looked)));
                lines.collect::<Vec<_>>().join("\n")
            });
        }
        PartnerCommand::Metadata => {
            let answer = client.call::<PartnerList>(&partner_list::Request {}).await?;
            output.show(&answer.own_metadata, Clone::clone);
        }
    }
    Ok(())
}

fn text_of(what: &str, file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("the {what} file {} cannot be read", file.display()))
}

fn told(looked: &Looked) -> String {
    match looked {
        Looked::Same => "nothing new".to_owned(),
        Looked::Renewed { changes } => format!("taken over: {}", changes.join(", ")),
        Looked::Doubtful { changes, why } => format!("not taken over, for {why}: {}", changes.join(", ")),
        Looked::Failed { why } => format!("cannot be read: {why}"),
        Looked::Outdated => "was changed meanwhile: look again".to_owned(),
    }
}
