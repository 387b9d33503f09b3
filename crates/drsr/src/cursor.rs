//! How far a directory has been read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where a pass over one naming context goes on: to be stored with what the pages before it changed, and given to the next
/// pass, on whatever controller of the domain.
///
/// A watermark belongs to one incarnation of one controller's database (its invocation id). The up-to-dateness vector says
/// for every controller of the domain which of its changes have been seen, wherever they were read, so that another
/// controller, or the same one after a restore, sends what is missing and little more (MS-DRSR 4.1.10.1, 5.165).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredCursor", into = "StoredCursor")]
pub struct Cursor {
    naming_context: String,
    invocation_id: Uuid,
    watermark: UsnVector,
    seen: Vec<SeenChanges>,
}

/// A stored cursor of a form that this version does not know. A pass from [`Cursor::start`] reads everything again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor has form {0}; this version knows form {FORM}")]
pub struct CursorError(u32);

/// How a page relates to the cursor that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The cursor said nothing yet: everything is read.
    First,
    /// The same incarnation of the same controller went on from the watermark.
    Continued,
    /// Another controller, or another incarnation of the same database (it was restored, or made anew): the watermark did
    /// not count. What the vector does not cover is read; nothing is missed, some is read twice.
    Moved { from: Uuid, to: Uuid },
}

/// USN_VECTOR (MS-DRSR 5.210): opaque, sent back as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsnVector {
    pub(crate) object_update: i64,
    pub(crate) reserved: i64,
    pub(crate) property_update: i64,
}

/// The changes of one originating server that have been seen: all up to this update sequence number (UPTODATE_CURSOR_V1,
/// MS-DRSR 5.204).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenChanges {
    pub(crate) invocation_id: Uuid,
    pub(crate) up_to: i64,
}

/// Bumped when the set of attributes that are read grows, too: a cursor says nothing about those it never covered.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct StoredCursor {
    form: u32,
    naming_context: String,
    invocation_id: Uuid,
    watermark: UsnVector,
    seen: Vec<SeenChanges>,
}

impl TryFrom<StoredCursor> for Cursor {
    type Error = CursorError;

    fn try_from(stored: StoredCursor) -> Result<Self, CursorError> {
        let StoredCursor { form, naming_context, invocation_id, watermark, seen } = stored;
        if form != FORM {
            return Err(CursorError(form));
        }
        Ok(Self { naming_context, invocation_id, watermark, seen })
    }
}

impl From<Cursor> for StoredCursor {
    fn from(cursor: Cursor) -> Self {
        let Cursor { naming_context, invocation_id, watermark, seen } = cursor;
        Self { form: FORM, naming_context, invocation_id, watermark, seen }
    }
}

impl Cursor {
    /// Nothing has been read of this naming context (a distinguished name, such as `DC=corp,DC=example`).
    pub fn start(naming_context: impl Into<String>) -> Self {
        Self {
            naming_context: naming_context.into(),
            invocation_id: Uuid::nil(),
            watermark: UsnVector::default(),
            seen: Vec::new(),
        }
    }

    pub fn naming_context(&self) -> &str {
        &self.naming_context
    }

    /// The incarnation that the watermark belongs to; `None` at the start.
    pub fn invocation_id(&self) -> Option<Uuid> {
        (!self.invocation_id.is_nil()).then_some(self.invocation_id)
    }

    /// The server's update sequence number up to which its objects have been read: to show progress, not to compute with.
    pub fn update_sequence_number(&self) -> i64 {
        self.watermark.object_update
    }

    /// Forgets the watermark and keeps the vector: what another controller does with it by itself.
    #[must_use]
    pub fn without_watermark(self) -> Self {
        Self { invocation_id: Uuid::nil(), watermark: UsnVector::default(), ..self }
    }

    pub(crate) fn watermark(&self) -> UsnVector {
        self.watermark
    }

    pub(crate) fn seen(&self) -> &[SeenChanges] {
        &self.seen
    }

    pub(crate) fn continuity(&self, invocation_id: Uuid) -> Continuity {
        match self.invocation_id() {
            None if self.seen.is_empty() => Continuity::First,
            Some(known) if known == invocation_id => Continuity::Continued,
            known => Continuity::Moved { from: known.unwrap_or_default(), to: invocation_id },
        }
    }

    /// The cursor after a page. The vector is taken over only with the last page of a cycle, because it speaks of the
    /// whole naming context.
    pub(crate) fn after(
        &self,
        invocation_id: Uuid,
        watermark: UsnVector,
        seen_when_complete: Option<Vec<SeenChanges>>,
    ) -> Self {
        Self {
            naming_context: self.naming_context.clone(),
            invocation_id,
            watermark,
            seen: seen_when_complete.unwrap_or_else(|| self.seen.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn read_once() -> Cursor {
        let watermark = UsnVector { object_update: 7, reserved: 1, property_update: 9 };
        let seen = vec![SeenChanges { invocation_id: server(1), up_to: 9 }];
        Cursor::start("DC=corp,DC=example").after(server(1), watermark, Some(seen))
    }

    #[test]
    fn a_cursor_survives_storage_and_an_unknown_form_is_refused() {
        let text = serde_json::to_string(&read_once()).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&text).unwrap(), read_once());
        let other = text.replace("\"form\":1", "\"form\":2");
        assert!(serde_json::from_str::<Cursor>(&other).unwrap_err().to_string().contains("form 2"));
    }

    #[test]
    fn another_incarnation_is_told_from_the_same_one() {
        assert_eq!(Cursor::start("DC=x").continuity(server(1)), Continuity::First);
        assert_eq!(read_once().continuity(server(1)), Continuity::Continued);
        assert_eq!(read_once().continuity(server(2)), Continuity::Moved { from: server(1), to: server(2) });
        let bare = read_once().without_watermark();
        assert_eq!(bare.continuity(server(1)), Continuity::Moved { from: Uuid::nil(), to: server(1) });
        assert_eq!(bare.seen(), read_once().seen());
    }

    #[test]
    fn the_vector_changes_with_the_last_page_only() {
        let next = read_once().after(server(1), UsnVector { object_update: 8, ..UsnVector::default() }, None);
        assert_eq!(next.seen(), read_once().seen());
        assert_eq!(next.update_sequence_number(), 8);
    }
}
