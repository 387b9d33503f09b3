//! What is named, held against what a server knows.

use std::collections::{BTreeMap, BTreeSet};

use sync_expr::nearest;

use super::subject::{Named, Subject, Written};
use crate::ad_check::{Area, Finding};
use crate::config::Dialect;
use crate::ldap::Schema;
use crate::sync::rule::{Mention, RuleSet, Use, parse, shipped};

/// The attribute of target entries that names them.
const DN: &str = "dn";

/// Everything that does not fit, and how much does.
pub fn compare(subject: &Subject, rules: &RuleSet, schema: &Schema) -> Vec<Finding> {
    let shipped: BTreeSet<String> = parse(&shipped::rules())
        .map(|rules| rules.rules().iter().map(|rule| rule.name.clone()).collect())
        .unwrap_or_default();
    let mentions: Vec<Mention<'_>> =
        rules.mentions(&subject.name).filter(|mention| mention.attribute.as_str() != DN).collect();
    let comparison = Comparison { subject, schema, shipped, mentions };
    let mut findings = comparison.settings();
    findings.extend(comparison.rules());
    for written in &subject.written {
        findings.extend(comparison.content(written));
    }
    if findings.is_empty() {
        let names: BTreeSet<String> = (comparison.mentions.iter())
            .map(|mention| schema.key(mention.attribute.as_str()))
            .chain(subject.attributes.iter().chain(&subject.writable).map(|named| schema.key(&named.name)))
            .collect();
        let text = format!("the server knows the {} attributes and all object classes that are named", names.len());
        findings.push(Finding::good(Area::Schema, text));
    }
    findings
}

struct Comparison<'a> {
    subject: &'a Subject,
    schema: &'a Schema,
    /// Names of the rules that come with the product: not every directory has what they can use.
    shipped: BTreeSet<String>,
    mentions: Vec<Mention<'a>>,
}

fn missing(text: String) -> Finding {
    Finding::missing(Area::Schema, text)
}

fn warning(text: String) -> Finding {
    Finding::warning(Area::Schema, text)
}

fn meant<'k>(known: impl Iterator<Item = &'k str>, name: &str) -> String {
    nearest(known, name).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default()
}

/// Rules in the order of their names, as one text.
fn listed<'a>(rules: impl IntoIterator<Item = &'a str>) -> String {
    let rules: BTreeSet<&str> = rules.into_iter().collect();
    rules.into_iter().map(|rule| format!("\"{rule}\"")).collect::<Vec<_>>().join(", ")
}

impl Comparison<'_> {
    fn attribute_meant(&self, name: &str) -> String {
        meant(self.schema.attribute_names(), name)
    }

    fn settings(&self) -> Vec<Finding> {
        let Self { subject, schema, .. } = self;
        let mut findings = Vec::new();
        let classes: BTreeMap<&str, &Named> =
            subject.classes.iter().map(|named| (named.name.as_str(), named)).collect();
        for Named { key, name } in classes.into_values().filter(|named| schema.class(&named.name).is_none()) {
            // Rows of its own: a container class that is nowhere is one more that is looked for.
            let text = format!("`{key}` names the object class {name}, which the server does not know");
            let text = text + &meant(schema.class_names(), name);
            findings.push(if *key == "container_class" { warning(text) } else { missing(text) });
        }
        for Named { key, name } in subject.attributes.iter().filter(|named| schema.attribute(&named.name).is_none()) {
            let text = format!("`{key}` names {name}, which the server does not know{}", self.attribute_meant(name));
            findings.push(missing(text));
        }
        match schema.attribute(&subject.anchor) {
            None => findings.push(missing(format!(
                "`anchor_attribute` is {}, which the server does not know{}",
                subject.anchor,
                self.attribute_meant(&subject.anchor)
            ))),
            Some(known) if !known.single_valued => findings.push(
                warning(format!("the anchor {} may have several values: which counts may change", subject.anchor))
                    .remedy("choose an attribute with a single value that never changes"),
            ),
            Some(_) => {}
        }
        if let Some(name) = subject.disabled.as_ref().filter(|name| schema.attribute(name).is_none()) {
            let meant = self.attribute_meant(name);
            findings.push(
                warning(format!("the test for disabled accounts reads {name}, which the server does not know{meant}"))
                    .remedy("set `disabled` to what a disabled account looks like there; until then nobody is"),
            );
        }
        for Named { key, name } in &subject.writable {
            match schema.attribute(name) {
                None => {
                    let meant = self.attribute_meant(name);
                    findings.push(missing(format!("`{key}` names {name}, which the server does not know{meant}")));
                }
                Some(known) if known.no_user_modification => {
                    let text = format!("`{key}` names {name}, which the server lets nobody write");
                    findings.push(missing(text));
                }
                Some(_) => {}
            }
        }
        findings
    }

    fn rules(&self) -> Vec<Finding> {
        let mut by_name: BTreeMap<String, Vec<&Mention<'_>>> = BTreeMap::new();
        for mention in &self.mentions {
            by_name.entry(mention.attribute.as_str().to_ascii_lowercase()).or_default().push(mention);
        }
        let (mut findings, mut unused) = (Vec::new(), Vec::new());
        for mentions in by_name.values() {
            let Some(name) = mentions.first().map(|mention| mention.attribute.as_str()) else { continue };
            match self.schema.attribute(name) {
                None => match self.unknown(name, mentions) {
                    Some(finding) => findings.push(finding),
                    None => unused.push(name),
                },
                Some(known) => findings.extend(self.contradicted(name, known, mentions)),
            }
        }
        if !unused.is_empty() {
            let text = format!("the shipped rules can also use what this server does not know: {}", unused.join(", "));
            findings.push(Finding::good(Area::Schema, text));
        }
        findings
    }

    /// `None` where the shipped rules alone read it.
    fn unknown(&self, name: &str, mentions: &[&Mention<'_>]) -> Option<Finding> {
        let meant = self.attribute_meant(name);
        let writing = |mention: &&&Mention<'_>| matches!(mention.used, Use::Write { .. } | Use::WriteReference);
        let writers = listed(mentions.iter().filter(writing).map(|mention| mention.rule));
        if !writers.is_empty() {
            let text = format!("{name} is written by {writers}, and the server does not know it{meant}");
            return Some(missing(text));
        }
        let own = listed(mentions.iter().map(|mention| mention.rule).filter(|rule| !self.shipped.contains(*rule)));
        let text = || format!("{name} is read by {own}, and the server does not know it{meant}");
        (!own.is_empty()).then(|| warning(text()).remedy("it never has a value"))
    }

    fn contradicted(&self, name: &str, known: &crate::ldap::AttributeType, mentions: &[&Mention<'_>]) -> Vec<Finding> {
        let by = |used: fn(Use) -> bool| {
            let rules = mentions.iter().filter(|mention| used(mention.used)).map(|mention| mention.rule);
            rules.collect::<Vec<_>>()
        };
        let mut findings = Vec::new();
        let followed = by(|used| matches!(used, Use::Reference | Use::WriteReference));
        if !followed.is_empty() && !known.is_name() && !known.syntax.is_empty() {
            let rules = listed(followed);
            let text = format!("{name} is a reference for {rules}, and its values are no names of entries there");
            findings.push(missing(text).remedy(format!("its syntax is {}: use another flow", known.syntax)));
        }
        let own = by(|used| used == Use::Value).into_iter().filter(|rule| !self.shipped.contains(*rule));
        let own = listed(own);
        if known.is_name() && !own.is_empty() && !name.eq_ignore_ascii_case("distinguishedName") {
            let text = format!("{name} is read as text by {own}, and its values are names of entries");
            findings.push(warning(text).remedy("a reference flow follows entries that are renamed"));
        }
        let merging = by(|used| used == Use::Write { merges: true });
        if known.single_valued && !merging.is_empty() {
            let rules = listed(merging);
            findings.push(missing(format!("{rules} adds values to {name}, which holds a single one")));
        }
        findings
    }

    /// What the object classes of added entries require and allow.
    fn content(&self, written: &Written) -> Vec<Finding> {
        let writes: Vec<&Mention<'_>> = (self.mentions.iter())
            .filter(|mention| mention.object_type == written.object_type)
            .filter(|mention| matches!(mention.used, Use::Write { .. } | Use::WriteReference))
            .collect();
        // Where no rule writes such entries, nothing is amiss with them.
        if writes.is_empty() {
            return Vec::new();
        }
        let Written { object_type, key, classes, by_itself } = written;
        let content = self.schema.content(classes.iter().map(String::as_str));
        let keys = writes.iter().map(|mention| mention.attribute.as_str()).chain(by_itself.iter().map(String::as_str));
        let given: BTreeSet<String> = keys.map(|name| self.schema.key(name)).collect();
        let mut findings = Vec::new();
        // Active Directory sets most of what it requires by itself, and allows more by content rules.
        if self.subject.dialect == Dialect::ActiveDirectory {
            return findings;
        }
        for required in content.required.difference(&given) {
            let known = self.schema.attribute(required).and_then(|known| known.names.first());
            let name = known.unwrap_or(required);
            let text = format!("the object classes of `{key}` require {name}, and no rule gives it to a {object_type}");
            findings.push(missing(text));
        }
        if content.anything || content.allowed.is_empty() {
            return findings;
        }
        let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for mention in &writes {
            let name = mention.attribute.as_str();
            let known = self.schema.attribute(name).is_some();
            if known && !content.allowed.contains(&self.schema.key(name)) {
                refused.entry(name).or_default().push(mention.rule);
            }
        }
        findings.extend(refused.into_iter().map(|(name, rules)| {
            let rules = listed(rules);
            let text = format!("{name} is written by {rules}, and none of the object classes of `{key}` allows it");
            missing(text).remedy(format!("add an auxiliary class that has it to `{key}`"))
        }));
        findings
    }
}
