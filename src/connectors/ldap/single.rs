//! One object, read on demand by its name or its anchor.

use super::extent::Extent;
use super::reader::{Reader, Refused};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Filter, Scope, Search};
use crate::sync::connector::{ConnectorError, ImportPage, SingleRead, Sought};

impl Reader {
    /// Reads one object as an import would tell it.
    pub(super) async fn single(&self, sought: &Sought) -> Result<SingleRead, ConnectorError> {
        let mut connection = self.connect().await?;
        let Some(dn) = self.place_of(&mut connection, sought).await? else { return Ok(SingleRead::Absent) };
        if !self.settings.bounds.admit(&dn) {
            // Not even where it is leaves.
            let reason = "it lies outside what the agent's own `bases` and `excluded` let be read".to_owned();
            return Ok(SingleRead::OutOfScope { reason });
        }
        let (extent, bases) = self.whole_extent(&mut connection).await?;
        if !extent.covers(&dn) {
            let reason = format!("{dn} lies outside the containers of the settings");
            return Ok(SingleRead::OutOfScope { reason });
        }
        for object_type in &self.settings.types {
            let search = Search { scope: Scope::Base, ..self.search(object_type, dn.clone()) };
            let found = connection.search(search).await.map_err(|error| self.aborted(&error))?;
            let Some(entry) = found.into_iter().next() else { continue };
            let Some(anchor) = self.anchor_of(&entry) else {
                let reason = format!("{dn} has no {}", self.settings.anchor);
                return Ok(SingleRead::OutOfScope { reason });
            };
            let entry = match entry.is_whole() {
                true => entry,
                false => connection.complete(entry).await.map_err(|error| self.aborted(&error))?,
            };
            let objects = vec![self.object(object_type, anchor, entry)];
            return Ok(SingleRead::Found(Box::new(ImportPage { objects, bases, ..ImportPage::default() })));
        }
        Ok(SingleRead::OutOfScope { reason: format!("{dn} matches the filter of no object type") })
    }

    /// Where the object is now; `None`: nowhere.
    async fn place_of(
        &self,
        connection: &mut Connection,
        sought: &Sought,
    ) -> Result<Option<DistinguishedName>, ConnectorError> {
        let attributes = vec![self.settings.anchor.clone()];
        let entry = match sought {
            Sought::Dn(dn) => connection.read(dn, attributes).await.map_err(|error| self.aborted(&error))?,
            Sought::Anchor(anchor) => {
                let Some(filter) = self.anchor_filter(anchor) else { return Ok(None) };
                let (base, scope) = (self.settings.root.clone(), Scope::Subtree);
                let search = Search { base, scope, filter: Filter::and([filter]), attributes };
                connection.search(search).await.map_err(|error| self.aborted(&error))?.into_iter().next()
            }
        };
        Ok(entry.map(|entry| entry.dn))
    }

    /// What is read, with the containers of the settings that were not known yet.
    async fn whole_extent(
        &self,
        connection: &mut Connection,
    ) -> Result<(Extent, Vec<crate::sync::connector::KnownBase>), ConnectorError> {
        match self.located(connection).await {
            Ok((extent, _)) => Ok((extent, Vec::new())),
            Err(Refused::Failed(error)) => Err(error),
            Err(Refused::Unfit(_)) => {
                let (containers, _) = self.containers(connection).await?;
                Extent::resolve(&self.settings, &self.known, &containers)
            }
        }
    }
}
