//! One directory, one engine, one tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{Clock, LeaseEpoch, NodeId, PlainPassword, SettableClock, Timestamp};
use landbridge::ldap::{Filter, ServiceAccount, Trust};
use landbridge::store::engine::{SqlActivations, SqlEngine};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::activation::{activate, read_folder};
use landbridge::sync::connector::DisabledTest;
use landbridge::sync::guard::{GuardSettings, Hold};
use landbridge::sync::lease::EngineLease;
use landbridge::sync::run::{Profile, RunEvents, RunOutcome, RunRecord, Runner, RunnerParts, StepRecord};
use landbridge::sync::store::EngineStore;
use landbridge::tenant::{Action, Edit, ExportChange, ObjectKey, TenantExport as _, UserPatch};
use sqlx::Row;

use crate::support::directory::ALPHA;
use crate::support::ds389::{self, Ds389};
use crate::support::slapd::{self, Slapd};

/// A directory server of either make with the same entries.
pub enum Peer {
    Slapd(Slapd),
    Ds389(Ds389),
}

/// People `p0` to `p5` in two containers, two groups, a container out of scope.
fn entries(suffix: &str) -> String {
    let mut text = String::new();
    for container in ["ou=berlin,ou=people", "ou=lyon,ou=people", "ou=outside"] {
        let name = container.split([',', '=']).nth(1).expect("a name");
        write!(text, "dn: {container},{suffix}\nobjectClass: organizationalUnit\nou: {name}\n\n").expect("text");
    }
    for n in 0..6 {
        let container = if n % 2 == 0 || n == 3 { "berlin" } else { "lyon" };
        write!(
            text,
            "dn: uid=p{n},ou={container},ou=people,{suffix}\nobjectClass: inetOrgPerson\nuid: p{n}\ncn: Person {n}\n\
             sn: {n}\nemployeeNumber: p{n}\nmail: p{n}@alpha.example\n\n"
        )
        .expect("text");
    }
    write!(
        text,
        "dn: cn=one,ou=groups,{suffix}\nobjectClass: groupOfNames\ncn: one\nmember: uid=p0,ou=berlin,ou=people,{suffix}\n\
         member: uid=p1,ou=lyon,ou=people,{suffix}\n\n\
         dn: cn=two,ou=groups,{suffix}\nobjectClass: groupOfNames\ncn: two\nmember: uid=p2,ou=berlin,ou=people,{suffix}\n\
         member: cn=one,ou=groups,{suffix}\n\n"
    )
    .expect("text");
    text
}

fn bases(suffix: &str) -> String {
    ["people", "groups"]
        .map(|name| format!("dn: ou={name},{suffix}\nobjectClass: organizationalUnit\nou: {name}\n\n"))
        .concat()
}

impl Peer {
    pub fn slapd() -> Self {
        let mut slapd = Slapd::builder().ldif(&entries(slapd::SUFFIX)).start();
        slapd.shut_down();
        slapd.save();
        slapd.start();
        Self::Slapd(slapd)
    }

    pub fn slapd_with_access_log(purge: &str) -> Self {
        let mut slapd = Slapd::builder().access_log(purge).ldif(&entries(slapd::SUFFIX)).start();
        slapd.shut_down();
        slapd.save();
        slapd.start();
        Self::Slapd(slapd)
    }

    pub fn ds389() -> Self {
        let builder = Ds389::builder().ldif(&(bases(ds389::SUFFIX) + &entries(ds389::SUFFIX)));
        Self::saved(builder.start())
    }

    /// Without referential integrity too, so that groups name people who are no longer there.
    pub fn ds389_with_changelog_alone() -> Self {
        let builder = Ds389::builder().ldif(&(bases(ds389::SUFFIX) + &entries(ds389::SUFFIX)));
        Self::saved(builder.without_content_sync().start())
    }

    fn saved(mut server: Ds389) -> Self {
        // Its change log begins with the first change: without one there is nothing to go on from.
        server.ldapmodify(&format!(
            "dn: ou=outside,{}\nchangetype: modify\nreplace: description\ndescription: none\n",
            ds389::SUFFIX
        ));
        server.stop();
        server.save();
        server.start();
        Self::Ds389(server)
    }

    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Slapd(_) => slapd::SUFFIX,
            Self::Ds389(_) => ds389::SUFFIX,
        }
    }

    pub fn anchor(&self) -> &'static str {
        match self {
            Self::Slapd(_) => "entryUUID",
            Self::Ds389(_) => "nsUniqueId",
        }
    }

    /// Change records with `SUFFIX` for the suffix.
    #[track_caller]
    pub fn modify(&self, ldif: &str) {
        let ldif = ldif.replace("SUFFIX", self.suffix());
        match self {
            Self::Slapd(server) => server.ldapmodify(&ldif),
            Self::Ds389(server) => server.ldapmodify(&ldif),
        }
    }

    pub fn stop(&mut self) {
        match self {
            Self::Slapd(server) => server.stop(),
            Self::Ds389(server) => server.stop(),
        }
    }

    pub fn start(&mut self) {
        match self {
            Self::Slapd(server) => server.start(),
            Self::Ds389(server) => server.start(),
        }
    }

    /// The server as it was when it was made: restored from a backup.
    pub fn start_over(&mut self) {
        self.stop();
        match self {
            Self::Slapd(server) => server.restore(),
            Self::Ds389(server) => server.restore(),
        }
        self.start();
    }

    pub fn tls_port(&self) -> u16 {
        match self {
            Self::Slapd(server) => server.tls_port(),
            Self::Ds389(server) => server.tls_port(),
        }
    }

    fn ca_file(&self) -> PathBuf {
        match self {
            Self::Slapd(server) => server.ca_file(),
            Self::Ds389(server) => server.ca_file(),
        }
    }

    fn account(&self) -> ServiceAccount {
        let (dn, password) = match self {
            Self::Slapd(server) => (server.service_dn(), server.service_password()),
            Self::Ds389(server) => (server.service_dn(), server.service_password()),
        };
        let password = PlainPassword::new(password.to_owned()).expect("may be typed");
        ServiceAccount { dn: dn.parse().expect("a dn"), password }
    }
}

pub struct Site {
    pub peer: Peer,
    /// What the connector is told; changed by tests.
    pub settings: LdapConnectorSettings,
    pub engine: SqlEngine,
    pub clock: Arc<SettableClock>,
    /// Kept between runs, as a gateway keeps it; made anew by [`Self::reconnect`].
    connector: Arc<LdapConnector>,
    gateway: Database,
    tenant: TenantStore,
    lease: Arc<Fixed>,
    activations: Arc<SqlActivations>,
    _dir: tempfile::TempDir,
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

pub fn unlimited() -> GuardSettings {
    GuardSettings {
        count: i64::MAX,
        percent: 100,
        at_least: i64::MAX,
        emptied_percent: 100,
        emptied_at_least: i64::MAX,
        members_percent: 100,
        group_percent: 100,
        group_above: i64::MAX,
    }
}

/// People who are no robots.
fn user_filter() -> Filter {
    Filter::and([Filter::equal("objectClass", "inetOrgPerson"), Filter::not(Filter::equal("employeeType", "robot"))])
}

impl Site {
    pub async fn open(peer: Peer, delta: DeltaChoice) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let gateway = Database::open(&url, Room::Gateway).await.expect("gateway.db");
        let engine = SqlEngine::new(Database::open(&url, Room::Engine).await.expect("engine.db"));
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let tenant = TenantStore::new(gateway.clone(), clock.clone(), TenantOptions::default());
        tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
        let domain: landbridge::identity::DomainName = ALPHA.parse().expect("a domain");
        tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
        tenant.mark_verified(&domain, NewVerification::Operator, None).await.expect("verified");
        let corp = "corp".parse().expect("a connector");
        let domains = BTreeSet::from([domain]);
        tenant.register_connectors(BTreeMap::from([(corp, domains)])).await.expect("a registration");
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&gateway, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        let activations = Arc::new(SqlActivations::new(gateway.clone(), clock.clone() as Arc<dyn Clock>));
        activate(&*activations, rules(peer.anchor()), "test").await.expect("the rules hold");
        let lease = Arc::new(Fixed(held.epoch));
        let settings = settings(&peer, delta);
        let connector = Arc::new(LdapConnector::new(settings.clone()));
        Self { peer, settings, engine, clock, connector, gateway, tenant, lease, activations, _dir: dir }
    }

    /// Takes changed settings into use.
    pub fn reconnect(&mut self) {
        self.connector = Arc::new(LdapConnector::new(self.settings.clone()));
    }

    pub fn runner(&self, guard: GuardSettings) -> Runner {
        let store = Arc::new(self.tenant.clone());
        let name = "tenant".parse().expect("a name");
        let tenant = TenantConnector::new(name, store.clone(), store);
        Runner::new(RunnerParts {
            store: Arc::new(self.engine.clone()),
            lease: self.lease.clone(),
            activations: self.activations.clone(),
            connectors: vec![self.connector.clone() as Arc<dyn Connector>, Arc::new(tenant)],
            guard,
            clock: self.clock.clone(),
            events: Arc::new(Silent),
        })
    }

    pub async fn run(&self, profile: Profile) -> (RunOutcome, Vec<StepRecord>) {
        self.run_with(profile, GuardSettings::default()).await
    }

    pub async fn run_unguarded(&self, profile: Profile) -> (RunOutcome, Vec<StepRecord>) {
        self.run_with(profile, unlimited()).await
    }

    async fn run_with(&self, profile: Profile, guard: GuardSettings) -> (RunOutcome, Vec<StepRecord>) {
        let (run, steps) = self.runner(guard).run(profile, Arc::new(|_| {})).await.expect("the run ends");
        (run.outcome, steps)
    }

    /// A cycle that must get along with a delta import.
    pub async fn delta(&self, at: &str) -> Vec<StepRecord> {
        let (outcome, steps) = self.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{at}: {steps:#?}");
        let imports: Vec<&str> =
            steps.iter().filter(|s| s.connector == "corp").map(|step| step.kind.as_str()).collect();
        assert_eq!(imports, ["delta-import"], "{at}: {steps:#?}");
        steps
    }

    /// A full run after deltas changes nothing.
    pub async fn full_finds_nothing(&self, at: &str) {
        let before = self.engine.dump().await.expect("a dump");
        let (outcome, steps) = self.run(Profile::Full).await;
        assert_eq!(outcome, RunOutcome::Completed, "{at}: {steps:#?}");
        let after = self.engine.dump().await.expect("a dump");
        let lost: Vec<&str> = before.lines().filter(|line| !after.lines().any(|l| l == *line)).collect();
        let found: Vec<&str> = after.lines().filter(|line| !before.lines().any(|l| l == *line)).collect();
        assert!(
            lost.is_empty() && found.is_empty(),
            "{at}: by delta\n{}\nin full\n{}",
            lost.join("\n"),
            found.join("\n")
        );
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(self.gateway.read()).await.expect("a row").get(0)
    }

    /// Another engine adds somebody in the name of the directory, which holds nobody like that.
    pub async fn added_elsewhere(&self, anchor: &str) {
        let patch = UserPatch {
            on_premises_upn: Edit::Set(format!("{anchor}@tenant.example")),
            upn_connector: Edit::Set("corp".parse().expect("a name")),
            mail: Edit::Set(format!("{anchor}@mail.example")),
            account_enabled: Edit::Set(true),
            ..UserPatch::default()
        };
        let change = ExportChange {
            object: ObjectKey { oid: None, source_anchor: anchor.to_owned() },
            anchor_connector: "corp".parse().expect("a name"),
            handed_to: None,
            action: Action::PutUser(Box::new(patch)),
        };
        let results = self.tenant.apply_batch(self.lease.0, vec![change]).await.expect("the tenant answers");
        results.into_iter().for_each(|result| drop(result.expect("an add")));
    }

    pub async fn people(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM tenant_user WHERE deleted_at IS NULL").await
    }

    /// Address and oid of a person who is not deleted.
    pub async fn person(&self, anchor: &str) -> Option<(String, String)> {
        let sql = "SELECT mail, oid FROM tenant_user WHERE source_anchor = $1 AND deleted_at IS NULL";
        let row =
            sqlx::query(sql).bind(anchor.to_owned()).fetch_optional(self.gateway.read()).await.expect("a query")?;
        Some((row.get(0), row.get(1)))
    }

    /// Employee numbers and names of the members of a group.
    pub async fn members(&self, group: &str) -> Vec<String> {
        let sql = "SELECT u.source_anchor FROM membership m JOIN tenant_group g ON g.oid = m.group_oid \
                   JOIN tenant_user u ON u.oid = m.member_oid WHERE g.display_name = $1 AND g.deleted_at IS NULL \
                   UNION SELECT n.display_name FROM membership m JOIN tenant_group g ON g.oid = m.group_oid \
                   JOIN tenant_group n ON n.oid = m.member_oid WHERE g.display_name = $1 AND g.deleted_at IS NULL \
                   ORDER BY 1";
        let rows = sqlx::query(sql).bind(group.to_owned()).fetch_all(self.gateway.read()).await.expect("a query");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn settings(peer: &Peer, delta: DeltaChoice) -> LdapConnectorSettings {
    let dn = |text: &str| format!("{text},{}", peer.suffix()).parse().expect("a dn");
    let mut types = LdapConnectorSettings::usual_types();
    types[0].filter = user_filter();
    LdapConnectorSettings {
        name: "corp".parse().expect("a name"),
        kind: "ldap".to_owned(),
        servers: vec![format!("ldaps://localhost:{}", peer.tls_port()).parse().expect("a url")],
        trust: Trust::new(&[peer.ca_file()]).expect("a CA"),
        account: peer.account(),
        deadline: Duration::from_secs(20),
        page_size: 50,
        root: peer.suffix().parse().expect("a dn"),
        include: vec![dn("ou=people"), dn("ou=groups")],
        exclude: Vec::new(),
        anchor: peer.anchor().to_owned(),
        anchor_is_binary: false,
        container_filter: LdapConnectorSettings::usual_containers(),
        types,
        disabled_when: DisabledTest::defaults(),
        delta,
        writeback: None,
        bounds: Bounds::Everywhere,
    }
}

/// The shipped rules, with people anchored by `employeeNumber` and groups by the server's own id.
fn rules(anchor: &str) -> Vec<landbridge::sync::rule::RuleSource> {
    const GROUPS: &str = "name = \"In from LDAP - Group Join\"";
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let mut sources = read_folder(&folder).expect("the rules");
    for source in &mut sources {
        if let Some((people, groups)) = source.text.split_once(GROUPS) {
            let people = people.replace("entryUUID", "employeeNumber");
            source.text = format!("{people}{GROUPS}{}", groups.replace("entryUUID", anchor));
        }
    }
    sources
}
