//! Reading a large result in pages (RFC 2696).

use super::connection::Connection;
use super::entry::Entry;
use super::error::LdapError;
use super::request::Mode;
use super::search::Search;

/// One page of a result.
#[derive(Clone, Debug)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Names of entries that were left out because the name cannot be read as RFC 4514; to be reported.
    pub unreadable: Vec<String>,
    /// The read is complete: result 0 and an empty cookie.
    pub last: bool,
}

/// A paged search in progress. Complete only when a page with `last` came; any error before means that what was read
/// must not be taken for the whole.
#[derive(Debug)]
pub struct PagedSearch<'a> {
    connection: &'a mut Connection,
    search: Search,
    page_size: u32,
    position: Position,
    empty_pages: u32,
    with_deleted: bool,
}

#[derive(Debug)]
enum Position {
    At(Vec<u8>),
    Ended,
}

/// Pages without entries in a row after which a server is not believed to end (AD sends a few when it skips objects).
const MAX_EMPTY_PAGES: u32 = 100;

impl<'a> PagedSearch<'a> {
    pub(super) fn new(connection: &'a mut Connection, search: Search, page_size: u32) -> Self {
        let page_size = page_size.clamp(1, 10_000);
        let position = Position::At(Vec::new());
        Self { connection, search, page_size, position, empty_pages: 0, with_deleted: false }
    }

    /// Shows deleted objects too; only Active Directory does.
    #[must_use]
    pub fn with_deleted(self) -> Self {
        Self { with_deleted: true, ..self }
    }

    /// The next page; `None` after the last one. After an error there is no next page.
    pub async fn next_page(&mut self) -> Result<Option<Page>, LdapError> {
        let Position::At(cookie) = std::mem::replace(&mut self.position, Position::Ended) else { return Ok(None) };
        let limit = self.page_size as usize;
        let mode = match self.with_deleted {
            true => Mode::PageWithDeleted(self.page_size, &cookie),
            false => Mode::Page(self.page_size, &cookie),
        };
        let collected = self.connection.collect(&self.search, limit, mode).await?;
        let Some(next) = collected.cookie else {
            let server = self.connection.server().clone();
            return Err(LdapError::Aborted { server, code: 0, why: "it answered a paged read without a page cookie" });
        };
        let last = next.is_empty();
        if !last {
            self.empty_pages =
                if collected.entries.is_empty() && collected.unreadable.is_empty() { self.empty_pages + 1 } else { 0 };
            if self.empty_pages > MAX_EMPTY_PAGES {
                let server = self.connection.server().clone();
                return Err(LdapError::TooMuch { server, doing: "search", what: "empty pages" });
            }
            self.position = Position::At(next);
        }
        Ok(Some(Page { entries: collected.entries, unreadable: collected.unreadable, last }))
    }
}
