//! One directory's trouble is its own channel's alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sealer::Sealer;
use super::service::{EngineEpoch, PasswordSync};
use super::source::{AccountSource, SourceError, SourcePage, SourcePosition};
use super::store::{
    AccountChange, CredentialStoreError, KnownAccount, PassEnd, PassStore, StoredCredential, Upgrade, UpgradeStore,
};
use super::wrapping::Wrapping;
use super::{Channel, Depth};
use crate::credential::pool::PoolSize;
use crate::credential::{ClearText, Hardening, HashingPool, KeyName, KeyRing};
use crate::identity::{ConnectorName, CredentialSource, LeaseEpoch, SettableClock, SourceAnchor, Timestamp};

const INTERVAL: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

/// A directory without accounts, or one that never answers.
struct Directory {
    hangs: bool,
    passes: AtomicU32,
}

impl Directory {
    fn new(hangs: bool) -> Arc<Self> {
        Arc::new(Self { hangs, passes: AtomicU32::new(0) })
    }
}

#[async_trait]
impl AccountSource for Directory {
    async fn read_all(
        &self,
        _: Option<&SourcePosition>,
        _: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok(None)
    }

    async fn read(&self, _: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        std::future::pending().await
    }
}

/// A store that keeps how passes ended, and what waits for a single read.
#[derive(Default)]
struct Store {
    ends: Mutex<BTreeMap<String, Vec<PassEnd>>>,
    due: Mutex<Vec<SourceAnchor>>,
    postponed: AtomicU32,
}

impl Store {
    fn ends(&self, connector: &str) -> Vec<PassEnd> {
        self.ends.lock().expect("no panic before").get(connector).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl PassStore for Store {
    async fn begin_pass(
        &self,
        _: LeaseEpoch,
        _: &ConnectorName,
        _: Timestamp,
    ) -> Result<Option<SourcePosition>, CredentialStoreError> {
        Ok(None)
    }

    async fn end_pass(&self, _: LeaseEpoch, name: &ConnectorName, end: PassEnd) -> Result<(), CredentialStoreError> {
        self.ends.lock().expect("no panic before").entry(name.to_string()).or_default().push(end);
        Ok(())
    }

    async fn known(&self, _: &ConnectorName, _: &[SourceAnchor]) -> Result<Vec<KnownAccount>, CredentialStoreError> {
        Ok(Vec::new())
    }

    async fn linked_after(
        &self,
        _: &ConnectorName,
        _: Option<&SourceAnchor>,
        _: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError> {
        Ok(Vec::new())
    }

    async fn usable_count(&self, _: &ConnectorName) -> Result<u64, CredentialStoreError> {
        Ok(0)
    }

    async fn apply(
        &self,
        _: LeaseEpoch,
        _: &ConnectorName,
        _: Timestamp,
        _: Vec<AccountChange>,
    ) -> Result<(), CredentialStoreError> {
        Ok(())
    }

    async fn due_fetches(
        &self,
        _: &ConnectorName,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError> {
        Ok(self.due.lock().expect("no panic before").clone())
    }

    async fn postpone_fetches(
        &self,
        _: LeaseEpoch,
        _: &ConnectorName,
        _: &[SourceAnchor],
        _: Timestamp,
    ) -> Result<(), CredentialStoreError> {
        self.postponed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl UpgradeStore for Store {
    async fn upgradable_after(
        &self,
        _: &KeyName,
        _: bool,
        _: Option<&CredentialSource>,
        _: u32,
    ) -> Result<Vec<StoredCredential>, CredentialStoreError> {
        Ok(Vec::new())
    }

    async fn upgrade(&self, _: LeaseEpoch, _: Vec<Upgrade>) -> Result<u64, CredentialStoreError> {
        Ok(0)
    }

    async fn sealed_count(&self) -> Result<u64, CredentialStoreError> {
        Ok(0)
    }

    async fn stage_counts(&self) -> Result<(u64, u64), CredentialStoreError> {
        Ok((0, 0))
    }
}

struct Always;

#[async_trait]
impl EngineEpoch for Always {
    async fn current(&self) -> Option<LeaseEpoch> {
        Some(LeaseEpoch::from_number(1))
    }
}

fn sealer() -> Sealer {
    Sealer {
        tenant: "tenant".to_owned(),
        ring: Arc::new(KeyRing::generate(&mut StdRng::seed_from_u64(1)).expect("a ring")),
        pool: HashingPool::new(PoolSize { cores: 1, memory_kib: 1 << 20, each_kib: 19_456 }),
        hardening: Hardening::Sealed,
    }
}

fn channel(name: &str, source: Arc<Directory>, store: &Arc<Store>) -> Channel {
    Channel {
        connector: name.parse().expect("a name"),
        source,
        store: store.clone(),
        sealer: sealer(),
        clear_text: ClearText::Refused,
        clock: Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000))),
        leaks: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_hangs_holds_up_its_own_channel_and_is_given_up_in_the_end() {
    let (store, hanging, quick) = (Arc::new(Store::default()), Directory::new(true), Directory::new(false));
    let channels = [channel("hanging", hanging.clone(), &store), channel("quick", quick.clone(), &store)];
    let wrapping = Wrapping::new(store.clone(), sealer());
    let service = Arc::new(PasswordSync::new(channels, Arc::new(Always), wrapping, INTERVAL));
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (service, stop) = (service.clone(), stop.clone());
        async move { service.run(true, stop).await }
    });
    tokio::time::sleep(HOUR).await;
    assert_eq!(hanging.passes.load(Ordering::Relaxed), 1);
    assert!(quick.passes.load(Ordering::Relaxed) >= 29, "{}", quick.passes.load(Ordering::Relaxed));
    assert!(store.ends("quick").iter().all(|end| matches!(end, PassEnd::Complete { .. })));
    // A pass on request does not wait for the other's either.
    service.run_pass(&"quick".parse().expect("a name"), Depth::Everything).await.expect("a pass");

    tokio::time::sleep(4 * HOUR).await;
    match &store.ends("hanging")[..] {
        [PassEnd::Failed { error }] => assert_eq!(error, "the directory did not come to an end in 240 minutes"),
        other => panic!("{other:?}"),
    }
    assert_eq!(hanging.passes.load(Ordering::Relaxed), 2, "it is tried again");
    stop.cancel();
    running.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn single_reads_that_hang_are_given_up_and_tried_later() {
    let store = Arc::new(Store::default());
    let channel = channel("corp", Directory::new(true), &store);
    store.due.lock().expect("no panic before").push(SourceAnchor::from_text("ada").expect("an anchor"));
    let error = channel.run_fetches(LeaseEpoch::from_number(1)).await.expect_err("nobody answers");
    assert_eq!(error.to_string(), "the directory did not come to an end in 10 minutes");
    assert_eq!(store.postponed.load(Ordering::Relaxed), 1);
}
