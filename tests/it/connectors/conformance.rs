//! What every connector must do, checked against what it declares. A connector of another make is checked by implementing
//! [`Source`] or [`Target`] for its system and calling [`source`] or [`target`].

use std::collections::{BTreeMap, BTreeSet};

use landbridge::sync::attribute::{Attribute, Attributes, canonical};
use landbridge::sync::connector::{
    Capabilities, Connector, ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportPage,
    ImportRequest, ImportedObject, LARGEST_PAGE, LinkReports, LinkTarget, ReadBack, Reference, Wanted, Watermark,
};
use landbridge::sync::space::ObjectId;

use super::turn;

/// The hand that changes a source behind its connector's back. Keys are lower-case words that the peer makes anchors of.
#[async_trait::async_trait]
pub trait Source: Send + Sync {
    fn connector(&self) -> &dyn Connector;

    /// What rules would read: of users the attribute in which the peer keeps the name, of groups the members.
    fn wanted(&self) -> BTreeMap<String, Wanted>;

    fn name_attribute(&self) -> &'static str;

    /// Brings people and groups to exactly this state, in one go where the system can.
    async fn show(&self, state: &State);

    /// How many people make a read that does not fit into what a connector reads ahead.
    fn many(&self) -> usize {
        200
    }

    /// Cuts the reads that are under way; `false` where nothing can.
    async fn cut(&self) -> bool {
        false
    }
}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Names by key.
    pub people: BTreeMap<String, String>,
    /// Keys of members by key.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// People that moved within the tree, where there is one.
    pub moved: BTreeSet<String>,
}

impl State {
    fn of(count: usize) -> Self {
        let people = (0..count).map(|n| (format!("p{n:05}"), format!("Person {n} ü"))).collect();
        let members = BTreeSet::from(["p00001", "p00003"].map(str::to_owned));
        Self { people, groups: BTreeMap::from([("g1".to_owned(), members)]), moved: BTreeSet::new() }
    }
}

/// What an import told.
#[derive(Clone, Debug, Default)]
struct Told {
    objects: BTreeMap<String, ImportedObject>,
    deleted: BTreeSet<String>,
    /// Those that no longer match their type's search, by type.
    left: BTreeSet<(String, String)>,
    links: BTreeSet<(String, String)>,
    watermark: Option<Watermark>,
}

async fn read(connector: &dyn Connector, wanted: &BTreeMap<String, Wanted>, mode: ImportMode) -> Told {
    let full = mode == ImportMode::Full;
    let request = ImportRequest { mode, bases: Vec::new(), wanted: wanted.clone() };
    let mut stream = connector.import(request).await.expect("the import begins");
    let mut told = Told::default();
    while let Some(page) = stream.next_page().await.expect("the import goes on") {
        told.take(page, full);
    }
    assert!(stream.next_page().await.expect("an ended stream").is_none(), "the end stays the end");
    told
}

impl Told {
    fn take(&mut self, page: ImportPage, full: bool) {
        assert!(page.objects.len() <= LARGEST_PAGE, "a page of {} objects", page.objects.len());
        assert!(page.refused.is_empty(), "{:?}", page.refused);
        assert!(!full || page.deleted.is_empty(), "a full import tells what is there");
        for object in page.objects {
            assert!(!object.anchor.is_empty());
            self.deleted.remove(&object.anchor);
            let object = ImportedObject { attributes: canonical(object.attributes), ..object };
            let before = self.objects.insert(object.anchor.clone(), object.clone());
            assert!(!full || before.is_none(), "{} is told twice", object.anchor);
        }
        for anchor in page.deleted {
            self.objects.remove(&anchor);
            self.deleted.insert(anchor);
        }
        assert!(!full || (page.left.is_empty() && page.left_below.is_empty()), "a full import tells what is there");
        for (object_type, anchors) in page.left {
            self.left.extend(anchors.into_iter().map(|anchor| (object_type.clone(), anchor)));
        }
        for link in page.links {
            let link = ((link.owner, link.target), link.present);
            if link.1 {
                self.links.insert(link.0)
            } else {
                self.links.remove(&link.0)
            };
        }
        // Whatever comes later is covered by a later watermark, or by none.
        self.watermark = page.watermark.or(self.watermark.take());
    }

    fn of_type<'a>(&'a self, object_type: &'a str) -> impl Iterator<Item = &'a ImportedObject> {
        self.objects.values().filter(move |object| object.object_type == object_type)
    }

    /// The state that these objects stand for.
    fn names(&self, name: &str) -> BTreeSet<String> {
        let of =
            |object: &ImportedObject| object.attributes.get(&Attribute::from(name)).map(|v| v[0].as_text().to_owned());
        self.of_type("user").filter_map(of).collect()
    }

    /// The anchors to which a group refers.
    fn targets(&self, group: &ImportedObject) -> BTreeSet<String> {
        let anchor = |reference: &Reference| match reference {
            Reference::Anchor(anchor) => anchor.clone(),
            Reference::Dn(dn) => {
                let found = self.objects.values().find(|object| object.dn.as_ref() == Some(dn));
                found.unwrap_or_else(|| panic!("{dn} is no object")).anchor.clone()
            }
        };
        group.references.values().flatten().map(anchor).collect()
    }

    /// Whom of these objects a delta tells to be gone.
    fn removed_by(&self, delta: &Self) -> BTreeSet<String> {
        let of_type = |(object_type, anchor): &&(String, String)| {
            self.objects.get(anchor).is_some_and(|object| object.object_type == *object_type)
                && !delta.objects.contains_key(anchor)
        };
        let left = delta.left.iter().filter(of_type).map(|(_, anchor)| anchor.clone());
        delta.deleted.iter().cloned().chain(left).collect()
    }

    /// Lays a delta over a full import.
    fn followed_by(mut self, delta: Self) -> Self {
        for anchor in &self.removed_by(&delta) {
            self.objects.remove(anchor);
        }
        self.objects.extend(delta.objects);
        self
    }
}

/// Checks a source.
pub async fn source(peer: &dyn Source) {
    let connector = peer.connector();
    let capabilities = connector.capabilities();
    let wanted = peer.wanted();
    assert!(!capabilities.exports && !capabilities.kind.is_empty() && capabilities.largest_batch > 0);
    let mut state = State::of(30);
    peer.show(&state).await;
    let first = read(connector, &wanted, ImportMode::Full).await;
    shows(peer, &first, &state, &capabilities);
    let again = read(connector, &wanted, ImportMode::Full).await;
    assert_eq!(again.objects, first.objects, "a repeated import tells the same");
    given_up(connector, &wanted, &first).await;
    undeclared(connector, &capabilities, &wanted).await;
    if capabilities.single_read {
        single_reads(connector, &first).await;
    }
    let Some(reports) = capabilities.delta else {
        cut_short(peer, &wanted).await;
        return;
    };
    let since = again.watermark.clone().expect("a full import leaves a watermark for the deltas that are declared");
    let nothing = read(connector, &wanted, ImportMode::Delta { since: since.clone() }).await;
    assert!(again.removed_by(&nothing).is_empty(), "nobody was deleted: {:?}", nothing.deleted);
    assert_eq!(again.clone().followed_by(nothing).objects, again.objects);

    // An add, a change, a move, a change of links.
    state.people.insert("p90000".to_owned(), "Somebody New".to_owned());
    state.people.insert("p00002".to_owned(), "Somebody Else".to_owned());
    state.groups.insert("g1".to_owned(), BTreeSet::from(["p00003", "p90000"].map(str::to_owned)));
    if reports.moves && capabilities.hierarchical {
        state.moved.insert("p00005".to_owned());
    }
    peer.show(&state).await;
    let delta = read(connector, &wanted, ImportMode::Delta { since: since.clone() }).await;
    let names = delta.names(peer.name_attribute());
    assert!(names.contains("Somebody New") && names.contains("Somebody Else"), "{names:?}");
    let followed = again.clone().followed_by(delta.clone());
    let full = read(connector, &wanted, ImportMode::Full).await;
    shows(peer, &full, &state, &capabilities);
    assert_eq!(followed.objects, full.objects, "a delta tells what a full import would find");
    let repeated = read(connector, &wanted, ImportMode::Delta { since }).await;
    assert_eq!(again.followed_by(repeated).objects, full.objects, "a delta may be read again");

    // A delete, on top of the delta's own watermark.
    let since = delta.watermark.expect("a delta leaves a watermark");
    state.people.remove("p00004");
    peer.show(&state).await;
    if reports.deletes {
        let delta = read(connector, &wanted, ImportMode::Delta { since: since.clone() }).await;
        assert_eq!(full.removed_by(&delta).len(), 1, "{:?}", delta.deleted);
        let followed = full.followed_by(delta);
        let full = read(connector, &wanted, ImportMode::Full).await;
        assert_eq!(followed.objects, full.objects, "a delta tells deletes");
    }
    let full = read(connector, &wanted, ImportMode::Full).await;
    shows(peer, &full, &state, &capabilities);
    if capabilities.server_incarnation {
        stale(connector, &wanted, since).await;
    }
    cut_short(peer, &wanted).await;
}

fn shows(peer: &dyn Source, told: &Told, state: &State, capabilities: &Capabilities) {
    let names: BTreeSet<String> = state.people.values().cloned().collect();
    assert_eq!(told.names(peer.name_attribute()), names);
    assert_eq!(told.of_type("user").count(), state.people.len());
    assert_eq!(told.of_type("group").count(), state.groups.len());
    for object in told.objects.values() {
        assert_eq!(object.dn.is_some(), capabilities.hierarchical, "{}", object.anchor);
        assert!(
            object.attributes.values().all(|values| !values.is_empty()),
            "an attribute without a value: {object:?}"
        );
    }
    let sizes = |sizes: &mut dyn Iterator<Item = usize>| sizes.collect::<BTreeSet<_>>();
    let mut told_sizes = told.of_type("group").map(|group| told.targets(group).len());
    assert_eq!(sizes(&mut told_sizes), sizes(&mut state.groups.values().map(BTreeSet::len)));
    for target in told.of_type("group").flat_map(|group| told.targets(group)) {
        assert_eq!(told.objects.get(&target).map(|object| object.object_type.as_str()), Some("user"), "{target}");
    }
}

/// A read that the engine gives up disturbs no other one.
async fn given_up(connector: &dyn Connector, wanted: &BTreeMap<String, Wanted>, expected: &Told) {
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: wanted.clone() };
    let mut stream = connector.import(request).await.expect("the import begins");
    stream.next_page().await.expect("a first page");
    drop(stream);
    assert_eq!(read(connector, wanted, ImportMode::Full).await.objects, expected.objects);
}

async fn undeclared(connector: &dyn Connector, capabilities: &Capabilities, wanted: &BTreeMap<String, Wanted>) {
    let unsupported = |error: ConnectorError| assert!(matches!(error, ConnectorError::Unsupported { .. }), "{error}");
    if !capabilities.exports && !capabilities.writes_back {
        unsupported(connector.export(Vec::new(), &turn()).await.expect_err("exports are not declared"));
    }
    if !capabilities.single_read {
        unsupported(connector.read_back(Vec::new()).await.expect_err("single reads are not declared"));
    }
    if capabilities.delta.is_none() {
        let since = Watermark { server: String::new(), incarnation: String::new(), value: String::new() };
        let mode = ImportMode::Delta { since };
        let request = ImportRequest { mode, bases: Vec::new(), wanted: wanted.clone() };
        unsupported(connector.import(request).await.err().expect("deltas are not declared"));
    }
}

async fn single_reads(connector: &dyn Connector, told: &Told) {
    let mut objects: Vec<&ImportedObject> = told.of_type("user").take(3).collect();
    objects.extend(told.of_type("group"));
    let by_anchor = |object: &ImportedObject| ReadBack::ByAnchor {
        object_type: object.object_type.clone(),
        anchor: object.anchor.clone(),
    };
    let mut questions: Vec<ReadBack> = objects.iter().map(|object| by_anchor(object)).collect();
    let unknown = ReadBack::ByAnchor {
        object_type: "user".to_owned(),
        anchor: "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    questions.insert(1, unknown);
    let mut answers = connector.read_back(questions).await.expect("single reads are declared");
    assert_eq!(answers.len(), objects.len() + 1);
    assert!(answers.remove(1).is_none(), "what is not there");
    for (object, answer) in objects.into_iter().zip(answers) {
        let answer = answer.unwrap_or_else(|| panic!("{} is there", object.anchor));
        assert_eq!(ImportedObject { attributes: canonical(answer.attributes.clone()), ..answer }, *object);
    }
}

/// A watermark of another server, of restored data or of other settings is refused before the first page.
async fn stale(connector: &dyn Connector, wanted: &BTreeMap<String, Wanted>, since: Watermark) {
    let incarnation = format!("{}x", since.incarnation);
    let mode = ImportMode::Delta { since: Watermark { incarnation, ..since } };
    let request = ImportRequest { mode, bases: Vec::new(), wanted: wanted.clone() };
    let error = connector.import(request).await.err().expect("the incarnation is another one");
    assert!(matches!(error, ConnectorError::StaleWatermark { .. }), "{error}");
}

/// A read that is cut ends in an error, however much of it was read.
async fn cut_short(peer: &dyn Source, wanted: &BTreeMap<String, Wanted>) {
    peer.show(&State::of(peer.many())).await;
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: wanted.clone() };
    let mut stream = peer.connector().import(request).await.expect("the import begins");
    stream.next_page().await.expect("a first page").expect("more than nothing");
    if !peer.cut().await {
        return;
    }
    let error = loop {
        match stream.next_page().await {
            Ok(Some(page)) => assert!(page.watermark.is_none(), "a watermark covers what was told"),
            Ok(None) => panic!("a read that was cut looks complete"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnectorError::Aborted { .. } | ConnectorError::Unreachable { .. }), "{error}");
}

/// A target and the words in which its objects are written.
pub trait Target: Send + Sync {
    fn connector(&self) -> &dyn Connector;

    /// The attributes of an add of a person or a group, with [`Capabilities::add_key`] and an attribute that [`Target::name`]
    /// names.
    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes;

    /// The attribute that updates change, and one that they empty.
    fn name_attribute(&self) -> &'static str;
    fn emptied_attribute(&self) -> &'static str;

    fn member_attribute(&self) -> &'static str;
}

struct Exported {
    object_type: &'static str,
    key: String,
    attributes: Attributes,
    anchor: String,
}

/// Checks a target.
pub async fn target(peer: &dyn Target) {
    let connector = peer.connector();
    let capabilities = connector.capabilities();
    assert!(capabilities.exports && capabilities.largest_batch > 0);
    let add_key = capabilities.add_key.clone().expect("a target can find its adds again");

    // More than a page, and a group.
    let keys = (0..25).map(|n| ("user", format!("p{n:03}"))).chain([("group", "g1".to_owned())]);
    let mut objects: Vec<Exported> = keys
        .map(|(object_type, key)| {
            let attributes = canonical(peer.attributes(object_type, &key, &format!("Name of {key} ü")));
            Exported { object_type, key, attributes, anchor: String::new() }
        })
        .collect();
    let adds = |objects: &[Exported]| -> Vec<ExportChange> {
        let add = |object: &Exported| {
            change(&capabilities, object, ExportOperation::Add { attributes: object.attributes.clone() })
        };
        objects.iter().map(add).collect()
    };
    let results = export(connector, adds(&objects)).await;
    for (object, result) in objects.iter_mut().zip(&results) {
        object.anchor = match (accepted(result), capabilities.anchor_at_add) {
            (Some(anchor), _) => anchor,
            (None, declared) => {
                assert!(!declared, "an accepted add names its anchor");
                let question = by_key(object, &add_key);
                read_one(connector, question).await.expect("the add is found by its key").anchor
            }
        };
    }
    let anchors: BTreeSet<&str> = objects.iter().map(|object| object.anchor.as_str()).collect();
    assert_eq!(anchors.len(), objects.len(), "each object has its own anchor");
    let again = export(connector, adds(&objects)).await;
    for (object, result) in objects.iter().zip(&again) {
        if let Some(anchor) = accepted(result) {
            assert_eq!(anchor, object.anchor, "an add whose answer was lost is not carried out twice");
        }
    }

    found_again(connector, &objects, &add_key).await;
    updates(peer, &capabilities, &mut objects).await;
    let since = imported(peer, &objects, &BTreeSet::new()).await.watermark;
    links(peer, &capabilities, &objects).await;
    if let (Some(_), Some(since)) = (&capabilities.delta, since) {
        let delta = read(connector, &BTreeMap::new(), ImportMode::Delta { since }).await;
        assert!(!delta.links.is_empty() || !delta.objects.is_empty(), "a delta tells of the new links");
    }
    deletes(peer, &capabilities, objects).await;
}

async fn export(connector: &dyn Connector, changes: Vec<ExportChange>) -> Vec<ExportResult> {
    let count = changes.len();
    let results = connector.export(changes, &turn()).await.expect("the batch is answered");
    assert_eq!(results.len(), count, "one result per change");
    results
}

#[track_caller]
fn accepted(result: &ExportResult) -> Option<String> {
    match result {
        ExportResult::Accepted { anchor, .. } => anchor.clone(),
        ExportResult::Refused { code, reason } => panic!("refused: {code}: {reason}"),
        ExportResult::Unknown { reason } => panic!("not answered: {reason}"),
    }
}

fn change(capabilities: &Capabilities, object: &Exported, operation: ExportOperation) -> ExportChange {
    let held = |name: &Attribute| Some((name.clone(), object.attributes.get(name)?.clone()));
    let identity = capabilities.identity.iter().filter_map(held).collect();
    ExportChange { object: ObjectId(1), object_type: object.object_type.to_owned(), identity, operation }
}

fn by_key(object: &Exported, add_key: &Attribute) -> ReadBack {
    let value = object.attributes[add_key][0].as_text().to_owned();
    ReadBack::ByAddKey { object_type: object.object_type.to_owned(), value }
}

fn by_anchor(object: &Exported) -> ReadBack {
    ReadBack::ByAnchor { object_type: object.object_type.to_owned(), anchor: object.anchor.clone() }
}

async fn read_one(connector: &dyn Connector, question: ReadBack) -> Option<ImportedObject> {
    let mut answers = connector.read_back(vec![question]).await.expect("single reads");
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Everything that was exported is so; a target may hold more.
#[track_caller]
fn holds(shown: &ImportedObject, expected: &Attributes) {
    let shown = canonical(shown.attributes.clone());
    for (name, values) in expected {
        assert_eq!(shown.get(name), Some(values), "{name}");
    }
}

async fn found_again(connector: &dyn Connector, objects: &[Exported], add_key: &Attribute) {
    let mut questions: Vec<ReadBack> = objects.iter().map(by_anchor).collect();
    questions.extend(objects.iter().map(|object| by_key(object, add_key)));
    questions.push(ReadBack::ByAddKey { object_type: "user".to_owned(), value: "no \"such\\ key".to_owned() });
    let answers = connector.read_back(questions).await.expect("single reads");
    assert_eq!(answers.len(), 2 * objects.len() + 1);
    assert!(answers[2 * objects.len()].is_none());
    for (object, answer) in objects.iter().chain(objects).zip(answers) {
        let answer = answer.unwrap_or_else(|| panic!("{} is there", object.key));
        assert_eq!((answer.anchor.as_str(), answer.object_type.as_str()), (object.anchor.as_str(), object.object_type));
        holds(&answer, &object.attributes);
    }
}

/// An update names what changes, is refused alone, and may arrive twice.
async fn updates(peer: &dyn Target, capabilities: &Capabilities, objects: &mut [Exported]) {
    let connector = peer.connector();
    let (name, emptied) = (Attribute::from(peer.name_attribute()), Attribute::from(peer.emptied_attribute()));
    let mut patch = peer.attributes("user", &objects[0].key, "Another \"Name\"");
    patch.retain(|attribute, _| *attribute == name);
    patch.insert(emptied.clone(), Vec::new());
    let update = |object: &Exported, anchor: &str| {
        let operation = ExportOperation::Update { anchor: anchor.to_owned(), changes: patch.clone() };
        change(capabilities, object, operation)
    };
    for _ in 0..2 {
        let absent = update(&objects[1], "00000000-0000-4000-8000-000000000000");
        let batch = vec![update(&objects[0], &objects[0].anchor), absent, update(&objects[2], &objects[2].anchor)];
        let results = export(connector, batch).await;
        accepted(&results[0]);
        assert!(matches!(&results[1], ExportResult::Refused { code, .. } if !code.is_empty()), "{:?}", results[1]);
        accepted(&results[2]);
    }
    for index in [0, 2] {
        let object = &mut objects[index];
        object.attributes.insert(name.clone(), patch[&name].clone());
        object.attributes.remove(&emptied);
        let shown = read_one(connector, by_anchor(object)).await.expect("the object is there");
        holds(&shown, &object.attributes);
        assert_eq!(shown.attributes.get(&emptied), None, "{emptied}");
    }
    let untouched = read_one(connector, by_anchor(&objects[1])).await.expect("the object is there");
    holds(&untouched, &objects[1].attributes);
}

/// A full import shows everything, with exactly these links.
async fn imported(peer: &dyn Target, objects: &[Exported], members: &BTreeSet<String>) -> Told {
    let connector = peer.connector();
    let told = read(connector, &BTreeMap::new(), ImportMode::Full).await;
    for object in objects {
        let shown = told.objects.get(&object.anchor).unwrap_or_else(|| panic!("{} is not told", object.key));
        assert_eq!(shown.object_type, object.object_type);
        holds(shown, &object.attributes);
    }
    assert_eq!(told.objects.len(), objects.len());
    if let Some(group) = objects.iter().find(|object| object.object_type == "group") {
        let key = connector.capabilities().add_key.expect("a key");
        let shown: BTreeSet<String> = match connector.capabilities().links {
            LinkReports::WithOwner => {
                // A service may keep the links of what was deleted; the engine knows nobody of that name any more.
                let targets = told.targets(&told.objects[&group.anchor]);
                targets.into_iter().filter(|anchor| told.objects.contains_key(anchor)).collect()
            }
            LinkReports::OneByOne => {
                let anchor = |value: &String| {
                    let found = objects.iter().find(|object| object.attributes[&key][0].as_text() == value);
                    found.unwrap_or_else(|| panic!("{value} is no key")).anchor.clone()
                };
                told.links.iter().map(|(_, target)| anchor(target)).collect()
            }
        };
        assert_eq!(&shown, members, "the links of {}", group.key);
    }
    assert_eq!(told.watermark.is_some(), connector.capabilities().delta.is_some());
    told
}

/// Links come and go one by one, and each may be sent twice.
async fn links(peer: &dyn Target, capabilities: &Capabilities, objects: &[Exported]) {
    let add_key = capabilities.add_key.clone().expect("a key");
    let group = objects.iter().find(|object| object.object_type == "group").expect("a group");
    let target = |object: &Exported| LinkTarget {
        object_type: object.object_type.to_owned(),
        anchor: object.anchor.clone(),
        key: object.attributes[&add_key][0].as_text().to_owned(),
    };
    let links = |add: &[usize], remove: &[usize]| {
        let of = |indices: &[usize]| indices.iter().map(|index| target(&objects[*index])).collect();
        let operation = ExportOperation::Links {
            anchor: group.anchor.clone(),
            attribute: peer.member_attribute().into(),
            add: of(add),
            remove: of(remove),
        };
        change(capabilities, group, operation)
    };
    let anchors =
        |indices: &[usize]| indices.iter().map(|index| objects[*index].anchor.clone()).collect::<BTreeSet<_>>();
    let steps: [(&[usize], &[usize], &[usize]); 3] =
        [(&[0, 1, 2], &[], &[0, 1, 2]), (&[3], &[1], &[0, 2, 3]), (&[], &[0, 2, 3], &[])];
    for (add, remove, there) in steps {
        for _ in 0..2 {
            accepted(&export(peer.connector(), vec![links(add, remove)]).await[0]);
        }
        imported(peer, objects, &anchors(there)).await;
    }
    accepted(&export(peer.connector(), vec![links(&[4], &[])]).await[0]);
}

async fn deletes(peer: &dyn Target, capabilities: &Capabilities, mut objects: Vec<Exported>) {
    let connector = peer.connector();
    let since = match capabilities.delta {
        Some(_) => read(connector, &BTreeMap::new(), ImportMode::Full).await.watermark,
        None => None,
    };
    let gone: Vec<Exported> = objects.drain(4..6).collect();
    for _ in 0..2 {
        let delete =
            |object: &Exported| change(capabilities, object, ExportOperation::Delete { anchor: object.anchor.clone() });
        let results = export(connector, gone.iter().map(delete).collect()).await;
        results.iter().for_each(|result| drop(accepted(result)));
    }
    for object in &gone {
        assert_eq!(read_one(connector, by_anchor(object)).await, None);
    }
    imported(peer, &objects, &BTreeSet::new()).await;
    if let (Some(reports), Some(since)) = (capabilities.delta, since) {
        let delta = read(connector, &BTreeMap::new(), ImportMode::Delta { since }).await;
        let anchors: BTreeSet<String> = gone.iter().map(|object| object.anchor.clone()).collect();
        assert_eq!(delta.deleted, if reports.deletes { anchors } else { BTreeSet::new() });
    }
}
