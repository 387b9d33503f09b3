//! What a connector to an LDAP directory declares: it follows from what is read there, and not from how it is reached.

use super::position::Mark;
use super::settings::{DeltaChoice, LdapConnectorSettings};
use super::writeback;
use crate::identity::DistinguishedName;
use crate::sync::connector::{Capabilities, DeltaReports, DisabledTest, Watermark};

#[derive(Clone, Debug)]
pub struct Declaration {
    /// The word by which rules address it: `ldap`, or `ad`.
    pub kind: String,
    /// The top of the tree in which containers are looked for.
    pub root: DistinguishedName,
    pub delta: DeltaChoice,
    pub writes_back: bool,
    pub disabled_when: Vec<DisabledTest>,
}

impl Declaration {
    pub fn capabilities(&self) -> Capabilities {
        let delta = match self.delta {
            DeltaChoice::Off => None,
            DeltaChoice::Timestamp => Some(DeltaReports { deletes: false, moves: false, filter_exits: false }),
            DeltaChoice::Auto
            | DeltaChoice::ContentSync
            | DeltaChoice::Changelog
            | DeltaChoice::AccessLog
            | DeltaChoice::DirSync
            | DeltaChoice::Usn => Some(DeltaReports { deletes: true, moves: true, filter_exits: true }),
        };
        Capabilities {
            hierarchical: true,
            delta,
            selected_import: true,
            writes_back: self.writes_back,
            single_read: self.writes_back,
            largest_batch: writeback::BATCH,
            single_import: true,
            server_incarnation: true,
            disabled_when: self.disabled_when.clone(),
            parameters: LdapConnectorSettings::parameters_of(&self.root),
            ..Capabilities::source(&self.kind)
        }
    }

    /// What deltas since a watermark tell; it names the way that they go.
    pub fn delta_since(&self, since: &Watermark) -> Option<DeltaReports> {
        let mark = Mark::read(since)?;
        self.capabilities().delta.map(|_| mark.position.reports())
    }
}
