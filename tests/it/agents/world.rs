//! A broker with its listener and its store, a slapd, and agents enrolled at it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use agent_proto::EnrolmentToken;
use async_trait::async_trait;
use axum::Router;
use landbridge::agent_sync;
use landbridge::agents::broker::registry::AgentRegistry;
use landbridge::agents::broker::{AgentAuthority, AgentDesk, Broker, BrokerParts, Doubts, Gate, Listener, Reach};
use landbridge::agents::process::{self, EnrolError, Identity};
use landbridge::config::{self, DatabaseUrl, Dialect};
use landbridge::identity::{
    Answer, Clock, ConnectorName, CredentialSource, DomainName, PlainPassword, SourceAnchor, SystemClock, Timestamp,
    Verdict,
};
use landbridge::pass_through::OldPasswordRule;
use landbridge::signin::authority::CredentialStoreDown;
use landbridge::signin::{Admission, CredentialFacts, HashAnswer, HashCheck, LiveAnswer, LiveCheck as _, LiveSubject};
use landbridge::store::agents::AgentTables;
use landbridge::store::signin::SignInTables;
use landbridge::store::{AuditLog, Database, Room};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::agent;
use crate::support::directory::{self, Directory, Person};
use crate::support::ports::free_port;
use crate::support::process::temp_dir;
use crate::support::slapd::Slapd;
use crate::support::wait::wait_until_async;

pub const CORP: &str = "corp";
pub const LAB: &str = "lab";
pub const DEADLINE: Duration = Duration::from_secs(4);
pub const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
pub const GRACE: Duration = Duration::from_secs(30 * 86_400);
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub slapd: Slapd,
    pub directory: Directory,
    pub broker: Broker,
    pub desk: AgentDesk,
    pub clock: Arc<ShiftedClock>,
    pub url: String,
    pub alerts: Arc<SignInTables>,
    stop: CancellationToken,
    pub dir: tempfile::TempDir,
}

/// What stands behind the agents' door.
pub struct Ground {
    pub db: Database,
    pub audit: AuditLog,
    pub registry: Arc<dyn AgentRegistry>,
    pub clock: Arc<ShiftedClock>,
}

/// The machine's clock, set forward by tests: certificates are verified by the machine's own time, and an agent
/// compares the gateway's time with its stopwatch.
#[derive(Debug, Default)]
pub struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).expect("fits"), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().millis() + self.0.load(Ordering::SeqCst))
    }
}

/// A real agent, in this process.
pub struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the agent ends in order");
    }
}

fn connector(name: &str) -> ConnectorName {
    name.parse().expect("a name")
}

pub fn domain(name: &str) -> DomainName {
    name.parse().expect("a domain")
}

/// When everybody's synchronised password, [`HASHED`], was set.
pub const HASHED_AT: Timestamp = Timestamp::from_secs(1_700_000_000);
pub const HASHED: &str = "the synchronised password";

struct ScriptedHashes;

#[async_trait]
impl HashCheck for ScriptedHashes {
    async fn check(&self, _: Option<&CredentialSource>, _: &PlainPassword, _: Admission) -> HashAnswer {
        unreachable!("agents' answers are compared by spare permits alone")
    }

    async fn matches_spare(&self, _: &CredentialSource, password: &PlainPassword) -> Option<bool> {
        Some(password.expose() == HASHED)
    }

    async fn facts(&self, _: &CredentialSource) -> Result<Option<CredentialFacts>, CredentialStoreDown> {
        Ok(Some(CredentialFacts {
            version: 1,
            usable: true,
            outdated: false,
            password_set: Some(HASHED_AT),
            stored_at: HASHED_AT,
            confirmed_at: HASHED_AT,
            leaked: false,
        }))
    }
}

impl World {
    pub async fn open() -> Self {
        Self::open_with(None, |_| Router::new()).await
    }

    /// With a store elsewhere, and with further routes at the agents' door.
    pub async fn open_with(store: Option<DatabaseUrl>, besides: impl FnOnce(&Ground) -> Router) -> Self {
        Self::open_by(store, besides, |port| port).await
    }

    /// Agents take the way that leads to the gateway's port.
    pub async fn open_behind(way: impl FnOnce(u16) -> u16) -> Self {
        Self::open_by(None, |_| Router::new(), way).await
    }

    async fn open_by(
        store: Option<DatabaseUrl>,
        besides: impl FnOnce(&Ground) -> Router,
        way: impl FnOnce(u16) -> u16,
    ) -> Self {
        let directory = directory::people(20);
        let slapd = Slapd::builder().directory(&directory).lockout_after(0).scripted_answers().start();
        let dir = temp_dir("agents");
        let url = store.unwrap_or_else(|| DatabaseUrl::Sqlite { directory: dir.path().to_owned() });
        let db = Database::open(&url, Room::Gateway).await.expect("a store");
        let clock = Arc::new(ShiftedClock::default());
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("a node"), clock.clone());
        let alerts = Arc::new(SignInTables::new(db.clone(), audit.clone()));
        let registry: Arc<dyn AgentRegistry> = Arc::new(AgentTables::new(db.clone(), audit.clone()));
        let besides = besides(&Ground { db, audit, registry: registry.clone(), clock: clock.clone() });
        let reach = |name: &str| {
            let old_passwords = Arc::new(OldPasswordRule {
                connector: connector(name),
                dialect: Dialect::Openldap,
                window: Duration::ZERO,
                patience: DEADLINE,
                hashes: None,
                tickets: None,
                clock: clock.clone(),
            });
            let probe_deadline = Duration::from_secs(4);
            (connector(name), Reach { bind_deadline: DEADLINE, probe_deadline, old_passwords })
        };
        let broker = Broker::new(BrokerParts {
            node: "node1".parse().expect("a node"),
            registry: registry.clone(),
            clock: clock.clone(),
            connectors: HashMap::from([reach(CORP), reach(LAB)]),
            // A busy test machine gets more than a quarter of a second.
            acknowledgement: Duration::from_secs(1),
            doubts: Arc::new(Doubts {
                hashes: Arc::new(ScriptedHashes),
                alerts: alerts.clone(),
                clock: clock.clone(),
                one_in: 1,
            }),
        });
        let (pkcs8, certificate) = AgentAuthority::generate(clock.now()).expect("an authority");
        let authority = Arc::new(AgentAuthority::open(&pkcs8, &certificate).expect("an authority"));
        let port = free_port();
        let address = ([127, 0, 0, 1], port).into();
        let listener =
            Listener::bind(address, "localhost", authority.clone(), clock.clone()).await.expect("a listener");
        let (url, stop) = (format!("https://localhost:{}", way(port)), CancellationToken::new());
        let gate = Gate {
            registry: registry.clone(),
            authority: authority.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            lifetime: LIFETIME,
            grace: GRACE,
        };
        tokio::spawn(listener.serve(Arc::new(gate), besides, stop.clone()));
        tokio::spawn({
            let (broker, url, stop) = (broker.clone(), url.clone(), stop.clone());
            async move { broker.watch(&url, stop).await }
        });
        let domains = [domain("alpha.example"), domain("beta.example")];
        let desk = AgentDesk {
            registry,
            broker: broker.clone(),
            authority,
            clock: clock.clone(),
            url: url.clone(),
            node: "node1".parse().expect("a node"),
            connectors: [CORP, LAB].map(|name| (connector(name), domains.clone().into())).into(),
            synchronised: [CORP, LAB].map(connector).into(),
        };
        Self { slapd, directory, broker, desk, clock, url, alerts, stop, dir }
    }

    pub async fn token(&self, name: &str, domains: &[&str]) -> EnrolmentToken {
        let domains = domains.iter().map(|name| domain(name)).collect();
        let issued = self.desk.issue_token(connector(name), domains, Duration::from_secs(3600), "ada").await;
        issued.expect("a token").token.parse().expect("a token")
    }

    /// A folder for an agent's machine with the settings file in it.
    pub fn machine(&self, label: &str, name: &str) -> PathBuf {
        let folder = self.dir.path().join(label);
        std::fs::create_dir(&folder).expect("a folder");
        agent::settings(&folder, name, &self.slapd);
        folder
    }

    pub async fn try_enrol(&self, label: &str, name: &str, token: &EnrolmentToken) -> Result<PathBuf, EnrolError> {
        let folder = self.machine(label, name);
        process::enrol(&folder.join("state"), &connector(name), token, &*self.clock).await.map(|_| folder)
    }

    /// A machine that is enrolled for a connector with all its domains.
    pub async fn enrol(&self, label: &str, name: &str) -> PathBuf {
        let token = self.token(name, &[]).await;
        self.try_enrol(label, name, &token).await.expect("enrolled")
    }

    pub fn identity(folder: &std::path::Path) -> Identity {
        Identity::load(&folder.join("state")).expect("an identity")
    }

    /// Runs the real agent of a machine.
    pub fn start(&self, folder: &std::path::Path) -> Running {
        let settings = config::load_agent(&folder.join("agent.toml")).expect("valid settings");
        let stop = CancellationToken::new();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let carrier = agent_sync::carrier(&settings, &clock);
        let ended = process::run(settings, carrier, clock, stop.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move { ended.await.expect("the agent runs") }));
        Running { stop, task }
    }

    /// Runs the real agent of a machine, and waits until it is connected.
    pub async fn run(&self, folder: &std::path::Path) -> Running {
        let (running, id) = (self.start(folder), Self::identity(folder).id());
        self.wait_for(&format!("agent {id} to connect"), id, "connected").await;
        running
    }

    pub async fn state(&self, id: landbridge::identity::AgentId) -> String {
        let agents = self.desk.list().await.expect("agents");
        let agent = agents.into_iter().find(|agent| agent.id == id).expect("enrolled");
        serde_json::to_value(agent.state).expect("a word").as_str().expect("a word").to_owned()
    }

    pub async fn wait_for(&self, what: &str, id: landbridge::identity::AgentId, state: &str) {
        wait_until_async(what, PATIENCE, async || (self.state(id).await == state).then_some(())).await;
    }

    pub fn person(&self, index: usize) -> (&Person, LiveSubject) {
        let person = &self.directory.people[index];
        let anchor = SourceAnchor::from_stored(self.slapd.values(&person.dn, "entryUUID")[0].clone());
        (person, LiveSubject::Known(CredentialSource { connector: connector(CORP), anchor }))
    }

    pub async fn check(&self, subject: &LiveSubject, typed: &str) -> LiveAnswer {
        self.check_at(CORP, "alpha.example", subject, typed).await
    }

    pub async fn check_at(&self, name: &str, of: &str, subject: &LiveSubject, typed: &str) -> LiveAnswer {
        let password = PlainPassword::new(typed.to_owned()).expect("fits");
        self.broker.check(&connector(name), &domain(of), subject, &password).await
    }

    pub async fn verdict(&self, subject: &LiveSubject, typed: &str) -> Verdict {
        match self.check(subject, typed).await.answer {
            Answer::Verdict(verdict) => verdict,
            Answer::Unavailable(unavailable) => panic!("no verdict: {unavailable:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
