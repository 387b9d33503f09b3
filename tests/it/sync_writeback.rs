//! Writeback through whole cycles: a real slapd as source, its people's anchors kept in the directory itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landbridge::connectors::ldap::LdapConnector;
use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{Clock, ConnectorName, LeaseEpoch, NodeId, SettableClock, Timestamp};
use landbridge::store::engine::{SqlActivations, SqlEngine};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::activation::{activate, read_file, read_folder};
use landbridge::sync::anchor_migration::{AnchorMigration, Migration};
use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{
    Capabilities, ConnectorError, ExportChange, ExportResult, ImportRequest, ImportStream, ImportedObject, ReadBack,
};
use landbridge::sync::guard::{GuardSettings, Hold};
use landbridge::sync::lease::{EngineLease, Turn};
use landbridge::sync::rule::RuleSource;
use landbridge::sync::run::{Profile, RunEvents, RunOutcome, RunRecord, Runner, RunnerParts, StepRecord};
use landbridge::sync::store::{EngineStore, Runs};
use sqlx::Row;

use crate::connectors::directory_writeback::{GUIDS, person, settings};
use crate::support::slapd::{SUFFIX, Slapd};

struct Site {
    slapd: Slapd,
    gateway: Database,
    engine: SqlEngine,
    tenant: Arc<TenantStore>,
    corp: Arc<Lossy>,
    runner: Runner,
    _dir: Option<tempfile::TempDir>,
}

struct Fixed(LeaseEpoch);

impl EngineLease for Fixed {
    fn held(&self) -> Option<LeaseEpoch> {
        Some(self.0)
    }
}

struct Silent;

#[async_trait::async_trait]
impl RunEvents for Silent {
    async fn ended(&self, _: &RunRecord, _: &[StepRecord]) {}
    async fn held(&self, _: &[Hold]) {}
    async fn released(&self, _: &Hold, _: &str) {}
}

/// A connector whose next answer to an export is lost after the directory carried it out.
struct Lossy {
    directory: LdapConnector,
    lose: AtomicBool,
}

#[async_trait::async_trait]
impl Connector for Lossy {
    fn name(&self) -> &ConnectorName {
        self.directory.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.directory.capabilities()
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        self.directory.import(request).await
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let results = self.directory.export(batch, turn).await?;
        if self.lose.swap(false, Ordering::SeqCst) {
            let (connector, reason) = (self.name().clone(), "the answer was lost".to_owned());
            return Err(ConnectorError::Unreachable { connector, reason });
        }
        Ok(results)
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        self.directory.read_back(objects).await
    }
}

/// The shipped rules, and anchors in the directory, as for Active Directory.
fn rules() -> Vec<RuleSource> {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut sources = read_folder(&config.join("rules")).expect("the rules");
    let option = config.join("rules-options/anchor-in-consistency-guid.toml");
    let mut option = read_file(&option).expect("the option");
    option.text = option.text.replace("connector_kind = \"ad\"", "connector_kind = \"ldap\"");
    sources.push(option);
    sources
}

async fn stores() -> Vec<(DatabaseUrl, Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sqlite = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let url = crate::support::postgres::Postgres::start().fresh_database();
    vec![(sqlite, Some(dir)), (DatabaseUrl::Postgres { url }, None)]
}

impl Site {
    async fn open(url: DatabaseUrl, dir: Option<tempfile::TempDir>) -> Self {
        Self::ruled(url, dir, rules()).await
    }

    async fn ruled(url: DatabaseUrl, dir: Option<tempfile::TempDir>, rules: Vec<RuleSource>) -> Self {
        let people = [("ada", &GUIDS[0]), ("bob", &GUIDS[1]), ("cyd", &GUIDS[2])];
        let ldif: Vec<String> = people.iter().map(|(key, guid)| person(key, guid)).collect();
        let slapd = Slapd::builder().ldif(&ldif.join("\n")).start();
        let gateway = Database::open(&url, Room::Gateway).await.expect("the gateway's tables");
        let engine = SqlEngine::new(Database::open(&url, Room::Engine).await.expect("the engine's tables"));
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let tenant = TenantStore::new(gateway.clone(), clock.clone(), TenantOptions::default());
        tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
        let domain: landbridge::identity::DomainName = "alpha.example".parse().expect("a domain");
        tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
        tenant.mark_verified(&domain, NewVerification::Operator, None).await.expect("verified");
        let corp = "corp".parse().expect("a connector");
        tenant.register_connectors(BTreeMap::from([(corp, BTreeSet::from([domain]))])).await.expect("a registration");
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&gateway, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        let activations = Arc::new(SqlActivations::new(gateway.clone(), clock.clone() as Arc<dyn Clock>));
        activate(&*activations, rules, "test").await.expect("the rules hold");
        let lease = Arc::new(Fixed(held.epoch));
        let corp = Arc::new(Lossy { directory: LdapConnector::new(settings(&slapd)), lose: AtomicBool::new(false) });
        let store = Arc::new(tenant.clone());
        let name = "tenant".parse().expect("a name");
        let tenant = TenantConnector::new(name, store.clone(), store.clone());
        let runner = Runner::new(RunnerParts {
            store: Arc::new(engine.clone()),
            lease,
            activations,
            connectors: vec![corp.clone() as Arc<dyn Connector>, Arc::new(tenant)],
            guard: GuardSettings::default(),
            clock,
            events: Arc::new(Silent),
        });
        Self { slapd, gateway, engine, tenant: store, corp, runner, _dir: dir }
    }

    async fn run(&self, profile: Profile) -> (RunOutcome, Vec<StepRecord>) {
        let (run, steps) = self.runner.run(profile, Arc::new(|_| {})).await.expect("the run ends");
        (run.outcome, steps)
    }

    /// Source anchors of the tenant's people.
    async fn anchors(&self) -> BTreeSet<String> {
        let sql = "SELECT source_anchor FROM tenant_user WHERE deleted_at IS NULL";
        let rows = sqlx::query(sql).fetch_all(self.gateway.read()).await.expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn problems(&self) -> Vec<(String, &'static str)> {
        let problems = self.engine.all_problems(100).await.expect("problems");
        problems.into_iter().map(|problem| (problem.name, problem.problem.code.code())).collect()
    }

    /// The anchors that the directory keeps.
    fn kept(&self, key: &str) -> Vec<String> {
        self.slapd.values(&format!("uid={key},ou=people,{SUFFIX}"), "mS-DS-ConsistencyGuid")
    }

    fn modify(&self, key: &str, change: &str) {
        self.slapd.ldapmodify(&format!("dn: uid={key},ou=people,{SUFFIX}\nchangetype: modify\n{change}\n"));
    }
}

fn base64(guid: &[u8]) -> String {
    Value::binary(guid).as_text().to_owned()
}

fn all() -> BTreeSet<String> {
    GUIDS.iter().map(|guid| base64(guid)).collect()
}

fn exported(steps: &[StepRecord]) -> i64 {
    steps.iter().filter(|step| step.kind == "export").flat_map(|step| step.counters.values()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_written_back_before_its_person_is_added() {
    for (url, dir) in stores().await {
        let site = Site::open(url, dir).await;
        let (outcome, steps) = site.run(Profile::Cycle).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        let order: Vec<(&str, &str)> = steps.iter().map(|step| (step.connector.as_str(), step.kind.as_str())).collect();
        let expected = [
            ("tenant", "confirm"),
            ("corp", "full-import"),
            ("", "delta-sync"),
            ("corp", "export"),
            ("", "delta-sync"),
            ("tenant", "export"),
            ("corp", "export"),
            ("tenant", "confirm"),
        ];
        assert_eq!(order, expected);
        assert_eq!(site.anchors().await, all());
        for key in ["ada", "bob", "cyd"] {
            assert_eq!(site.kept(key).len(), 1, "{key}");
        }

        for profile in [Profile::Delta, Profile::Cycle, Profile::Full] {
            let (outcome, steps) = site.run(profile).await;
            assert_eq!((outcome, exported(&steps)), (RunOutcome::Completed, 0), "{profile:?} {steps:#?}");
        }
        assert_eq!(site.problems().await, []);
        let dump = site.engine.dump().await.expect("a dump");
        assert!(!dump.contains("unconfirmed={"), "everything is confirmed: {dump}");

        // Whoever changes the value afterwards freezes the person, and gets no second one.
        site.modify("ada", "replace: mS-DS-ConsistencyGuid\nmS-DS-ConsistencyGuid:: AAAA\n-");
        let (_, steps) = site.run(Profile::Cycle).await;
        assert_eq!(exported(&steps), 0, "{steps:#?}");
        assert_eq!(site.anchors().await, all());
        assert_eq!(site.problems().await, [("uid=ada".to_owned(), "source-anchor-changed")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_anchor_is_refused_waits_outside_the_tenant() {
    let (url, dir) = stores().await.remove(0);
    let site = Site::open(url, dir).await;
    site.modify("bob", "delete: objectClass\nobjectClass: testAnchored\n-");
    let (outcome, steps) = site.run(Profile::Cycle).await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    let mut others = all();
    others.remove(&base64(&GUIDS[1]));
    assert_eq!(site.anchors().await, others);
    assert_eq!(site.problems().await, [("uid=bob".to_owned(), "export-refused")]);
    site.modify("bob", "add: objectClass\nobjectClass: testAnchored\n-");
    let (outcome, steps) = site.run(Profile::Delta).await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    assert_eq!(site.anchors().await, all());
    assert_eq!(site.problems().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writeback_whose_answer_was_lost_is_read_back_and_not_repeated() {
    let (url, dir) = stores().await.remove(0);
    let site = Site::open(url, dir).await;
    site.corp.lose.store(true, Ordering::SeqCst);
    let (outcome, steps) = site.run(Profile::Cycle).await;
    assert_eq!(outcome, RunOutcome::Failed, "{steps:#?}");
    assert_eq!(site.anchors().await, BTreeSet::new(), "nobody is added while it is in doubt");
    let (outcome, steps) = site.run(Profile::Delta).await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    assert!(steps.iter().any(|step| step.kind == "read-back" && step.connector == "corp"), "{steps:#?}");
    let written: i64 =
        steps.iter().filter(|s| s.kind == "export" && s.connector == "corp").flat_map(|s| s.counters.values()).sum();
    assert_eq!(written, 0, "{steps:#?}");
    assert_eq!(site.anchors().await, all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_person_takes_what_was_staged_along() {
    let (url, dir) = stores().await.remove(0);
    let site = Site::open(url, dir).await;
    site.modify("bob", "delete: objectClass\nobjectClass: testAnchored\n-");
    site.run(Profile::Cycle).await;
    site.slapd.ldapmodify(&format!("dn: uid=bob,ou=people,{SUFFIX}\nchangetype: delete\n"));
    let (outcome, steps) = site.run(Profile::Cycle).await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    assert_eq!(exported(&steps), 0, "{steps:#?}");
    assert_eq!(site.problems().await, []);
    let pending = site.engine.figures(&"corp".parse().expect("a name")).await.expect("figures");
    assert_eq!(pending.pending_updates, 0);
}

/// The shipped rules, with people anchored by an attribute.
fn anchored_by(attribute: &str) -> Vec<RuleSource> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let mut sources = read_folder(&folder).expect("the rules");
    for source in &mut sources {
        if let Some((people, groups)) = source.text.split_once("name = \"In from LDAP - Group Join\"") {
            let people = people.replace("entryUUID", attribute);
            source.text = format!("{people}name = \"In from LDAP - Group Join\"{groups}");
        }
    }
    sources
}

impl Site {
    async fn migrate(&self, dry_run: bool) -> Migration {
        let migration = AnchorMigration {
            runner: &self.runner,
            tenant: &*self.tenant,
            sources: anchored_by("employeeNumber"),
            by: "test",
        };
        migration.run(&"tenant".parse().expect("a name"), dry_run).await.expect("a survey")
    }

    async fn oids(&self) -> BTreeMap<String, String> {
        let rows = sqlx::query("SELECT on_premises_mail, oid FROM tenant_user WHERE deleted_at IS NULL");
        let rows = rows.fetch_all(self.gateway.read()).await.expect("rows");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn source_anchors_move_to_another_attribute_and_people_keep_their_oids() {
    for (url, dir) in stores().await {
        let site = Site::ruled(url, dir, anchored_by("entryUUID")).await;
        for (key, number) in [("ada", "E1"), ("bob", "E2"), ("cyd", "E2")] {
            site.modify(key, &format!("add: employeeNumber\nemployeeNumber: {number}\n-"));
        }
        let (outcome, steps) = site.run(Profile::Cycle).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        let (oids, anchors) = (site.oids().await, site.anchors().await);
        assert_eq!((oids.len(), anchors.len()), (3, 3));

        for dry_run in [true, false] {
            let told = site.migrate(dry_run).await;
            assert_eq!((told.moved, told.obstacles, told.activated), (2, 1, None), "{told:#?}");
            assert!(told.in_the_way[0].reason.contains("E2 would be the anchor of"), "{told:#?}");
            assert_eq!(site.anchors().await, anchors, "nothing changes while something is in the way");
        }
        site.modify("cyd", "replace: employeeNumber\nemployeeNumber: E3\n-");
        site.run(Profile::Cycle).await;
        assert_eq!(site.migrate(true).await.obstacles, 0);
        assert_eq!(site.anchors().await, anchors, "a dry run changes nothing");
        let done = site.migrate(false).await;
        assert_eq!((done.moved, done.obstacles, done.activated), (3, 0, Some(2)), "{done:#?}");
        let numbers = BTreeSet::from(["E1", "E2", "E3"].map(str::to_owned));
        assert_eq!(site.anchors().await, numbers);

        for profile in [Profile::Delta, Profile::Full, Profile::Cycle] {
            let (outcome, steps) = site.run(profile).await;
            assert_eq!((outcome, exported(&steps)), (RunOutcome::Completed, 0), "{profile:?} {steps:#?}");
            assert_eq!(site.problems().await, [], "{profile:?}");
        }
        assert_eq!((site.oids().await, site.anchors().await), (oids, numbers));
        assert_eq!(site.migrate(false).await.unchanged, 3, "a repeated migration finds nothing to do");
        site.modify("ada", "replace: displayName\ndisplayName: Countess\n-\nreplace: cn\ncn: Countess\n-");
        let (outcome, steps) = site.run(Profile::Delta).await;
        assert_eq!((outcome, exported(&steps)), (RunOutcome::Completed, 1), "{steps:#?}");
    }
}
