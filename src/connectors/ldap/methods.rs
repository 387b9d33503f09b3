//! Which way of learning changes a server offers, the best first.

use super::settings::{DeltaChoice, LdapConnectorSettings};
use crate::ldap::{RootDse, SyncUuid};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    ContentSync,
    Changelog,
    AccessLog,
    Timestamp,
    DirSync,
    Usn,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentSync => "content synchronisation",
            Self::Changelog => "change log",
            Self::AccessLog => "access log",
            Self::Timestamp => "modifyTimestamp",
            Self::DirSync => "DirSync control",
            Self::Usn => "uSNChanged",
        }
    }
}

/// The methods to try in turn. Empty: every import of this server is full.
pub(super) fn methods(settings: &LdapConnectorSettings, server: &RootDse) -> Vec<Method> {
    match settings.delta {
        DeltaChoice::Off => Vec::new(),
        DeltaChoice::ContentSync => vec![Method::ContentSync],
        DeltaChoice::Changelog => vec![Method::Changelog],
        DeltaChoice::AccessLog => vec![Method::AccessLog],
        DeltaChoice::Timestamp => vec![Method::Timestamp],
        DeltaChoice::DirSync => vec![Method::DirSync],
        DeltaChoice::Usn => vec![Method::Usn],
        // Its `modifyTimestamp` cannot be searched for.
        DeltaChoice::Auto if server.is_active_directory() => {
            let by_guid = settings.anchor.eq_ignore_ascii_case("objectGUID");
            let offered = [(server.offers_dir_sync(), Method::DirSync), (true, Method::Usn)];
            offered.into_iter().filter(|(offered, _)| *offered && by_guid).map(|(_, method)| method).collect()
        }
        DeltaChoice::Auto => {
            let sync = server.offers_content_sync() && SyncId::of(&settings.anchor).is_some();
            let log = server.changelog.is_some() && SyncId::of(&settings.anchor) == Some(SyncId::NsUniqueId);
            // Which of its databases are logged, each of them tells itself.
            let access_log = server.is_openldap() && SyncId::of(&settings.anchor) == Some(SyncId::EntryUuid);
            let mut offered = [
                (sync, Method::ContentSync),
                (log, Method::Changelog),
                (access_log, Method::AccessLog),
                (true, Method::Timestamp),
            ];
            if server.is_389() {
                // Its content synchronisation rests on the same log, and tells less of an entry than a search does.
                offered.swap(0, 1);
            }
            offered.into_iter().filter(|(offered, _)| *offered).map(|(_, method)| method).collect()
        }
    }
}

/// How the protocol's 16 octets read as an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncId {
    EntryUuid,
    /// The 389 Directory Server's own id: four groups of eight digits.
    NsUniqueId,
}

impl SyncId {
    /// `None`: removals told by such ids cannot be mapped to objects of this anchor.
    pub fn of(anchor: &str) -> Option<Self> {
        match anchor.to_ascii_lowercase().as_str() {
            "entryuuid" => Some(Self::EntryUuid),
            "nsuniqueid" => Some(Self::NsUniqueId),
            _ => None,
        }
    }

    pub fn anchor(self, id: &SyncUuid) -> String {
        let digits = hex::encode(id);
        let groups: &[usize] = match self {
            Self::EntryUuid => &[8, 4, 4, 4, 12],
            Self::NsUniqueId => &[8, 8, 8, 8],
        };
        let mut at = 0;
        let cut = groups.iter().map(|length| {
            at += length;
            &digits[at - length..at]
        });
        cut.collect::<Vec<_>>().join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_the_servers_write_their_anchors() {
        let id = *b"\x28\x45\x84\x02\xe6\x07\x11\xf1\xa1\x75\xda\x7d\x26\x7b\xe3\x86";
        let read = |anchor| SyncId::of(anchor).map(|kind| kind.anchor(&id));
        assert_eq!(read("entryUUID").as_deref(), Some("28458402-e607-11f1-a175-da7d267be386"));
        assert_eq!(read("nsUniqueId").as_deref(), Some("28458402-e60711f1-a175da7d-267be386"));
        assert_eq!(read("employeeNumber"), None);
    }
}
