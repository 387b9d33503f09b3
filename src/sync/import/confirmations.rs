//! What an import says of values that were written back: shown now, changed by somebody else, or not shown yet.

use std::collections::HashMap;

use super::Importer;
use crate::sync::attribute::{Attributes, canonical};
use crate::sync::change_set::WrittenBack;
use crate::sync::connector::Capabilities;
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::space::{ObjectId, SpaceHead, SpaceObject, Unconfirmed};
use crate::sync::store::StoreResult;

impl Importer<'_> {
    /// What becomes of the exports that these changed objects were waiting to show.
    pub(super) async fn confirmations(&self, changed: &[(SpaceHead, Attributes)]) -> StoreResult<Vec<WrittenBack>> {
        let Some(capabilities) = self.capabilities.as_ref().filter(|capabilities| capabilities.writes_back) else {
            return Ok(Vec::new());
        };
        let ids: Vec<ObjectId> = changed.iter().map(|(head, _)| head.id).collect();
        let before = self.store.objects(&ids).await?;
        let before: HashMap<ObjectId, SpaceObject> = before.into_iter().map(|object| (object.id, object)).collect();
        let compare = |(head, image): &(SpaceHead, Attributes)| {
            let before = before.get(&head.id)?;
            let unconfirmed = before.unconfirmed.clone()?;
            let shown = before.shown.as_deref().cloned().unwrap_or_default();
            Some(compare(capabilities, head.id, unconfirmed, &shown, image))
        };
        Ok(changed.iter().filter_map(compare).collect())
    }
}

/// A value that is shown as before the export waits on: a replica may not have it yet, and nothing must be concluded from
/// that. Any other value that was not written is somebody else's, and counts.
fn compare(
    capabilities: &Capabilities,
    object: ObjectId,
    unconfirmed: Unconfirmed,
    shown: &Attributes,
    image: &Attributes,
) -> WrittenBack {
    let (shown, image) = (canonical(shown.clone()), canonical(image.clone()));
    let mut waiting = Attributes::new();
    let mut overwritten = Vec::new();
    for (name, values) in unconfirmed.changes {
        let mut written = values.clone();
        written.sort();
        written.dedup();
        let of = |attributes: &Attributes| attributes.get(&name).cloned().unwrap_or_default();
        let (before, now) = (of(&shown), of(&image));
        if capabilities.agree(&name, &now, &written) {
            continue;
        }
        if now == before {
            waiting.insert(name, values);
        } else {
            overwritten.push(name.as_str().to_owned());
        }
    }
    let problem = (!overwritten.is_empty()).then(|| {
        let detail = format!("the directory shows other values of {}", overwritten.join(", "));
        Problem::new(ProblemCode::NotReimported, detail)
    });
    let unconfirmed = (!waiting.is_empty()).then_some(Unconfirmed { kind: unconfirmed.kind, changes: waiting });
    WrittenBack { object, unconfirmed, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::attribute::Value;
    use crate::sync::space::ExportKind;

    fn attributes(list: &[(&str, &str)]) -> Attributes {
        list.iter().map(|(name, value)| ((*name).into(), vec![Value::text(*value)])).collect()
    }

    #[test]
    fn a_value_is_confirmed_waits_or_is_somebody_elses() {
        let capabilities = Capabilities::source("ldap");
        let written = || Unconfirmed { kind: ExportKind::Update, changes: attributes(&[("info", "new")]) };
        let judge = |shown: &[(&str, &str)], image: &[(&str, &str)]| {
            compare(&capabilities, ObjectId(1), written(), &attributes(shown), &attributes(image))
        };
        let confirmed = judge(&[("info", "old")], &[("info", "new"), ("cn", "x")]);
        assert_eq!((confirmed.unconfirmed, confirmed.problem), (None, None));
        let waits = judge(&[("info", "old")], &[("info", "old"), ("cn", "x")]);
        assert_eq!((waits.unconfirmed, waits.problem), (Some(written()), None));
        let other = judge(&[("info", "old")], &[("info", "third")]);
        assert_eq!(other.unconfirmed, None);
        assert_eq!(other.problem.map(|problem| problem.code), Some(ProblemCode::NotReimported));
    }
}
