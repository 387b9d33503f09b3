//! When a federation partner gives no service: found out by synthetic sign-ins from every node, decided in the shared store.
//!
//! The gateway never sees how a partner answers its users. Each node therefore signs in at the partner itself, as a browser
//! does, every half a minute, and writes down how that went. What is *no service*, and what a definitive answer, is a closed
//! list ([`Synthetic`]); only the former can ever lead to failover. An outage is confirmed when every live node has found
//! no service for the whole time that the domain demands, and several times, and over when one of them has signed in several times in a row.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, planted};
use super::store::StoreDown;
use crate::audit::Event;
use crate::identity::{DomainName, EntityId, NodeId, Timestamp};

/// How a synthetic sign-in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synthetic {
    /// The canary account was signed in, and the assertion verified as a user's would be.
    SignedIn,
    /// The request was answered with the partner's sign-in page; there is no canary account to go on with.
    PageShown,
    /// The partner answers, though not with a sign-in: a refusal, a status below 500, a page that is none for signing in, an
    /// assertion that does not verify. It is there, so this never counts towards an outage.
    Otherwise(String),
    /// Name resolution, connection or TLS failed, no answer came in time, or a status of 500 and above.
    NoService(String),
}

impl Synthetic {
    pub const fn kind(&self) -> SyntheticKind {
        match self {
            Self::SignedIn => SyntheticKind::SignedIn,
            Self::PageShown => SyntheticKind::PageShown,
            Self::Otherwise(_) => SyntheticKind::Otherwise,
            Self::NoService(_) => SyntheticKind::NoService,
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::SignedIn | Self::PageShown => None,
            Self::Otherwise(what) | Self::NoService(what) => Some(what),
        }
    }
}

/// The word for how a synthetic sign-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyntheticKind {
    SignedIn,
    PageShown,
    Otherwise,
    NoService,
}

impl SyntheticKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed-in",
            Self::PageShown => "page-shown",
            Self::Otherwise => "otherwise",
            Self::NoService => "no-service",
        }
    }

    /// The partner did what it is there for.
    const fn is_good(self) -> bool {
        matches!(self, Self::SignedIn | Self::PageShown)
    }
}

impl std::str::FromStr for SyntheticKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::SignedIn, Self::PageShown, Self::Otherwise, Self::NoService]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownKind)
    }
}

/// A word that names no end of a synthetic sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected signed-in, page-shown, otherwise or no-service")]
pub struct UnknownKind;

/// Signs in at partners.
#[async_trait]
pub trait SyntheticSignIn: Send + Sync {
    /// One sign-in, within a deadline of its own. Nobody is signed in to the gateway by it.
    async fn sign_in(&self, partner: &EntityId) -> Synthetic;

    /// Whether there is a canary account at the partner, so that more than its first page is seen.
    fn has_account(&self, partner: &EntityId) -> bool;
}

/// What one node has found out about a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub node: NodeId,
    pub at: Timestamp,
    pub found: SyntheticKind,
    pub detail: Option<String>,
    /// Since when each one has found no service.
    pub failing_since: Option<Timestamp>,
    /// How many have since.
    pub failures: u32,
    /// How many in a row have been good.
    pub good: u32,
    /// When the last good one was.
    pub last_good: Option<Timestamp>,
}

impl NodeView {
    /// The view after one more synthetic sign-in. A former view that is not `fresh` any more is of another time: nobody looked
    /// in between, and nothing is counted from it on.
    pub fn after(former: Option<&Self>, node: NodeId, synthetic: &Synthetic, fresh: Duration, now: Timestamp) -> Self {
        let found = synthetic.kind();
        let last_good = former.and_then(|former| former.last_good);
        let former = former.filter(|former| former.at + fresh >= now);
        let failing_since = match found {
            SyntheticKind::NoService => Some(former.and_then(|former| former.failing_since).unwrap_or(now)),
            SyntheticKind::SignedIn | SyntheticKind::PageShown | SyntheticKind::Otherwise => None,
        };
        let failures = match failing_since {
            Some(_) => former.map_or(0, |former| former.failures).saturating_add(1),
            None => 0,
        };
        let good = if found.is_good() { former.map_or(0, |former| former.good).saturating_add(1) } else { 0 };
        let last_good = if found.is_good() { Some(now) } else { last_good };
        Self {
            node,
            at: now,
            found,
            detail: synthetic.detail().map(str::to_owned),
            failing_since,
            failures,
            good,
            last_good,
        }
    }
}

/// What all nodes together know of a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerHealth {
    /// Some live node has signed in several times in a row, or every live node is answered, though not by a sign-in.
    Serves,
    /// Neither: what was true before stays true.
    Undecided,
    /// Every live node has found no service for the whole time.
    Down,
}

/// How a partner is judged.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// How long every node must have found no service.
    pub after: Duration,
    /// A view that is older says nothing of now.
    pub fresh: Duration,
    /// Good synthetic sign-ins in a row that end an outage.
    pub good: u32,
}

/// One node's synthetic sign-ins without service that make an outage, however long each of them took.
pub const FEWEST_FAILURES: u32 = 3;

/// Judges a partner by the views of the `live` nodes. A partner that no node has ever signed in at is never down: a setting
/// is wrong then, or the nodes may not reach it at all.
pub fn judge(views: &[NodeView], live: &[NodeId], measure: Measure, now: Timestamp) -> PartnerHealth {
    let of = |node: &NodeId| views.iter().find(|view| view.node == *node && view.at + measure.fresh >= now);
    if live.iter().filter_map(of).any(|view| view.good >= measure.good) {
        return PartnerHealth::Serves;
    }
    let answers = |node: &NodeId| of(node).is_some_and(|view| view.found == SyntheticKind::Otherwise);
    if !live.is_empty() && live.iter().all(answers) {
        return PartnerHealth::Serves;
    }
    let known = views.iter().any(|view| view.last_good.is_some());
    let (after, fewest) =
        if planted(Fault::PartnerDownAtOnce) { (Duration::ZERO, 1) } else { (measure.after, FEWEST_FAILURES) };
    let failing = |node: &NodeId| {
        let view = of(node).filter(|view| view.failures >= fewest);
        view.and_then(|view| view.failing_since).is_some_and(|since| since + after <= now)
    };
    let every = match planted(Fault::OneNodeSpeaksForAll) {
        true => live.iter().any(failing),
        false => !live.is_empty() && live.iter().all(failing),
    };
    if known && every { PartnerHealth::Down } else { PartnerHealth::Undecided }
}

/// A confirmed outage of the partner of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerOutage {
    pub domain: DomainName,
    pub partner: EntityId,
    /// When it was confirmed.
    pub since: Timestamp,
    /// It counts until then, unless some node looks again and finds nothing else: an outage from before a standstill of
    /// all nodes says nothing of now.
    pub holds_until: Timestamp,
}

/// What nodes have found out, and what follows from it; the same for all nodes.
#[async_trait]
pub trait PartnerOutages: Send + Sync {
    /// This node.
    fn node(&self) -> NodeId;

    /// The views of all nodes, of nodes that are gone too.
    async fn views(&self, partner: &EntityId) -> Result<Vec<NodeView>, StoreDown>;

    /// Writes down this node's view.
    async fn note(&self, partner: &EntityId, view: NodeView) -> Result<(), StoreDown>;

    async fn outages(&self) -> Result<Vec<PartnerOutage>, StoreDown>;

    /// Confirms an outage, for all nodes at their next sign-in. `false`, and nothing is recorded, when it is known.
    async fn begin(&self, outage: PartnerOutage, event: Event) -> Result<bool, StoreDown>;

    /// Lets the outage of a domain count until then.
    async fn renew(&self, domain: &DomainName, holds_until: Timestamp) -> Result<(), StoreDown>;

    /// Ends the outage of a domain. `false`, and nothing is recorded, when there is none.
    async fn end(&self, domain: &DomainName, event: Event) -> Result<bool, StoreDown>;

    /// Forgets the views of nodes that have not looked since.
    async fn forget(&self, before: Timestamp) -> Result<(), StoreDown>;
}

#[cfg(test)]
#[path = "partner_outage_tests.rs"]
mod tests;
