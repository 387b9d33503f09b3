//! Search filters over entries (RFC 4511, section 4.5.1.7). All values match without regard to case, except binary ones.

use ldap3_proto::proto::{LdapFilter, LdapSubstringFilter};

use super::entries::Entry;
use crate::identity::fold;

/// Deepest nesting that is followed; what lies deeper matches nothing.
const MAX_DEPTH: usize = 16;

pub(super) fn matches(filter: &LdapFilter, entry: &Entry) -> bool {
    within(filter, entry, MAX_DEPTH)
}

fn within(filter: &LdapFilter, entry: &Entry, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    match filter {
        LdapFilter::And(parts) => parts.iter().all(|part| within(part, entry, depth - 1)),
        LdapFilter::Or(parts) => parts.iter().any(|part| within(part, entry, depth - 1)),
        LdapFilter::Not(part) => !within(part, entry, depth - 1),
        LdapFilter::Equality(name, value) | LdapFilter::Approx(name, value) => {
            values(entry, name).any(|held| held == fold(value))
        }
        LdapFilter::Present(name) => !entry.values(name).is_empty(),
        LdapFilter::Substring(name, pattern) => values(entry, name).any(|held| contains(&held, pattern)),
        LdapFilter::GreaterOrEqual(name, value) => values(entry, name).any(|held| held >= fold(value)),
        LdapFilter::LessOrEqual(name, value) => values(entry, name).any(|held| held <= fold(value)),
        LdapFilter::Extensible(_) => false,
    }
}

fn values<'a>(entry: &'a Entry, name: &str) -> impl Iterator<Item = String> + use<'a> {
    entry.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok().map(fold))
}

fn contains(held: &str, pattern: &LdapSubstringFilter) -> bool {
    let mut rest = held;
    if let Some(initial) = &pattern.initial {
        match rest.strip_prefix(fold(initial).as_str()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    for part in &pattern.any {
        let part = fold(part);
        match rest.find(&part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    pattern.final_.as_ref().is_none_or(|end| rest.ends_with(&fold(end)))
}
