//! A tenant with people, a directory, stored hashes and a clock that stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::Record;
use landbridge::identity::{
    AccountState, AttemptId, AuthenticationMethod, Backup, ClientId, Clock as _, ConnectorName, DomainName,
    FailoverMode, NodeId, Pin, PlainPassword, SettableClock, Timestamp, UserId,
};
use landbridge::signin::shared_time::SharedTime;
use landbridge::signin::store::{Alerts, RaisedAlert, StoreDown};
use landbridge::signin::{
    BarredGroups, Browser, LockoutSettings, Notice, Parts, ProofDemand, ProtocolRequest, Session, Settings, SignIn,
    SignInError, SignInKey, SignInRequest, Step, TransactionHandle,
};
use landbridge::store::signin::{SignInTables, SignInTenant};
use landbridge::store::tenant::{DomainChange, NewVerification, TenantOptions, TenantStore};
use landbridge::store::{AuditLog, Database, DatabaseUrl, Room, Urgency};
use landbridge::tenant::PinMark;
use sqlx::Row;

use super::scripted::{ScriptedDirectory, ScriptedHashes, ScriptedPartner};
use crate::support::postgres::Postgres;

pub const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub const HOUR: Duration = Duration::from_secs(3600);

/// The time of all nodes, told by the test.
pub struct ClockTime(pub Arc<SettableClock>);

#[async_trait::async_trait]
impl SharedTime for ClockTime {
    async fn now(&self) -> Result<Timestamp, StoreDown> {
        Ok(self.0.now())
    }
}

pub struct World {
    pub sign_in: SignIn,
    pub tenant: TenantStore,
    pub tables: SignInTables,
    pub audit: AuditLog,
    pub db: Database,
    pub directory: Arc<ScriptedDirectory>,
    pub hashes: Arc<ScriptedHashes>,
    pub partner: Arc<ScriptedPartner>,
    pub clock: Arc<SettableClock>,
    pub settings: Settings,
    _kept: Box<dyn std::any::Any + Send + Sync>,
}

pub async fn on_sqlite() -> World {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    World::on(url, Box::new(dir)).await
}

pub async fn on_postgres() -> World {
    let url = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a database");
    World::on(url.parse().expect("a url of the store"), Box::new(())).await
}

/// Runs each story on both engines.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::signin::world::on_sqlite().await).await })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::signin::world::on_postgres().await).await })+
        }
    };
}
pub(crate) use on_both_engines;

impl World {
    async fn on(url: DatabaseUrl, kept: Box<dyn std::any::Any + Send + Sync>) -> Self {
        let db = Database::open(&url, Room::Gateway).await.expect("a fresh store opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let tenant = TenantStore::new(db.clone(), clock.clone(), TenantOptions::default());
        tenant.initialise(domain("tenant.example")).await.expect("an initial domain");
        for name in ["example.org", "partner.example"] {
            tenant.add_domain(domain(name), "challenge".to_owned()).await.expect("a new domain");
            tenant.mark_verified(&domain(name), NewVerification::Operator, None).await.expect("a known domain");
        }
        let corp: ConnectorName = "corp".parse().expect("a connector");
        let domains = BTreeSet::from([domain("example.org"), domain("partner.example")]);
        tenant.register_connectors(BTreeMap::from([(corp, domains)])).await.expect("a registration");
        let node: NodeId = "node-1".parse().expect("a node");
        let audit = AuditLog::new(db.clone(), node, clock.clone());
        let tables = SignInTables::new(db.clone(), audit.clone());
        let settings = Settings {
            late_after: Duration::from_millis(15),
            probe_interval: Duration::from_millis(15),
            good_probes: 2,
            refusal_quantum: Duration::ZERO,
            lockout: LockoutSettings {
                familiar_limit: 6,
                unfamiliar_limit: 4,
                spray_names: 12,
                ..LockoutSettings::default()
            },
            ..Settings::default()
        };
        let (directory, hashes) = (Arc::new(ScriptedDirectory::new()), Arc::new(ScriptedHashes::new(db.clone())));
        let world = Self {
            sign_in: SignIn::new(Self::parts(&tenant, &tables, &db, &audit, &directory, &hashes, &clock, &settings)),
            tenant,
            tables,
            audit,
            db,
            directory,
            hashes,
            partner: Arc::new(ScriptedPartner::default()),
            clock,
            settings,
            _kept: kept,
        };
        world.pass_completed(NOW).await;
        world
    }

    /// Sign-in at a node whose own clock is another.
    pub fn beside(&self, clock: Arc<SettableClock>) -> SignIn {
        let Self { tenant, tables, db, audit, directory, hashes, settings, .. } = self;
        let parts = Self::parts(tenant, tables, db, audit, directory, hashes, &self.clock, settings);
        SignIn::new(Parts { clock, ..parts })
    }

    /// Another node, or the same one after a restart, over the same store.
    pub fn restart(&mut self) {
        let Self { tenant, tables, db, audit, directory, hashes, clock, settings, .. } = self;
        self.sign_in = SignIn::new(Self::parts(tenant, tables, db, audit, directory, hashes, clock, settings));
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one world")]
    fn parts(
        tenant: &TenantStore,
        tables: &SignInTables,
        db: &Database,
        audit: &AuditLog,
        directory: &Arc<ScriptedDirectory>,
        hashes: &Arc<ScriptedHashes>,
        clock: &Arc<SettableClock>,
        settings: &Settings,
    ) -> Parts {
        let barred = BarredGroups::new(&["Vault Keepers".to_owned()]);
        Parts {
            directory: Arc::new(SignInTenant::new(
                tenant.clone(),
                db.clone(),
                audit.clone(),
                barred,
                Arc::new(ClockTime(clock.clone())),
            )),
            store: Arc::new(tables.clone()),
            live: directory.clone(),
            hashes: hashes.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            key: SignInKey::new([9; 32]),
        }
    }

    /// Changes how `example.org` signs in.
    pub async fn policy(&self, change: DomainChange) {
        self.change("example.org", change).await;
    }

    pub async fn change(&self, name: &str, change: DomainChange) {
        let name = domain(name);
        let version = self.tenant.read_domain(&name).await.expect("a read").expect("a domain").version;
        self.tenant.change_domain(&name, version, change, None).await.expect("a change");
    }

    pub async fn pta(&self, mode: FailoverMode) {
        self.policy(DomainChange {
            method: Some(AuthenticationMethod::Pta),
            backup: Some(Backup::Phs),
            failover: Some(mode),
            ..DomainChange::default()
        })
        .await;
    }

    pub async fn pin(&self, pin: Option<Pin>) {
        let mark = pin.map(|pin| PinMark { pin, by: "operator".to_owned(), at: NOW, until: None });
        self.policy(DomainChange { pin: Some(mark), ..DomainChange::default() }).await;
    }

    /// A person of `example.org` with a password in the directory and the same one as stored hash.
    pub async fn person(&self, name: &str) -> UserId {
        let password = format!("{name}-password");
        self.directory.person(&anchor(name), &password);
        self.hashes.store(&anchor(name), &password);
        let oid = self.known(name, "example.org").await;
        self.hash_row(name, 1).await;
        self.state(name, &AccountState::unrestricted(), NOW).await;
        oid
    }

    /// A person with neither hash nor stored state.
    pub async fn known(&self, name: &str, of: &str) -> UserId {
        let oid = UserId::random();
        let (anchor, upn) = (anchor(name), format!("{name}@{of}"));
        self.execute(&format!(
            "INSERT INTO tenant_user (oid, source_anchor, upn, upn_folded, domain, attributes, account_enabled, \
             cloud_mastered, security_stamp, created_at, updated_at) \
             VALUES ('{oid}', '{anchor}', '{upn}', '{upn}', '{of}', '{{}}', 1, 0, 'stamp-1', 0, 0)"
        ))
        .await;
        self.execute(&format!("INSERT INTO sign_in_name (folded, kind, oid) VALUES ('{upn}', 'upn', '{oid}')")).await;
        self.execute(&format!(
            "INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
             VALUES ('{oid}', 'corp', '{anchor}', 1, 0)"
        ))
        .await;
        oid
    }

    pub async fn hash_row(&self, name: &str, version: i64) {
        self.execute(&format!(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', '{}', 'sealed', '', '', '', {version}, 0, 0) \
             ON CONFLICT (connector, anchor) DO UPDATE SET version = {version}, outdated_at = NULL",
            anchor(name)
        ))
        .await;
    }

    pub async fn state(&self, name: &str, state: &AccountState, observed: Timestamp) {
        let (anchor, state) = (anchor(name), serde_json::to_string(state).expect("a state"));
        self.execute(&format!(
            "INSERT INTO directory_state (connector, anchor, state, source_version, observed_at) \
             VALUES ('corp', '{anchor}', '{state}', 'v', {at}) \
             ON CONFLICT (connector, anchor) DO UPDATE SET state = '{state}', observed_at = {at}",
            at = observed.millis()
        ))
        .await;
    }

    pub async fn pass_completed(&self, at: Timestamp) {
        self.execute(&format!(
            "INSERT INTO connector_pass (connector, started_at, completed_at) VALUES ('corp', 0, {at}) \
             ON CONFLICT (connector) DO UPDATE SET completed_at = {at}",
            at = at.millis()
        ))
        .await;
    }

    /// Puts a person into a group, within another group, of which `outer` is the name.
    pub async fn nested_in(&self, oid: UserId, outer: &str) {
        for (group, name) in [("g-inner", "Inner"), ("g-outer", outer)] {
            let group = group_id(group);
            self.execute(&format!(
                "INSERT INTO tenant_group (oid, display_name, attributes, cloud_mastered, member_count, created_at, \
                 updated_at) VALUES ('{group}', '{name}', '{{}}', 0, 1, 0, 0)"
            ))
            .await;
        }
        let (inner, outer) = (group_id("g-inner"), group_id("g-outer"));
        self.execute(&format!("INSERT INTO membership VALUES ('{inner}', 'user', '{oid}')")).await;
        self.execute(&format!("INSERT INTO membership VALUES ('{outer}', 'group', '{inner}')")).await;
    }

    pub async fn execute(&self, sql: &str) {
        let sql = sql.to_owned();
        let written: Result<(), landbridge::store::StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(conn).await;
                    done.map_err(landbridge::store::StoreError::doing("setting a test up"))?;
                    Ok(())
                })
            })
            .await;
        written.expect("a statement of the test");
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let row = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(self.db.read()).await.expect("a number");
        row.get::<i64, _>(0)
    }

    /// A transaction that awaits the password of `name`.
    pub async fn asked(&self, name: &str) -> TransactionHandle {
        let typed = if name.contains('@') { name.to_owned() } else { format!("{name}@example.org") };
        self.typed(&typed).await
    }

    /// The same for a name as it is typed.
    pub async fn typed(&self, typed: &str) -> TransactionHandle {
        let begun = self.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
        let step = self.sign_in.identify(&begun.handle, typed, &stranger()).await.expect("a step");
        assert!(matches!(step, Step::AwaitPassword { notice: None, .. }), "{step:?}");
        begun.handle
    }

    pub async fn type_password(&self, handle: &TransactionHandle, password: &str, browser: &Browser) -> Outcome {
        outcome(self.sign_in.password(handle, PlainPassword::new(password.to_owned()), browser).await)
    }

    /// One sign-in from a stranger's browser.
    pub async fn sign_in(&self, name: &str, password: &str) -> Outcome {
        self.sign_in_from(name, password, &stranger()).await
    }

    pub async fn sign_in_from(&self, name: &str, password: &str, browser: &Browser) -> Outcome {
        let handle = self.asked(name).await;
        self.type_password(&handle, password, browser).await
    }

    /// The right password of a person.
    pub async fn right(&self, name: &str) -> Outcome {
        self.sign_in(name, &format!("{name}-password")).await
    }

    /// The newest sign-in record.
    pub async fn last_record(&self) -> Record {
        self.records("sign-in").await.pop().expect("a record of a sign-in")
    }

    pub async fn last_reason(&self) -> String {
        self.last_record().await.reason.unwrap_or_default()
    }

    pub async fn records(&self, kind: &str) -> Vec<Record> {
        let mut records = self.audit.tail(None, 1000).await.expect("the log");
        records.retain(|record| record.kind == kind);
        records.sort_by_key(|record| record.number.number);
        records
    }

    pub async fn alerts(&self) -> Vec<RaisedAlert> {
        self.tables.raised().await.expect("the alerts")
    }

    pub async fn outdated(&self, name: &str) -> bool {
        let sql = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM credential WHERE anchor = '{}' AND outdated_at IS NOT NULL",
            anchor(name)
        );
        self.number(&sql).await == 1
    }
}

/// How a try ended.
#[derive(Debug)]
pub enum Outcome {
    In { session: Box<Session>, cookie: String },
    Notice(Notice),
    Error(SignInError),
}

impl Outcome {
    pub fn session(&self) -> &Session {
        match self {
            Self::In { session, .. } => session,
            other => panic!("nobody signed in: {other:?}"),
        }
    }

    pub fn cookie(&self) -> &str {
        match self {
            Self::In { cookie, .. } => cookie,
            other => panic!("nobody signed in: {other:?}"),
        }
    }

    pub fn notice(&self) -> Option<Notice> {
        match self {
            Self::Notice(notice) => Some(*notice),
            Self::In { .. } | Self::Error(_) => None,
        }
    }
}

fn outcome(step: Result<Step, SignInError>) -> Outcome {
    match step {
        Ok(Step::Complete { session, cookie, .. }) => {
            Outcome::In { session: Box::new(session), cookie: cookie.expect("a new session has a cookie") }
        }
        Ok(Step::AwaitPassword { notice, .. }) => Outcome::Notice(notice.expect("a try leaves a notice")),
        Ok(other) => panic!("an unexpected step: {other:?}"),
        Err(error) => Outcome::Error(error),
    }
}

/// Waits until background work has had its effect.
pub async fn eventually<F: AsyncFn() -> bool>(what: &str, holds: F) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true that {what}");
}

pub fn anchor(name: &str) -> String {
    format!("a-{name}")
}

pub fn domain(name: &str) -> DomainName {
    name.parse().expect("a domain")
}

fn group_id(name: &str) -> String {
    let digit = if name == "g-inner" { "1" } else { "2" };
    format!("00000000-0000-4000-8000-00000000000{digit}")
}

pub fn stranger() -> Browser {
    Browser { network: None, device: None, session: None, user_agent: None }
}

pub fn device(name: &str) -> Browser {
    Browser { device: Some(format!("hash of {name}")), ..stranger() }
}

/// A browser in the network number `number`.
pub fn in_network(number: u8, browser: Browser) -> Browser {
    Browser { network: Some([203, 0, number, 7].into()), ..browser }
}

pub fn request() -> SignInRequest {
    let client: ClientId = "app".parse().expect("a client");
    let protocol = ProtocolRequest {
        client,
        body: serde_json::json!({ "nonce": AttemptId::random().to_string() }),
        redirect_origin: "https://app.example".to_owned(),
        proof: ProofDemand::default(),
    };
    SignInRequest { protocol, login_hint: None, domain_hint: None }
}

/// A request that demands something of the proof.
pub fn demanding(proof: ProofDemand) -> SignInRequest {
    let plain = request();
    SignInRequest { protocol: ProtocolRequest { proof, ..plain.protocol }, ..plain }
}
