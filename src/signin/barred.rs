//! The groups that failover is closed to.

/// Whose members, also nested, never get in through a backup: the protected groups of Active Directory, known by SID
/// in every domain, and those that the operator names.
#[derive(Clone, Debug, Default)]
pub struct BarredGroups {
    /// Source anchors or display names, folded.
    named: Vec<String>,
}

/// Domain groups by relative id: Domain Admins, Domain Controllers, Schema Admins, Enterprise Admins, Group Policy
/// Creator Owners, Read-only Domain Controllers, Key Admins, Enterprise Key Admins (MS-ADTS 3.1.1.6.1.2).
const PROTECTED_RIDS: [&str; 8] = ["512", "516", "518", "519", "520", "521", "526", "527"];
/// Administrators, Account Operators, Server Operators, Print Operators, Backup Operators, Replicator.
const PROTECTED_BUILTIN: [&str; 6] =
    ["S-1-5-32-544", "S-1-5-32-548", "S-1-5-32-549", "S-1-5-32-550", "S-1-5-32-551", "S-1-5-32-552"];

impl BarredGroups {
    pub fn new(named: &[String]) -> Self {
        Self { named: named.iter().map(|name| crate::identity::fold(name)).collect() }
    }

    /// Whether the group with this SID, anchor or display name is one of them.
    pub fn has(&self, sid: Option<&str>, anchor: Option<&str>, display_name: Option<&str>) -> bool {
        let named = |text: &str| self.named.contains(&crate::identity::fold(text));
        sid.is_some_and(is_protected) || anchor.is_some_and(named) || display_name.is_some_and(named)
    }
}

fn is_protected(sid: &str) -> bool {
    let in_domain = sid.strip_prefix("S-1-5-21-").and_then(|rest| rest.rsplit_once('-'));
    PROTECTED_BUILTIN.contains(&sid) || in_domain.is_some_and(|(_, rid)| PROTECTED_RIDS.contains(&rid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_groups_are_known_by_sid_in_every_domain() {
        let none = BarredGroups::default();
        for sid in ["S-1-5-21-1-2-3-512", "S-1-5-21-99-98-97-519", "S-1-5-32-544"] {
            assert!(none.has(Some(sid), None, None), "{sid}");
        }
        for sid in ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1512", "S-1-5-32-545", "S-1-5-512", ""] {
            assert!(!none.has(Some(sid), None, Some("Domain Admins")), "{sid}");
        }
    }

    #[test]
    fn named_groups_are_known_by_anchor_or_name() {
        let barred = BarredGroups::new(&["Vault Keepers".to_owned(), "anchor-7".to_owned()]);
        assert!(barred.has(None, None, Some("vault KEEPERS")) && barred.has(None, Some("anchor-7"), None));
        assert!(!barred.has(None, Some("anchor-8"), Some("Vault")));
    }
}
