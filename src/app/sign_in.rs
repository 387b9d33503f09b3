//! What sign-in and the issuer are built from: settings, keys, partners.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::gateway::StartError;
use super::installation::Installation;
use super::sealing::RingSealer;
use crate::config::{LeakPolicy, LeakedPasswordSettings, PartnerCanarySettings, Settings, SyncServersSettings};
use crate::federation::CanaryAccount;
use crate::identity::{Clock, ConnectorName, EntityId};
use crate::issuer::{Issuer, IssuerSettings, IssuerUrl};
use crate::saml::XmlSecEngine;
use crate::saml::request::ServiceProvider;
use crate::saml::response::ResponseChecker;
use crate::signin::{self, SignInKey};
use crate::store::AuditLog;
use crate::store::issuer::IssuerStore;
use crate::web;

/// Connectors at which nobody signs in: files, databases, and directories that only a sync server reaches.
pub(super) fn without_live_checks(settings: &Settings) -> Vec<ConnectorName> {
    let systems = settings.systems.iter().map(|system| system.name().clone());
    let elsewhere = settings.sync_servers.iter().flat_map(SyncServersSettings::names);
    let agents_only = settings.agents_only.iter().map(|connector| &connector.name);
    let directories = settings.connectors.iter().map(|connector| &connector.name).chain(agents_only);
    let here = |name: &ConnectorName| directories.clone().any(|directory| directory == name);
    systems.chain(elsewhere.filter(|name| !here(name))).collect()
}

fn leaked_passwords(settings: &LeakedPasswordSettings) -> signin::LeakedPasswords {
    let refused = settings.policy == LeakPolicy::Refuse;
    let except = if refused { &settings.report_in } else { &settings.refuse_in };
    signin::LeakedPasswords { refused, except: except.iter().cloned().collect() }
}

pub(super) fn settings(settings: &Settings) -> signin::Settings {
    let lockout = &settings.lockout;
    signin::Settings {
        session_life: settings.signin.session_lifetime,
        failover_session_life: settings.signin.failover_session_lifetime,
        refusal_quantum: settings.signin.refusal_floor,
        probe_interval: settings.failover.probe_interval,
        partner_interval: settings.failover.partner_interval,
        good_probes: settings.failover.good_probes,
        lockout: signin::LockoutSettings {
            familiar_limit: lockout.familiar_limit,
            unfamiliar_limit: lockout.unfamiliar_limit,
            window: lockout.window,
            first_lock: lockout.first_lock,
            longest_lock: lockout.longest_lock,
            spray_names: lockout.spray_names,
            spray_window: lockout.spray_window,
            spray_pause: lockout.spray_pause,
            ..signin::LockoutSettings::default()
        },
        leaked: leaked_passwords(&settings.leaked_passwords),
        ..signin::Settings::default()
    }
}

pub(super) fn partner_canaries(settings: &Settings) -> Result<Vec<(EntityId, CanaryAccount)>, StartError> {
    let canary = |canary: &PartnerCanarySettings| {
        let authorities = match &canary.ca_file {
            None => Vec::new(),
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(StartError::part("certification authorities of a partner"))?,
        };
        Ok((canary.partner.clone(), CanaryAccount { login: canary.account.clone(), authorities }))
    };
    settings.failover.partner_canaries.iter().map(canary).collect()
}

pub(super) async fn key(installation: &Installation) -> Result<SignInKey, StartError> {
    let make = || {
        let mut key = zeroize::Zeroizing::new(vec![0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut key);
        key
    };
    let key = installation.secret("sign-in-key", make).await?;
    let key: [u8; 32] = key.as_slice().try_into().map_err(StartError::part("key of sign-in"))?;
    Ok(SignInKey::new(key))
}

pub(super) async fn issuer(
    settings: &Settings,
    installation: &Installation,
    audit: &AuditLog,
    clock: &Arc<dyn Clock>,
) -> Result<Issuer, StartError> {
    let text = settings.gateway.public_url.as_str().trim_end_matches('/');
    let url: IssuerUrl = text.parse().map_err(StartError::part("issuer"))?;
    let lifetimes = IssuerSettings {
        access_token_lifetime: settings.tokens.access_token_lifetime,
        id_token_lifetime: settings.tokens.access_token_lifetime,
        refresh_inactivity: settings.tokens.refresh_token_lifetime,
        ..IssuerSettings::new(url)
    };
    let store = Arc::new(IssuerStore::new(installation.gateway.clone(), audit.clone()));
    let sealer = Arc::new(RingSealer { ring: installation.ring.clone(), tenant: installation.tenant.clone() });
    Issuer::open(lifetimes, store, sealer, clock.clone()).await.map_err(StartError::part("issuer"))
}

pub(super) fn response_checker(url: &IssuerUrl, clock: &Arc<dyn Clock>) -> Result<ResponseChecker, StartError> {
    let address = |path| url.join(path).parse::<url::Url>().map_err(StartError::part("federation"));
    let service = ServiceProvider {
        entity_id: url.join(web::PARTNER_METADATA_PATH).parse().map_err(StartError::part("federation"))?,
        acs_url: address(web::ACS_PATH)?,
    };
    Ok(ResponseChecker {
        service,
        algorithms: Default::default(),
        skew: Default::default(),
        engine: Arc::new(XmlSecEngine),
        clock: clock.clone(),
    })
}
