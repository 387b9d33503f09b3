//! A pass over a connector, and single reads for newly provisioned users.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::account_result::AccountResult;
use super::decision::{self, Act, Context, Decision, PasswordAct};
use super::leaks::{LeakCheck, Looking};
use super::report::PassReport;
use super::sealer::Sealer;
use super::source::{AccountSource, Leak, SourceError, SourcePage, SourcePosition};
use super::store::{AccountChange, CredentialChange, CredentialStoreError, KnownAccount, PassEnd, PassStore};
use super::write_stamp::WriteStamp;
use crate::credential::{ClearText, NtHash, Quarantine, SourceStamp};
use crate::identity::{Clock, ConnectorName, CredentialSource, LeaseEpoch, SourceAnchor, Timestamp, causes};

/// The password channel of one connector.
pub struct Channel {
    pub connector: ConnectorName,
    pub source: Arc<dyn AccountSource>,
    pub store: Arc<dyn PassStore>,
    pub sealer: Sealer,
    pub clear_text: ClearText,
    pub clock: Arc<dyn Clock>,
    /// Where passwords are looked for that are known from leaks.
    pub leaks: Option<Arc<LeakCheck>>,
}

/// How much of the passwords a pass reads, where a directory can tell what changed. Account states are always read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What changed since the last pass that was stored.
    Changes,
    Everything,
}

/// Why a pass did not come to its end. What it stored before stays; the next pass goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the accounts could not be read")]
    Source(#[from] SourceError),
    #[error("the accounts could not be stored")]
    Store(#[from] CredentialStoreError),
    #[error("the directory did not come to an end in {} minutes", .0.as_secs() / 60)]
    TooLong(Duration),
    /// The service account has lost its sight of the directory, as far as one can tell from here.
    #[error("the directory shows none of its accounts")]
    NothingVisible,
    #[error(
        "{vanished} of {usable} stored passwords have no value in the directory any more, more than a tenth: the right to read them is probably lost"
    )]
    PasswordsVanished { vanished: u64, usable: u64 },
}

/// Accounts written in one transaction: below 20 ms on a slow disk.
const WRITE: usize = 100;
/// Accounts asked for by anchor at once.
const LOOKUP: u32 = 100;
/// A directory that always has a next answer would keep its channel for ever. The largest are read whole in a fraction of it.
const PASS_AT_MOST: Duration = Duration::from_secs(4 * 3600);
const FETCHES_AT_MOST: Duration = Duration::from_secs(600);
/// Pages that wait between the directory and the store.
const PAGES: usize = 2;
/// Single reads tried in one go.
const FETCHES: u32 = 500;
/// Vanished passwords that are believed at once; beyond, a tenth of the connector's.
const VANISHED_BELIEVED: u64 = 5;

/// What a pass has met so far.
#[derive(Default)]
struct Progress {
    report: PassReport,
    /// Passwords that were shown and not stored: they have to be shown again.
    unsettled: u64,
    /// Accounts whose queued single read this was not.
    open_fetches: Vec<SourceAnchor>,
    /// Hashes that are looked for in the list of leaked ones, and why that failed.
    looking: Option<Looking>,
    leaked_error: Option<String>,
    vanished: Vec<(SourceAnchor, Timestamp, SourceStamp, Option<WriteStamp>)>,
}

/// Whether a read of an account answers a single read that was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Yes,
    No,
    /// It is to be queued.
    AskAgain,
}

impl Served {
    const fn of(settled: bool) -> Self {
        if settled { Self::Yes } else { Self::No }
    }
}

/// The anchors met in a pass, in eight bytes each. A collision would overlook one deletion in one pass: the hash is
/// another in the next.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Seen {
    fn add(&mut self, anchor: &SourceAnchor) {
        self.hashes.insert(self.hasher.hash_one(anchor));
    }

    fn has(&self, anchor: &SourceAnchor) -> bool {
        self.hashes.contains(&self.hasher.hash_one(anchor))
    }
}

impl Channel {
    /// Reads the connector to its end and stores what changed. Repeated, it finds nothing.
    pub async fn run_pass(&self, epoch: LeaseEpoch, depth: Depth) -> Result<PassReport, ChannelError> {
        let started = self.clock.now();
        let since = self.store.begin_pass(epoch, &self.connector, started).await?;
        let since = since.filter(|_| depth == Depth::Changes);
        let looking = self.leaks.as_ref().map(|leaks| {
            let everything = depth == Depth::Everything;
            leaks.looking(everything, since.is_some(), started)
        });
        let pass = tokio::time::timeout(PASS_AT_MOST, self.pass(epoch, since.as_ref(), looking));
        let outcome = pass.await.unwrap_or(Err(ChannelError::TooLong(PASS_AT_MOST)));
        let (end, outcome) = match outcome {
            Ok((report, reached, leaked_error)) => {
                if let (Some(leaks), Some(Looking::AtAll), None) = (&self.leaks, looking, &leaked_error) {
                    leaks.swept(started);
                }
                (PassEnd::Complete { started, report, reached, leaked_error }, Ok(report))
            }
            Err(error) => (PassEnd::Failed { error: causes(&error) }, Err(error)),
        };
        self.store.end_pass(epoch, &self.connector, end).await?;
        outcome
    }

    /// Reads the accounts that wait for a single read. Returns how many were served.
    pub async fn run_fetches(&self, epoch: LeaseEpoch) -> Result<u64, ChannelError> {
        let now = self.clock.now();
        let due = self.store.due_fetches(&self.connector, now, FETCHES).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let read = tokio::time::timeout(FETCHES_AT_MOST, self.source.read(&due)).await;
        let read = read.map_or(Err(ChannelError::TooLong(FETCHES_AT_MOST)), |read| read.map_err(ChannelError::Source));
        let page = match read {
            Ok(page) => page,
            Err(error) => {
                self.store.postpone_fetches(epoch, &self.connector, &due, now).await?;
                return Err(error);
            }
        };
        let found: HashSet<SourceAnchor> = page.accounts.iter().map(|account| account.anchor.clone()).collect();
        let absent: Vec<SourceAnchor> = due.into_iter().filter(|anchor| !found.contains(anchor)).collect();
        let looking = self.leaks.is_some().then_some(Looking::AtNew);
        let mut progress = Progress { looking, ..Progress::default() };
        self.take(epoch, page, &mut progress).await?;
        self.settle_vanished(epoch, &mut progress).await?;
        if let Some(error) = &progress.leaked_error {
            tracing::warn!(connector = %self.connector, error, "leaked passwords could not be looked for in single reads");
        }
        let served = found.len().saturating_sub(progress.open_fetches.len()) as u64;
        let postponed: Vec<SourceAnchor> = absent.into_iter().chain(progress.open_fetches).collect();
        if !postponed.is_empty() {
            self.store.postpone_fetches(epoch, &self.connector, &postponed, now).await?;
        }
        Ok(served)
    }

    /// What was met, and how far the directory's passwords are stored then.
    async fn pass(
        &self,
        epoch: LeaseEpoch,
        since: Option<&SourcePosition>,
        looking: Option<Looking>,
    ) -> Result<(PassReport, Option<SourcePosition>, Option<String>), ChannelError> {
        let (sender, pages) = mpsc::channel(PAGES);
        let (mut progress, mut seen) = (Progress { looking, ..Progress::default() }, Seen::default());
        let (read, consumed) =
            tokio::join!(self.source.read_all(since, sender), self.take_all(epoch, pages, &mut progress, &mut seen));
        consumed?;
        let reached = read?;
        self.look_for_unseen(epoch, &mut progress, &seen).await?;
        self.settle_vanished(epoch, &mut progress).await?;
        // A pass without a hash to look for tells, too, whether one could be.
        if let (Some(check), None) = (&self.leaks, &progress.leaked_error) {
            progress.leaked_error = check.look(Vec::new()).await.err();
        }
        if let Some(error) = &progress.leaked_error {
            tracing::warn!(connector = %self.connector, error, "leaked passwords could not be looked for");
        }
        Ok((progress.report, reached.filter(|_| progress.unsettled == 0), progress.leaked_error))
    }

    /// Owns the receiving end: when storing fails, the reader finds nobody to send to and stops.
    async fn take_all(
        &self,
        epoch: LeaseEpoch,
        mut pages: mpsc::Receiver<SourcePage>,
        progress: &mut Progress,
        seen: &mut Seen,
    ) -> Result<(), ChannelError> {
        while let Some(page) = pages.recv().await {
            page.accounts.iter().for_each(|account| seen.add(&account.anchor));
            self.take(epoch, page, progress).await?;
        }
        Ok(())
    }

    /// Users whose account was not among those in scope: it may have moved out of scope, or be gone.
    async fn look_for_unseen(
        &self,
        epoch: LeaseEpoch,
        progress: &mut Progress,
        seen: &Seen,
    ) -> Result<(), ChannelError> {
        let mut after = None;
        loop {
            let linked = self.store.linked_after(&self.connector, after.as_ref(), LOOKUP).await?;
            let Some(last) = linked.last().cloned() else { return Ok(()) };
            let unseen: Vec<SourceAnchor> = linked.into_iter().filter(|anchor| !seen.has(anchor)).collect();
            after = Some(last);
            if unseen.is_empty() {
                continue;
            }
            let page = self.source.read(&unseen).await?;
            if progress.report.read == 0 && page.accounts.is_empty() {
                return Err(ChannelError::NothingVisible);
            }
            let (read_at, server) = (page.read_at, page.server.clone());
            let found: HashSet<SourceAnchor> = page.accounts.iter().map(|account| account.anchor.clone()).collect();
            self.take(epoch, page, progress).await?;
            let gone: Vec<SourceAnchor> = unseen.into_iter().filter(|anchor| !found.contains(anchor)).collect();
            self.take_missing(epoch, &gone, read_at, &server, progress).await?;
        }
    }

    async fn take(&self, epoch: LeaseEpoch, page: SourcePage, progress: &mut Progress) -> Result<(), ChannelError> {
        if let (Some(check), None) = (&self.leaks, &progress.leaked_error) {
            progress.leaked_error = check.missed(page.looked);
        }
        if page.accounts.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let anchors: Vec<SourceAnchor> = page.accounts.iter().map(|account| account.anchor.clone()).collect();
        let known = self.store.known(&self.connector, &anchors).await?;
        let mut known: std::collections::HashMap<SourceAnchor, KnownAccount> =
            known.into_iter().map(|known| (known.anchor.clone(), known)).collect();
        let context = Context {
            connector: &self.connector,
            ring: &self.sealer.ring,
            clear_text: self.clear_text,
            sole_server: page.sole_server,
            restored: page.restored,
            read_at: page.read_at,
        };
        progress.report.read += page.accounts.len() as u64;
        let (mut acts, mut values, mut pending, mut sought) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut found = Vec::new();
        for account in page.accounts {
            // An anchor that occurs twice on a page is met once.
            let Some(known) = known.remove(&account.anchor) else { continue };
            let (written, leak) = (account.written, account.leak);
            let hash = progress.looking.and_then(|_| account.passwords.nt_hash());
            let act = match decision::decide(&known, account, &context) {
                Decision::Stale => {
                    progress.report.stale += 1;
                    progress.unsettled += 1;
                    progress.open_fetches.extend(known.fetch_queued.then_some(known.anchor));
                    continue;
                }
                Decision::Act(act) => act,
            };
            let Act { state, password, result, settled, ask_again } = *act;
            let is_new = matches!(password, PasswordAct::Derive { .. });
            // What a controller shows that lags behind is not what is stored.
            let is_stored = settled && result == AccountResult::Success;
            if is_new || (is_stored && progress.looking == Some(Looking::AtAll)) {
                sought.extend(hash.map(|hash| (acts.len(), hash)));
                found.extend((leak != Leak::NotLookedFor).then_some((acts.len(), leak)));
            }
            let change = match password {
                PasswordAct::Derive { value, stamp, password_set, keep_outdated } => {
                    values.push(value);
                    pending.push((acts.len(), stamp, password_set, keep_outdated));
                    None
                }
                PasswordAct::Leave => None,
                PasswordAct::Confirm { clear, stamp, password_set } => {
                    Some(CredentialChange::Confirm { clear, stamp, password_set })
                }
                PasswordAct::Quarantine { reason, stamp } => Some(CredentialChange::Quarantine { reason, stamp }),
                PasswordAct::Vanished { stamp } => {
                    progress.vanished.push((known.anchor.clone(), page.read_at, stamp, written));
                    None
                }
            };
            let served = if ask_again { Served::AskAgain } else { Served::of(settled) };
            acts.push((known, state, change, result, written, served));
        }
        let mut leaks = self.look(acts.len(), sought, progress).await;
        found.into_iter().for_each(|(account, leak)| leaks[account] = leak);
        let derived = self.sealer.derive(values).await;
        for (derived, (index, stamp, password_set, keep_outdated)) in derived.into_iter().zip(pending) {
            let (known, _, change, result, _, served) = &mut acts[index];
            let source = CredentialSource { connector: self.connector.clone(), anchor: known.anchor.clone() };
            let sealed =
                derived.and_then(|derived| self.sealer.seal(&source, &derived).map_err(|error| error.to_string()));
            match sealed {
                Ok(new) => {
                    progress.report.stored += 1;
                    *change = Some(CredentialChange::Store { new, stamp, password_set, keep_outdated });
                }
                Err(error) => {
                    progress.unsettled += 1;
                    // It is not the password that is stored.
                    leaks[index] = Leak::NotLookedFor;
                    *served = Served::No;
                    *result = AccountResult::Error(error);
                }
            }
        }
        let mut changes = Vec::new();
        for ((known, state, credential, result, written, served), leak) in acts.into_iter().zip(leaks) {
            progress.report.count(&result);
            progress.report.states_changed += u64::from(state.is_some());
            if result == AccountResult::Success && !matches!(credential, Some(CredentialChange::Store { .. })) {
                progress.report.unchanged += 1;
            }
            let result = decision::is_news(known.result.as_ref(), &result, now).then_some(result);
            let fetched = known.fetch_queued && served == Served::Yes;
            if known.fetch_queued && served != Served::Yes {
                progress.open_fetches.push(known.anchor.clone());
            }
            let leak = leak_news(&known, credential.as_ref(), leak);
            progress.report.leaked += u64::from(matches!(leak, Leak::Listed(_)));
            if credential.is_some() || state.is_some() || result.is_some() || fetched || leak != Leak::NotLookedFor {
                let (anchor, read_at, ask_again) = (known.anchor, page.read_at, served == Served::AskAgain);
                let of_account = AccountChange::of(anchor, read_at);
                changes.push(AccountChange {
                    written,
                    credential,
                    leak,
                    state,
                    result,
                    fetched,
                    ask_again,
                    ..of_account
                });
            }
        }
        self.write(epoch, now, changes).await
    }

    /// What the list of leaked passwords says of some of `count` accounts.
    async fn look(&self, count: usize, sought: Vec<(usize, NtHash)>, progress: &mut Progress) -> Vec<Leak> {
        let mut leaks = vec![Leak::NotLookedFor; count];
        let Some(check) = self.leaks.as_ref().filter(|_| !sought.is_empty() && progress.leaked_error.is_none()) else {
            return leaks;
        };
        let (accounts, hashes): (Vec<usize>, Vec<NtHash>) = sought.into_iter().unzip();
        match check.look(hashes).await {
            Ok(found) => accounts.into_iter().zip(found).for_each(|(account, leak)| leaks[account] = leak),
            Err(error) => progress.leaked_error = Some(error),
        }
        leaks
    }

    async fn take_missing(
        &self,
        epoch: LeaseEpoch,
        anchors: &[SourceAnchor],
        read_at: Timestamp,
        server: &str,
        progress: &mut Progress,
    ) -> Result<(), ChannelError> {
        let now = self.clock.now();
        let mut changes = Vec::new();
        for known in self.store.known(&self.connector, anchors).await? {
            // The user may have gone since the anchors were listed.
            if known.link.is_none() {
                continue;
            }
            let (state, result) = (decision::missing(&known, read_at), AccountResult::SourceObjectMissing);
            if state.is_some() {
                tracing::info!(connector = %self.connector, account = %known.anchor, server, "an account is gone from its directory");
            }
            progress.report.count(&result);
            progress.report.states_changed += u64::from(state.is_some());
            let result = decision::is_news(known.result.as_ref(), &result, now).then_some(result);
            if state.is_some() || result.is_some() {
                changes.push(AccountChange { state, result, ..AccountChange::of(known.anchor, read_at) });
            }
        }
        self.write(epoch, now, changes).await
    }

    /// Passwords whose values vanished: a few are believed; many at once mean that the right to read them is lost, and
    /// then nobody's stored password is touched.
    async fn settle_vanished(&self, epoch: LeaseEpoch, progress: &mut Progress) -> Result<(), ChannelError> {
        if progress.vanished.is_empty() {
            return Ok(());
        }
        let usable = self.store.usable_count(&self.connector).await?;
        let vanished = progress.vanished.len() as u64;
        if vanished > VANISHED_BELIEVED.max(usable / 10) {
            return Err(ChannelError::PasswordsVanished { vanished, usable });
        }
        let now = self.clock.now();
        let changes = std::mem::take(&mut progress.vanished).into_iter().map(|(anchor, read_at, stamp, written)| {
            let credential = Some(CredentialChange::Quarantine { reason: Quarantine::Absent, stamp });
            AccountChange { written, credential, ..AccountChange::of(anchor, read_at) }
        });
        self.write(epoch, now, changes.collect()).await
    }

    async fn write(
        &self,
        epoch: LeaseEpoch,
        now: Timestamp,
        mut changes: Vec<AccountChange>,
    ) -> Result<(), ChannelError> {
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(WRITE));
            self.store.apply(epoch, &self.connector, now, changes).await?;
            changes = rest;
        }
        Ok(())
    }
}

/// What is to be written of what was found: a new password takes the finding of the former one away by itself.
fn leak_news(known: &KnownAccount, change: Option<&CredentialChange>, found: Leak) -> Leak {
    let is_new = matches!(change, Some(CredentialChange::Store { .. }));
    let before = known.credential.as_ref().and_then(|credential| credential.leaked);
    match (found, before) {
        (Leak::Listed(class), Some(before)) if !is_new && class == before => Leak::NotLookedFor,
        (Leak::NotListed, None) => Leak::NotLookedFor,
        (found, _) => found,
    }
}
