//! `landbridge partner add|list|metadata`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::federation::partner::{AnchorSource, Claims, MfaBehaviour};
use crate::identity::DomainName;
use crate::web::admin::partner_add::{self, PartnerAdd};
use crate::web::admin::partner_list::{self, PartnerList};

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
        /// The attribute that carries the source anchor; the name identifier when absent.
        #[arg(long)]
        anchor_attribute: Option<String>,
        /// The attribute that carries the user principal name; the usual ones when absent.
        #[arg(long)]
        upn_attribute: Option<String>,
        /// Believe the partner when it says that a second factor was used.
        #[arg(long)]
        accept_mfa: bool,
    },
    /// List the partners.
    List,
    /// Print the gateway's own SAML metadata, for the partner's administrator.
    Metadata,
}

pub(super) async fn run(client: &Client, command: &PartnerCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        PartnerCommand::Add { metadata, domains, anchor_attribute, upn_attribute, accept_mfa } => {
            let xml = std::fs::read_to_string(metadata)
                .with_context(|| format!("the metadata file {} cannot be read", metadata.display()))?;
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
            let request = partner_add::Request { metadata: xml, domains: domains.clone(), claims };
            let partner = client.call::<PartnerAdd>(&request).await?;
            output.show(&partner, |partner| {
                format!(
                    "{} answers at {}; its certificate ends {}",
                    partner.entity_id, partner.sso_url, partner.certificate_expires
                )
            });
        }
        PartnerCommand::List => {
            let answer = client.call::<PartnerList>(&partner_list::Request {}).await?;
            output.show(&answer.partners, |partners| {
                let rows = partners.iter().map(|partner| {
                    let domains = partner.domains.iter().map(DomainName::as_str).collect::<Vec<_>>().join(", ");
                    [partner.entity_id.to_string(), domains, partner.certificate_expires.rfc3339()]
                });
                table(["PARTNER", "DOMAINS", "CERTIFICATE ENDS"], rows)
            });
        }
        PartnerCommand::Metadata => {
            let answer = client.call::<PartnerList>(&partner_list::Request {}).await?;
            output.show(&answer.own_metadata, Clone::clone);
        }
    }
    Ok(())
}
