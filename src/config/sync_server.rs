//! `[sync_servers]`: the engine runs elsewhere, in a sync server of its own; and the settings file of a sync server.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::identity::{ConnectorName, DomainName, NodeId};

use super::connector::ConnectorSettings;
use super::gateway::{AdminSettings, StoreSettings};
use super::reader::Table;
use super::sync::SyncSettings;
use super::systems::{Connectors, SystemSettings, source_domains};

/// What sync servers may bring to this gateway, whose own engine rests.
#[derive(Clone, Debug)]
pub struct SyncServersSettings {
    pub connectors: Vec<SynchronisedConnector>,
}

/// A connector of a sync server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynchronisedConnector {
    pub name: ConnectorName,
    /// The domains it may speak for (design D9). Only the gateway's word counts.
    pub domains: Vec<DomainName>,
}

impl SyncServersSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let mut connectors: Vec<SynchronisedConnector> = Vec::new();
        for connector in table.tables("connectors") {
            let name: Option<ConnectorName> = connector.required("name", "use letters, digits, `.`, `-` and `_`");
            let domains = source_domains(&connector);
            if let Some(name) = name {
                if name.as_str() == "tenant" {
                    connector.complain(
                        "name",
                        "tenant is the name of the tenant directory itself",
                        "give the name that the sync server's settings have",
                    );
                }
                if connectors.iter().any(|other| other.name == name) {
                    connector.complain("name", format!("connector {name} is listed twice"), "keep one of the two");
                }
                connectors.push(SynchronisedConnector { name, domains });
            }
            connector.finish();
        }
        if connectors.is_empty() {
            table.complain(
                "connectors",
                "sync servers may bring no connector",
                "add [[sync_servers.connectors]] with name and domains, or remove the section",
            );
        }
        table.finish();
        Self { connectors }
    }

    pub fn names(&self) -> BTreeSet<ConnectorName> {
        self.connectors.iter().map(|connector| connector.name.clone()).collect()
    }
}

/// The settings of a sync server: a file of its own, beside the directories.
#[derive(Clone, Debug)]
pub struct SyncServerSettings {
    /// The file that was read.
    pub file: PathBuf,
    /// The folder of the server's keys.
    pub state: PathBuf,
    /// Its name in its own audit log.
    pub node: NodeId,
    /// Its own store: connector spaces, metaverse, runs, activated rules.
    pub store: StoreSettings,
    pub admin: AdminSettings,
    pub sync: SyncSettings,
    pub connectors: Vec<ConnectorSettings>,
    pub systems: Vec<SystemSettings>,
    pub order: Vec<ConnectorName>,
    /// What is valid but deserves an operator's attention.
    pub warnings: Vec<String>,
}

impl SyncServerSettings {
    pub(super) fn read(root: Table<'_>) -> Option<Self> {
        let own = root.table("sync_server");
        let state = own.path("state");
        if state.is_none() {
            own.complain("state", "the key is missing", "give the folder where the sync server keeps its keys");
        }
        let node = match own.has("node") {
            true => own.parsed("node", "use letters, digits, `.`, `-` and `_`"),
            false => "sync1".parse().ok(),
        };
        own.finish();
        let store = StoreSettings::read(root.table("store"));
        let admin = AdminSettings::read(root.table("admin"));
        let sync = SyncSettings::read(root.table("sync"));
        let Connectors { directories, agents_only, systems, order } = Connectors::read(&root);
        for connector in &agents_only {
            let what = format!(
                "connector {} is reached by agents, which connect to gateways and not to sync servers",
                connector.name
            );
            root.complain(
                "connectors",
                what,
                "let the sync server reach the directory itself, and give its servers and account",
            );
        }
        if !sync.instances.is_empty() {
            let remedy = "take the instances out; a gateway with an engine of its own has them";
            root.complain("sync", "a sync server has no staging instances", remedy);
        }
        if order.is_empty() {
            root.complain("connectors", "there is no connector", "add [[connectors]] for what is synchronised");
        }
        for connector in directories.iter().filter(|connector| names_hashes(connector)) {
            root.complain(
                "connectors",
                format!(
                    "connector {} names where password hashes are, which a sync server does not read",
                    connector.name
                ),
                "remove the keys, or let the engine run within the gateway: only that one synchronises hashes",
            );
        }
        sync.check_connectors(&root, &order);
        let warnings = root.source().warnings();
        root.finish();
        Some(Self {
            // Known to whoever opened it.
            file: PathBuf::new(),
            state: state?,
            node: node?,
            store: store?,
            admin: admin?,
            sync,
            connectors: directories,
            systems,
            order,
            warnings,
        })
    }

    /// The domains that each connector names. The gateway's list is the one that counts.
    pub fn domains(&self) -> impl Iterator<Item = (&ConnectorName, &[DomainName])> {
        let directories = self.connectors.iter().map(|connector| (&connector.name, connector.domains.as_slice()));
        directories.chain(self.systems.iter().map(|system| (system.name(), system.domains())))
    }

    /// The connectors that contribute to the tenant: a target contributes nothing.
    pub fn sources(&self) -> Vec<ConnectorName> {
        self.domains().filter(|(_, domains)| !domains.is_empty()).map(|(name, _)| name.clone()).collect()
    }
}

/// Hashes do not go through the connector API.
fn names_hashes(connector: &ConnectorSettings) -> bool {
    let passwords = &connector.passwords;
    connector.replication.is_some() || passwords.cleartext_allowed || passwords.attributes != ["userPassword"]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use crate::config::load_sync_server;

    const GOOD: &str = r#"
[sync_server]
state = "state"

[store]
url = "sqlite:data"
key_ring = "key-ring"

[admin]
socket = "admin.sock"
principals = [{ name = "root", uid = 0, role = "owner" }]

[[connectors]]
name = "corp"
dialect = "openldap"
servers = ["ldaps://ldap.example.org"]
bind_dn = "cn=sync,dc=example,dc=org"
bind_password_file = "bind.secret"
domains = ["example.org"]
bases = ["dc=example,dc=org"]
"#;

    fn write(dir: &Path, text: &str) -> PathBuf {
        std::fs::create_dir_all(dir.join("rules")).expect("a folder of rules");
        let secret = dir.join("bind.secret");
        std::fs::write(&secret, "secret").expect("a file");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("own file");
        let path = dir.join("sync-server.toml");
        std::fs::write(&path, text).expect("a settings file");
        path
    }

    #[test]
    fn a_sync_server_has_connectors_and_a_store_and_no_public_address() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = load_sync_server(&write(dir.path(), GOOD)).expect("valid");
        assert_eq!((settings.node.as_str(), settings.order.len()), ("sync1", 1));
        let gateway = format!("{GOOD}\n[gateway]\nlisten = \"127.0.0.1:1\"\n");
        let problems = load_sync_server(&write(dir.path(), &gateway)).expect_err("no gateway").0;
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["gateway"]);
    }

    #[test]
    fn settings_of_password_hashes_are_refused_because_nobody_would_read_them() {
        let dir = tempfile::tempdir().expect("a folder");
        for keys in ["cleartext_passwords = true", "password_attributes = [\"sambaNTPassword\"]"] {
            let problems = load_sync_server(&write(dir.path(), &format!("{GOOD}{keys}\n"))).expect_err(keys).0;
            assert_eq!(problems.len(), 1, "{problems:#?}");
            assert!(problems[0].what.contains("password hashes") && !problems[0].remedy.is_empty());
        }
    }

    #[test]
    fn a_sync_server_without_state_or_connectors_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = GOOD.replace("state = \"state\"", "").split("[[connectors]]").next().map(str::to_owned);
        let problems = load_sync_server(&write(dir.path(), &text.expect("a text"))).expect_err("invalid").0;
        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["connectors", "sync_server.state"], "{problems:#?}");
    }
}
