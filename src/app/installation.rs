//! An installation: its key ring, its store, and the secrets sealed in it. `landbridge init` makes one, `serve` opens it.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::ring_exchange::follow;
use crate::config::{DatabaseUrl, StoreSettings};
use crate::credential::key_ring::SealError;
use crate::credential::key_ring_file::KeyRingFileError;
use crate::credential::{AssociatedData, KeyRing, OpenError, Sealed};
use crate::store::ring_keys::on_their_way;
use crate::store::values::StoreValues;
use crate::store::{Database, Room, StoreError};

/// An opened installation.
#[derive(Clone, Debug)]
pub struct Installation {
    pub gateway: Database,
    pub engine: Database,
    pub ring: Arc<KeyRing>,
    pub tenant: String,
    values: StoreValues,
}

#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    #[error("the folder {path} cannot be made")]
    Folder { path: String, source: std::io::Error },
    #[error("the key ring cannot be used")]
    KeyRing(#[from] KeyRingFileError),
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    #[error("the store {url} was never initialised: run `landbridge init`")]
    NotInitialised { url: DatabaseUrl },
    #[error("the store was initialised with a key ring that is not at {path}: restore it")]
    KeyRingMissing { path: String },
    #[error("the key ring does not belong to this store: restore the ring that the store was made with")]
    OtherKeyRing(#[source] OpenError),
    #[error("the stored value `{name}` cannot be read")]
    Unreadable { name: &'static str },
    #[error("a secret of the installation cannot be sealed")]
    Seal(#[from] SealError),
}

pub(super) const CANARY: &str = "canary";
const TENANT: &str = "tenant";

impl Installation {
    /// Creates folder, key ring and store as far as they are missing. Running it again changes nothing.
    pub async fn init(settings: &StoreSettings) -> Result<Self, InstallationError> {
        if let DatabaseUrl::Sqlite { directory } = &settings.url {
            make_private_folder(directory)?;
        }
        let path = &settings.key_ring;
        let (gateway, engine) = open_rooms(&settings.url).await?;
        let values = StoreValues::new(gateway.clone());
        let ring = match (path.exists(), values.read(CANARY).await?) {
            (true, _) => KeyRing::load(path)?,
            // A new ring would not open what this store holds.
            (false, Some(_)) => return Err(InstallationError::KeyRingMissing { path: path.display().to_string() }),
            (false, None) => KeyRing::create_file(path, &mut rand::rng())?,
        };
        let canary = values.read_or_store(CANARY, ring.canary()?.to_string()).await?;
        check_canary(&ring, &canary)?;
        let tenant = values.read_or_store(TENANT, uuid::Uuid::new_v4().to_string()).await?;
        Ok(Self { gateway, engine, ring: Arc::new(ring), tenant, values })
    }

    /// Opens an initialised installation; refuses when the key ring does not open the store's canary.
    pub async fn open(settings: &StoreSettings) -> Result<Self, InstallationError> {
        let ring = KeyRing::load(&settings.key_ring)?;
        let (gateway, engine) = open_rooms(&settings.url).await?;
        let values = StoreValues::new(gateway.clone());
        let (canary, tenant) = (values.read(CANARY).await?, values.read(TENANT).await?);
        let (Some(canary), Some(tenant)) = (canary, tenant) else {
            return Err(InstallationError::NotInitialised { url: settings.url.clone() });
        };
        // A node that was away while the ring was rolled has the former key, and by it the new one.
        if follow(&ring, &settings.key_ring, &tenant, &on_their_way(&gateway).await?)? {
            tracing::info!(primary = %ring.primary(), "the key ring was rolled meanwhile");
        }
        check_canary(&ring, &canary)?;
        Ok(Self { gateway, engine, ring: Arc::new(ring), tenant, values })
    }

    /// The sealed secret `name`, made by `make` at the first call; the same on all nodes.
    pub async fn secret(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, InstallationError> {
        if let Some(stored) = self.stored_secret(name).await? {
            return Ok(stored);
        }
        let sealed = self.ring.seal(&make(), &self.bound_to(name))?;
        let stored = self.values.read_or_store(name, sealed.to_string()).await?;
        self.unseal(name, &stored)
    }

    /// The sealed secret `name`, if it was made before.
    pub async fn stored_secret(&self, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, InstallationError> {
        let stored = self.values.read(name).await?;
        stored.map(|stored| self.unseal(name, &stored)).transpose()
    }

    fn unseal(&self, name: &'static str, stored: &str) -> Result<Zeroizing<Vec<u8>>, InstallationError> {
        let sealed: Sealed = stored.parse().map_err(|_| InstallationError::Unreadable { name })?;
        let opened = self.ring.open(&sealed, &self.bound_to(name)).map_err(InstallationError::OtherKeyRing)?;
        Ok(Zeroizing::new(opened.expose().to_vec()))
    }

    fn bound_to(&self, name: &str) -> AssociatedData {
        installation_data(&self.tenant, name)
    }
}

/// What a sealed secret of the installation is bound to.
pub(super) fn installation_data(tenant: &str, name: &str) -> AssociatedData {
    AssociatedData::new("installation", &[tenant.as_bytes(), name.as_bytes()])
}

async fn open_rooms(url: &DatabaseUrl) -> Result<(Database, Database), StoreError> {
    Ok((Database::open(url, Room::Gateway).await?, Database::open(url, Room::Engine).await?))
}

fn check_canary(ring: &KeyRing, canary: &str) -> Result<(), InstallationError> {
    let canary: Sealed = canary.parse().map_err(|_| InstallationError::Unreadable { name: CANARY })?;
    ring.opens_canary(&canary).map_err(InstallationError::OtherKeyRing)
}

/// A folder that the gateway's user alone can enter.
fn make_private_folder(path: &Path) -> Result<(), InstallationError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| InstallationError::Folder { path: path.display().to_string(), source })
}
