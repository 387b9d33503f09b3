//! Reading ahead: the next page is read and digested while the engine stages the one before.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::attribute::{Attribute, Attributes, Value, canonical};
use super::connector::{ConnectorError, Hidden, ImportPage, ImportStream, ImportedObject, Reference, RefusedEntry};
use super::rule::count_of;
use crate::identity::{ConnectorName, DistinguishedName};

/// A page with what is known of its objects before the space is asked.
pub struct ReadPage {
    pub page: ImportPage,
    /// One per object, over everything it shows.
    pub digests: Vec<String>,
}

/// The reference attributes that rules count, by object type.
pub type Counted = BTreeMap<String, BTreeSet<Attribute>>;

impl ReadPage {
    pub fn of(mut page: ImportPage, counted: &Counted) -> Self {
        refuse_unfit(&mut page);
        let digests = page.objects.iter_mut().map(|object| {
            object.attributes = canonical(std::mem::take(&mut object.attributes));
            for name in counted.get(&object.object_type).into_iter().flatten() {
                let count = object.references.get(name).map_or(0, Vec::len);
                object.attributes.insert(count_of(name), vec![Value::text(count.to_string())]);
            }
            digest(object, &object.attributes)
        });
        let digests = digests.collect();
        Self { page, digests }
    }
}

/// Text that not every store can hold stops nobody else: an object with a NUL character is refused alone, whatever store
/// there is. No object has such an anchor, so that nothing is known of one either.
fn refuse_unfit(page: &mut ImportPage) {
    let printable = |text: &str| text.replace('\0', "\u{2400}");
    let mut refused = Vec::new();
    page.objects.retain(|object| {
        let Some(place) = nul(object) else { return true };
        let name = printable(object.dn.as_ref().map_or(object.anchor.as_str(), DistinguishedName::as_str));
        let hides = match object.anchor.contains('\0') {
            true => Hidden::Nobody,
            false => Hidden::Object(object.anchor.clone()),
        };
        refused.push(RefusedEntry { name, reason: format!("{place} holds a NUL character"), hides });
        false
    });
    for entry in &mut page.refused {
        (entry.name, entry.reason) = (printable(&entry.name), printable(&entry.reason));
        if matches!(&entry.hides, Hidden::Object(anchor) if anchor.contains('\0')) {
            entry.hides = Hidden::Nobody;
        }
    }
    page.refused.append(&mut refused);
    let lists = [&mut page.deleted, &mut page.present, &mut page.left_below];
    for anchors in lists.into_iter().chain(page.left.values_mut()) {
        anchors.retain(|anchor| !anchor.contains('\0'));
    }
}

/// Where an object holds a NUL character.
fn nul(object: &ImportedObject) -> Option<String> {
    if object.anchor.contains('\0') {
        return Some("its anchor".to_owned());
    }
    let holds = |(name, values): (&Attribute, &Vec<Value>)| values.iter().any(Value::has_nul).then(|| name.to_string());
    if let Some(name) = object.attributes.iter().find_map(holds) {
        return Some(format!("`{name}`"));
    }
    // A distinguished name holds none but an escaped one.
    let refers = |reference: &Reference| matches!(reference, Reference::Anchor(anchor) if anchor.contains('\0'));
    let found = object.references.iter().find(|(_, references)| references.iter().any(refers));
    found.map(|(name, _)| format!("`{name}`"))
}

/// A read that goes on while the engine works on what came before. `P`: a page as the engine takes it.
pub struct ReadAhead<P> {
    connector: ConnectorName,
    pages: mpsc::Receiver<Result<P, ConnectorError>>,
    reader: JoinHandle<()>,
}

/// Pages that may wait for the engine.
const AHEAD: usize = 1;

impl<P: Send + 'static> ReadAhead<P> {
    /// `prepare` makes of a page what the engine takes.
    pub fn start(
        connector: ConnectorName,
        mut stream: Box<dyn ImportStream>,
        prepare: impl Fn(ImportPage) -> P + Send + 'static,
    ) -> Self {
        let (sender, pages) = mpsc::channel(AHEAD);
        let reader = tokio::spawn(async move {
            while let Some(page) = stream.next_page().await.transpose() {
                let ended = page.is_err();
                // The engine may have given the read up: then nobody takes pages any more.
                if sender.send(page.map(&prepare)).await.is_err() || ended {
                    return;
                }
            }
        });
        Self { connector, pages, reader }
    }

    /// The next page; `None` after a read to its end.
    pub async fn next(&mut self) -> Result<Option<P>, ConnectorError> {
        match self.pages.recv().await {
            Some(page) => page.map(Some),
            // INVARIANT: a reader that broke is no read to its end.
            None => match (&mut self.reader).await {
                Ok(()) => Ok(None),
                Err(_) => {
                    let reason = "the reading task ended early".to_owned();
                    Err(ConnectorError::Aborted { connector: self.connector.clone(), reason })
                }
            },
        }
    }
}

impl<P> Drop for ReadAhead<P> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Over everything an object shows. References count as the directory names them.
fn digest(object: &ImportedObject, attributes: &Attributes) -> String {
    let mut sha = Sha256::new();
    let mut feed = |text: &str| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    };
    feed(&object.object_type);
    for (name, values) in attributes {
        feed(&name.as_str().to_ascii_lowercase());
        for value in values {
            feed(value.as_text());
        }
    }
    for (name, references) in &object.references {
        feed("reference");
        feed(&name.as_str().to_ascii_lowercase());
        let mut names: Vec<String> = references
            .iter()
            .map(|reference| match reference {
                Reference::Dn(dn) => dn.folded(),
                Reference::Anchor(anchor) => anchor.clone(),
            })
            .collect();
        names.sort();
        names.iter().for_each(|name| feed(name));
    }
    hex::encode(&sha.finalize()[..16])
}
