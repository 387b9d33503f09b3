//! What this node takes over of the keys that nodes of one store hand to each other, into its ring and the ring's file.

use std::path::Path;

use crate::credential::key_ring_file::KeyRingFileError;
use crate::credential::{AssociatedData, KeyName, KeyRing};
use crate::store::ring_keys::{KeyStage, RingKeyRow};

/// What the sealed copy of a key is bound to.
pub(super) fn handed_over(tenant: &str, key: &KeyName) -> AssociatedData {
    AssociatedData::new("ring-key", &[tenant.as_bytes(), key.as_str().as_bytes()])
}

/// Brings the ring to what the store says. `true` when it changed.
pub(super) fn follow(ring: &KeyRing, file: &Path, tenant: &str, keys: &[RingKeyRow]) -> Result<bool, KeyRingFileError> {
    let mut changed = false;
    for row in keys {
        match (row.stage, &row.sealed) {
            (KeyStage::Next | KeyStage::Primary | KeyStage::Older, Some(sealed)) if !ring.has(&row.name) => {
                ring.take_over(file, &row.name, sealed, &handed_over(tenant, &row.name))?;
                changed = true;
            }
            (KeyStage::Retired, _) if ring.older().contains(&row.name) => {
                ring.forget(file, &row.name)?;
                changed = true;
            }
            (KeyStage::Next | KeyStage::Primary | KeyStage::Older | KeyStage::Retired, _) => {}
        }
    }
    let primary = keys.iter().find(|row| row.stage == KeyStage::Primary).map(|row| &row.name);
    if let Some(primary) = primary.filter(|primary| **primary != ring.primary()) {
        changed |= ring.promote(file, primary)?;
    }
    Ok(changed)
}
