//! Doubt: what became of exports whose answer never came is read back before anything is sent again.

use std::collections::{BTreeSet, HashMap};

use super::attribute::{Attributes, canonical};
use super::connector::{Capabilities, Connector, ConnectorError, ImportedObject, ReadBack};
use super::export::{BATCH, ExportError, Ledger, merged};
use super::fault::{Fault, planted};
use super::guard::{GuardItem, RELEASE_LASTS};
use super::lease::HeldLease;
use super::problem::{Problem, ProblemCode};
use super::space::{ExportKind, ExportState, ObjectId, PendingExport, SpaceObject};
use super::store::{EngineStore, Presence, Settlement};
use crate::identity::Clock;

/// A change that was sent, or asked about, this often without an answer is reported, and holds up nothing else.
pub const PATIENCE: i64 = 5;

/// Questions in a row without an answer, after which a target is not asked any more.
const SILENCE: usize = 3;

/// An export that is asked about.
struct Asked {
    export: PendingExport,
    object: SpaceObject,
}

enum Answer {
    Read(Option<ImportedObject>),
    Unread(ConnectorError),
    NotAsked,
}

/// Reads back what a crash, or a lost answer, left in doubt. Returns how many exports were settled.
///
/// # Errors
/// What was told is settled even when the target does not tell of every object.
pub async fn settle_doubt(
    store: &dyn EngineStore,
    connector: &dyn Connector,
    lease: &HeldLease,
    clock: &dyn Clock,
) -> Result<usize, ExportError> {
    let name = connector.name();
    store.doubt_sent(lease.epoch, name).await?;
    let doubtful = store.in_doubt(name).await?;
    if doubtful.is_empty() {
        return Ok(0);
    }
    let now = clock.now();
    let released = store.released(name.as_str()).await?;
    let released: BTreeSet<GuardItem> =
        released.into_iter().filter(|(_, at)| *at + RELEASE_LASTS > now).map(|(item, _)| item).collect();
    let capabilities = connector.capabilities();
    let (mut settled, mut unread) = (0, None);
    for chunk in doubtful.chunks(BATCH) {
        let ids: Vec<ObjectId> = chunk.iter().map(|export| export.object).collect();
        let mut objects: HashMap<ObjectId, SpaceObject> =
            store.objects(&ids).await?.into_iter().map(|object| (object.id, object)).collect();
        let (mut asked, mut questions) = (Vec::new(), Vec::new());
        for export in chunk {
            let Some(object) = objects.remove(&export.object) else { continue };
            if let Some(question) = question(&capabilities, export, &object) {
                asked.push(Asked { export: export.clone(), object });
                questions.push(question);
            }
        }
        let (mut settlements, mut ledger) = (Vec::new(), Ledger::default());
        for (asked, answer) in asked.into_iter().zip(ask(connector, questions).await) {
            let settlement = match answer {
                Answer::Read(found) => {
                    settled += 1;
                    asked.settle(&capabilities, found, &released, &mut ledger)
                }
                Answer::Unread(error) => {
                    let settlement = asked.unread(&capabilities, &error);
                    // What is reported by name does not fail every run.
                    if matches!(settlement, Settlement::Unread) {
                        unread = Some(error);
                    }
                    settlement
                }
                Answer::NotAsked => continue,
            };
            settlements.push((asked.export.object, settlement));
        }
        let entries = ledger.entries(name, now);
        store.settle_doubt(lease.epoch, settlements, entries).await?;
    }
    match unread {
        Some(error) => Err(error.into()),
        None => Ok(settled),
    }
}

fn question(capabilities: &Capabilities, export: &PendingExport, object: &SpaceObject) -> Option<ReadBack> {
    let object_type = object.object_type.clone();
    if let Some(anchor) = object.anchor.clone() {
        return Some(ReadBack::ByAnchor { object_type, anchor });
    }
    if export.kind != ExportKind::Add {
        return None;
    }
    let key = export.changes.get(capabilities.add_key.as_ref()?)?.first()?;
    Some(ReadBack::ByAddKey { object_type, value: key.as_text().to_owned() })
}

/// Asks for all at once; one that cannot be read must not keep the others in doubt, so that each is asked for alone then.
async fn ask(connector: &dyn Connector, questions: Vec<ReadBack>) -> Vec<Answer> {
    let count = questions.len();
    if count == 0 {
        return Vec::new();
    }
    match all(connector, questions.clone()).await {
        Ok(answers) => return answers.into_iter().map(Answer::Read).collect(),
        Err(error) if count == 1 => return vec![Answer::Unread(error)],
        Err(_) => {}
    }
    let (mut answers, mut silent) = (Vec::with_capacity(count), 0);
    for question in questions {
        if silent == SILENCE {
            answers.push(Answer::NotAsked);
            continue;
        }
        match all(connector, vec![question]).await {
            Ok(answer) => {
                silent = 0;
                answers.extend(answer.into_iter().map(Answer::Read));
            }
            Err(error) => {
                silent += 1;
                answers.push(Answer::Unread(error));
            }
        }
    }
    answers
}

/// One answer per question.
async fn all(
    connector: &dyn Connector,
    questions: Vec<ReadBack>,
) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
    let count = questions.len();
    let answers = connector.read_back(questions).await?;
    if answers.len() == count {
        return Ok(answers);
    }
    let reason = format!("{} answers for {count} questions", answers.len());
    Err(ConnectorError::Refused { connector: connector.name().clone(), reason })
}

impl Asked {
    fn settle(
        &self,
        capabilities: &Capabilities,
        found: Option<ImportedObject>,
        released: &BTreeSet<GuardItem>,
        ledger: &mut Ledger,
    ) -> Settlement {
        let Self { export, object } = self;
        let arrived = match (&found, export.kind) {
            _ if planted(Fault::DoubtTakenAsDone) => true,
            (Some(found), ExportKind::Add | ExportKind::Update) => {
                holds(capabilities, &found.attributes, &export.changes)
            }
            (None, ExportKind::Delete) => true,
            (None, ExportKind::Add | ExportKind::Update) | (Some(_), ExportKind::Delete) => false,
        };
        if arrived {
            ledger.note_export(released, export, object);
        }
        let unconfirmed = || merged(object.unconfirmed.as_ref(), export);
        if export.kind == ExportKind::Delete || object.mv.is_some() {
            let anchor = found.map(|found| found.anchor);
            return if arrived {
                Settlement::Arrived { anchor, unconfirmed: unconfirmed() }
            } else {
                Settlement::Again
            };
        }
        // Its metaverse object is gone, or out of scope, since it was sent.
        match found {
            None => Settlement::Dropped { at_target: Presence::Absent },
            Some(found) if self.is_to_go(capabilities, arrived) => {
                // A delete needs to know whose object it concerns, so that an add counts even if it came to something else.
                let known = arrived || export.kind == ExportKind::Add;
                Settlement::Delete { anchor: found.anchor, unconfirmed: known.then(unconfirmed) }
            }
            Some(found) if arrived => Settlement::Arrived { anchor: Some(found.anchor), unconfirmed: unconfirmed() },
            Some(_) => Settlement::Dropped { at_target: Presence::There },
        }
    }

    /// Whether what is found at the target is the engine's to delete.
    fn is_to_go(&self, capabilities: &Capabilities, arrived: bool) -> bool {
        let ours = arrived || self.export.kind == ExportKind::Add || self.object.is_ours(capabilities);
        ours && self.object.joined_by.is_some() && !self.object.is_kept(capabilities)
    }

    fn unread(&self, capabilities: &Capabilities, error: &ConnectorError) -> Settlement {
        let Self { export, object } = self;
        if export.attempts + 1 < PATIENCE {
            return Settlement::Unread;
        }
        if let (None, Some(_), Some(anchor)) = (object.mv, &object.joined_by, &object.anchor)
            && !object.is_kept(capabilities)
        {
            return Settlement::Delete { anchor: anchor.clone(), unconfirmed: None };
        }
        Settlement::Unanswered { problem: unanswered(error.to_string()), state: state_unanswered(export.kind) }
    }
}

/// Where an export stands whose fate could not be told for too long: an add stays in doubt, because the account that it may
/// have made must not be forgotten; anything else may as well be decided anew and sent again.
pub(super) fn state_unanswered(kind: ExportKind) -> ExportState {
    match kind {
        ExportKind::Add => ExportState::InDoubt,
        ExportKind::Update | ExportKind::Delete => ExportState::Failed,
    }
}

pub(super) fn unanswered(reason: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::ExportUnanswered, reason)
}

/// Whether everything in `changes` is so in `shown`.
pub(super) fn holds(capabilities: &Capabilities, shown: &Attributes, changes: &Attributes) -> bool {
    let shown = canonical(shown.clone());
    changes.iter().all(|(name, values)| {
        let mut wanted = values.clone();
        wanted.sort();
        wanted.dedup();
        capabilities.agree(name, shown.get(name).map_or(&[][..], Vec::as_slice), &wanted)
    })
}
