//! The password channel on a scripted directory: every rule on SQLite and on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landbridge::audit::{Actor, Event, EventKind, Outcome};
use landbridge::credential::pool::PoolSize;
use landbridge::credential::{Argon2Cost, ClearText, Hardening, HashingPool, KeyRing, LeakClass, Quarantine};
use landbridge::identity::{
    AccountState, Answer, Clock as _, ConnectorName, CredentialSource, LeaseEpoch, PlainPassword, Refusal,
    SettableClock, SourceAnchor, Timestamp, UnavailableCause, UserId, Verdict,
};
use landbridge::password_sync::account_state::StateFault;
use landbridge::password_sync::store::{CredentialReader as _, CredentialStoreError, PassStore as _};
use landbridge::password_sync::{
    AccountSource, Channel, ChannelError, Depth, Leak, LeakCheck, Looked, PassReport, PasswordTime, PasswordValues,
    Passwords, Sealer, SourceAccount, SourceError, SourcePage, SourcePosition, SourceVersion, StoredHashes, Wrapping,
    WriteStamp,
};
use landbridge::signin::authority::{Admission, HashCheck as _};
use landbridge::signin::store::{Alert, Alerts, CredentialMarks as _, Mark, Marked, RaisedAlert, StoreDown};
use landbridge::store::audit::AuditLog;
use landbridge::store::credentials::Credentials;
use landbridge::store::signin::SignInTables;
use landbridge::store::{Database, Room, StoreError, Urgency};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sqlx::Row as _;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::support::passwords::{nt_hash, ssha};
use crate::support::postgres::Postgres;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const EPOCH: LeaseEpoch = LeaseEpoch::from_number(0);

/// A directory that shows what it is told to show.
#[derive(Default)]
struct Scripted {
    accounts: Mutex<BTreeMap<String, Shown>>,
    /// The read breaks off after its pages.
    broken: Mutex<bool>,
    restored: Mutex<bool>,
    looked: Mutex<Looked>,
    /// From where each read was to go on. Each comes to the position that is its number.
    asked: Mutex<Vec<Option<String>>>,
}

#[derive(Clone)]
struct Shown {
    value: String,
    state: Result<AccountState, StateFault>,
    version: u32,
    in_scope: bool,
    written: Option<WriteStamp>,
    /// Its password is told to be as before.
    unchanged: bool,
    /// Its password cannot be read.
    unreadable: bool,
    leak: Leak,
}

impl Scripted {
    fn show(&self, anchor: &str, change: impl FnOnce(&mut Shown)) {
        let mut accounts = self.accounts.lock().expect("no panic before");
        let shown = accounts.entry(anchor.to_owned()).or_insert_with(|| Shown {
            value: String::new(),
            state: Ok(AccountState::unrestricted()),
            version: 0,
            in_scope: true,
            written: None,
            unchanged: false,
            unreadable: false,
            leak: Leak::NotLookedFor,
        });
        shown.version += 1;
        change(shown);
    }

    fn hide(&self, anchor: &str) {
        self.accounts.lock().expect("no panic before").remove(anchor);
    }

    fn page(&self, wanted: impl Fn(&str, &Shown) -> bool) -> SourcePage {
        let accounts = self.accounts.lock().expect("no panic before");
        let shown = accounts.iter().filter(|(anchor, shown)| wanted(anchor, shown));
        let accounts = shown.map(|(name, shown)| {
            let values = if shown.value.is_empty() { Vec::new() } else { vec![shown.value.clone().into_bytes()] };
            let attribute = if shown.value.starts_with('{') { "userPassword" } else { "sambaNTPassword" };
            SourceAccount {
                anchor: anchor(name),
                version: SourceVersion::new(format!("{:06}", shown.version)),
                state: shown.state.clone(),
                passwords: match (shown.unreadable, shown.unchanged) {
                    (true, _) => Passwords::Unreadable(UNREADABLE),
                    (false, true) => Passwords::Unchanged,
                    (false, false) => Passwords::Read(vec![PasswordValues {
                        attribute: attribute.to_owned(),
                        values: values.into_iter().map(Zeroizing::new).collect(),
                    }]),
                },
                written: shown.written,
                password_time: PasswordTime::OfState,
                leak: shown.leak,
            }
        });
        let accounts = accounts.collect();
        // Later than any mark that a test sets at its clock's time.
        let restored = *self.restored.lock().expect("no panic before");
        let looked = self.looked.lock().expect("no panic before").clone();
        SourcePage {
            server: "ldap://one".to_owned(),
            sole_server: true,
            restored,
            read_at: NOW + HOUR,
            looked,
            accounts,
        }
    }
}

const UNREADABLE: Quarantine = Quarantine::Malformed { scheme: "unicodePwd", fault: "its checksum is wrong" };
const HOUR: Duration = Duration::from_secs(3600);

#[async_trait]
impl AccountSource for Scripted {
    async fn read_all(
        &self,
        since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        let reached = {
            let mut asked = self.asked.lock().expect("no panic before");
            asked.push(since.map(|position| position.as_str().to_owned()));
            SourcePosition::new(asked.len().to_string())
        };
        pages.send(self.page(|_, shown| shown.in_scope)).await.map_err(|_| SourceError::GivenUp)?;
        if *self.broken.lock().expect("no panic before") {
            return Err(SourceError::Directory("the connection was lost".into()));
        }
        Ok(Some(reached))
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        if *self.broken.lock().expect("no panic before") {
            return Err(SourceError::Directory("the connection was lost".into()));
        }
        Ok(self.page(|name, _| anchors.contains(&anchor(name))))
    }
}

/// Alerts as they are raised.
#[derive(Default)]
struct Raised(Mutex<Vec<&'static str>>);

#[async_trait]
impl Alerts for Raised {
    async fn raise(&self, alert: Alert, _: Vec<Event>) -> Result<bool, StoreDown> {
        self.0.lock().expect("no panic before").push(alert.name);
        Ok(true)
    }

    async fn clear(&self, _: &'static str, _: String, _: Timestamp, _: Vec<Event>) -> Result<bool, StoreDown> {
        Ok(false)
    }

    async fn raised(&self) -> Result<Vec<RaisedAlert>, StoreDown> {
        Ok(Vec::new())
    }
}

struct World {
    _dir: tempfile::TempDir,
    db: Database,
    credentials: Credentials,
    signin: SignInTables,
    directory: Arc<Scripted>,
    clock: Arc<SettableClock>,
    alerts: Arc<Raised>,
    ring: Arc<KeyRing>,
    pool: HashingPool,
}

impl World {
    /// Ada, Ben and Cem with their passwords, each the credential source of a user; the directory shows Dan too.
    async fn open(url: Option<String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = url.unwrap_or_else(|| format!("sqlite:{}", dir.path().display()));
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock.clone());
        let world = Self {
            _dir: dir,
            credentials: Credentials::new(db.clone(), audit.clone()),
            signin: SignInTables::new(db.clone(), audit),
            db,
            directory: Arc::default(),
            clock,
            alerts: Arc::default(),
            ring: Arc::new(KeyRing::generate(&mut StdRng::seed_from_u64(1)).expect("a ring")),
            pool: HashingPool::new(PoolSize { cores: 2, memory_kib: 1 << 20, each_kib: 19_456 }),
        };
        for name in ["ada", "ben", "cem"] {
            world.link(name).await;
            world.directory.show(name, |shown| shown.value = ssha(&password_of(name), b"saltsalt"));
        }
        world.directory.show("dan", |shown| shown.value = ssha("Secret-dan", b"saltsalt"));
        world
    }

    /// Makes a user whose credential source is the account `name`.
    async fn link(&self, name: &str) {
        let oid = UserId::random();
        self.sql(&format!(
            "INSERT INTO tenant_user (oid, upn, upn_folded, domain, attributes, account_enabled, cloud_mastered, \
             security_stamp, created_at, updated_at) \
             VALUES ('{oid}', '{name}@a.example', '{name}@a.example', 'a.example', '{{}}', 1, 0, 's1', 0, 0)"
        ))
        .await;
        self.sql(&format!(
            "INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
             VALUES ('{oid}', 'corp', '{name}', 1, 0)"
        ))
        .await;
    }

    async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        let done = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let run = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await;
                run.map_err(StoreError::doing("a test's write"))?;
                Ok::<_, StoreError>(())
            })
        });
        done.await.expect("a test's write");
    }

    /// The rows of a query with one text column.
    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(self.db.read()).await.expect("a query");
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    async fn number(&self, sql: &str) -> i64 {
        let row = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(self.db.read()).await.expect("a query");
        row.get::<i64, _>(0)
    }

    fn sealer(&self) -> Sealer {
        Sealer {
            tenant: "tenant".to_owned(),
            ring: Arc::clone(&self.ring),
            pool: self.pool.clone(),
            hardening: Hardening::Argon2id(Argon2Cost::default()),
        }
    }

    fn channel(&self) -> Channel {
        Channel {
            connector: connector(),
            source: self.directory.clone(),
            store: Arc::new(self.credentials.clone()),
            sealer: self.sealer(),
            clear_text: ClearText::Refused,
            clock: self.clock.clone(),
            leaks: None,
        }
    }

    async fn pass(&self) -> PassReport {
        self.channel().run_pass(EPOCH, Depth::Changes).await.expect("a pass")
    }

    fn hashes(&self) -> StoredHashes {
        let store = Arc::new(self.credentials.clone());
        StoredHashes::new(store, self.alerts.clone(), self.sealer(), self.clock.clone())
    }

    async fn check(&self, name: &str, typed: &str) -> Answer {
        self.hashes().check(Some(&source(name)), &password(typed), admission()).await.answer
    }

    async fn version(&self, name: &str) -> i64 {
        self.number(&format!("SELECT version FROM credential WHERE anchor = '{name}'")).await
    }

    async fn state(&self, name: &str) -> AccountState {
        let text = self.texts(&format!("SELECT state FROM directory_state WHERE anchor = '{name}'")).await;
        serde_json::from_str(&text[0]).expect("a state")
    }

    async fn result(&self, name: &str) -> String {
        self.texts(&format!("SELECT result FROM credential_result WHERE anchor = '{name}'")).await.join(",")
    }

    async fn mark(&self, name: &str, mark: Mark) {
        let (version, marked) = (self.version(name).await, Marked { at: self.clock.now(), mark });
        let event = Event::new(EventKind::CredentialOutdated, Outcome::Success, Actor::System("sign-in".to_owned()));
        self.signin.mark(source(name), version, marked, event).await.expect("a store");
    }

    async fn outdated(&self, name: &str) -> bool {
        self.hashes().facts(&source(name)).await.expect("a store").expect("a row").outdated
    }
}

fn connector() -> ConnectorName {
    "corp".parse().expect("a name")
}

fn anchor(name: &str) -> SourceAnchor {
    SourceAnchor::from_text(name).expect("an anchor")
}

fn source(name: &str) -> CredentialSource {
    CredentialSource { connector: connector(), anchor: anchor(name) }
}

fn password_of(name: &str) -> String {
    format!("Secret-{name}")
}

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("may be typed")
}

fn admission() -> Admission {
    Admission { familiar: true, network: None, patience: Duration::from_secs(60) }
}

const VERIFIED: Answer = Answer::Verdict(Verdict::Verified);

const fn refused(refusal: Refusal) -> Answer {
    Answer::Verdict(Verdict::Refused(refusal))
}

macro_rules! on_both {
    ($(async fn $rule:ident($world:ident: &mut World) $body:block)*) => {$(
        mod $rule {
            use super::*;

            async fn rule($world: &mut World) $body

            #[tokio::test]
            async fn on_sqlite() {
                rule(&mut World::open(None).await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                let url = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
                rule(&mut World::open(Some(url)).await).await;
            }
        }
    )*};
}

on_both! {
    async fn a_server_that_lags_behind_brings_no_older_password(world: &mut World) {
        let show = |password: &str, version, at| {
            world.directory.show("ada", |shown| {
                shown.value = ssha(password, b"saltsalt");
                shown.written = Some(WriteStamp { version, at, writer: uuid::Uuid::nil() });
            });
        };
        show("the newer one", 7, 100);
        world.pass().await;
        assert_eq!(world.check("ada", "the newer one").await, VERIFIED);
        // An earlier write, although by a clock that is ahead.
        show("the older one", 6, 900);
        assert_eq!(world.pass().await.stored, 0);
        assert_eq!(world.check("ada", "the older one").await, refused(Refusal::WrongPassword));
        assert_eq!(world.check("ada", "the newer one").await, VERIFIED);
        show("the newest one", 7, 101);
        assert_eq!(world.pass().await.stored, 1);
        assert_eq!(world.check("ada", "the newest one").await, VERIFIED);
        assert_eq!(world.pass().await.stored, 0);
    }

    async fn a_new_hash_that_cannot_be_read_ends_the_former_one_until_it_can(world: &mut World) {
        let write = |version| Some(WriteStamp { version, at: 100, writer: uuid::Uuid::nil() });
        world.directory.show("ada", |shown| shown.written = write(7));
        world.pass().await;
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
        // Of the same write: nothing is new.
        world.directory.show("ada", |shown| shown.unreadable = true);
        assert_eq!(world.pass().await.quarantined, 0);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);

        world.directory.show("ada", |shown| shown.written = write(8));
        let report = world.pass().await;
        assert_eq!((report.quarantined, report.unchanged), (1, 2), "{report:?}");
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::NoCredential));
        assert!(!world.hashes().facts(&source("ada")).await.expect("a store").expect("a row").usable, "nor in failover");
        assert_eq!(world.hashes().matches_spare(&source("ada"), &password("Secret-ada")).await, None);
        let detail = || async { world.texts("SELECT detail FROM credential_result WHERE anchor = 'ada'").await };
        assert_eq!(detail().await, [UNREADABLE.to_string()]);
        let audited = world.texts("SELECT kind FROM audit WHERE kind = 'credential-quarantined'").await;
        assert_eq!(audited.len(), 1);
        // Others' deltas go on, and the reason stays what it is.
        world.directory.show("ada", |shown| (shown.unreadable, shown.unchanged) = (false, true));
        assert_eq!(world.pass().await.quarantined, 1);
        assert_eq!(detail().await, [UNREADABLE.to_string()]);

        // It was queued to be read by itself, and stays so until it is read.
        let queued = || async { world.texts("SELECT reason FROM credential_fetch WHERE anchor = 'ada'").await };
        assert_eq!(queued().await, ["unreadable"]);
        world.directory.show("ada", |shown| (shown.unreadable, shown.unchanged) = (true, false));
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("a read"), 0);
        assert_eq!(queued().await, ["unreadable"]);
        world.directory.show("ada", |shown| (shown.unreadable, shown.value) = (false, ssha("The new one", b"saltsalt")));
        world.clock.advance(HOUR);
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("a read"), 1);
        assert!(queued().await.is_empty());
        assert_eq!(world.check("ada", "The new one").await, VERIFIED);
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::WrongPassword));
    }

    async fn a_hash_that_the_directory_has_moved_on_from_signs_nobody_in(world: &mut World) {
        world.pass().await;
        for (name, mark, answer) in [
            ("ada", Mark::StillMatchesRefused, refused(Refusal::NoCredential)),
            ("ben", Mark::NewerPasswordSet, refused(Refusal::NoCredential)),
            // Nothing is proved: this one waits for the channel in failover alone.
            ("cem", Mark::Unchecked, VERIFIED),
        ] {
            world.mark(name, mark).await;
            assert_eq!(world.check(name, &password_of(name)).await, answer, "{name}");
            assert!(world.outdated(name).await, "{name}");
        }
        // The directory still has it: the doubt is gone.
        world.pass().await;
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
    }

    async fn a_pass_stores_hashes_and_a_second_one_derives_nothing(world: &mut World) {
        let first = world.pass().await;
        let expected = PassReport { read: 4, stored: 3, no_target_connection: 1, states_changed: 3, ..PassReport::default() };
        assert_eq!(first, expected);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
        assert_eq!(world.check("ada", "Secret-ben").await, refused(Refusal::WrongPassword));
        let second = world.pass().await;
        let expected = PassReport { read: 4, unchanged: 3, no_target_connection: 1, ..PassReport::default() };
        assert_eq!(second, expected);
        assert_eq!(world.version("ada").await, 1);
        assert_eq!(world.result("ada").await, "success");
        assert_eq!(world.result("dan").await, "no-target-connection");
        let unused = world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM credential WHERE anchor = 'dan'").await;
        assert_eq!(unused, 0);
        let audited = world.texts("SELECT kind FROM audit ORDER BY number").await;
        assert_eq!(audited, ["credential-stored"]);
    }

    async fn what_was_found_where_hashes_are_read_counts_for_what_is_stored(world: &mut World) {
        let listed = "SELECT anchor FROM credential WHERE leaked_at IS NOT NULL ORDER BY anchor";
        for name in ["ada", "dan"] {
            world.directory.show(name, |shown| shown.leak = Leak::Listed(LeakClass::Once));
        }
        let said = |looked| *world.directory.looked.lock().expect("no panic before") = looked;
        let error = "SELECT COALESCE(leaked_error, 'none') FROM connector_pass";

        let pass = async |expected| {
            let channel = Channel { leaks: Some(Arc::new(LeakCheck::there(expected))), ..world.channel() };
            channel.run_pass(EPOCH, Depth::Changes).await.expect("a pass").leaked
        };
        said(Looked::Yes);
        assert_eq!((pass(true).await, world.texts(listed).await), (1, vec!["ada".to_owned()]), "dan has no user");
        assert_eq!((pass(true).await, world.texts(error).await), (0, vec!["none".to_owned()]), "it is no news");
        // Of a password that is older than the stored one nothing is believed.
        world.directory.show("ben", |shown| (shown.version, shown.leak) = (0, Leak::Listed(LeakClass::Thousands)));
        world.directory.show("ben", |shown| (shown.version, shown.value) = (0, nt_hash("Older")));
        assert_eq!((pass(true).await, world.texts(listed).await.len()), (0, 1));
        world.directory.show("ada", |shown| shown.value = ssha("Changed-1", b"saltsalt"));
        world.directory.show("ada", |shown| shown.leak = Leak::NotListed);
        assert_eq!((pass(true).await, world.texts(listed).await.len()), (0, 0));

        said(Looked::Failed("the list is damaged".to_owned()));
        for expected in [true, false] {
            pass(expected).await;
            assert_eq!(world.texts(error).await, ["the list is damaged"]);
        }
        said(Looked::No);
        pass(false).await;
        assert_eq!(world.texts(error).await, ["none"]);
        pass(true).await;
        assert!(world.texts(error).await[0].contains("has no list"), "nobody looked, and somebody counts on it");
    }

    async fn a_changed_password_replaces_the_stored_one_and_grows_the_version(world: &mut World) {
        world.pass().await;
        world.directory.show("ada", |shown| shown.value = ssha("Changed-1", b"saltsalt"));
        world.directory.show("ben", |shown| shown.value = nt_hash("Secret-of-ben-2"));
        assert_eq!(world.pass().await.stored, 2);
        assert_eq!(world.check("ada", "Changed-1").await, VERIFIED);
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::WrongPassword));
        assert_eq!(world.check("ben", "Secret-of-ben-2").await, VERIFIED);
        assert_eq!((world.version("ada").await, world.version("cem").await), (2, 1));
        let answer = world.hashes().check(Some(&source("ada")), &password("Changed-1"), admission()).await;
        assert_eq!(answer.credential_version, Some(2));
    }

    async fn a_hash_that_cannot_be_used_stops_nobody_else(world: &mut World) {
        world.directory.show("ada", |shown| shown.value = "{SSHA}not-a-hash".to_owned());
        world.directory.show("ben", |shown| {
            shown.value = "{ARGON2}$argon2id$v=19$m=4194304,t=9,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".to_owned();
        });
        let report = world.pass().await;
        assert_eq!((report.stored, report.quarantined), (1, 2));
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::NoCredential));
        assert_eq!(world.check("cem", "Secret-cem").await, VERIFIED);
        let detail = world.texts("SELECT detail FROM credential_result WHERE result = 'quarantined' ORDER BY anchor").await;
        assert_eq!(detail, [
            "the {SSHA} value is malformed: it is not base64",
            "checking the {ARGON2} hash would take more than 256 MiB of memory",
        ]);
        let reasons = world.texts("SELECT reason FROM credential WHERE stage = 'quarantined' ORDER BY anchor").await;
        assert_eq!(reasons, detail);
        let again = world.pass().await;
        assert_eq!((again.quarantined, again.unchanged), (2, 1));
        let audited = world.texts("SELECT kind FROM audit WHERE kind = 'credential-quarantined'").await;
        assert_eq!(audited.len(), 2, "once each");
        world.directory.show("ada", |shown| shown.value = ssha("Secret-ada", b"saltsalt"));
        assert_eq!(world.pass().await.stored, 1);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
    }

    async fn who_lost_the_lease_writes_nothing(world: &mut World) {
        world.sql("UPDATE engine_lease SET epoch = 5 WHERE id = 1").await;
        let lost = world.channel().run_pass(LeaseEpoch::from_number(4), Depth::Changes).await;
        let epoch = LeaseEpoch::from_number(4);
        assert!(
            matches!(lost, Err(ChannelError::Store(CredentialStoreError::LeaseLost { epoch: found })) if found == epoch)
        );
        assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM credential").await, 0);
        assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM connector_pass").await, 0);
        assert!(world.channel().run_pass(LeaseEpoch::from_number(5), Depth::Changes).await.is_ok());
    }

    async fn a_pass_counts_as_complete_only_when_it_was_read_to_its_end(world: &mut World) {
        *world.directory.broken.lock().expect("no panic before") = true;
        let broken = world.channel().run_pass(EPOCH, Depth::Changes).await;
        assert!(matches!(broken, Err(ChannelError::Source(_))));
        let completed = "SELECT CAST(COALESCE(completed_at, -1) AS BIGINT) FROM connector_pass";
        assert_eq!(world.number(completed).await, -1);
        let error = world.texts("SELECT error FROM connector_pass").await;
        assert!(error[0].contains("the connection was lost"), "{error:?}");
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED, "what was read is kept");
        *world.directory.broken.lock().expect("no panic before") = false;
        world.clock.advance(HOUR);
        world.pass().await;
        assert_eq!(world.number(completed).await, (NOW + HOUR).millis());
        let errors = "SELECT CAST(COUNT(*) AS BIGINT) FROM connector_pass WHERE error IS NOT NULL";
        assert_eq!(world.number(errors).await, 0);
        *world.directory.broken.lock().expect("no panic before") = true;
        world.clock.advance(HOUR);
        assert!(world.channel().run_pass(EPOCH, Depth::Changes).await.is_err());
        assert_eq!(world.number(completed).await, (NOW + HOUR).millis(), "the last whole pass stays on record");
    }

    async fn the_position_of_a_pass_is_kept_with_all_that_it_covers_or_not_at_all(world: &mut World) {
        world.pass().await;
        world.pass().await;
        *world.directory.broken.lock().expect("no panic before") = true;
        assert!(world.channel().run_pass(EPOCH, Depth::Changes).await.is_err());
        *world.directory.broken.lock().expect("no panic before") = false;
        // A password that is not believed has to be shown again.
        world.directory.show("ada", |shown| shown.version -= 2);
        assert_eq!(world.pass().await.stale, 1);
        world.directory.show("ada", |shown| shown.version += 2);
        // A state that cannot be read costs no password.
        world.directory.show("ben", |shown| shown.state = Err(StateFault { attribute: "logonHours" }));
        assert_eq!(world.pass().await.errors, 1);
        world.channel().run_pass(EPOCH, Depth::Everything).await.expect("a pass");
        world.pass().await;
        let asked = world.directory.asked.lock().expect("no panic before");
        let asked: Vec<_> = asked.iter().map(Option::as_deref).collect();
        assert_eq!(asked, [None, Some("1"), Some("2"), Some("2"), Some("2"), None, Some("6")]);
    }

    async fn an_account_state_follows_the_directory_and_ends_sessions_when_the_account_ends(world: &mut World) {
        world.pass().await;
        let stamp = "SELECT security_stamp FROM tenant_user WHERE upn_folded = 'ada@a.example'";
        assert_eq!(world.texts(stamp).await, ["s1"]);
        let expiring = AccountState { account_expires: Some(NOW), ..AccountState::unrestricted() };
        world.directory.show("ada", |shown| shown.state = Ok(expiring.clone()));
        assert_eq!(world.pass().await.states_changed, 1);
        assert_eq!(world.state("ada").await, expiring);
        assert_eq!(world.texts(stamp).await, ["s1"], "an instant that passes is judged at each use");
        let disabled = AccountState { enabled: false, ..AccountState::unrestricted() };
        world.directory.show("ada", |shown| shown.state = Ok(disabled.clone()));
        world.pass().await;
        assert_eq!(world.state("ada").await, disabled);
        assert_ne!(world.texts(stamp).await, ["s1"]);
        let others = world.texts("SELECT security_stamp FROM tenant_user WHERE upn_folded <> 'ada@a.example'").await;
        assert_eq!(others, ["s1", "s1"]);
    }

    async fn a_lagging_server_changes_nothing(world: &mut World) {
        world.directory.show("ada", |shown| shown.version = 10);
        world.pass().await;
        let disabled = AccountState { enabled: false, ..AccountState::unrestricted() };
        world.directory.show("ada", |shown| {
            (shown.version, shown.value, shown.state) = (9, ssha("Older-1", b"saltsalt"), Ok(disabled));
        });
        let report = world.pass().await;
        assert_eq!((report.stale, report.stored, report.states_changed), (1, 0, 0));
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
    }

    async fn a_deleted_account_refuses_and_keeps_its_hash_until_an_export_ends_it(world: &mut World) {
        world.pass().await;
        world.directory.hide("ada");
        let report = world.pass().await;
        assert_eq!((report.missing, report.states_changed), (1, 1));
        assert!(world.state("ada").await.deleted);
        assert_eq!(world.result("ada").await, "source-object-missing");
        let usable = world.hashes().facts(&source("ada")).await.expect("a store").expect("a row").usable;
        assert!(usable, "the channel wipes nothing");
        assert_eq!(world.pass().await.states_changed, 0);
        world.directory.show("ada", |shown| shown.value = ssha("Secret-ada", b"saltsalt"));
        assert_eq!(world.pass().await.states_changed, 1);
        assert!(!world.state("ada").await.deleted);
    }

    async fn an_account_out_of_scope_is_followed_and_not_taken_for_deleted(world: &mut World) {
        world.pass().await;
        world.directory.show("ada", |shown| {
            (shown.in_scope, shown.value) = (false, ssha("Moved-1", b"saltsalt"));
        });
        let report = world.pass().await;
        assert_eq!((report.missing, report.stored), (0, 1));
        assert!(!world.state("ada").await.deleted);
        assert_eq!(world.check("ada", "Moved-1").await, VERIFIED);
    }

    async fn a_directory_that_shows_nobody_is_not_believed(world: &mut World) {
        world.pass().await;
        for name in ["ada", "ben", "cem", "dan"] {
            world.directory.hide(name);
        }
        assert!(matches!(world.channel().run_pass(EPOCH, Depth::Changes).await, Err(ChannelError::NothingVisible)));
        assert!(!world.state("ada").await.deleted);
    }

    async fn vanished_values_are_believed_one_by_one_and_not_in_crowds(world: &mut World) {
        for number in 0..20 {
            let name = format!("crowd{number}");
            world.link(&name).await;
            world.directory.show(&name, |shown| shown.value = ssha("Secret-of-many", b"saltsalt"));
        }
        world.pass().await;
        world.directory.show("ada", |shown| shown.value.clear());
        world.pass().await;
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::NoCredential));
        for number in 0..20 {
            world.directory.show(&format!("crowd{number}"), |shown| shown.value.clear());
        }
        let lost = world.channel().run_pass(EPOCH, Depth::Changes).await;
        assert!(matches!(lost, Err(ChannelError::PasswordsVanished { vanished: 20, usable: 22 })), "{lost:?}");
        assert_eq!(world.check("crowd0", "Secret-of-many").await, VERIFIED);
    }

    async fn a_mark_ends_with_a_new_value_or_a_later_read_of_the_same(world: &mut World) {
        world.pass().await;
        world.mark("ada", Mark::StillMatchesRefused).await;
        world.mark("ben", Mark::StillMatchesRefused).await;
        world.clock.advance(2 * HOUR);
        world.mark("cem", Mark::StillMatchesRefused).await;
        assert!(world.outdated("ada").await && world.outdated("ben").await && world.outdated("cem").await);
        world.directory.show("ada", |shown| shown.value = ssha("Changed-1", b"saltsalt"));
        world.pass().await;
        assert!(!world.outdated("ada").await, "replaced");
        assert!(!world.outdated("ben").await, "confirmed by a later read");
        assert!(world.outdated("cem").await, "the read began before the mark");
        assert_eq!((world.version("ada").await, world.version("ben").await), (2, 1));
    }

    async fn an_ineligible_user_keeps_no_use_of_the_hash_and_gets_it_back(world: &mut World) {
        world.pass().await;
        world.sql("UPDATE credential_source SET eligible = 0 WHERE anchor = 'ada'").await;
        let report = world.pass().await;
        assert_eq!((report.filtered_by_target, report.stored), (1, 0));
        assert_eq!(world.result("ada").await, "filtered-by-target");
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::NoCredential));
        world.sql("UPDATE credential_source SET eligible = 1 WHERE anchor = 'ada'").await;
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
    }

    async fn single_reads_are_served_or_tried_again_later(world: &mut World) {
        for name in ["ada", "nobody"] {
            world.sql(&format!("INSERT INTO credential_fetch (connector, anchor, reason, queued_at, attempts, next_at) VALUES ('corp', '{name}', 'provisioned', {0}, 0, {0})", NOW.millis())).await;
        }
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("reads"), 1);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
        assert_eq!(world.check("ben", "Secret-ben").await, refused(Refusal::NoCredential));
        let waiting = "SELECT anchor FROM credential_fetch";
        assert_eq!(world.texts(waiting).await, ["nobody"]);
        assert_eq!(world.number("SELECT next_at FROM credential_fetch").await, NOW.millis() + 5_000);
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("nothing due"), 0);
        world.clock.advance(Duration::from_secs(6));
        world.channel().run_fetches(EPOCH).await.expect("reads");
        assert_eq!(world.number("SELECT next_at FROM credential_fetch").await, NOW.millis() + 16_000);
    }

    async fn a_wiped_credential_stays_wiped_when_its_user_is_gone(world: &mut World) {
        world.pass().await;
        let credentials = world.credentials.clone();
        let wiped = world.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                credentials.wipe(conn, &source("ada"), NOW, Actor::System("test".to_owned())).await
            })
        });
        assert!(wiped.await.expect("a write"));
        let stored = world.credentials.credential(&source("ada")).await.expect("a store").expect("a row");
        assert_eq!((stored.chain.as_str(), stored.sealed.as_str(), stored.version), ("", "", 2));
        assert_eq!(world.check("ada", "Secret-ada").await, refused(Refusal::NoCredential));
        world.sql("DELETE FROM credential_source WHERE anchor = 'ada'").await;
        world.pass().await;
        assert_eq!(world.texts("SELECT stage FROM credential WHERE anchor = 'ada'").await, ["wiped"]);
        world.link("ada2").await;
        world.sql("UPDATE credential_source SET anchor = 'ada' WHERE anchor = 'ada2'").await;
        assert_eq!(world.pass().await.stored, 1, "restored: the password is taken anew");
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
    }

    async fn wrapping_ends_every_chain_in_argon2id_and_changes_no_answer(world: &mut World) {
        world.directory.show("ben", |shown| shown.value = nt_hash("Secret-ben"));
        world.pass().await;
        let wrapping = Wrapping::new(Arc::new(world.credentials.clone()), world.sealer());
        assert_eq!(wrapping.run_round(EPOCH).await.expect("a round"), 3);
        let progress = wrapping.progress().await.expect("counted");
        assert_eq!((progress.sealed, progress.wrapped, progress.failed), (0, 3, 0));
        let chains = world.texts("SELECT chain FROM credential ORDER BY anchor").await;
        assert!(chains.iter().all(|chain| chain.contains(">argon2id(19456,2,1,")), "{chains:?}");
        for name in ["ada", "ben", "cem"] {
            assert_eq!(world.check(name, &password_of(name)).await, VERIFIED);
            assert_eq!(world.check(name, "Secret-dan").await, refused(Refusal::WrongPassword));
            assert_eq!(world.version(name).await, 1, "the password is the same");
        }
        assert_eq!(wrapping.run_round(EPOCH).await.expect("a round"), 0);
        assert_eq!(world.pass().await.unchanged, 3, "the stamps stay");
        // A round that found nothing to do overlooks nothing that comes later, nor what it could not do.
        world.sql("UPDATE credential SET chain = 'rot13', stage = 'sealed' WHERE anchor = 'cem'").await;
        for _ in 0..2 {
            assert_eq!(wrapping.run_round(EPOCH).await.expect("a round"), 0);
            assert_eq!(wrapping.progress().await.expect("counted").failed, 1);
        }
        world.directory.show("ben", |shown| shown.value = nt_hash("Later"));
        world.pass().await;
        assert_eq!(wrapping.run_round(EPOCH).await.expect("a round"), 1);
        assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM credential WHERE stage = 'wrapped'").await, 2);
        assert_eq!(world.check("ben", "Later").await, VERIFIED);
    }

    async fn a_rolled_key_ring_reseals_the_rows_and_then_the_old_key_can_go(world: &mut World) {
        world.pass().await;
        let old = Arc::clone(&world.ring);
        world.ring = Arc::new(old.with_new_primary(&mut StdRng::seed_from_u64(2)).expect("a ring"));
        let mut sealer = world.sealer();
        sealer.hardening = Hardening::Sealed;
        let wrapping = Wrapping::new(Arc::new(world.credentials.clone()), sealer);
        assert_eq!(wrapping.run_round(EPOCH).await.expect("a round"), 3);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
        let prefix = format!("{}:", world.ring.primary());
        let sealed = world.texts("SELECT sealed FROM credential").await;
        assert!(sealed.iter().all(|sealed| sealed.starts_with(&prefix)));
        world.ring = old;
        let answer = world.check("ada", "Secret-ada").await;
        assert!(matches!(answer, Answer::Unavailable(unavailable) if unavailable.cause == UnavailableCause::CredentialUnreadable));
    }

    async fn a_row_that_does_not_open_is_unavailable_with_an_alarm_and_never_a_wrong_password(world: &mut World) {
        world.pass().await;
        let unreadable = |answer: Answer| {
            matches!(answer, Answer::Unavailable(unavailable) if unavailable.cause == UnavailableCause::CredentialUnreadable)
        };
        world.sql("UPDATE credential SET sealed = (SELECT sealed FROM credential WHERE anchor = 'ben') WHERE anchor = 'ada'").await;
        assert!(unreadable(world.check("ada", "Secret-ada").await), "moved from another row");
        assert!(unreadable(world.check("ada", "Secret-ben").await), "moved from another row");
        world.sql("UPDATE credential SET chain = 'md4-utf16' WHERE anchor = 'ben'").await;
        assert!(unreadable(world.check("ben", "Secret-ben").await), "another chain");
        world.sql("UPDATE credential SET chain = 'rot13' WHERE anchor = 'ben'").await;
        assert!(unreadable(world.check("ben", "Secret-ben").await), "a chain of a later version");
        assert_eq!(world.hashes().matches_spare(&source("ben"), &password("Secret-ben")).await, None);
        assert_eq!(world.alerts.0.lock().expect("no panic before").len(), 5);
        assert_eq!(world.check("cem", "Secret-cem").await, VERIFIED);
    }

    async fn unknown_users_and_users_without_a_hash_walk_the_same_road(world: &mut World) {
        world.pass().await;
        let hashes = world.hashes();
        hashes.calibrate().await.expect("a store");
        let unknown = hashes.check(None, &password("Secret-ada"), admission()).await;
        assert_eq!((unknown.answer, unknown.credential_version), (refused(Refusal::UnknownUser), None));
        assert_eq!(world.check("dan", "Secret-dan").await, refused(Refusal::NoCredential));
        let none = Admission { patience: Duration::ZERO, ..admission() };
        assert!(hashes.facts(&source("dan")).await.expect("a store").is_none());
        assert_eq!(hashes.matches_spare(&source("ada"), &password("Secret-ada")).await, Some(true));
        assert_eq!(hashes.matches_spare(&source("ada"), &password("Secret-ben")).await, Some(false));
        assert_eq!(hashes.check(Some(&source("ada")), &password("Secret-ada"), none).await.answer, VERIFIED);
    }

    async fn a_restored_directory_is_believed_though_it_is_older(world: &mut World) {
        let stamp = |version| Some(WriteStamp { version, at: 7, writer: uuid::Uuid::nil() });
        world.directory.show("ada", |shown| (shown.written, shown.version) = (stamp(5), 9));
        world.pass().await;
        world.directory.show("ada", |shown| {
            (shown.written, shown.version) = (stamp(3), 4);
            shown.value = ssha("Former-ada", b"saltsalt");
        });
        assert_eq!(world.pass().await.stale, 1);
        assert_eq!(world.check("ada", "Secret-ada").await, VERIFIED);
        *world.directory.restored.lock().expect("no panic before") = true;
        assert_eq!(world.pass().await.stale, 0);
        assert_eq!(world.check("ada", "Former-ada").await, VERIFIED);
        *world.directory.restored.lock().expect("no panic before") = false;
        // It counts on from where it is.
        world.directory.show("ada", |shown| {
            shown.written = stamp(4);
            shown.value = ssha("Next-ada", b"saltsalt");
        });
        world.pass().await;
        assert_eq!(world.check("ada", "Next-ada").await, VERIFIED);
    }

    async fn an_account_that_is_asked_for_anew_is_read_once(world: &mut World) {
        world.pass().await;
        world.directory.show("ada", |shown| shown.value = ssha("Brand-new-ada", b"saltsalt"));
        for _ in 0..2 {
            world.signin.ask_anew(source("ada"), world.clock.now()).await.expect("a store");
        }
        // Neither a pass that tells nothing of the password is that read, nor a read that does not.
        world.directory.show("ada", |shown| shown.unchanged = true);
        world.pass().await;
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("reads"), 0);
        world.directory.show("ada", |shown| shown.unchanged = false);
        world.clock.advance(HOUR);
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("reads"), 1);
        assert_eq!(world.check("ada", "Brand-new-ada").await, VERIFIED);
        assert_eq!(world.channel().run_fetches(EPOCH).await.expect("reads"), 0);
    }

    async fn results_are_kept_for_seven_days(world: &mut World) {
        world.pass().await;
        world.sql("DELETE FROM credential_source WHERE anchor = 'ada'").await;
        world.directory.hide("ada");
        world.clock.advance(Duration::from_secs(6 * 86_400));
        world.pass().await;
        assert_eq!(world.result("ada").await, "success");
        world.clock.advance(Duration::from_secs(2 * 86_400));
        world.pass().await;
        assert_eq!(world.result("ada").await, "");
        assert_eq!(world.result("ben").await, "success", "renewed while it holds");
    }

    async fn a_thousand_accounts_go_through_every_statement_size(world: &mut World) {
        let mut sql = String::new();
        for number in 0..613 {
            let name = format!("n{number:04}");
            sql += &format!("INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) VALUES ('{}', 'corp', '{name}', 1, 0);", UserId::random());
            world.directory.show(&name, |shown| shown.value = nt_hash("Secret-of-many"));
        }
        world.sql(&sql).await;
        assert_eq!(world.pass().await.stored, 616);
        assert_eq!(world.pass().await.unchanged, 616);
        let known = world.credentials.known(&connector(), &[anchor("n0612"), anchor("none")]).await.expect("a store");
        let linked: Vec<bool> = ["n0612", "none"]
            .map(|name| known.iter().any(|account| account.anchor == anchor(name) && account.link.is_some()))
            .to_vec();
        assert_eq!(linked, [true, false]);
    }
}
