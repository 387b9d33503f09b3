//! The tenant directory within the bounds of a certificate: objects of other connectors are neither told nor changed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;

use crate::identity::{ConnectorName, LeaseEpoch, SourceAnchor};
use crate::tenant::catalogue::{ErrorCode, ExportError};
use crate::tenant::{
    Action, Change, ChangeMark, ChangePage, ChangedThing, Edit, ExportChange, ExportResult, LinkPage, LinkPosition,
    ObjectId, ShadowLink, ShadowObject, TenantExport, TenantReadBack, TenantUnavailable,
};

/// The directory as a sync server may see and change it.
pub struct Bounded<T: ?Sized> {
    pub directory: Arc<T>,
    pub connectors: BTreeSet<ConnectorName>,
}

impl<T: ?Sized> Bounded<T> {
    /// The first connector that the change speaks for and that is out of bounds. Whose the object is, the directory itself
    /// compares with the connector of the anchor.
    fn foreign<'a>(&self, change: &'a ExportChange) -> Option<&'a ConnectorName> {
        let mut named = vec![&change.anchor_connector];
        named.extend(&change.handed_to);
        if let Action::PutUser(patch) = &change.action {
            if let Edit::Set(connector) = &patch.upn_connector {
                named.push(connector);
            }
            if let Edit::Set(link) = &patch.credential_source {
                named.push(&link.source.connector);
            }
        }
        named.into_iter().find(|connector| !self.connectors.contains(*connector))
    }

    fn shows(&self, object: &ShadowObject) -> bool {
        self.connectors.contains(object.anchor_connector())
    }

    fn shown(&self, mut objects: Vec<ShadowObject>) -> Vec<ShadowObject> {
        objects.retain(|object| self.shows(object));
        objects
    }
}

#[async_trait]
impl<T: TenantExport + ?Sized> TenantExport for Bounded<T> {
    async fn apply_batch(
        &self,
        epoch: LeaseEpoch,
        changes: Vec<ExportChange>,
    ) -> Result<Vec<ExportResult>, TenantUnavailable> {
        let refused: Vec<Option<ExportError>> = changes
            .iter()
            .map(|change| {
                let foreign = self.foreign(change)?;
                let message = format!("the sync server's certificate is not for connector {foreign}");
                Some(ExportError { code: ErrorCode::ObjectOwnedElsewhere, message })
            })
            .collect();
        let kept: Vec<ExportChange> =
            changes.into_iter().zip(&refused).filter(|(_, refused)| refused.is_none()).map(|(c, _)| c).collect();
        let count = kept.len();
        let mut answers = match count {
            0 => VecDeque::new(),
            _ => VecDeque::from(self.directory.apply_batch(epoch, kept).await?),
        };
        if answers.len() != count {
            return Err(TenantUnavailable::Store("fewer answers than changes".into()));
        }
        let results = refused.into_iter().map(|refused| match refused {
            Some(error) => Some(Err(error)),
            None => answers.pop_front(),
        });
        Ok(results.flatten().collect())
    }
}

/// The next page that shows anything: a page of others' objects alone is no end.
macro_rules! next_shown {
    ($self:ident, $method:ident, $after:ident, $limit:ident) => {{
        let mut after = $after.cloned();
        loop {
            let page = $self.directory.$method(after.as_ref(), $limit).await?;
            let Some(last) = page.last().map(|object| object.source_anchor().clone()) else { return Ok(page) };
            let shown = $self.shown(page);
            if !shown.is_empty() {
                return Ok(shown);
            }
            after = Some(last);
        }
    }};
}

#[async_trait]
impl<T: TenantReadBack + ?Sized> TenantReadBack for Bounded<T> {
    async fn newest_change(&self) -> Result<ChangeMark, TenantUnavailable> {
        self.directory.newest_change().await
    }

    async fn users_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        next_shown!(self, users_after, after, limit)
    }

    async fn groups_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        next_shown!(self, groups_after, after, limit)
    }

    async fn plain_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        next_shown!(self, plain_after, after, limit)
    }

    async fn links_after(&self, after: Option<&LinkPosition>, limit: u32) -> Result<LinkPage, TenantUnavailable> {
        let page = self.directory.links_after(after, limit).await?;
        let groups = self.groups(page.links.iter()).await?;
        let links = page.links.into_iter().filter(|link| groups.contains(&link.group)).collect();
        Ok(LinkPage { links, next: page.next })
    }

    /// Links of groups of others are left out, and so are those of a group that is gone: its deletion takes them along.
    async fn changes_after(&self, mark: ChangeMark, limit: u32) -> Result<Option<ChangePage>, TenantUnavailable> {
        let Some(page) = self.directory.changes_after(mark, limit).await? else { return Ok(None) };
        let links = page.changes.iter().filter_map(|change| match &change.what {
            ChangedThing::Link(link) => Some(link),
            ChangedThing::Object { .. } | ChangedThing::Domain(_) => None,
        });
        let groups = self.groups(links).await?;
        let told = |change: &Change| match &change.what {
            ChangedThing::Link(link) => groups.contains(&link.group),
            ChangedThing::Object { .. } => true,
            ChangedThing::Domain(_) => false,
        };
        Ok(Some(ChangePage { changes: page.changes.into_iter().filter(told).collect(), upto: page.upto }))
    }

    async fn objects(&self, oids: &[ObjectId]) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        Ok(self.shown(self.directory.objects(oids).await?))
    }

    async fn anchored(&self, anchors: &[SourceAnchor]) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        Ok(self.shown(self.directory.anchored(anchors).await?))
    }
}

/// Source anchors asked for at once.
const ASKED: usize = 500;

impl<T: TenantReadBack + ?Sized> Bounded<T> {
    /// The groups of these links that are shown.
    async fn groups(
        &self,
        links: impl Iterator<Item = &ShadowLink> + Send,
    ) -> Result<BTreeSet<SourceAnchor>, TenantUnavailable> {
        let asked: Vec<SourceAnchor> =
            links.map(|link| link.group.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let mut groups = BTreeSet::new();
        for asked in asked.chunks(ASKED) {
            let found = self.anchored(asked).await?;
            groups.extend(found.into_iter().filter_map(|object| match object {
                ShadowObject::Group(group) => Some(group.source_anchor),
                ShadowObject::User(_) | ShadowObject::Plain(_) => None,
            }));
        }
        Ok(groups)
    }
}
