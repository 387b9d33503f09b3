//! What a story is played on: scripted directories of several kinds, a target, the engine on a real store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{Clock, ConnectorName, DomainName, NodeId, SettableClock, Timestamp};
use landbridge::store::engine::{SqlActivations, SqlEngine};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::activation::{FolderRules, activate, read_file, read_folder};
use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{ImportMode, ImportRequest, Reference};
use landbridge::sync::diff::Difference;
use landbridge::sync::guard::GuardSettings;
use landbridge::sync::profile::{RunProfile, Step, StepKind};
use landbridge::sync::rule::RuleSource;
use landbridge::sync::run::{Profile, RunOutcome, Runner, RunnerParts, StepRecord};
use landbridge::sync::space::{ExportKind, ObjectId};
use landbridge::sync::store::{EngineStore, Exports, Holds, Runs, Synchronisation, Walk};
use landbridge::sync::synchronise::DELTA_MISSED;

use super::entries::label;
use super::scripted::{Directory, Target};
use super::world::{Events, TestLease};

pub struct DirectoryParts {
    pub name: String,
    pub kind: String,
    /// The suffix of its tree, of domain components.
    pub suffix: String,
    /// Takes updates of what it shows.
    pub writes: bool,
}

/// An engine beside the active one, on the same directories and the same target.
pub struct StagingParts {
    pub own_rules: String,
    pub options: Vec<String>,
    /// Directories that it does not read.
    pub without: Vec<String>,
}

pub struct StageParts {
    pub url: DatabaseUrl,
    pub directories: Vec<DirectoryParts>,
    /// The real tenant directory instead of a scripted target.
    pub tenant: bool,
    /// Files of `config/rules-options`.
    pub options: Vec<String>,
    /// What is written otherwise in the copies of these files.
    pub edits: BTreeMap<String, String>,
    pub own_rules: String,
    pub guard: GuardSettings,
    pub staging: Option<StagingParts>,
}

pub struct Stage {
    pub directories: BTreeMap<String, (String, Arc<Directory>)>,
    pub scripted: Arc<Target>,
    pub clock: Arc<SettableClock>,
    pub runner: Runner,
    target: Arc<dyn Connector>,
    engine: SqlEngine,
    activations: Arc<SqlActivations>,
    options: Vec<String>,
    edits: BTreeMap<String, String>,
    pub staging: Option<Staging>,
}

/// What a run did.
pub struct Played {
    pub outcome: RunOutcome,
    pub steps: Vec<StepRecord>,
}

impl Stage {
    pub async fn open(parts: StageParts) -> Self {
        let gateway = Database::open(&parts.url, Room::Gateway).await.expect("the gateway's tables open");
        let engine = SqlEngine::new(Database::open(&parts.url, Room::Engine).await.expect("the engine's tables open"));
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let activations = Arc::new(SqlActivations::new(gateway.clone(), clock.clone() as Arc<dyn Clock>));
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&gateway, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        let lease = Arc::new(TestLease(Mutex::new(Some(held.epoch))));
        let mut directories = BTreeMap::new();
        let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
        let mut domains = BTreeMap::new();
        for DirectoryParts { name, kind, suffix, writes } in parts.directories {
            let fqdn = suffix.split(',').filter_map(|rdn| rdn.split_once('=')).map(|(_, label)| label);
            let fqdn = fqdn.collect::<Vec<_>>().join(".").to_ascii_lowercase();
            let parameters = ["Domain", "Forest"]
                .into_iter()
                .flat_map(|of| [(format!("{of}.FQDN"), fqdn.clone()), (format!("{of}.LDAP"), suffix.clone())]);
            let directory = Directory::telling(&name, &kind, writes, parameters.collect());
            // A directory that shows nothing at all is not believed.
            directory.container("root", &suffix);
            connectors.push(directory.clone());
            let domain: DomainName = fqdn.parse().expect("a domain");
            domains.insert(name.parse().expect("a name"), BTreeSet::from([domain]));
            directories.insert(name, (kind, directory));
        }
        let scripted = Target::new("tenant");
        let target: Arc<dyn Connector> = match parts.tenant {
            false => scripted.clone(),
            true => {
                let store = Arc::new(tenant(&gateway, &clock, domains).await);
                let name = "tenant".parse().expect("a name");
                Arc::new(TenantConnector::new(name, store.clone(), store))
            }
        };
        connectors.push(target.clone());
        let staging = match parts.staging {
            Some(own) => Some(Staging::open(&parts.url, own, &connectors, lease.clone(), clock.clone()).await),
            None => None,
        };
        let runner = Runner::new(RunnerParts {
            store: Arc::new(engine.clone()),
            lease,
            activations: activations.clone(),
            connectors,
            guard: parts.guard,
            clock: clock.clone(),
            events: Arc::new(Events::default()),
        });
        let (options, edits) = (parts.options, parts.edits);
        let stage = Self { directories, scripted, clock, runner, target, engine, activations, options, edits, staging };
        stage.rules(&parts.own_rules).await;
        stage
    }

    /// The shipped rules, the options of the story, and its own rules.
    pub async fn rules(&self, own: &str) {
        let sources = sources(&self.options, &self.edits, own);
        activate(&*self.activations, sources, "test").await.unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// A new engine beside the systems as they are.
    pub async fn engine_lost(&mut self, url: &DatabaseUrl) {
        self.engine = SqlEngine::new(Database::open(url, Room::Engine).await.expect("the engine's tables open"));
        self.runner.store = Arc::new(self.engine.clone());
    }

    /// Another state of the tenant directory in the place of the present one.
    pub async fn gateway_restored(&mut self, url: &DatabaseUrl) -> Arc<TenantStore> {
        let gateway = Database::open(url, Room::Gateway).await.expect("the gateway's tables open");
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&gateway, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        self.runner.lease = Arc::new(TestLease(Mutex::new(Some(held.epoch))));
        let store = Arc::new(TenantStore::new(gateway, self.clock.clone(), TenantOptions::default()));
        let name: ConnectorName = "tenant".parse().expect("a name");
        self.target = Arc::new(TenantConnector::new(name.clone(), store.clone(), store.clone()));
        let connectors = self.runner.connectors.iter_mut().filter(|connector| *connector.name() == name);
        connectors.for_each(|connector| *connector = self.target.clone());
        store
    }

    /// The codes of what is wrong with single objects.
    pub async fn problems(&self) -> Vec<String> {
        let problems = self.engine.all_problems(1000).await.expect("problems");
        problems.into_iter().map(|problem| problem.problem.code.code().to_owned()).collect()
    }

    pub async fn run(&self, profile: Profile) -> Played {
        let (run, steps) = self.runner.run(profile, Arc::new(|_| {})).await.expect("the run ends");
        Played { outcome: run.outcome, steps }
    }

    /// Lets everything pass that is held for these targets.
    pub async fn release(&self, targets: &[String]) {
        for hold in self.engine.holds().await.expect("holds") {
            if targets.contains(&hold.target) {
                self.runner.release(&hold.target, &hold.digest, "admin").await.expect("a release");
            }
        }
    }

    pub async fn dump(&self) -> String {
        self.engine.dump().await.expect("a dump")
    }

    /// What a directory keeps of these attributes, one line per entry that has any.
    pub fn kept(&self, name: &str, attributes: &[String]) -> String {
        let state = self.directories[name].1.state.lock().expect("lock");
        let lines = state.entries.values().filter_map(|entry| {
            let told = attributes.iter().filter_map(|attribute| {
                let values = entry.attributes.get(&attribute.as_str().into())?;
                let values: Vec<String> = values.iter().map(|value| label(value.as_text())).collect();
                Some(format!(" {attribute}={}", values.join("|")))
            });
            let told: String = told.collect();
            (!told.is_empty()).then(|| format!("{}{told}", entry.anchor))
        });
        sorted(lines)
    }

    /// What the target holds, one line per object: its label, the attributes of `shows`, its members.
    pub async fn print(&self, shows: &[String]) -> String {
        let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: BTreeMap::new() };
        let mut stream = self.target.import(request).await.expect("a read");
        let (mut objects, mut members) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
        while let Some(page) = stream.next_page().await.expect("a page") {
            for link in page.links.iter().filter(|link| link.present) {
                members.entry(label(&link.owner)).or_default().insert(label(&link.target));
            }
            objects.extend(page.objects);
        }
        let text = |values: &[Value]| values.iter().map(|value| label(value.as_text())).collect::<Vec<_>>().join("|");
        let name = |object: &landbridge::sync::connector::ImportedObject| {
            object.attributes.get(&"sourceAnchor".into()).map_or("?".to_owned(), |values| text(values))
        };
        let names: BTreeMap<String, String> =
            objects.iter().map(|object| (object.anchor.clone(), name(object))).collect();
        for object in &objects {
            let anchors = object.references.values().flatten().filter_map(|reference| match reference {
                Reference::Anchor(anchor) => names.get(anchor).cloned(),
                Reference::Dn(_) => None,
            });
            members.entry(name(object)).or_default().extend(anchors);
        }
        let lines = objects.iter().map(|object| {
            let mut line = format!("{} {}", object.object_type, name(object));
            for show in shows {
                if let Some(values) = object.attributes.get(&show.as_str().into()) {
                    line += &format!(" {show}={}", text(values));
                }
            }
            if object.object_type == "group" {
                let members = members.get(&name(object)).into_iter().flatten().cloned().collect::<Vec<_>>();
                line += &format!(" [{}]", members.join(" "));
            }
            line
        });
        sorted(lines)
    }

    /// The metaverse, one line per object: its type, whom it is joined with, the attributes of `tells`; then the objects
    /// that are joined with nothing.
    pub async fn metaverse(&self, tells: &[String]) -> String {
        let mut joined: BTreeMap<_, Vec<String>> = BTreeMap::new();
        let mut lines = Vec::new();
        for name in self.directories.keys() {
            let connector: ConnectorName = name.parse().expect("a name");
            let walk = Walk::all(ObjectId(0));
            for object in self.engine.walk(&connector, walk, 10_000).await.expect("a space") {
                let told = format!("{name}/{}", object.rdn);
                match object.mv {
                    Some(mv) => joined.entry(mv).or_default().push(told),
                    None => lines.push(format!("alone {told}")),
                }
            }
        }
        let ids: Vec<_> = joined.keys().copied().collect();
        for object in self.engine.metaverse(&ids).await.expect("the metaverse") {
            let mut members = joined.remove(&object.id).unwrap_or_default();
            members.sort();
            let mut line = format!("{} {}", object.object_type, members.join(" + "));
            for name in tells {
                let values = object.values(&name.as_str().into());
                if !values.is_empty() {
                    let text = values.iter().map(|value| label(value.as_text())).collect::<Vec<_>>().join("|");
                    line += &format!(" {name}={text}");
                }
            }
            lines.push(line);
        }
        sorted(lines.into_iter())
    }

    /// What a run left: problems, holds, exports that wait; and what it sent.
    pub async fn residue(&self, played: &Played) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for problem in self.engine.all_problems(1000).await.expect("problems") {
            let detail = problem.problem.detail.split(':').next().unwrap_or_default();
            let code = problem.problem.code.code();
            let what = match code {
                "export-refused" => format!("{code} ({detail})"),
                // Which value it is, and no id.
                "export-warning" => {
                    let value = detail.split(" belongs to ").next().unwrap_or_default().replace('`', "");
                    format!("{code} ({value})")
                }
                _ => code.to_owned(),
            };
            lines.insert(format!("error {}/{} {what}", problem.connector, problem.name));
        }
        for hold in self.engine.holds().await.expect("holds") {
            lines.insert(format!("hold {} {} {} over {}", hold.target, hold.kind, hold.outstanding, hold.limit));
        }
        let kinds = [ExportKind::Add, ExportKind::Update, ExportKind::Delete];
        let target = self.target.name();
        let pending = self.engine.pending(target, &kinds, ObjectId(0), 10_000).await.expect("pending exports");
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        for export in &pending {
            *waiting.entry(export.kind.code()).or_default() += 1;
        }
        lines.extend(waiting.into_iter().map(|(kind, count)| format!("waits {kind} {count}")));
        let links = self.engine.figures(target).await.expect("figures").pending_links;
        if links > 0 {
            lines.insert(format!("waits links {links}"));
        }
        for (name, (_, directory)) in &self.directories {
            let waits =
                self.engine.pending(directory.name(), &kinds, ObjectId(0), 10_000).await.expect("pending exports");
            if !waits.is_empty() {
                lines.insert(format!("waits at {name} {}", waits.len()));
            }
        }
        for step in played.steps.iter().filter(|step| step.kind == "export") {
            let sent = step.counters.iter().filter(|(name, count)| **count > 0 && name.as_str() != "failed");
            lines.extend(sent.map(|(name, count)| format!("sends {name} {count}")));
        }
        lines.into_iter().collect()
    }
}

/// The shipped rules, options as they are edited, and own rules.
fn sources(options: &[String], edits: &BTreeMap<String, String>, own: &str) -> Vec<RuleSource> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut sources = read_folder(&root.join("rules")).expect("the shipped rules");
    for option in options {
        let mut option = read_file(&root.join("rules-options").join(format!("{option}.toml"))).expect("an option");
        for (written, otherwise) in edits {
            option.text = option.text.replace(written, otherwise);
        }
        sources.push(option);
    }
    sources.push(RuleSource { file: "own.toml".to_owned(), text: own.to_owned() });
    sources
}

/// An engine that exports nothing.
pub struct Staging {
    runner: Runner,
    engine: SqlEngine,
    rules: tempfile::TempDir,
    options: Vec<String>,
}

impl Staging {
    async fn open(
        url: &DatabaseUrl,
        own: StagingParts,
        connectors: &[Arc<dyn Connector>],
        lease: Arc<TestLease>,
        clock: Arc<SettableClock>,
    ) -> Self {
        let db = Database::open_staging(url, "next").await.expect("its tables open");
        let engine = SqlEngine::new(db);
        let rules = tempfile::tempdir().expect("a folder");
        let reads = connectors.iter().filter(|connector| !own.without.contains(&connector.name().to_string()));
        let mut runner = Runner::new(RunnerParts {
            store: Arc::new(engine.clone()),
            lease,
            activations: Arc::new(FolderRules::new(rules.path().to_owned(), clock.clone())),
            connectors: reads.cloned().collect(),
            guard: GuardSettings::holding_nothing(),
            clock,
            events: Arc::new(Events::default()),
        });
        runner.staging = true;
        let staging = Self { runner, engine, rules, options: own.options };
        staging.rules(&own.own_rules);
        staging
    }

    pub fn rules(&self, own: &str) {
        for source in sources(&self.options, &BTreeMap::new(), own) {
            std::fs::write(self.rules.path().join(source.file), source.text).expect("a rule file");
        }
    }

    /// What a run of `profile` is for an engine that exports nothing.
    pub async fn run(&self, profile: Profile) -> RunOutcome {
        let (import, sync) = match profile {
            Profile::Delta => (StepKind::DeltaImport, StepKind::DeltaSync),
            Profile::Full => (StepKind::FullImport, StepKind::FullSync),
            _ => (StepKind::FullImport, StepKind::DeltaSync),
        };
        let steps = [import, StepKind::Confirm, sync].map(Step::of_all).to_vec();
        let profile = RunProfile::own("compare", steps, &self.runner.connectors).expect("a profile");
        let (run, _) = self.runner.run(profile, Arc::new(|_| {})).await.expect("the run ends");
        run.outcome
    }

    pub async fn dump(&self) -> String {
        self.engine.dump().await.expect("a dump")
    }

    /// How it differs from `active`, one line per object and attribute.
    pub async fn differences(&self, active: &Runner) -> String {
        let diff = active.diff(&self.runner, None, 10_000).await.expect("a comparison");
        let mut lines = Vec::new();
        let text = |values: &[Value]| values.iter().map(|value| label(value.as_text())).collect::<Vec<_>>().join("|");
        let keys = |keys: &[String]| keys.iter().map(|key| label(key)).collect::<Vec<_>>().join(" ");
        for target in diff.targets {
            let counted = target.differing + target.only_active + target.only_staging;
            assert_eq!(counted, target.objects.len(), "all are told");
            lines.push(format!("{} alike {}", target.target, target.alike));
            for object in target.objects {
                let name = format!("{} {} {}", target.target, object.object_type, label(&object.key));
                match object.difference {
                    Difference::OnlyActive => lines.push(format!("{name}: in the active one alone")),
                    Difference::OnlyStaging => lines.push(format!("{name}: in the staging one alone")),
                    Difference::Values => {
                        lines.extend(object.attributes.iter().map(|value| {
                            format!("{name}: {} {} -> {}", value.attribute, text(&value.active), text(&value.staging))
                        }));
                        lines.extend(object.links.iter().map(|link| {
                            let (lost, gained) = (keys(&link.only_active), keys(&link.only_staging));
                            format!("{name}: {} -[{lost}] +[{gained}]", link.attribute)
                        }));
                    }
                }
            }
        }
        lines.join("\n")
    }
}

impl Played {
    /// What a full synchronisation says that deltas had missed.
    pub fn missed(&self) -> Vec<String> {
        let missed = self.steps.iter().filter(|step| step.counters.get(DELTA_MISSED).is_some_and(|count| *count > 0));
        missed.map(|step| step.detail.clone().unwrap_or_default()).collect()
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.join("\n")
}

async fn tenant(
    gateway: &Database,
    clock: &Arc<SettableClock>,
    domains: BTreeMap<ConnectorName, BTreeSet<DomainName>>,
) -> TenantStore {
    let tenant = TenantStore::new(gateway.clone(), clock.clone(), TenantOptions::default());
    tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
    for domain in domains.values().flatten() {
        tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
        tenant.mark_verified(domain, NewVerification::Operator, None).await.expect("verified");
    }
    tenant.register_connectors(domains).await.expect("a registration");
    tenant
}
