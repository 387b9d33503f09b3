//! `[[connectors]]`: the directories on premises.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{ConnectorName, DistinguishedName, DomainName, PlainPassword};

use super::reader::Table;
use super::replication::ReplicationSettings;
use super::scope::{Bounds, DirectoryScope};
use super::secret::secret;
use super::words::setting_words;

setting_words! {
    /// Which server family: decides the defaults and how states are told.
    Dialect {
        Openldap = "openldap",
        Ds389 = "389ds",
        ActiveDirectory = "ad",
    } "openldap, 389ds, ad"
}

setting_words! {
    /// How changes are learned between two full imports.
    DeltaMethod {
        Auto = "auto",
        ContentSync = "content-sync",
        Changelog = "changelog",
        AccessLog = "accesslog",
        Timestamp = "timestamp",
        DirSync = "dirsync",
        Usn = "usn",
        Off = "off",
    } "auto, content-sync, changelog, accesslog, timestamp, dirsync, usn, off"
}

impl Dialect {
    pub(super) fn anchor(self) -> &'static str {
        match self {
            Self::Openldap => "entryUUID",
            Self::Ds389 => "nsUniqueId",
            Self::ActiveDirectory => "objectGUID",
        }
    }
}

setting_words! {
    /// How the directory is reached.
    Reach {
        /// By the gateway itself.
        Direct = "direct",
        /// The gateway reads it itself; agents on premises check passwords.
        Agents = "agents",
        /// By agents alone, which read it and write to it for the gateway too.
        AgentsOnly = "agents-only",
    } "direct, agents, agents-only"
}

/// "Disabled" as a test of an attribute: it equals a text, or has a bit set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisabledTest {
    Equals { attribute: String, value: String },
    BitSet { attribute: String, bit: u64 },
}

impl DisabledTest {
    pub(super) fn default_of(dialect: Dialect) -> Self {
        let equals =
            |attribute: &str, value: &str| Self::Equals { attribute: attribute.to_owned(), value: value.to_owned() };
        match dialect {
            Dialect::Openldap => equals("pwdAccountLockedTime", "000001010000Z"),
            Dialect::Ds389 => equals("nsAccountLock", "TRUE"),
            Dialect::ActiveDirectory => Self::BitSet { attribute: "userAccountControl".to_owned(), bit: 2 },
        }
    }
}

/// `attribute=VALUE` or `attribute&BIT`.
impl std::str::FromStr for DisabledTest {
    type Err = NotATest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |text: &str| {
            let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-;.".contains(c));
            fits.then(|| text.to_owned()).ok_or(NotATest)
        };
        if let Some((attribute, value)) = text.split_once('=') {
            return Ok(Self::Equals { attribute: name(attribute)?, value: value.to_owned() });
        }
        let (attribute, bit) = text.split_once('&').ok_or(NotATest)?;
        let bit = bit.parse().ok().filter(|bit: &u64| bit.is_power_of_two()).ok_or(NotATest)?;
        Ok(Self::BitSet { attribute: name(attribute)?, bit })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the test is neither `attribute=VALUE` nor `attribute&BIT`")]
pub struct NotATest;

/// Object classes that make an entry a user, a group or a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClasses {
    pub user: String,
    pub group: String,
    pub container: String,
}

/// Where password hashes are read from.
#[derive(Clone, Debug)]
pub struct PasswordAttributes {
    /// Attributes in order of preference, such as `sambaNTPassword`, `userPassword`.
    pub attributes: Vec<String>,
    /// Whether a password that the directory keeps in the clear may be taken; it is hashed at once.
    pub cleartext_allowed: bool,
}

#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    pub name: ConnectorName,
    pub reach: Reach,
    /// In order of preference: `ldaps://host:port`, or `ldap://host:port` with StartTLS.
    pub servers: Vec<String>,
    /// PEM file of the certification authorities; the system's when absent.
    pub ca_file: Option<PathBuf>,
    pub bind_dn: DistinguishedName,
    pub bind_password: PlainPassword,
    /// Domains that this connector may speak for (design D9).
    pub domains: Vec<DomainName>,
    /// What is read and written there.
    pub scope: DirectoryScope,
    /// Nothing beyond is told or written, whatever is asked for.
    pub bounds: Bounds,
    pub passwords: PasswordAttributes,
    pub replication: Option<ReplicationSettings>,
    pub connect_deadline: Duration,
    /// How long a bind may take before pass-through gives it up.
    pub bind_deadline: Duration,
    /// How long a lock lasts where the directory tells only when it began.
    pub lockout_duration: Duration,
    /// The password policy of entries that name none, where the directory keeps it as an entry (slapd's
    /// `ppolicy_default`): its password age and lockout duration count for them.
    pub password_policy: Option<DistinguishedName>,
    /// The list of leaked passwords that hashes of this connector are looked for in, instead of that of all.
    pub leaked_passwords: Option<PathBuf>,
}

impl ConnectorSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let domains = table.list("domains", "give domain names");
        if domains.is_empty() {
            table.complain("domains", "the connector may speak for no domain", "list the domains of its users");
        }
        let reach = table.parsed("reach", "write direct, agents or agents-only").unwrap_or(Reach::Direct);
        Self::read_rest(table, domains, reach)
    }

    /// As an agent has them: which domains it may speak for, its enrolment says.
    pub(super) fn read_for_agent(table: Table<'_>) -> Option<Self> {
        Self::read_rest(table, Vec::new(), Reach::Direct)
    }

    fn read_rest(table: Table<'_>, domains: Vec<DomainName>, reach: Reach) -> Option<Self> {
        let millis = Duration::from_millis;
        table.has("kind");
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let servers: Vec<String> = table.list("servers", "give ldaps://HOST[:PORT] or ldap://HOST[:PORT]");
        if servers.is_empty() {
            table.complain("servers", "no server is given", "give at least one ldaps://HOST or ldap://HOST (StartTLS)");
        }
        let ca_file = table.path("ca_file");
        if let Some(path) = ca_file.as_ref().filter(|path| !path.is_file()) {
            let what = format!("there is no file {}", path.display());
            table.complain("ca_file", what, "give the PEM file of the directory's certification authority");
        }
        let bind_dn = table.required("bind_dn", "give the DN of the service account");
        let bind_password = secret(&table, "bind_password_file", "bind_password_env");
        let scope = DirectoryScope::read(&table);
        let dialect = scope.as_ref().map(|scope| scope.dialect);
        let bases = scope.as_ref().map_or(&[][..], |scope| scope.bases.as_slice());
        let passwords: Vec<String> = table.list("password_attributes", "give attribute names");
        let replication = ReplicationSettings::read(&table, dialect, bases);
        let settings = Self {
            name: name?,
            reach,
            servers,
            ca_file,
            bind_dn: bind_dn?,
            bind_password: bind_password?,
            domains,
            scope: scope?,
            bounds: Bounds::Everywhere,
            passwords: PasswordAttributes {
                attributes: if passwords.is_empty() { vec!["userPassword".to_owned()] } else { passwords },
                cleartext_allowed: table.flag("cleartext_passwords").unwrap_or(false),
            },
            replication,
            connect_deadline: table.duration("connect_deadline", millis(50)..=millis(30_000)).unwrap_or(millis(1000)),
            bind_deadline: table.duration("bind_deadline", millis(50)..=millis(30_000)).unwrap_or(millis(2000)),
            lockout_duration: table
                .duration("lockout_duration", millis(1000)..=millis(7 * 86_400_000))
                .unwrap_or(millis(1_800_000)),
            password_policy: table.parsed("password_policy", "give the DN of the default policy's entry"),
            leaked_passwords: table.path("leaked_passwords"),
        };
        table.finish();
        Some(settings)
    }
}
