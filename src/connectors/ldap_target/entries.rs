//! Changes of single entries.

use std::collections::{BTreeSet, HashMap};

use super::settings::TargetType;
use super::{DN, LdapTarget};
use crate::connectors::ldap::writable::{Failure, judge, refused, result};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Modification, ModificationKind, Rename, WriteAnswer};
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::connector::{ExportChange, ExportOperation, LinkTarget};

/// Values in one modification: a message of a few hundred kilobytes.
const VALUES: usize = 1000;

/// Where the entries of a batch are, by anchor.
pub(super) type Names = HashMap<String, DistinguishedName>;

const OBJECT_CLASS: &str = "objectClass";

impl LdapTarget {
    /// Carries one change out; answers the anchor of an add.
    pub(super) async fn carry_out(
        &self,
        connection: &mut Connection,
        names: &mut Names,
        change: &ExportChange,
    ) -> Result<Option<String>, Failure> {
        let object_type = self.settings.of_type(&change.object_type).ok_or_else(|| {
            refused("unmappable-object-type", format!("no entries of type {} are written here", change.object_type))
        })?;
        match &change.operation {
            ExportOperation::Add { attributes } => self.add(connection, object_type, attributes).await.map(Some),
            ExportOperation::Update { anchor, changes } => {
                let dn = names.get(anchor).cloned().ok_or_else(|| absent(anchor))?;
                let now = self.update(connection, dn, changes).await?;
                names.insert(anchor.clone(), now);
                Ok(None)
            }
            ExportOperation::Delete { anchor } => {
                // What is gone already needs no delete.
                let Some(dn) = names.remove(anchor) else { return Ok(None) };
                match connection.delete(&dn).await? {
                    WriteAnswer { code: result::NO_SUCH_OBJECT, .. } => Ok(None),
                    answer => judge(answer).map(|()| None),
                }
            }
            ExportOperation::Links { anchor, attribute, add, remove } => {
                if !object_type.references.iter().any(|name| Attribute::from(name.as_str()) == *attribute) {
                    let reason = format!("the settings do not list `{attribute}` as a reference");
                    return Err(refused("permission-issue", reason));
                }
                let dn = names.get(anchor).ok_or_else(|| absent(anchor))?;
                let add = targets(names, add)?;
                let remove = remove.iter().filter_map(|target| names.get(&target.anchor)).collect::<Vec<_>>();
                links(connection, dn, attribute.as_str(), &add, &remove).await.map(|()| None)
            }
        }
    }

    async fn add(
        &self,
        connection: &mut Connection,
        object_type: &TargetType,
        attributes: &Attributes,
    ) -> Result<String, Failure> {
        let dn = attributes.get(&Attribute::from(DN)).and_then(|values| values.first());
        let dn = dn.ok_or_else(|| refused("missing-dn", "the rules give it no `dn`"))?;
        let dn = self.name(dn.as_text())?;
        let classes = object_type.classes.iter().map(|class| class.as_bytes().to_vec()).collect();
        let mut entry = vec![(OBJECT_CLASS.to_owned(), classes)];
        for (name, values) in attributes.iter().filter(|(name, _)| **name != Attribute::from(DN)) {
            entry.push(self.settings.writable.octets(name, values)?);
        }
        if let (true, Some(member)) = (object_type.is_group, &self.settings.placeholder_member) {
            let named = object_type.references.iter().map(|name| (name.clone(), vec![member.as_str().into()]));
            entry.extend(named.take(1));
        }
        let answer = connection.add(&dn, &entry).await?;
        let existed = answer.code == result::ENTRY_EXISTS;
        if !existed {
            judge(answer)?;
        }
        let mut read: Vec<String> = entry.iter().map(|(name, _)| base(name).to_owned()).collect();
        read.push(self.settings.anchor.clone());
        let found = connection.read(&dn, read).await?;
        let found = found.ok_or_else(|| refused("missing-anchor-component", format!("{dn} cannot be read back")))?;
        if existed && !is_same(&found, &entry, &object_type.references) {
            let reason = format!("{dn} is another entry: let a rule join it, or give this object another name");
            return Err(refused("cd-existing-object", reason));
        }
        let anchor = self.settings.anchor().of(&found);
        anchor.ok_or_else(|| refused("missing-anchor-component", format!("{dn} shows no {}", self.settings.anchor)))
    }

    /// Renames the entry if it has another name by now, and sets its attributes. Returns its name.
    async fn update(
        &self,
        connection: &mut Connection,
        dn: DistinguishedName,
        changes: &Attributes,
    ) -> Result<DistinguishedName, Failure> {
        let mut changes = changes.clone();
        let mut now = dn;
        if let Some(values) = changes.remove(&Attribute::from(DN)) {
            let wanted = values.first().ok_or_else(|| refused("missing-dn", "the rules give it no `dn` any more"))?;
            let wanted = self.name(wanted.as_text())?;
            if wanted != now {
                let rdn = wanted.rdn().unwrap_or_default().to_owned();
                let parent = wanted.parent().filter(|parent| Some(parent) != now.parent().as_ref());
                judge(connection.rename(&now, &Rename { rdn, parent }).await?)?;
                now = wanted;
            }
        }
        let modifications = self.settings.writable.replacements(&changes)?;
        if !modifications.is_empty() {
            judge(connection.modify(&now, &modifications).await?)?;
        }
        Ok(now)
    }

    fn name(&self, text: &str) -> Result<DistinguishedName, Failure> {
        let dn: DistinguishedName =
            text.parse().map_err(|error| refused("invalid-dn", format!("`{text}` is {error}")))?;
        if self.settings.covers(&dn) && !self.settings.bases.contains(&dn) {
            Ok(dn)
        } else {
            Err(refused("invalid-dn", format!("{dn} lies outside the bases of this connector")))
        }
    }
}

fn absent(anchor: &str) -> Failure {
    refused("cd-missing-object", format!("there is no entry {anchor}"))
}

fn base(description: &str) -> &str {
    description.split(';').next().unwrap_or(description)
}

/// Whether an entry holds everything that was to be added; what directories add of their own does not count.
fn is_same(found: &Entry, wanted: &[(String, Vec<Vec<u8>>)], references: &[String]) -> bool {
    let sorted = |values: &[Vec<u8>]| values.iter().cloned().collect::<BTreeSet<_>>();
    wanted.iter().all(|(name, values)| {
        let held = found.values(&base(name).to_ascii_lowercase());
        if name == OBJECT_CLASS {
            values.iter().all(|class| held.iter().any(|other| other.eq_ignore_ascii_case(class)))
        } else {
            references.iter().any(|other| other == name) || sorted(held) == sorted(values)
        }
    })
}

/// The names of new targets, all of which have to be there.
fn targets<'n>(names: &'n Names, links: &[LinkTarget]) -> Result<Vec<&'n DistinguishedName>, Failure> {
    let name = |target: &LinkTarget| {
        let missing = || refused("dn-attributes-failure", format!("there is no entry {} to refer to", target.anchor));
        names.get(&target.anchor).ok_or_else(missing)
    };
    links.iter().map(name).collect()
}

/// Adds and removes values of a reference attribute; those that are there, or are not, already are no error.
async fn links(
    connection: &mut Connection,
    dn: &DistinguishedName,
    attribute: &str,
    add: &[&DistinguishedName],
    remove: &[&DistinguishedName],
) -> Result<(), Failure> {
    match send_links(connection, dn, attribute, add, remove).await {
        Err(Refusal::Known) => {
            let entry = connection.read(dn, vec![attribute.to_owned()]).await?;
            let entry = match entry {
                Some(entry) if !entry.is_whole() => connection.complete(entry).await?,
                Some(entry) => entry,
                None => return Err(refused("cd-missing-object", format!("{dn} is gone"))),
            };
            let held: BTreeSet<String> = entry
                .texts(&attribute.to_ascii_lowercase())
                .filter_map(|text| Some(text.parse::<DistinguishedName>().ok()?.folded()))
                .collect();
            let held = |name: &&&DistinguishedName| held.contains(&name.folded());
            let add: Vec<_> = add.iter().filter(|name| !held(name)).copied().collect();
            let remove: Vec<_> = remove.iter().filter(held).copied().collect();
            match send_links(connection, dn, attribute, &add, &remove).await {
                Err(Refusal::Known) => {
                    Err(refused("duplicate-value", format!("`{attribute}` changes while it is written")))
                }
                Err(Refusal::Other(failure)) => Err(failure),
                Ok(()) => Ok(()),
            }
        }
        Err(Refusal::Other(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

enum Refusal {
    /// A value is there, or is not there, already.
    Known,
    Other(Failure),
}

async fn send_links(
    connection: &mut Connection,
    dn: &DistinguishedName,
    attribute: &str,
    add: &[&DistinguishedName],
    remove: &[&DistinguishedName],
) -> Result<(), Refusal> {
    let (mut add, mut remove) = (add.chunks(VALUES), remove.chunks(VALUES));
    loop {
        // What goes comes first: a reference with a single value changes in one modification.
        let parts = [(ModificationKind::Delete, remove.next()), (ModificationKind::Add, add.next())];
        let modifications: Vec<Modification> = parts
            .into_iter()
            .filter_map(|(kind, names)| {
                let values = names?.iter().map(|name| name.as_str().as_bytes().to_vec()).collect();
                Some(Modification { kind, attribute: attribute.to_owned(), values })
            })
            .collect();
        if modifications.is_empty() {
            return Ok(());
        }
        let answer = connection.modify(dn, &modifications).await.map_err(|error| Refusal::Other(error.into()))?;
        if matches!(answer.code, result::NO_SUCH_ATTRIBUTE | result::VALUE_EXISTS) {
            return Err(Refusal::Known);
        }
        judge(answer).map_err(Refusal::Other)?;
    }
}
