//! The reference: what the target must hold, said of the directories as they are and of the rules alone.
//!
//! Nothing here knows of runs, spaces or a metaverse; whatever happened before does not matter.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Content, Entry, Kind};
use super::rules::Rules;

/// An object of the target. Links by attribute, to source anchors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub object_type: &'static str,
    pub attributes: BTreeMap<String, BTreeSet<String>>,
    pub links: BTreeMap<String, BTreeSet<String>>,
}

/// Objects by source anchor.
pub type Picture = BTreeMap<String, Expected>;

/// The sources, as they are.
pub struct Sources<'a> {
    /// Those whose accounts and groups are projected.
    pub directories: Vec<(&'static str, &'a Content)>,
    pub hr: &'a Content,
}

type Values = BTreeSet<String>;

fn of(entry: &Entry, attribute: &str) -> Values {
    entry.attributes.get(attribute).cloned().unwrap_or_default()
}

fn has(entry: &Entry, attribute: &str, value: &str) -> bool {
    of(entry, attribute).contains(value)
}

/// One person with the row of the personnel database that belongs to them.
struct Person<'a> {
    account: &'a Entry,
    row: Option<&'a Entry>,
}

impl Person<'_> {
    /// The value of an attribute that both may tell.
    fn told(&self, attribute: &str, rules: &Rules) -> Values {
        let (mine, theirs) = (of(self.account, attribute), self.row.map(|row| of(row, attribute)).unwrap_or_default());
        let (first, second) = if rules.hr_first { (theirs, mine) } else { (mine, theirs) };
        if first.is_empty() { second } else { first }
    }

    fn attributes(&self, connector: &str, rules: &Rules) -> BTreeMap<String, Values> {
        let one = |value: &str| Values::from([value.to_owned()]);
        let truth = |value: bool| one(if value { "TRUE" } else { "FALSE" });
        let anchor = &self.account.anchor;
        let mail = of(self.account, "mail");
        let title = of(self.account, "title");
        let name = of(self.account, "cn");
        let display = match (name.first(), title.first()) {
            (Some(name), Some(title)) if rules.titled_names => one(&format!("{name}, {title}")),
            _ => name,
        };
        let mobile = match rules.mobile_withheld && has(self.account, "department", "sales") {
            true => Values::new(),
            false => self.told("mobile", rules),
        };
        let mut phones = of(self.account, "telephoneNumber");
        if let Some(row) = self.row.filter(|_| rules.phones_merge) {
            phones.extend(of(row, "telephoneNumber"));
        }
        let all = [
            ("sourceAnchor", one(anchor)),
            ("anchorConnector", one(connector)),
            ("accountEnabled", truth(!has(self.account, "nsAccountLock", "TRUE"))),
            ("credentialConnector", one(connector)),
            ("credentialAnchor", one(anchor)),
            ("credentialEligible", truth(rules.passwords)),
            ("upnConnector", if mail.is_empty() { Values::new() } else { one(connector) }),
            ("userPrincipalName", mail.clone()),
            ("mail", mail),
            ("displayName", display),
            ("title", self.told("title", rules)),
            ("department", self.told("department", rules)),
            ("mobile", mobile),
            ("telephoneNumber", phones),
        ];
        all.into_iter().filter(|(_, values)| !values.is_empty()).map(|(name, v)| (name.to_owned(), v)).collect()
    }
}

/// What the target must hold.
pub fn picture(sources: &Sources<'_>, rules: &Rules) -> Picture {
    let rows: BTreeMap<String, &Entry> = sources
        .hr
        .shown(Kind::Person)
        .filter_map(|row| Some((of(row, "employeeNumber").first()?.clone(), row)))
        .collect();
    let mut people: BTreeMap<String, (&str, Person<'_>)> = BTreeMap::new();
    let mut groups: BTreeMap<String, &Entry> = BTreeMap::new();
    for (name, content) in &sources.directories {
        for account in content.shown(Kind::User) {
            if rules.robots_stay_out && has(account, "employeeType", "robot") {
                continue;
            }
            let row = of(account, "employeeNumber").first().and_then(|number| rows.get(number).copied());
            people.insert(account.anchor.clone(), (name, Person { account, row }));
        }
        let shown = content.shown(Kind::Group);
        let visible = shown.filter(|group| !(rules.hidden_stay_out && has(group, "description", "hidden")));
        groups.extend(visible.map(|group| (group.anchor.clone(), group)));
    }
    people.retain(|_, (_, person)| {
        let left = rules.leavers_go && person.row.is_some_and(|row| has(row, "status", "left"));
        let secret = rules.secret_stay_in && person.told("department", rules).contains("secret");
        !left && !secret
    });
    let there: BTreeSet<String> = people.keys().chain(groups.keys()).cloned().collect();
    let named = |content: &Content, owner: &Entry, attribute: &str| -> BTreeSet<String> {
        let references = owner.references.get(attribute).into_iter().flatten();
        references.filter_map(|named| content.referent(named)).map(|entry| entry.anchor.clone()).collect()
    };
    let by_row: BTreeMap<String, String> =
        people.iter().filter_map(|(anchor, (_, person))| Some((person.row?.anchor.clone(), anchor.clone()))).collect();
    let mut picture = Picture::new();
    for (name, content) in &sources.directories {
        let prefix = format!("{name}-");
        for (anchor, (connector, person)) in people.iter().filter(|(anchor, _)| anchor.starts_with(&prefix)) {
            let mut managers = named(content, person.account, "manager");
            if let Some(row) = person.row.filter(|_| rules.hr_manages) {
                let rows = named(sources.hr, row, "manager");
                managers.extend(rows.iter().filter_map(|row| by_row.get(row).cloned()));
            }
            managers.retain(|anchor| rules.managers_known && people.contains_key(anchor));
            let mut expected = Expected {
                object_type: "user",
                attributes: person.attributes(connector, rules),
                ..Expected::default()
            };
            if !managers.is_empty() {
                expected.links.insert("manager".to_owned(), managers);
            }
            picture.insert(anchor.clone(), expected);
        }
        for (anchor, group) in groups.iter().filter(|(anchor, _)| anchor.starts_with(&prefix)) {
            let mut expected = Expected { object_type: "group", ..Expected::default() };
            let one = |value: &str| Values::from([value.to_owned()]);
            expected.attributes.insert("sourceAnchor".to_owned(), one(anchor));
            expected.attributes.insert("anchorConnector".to_owned(), one(name));
            expected.attributes.insert("displayName".to_owned(), of(group, "cn"));
            let mut members = named(content, group, "member");
            members.retain(|anchor| there.contains(anchor));
            if !members.is_empty() {
                expected.links.insert("member".to_owned(), members);
            }
            picture.insert(anchor.clone(), expected);
        }
    }
    picture
}
