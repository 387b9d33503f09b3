//! The DirSync control (MS-ADTS, sections 3.1.1.3.4.1.3 and 3.1.1.3.4.1.4) as a client: what changed in a naming context of
//! Active Directory since a cookie, deleted objects included.

use super::ber::{BerError, INTEGER, OCTET_STRING, Reader, SEQUENCE, Writer};
use super::connection::Connection;
use super::entry::Entry;
use super::error::LdapError;
use super::request::{self, Mode, Request};
use super::response::{Message, Response};
use super::search::Search;

/// LDAP_SERVER_DIRSYNC_OID; a server that lists it among its controls can be asked.
pub const DIR_SYNC_OID: &str = "1.2.840.113556.1.4.841";

const DOING: &str = "directory synchronisation";
const CONTROL: &str = "directory synchronisation (DirSync)";
/// LDAP_DIRSYNC_INCREMENTAL_VALUES: of a changed group, the members that came and went and not all of them.
const INCREMENTAL_VALUES: u32 = 0x8000_0000;
/// Bytes of attributes that one answer may have; servers have limits of their own.
const MAX_BYTES: u32 = 8 << 20;

/// Where the next question goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSyncEnd {
    pub cookie: Vec<u8>,
    /// The server has more to tell right now.
    pub more: bool,
}

/// One question in progress. Complete only when [`DirSync::next`] returned `None`.
#[derive(Debug)]
pub struct DirSync<'a> {
    connection: &'a mut Connection,
    id: u32,
    end: Option<DirSyncEnd>,
}

impl Connection {
    /// Asks what `search` finds and has changed since `cookie`, which is empty for everything. The base must be the head
    /// of a naming context and the scope its subtree.
    pub async fn dir_sync(&mut self, search: &Search, cookie: &[u8]) -> Result<DirSync<'_>, LdapError> {
        let id = self.begin(|id| request::search(id, search, 0, Mode::Changes(cookie)), DOING).await?;
        Ok(DirSync { connection: self, id, end: None })
    }
}

impl DirSync<'_> {
    /// The next entry, or the text of its name when that is no distinguished name; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Result<Entry, String>>, LdapError> {
        while self.end.is_none() {
            let message = self.connection.proceed(self.id, DOING).await?;
            if let Some(entry) = self.take(message)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// After the last entry: where the next question goes on.
    pub fn end(self) -> Option<DirSyncEnd> {
        self.end
    }

    fn take(&mut self, message: Message) -> Result<Option<Result<Entry, String>>, LdapError> {
        match message.response {
            Response::Entry(entry) => Ok(Some(entry)),
            // Other naming contexts below this one have cookies of their own.
            Response::Reference | Response::Intermediate { .. } => Ok(None),
            Response::SearchDone(outcome) => {
                self.connection.finish();
                self.connection.judge(outcome, false)?;
                let server = self.connection.server().clone();
                let control = message.controls.iter().find(|control| control.oid == DIR_SYNC_OID);
                let control = control.ok_or(LdapError::ControlIgnored { server, control: CONTROL })?;
                let end = DirSyncEnd::read(control.value.as_deref());
                self.end = Some(end.map_err(|error| self.connection.malformed(DOING, error))?);
                Ok(None)
            }
            Response::Bind(_) | Response::Written(_) | Response::Extended(_) => {
                Err(self.connection.malformed(DOING, BerError("not the answer to a search")))
            }
        }
    }
}

impl DirSyncEnd {
    /// `SEQUENCE { MoreResults INTEGER, unused INTEGER, CookieServer OCTET STRING }`.
    fn read(value: Option<&[u8]>) -> Result<Self, BerError> {
        let value = value.ok_or(BerError("a DirSync answer without value"))?;
        let mut fields = Reader::new(value).constructed(SEQUENCE)?;
        let more = fields.expect(INTEGER)?.iter().any(|byte| *byte != 0);
        fields.expect(INTEGER)?;
        let cookie = fields.expect(OCTET_STRING)?.to_vec();
        Ok(Self { cookie, more })
    }
}

/// `SEQUENCE { Flags INTEGER, MaxBytes INTEGER, Cookie OCTET STRING }`.
pub(super) fn request_value(cookie: &[u8]) -> Request {
    let mut value = Writer::new();
    value.constructed(SEQUENCE, |fields| {
        // A number of 32 bits with a sign: servers refuse the five bytes of the positive one.
        fields.element(INTEGER, &INCREMENTAL_VALUES.to_be_bytes()).number(INTEGER, MAX_BYTES);
        fields.element(OCTET_STRING, cookie);
    });
    value.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_says_flags_size_and_cookie() {
        let expected = [0x30, 15, 2, 4, 0x80, 0, 0, 0, 2, 4, 0, 0x80, 0, 0, 4, 1, b'c'];
        assert_eq!(request_value(b"c").get(..), Some(&expected[..]));
    }

    #[test]
    fn an_answer_says_whether_there_is_more() {
        let answer = |more: u8| [0x30, 13, 2, 1, more, 2, 2, 0xff, 0, 4, 4, b'M', b'S', b'D', b'S'];
        let end = |more| DirSyncEnd { cookie: b"MSDS".to_vec(), more };
        assert_eq!(DirSyncEnd::read(Some(&answer(0))), Ok(end(false)));
        assert_eq!(DirSyncEnd::read(Some(&answer(1))), Ok(end(true)));
        assert!(DirSyncEnd::read(None).is_err());
        assert!(DirSyncEnd::read(Some(&answer(0)[..12])).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_answers(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = DirSyncEnd::read(Some(&bytes));
        }
    }
}
