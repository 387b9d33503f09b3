//! Provisioning on demand: one object is read, synchronised, exported and confirmed ahead of the next cycle, by the same
//! passes, behind the same guard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::confirm::Confirmer;
use super::connector::{Connector, ImportPage, ReadBack, SingleRead, SingleRequest, Sought};
use super::explain::{FindError, Found, InspectError, Named, Names, ObjectName, find};
use super::export::{Answered, ExportCounters, ExportError, Exporter, Part};
use super::guard::Hold;
use super::import::{Coverage, Importer};
use super::lease::HeldLease;
use super::problem::Problem;
use super::read_ahead::ReadPage;
use super::rule::RuleSet;
use super::run::{ProgressSink, RunError, Runner, looked_at};
use super::space::{ExportKind, ObjectId, ObjectKind, codes};
use super::synchronise::{Focus, focused};
use super::trace::{Finding, JoinDecision, TargetDecision, Trace};
use crate::identity::{ConnectorName, DistinguishedName};

codes! {
    /// How a step of provisioning ended.
    StepEnd {
        Done = "done",
        /// There was nothing to do.
        Nothing = "nothing",
        /// The guard holds the target; what is staged waits.
        Held = "held",
        Refused = "refused",
        Failed = "failed",
    }
}

codes! {
    ProvisionStep { Import = "import", Synchronise = "synchronise", Export = "export", Confirm = "confirm" }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionTold {
    pub step: ProvisionStep,
    pub connector: String,
    pub end: StepEnd,
    pub detail: String,
}

/// What provisioning one object came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// The object by its name in its source space, once it is there.
    pub object: Option<Named>,
    pub steps: Vec<ProvisionTold>,
    /// References to objects that are in no metaverse yet; they follow when these are.
    pub waiting_references: Vec<Named>,
}

impl Provisioned {
    /// Whether every step came to its end.
    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.end, StepEnd::Done | StepEnd::Nothing))
    }

    fn tell(&mut self, step: ProvisionStep, connector: &str, end: StepEnd, detail: impl Into<String>) {
        self.steps.push(ProvisionTold { step, connector: connector.to_owned(), end, detail: detail.into() });
    }
}

/// One object to be read: the connector that has it, and by what it is asked for.
struct Wanted<'a> {
    connector: &'a dyn Connector,
    sought: Sought,
}

/// References that wait, named at most.
const NAMED: usize = 20;

impl Runner {
    /// Brings one object of a source from there to the targets. It may be new: then it is named by its connector and its
    /// DN or anchor.
    ///
    /// # Errors
    /// What keeps an object from being provisioned is told by the steps; an error means that nobody knows it, or that the
    /// engine is busy, elsewhere or broken.
    pub async fn provision(&self, name: &ObjectName) -> Result<Provisioned, InspectError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let rules = self.rules().await?.1;
        let lease = HeldLease::begin(self.lease.clone())?;
        let mut told = Provisioned { object: None, steps: Vec::new(), waiting_references: Vec::new() };
        let mut objects = BTreeSet::new();
        for wanted in self.wanted(&rules, name).await? {
            objects.extend(self.import_one(&rules, &lease, &wanted, &mut told).await?);
        }
        if objects.is_empty() {
            return Ok(told);
        }
        let focus = Focus { objects, mvs: BTreeSet::new() };
        let (focus, findings, _) = focused(&*self.store, &rules, lease.epoch, focus, Trace::on()).await?;
        let mut names = Names::default();
        names.read(&*self.store, focus.objects.iter().copied(), focus.mvs.iter().copied()).await?;
        told.object = focus.objects.first().map(|id| names.object(*id));
        tell_synchronised(&findings, &names, &mut told);
        // Targets wait for source anchors that are kept in the source itself.
        let mut written_back = false;
        for source in self.connectors.iter().filter(|connector| connector.capabilities().writes_back) {
            written_back |= self.export_one(&rules, &lease, &**source, &focus, &mut told).await?;
        }
        let focus = match written_back {
            true => focused(&*self.store, &rules, lease.epoch, focus, Trace::default()).await?.0,
            false => focus,
        };
        for target in self.connectors.iter().filter(|connector| connector.capabilities().exports) {
            self.export_one(&rules, &lease, &**target, &focus, &mut told).await?;
        }
        self.tell_waiting(&focus, &mut names, &mut told).await?;
        Ok(told)
    }

    /// Whom to ask for the object that was named.
    async fn wanted(&self, rules: &RuleSet, name: &ObjectName) -> Result<Vec<Wanted<'_>>, InspectError> {
        let source = |name: &ConnectorName| {
            let mut all = self.connectors.iter();
            all.find(|connector| connector.name() == name && !connector.capabilities().exports)
        };
        if let ObjectName::InSpace { connector, name } = name
            && let Some(connector) = source(connector)
        {
            let dn = name.contains('=').then(|| name.parse::<DistinguishedName>().ok()).flatten();
            let sought = match dn.filter(|_| connector.capabilities().hierarchical) {
                Some(dn) => Sought::Dn(dn),
                None => Sought::Anchor(name.clone()),
            };
            return Ok(vec![Wanted { connector: &**connector, sought }]);
        }
        let found = find(&*self.store, rules, name).await?;
        let anchored: Vec<(ConnectorName, Option<String>)> = match &found {
            Found::Space(head) if head.mv.is_none() => vec![(head.connector.clone(), head.anchor.clone())],
            Found::Space(_) | Found::Metaverse(_) => {
                let mv = match &found {
                    Found::Metaverse(mv) => Some(*mv),
                    Found::Space(head) => head.mv,
                };
                let members = self.store.members(&mv.into_iter().collect::<Vec<_>>()).await?;
                members.into_iter().map(|member| (member.connector, member.anchor)).collect()
            }
        };
        let wanted: Vec<Wanted<'_>> = anchored
            .into_iter()
            .filter_map(|(name, anchor)| Some(Wanted { connector: &**source(&name)?, sought: Sought::Anchor(anchor?) }))
            .collect();
        if wanted.is_empty() {
            return Err(FindError::Nothing("an object of a source".to_owned()).into());
        }
        Ok(wanted)
    }

    /// Reads one object into its space; returns its ids there.
    async fn import_one(
        &self,
        rules: &RuleSet,
        lease: &HeldLease,
        wanted: &Wanted<'_>,
        told: &mut Provisioned,
    ) -> Result<Vec<ObjectId>, InspectError> {
        const STEP: ProvisionStep = ProvisionStep::Import;
        let (store, connector) = (&*self.store, wanted.connector.name());
        let request = SingleRequest { bases: store.bases(connector).await?, wanted: rules.wanted(connector) };
        let page = match wanted.connector.import_one(wanted.sought.clone(), request).await {
            Ok(SingleRead::Found(page)) => *page,
            Ok(SingleRead::OutOfScope { reason }) => {
                told.tell(STEP, connector.as_str(), StepEnd::Refused, reason);
                return Ok(Vec::new());
            }
            Ok(SingleRead::Absent) => {
                let reason = "it is not there; what an earlier import showed goes with the next run";
                told.tell(STEP, connector.as_str(), StepEnd::Refused, reason);
                return Ok(Vec::new());
            }
            Err(error) => {
                told.tell(STEP, connector.as_str(), StepEnd::Failed, error.to_string());
                return Ok(Vec::new());
            }
        };
        let anchors: Vec<String> = page.objects.iter().map(|object| object.anchor.clone()).collect();
        lease.check()?;
        let importer = Importer::new(store, connector.clone(), lease.epoch, Coverage::Selected);
        let mut importer = importer.confirming(wanted.connector.capabilities());
        importer.page(ReadPage::of(page, &rules.counted(connector))).await?;
        let detail = match (importer.counters.added, importer.counters.updated) {
            (0, 0) => "read; nothing changed",
            (0, _) => "read, with changes",
            _ => "read; it is new",
        };
        told.tell(STEP, connector.as_str(), StepEnd::Done, detail);
        let heads = store.heads_by_anchor(connector, &anchors).await?;
        Ok(heads.into_iter().filter(|head| head.kind == ObjectKind::Object).map(|head| head.id).collect())
    }

    /// Exports what is staged for the object at one target, and confirms it; tells whether something left.
    async fn export_one(
        &self,
        rules: &RuleSet,
        lease: &HeldLease,
        target: &dyn Connector,
        focus: &Focus,
        told: &mut Provisioned,
    ) -> Result<bool, InspectError> {
        const STEP: ProvisionStep = ProvisionStep::Export;
        let (store, name) = (&*self.store, target.name());
        let mvs: Vec<_> = focus.mvs.iter().copied().collect();
        let members = store.members(&mvs).await?;
        let ids: Vec<ObjectId> =
            members.iter().filter(|member| member.connector == *name).map(|member| member.id).collect();
        let staged = store.staged(&ids).await?;
        let links = store.staged_links_about(&ids, 1).await?;
        if staged.is_empty() && links.is_empty() {
            return Ok(false);
        }
        let capabilities = target.capabilities();
        if capabilities.exports && store.mark(&looked_at(name)).await?.is_none() {
            let reason = "no import of this target came to its end yet: a run has to adopt what it holds first";
            told.tell(STEP, name.as_str(), StepEnd::Refused, reason);
            return Ok(false);
        }
        if let Some(reason) = self.too_little_known().await? {
            told.tell(STEP, name.as_str(), StepEnd::Refused, reason);
            return Ok(false);
        }
        let (holds, releases) = self.judge(store, name).await?;
        if !holds.is_empty() {
            told.tell(STEP, name.as_str(), StepEnd::Held, held(&holds));
            return Ok(false);
        }
        let progress: ProgressSink = Arc::new(|_| {});
        let mut exporter = Exporter {
            store,
            connector: target,
            lease,
            clock: &*self.clock,
            part: Part::All,
            released: releases.standing,
            progress: &progress,
            silence: 0,
            counters: ExportCounters::default(),
            answered: Answered::default(),
        };
        let exported = exporter.run_only(&ids).await;
        let counters = exporter.counters.clone();
        match exported {
            Ok(()) => {}
            Err(ExportError::Connector(error)) => {
                told.tell(STEP, name.as_str(), StepEnd::Failed, error.to_string());
                return Ok(false);
            }
            Err(ExportError::Lease(error)) => return Err(error.into()),
            Err(ExportError::Store(error)) => return Err(error.into()),
        }
        let refused: Vec<String> = store.staged(&ids).await?.into_iter().filter_map(|export| export.error).collect();
        let done = [
            (counters.adds, "added"),
            (counters.updates, "changed"),
            (counters.deletes, "deleted"),
            (counters.links, "links"),
        ];
        let done: Vec<String> =
            done.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let left = !done.is_empty();
        match (refused.is_empty(), done.is_empty()) {
            (false, _) => told.tell(STEP, name.as_str(), StepEnd::Refused, refused.join("; ")),
            (true, true) => told.tell(STEP, name.as_str(), StepEnd::Nothing, "its links wait for their other ends"),
            (true, false) => told.tell(STEP, name.as_str(), StepEnd::Done, done.join(", ")),
        }
        if capabilities.exports {
            self.confirm_one(rules, lease, target, &ids, told).await?;
        }
        Ok(left)
    }

    /// Reads back what the target made of it.
    async fn confirm_one(
        &self,
        rules: &RuleSet,
        lease: &HeldLease,
        target: &dyn Connector,
        ids: &[ObjectId],
        told: &mut Provisioned,
    ) -> Result<(), InspectError> {
        const STEP: ProvisionStep = ProvisionStep::Confirm;
        let (store, name) = (&*self.store, target.name());
        if !target.capabilities().single_read {
            told.tell(STEP, name.as_str(), StepEnd::Nothing, "the next run reads it back");
            return Ok(());
        }
        let objects = store.objects(ids).await?;
        let deleted = |object: &super::space::SpaceObject| {
            object.unconfirmed.as_ref().is_some_and(|sent| sent.kind == ExportKind::Delete)
        };
        let questions = objects.iter().filter(|object| !deleted(object)).filter_map(|object| {
            Some(ReadBack::ByAnchor { object_type: object.object_type.clone(), anchor: object.anchor.clone()? })
        });
        let answers = match target.read_back(questions.collect()).await {
            Ok(answers) => answers,
            Err(error) => {
                told.tell(STEP, name.as_str(), StepEnd::Failed, error.to_string());
                return Ok(());
            }
        };
        // References are told by other ways than by the object itself where the target tells them one by one.
        let shown: Vec<_> = answers.into_iter().flatten().collect();
        if shown.is_empty() {
            told.tell(STEP, name.as_str(), StepEnd::Nothing, "the target does not show it yet");
            return Ok(());
        }
        lease.check()?;
        let mut confirmer = Confirmer::new(store, rules, name.clone(), lease.epoch, false, self.clock.now());
        confirmer.page(ImportPage { objects: shown, ..ImportPage::default() }).await?;
        match confirmer.counters.differing {
            0 => told.tell(STEP, name.as_str(), StepEnd::Done, "the target shows it as it was sent"),
            _ => told.tell(STEP, name.as_str(), StepEnd::Done, "the target shows other values than were sent"),
        }
        Ok(())
    }

    async fn tell_waiting(&self, focus: &Focus, names: &mut Names, told: &mut Provisioned) -> Result<(), InspectError> {
        let mut ends = BTreeSet::new();
        for owner in &focus.objects {
            ends.extend(self.store.some_links(*owner, NAMED * 10).await?.into_iter().map(|link| link.key.target));
        }
        let ends: Vec<ObjectId> = ends.into_iter().collect();
        let waiting = self.store.heads(&ends).await?.into_iter().filter(|head| head.mv.is_none());
        let waiting: Vec<ObjectId> = waiting.take(NAMED).map(|head| head.id).collect();
        names.read(&*self.store, waiting.iter().copied(), []).await?;
        told.waiting_references = waiting.into_iter().map(|id| names.object(id)).collect();
        Ok(())
    }
}

fn held(holds: &[Hold]) -> String {
    let held: Vec<String> =
        holds.iter().map(|hold| format!("{} {} over {}", hold.outstanding, hold.kind, hold.limit)).collect();
    format!("the guard holds all exports to this target: {}; see `guard show`", held.join(", "))
}

/// What became of the object in the metaverse and at the targets.
fn tell_synchronised(findings: &[Finding], names: &Names, told: &mut Provisioned) {
    const STEP: ProvisionStep = ProvisionStep::Synchronise;
    let refused = |problem: &Problem| format!("{}: {}", problem.code.code(), problem.detail);
    let mut targets: BTreeMap<&ConnectorName, &TargetDecision> = BTreeMap::new();
    for finding in findings {
        match finding {
            Finding::Join { decision, .. } => {
                let (end, detail) = match decision {
                    JoinDecision::StaysJoined { mv, .. } => {
                        (StepEnd::Done, format!("stays joined to {}", names.mv(*mv)))
                    }
                    JoinDecision::Joined { mv, rule } => {
                        (StepEnd::Done, format!("joined to {} by \"{}\"", names.mv(*mv), rule.rule))
                    }
                    JoinDecision::Projected { mv, rule } => {
                        (StepEnd::Done, format!("projected as {} by \"{}\"", names.mv(*mv), rule.rule))
                    }
                    JoinDecision::Unlinked { mv, .. } => {
                        (StepEnd::Done, format!("left {}: its rule is not in scope any more", names.mv(*mv)))
                    }
                    JoinDecision::Deleted => (StepEnd::Done, "left the space".to_owned()),
                    JoinDecision::NoJoinRule => {
                        (StepEnd::Refused, "no rule with a join is in scope; `sync preview` tells why".to_owned())
                    }
                    JoinDecision::Waits { keys, .. } => {
                        let keys: Vec<String> = keys.iter().map(|key| key.told()).collect();
                        (StepEnd::Refused, format!("it waits for {}", keys.join(" or ")))
                    }
                    JoinDecision::Refused { problem } => (StepEnd::Refused, refused(problem)),
                };
                told.tell(STEP, "", end, detail);
            }
            Finding::Frozen { why, .. } => told.tell(STEP, "", StepEnd::Refused, refused(why)),
            Finding::Target { connector, decision, .. } => {
                targets.insert(connector, decision);
            }
            Finding::Scope { .. } | Finding::JoinGroup { .. } | Finding::Alive { .. } | Finding::Flow { .. } => {}
        }
    }
    for (connector, decision) in targets {
        let (end, detail) = match decision {
            TargetDecision::NotWanted => {
                (StepEnd::Nothing, "no rule provisions it; `sync preview` tells why".to_owned())
            }
            TargetDecision::Leaves { .. } => (StepEnd::Done, "leaves the target".to_owned()),
            TargetDecision::Linked { .. } | TargetDecision::WrittenBack { .. } => {
                (StepEnd::Done, "has its object there".to_owned())
            }
            TargetDecision::Adopted { rule, .. } => (StepEnd::Done, format!("adopts an object by \"{}\"", rule.rule)),
            TargetDecision::Provisioned { rule, .. } => (StepEnd::Done, format!("provisioned by \"{}\"", rule.rule)),
            TargetDecision::NoMatch { rule } => {
                (StepEnd::Refused, format!("\"{}\" joins what is there, and nothing matches", rule.rule))
            }
            TargetDecision::Refused { problem, .. } => (StepEnd::Refused, refused(problem)),
        };
        told.tell(STEP, connector.as_str(), end, detail);
    }
}
