//! Between a value and a row: derive in the hashing pool, seal with the key ring, and open again.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::store::{SealedChain, Stage};
use crate::credential::derived::DeriveError;
use crate::credential::key_ring::SealError;
use crate::credential::{
    Argon2Cost, AssociatedData, Chain, Demand, Derived, Hardening, HashingPool, KeyRing, OpenError, PoolError, Sealed,
    SourceValue,
};
use crate::identity::CredentialSource;

/// What the channel, the verifier and the wrapping share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealer {
    pub tenant: String,
    pub ring: Arc<KeyRing>,
    pub pool: HashingPool,
    pub hardening: Hardening,
}

/// A row's chain or seal cannot be read: *unavailable*, never a wrong password.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the stored chain is not one that this version knows")]
    Chain,
    #[error("the stored seal is not a sealed value")]
    Seal,
    #[error("the stored seal does not open")]
    Open(#[source] OpenError),
}

/// Values whose derivations share a job: a few milliseconds of work, so that a sign-in never waits long behind it.
const JOB: usize = 32;
/// Jobs that wait in the pool at once.
const JOBS: usize = 4;
/// How long background work waits for a permit that no sign-in wants.
const PATIENCE: Duration = Duration::from_secs(600);

impl Sealer {
    /// Our own Argon2id: of the settings, or the floor where they stop at the seal.
    pub fn argon2(&self) -> Argon2Cost {
        match self.hardening {
            Hardening::Argon2id(cost) => cost,
            Hardening::Sealed => Argon2Cost::default(),
        }
    }

    /// Makes what is to be sealed of each value, in their order. A job that fails fails its values alone.
    pub(super) async fn derive(&self, values: Vec<SourceValue>) -> Vec<Result<Derived, String>> {
        let mut jobs: Vec<Vec<SourceValue>> = Vec::new();
        let mut room = 0;
        for value in values {
            // A password in the clear costs a whole Argon2id.
            let size = if matches!(value, SourceValue::Clear(_)) { JOB } else { 1 };
            match jobs.last_mut() {
                Some(job) if room >= size => job.push(value),
                Some(_) | None => {
                    jobs.push(vec![value]);
                    room = JOB;
                }
            }
            room -= size;
        }
        let run = |job: Vec<SourceValue>| async move {
            let (count, hardening, cost) = (job.len(), self.hardening, self.argon2());
            let work = move || -> Vec<Result<Derived, DeriveError>> {
                let rng = &mut rand::rng();
                job.into_iter().map(|value| value.into_derived(cost, rng)?.ready_to_seal(hardening, rng)).collect()
            };
            match self.background(work).await {
                Ok(derived) => derived.into_iter().map(|one| one.map_err(|error| error.to_string())).collect(),
                Err(error) => vec![Err(error.to_string()); count],
            }
        };
        stream::iter(jobs).map(run).buffered(JOBS).flat_map(stream::iter).collect().await
    }

    /// Runs background work on permits that no sign-in wants.
    pub(super) async fn background<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.pool.run(Demand::Background, PATIENCE, work).await
    }

    pub(super) fn seal(&self, source: &CredentialSource, derived: &Derived) -> Result<SealedChain, SealError> {
        let bound = AssociatedData::credential(&self.tenant, source, &derived.chain);
        let stage = if derived.chain.is_wrapped() { Stage::Wrapped } else { Stage::Sealed };
        let sealed = self.ring.seal(derived.output.expose(), &bound)?;
        Ok(SealedChain { stage, chain: derived.chain.clone(), sealed })
    }

    pub(super) fn open(&self, source: &CredentialSource, chain: &str, sealed: &str) -> Result<Derived, Unreadable> {
        let chain: Chain = chain.parse().map_err(|_| Unreadable::Chain)?;
        let sealed: Sealed = sealed.parse().map_err(|_| Unreadable::Seal)?;
        let bound = AssociatedData::credential(&self.tenant, source, &chain);
        let output = self.ring.open(&sealed, &bound).map_err(Unreadable::Open)?;
        Ok(Derived { chain, output })
    }
}
