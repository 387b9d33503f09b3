//! Who an account is to the directory: itself, and the groups that it is a member of.

use drsr::SecurityId;

/// The identifiers that access control entries may mean the account by.
#[derive(Debug)]
pub struct Token {
    account: SecurityId,
    groups: Vec<SecurityId>,
}

/// Everyone, Authenticated Users: every account is one of them.
const EVERYBODY: [&str; 2] = ["S-1-1-0", "S-1-5-11"];
/// Groups whose members can take over a domain, by the last part of their identifier in the domain (MS-DTYP, section 2.4.2.4).
const MIGHTY_IN_DOMAIN: [(u32, &str); 6] = [
    (512, "Domain Admins"),
    (516, "Domain Controllers"),
    (518, "Schema Admins"),
    (519, "Enterprise Admins"),
    (520, "Group Policy Creator Owners"),
    (526, "Key Admins"),
];
const MIGHTY: [(&str, &str); 5] = [
    ("S-1-5-32-544", "Administrators"),
    ("S-1-5-32-548", "Account Operators"),
    ("S-1-5-32-549", "Server Operators"),
    ("S-1-5-32-550", "Print Operators"),
    ("S-1-5-32-551", "Backup Operators"),
];

impl Token {
    pub fn new(account: SecurityId, groups: Vec<SecurityId>) -> Self {
        Self { account, groups }
    }

    pub fn account(&self) -> &SecurityId {
        &self.account
    }

    pub fn is(&self, trustee: &SecurityId) -> bool {
        *trustee == self.account || self.groups.contains(trustee) || EVERYBODY.contains(&trustee.to_string().as_str())
    }

    /// The mighty groups that the account is a member of, also by way of others.
    pub fn mighty(&self) -> Vec<&'static str> {
        let name = |group: &SecurityId| {
            let text = group.to_string();
            if let Some((_, name)) = MIGHTY.iter().find(|(sid, _)| *sid == text) {
                return Some(*name);
            }
            let in_domain = text.starts_with("S-1-5-21-").then(|| group.relative_id()).flatten()?;
            MIGHTY_IN_DOMAIN.iter().find(|(id, _)| *id == in_domain).map(|(_, name)| *name)
        };
        self.groups.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mighty_groups_are_known_by_their_identifiers() {
        let sid = |text: &str| text.parse::<SecurityId>().expect("an identifier");
        let groups = ["S-1-5-32-544", "S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-519", "S-1-5-32-545", "S-1-5-32-519"];
        let token = Token::new(sid("S-1-5-21-1-2-3-1104"), groups.map(sid).to_vec());
        assert_eq!(token.mighty(), ["Administrators", "Enterprise Admins"]);
    }
}
