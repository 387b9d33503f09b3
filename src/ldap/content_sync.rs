//! Content synchronisation (RFC 4533) as a client: one refresh, from a cookie or from nothing.
//!
//! What a server leaves out is as important as what it sends, so the end of a refresh says how it told removals.

use super::ber::{BerError, ENUMERATED, OCTET_STRING, Reader, SEQUENCE};
use super::connection::Connection;
use super::entry::Entry;
use super::error::LdapError;
use super::request::{self, Mode};
use super::response::{Message, Response};
use super::search::Search;

/// The Sync Request Control; a server that lists it among its controls can be asked.
pub const SYNC_REQUEST_OID: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const SYNC_STATE_OID: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_DONE_OID: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const SYNC_INFO_OID: &str = "1.3.6.1.4.1.4203.1.9.1.4";

const DOING: &str = "content synchronisation";
const CONTROL: &str = "content synchronisation (RFC 4533)";
const BOOLEAN: u8 = super::ber::BOOLEAN;
const SET: u8 = 0x31;

/// What identifies an entry to the protocol: `entryUUID`, or a server's own id in that form.
pub type SyncUuid = [u8; 16];

/// One message of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncChange {
    /// New or changed, told whole.
    Entry { id: SyncUuid, entry: Entry },
    /// New or changed, under a name that is no distinguished name.
    Unreadable { id: SyncUuid, name: String },
    /// In the content and unchanged.
    Present(Vec<SyncUuid>),
    /// Deleted, or no longer what the search looks for.
    Gone(Vec<SyncUuid>),
}

/// How a refresh told what is gone (RFC 4533, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Removals one by one; what was not mentioned is as it was.
    Deletes,
    /// Whatever remains; what was not mentioned is gone.
    Presents,
    /// The server says that it named everything that remains, and named nothing unchanged. That is what a content in which
    /// everything changed looks like, and what servers send that leave the flag at its default (389 Directory Server).
    Unclear,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshEnd {
    /// `None`: the cookie that the refresh began with still holds.
    pub cookie: Option<Vec<u8>>,
    pub phase: Phase,
}

/// A refresh in progress. Complete only when [`Refresh::next`] returned `None`.
#[derive(Debug)]
pub struct Refresh<'a> {
    connection: &'a mut Connection,
    id: u32,
    cookie: Option<Vec<u8>>,
    presents: bool,
    end: Option<RefreshEnd>,
    /// A continuation reference came: part of the content lies elsewhere.
    reference: bool,
}

impl Connection {
    /// Begins a refresh of what `search` finds: all of it, or what changed since `cookie`.
    pub async fn refresh(&mut self, search: &Search, cookie: Option<&[u8]>) -> Result<Refresh<'_>, LdapError> {
        let id = self.begin(|id| request::search(id, search, 0, Mode::Refresh(cookie)), DOING).await?;
        Ok(Refresh { connection: self, id, cookie: None, presents: false, end: None, reference: false })
    }
}

impl Refresh<'_> {
    /// The next change; `None` after the last one. After an error there is none.
    pub async fn next(&mut self) -> Result<Option<SyncChange>, LdapError> {
        while self.end.is_none() {
            let message = self.connection.proceed(self.id, DOING).await?;
            if let Some(change) = self.take(message)? {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// After the last change: how the refresh ended.
    pub fn end(self) -> Option<RefreshEnd> {
        self.end
    }

    fn take(&mut self, message: Message) -> Result<Option<SyncChange>, LdapError> {
        let server = self.connection.server().clone();
        let ignored = || LdapError::ControlIgnored { server: server.clone(), control: CONTROL };
        let malformed = |error| LdapError::Malformed { server: server.clone(), doing: DOING, source: error };
        let control = |oid| message.controls.iter().find(|control| control.oid == oid);
        match message.response {
            Response::Entry(entry) => {
                let state = control(SYNC_STATE_OID).ok_or_else(ignored)?;
                let state = State::read(state.value.as_deref()).map_err(malformed)?;
                self.learn(state.cookie);
                Ok(Some(match (state.kind, entry) {
                    (StateKind::Present, _) => {
                        self.presents = true;
                        SyncChange::Present(vec![state.id])
                    }
                    (StateKind::Deleted, _) => SyncChange::Gone(vec![state.id]),
                    (StateKind::Changed, Ok(entry)) => SyncChange::Entry { id: state.id, entry },
                    (StateKind::Changed, Err(name)) => SyncChange::Unreadable { id: state.id, name },
                }))
            }
            Response::Intermediate { name, value } if name.as_deref() == Some(SYNC_INFO_OID) => {
                let info = Info::read(value.as_deref().unwrap_or_default()).map_err(malformed)?;
                self.learn(info.cookie);
                match info.kind {
                    InfoKind::Cookie => Ok(None),
                    InfoKind::PresentPhase => {
                        self.presents = true;
                        Ok(None)
                    }
                    InfoKind::Present(ids) => {
                        self.presents = true;
                        Ok(Some(SyncChange::Present(ids)))
                    }
                    InfoKind::Gone(ids) => Ok(Some(SyncChange::Gone(ids))),
                }
            }
            Response::Intermediate { .. } => Ok(None),
            Response::Reference => {
                self.reference = true;
                Ok(None)
            }
            Response::SearchDone(outcome) => {
                self.connection.finish();
                self.connection.judge(outcome, self.reference)?;
                let done = control(SYNC_DONE_OID).ok_or_else(ignored)?;
                let (cookie, refresh_deletes) = read_done(done.value.as_deref()).map_err(malformed)?;
                self.learn(cookie);
                let phase = match (refresh_deletes, self.presents) {
                    (true, false) => Phase::Deletes,
                    (false, true) => Phase::Presents,
                    // What was named as present cannot have been left out.
                    (true, true) => Phase::Deletes,
                    (false, false) => Phase::Unclear,
                };
                self.end = Some(RefreshEnd { cookie: self.cookie.take(), phase });
                Ok(None)
            }
            Response::Bind(_) | Response::Written(_) | Response::Extended(_) => {
                Err(self.connection.malformed(DOING, BerError("not the answer to a search")))
            }
        }
    }

    fn learn(&mut self, cookie: Option<Vec<u8>>) {
        if cookie.is_some() {
            self.cookie = cookie;
        }
    }
}

enum StateKind {
    Present,
    Changed,
    Deleted,
}

/// The Sync State Control (RFC 4533, section 2.3).
struct State {
    kind: StateKind,
    id: SyncUuid,
    cookie: Option<Vec<u8>>,
}

impl State {
    fn read(value: Option<&[u8]>) -> Result<Self, BerError> {
        let mut fields = Reader::new(value.ok_or(BerError("a sync state without value"))?).constructed(SEQUENCE)?;
        let kind = match fields.unsigned(ENUMERATED)? {
            0 => StateKind::Present,
            1 | 2 => StateKind::Changed,
            3 => StateKind::Deleted,
            _ => return Err(BerError("an unknown sync state")),
        };
        let id = uuid(fields.expect(OCTET_STRING)?)?;
        let cookie = fields.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
        Ok(Self { kind, id, cookie })
    }
}

enum InfoKind {
    Cookie,
    PresentPhase,
    Present(Vec<SyncUuid>),
    Gone(Vec<SyncUuid>),
}

/// The Sync Info Message (RFC 4533, section 2.5).
struct Info {
    kind: InfoKind,
    cookie: Option<Vec<u8>>,
}

impl Info {
    fn read(value: &[u8]) -> Result<Self, BerError> {
        let (tag, content) = Reader::new(value).element()?;
        let mut fields = Reader::new(content);
        let kind = match tag {
            0x80 => return Ok(Self { kind: InfoKind::Cookie, cookie: Some(content.to_vec()) }),
            0xa1 => InfoKind::Cookie,
            0xa2 => InfoKind::PresentPhase,
            0xa3 => InfoKind::Present(Vec::new()),
            _ => return Err(BerError("an unknown sync info message")),
        };
        let cookie = fields.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
        let flag = fields.optional(BOOLEAN)?.is_some_and(truth);
        if !matches!(kind, InfoKind::Present(_)) {
            return Ok(Self { kind, cookie });
        }
        let mut set = fields.constructed(SET)?;
        let mut ids = Vec::new();
        while !set.is_empty() {
            ids.push(uuid(set.expect(OCTET_STRING)?)?);
        }
        Ok(Self { kind: if flag { InfoKind::Gone(ids) } else { InfoKind::Present(ids) }, cookie })
    }
}

/// The Sync Done Control (RFC 4533, section 2.4): cookie and `refreshDeletes`.
fn read_done(value: Option<&[u8]>) -> Result<(Option<Vec<u8>>, bool), BerError> {
    let mut fields = Reader::new(value.ok_or(BerError("a sync end without value"))?).constructed(SEQUENCE)?;
    let cookie = fields.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
    Ok((cookie, fields.optional(BOOLEAN)?.is_some_and(truth)))
}

fn truth(content: &[u8]) -> bool {
    content.iter().any(|octet| *octet != 0)
}

fn uuid(bytes: &[u8]) -> Result<SyncUuid, BerError> {
    bytes.try_into().map_err(|_| BerError("a sync id that is not of 16 octets"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ldap::ber::Writer;

    fn id_set(deletes: Option<bool>, ids: &[SyncUuid]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.constructed(0xa3, |info| {
            info.element(OCTET_STRING, b"c");
            if let Some(deletes) = deletes {
                info.boolean(deletes);
            }
            info.constructed(SET, |set| {
                for id in ids {
                    set.element(OCTET_STRING, id);
                }
            });
        });
        writer.finish().to_vec()
    }

    #[test]
    fn an_id_set_is_of_present_entries_unless_it_says_deleted() {
        let ids = [[1; 16], [2; 16]];
        for (flag, gone) in [(None, false), (Some(false), false), (Some(true), true)] {
            let info = Info::read(&id_set(flag, &ids)).expect("a set");
            assert_eq!(info.cookie.as_deref(), Some(&b"c"[..]));
            match info.kind {
                InfoKind::Gone(read) => assert!(gone && read == ids),
                InfoKind::Present(read) => assert!(!gone && read == ids),
                InfoKind::Cookie | InfoKind::PresentPhase => panic!("not a set"),
            }
        }
    }

    #[test]
    fn an_end_without_its_flag_claims_to_have_named_all_that_remains() {
        assert_eq!(read_done(Some(&[SEQUENCE, 3, 4, 1, b'c'])), Ok((Some(b"c".to_vec()), false)));
        assert_eq!(read_done(Some(&[SEQUENCE, 3, 1, 1, 0xff])), Ok((None, true)));
        assert!(read_done(None).is_err());
    }

    #[test]
    fn an_id_of_another_length_is_refused() {
        assert!(State::read(Some(&[SEQUENCE, 6, ENUMERATED, 1, 1, OCTET_STRING, 1, 0])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Info::read(&bytes).is_ok(), State::read(Some(&bytes)).is_ok(), read_done(Some(&bytes)).is_ok());
        }

        #[test]
        fn id_sets_round_trip(ids in proptest::collection::vec(any::<SyncUuid>(), 0..40)) {
            let read = Info::read(&id_set(Some(true), &ids)).expect("a set");
            prop_assert!(matches!(read.kind, InfoKind::Gone(read) if read == ids));
        }
    }
}
