//! The key ring as the issuer sees it.

use zeroize::Zeroizing;

use std::sync::Arc;

use crate::credential::{AssociatedData, KeyRing, Sealed};
use crate::issuer::key_set::{KeySealer, SealFault};

/// Seals the issuer's keys under the installation's ring, bound to tenant and purpose.
pub struct RingSealer {
    pub ring: Arc<KeyRing>,
    pub tenant: String,
}

impl RingSealer {
    fn bound_to(&self, purpose: &str) -> AssociatedData {
        issuer_data(&self.tenant, purpose)
    }
}

/// What a sealed secret of the issuer is bound to.
pub(super) fn issuer_data(tenant: &str, purpose: &str) -> AssociatedData {
    AssociatedData::new("issuer", &[tenant.as_bytes(), purpose.as_bytes()])
}

impl KeySealer for RingSealer {
    fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, SealFault> {
        match self.ring.seal(plain, &self.bound_to(purpose)) {
            Ok(sealed) => Ok(sealed.to_string()),
            Err(error) => Err(SealFault(Box::new(error))),
        }
    }

    fn open(&self, purpose: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        let sealed: Sealed = sealed.parse().map_err(|error| SealFault(Box::new(error)))?;
        match self.ring.open(&sealed, &self.bound_to(purpose)) {
            Ok(opened) => Ok(Zeroizing::new(opened.expose().to_vec())),
            Err(error) => Err(SealFault(Box::new(error))),
        }
    }
}
