//! Which part of the tree counts, by containers that are kept by their anchors.

use std::collections::BTreeMap;

use super::reader::{Reader, Refused};
use super::settings::LdapConnectorSettings;
use crate::config::Bounds;
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Filter, Scope, Search};
use crate::sync::attribute::Attributes;
use crate::sync::connector::{ConnectorError, ImportPage, ImportedObject, KnownBase};

/// Containers looked up in one search.
const CHUNK: usize = 50;

/// A container as it stands now.
pub(super) struct Container {
    pub dn: DistinguishedName,
    pub anchor: String,
}

impl Container {
    pub fn object(self) -> ImportedObject {
        ImportedObject {
            anchor: self.anchor,
            dn: Some(self.dn),
            object_type: super::settings::CONTAINER.to_owned(),
            container: true,
            attributes: Attributes::new(),
            references: BTreeMap::new(),
        }
    }
}

/// Which part of the tree counts.
pub(super) struct Extent {
    pub include: Vec<DistinguishedName>,
    exclude: Vec<DistinguishedName>,
    /// INVARIANT: whichever containers somebody else names, by whatever anchor, nothing beyond counts.
    bounds: Bounds,
}

impl Extent {
    /// # Errors
    /// The settings name a container that is not there, or one that has left the bounds: without it, everything in it would
    /// look deleted.
    pub fn resolve(
        settings: &LdapConnectorSettings,
        known: &[KnownBase],
        containers: &[Container],
    ) -> Result<(Self, Vec<KnownBase>), ConnectorError> {
        let mut bases = Vec::new();
        let refuse = |reason: String| ConnectorError::Settings { connector: settings.name.clone(), reason };
        // One that was seen before is found by its anchor alone: another container under its old name is another.
        let mut resolve = |named: &DistinguishedName| -> Result<Option<DistinguishedName>, ConnectorError> {
            if let Some(known) = known.iter().find(|known| known.named == *named) {
                return Ok(containers.iter().find(|c| c.anchor == known.anchor).map(|c| c.dn.clone()));
            }
            let found = containers.iter().find(|container| container.dn == *named);
            let found = found.ok_or_else(|| refuse(format!("there is no container {named}")))?;
            bases.push(KnownBase { named: named.clone(), anchor: found.anchor.clone() });
            Ok(Some(found.dn.clone()))
        };
        let mut include = Vec::new();
        for named in &settings.include {
            match resolve(named)? {
                Some(dn) if !settings.bounds.admit(&dn) => {
                    let reason = "lies outside what the agent's own `bases` and `excluded` let be read";
                    return Err(refuse(format!("the container that was {named} {reason}")));
                }
                Some(dn) => include.push(dn),
                None => return Err(refuse(format!("the container {named} is gone"))),
            }
        }
        let mut exclude = Vec::new();
        for named in &settings.exclude {
            exclude.extend(resolve(named)?);
        }
        if include.is_empty() {
            include.push(settings.root.clone());
        }
        // A base within another is read with it.
        let all = include.clone();
        include.retain(|dn| !all.iter().any(|other| other != dn && dn.is_within(other)));
        include.dedup();
        Ok((Self { include, exclude, bounds: settings.bounds.clone() }, bases))
    }

    pub fn covers(&self, dn: &DistinguishedName) -> bool {
        self.include.iter().any(|base| dn.is_within(base))
            && !self.exclude.iter().any(|base| dn.is_within(base))
            && self.bounds.admit(dn)
    }

    /// The deepest container that holds all included ones: where one search sees everything in scope.
    pub fn top(&self) -> DistinguishedName {
        let mut top = self.include.first().cloned().unwrap_or_else(DistinguishedName::root);
        while !self.include.iter().all(|base| base.is_within(&top)) {
            let Some(parent) = top.parent() else { break };
            top = parent;
        }
        top
    }
}

impl Reader {
    /// Where the containers of the settings are now, without reading all others.
    pub(super) async fn located(&self, connection: &mut Connection) -> Result<(Extent, Vec<Container>), Refused> {
        let named: Vec<&DistinguishedName> = self.settings.include.iter().chain(&self.settings.exclude).collect();
        let unknown = named.iter().find(|named| !self.known.iter().any(|known| known.named == ***named));
        if let Some(unknown) = unknown {
            return Err(Refused::Unfit(format!("the container {unknown} was not seen before")));
        }
        let anchors: Vec<String> =
            self.known.iter().filter(|known| named.contains(&&known.named)).map(|known| known.anchor.clone()).collect();
        let containers = self.containers_by_anchor(connection, &anchors).await?;
        let (extent, _) = Extent::resolve(&self.settings, &self.known, &containers).map_err(Refused::Failed)?;
        let included = containers.into_iter().filter(|container| extent.include.contains(&container.dn));
        let included = included.collect();
        Ok((extent, included))
    }

    /// Tells the containers of the settings wherever they are now, for one above them may have been renamed. Returns the
    /// anchors of those that moved out of scope.
    pub(super) async fn send_bases(
        &self,
        bases: Vec<Container>,
        extent: &Extent,
    ) -> Result<Vec<String>, ConnectorError> {
        let (inside, outside): (Vec<_>, Vec<_>) = bases.into_iter().partition(|base| extent.covers(&base.dn));
        if !inside.is_empty() {
            let objects = inside.into_iter().map(Container::object).collect();
            self.send(ImportPage { objects, ..ImportPage::default() }).await?;
        }
        Ok(outside.into_iter().map(|base| base.anchor).collect())
    }

    pub(super) async fn containers_by_anchor(
        &self,
        connection: &mut Connection,
        anchors: &[String],
    ) -> Result<Vec<Container>, Refused> {
        let mut found = Vec::new();
        for chunk in anchors.chunks(CHUNK) {
            let search = Search {
                base: self.settings.root.clone(),
                scope: Scope::Subtree,
                filter: Filter::or(chunk.iter().filter_map(|anchor| self.anchor_filter(anchor))),
                attributes: vec![self.settings.anchor.clone()],
            };
            for entry in connection.search(search).await.map_err(|error| self.judge(error))? {
                if let Some(anchor) = self.anchor_of(&entry) {
                    found.push(Container { dn: entry.dn, anchor });
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(include: &[&str], exclude: &[&str]) -> Extent {
        let parse = |list: &[&str]| list.iter().map(|dn| dn.parse().expect("a name")).collect();
        Extent { include: parse(include), exclude: parse(exclude), bounds: Bounds::Everywhere }
    }

    #[test]
    fn bounds_count_more_than_what_is_included() {
        let names = |list: &[&str]| list.iter().map(|dn| dn.parse().expect("a name")).collect();
        let bounds = Bounds::Within { bases: names(&["ou=a,dc=x"]), excluded: names(&["ou=c,ou=a,dc=x"]) };
        let extent = Extent { bounds, ..extent(&["dc=x"], &[]) };
        let covers = |dn: &str| extent.covers(&dn.parse().expect("a name"));
        assert!(covers("ou=A,dc=x") && covers("uid=1,ou=a,dc=x"));
        assert!(!covers("dc=x") && !covers("uid=1,ou=b,dc=x") && !covers("uid=1,OU=C,ou=a,dc=x"));
    }

    #[test]
    fn the_top_is_the_deepest_container_above_all() {
        let top = |include: &[&str]| extent(include, &[]).top().folded();
        assert_eq!(top(&["ou=a,dc=x"]), "ou=a,dc=x");
        assert_eq!(top(&["ou=b,ou=a,dc=x", "ou=c,ou=a,dc=x"]), "ou=a,dc=x");
        assert_eq!(top(&["ou=b,ou=a,dc=x", "ou=d,dc=x"]), "dc=x");
        assert_eq!(top(&["dc=x", "dc=y"]), "");
    }

    #[test]
    fn what_is_excluded_counts_more_than_what_is_included() {
        let extent = extent(&["ou=a,dc=x"], &["ou=b,ou=a,dc=x"]);
        let covers = |dn: &str| extent.covers(&dn.parse().expect("a name"));
        assert!(covers("OU=A,dc=x") && covers("uid=1,ou=a,dc=x"));
        assert!(!covers("ou=b,ou=a,dc=x") && !covers("uid=1,ou=b,ou=a,dc=x") && !covers("dc=x"));
    }
}
