//! The password channels of a gateway: from where hashes come, and how they are sealed.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::gateway::{StartError, cores};
use super::installation::Installation;
use crate::agent_sync::AgentAccounts;
use crate::agents::broker::Broker;
use crate::config::{self, AgentsOnlySettings, ConnectorSettings, Settings};
use crate::credential::{Argon2Cost, ClearText, Hardening, HashingPool, LeakedList, pool::PoolSize};
use crate::identity::Clock;
use crate::password_sync::{AccountSource, AdSource, Channel, LdapSource, LeakCheck, Sealer};
use crate::store::credentials::Credentials;

/// What channels stand on.
pub(super) struct Ground<'a> {
    pub store: &'a Arc<Credentials>,
    pub sealer: &'a Sealer,
    pub clock: &'a Arc<dyn Clock>,
}

/// Memory that all key derivations of the process together may take.
const DERIVATION_MEMORY_KIB: u64 = 1024 * 1024;

pub(super) fn sealer(installation: &Installation, settings: &Settings) -> Sealer {
    let cost = Argon2Cost::default();
    let size = PoolSize { cores: cores(), memory_kib: DERIVATION_MEMORY_KIB, each_kib: cost.memory_kib() };
    Sealer {
        tenant: installation.tenant.clone(),
        ring: installation.ring.clone(),
        pool: HashingPool::new(size),
        hardening: match settings.store.hardening {
            config::Hardening::Argon2id => Hardening::Argon2id(cost),
            config::Hardening::Sealed => Hardening::Sealed,
        },
    }
}

/// The secret of the salts by which agents wrap hashes.
const SALTS: &str = "agent-salts";

fn new_salts() -> Zeroizing<Vec<u8>> {
    let mut salts = Zeroizing::new(vec![0; 32]);
    rand::Rng::fill_bytes(&mut rand::rng(), &mut salts);
    salts
}

/// Of directories that the gateway reads itself.
pub(super) fn channels(settings: &Settings, ground: &Ground<'_>) -> Result<Vec<Channel>, StartError> {
    let Ground { store, sealer, clock } = *ground;
    let leaked_passwords = settings.leaked_passwords.list.as_ref();
    let channel = |settings: &ConnectorSettings| {
        let source: Arc<dyn AccountSource> = match &settings.replication {
            None => {
                let source = LdapSource::new(settings, clock.clone());
                Arc::new(source.map_err(StartError::part("password channel"))?)
            }
            Some(replication) => {
                let source = AdSource::new(settings, replication, clock.clone());
                Arc::new(source.map_err(StartError::part("password channel"))?)
            }
        };
        Ok(Channel {
            connector: settings.name.clone(),
            source,
            store: store.clone(),
            sealer: sealer.clone(),
            clear_text: match settings.passwords.cleartext_allowed {
                true => ClearText::Accepted,
                false => ClearText::Refused,
            },
            clock: clock.clone(),
            leaks: settings
                .leaked_passwords
                .as_ref()
                .or(leaked_passwords)
                .map(|list| Arc::new(LeakCheck::here(LeakedList::new(list.clone())))),
        })
    };
    settings.connectors.iter().map(channel).collect()
}

/// Of directories that agents alone reach, where these bring hashes.
pub(super) async fn agent_channels(
    settings: &Settings,
    ground: &Ground<'_>,
    installation: &Installation,
    broker: &Broker,
) -> Result<Vec<Channel>, StartError> {
    let connectors: Vec<_> = settings.agents_only.iter().filter(|connector| connector.password_sync).collect();
    if connectors.is_empty() {
        return Ok(Vec::new());
    }
    let salts = installation.secret(SALTS, new_salts).await?;
    let channel = |connector: &AgentsOnlySettings| {
        let source = AgentAccounts::new(connector, broker.clone(), salts.clone());
        Ok(Channel {
            connector: connector.name.clone(),
            source: Arc::new(source.map_err(StartError::part("password channel"))?),
            store: ground.store.clone(),
            sealer: ground.sealer.clone(),
            clear_text: ClearText::Refused,
            clock: ground.clock.clone(),
            leaks: Some(Arc::new(LeakCheck::there(settings.leaked_passwords.is_set_up()))),
        })
    };
    connectors.into_iter().map(channel).collect()
}
