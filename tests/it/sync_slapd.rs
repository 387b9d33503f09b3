//! A real slapd with a thousand people and fifty nested groups, synchronised into the tenant directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{Clock, LeaseEpoch, NodeId, PlainPassword, SettableClock, Timestamp};
use landbridge::ldap::{ServiceAccount, Trust};
use landbridge::store::engine::{SqlActivations, SqlEngine};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::activation::{activate, read_folder};
use landbridge::sync::connector::DisabledTest;
use landbridge::sync::guard::{GuardSettings, Hold};
use landbridge::sync::lease::EngineLease;
use landbridge::sync::run::{Profile, RunEvents, RunOutcome, RunRecord, Runner, RunnerParts, StepRecord};
use landbridge::sync::store::{EngineStore, Runs};
use sqlx::Row;

use crate::support::directory::{ALPHA, BETA, BIG_CONTAINER, DUPLICATE_UPN, Directory, MISSING_ANCHOR, people};
use crate::support::slapd::{SUFFIX, Slapd};

struct Site {
    slapd: Slapd,
    people: Directory,
    gateway: Database,
    engine: SqlEngine,
    tenant: TenantStore,
    lease: Arc<Fixed>,
    activations: Arc<SqlActivations>,
    clock: Arc<SettableClock>,
    _dir: tempfile::TempDir,
}

struct Fixed(LeaseEpoch);

impl EngineLease for Fixed {
    fn held(&self) -> Option<LeaseEpoch> {
        Some(self.0)
    }
}

#[derive(Default)]
struct Silent(Mutex<Vec<Hold>>);

#[async_trait::async_trait]
impl RunEvents for Silent {
    async fn ended(&self, _: &RunRecord, _: &[StepRecord]) {}
    async fn held(&self, holds: &[Hold]) {
        self.0.lock().expect("lock").extend_from_slice(holds);
    }
    async fn released(&self, _: &Hold, _: &str) {}
}

impl Site {
    async fn open() -> Self {
        let people = people(1_000);
        let slapd = Slapd::builder().directory(&people).start();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let gateway = Database::open(&url, Room::Gateway).await.expect("gateway.db");
        let engine = SqlEngine::new(Database::open(&url, Room::Engine).await.expect("engine.db"));
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let tenant = TenantStore::new(gateway.clone(), clock.clone(), TenantOptions::default());
        tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
        for domain in [ALPHA, BETA] {
            let domain: landbridge::identity::DomainName = domain.parse().expect("a domain");
            tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
            tenant.mark_verified(&domain, NewVerification::Operator, None).await.expect("verified");
        }
        let domains = BTreeSet::from([ALPHA, BETA].map(|name| name.parse().expect("a domain")));
        let corp = "corp".parse().expect("a connector");
        tenant.register_connectors(BTreeMap::from([(corp, domains)])).await.expect("a registration");
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&gateway, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        let activations = Arc::new(SqlActivations::new(gateway.clone(), clock.clone() as Arc<dyn Clock>));
        activate(&*activations, rules(), "test").await.expect("the rules hold");
        let lease = Arc::new(Fixed(held.epoch));
        Self { slapd, people, gateway, engine, tenant, lease, activations, clock, _dir: dir }
    }

    fn runner(&self, exclude: &[String]) -> Runner {
        let parse = |dn: &String| dn.parse().expect("a dn");
        let ldap = LdapConnector::new(LdapConnectorSettings {
            name: "corp".parse().expect("a name"),
            kind: "ldap".to_owned(),
            servers: vec![self.slapd.ldaps_url().parse().expect("a url")],
            trust: Trust::new(&[self.slapd.ca_file()]).expect("a CA"),
            account: ServiceAccount {
                dn: self.slapd.service_dn().parse().expect("a dn"),
                password: PlainPassword::new(self.slapd.service_password().to_owned()).expect("may be typed"),
            },
            deadline: Duration::from_secs(20),
            page_size: 200,
            root: SUFFIX.parse().expect("a dn"),
            include: vec![parse(&self.slapd.people_base()), parse(&format!("ou=groups,{SUFFIX}"))],
            exclude: exclude.iter().map(parse).collect(),
            anchor: "entryUUID".to_owned(),
            anchor_is_binary: false,
            container_filter: LdapConnectorSettings::usual_containers(),
            types: LdapConnectorSettings::usual_types(),
            disabled_when: DisabledTest::defaults(),
            delta: DeltaChoice::Auto,
            writeback: None,
            bounds: Bounds::Everywhere,
        });
        let store = Arc::new(self.tenant.clone());
        let name = "tenant".parse().expect("a name");
        let tenant = TenantConnector::new(name, store.clone(), store);
        Runner::new(RunnerParts {
            store: Arc::new(self.engine.clone()),
            lease: self.lease.clone(),
            activations: self.activations.clone(),
            connectors: vec![Arc::new(ldap) as Arc<dyn Connector>, Arc::new(tenant)],
            guard: GuardSettings::default(),
            clock: self.clock.clone(),
            events: Arc::new(Silent::default()),
        })
    }

    async fn run(&self) -> (RunOutcome, Vec<StepRecord>) {
        let (run, steps) = self.runner(&[]).run(Profile::Cycle, Arc::new(|_| {})).await.expect("the run ends");
        (run.outcome, steps)
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(self.gateway.read()).await.expect("a row").get(0)
    }

    async fn user(&self, anchor: &str) -> Option<(String, bool, bool)> {
        let sql = "SELECT oid, account_enabled, deleted_at FROM tenant_user WHERE source_anchor = $1";
        let row =
            sqlx::query(sql).bind(anchor.to_owned()).fetch_optional(self.gateway.read()).await.expect("a query")?;
        Some((row.get(0), row.get::<i64, _>(1) == 1, row.get::<Option<i64>, _>(2).is_some()))
    }
}

/// The shipped rules, with people anchored by `employeeNumber`.
fn rules() -> Vec<landbridge::sync::rule::RuleSource> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let mut sources = read_folder(&folder).expect("the rules");
    for source in &mut sources {
        if let Some((people, groups)) = source.text.split_once("name = \"In from LDAP - Group Join\"") {
            let people = people.replace("entryUUID", "employeeNumber");
            source.text = format!("{people}name = \"In from LDAP - Group Join\"{groups}");
        }
    }
    sources
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_people_and_fifty_nested_groups_arrive_and_follow_their_directory() {
    let site = Site::open().await;
    let (outcome, steps) = site.run().await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    assert_eq!(site.number("SELECT COUNT(*) FROM tenant_user WHERE deleted_at IS NULL").await, 999, "{steps:#?}");
    assert_eq!(site.number("SELECT COUNT(*) FROM tenant_group WHERE deleted_at IS NULL").await, 50);
    let memberships: usize = site
        .people
        .groups
        .iter()
        .map(|g| g.member_groups.len() + g.member_people.iter().filter(|p| **p != MISSING_ANCHOR).count())
        .sum();
    assert_eq!(site.number("SELECT COUNT(*) FROM membership").await, memberships as i64);
    assert_eq!(site.number("SELECT COUNT(*) FROM credential_source WHERE eligible = 1").await, 999);

    let problems = site.engine.all_problems(100).await.expect("problems");
    let of = |code: &str| problems.iter().filter(|p| p.problem.code.code() == code).count();
    assert_eq!((of("missing-anchor"), of("invalid-upn")), (1, 10), "{problems:#?}");
    let missing = &site.people.people[MISSING_ANCHOR];
    assert!(problems.iter().any(|p| p.name == format!("uid={}", missing.uid)), "{problems:#?}");
    assert!(of("export-warning") >= 1, "the duplicate UPN of person {DUPLICATE_UPN} is told: {problems:#?}");

    let before = site.engine.dump().await.expect("a dump");
    let (outcome, steps) = site.run().await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    let exported: i64 = steps.iter().filter(|s| s.kind == "export").flat_map(|s| s.counters.values()).sum();
    assert_eq!(exported, 0, "a second run stages nothing: {steps:#?}");
    assert_eq!(site.engine.dump().await.expect("a dump"), before);

    let ldif = |text: String| site.slapd.ldapmodify(&text);
    let person = |n: usize| &site.people.people[n];
    let (oid, ..) = site.user("E000020").await.expect("person 20");
    ldif(format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n", person(10).dn));
    site.slapd.replace(&person(11).dn, "pwdAccountLockedTime", "000001010000Z");
    ldif(format!("dn: {}\nchangetype: delete\n", person(12).dn));
    ldif(format!("dn: ou=elsewhere,{SUFFIX}\nchangetype: add\nobjectClass: organizationalUnit\nou: elsewhere\n"));
    let moved = format!("uid={},ou=elsewhere,{SUFFIX}", person(20).uid);
    ldif(format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={}\ndeleteoldrdn: 1\nnewsuperior: ou=elsewhere,{SUFFIX}\n",
        person(20).dn,
        person(20).uid
    ));
    let group = &site.people.groups[3];
    ldif(format!("dn: {}\nchangetype: modify\nadd: member\nmember: {}\n", group.dn, person(30).dn));
    assert_eq!(site.run().await.0, RunOutcome::Completed);
    assert_eq!(site.user("E000010").await.map(|u| (u.1, u.2)), Some((true, false)), "renamed");
    assert_eq!(site.user("E000011").await.map(|u| (u.1, u.2)), Some((false, false)), "disabled");
    assert_eq!(site.user("E000012").await.map(|u| u.2), Some(true), "deleted");
    assert_eq!(site.user("E000020").await.map(|u| u.2), Some(true), "moved out of scope");

    let home = person(20).dn.split_once(',').map(|(_, parent)| parent.to_owned()).expect("a parent");
    ldif(format!(
        "dn: {moved}\nchangetype: modrdn\nnewrdn: uid={}\ndeleteoldrdn: 1\nnewsuperior: {home}\n",
        person(20).uid
    ));
    assert_eq!(site.run().await.0, RunOutcome::Completed);
    assert_eq!(site.user("E000020").await, Some((oid, true, false)), "back in scope: the same oid");

    let users = site.number("SELECT COUNT(*) FROM tenant_user WHERE deleted_at IS NULL").await;
    let eligible = site.number("SELECT COUNT(*) FROM credential_source WHERE eligible = 1").await;
    let unticked = site.runner(&[format!("ou={BIG_CONTAINER},ou=people,{SUFFIX}")]);
    for stage in ["import:corp", "tenant"] {
        let (run, _) = unticked.run(Profile::Cycle, Arc::new(|_| {})).await.expect("the run ends");
        assert_eq!(run.outcome, RunOutcome::Held, "{stage}");
        assert_eq!(site.number("SELECT COUNT(*) FROM tenant_user WHERE deleted_at IS NULL").await, users, "{stage}");
        assert_eq!(site.number("SELECT COUNT(*) FROM credential_source WHERE eligible = 1").await, eligible, "{stage}");
        let holds = unticked.store.holds().await.expect("holds");
        for hold in holds.iter().filter(|hold| hold.target == stage && stage == "import:corp") {
            unticked.release(stage, &hold.digest, "admin").await.expect("a release");
        }
    }
}
