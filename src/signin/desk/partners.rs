//! Federation partners, looked at by synthetic sign-ins from every node, and what follows from it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{DeskError, SignInDesk, alert_event};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{AuthenticationMethod, DomainName, EntityId, NodeId, Timestamp};
use crate::signin::partner_outage::{
    FEWEST_FAILURES, Measure, NodeView, PartnerHealth, PartnerOutage, SyntheticKind, SyntheticSignIn, judge,
};
use crate::signin::store::{Alert, StoreDown};
use crate::tenant::Domain;

/// The alert of a domain whose partner gives no service to any node.
pub const PARTNER_DOWN: &str = "partner-down";
/// The alert of a partner that answers synthetic sign-ins, though not by signing in.
pub const CANARY_REFUSED: &str = "partner-canary-refused";
/// A node that has not been heard of for longer is not asked for its view.
const ALIVE: Duration = Duration::from_secs(120);
/// Longest time of a synthetic sign-in, with what it takes to write it down.
const LONGEST: Duration = Duration::from_secs(45);
/// Views of nodes that are gone are kept for a week.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// So many times a node has to look within the time that makes an outage: its first and its last look may fall beside it.
const LOOKS: u32 = FEWEST_FAILURES + 1;

/// What `failover status` shows of the partner of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerStatus {
    pub domain: DomainName,
    pub partner: EntityId,
    pub health: PartnerHealth,
    /// Since when an outage is confirmed.
    pub outage_since: Option<Timestamp>,
    /// How long every node must find no service.
    pub after_seconds: u64,
    /// Synthetic sign-ins go on with a canary account's password; else they end with the partner's first page.
    pub canary_account: bool,
    /// Live nodes, and what each has found.
    pub nodes: Vec<NodeStatus>,
    /// What the node that answers has just found, when it was asked to look. Nothing follows from it.
    #[serde(default)]
    pub looked: Option<Looked>,
}

/// How a synthetic sign-in ended that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub found: SyntheticKind,
    pub detail: Option<String>,
}

/// How long an answer to somebody who asks for a look is good: whoever may only look does not spend the canary's sign-ins.
const LOOKED: Duration = Duration::from_secs(10);

/// The last looks that were asked for.
#[derive(Default)]
pub struct Looks(tokio::sync::Mutex<HashMap<EntityId, (Instant, Looked)>>);

impl Looks {
    /// What a sign-in of a moment ago found, or one that is made now. Those who ask at the same time get one answer.
    async fn look(&self, synthetic: &dyn SyntheticSignIn, partner: &EntityId) -> Looked {
        let mut looks = self.0.lock().await;
        if let Some((_, looked)) = looks.get(partner).filter(|(at, _)| at.elapsed() < LOOKED) {
            return looked.clone();
        }
        let found = synthetic.sign_in(partner).await;
        let looked = Looked { found: found.kind(), detail: found.detail().map(str::to_owned) };
        looks.insert(partner.clone(), (Instant::now(), looked.clone()));
        looked
    }
}

/// What a live node knows of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeId,
    /// `None`: it has not looked yet.
    pub view: Option<NodeView>,
}

impl SignInDesk {
    /// Signs in at every partner that answers for somebody, and decides anew about outages. To be called often, on every
    /// node.
    pub async fn look_at_partners(&self) -> Result<(), DeskError> {
        let answering = self.answering().await?;
        let mut partners: Vec<&EntityId> = answering.iter().map(|(_, partner)| partner).collect();
        partners.sort();
        partners.dedup();
        // What fails for one partner keeps nothing from being decided about the others.
        let mut failed = None;
        for looked in join_all(partners.into_iter().map(|partner| self.look_at(partner))).await {
            failed = looked.err().or(failed);
        }
        let (now, live) = (self.time.now().await?, self.live_nodes().await?);
        let outages = self.partner_outages.outages().await?;
        for (domain, partner) in &answering {
            let known = outages.iter().find(|outage| outage.domain == domain.name);
            if let Some(former) = known.filter(|outage| outage.partner != *partner) {
                self.end_outage(&former.domain, "partner-changed").await?;
            }
            let known = known.filter(|outage| outage.partner == *partner);
            match (self.health(domain, partner, &live, now).await?, known) {
                (PartnerHealth::Down, None) => self.begin_outage(domain, partner, now).await?,
                (PartnerHealth::Serves, Some(_)) => self.end_outage(&domain.name, "partner-serves").await?,
                // From before a standstill: what the partner does now is to be found out first.
                (PartnerHealth::Undecided, Some(outage)) if outage.holds_until < now => {
                    self.end_outage(&domain.name, "nobody-looked").await?;
                }
                (PartnerHealth::Down | PartnerHealth::Undecided, Some(_)) => {
                    self.partner_outages.renew(&domain.name, now + self.fresh()).await?;
                }
                (PartnerHealth::Serves | PartnerHealth::Undecided, None) => {}
            }
        }
        for outage in &outages {
            if !answering.iter().any(|(domain, _)| domain.name == outage.domain) {
                self.end_outage(&outage.domain, "method-changed").await?;
            }
        }
        self.settle_alerts(&answering).await?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Forgets what nodes knew that are gone.
    pub async fn forget_views(&self) -> Result<(), StoreDown> {
        self.partner_outages.forget(self.time.now().await? - KEPT).await
    }

    /// The partners of domains, and what nodes know of them; with `probe`, also what this one finds now.
    pub(super) async fn partner_status(&self, probe: bool) -> Result<Vec<PartnerStatus>, DeskError> {
        let (live, outages) = (self.live_nodes().await?, self.partner_outages.outages().await?);
        let now = self.time.now().await?;
        let mut all: Vec<PartnerStatus> = Vec::new();
        for (domain, partner) in self.answering().await? {
            // Several domains may have one partner: it is looked at once.
            let looked = match all.iter().find(|status| status.partner == partner) {
                Some(status) => status.looked.clone(),
                None if probe => Some(self.looks.look(&*self.synthetic, &partner).await),
                None => None,
            };
            let mut views: BTreeMap<NodeId, NodeView> = BTreeMap::new();
            for view in self.partner_outages.views(&partner).await? {
                views.insert(view.node.clone(), view);
            }
            let outage = outages.iter().find(|outage| outage.domain == domain.name && outage.partner == partner);
            all.push(PartnerStatus {
                health: self.health(&domain, &partner, &live, now).await?,
                outage_since: outage.filter(|outage| outage.holds_until >= now).map(|outage| outage.since),
                after_seconds: self.outage_after(&domain).as_secs(),
                looked,
                canary_account: self.synthetic.has_account(&partner),
                nodes: live.iter().map(|node| NodeStatus { view: views.remove(node), node: node.clone() }).collect(),
                domain: domain.name,
                partner,
            });
        }
        Ok(all)
    }

    /// The partners of a domain that cannot be gone back to: in an outage, or with no live node that has just signed in.
    pub(super) async fn partners_down(&self, name: &DomainName) -> Result<Vec<EntityId>, DeskError> {
        let (live, outages) = (self.live_nodes().await?, self.partner_outages.outages().await?);
        let (now, mut down) = (self.time.now().await?, Vec::new());
        for (domain, partner) in self.answering().await?.into_iter().filter(|(domain, _)| domain.name == *name) {
            let holds = |outage: &&PartnerOutage| outage.partner == partner && outage.holds_until >= now;
            let outage = outages.iter().filter(holds).any(|outage| outage.domain == *name);
            let fails = self.partner_outages.views(&partner).await?.iter().any(|view| {
                live.contains(&view.node) && view.found == SyntheticKind::NoService && self.is_fresh(view, now)
            });
            if outage || fails && self.health(&domain, &partner, &live, now).await? != PartnerHealth::Serves {
                down.push(partner);
            }
        }
        Ok(down)
    }

    async fn look_at(&self, partner: &EntityId) -> Result<(), StoreDown> {
        let node = self.partner_outages.node();
        let synthetic = self.synthetic.sign_in(partner).await;
        let now = self.time.now().await?;
        let former = self.partner_outages.views(partner).await?.into_iter().find(|view| view.node == node);
        let view = NodeView::after(former.as_ref(), node, &synthetic, self.fresh(), now);
        if former.as_ref().is_none_or(|former| former.found != view.found) {
            let detail = view.detail.as_deref().unwrap_or_default();
            tracing::info!(partner = %partner, found = view.found.as_str(), detail, "a synthetic sign-in");
        }
        self.partner_outages.note(partner, view).await
    }

    async fn health(
        &self,
        domain: &Domain,
        partner: &EntityId,
        live: &[NodeId],
        now: Timestamp,
    ) -> Result<PartnerHealth, StoreDown> {
        let good = self.sign_in.room.settings.good_probes;
        let measure = Measure { after: self.outage_after(domain), fresh: self.fresh(), good };
        let views = self.partner_outages.views(partner).await?;
        Ok(judge(&views, live, measure, now))
    }

    /// How long every node must find no service before a partner of the domain is down.
    fn outage_after(&self, domain: &Domain) -> Duration {
        domain.partner_outage_after.max(self.shortest_outage())
    }

    /// No partner is down sooner, whatever a domain says.
    pub(super) fn shortest_outage(&self) -> Duration {
        self.sign_in.room.settings.partner_interval * LOOKS
    }

    /// The domains some of whose people a partner answers for.
    async fn answering(&self) -> Result<Vec<(Domain, EntityId)>, DeskError> {
        let mut answering = Vec::new();
        for domain in self.domains.domains().await? {
            let paths = self.paths(&domain).await?;
            // A domain has one partner, of its rollouts too.
            let partner = paths.partners().first().map(|partner| (*partner).clone());
            answering.extend(partner.map(|partner| (domain, partner)));
        }
        Ok(answering)
    }

    async fn live_nodes(&self) -> Result<Vec<NodeId>, StoreDown> {
        let nodes = self.tallies.nodes(self.time.now().await? - ALIVE).await?;
        let mut live: Vec<NodeId> = nodes.into_iter().map(|node| node.node).collect();
        // This one lives, though it may not have said so yet.
        let own = self.partner_outages.node();
        if !live.contains(&own) {
            live.push(own);
        }
        Ok(live)
    }

    fn fresh(&self) -> Duration {
        self.sign_in.room.settings.partner_interval * 2 + LONGEST
    }

    fn is_fresh(&self, view: &NodeView, now: Timestamp) -> bool {
        view.at + self.fresh() >= now
    }

    async fn begin_outage(&self, domain: &Domain, partner: &EntityId, now: Timestamp) -> Result<(), StoreDown> {
        let outage = PartnerOutage {
            domain: domain.name.clone(),
            partner: partner.clone(),
            since: now,
            holds_until: now + self.fresh(),
        };
        let event = event(EventKind::FailoverStarted, &domain.name, "every-node-finds-no-service")
            .with("partner", partner.as_str())
            .with("method", AuthenticationMethod::Federated.as_str())
            .with("failover", domain.failover.as_str());
        if self.partner_outages.begin(outage, event).await? {
            tracing::error!(domain = %domain.name, partner = %partner, "the partner gives no service to any node");
        }
        Ok(())
    }

    async fn end_outage(&self, domain: &DomainName, because: &'static str) -> Result<(), StoreDown> {
        if self.partner_outages.end(domain, event(EventKind::FailoverEnded, domain, because)).await? {
            tracing::warn!(domain = %domain, because, "the outage of the partner is over");
        }
        Ok(())
    }

    /// Raises and clears what is to be told, whatever this node did itself: another may have stopped in between.
    async fn settle_alerts(&self, answering: &[(Domain, EntityId)]) -> Result<(), StoreDown> {
        let room = &self.sign_in.room;
        let (now, outages) = (self.time.now().await?, self.partner_outages.outages().await?);
        let mut due: BTreeMap<(&'static str, String), String> = BTreeMap::new();
        for outage in &outages {
            let Some((domain, _)) = answering.iter().find(|(domain, _)| domain.name == outage.domain) else { continue };
            let waited = self.outage_after(domain);
            due.insert((PARTNER_DOWN, outage.domain.to_string()), told(domain, outage, waited));
        }
        for (_, partner) in answering {
            let refusing = self.partner_outages.views(partner).await?.into_iter();
            let refusing = refusing.filter(|view| view.found == SyntheticKind::Otherwise && self.is_fresh(view, now));
            if let Some(view) = refusing.max_by_key(|view| view.at) {
                let what = view.detail.unwrap_or_default();
                due.insert((CANARY_REFUSED, partner.to_string()), format!("seen by {}: {what}", view.node));
            }
        }
        let raised = room.store.raised().await?;
        for alert in raised.iter() {
            let Some(name) = [PARTNER_DOWN, CANARY_REFUSED].into_iter().find(|name| *name == alert.name) else {
                continue;
            };
            if !due.contains_key(&(name, alert.subject.clone())) {
                let events = vec![alerted(EventKind::AlertCleared, &alert.subject, name)];
                room.store.clear(name, alert.subject.clone(), now, events).await?;
            }
        }
        for ((name, subject), detail) in due {
            if !raised.iter().any(|alert| alert.name == name && alert.subject == subject) {
                let events = vec![alerted(EventKind::AlertRaised, &subject, name)];
                room.store.raise(Alert { name, subject, detail, at: now }, events).await?;
            }
        }
        Ok(())
    }
}

fn told(domain: &Domain, outage: &PartnerOutage, waited: Duration) -> String {
    let (name, waited) = (&domain.name, waited.as_secs());
    format!(
        "no node has had service of {} for {waited} seconds; failover of {name} is {} (failover status {name} shows what \
         each node finds; failover force {name} lets people in by their stored hashes)",
        outage.partner, domain.failover
    )
}

fn event(kind: EventKind, domain: &DomainName, because: &'static str) -> Event {
    alert_event(kind, domain, because)
}

fn alerted(kind: EventKind, subject: &str, name: &'static str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("failover".to_owned())).about(subject).because(name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::signin::partner_outage::Synthetic;

    /// Takes its time, and counts.
    #[derive(Default)]
    struct Canary(AtomicU32);

    #[async_trait::async_trait]
    impl SyntheticSignIn for Canary {
        async fn sign_in(&self, _partner: &EntityId) -> Synthetic {
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Synthetic::PageShown
        }

        fn has_account(&self, _partner: &EntityId) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_and_again_makes_one_sign_in_in_ten_seconds() {
        let (canary, looks) = (Canary::default(), Looks::default());
        let [one, other] = ["https://one.example", "https://other.example"].map(|id| id.parse().expect("an id"));
        let asked = join_all((0..50).map(|_| looks.look(&canary, &one))).await;
        assert!(asked.iter().all(|looked| looked.found == SyntheticKind::PageShown));
        assert_eq!(canary.0.load(Ordering::Relaxed), 1, "those who ask at once");
        looks.look(&canary, &other).await;
        assert_eq!(canary.0.load(Ordering::Relaxed), 2, "another partner");
        tokio::time::sleep(LOOKED).await;
        looks.look(&canary, &one).await;
        assert_eq!(canary.0.load(Ordering::Relaxed), 3, "the time is over");
    }
}
