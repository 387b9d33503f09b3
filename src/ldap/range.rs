//! Range retrieval: attributes with more values than a server tells at once (MS-ADTS, section 3.1.1.3.1.3.3).
//!
//! Active Directory answers `member` with `member;range=0-1499` and expects to be asked for `member;range=1500-*` next. A
//! group that is read without following would lose members.

use super::ber::BerError;
use super::connection::Connection;
use super::entry::Entry;
use super::error::LdapError;

/// A `range` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The index that the next piece begins at; `None` for the last piece.
    pub next: Option<u64>,
}

impl Range {
    /// The range of an attribute description in lower case; `None` when it has none.
    pub fn of(description: &str) -> Option<Self> {
        let option = description.split(';').skip(1).find_map(|option| option.strip_prefix("range="))?;
        let (_, last) = option.split_once('-')?;
        match last {
            "*" => Some(Self { next: None }),
            last => last.parse::<u64>().ok()?.checked_add(1).map(|next| Self { next: Some(next) }),
        }
    }
}

/// Pieces of one attribute: ten million values at Active Directory's usual 1,500.
const MAX_PIECES: usize = 7_000;

const DOING: &str = "range retrieval";

impl Entry {
    /// Whether every attribute was told whole.
    pub fn is_whole(&self) -> bool {
        self.open_range().is_none()
    }

    /// An attribute that was told in part, by its full description, with the index of the next piece.
    fn open_range(&self) -> Option<(String, u64)> {
        self.attributes.keys().find_map(|key| Some((key.clone(), Range::of(key)?.next?)))
    }
}

impl Connection {
    /// Reads what is missing of attributes that were told in part. A piece that does not go on where the one before ended
    /// is an error: what was read would not be the whole.
    pub async fn complete(&mut self, mut entry: Entry) -> Result<Entry, LdapError> {
        let mut pieces = 0;
        while let Some((description, next)) = entry.open_range() {
            pieces += 1;
            if pieces > MAX_PIECES {
                return Err(self.malformed(DOING, BerError("more pieces than any attribute has")));
            }
            let name = description.split(';').next().unwrap_or_default().to_owned();
            let piece = self.read(&entry.dn, vec![format!("{name};range={next}-*")]).await?;
            let Some(mut piece) = piece else {
                return Err(self.malformed(DOING, BerError("the entry went away between two pieces")));
            };
            entry.attributes.remove(&description);
            let following = piece.open_range();
            if following.as_ref().is_some_and(|(_, after)| *after <= next) {
                return Err(self.malformed(DOING, BerError("a piece that does not go on")));
            }
            let values = piece.attributes.remove(&name).unwrap_or_default();
            entry.attributes.entry(name).or_default().extend(values);
            if let Some((description, _)) = following {
                entry.attributes.insert(description, Vec::new());
            }
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_where_the_next_piece_begins() {
        let next = |text| Range::of(text).map(|range| range.next);
        assert_eq!(next("member;range=0-1499"), Some(Some(1500)));
        assert_eq!(next("member;range=1500-*"), Some(None));
        assert_eq!(next("member;lang-de;range=0-9"), Some(Some(10)));
        for none in
            ["member", "member;binary", "member;range=", "member;range=x-y", "member;range=0-18446744073709551615"]
        {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
