//! `[leaked_passwords]`: the list of passwords that are known from leaks, and what becomes of who has one of them.

use std::path::PathBuf;

use super::reader::Table;
use super::words::setting_words;
use crate::identity::DomainName;

setting_words! {
    /// What a listed password means at sign-in.
    LeakPolicy {
        /// It is shown to operators, and nothing else.
        Report = "report",
        /// Whoever proves it is told to change it, and not signed in.
        Refuse = "refuse",
    } "report, refuse"
}

#[derive(Clone, Debug)]
pub struct LeakedPasswordSettings {
    /// NT hashes in ascending order, for every connector that names no list of its own.
    pub list: Option<PathBuf>,
    pub policy: LeakPolicy,
    /// Domains that differ.
    pub report_in: Vec<DomainName>,
    pub refuse_in: Vec<DomainName>,
}

impl LeakedPasswordSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let settings = Self {
            list: table.path("list"),
            policy: table.parsed("policy", "write report or refuse").unwrap_or(LeakPolicy::Report),
            report_in: table.list("report_in", "name domains"),
            refuse_in: table.list("refuse_in", "name domains"),
        };
        if let Some(both) = settings.refuse_in.iter().find(|domain| settings.report_in.contains(domain)) {
            table.complain("refuse_in", format!("{both} is in report_in too"), "name it once");
        }
        table.finish();
        settings
    }

    /// Whether anybody counts on leaked passwords being found.
    pub fn is_set_up(&self) -> bool {
        self.list.is_some() || self.policy == LeakPolicy::Refuse || !self.refuse_in.is_empty()
    }

    /// What holds for the users of a domain.
    pub fn policy_of(&self, domain: &DomainName) -> LeakPolicy {
        if self.refuse_in.contains(domain) {
            LeakPolicy::Refuse
        } else if self.report_in.contains(domain) {
            LeakPolicy::Report
        } else {
            self.policy
        }
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::config::reader::Source;

    fn read(text: &str) -> (LeakedPasswordSettings, usize) {
        let source = Source::new("landbridge.toml".as_ref(), text.to_owned());
        let settings = {
            let parsed = DeTable::parse(source.text()).expect("TOML");
            LeakedPasswordSettings::read(Table::root(&source, parsed.get_ref()))
        };
        (settings, source.into_problems().len())
    }

    #[test]
    fn a_domain_may_differ_from_the_tenant() {
        let domain = |name: &str| name.parse::<DomainName>().expect("a domain");
        let (settings, problems) = read("");
        assert_eq!(
            (settings.list.clone(), settings.policy_of(&domain("a.example")), problems),
            (None, LeakPolicy::Report, 0)
        );
        let (settings, problems) =
            read("list = \"ntlm.txt\"\npolicy = \"refuse\"\nreport_in = [\"a.example\"]\nrefuse_in = [\"b.example\"]");
        assert_eq!(problems, 0);
        for (name, policy) in
            [("a.example", LeakPolicy::Report), ("b.example", LeakPolicy::Refuse), ("c.example", LeakPolicy::Refuse)]
        {
            assert_eq!(settings.policy_of(&domain(name)), policy, "{name}");
        }
        let nonsense = "policy = \"shout\"\nrefuse_in = [\"a.example\"]\nreport_in = [\"a.example\"]\nfile = \"x\"";
        assert_eq!(read(nonsense).1, 3);
    }
}
