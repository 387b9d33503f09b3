//! Mail nicknames: the local part by which a user is called in the initial domain when the name of the directory cannot be
//! given (reference, section 8.3).

use std::fmt;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::addresses::{Addresses, texts};

/// A text that is fit for the part of a name before the `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailNickname(String);

/// The attribute in which rules export the nickname that the directory gave.
const ALIAS: &str = "alias";
/// Longest nickname (see [`crate::identity::Upn`]).
pub const MAX_LOCAL: usize = 64;

impl MailNickname {
    /// `text` made fit: accents are taken off, a few letters spelled out, the rest dropped. `None` when nothing is left.
    pub fn fitted(text: &str) -> Option<Self> {
        let fitted = fit(text);
        (!fitted.is_empty()).then_some(Self(fitted))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailNickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an export says of a user's names.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub attributes: &'a Map<String, Value>,
    pub mail: Option<&'a str>,
    pub upn: Option<&'a str>,
}

impl Sources<'_> {
    /// The nickname that the directory gave.
    fn given(&self) -> Option<MailNickname> {
        let alias = self.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(ALIAS)).map(|(_, value)| value);
        texts(alias).next().and_then(MailNickname::fitted)
    }

    /// The first that there is: given by the directory, or before the `@` of the primary address, of `mail`, of the user
    /// principal name, of any other address.
    fn first(&self) -> Option<MailNickname> {
        let addresses = Addresses::of(self.mail, self.attributes);
        let of = |primary: bool| addresses.mailboxes(primary).filter_map(before_at);
        self.given()
            .or_else(|| of(true).next())
            .or_else(|| addresses.mail.and_then(before_at))
            .or_else(|| {
                self.upn.and_then(|upn| MailNickname::fitted(upn.rsplit_once('@').map_or(upn, |(local, _)| local)))
            })
            .or_else(|| of(false).next())
    }

    /// The nickname after an export of `self` to a user who had `present`, when the export before said `former`: the first
    /// one stays until the directory gives another.
    pub fn nickname(&self, present: Option<MailNickname>, former: &Sources<'_>) -> Option<MailNickname> {
        let given = self.given();
        match present {
            None => self.first(),
            Some(_) if given.is_some() && given != former.given() => given,
            Some(present) => Some(present),
        }
    }
}

fn before_at(address: &str) -> Option<MailNickname> {
    address.rsplit_once('@').and_then(|(local, _)| MailNickname::fitted(local))
}

fn fit(local: &str) -> String {
    let plain: String = local.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(spelled).collect();
    let kept: String = plain.chars().filter(|c| c.is_ascii_alphanumeric() || "'.-_!#^~".contains(*c)).collect();
    let cut: String = kept.trim_matches('.').chars().take(MAX_LOCAL).collect();
    cut.trim_end_matches('.').to_owned()
}

/// Letters that no decomposition takes apart.
fn spelled(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'Æ' => ('A', Some('E')),
        'œ' => ('o', Some('e')),
        'Œ' => ('O', Some('E')),
        'þ' => ('t', Some('h')),
        'Þ' => ('T', Some('h')),
        'ø' => ('o', None),
        'Ø' => ('O', None),
        'ł' => ('l', None),
        'Ł' => ('L', None),
        'đ' | 'ð' => ('d', None),
        'Đ' | 'Ð' => ('D', None),
        'ı' => ('i', None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Export(Map<String, Value>, Option<&'static str>, Option<&'static str>);

    impl Export {
        fn of(alias: Option<&str>, addresses: &[&str], mail: Option<&'static str>, upn: Option<&'static str>) -> Self {
            let mut attributes = Map::new();
            attributes.extend(alias.map(|alias| ("alias".to_owned(), json!([alias]))));
            attributes.insert("proxyAddresses".to_owned(), json!(addresses));
            Self(attributes, mail, upn)
        }

        fn sources(&self) -> Sources<'_> {
            Sources { attributes: &self.0, mail: self.1, upn: self.2 }
        }
    }

    fn first(export: &Export) -> Option<String> {
        let sources = export.sources();
        sources.nickname(None, &sources).map(|nickname| nickname.to_string())
    }

    #[test]
    fn the_first_nickname_is_the_first_that_there_is() {
        let addresses = ["smtp:second@x.example", "SIP:call@x.example", "SMTP:primary@x.example"];
        let rows = [
            (Export::of(Some("given"), &addresses, Some("mail@x.example"), Some("upn@x.example")), "given"),
            (Export::of(Some(" .. "), &addresses, Some("mail@x.example"), Some("upn@x.example")), "primary"),
            (Export::of(None, &addresses[..2], Some("mail@x.example"), Some("upn@x.example")), "mail"),
            (Export::of(None, &addresses[..2], Some("no mail"), Some("upn@x.example")), "upn"),
            (Export::of(None, &addresses[..2], None, Some("zo\u{eb} byron")), "zoebyron"),
            (Export::of(None, &addresses[..2], None, Some("@x.example")), "second"),
        ];
        for (export, nickname) in rows {
            assert_eq!(first(&export).as_deref(), Some(nickname), "{:?}", export.0);
        }
        assert_eq!(first(&Export::of(None, &addresses[1..2], None, None)), None);
    }

    #[test]
    fn a_nickname_stays_until_the_directory_gives_another() {
        let before = Export::of(Some("ada"), &["SMTP:ada@x.example"], None, None);
        let present = MailNickname::fitted("ada");
        let rows = [
            (Export::of(Some("byron"), &[], None, None), "byron"),
            (Export::of(Some("ada"), &["SMTP:byron@x.example"], Some("king@x.example"), None), "ada"),
            (Export::of(None, &["SMTP:byron@x.example"], None, None), "ada"),
            (Export::of(Some("..."), &[], None, None), "ada"),
        ];
        for (after, nickname) in rows {
            let next = after.sources().nickname(present.clone(), &before.sources());
            assert_eq!(next.map(|next| next.to_string()).as_deref(), Some(nickname), "{:?}", after.0);
        }
    }
}
