//! What is read and written of an LDAP directory, apart from how it is reached; and the connectors of which the gateway
//! knows no more than that, because agents alone reach their directories (`reach = "agents-only"`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connector::{ConnectorSettings, DeltaMethod, Dialect, DisabledTest, ObjectClasses, Reach};
use super::ldap_target::WritableAttributes;
use super::reader::Table;
use super::words::setting_words;
use crate::identity::{ConnectorName, DistinguishedName, DomainName};

setting_words! {
    /// What an agent does besides checking passwords, where its own settings say so.
    #[derive(PartialOrd, Ord, Hash)]
    Carried {
        /// Reads people, groups and containers.
        Import = "import",
        /// Writes attributes back.
        Export = "export",
        /// Reads account states, and password hashes to be wrapped.
        Passwords = "passwords",
    } "import, export, passwords"
}

/// Which part of a directory may be read and written at all, whatever else is asked for: told by the names that the directory
/// itself gives to what was found there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bounds {
    /// For whoever made the settings that say what is read.
    #[default]
    Everywhere,
    /// For an agent, whom the gateway tells what to read: the agent's own `bases` and `excluded`.
    Within { bases: Vec<DistinguishedName>, excluded: Vec<DistinguishedName> },
}

impl Bounds {
    fn of_agent(own: &ConnectorSettings) -> Self {
        Self::Within { bases: own.scope.bases.clone(), excluded: own.scope.excluded.clone() }
    }

    pub fn admit(&self, dn: &DistinguishedName) -> bool {
        let within = |names: &[DistinguishedName]| names.iter().any(|name| dn.is_within(name));
        match self {
            Self::Everywhere => true,
            Self::Within { bases, excluded } => within(bases) && !within(excluded),
        }
    }
}

/// The keys of a connector that say what is read and written there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryScope {
    pub dialect: Dialect,
    pub bases: Vec<DistinguishedName>,
    /// Containers below the bases that are left out.
    pub excluded: Vec<DistinguishedName>,
    pub user_filter: Option<String>,
    pub group_filter: Option<String>,
    pub classes: ObjectClasses,
    /// The directory's own immutable id of an entry.
    pub anchor_attribute: String,
    /// Attributes to read besides those that the rules name.
    pub attributes: Vec<String>,
    pub page_size: u32,
    pub delta: DeltaMethod,
    pub disabled: DisabledTest,
    /// What may be written back; nothing when absent.
    pub export: Option<WritableAttributes>,
}

/// Why an agent does not do with its directory what it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    #[error("the gateway takes the directory for {asked}, the agent's settings for {own}: make `dialect` the same")]
    Dialect { asked: Dialect, own: Dialect },
    #[error("the agent's settings do not reach up to {0}: add it to their `bases`, or take it from the gateway's")]
    Base(DistinguishedName),
    #[error(
        "the agent's settings leave {0} out, and the gateway's do not: list it under `excluded` in both, or in none"
    )]
    Excluded(DistinguishedName),
    #[error(
        "{0} holds passwords or hashes of them: agents tell nothing of it, and bring hashes by `password_sync` alone"
    )]
    Secret(String),
    #[error("the agent's settings do not let {0} be written: add it to `attributes` of their `[connector.export]`")]
    NotWritable(String),
}

impl DirectoryScope {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let dialect = table.required("dialect", "write openldap, 389ds or ad");
        let bases: Vec<DistinguishedName> = table.list("bases", "give distinguished names");
        if bases.is_empty() {
            table.complain("bases", "no base is given", "give the DN below which users and groups are");
        }
        let text = |key| table.text(key).map(|text| text.into_owned());
        let class = |key, default: &str| text(key).unwrap_or_else(|| default.to_owned());
        let ad = dialect == Some(Dialect::ActiveDirectory);
        let default_dialect = dialect.unwrap_or(Dialect::Openldap);
        let scope = Self {
            dialect: default_dialect,
            bases,
            excluded: table.list("excluded", "give distinguished names below the bases"),
            user_filter: text("user_filter"),
            group_filter: text("group_filter"),
            classes: ObjectClasses {
                user: class("user_class", if ad { "user" } else { "inetOrgPerson" }),
                group: class("group_class", if ad { "group" } else { "groupOfNames" }),
                container: class("container_class", "organizationalUnit"),
            },
            anchor_attribute: class("anchor_attribute", default_dialect.anchor()),
            attributes: table.list("attributes", "give attribute names"),
            page_size: table.number("page_size", 10..=10_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(500),
            delta: table
                .parsed("delta", "write auto, content-sync, changelog, accesslog, timestamp, dirsync, usn or off")
                .unwrap_or(DeltaMethod::Auto),
            disabled: table
                .parsed("disabled", "write attribute=VALUE or attribute&BIT")
                .unwrap_or_else(|| DisabledTest::default_of(default_dialect)),
            export: WritableAttributes::of_source(table),
        };
        dialect.map(|_| scope)
    }

    /// Whether an agent's own settings let everything be written that this scope names.
    pub fn may_be_written(&self, own: &ConnectorSettings) -> Result<(), OutOfBounds> {
        let of_agent = own.scope.export.iter().flat_map(|export| &export.attributes);
        let allowed: Vec<String> = of_agent.map(|name| name.to_ascii_lowercase()).collect();
        let mut asked = self.export.iter().flat_map(|export| &export.attributes);
        match asked.find(|name| !allowed.contains(&name.to_ascii_lowercase())) {
            Some(refused) => Err(OutOfBounds::NotWritable(refused.clone())),
            None => Ok(()),
        }
    }

    /// Whether an agent with these settings may tell what these attributes hold.
    pub fn may_be_told<'a>(
        own: &ConnectorSettings,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<(), OutOfBounds> {
        match names.find(|name| is_secret(name, own)) {
            Some(secret) => Err(OutOfBounds::Secret(secret.to_owned())),
            None => Ok(()),
        }
    }

    /// The attributes whose values are read or asked about by name.
    fn named(&self) -> impl Iterator<Item = &str> {
        let (DisabledTest::Equals { attribute, .. } | DisabledTest::BitSet { attribute, .. }) = &self.disabled;
        let filters = self.user_filter.iter().chain(&self.group_filter);
        // Whatever a filter means: a name in it is followed by its comparison.
        let filtered = filters.flat_map(|filter| filter.split(['(', ')', '=', '~', '<', '>', ':', '&', '|', '!', ' ']));
        let written = self.export.iter().flat_map(|export| &export.attributes);
        let listed = self.attributes.iter().chain(written).map(String::as_str);
        [self.anchor_attribute.as_str(), attribute.as_str()].into_iter().chain(listed).chain(filtered)
    }

    /// The settings by which an agent does what this scope says at its own directory: how the directory is reached is
    /// the agent's, and so are the bounds of what may be read there.
    pub fn at(&self, own: &ConnectorSettings) -> Result<ConnectorSettings, OutOfBounds> {
        if self.dialect != own.scope.dialect {
            return Err(OutOfBounds::Dialect { asked: self.dialect, own: own.scope.dialect });
        }
        Self::may_be_told(own, self.named())?;
        let outside = self.bases.iter().find(|base| !own.scope.bases.iter().any(|bound| base.is_within(bound)));
        if let Some(outside) = outside {
            return Err(OutOfBounds::Base(outside.clone()));
        }
        let hidden = own.scope.excluded.iter().find(|hidden| {
            let asked_for = self.bases.iter().any(|base| hidden.is_within(base) || base.is_within(hidden));
            asked_for && !self.excluded.iter().any(|excluded| hidden.is_within(excluded))
        });
        if let Some(hidden) = hidden {
            return Err(OutOfBounds::Excluded(hidden.clone()));
        }
        let page_size = self.page_size.min(own.scope.page_size);
        Ok(ConnectorSettings {
            scope: Self { page_size, ..self.clone() },
            bounds: Bounds::of_agent(own),
            ..own.clone()
        })
    }
}

/// Attributes of passwords, of their hashes and of keys made of them, in lower case: what directories of all kinds call them.
const SECRETS: [&str; 14] = [
    "userpassword",
    "unicodepwd",
    "dbcspwd",
    "ntpwdhistory",
    "lmpwdhistory",
    "supplementalcredentials",
    "sambantpassword",
    "sambalmpassword",
    "sambapasswordhistory",
    "ntpassword",
    "lmpassword",
    "pwdhistory",
    "ipanthash",
    "krbprincipalkey",
];

/// With or without options (RFC 4512 2.5).
fn is_secret(name: &str, own: &ConnectorSettings) -> bool {
    let base = name.split(';').next().unwrap_or(name).trim();
    SECRETS.iter().any(|secret| base.eq_ignore_ascii_case(secret))
        || own.passwords.attributes.iter().any(|own| base.eq_ignore_ascii_case(own))
}

/// A connector whose directory agents alone reach: its address, its account and the account's password are with them.
#[derive(Clone, Debug)]
pub struct AgentsOnlySettings {
    pub name: ConnectorName,
    /// Domains that this connector may speak for (design D9).
    pub domains: Vec<DomainName>,
    pub scope: DirectoryScope,
    /// How long a live check of a password may take.
    pub bind_deadline: Duration,
    /// Agents bring account states and wrapped hashes too.
    pub password_sync: bool,
}

/// Keys of the settings that an agent has instead.
const OF_AGENTS: [&str; 7] = [
    "servers",
    "ca_file",
    "bind_dn",
    "bind_password_file",
    "bind_password_env",
    "connect_deadline",
    "lockout_duration",
];
/// Keys about password hashes.
const OF_HASHES: [&str; 7] = [
    "password_attributes",
    "cleartext_passwords",
    "replication_account",
    "replication_domain",
    "replication_sign_in",
    "password_policy",
    "leaked_passwords",
];

impl AgentsOnlySettings {
    /// Whether a table of `[[connectors]]` is of this kind.
    pub(super) fn is_meant(table: &Table<'_>) -> bool {
        table.text("reach").is_some_and(|reach| reach.parse() == Ok(Reach::AgentsOnly))
    }

    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        table.has("kind");
        for key in OF_AGENTS.into_iter().filter(|key| table.has(key)) {
            let what = "with reach = \"agents-only\" the directory's address and account are known to its agents alone";
            table.complain(key, what, "remove the key here, and set it in the agents' settings");
        }
        for key in OF_HASHES.into_iter().filter(|key| table.has(key)) {
            let what = "where hashes are, is known to the connector's agents alone";
            table.complain(
                key,
                what,
                "remove the key here, set it in the agents' settings, and write password_sync = true",
            );
        }
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let domains = super::systems::source_domains(&table);
        let scope = DirectoryScope::read(&table);
        let millis = Duration::from_millis;
        let bind_deadline = table.duration("bind_deadline", millis(50)..=millis(30_000)).unwrap_or(millis(2000));
        let password_sync = table.flag("password_sync").unwrap_or(false);
        table.finish();
        Some(Self { name: name?, domains, scope: scope?, bind_deadline, password_sync })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{AgentSettings, load_agent};

    fn agent(lines: &str) -> ConnectorSettings {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = dir.path().join("bind.secret");
        std::fs::write(&secret, "secret").expect("a file");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("own file");
        let text = format!(
            "[agent]\nstate = \"state\"\n[connector]\nname = \"corp\"\ndialect = \"openldap\"\n\
             servers = [\"ldaps://ldap.example.org\"]\nbind_dn = \"cn=agent,dc=example,dc=org\"\n\
             bind_password_file = \"bind.secret\"\nbases = [\"dc=example,dc=org\"]\n{lines}\n"
        );
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, text).expect("a settings file");
        let AgentSettings { connector, .. } = load_agent(&path).expect("valid");
        connector
    }

    fn scope() -> DirectoryScope {
        DirectoryScope {
            dialect: Dialect::Openldap,
            bases: vec!["ou=people,dc=example,dc=org".parse().expect("a name")],
            excluded: Vec::new(),
            user_filter: Some("(mail=*)".to_owned()),
            group_filter: None,
            classes: ObjectClasses {
                user: "inetOrgPerson".to_owned(),
                group: "groupOfNames".to_owned(),
                container: "organizationalUnit".to_owned(),
            },
            anchor_attribute: "entryUUID".to_owned(),
            attributes: vec!["mail".to_owned()],
            page_size: 100,
            delta: DeltaMethod::Auto,
            disabled: DisabledTest::Equals { attribute: "nsAccountLock".to_owned(), value: "TRUE".to_owned() },
            export: None,
        }
    }

    #[test]
    fn the_gateway_says_what_is_read_and_the_agent_how_it_is_reached() {
        let settings = scope().at(&agent("page_size = 10\nuser_filter = \"(cn=*)\"")).expect("within bounds");
        assert_eq!(settings.scope.bases, scope().bases);
        // A page is held whole by the agent, so it is no larger than the agent's own.
        assert_eq!((settings.scope.page_size, settings.scope.user_filter.as_deref()), (10, Some("(mail=*)")));
        let roomy = scope().at(&agent("page_size = 5000")).expect("within bounds");
        assert_eq!(roomy.scope.page_size, 100);
        assert_eq!(settings.servers, ["ldaps://ldap.example.org"]);
        assert_eq!(settings.bind_password.expose(), "secret");
    }

    #[test]
    fn an_agents_own_settings_bound_what_the_gateway_may_ask_for() {
        let dn = |text: &str| text.parse::<DistinguishedName>().expect("a name");
        let writes = |names: &[&str]| {
            let attributes = names.iter().map(|name| (*name).to_owned()).collect();
            DirectoryScope { export: Some(WritableAttributes { attributes, binary: Vec::new() }), ..scope() }
        };
        let elsewhere = DirectoryScope { bases: vec![dn("dc=example,dc=com")], ..scope() };
        let above = DirectoryScope { bases: vec![dn("dc=org")], ..scope() };
        let of_ad = DirectoryScope { dialect: Dialect::ActiveDirectory, ..scope() };
        let export = "[connector.export]\nattributes = [\"MAIL\"]";
        let hides = "excluded = [\"ou=board,ou=people,dc=example,dc=org\"]";
        let hides_also = DirectoryScope { excluded: vec![dn("ou=board,ou=people,dc=example,dc=org")], ..scope() };
        let rows = [
            (elsewhere, "", Err(OutOfBounds::Base(dn("dc=example,dc=com")))),
            (above, "", Err(OutOfBounds::Base(dn("dc=org")))),
            (of_ad, "", Err(OutOfBounds::Dialect { asked: Dialect::ActiveDirectory, own: Dialect::Openldap })),
            (writes(&["mail"]), "", Err(OutOfBounds::NotWritable("mail".to_owned()))),
            (writes(&["mail", "title"]), export, Err(OutOfBounds::NotWritable("title".to_owned()))),
            (writes(&["mail"]), export, Ok(())),
            (scope(), hides, Err(OutOfBounds::Excluded(dn("ou=board,ou=people,dc=example,dc=org")))),
            (hides_also, hides, Ok(())),
            (scope(), "excluded = [\"ou=machines,dc=example,dc=org\"]", Ok(())),
        ];
        for (asked, lines, expected) in rows {
            let own = agent(lines);
            assert_eq!(asked.at(&own).and_then(|_| asked.may_be_written(&own)), expected, "{lines}");
        }
    }
}
