//! `[agents]`: where pass-through agents reach this node; and the settings file of an agent itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::connector::ConnectorSettings;
use super::reader::Table;
use super::scope::Carried;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub struct AgentsSettings {
    pub listen: SocketAddr,
    /// `https://HOST:PORT` of this very node, for agents alone.
    pub url: url::Url,
    /// How long an agent's certificate counts; it renews it after two thirds of that.
    pub certificate_lifetime: Duration,
    /// How long after its end a certificate may still be renewed, such as by a machine that was off.
    pub renewal_grace: Duration,
    /// How long an agent may take to acknowledge a check before another one is asked.
    pub acknowledgement: Duration,
}

impl AgentsSettings {
    /// Enough for an agent on another continent.
    pub const ACKNOWLEDGEMENT: Duration = Duration::from_millis(250);

    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let listen = table.required("listen", "give an address and a port, such as 0.0.0.0:8444");
        let remedy = "give this node's own https address for agents, such as https://node1.example.org:8444";
        let url = table.required::<url::Url>("url", remedy).and_then(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            if url.scheme() == "https" && url.has_host() && bare && url.username().is_empty() {
                return Some(url);
            }
            table.complain("url", "the address for agents must be https, without path", "correct the address");
            None
        });
        let settings = Self {
            listen: listen?,
            url: url?,
            certificate_lifetime: table.duration("certificate_lifetime", HOUR..=90 * DAY).unwrap_or(7 * DAY),
            renewal_grace: table.duration("renewal_grace", HOUR..=365 * DAY).unwrap_or(30 * DAY),
            acknowledgement: table
                .duration("acknowledgement", Duration::from_millis(50)..=Duration::from_secs(5))
                .unwrap_or(Self::ACKNOWLEDGEMENT),
        };
        table.finish();
        Some(settings)
    }
}

/// The settings of an agent on premises: a file of its own, beside the directory.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// The folder of the agent's keys.
    pub state: std::path::PathBuf,
    /// Most checks at once.
    pub capacity: usize,
    /// What it does for the gateway besides checking passwords.
    pub carries: BTreeSet<Carried>,
    /// The directory.
    pub connector: ConnectorSettings,
}

impl AgentSettings {
    pub(super) fn read(root: Table<'_>) -> Option<Self> {
        let agent = root.table("agent");
        let state = agent.path("state");
        if state.is_none() {
            agent.complain("state", "the key is missing", "give the folder where the agent keeps its keys");
        }
        let capacity = agent.number("capacity", 1..=4096).and_then(|n| usize::try_from(n).ok()).unwrap_or(64);
        let carries: BTreeSet<Carried> = agent.list("carries", "write import, export, passwords").into_iter().collect();
        let connector = ConnectorSettings::read_for_agent(root.table("connector"));
        let writes = connector.as_ref().is_none_or(|connector| connector.scope.export.is_some());
        if carries.contains(&Carried::Export) && !writes {
            let remedy = "list the attributes in [connector.export], or take `export` out of `carries`";
            agent.complain("carries", "the agent may write, and no attribute is named that it may write", remedy);
        }
        agent.finish();
        root.finish();
        Some(Self { state: state?, capacity, carries, connector: connector? })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use crate::config::load_agent;

    fn write(dir: &std::path::Path, text: &str) -> PathBuf {
        let secret = dir.join("bind.secret");
        std::fs::write(&secret, "secret").expect("a file");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("own file");
        let path = dir.join("agent.toml");
        std::fs::write(&path, text).expect("a settings file");
        path
    }

    const GOOD: &str = r#"
[agent]
state = "state"

[connector]
name = "corp"
dialect = "openldap"
servers = ["ldaps://ldap.example.org"]
bind_dn = "cn=agent,dc=example,dc=org"
bind_password_file = "bind.secret"
bases = ["dc=example,dc=org"]
"#;

    #[test]
    fn a_short_file_is_enough_for_an_agent() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = load_agent(&write(dir.path(), GOOD)).expect("valid");
        assert_eq!((settings.capacity, settings.state), (64, dir.path().join("state")));
        assert_eq!(settings.connector.scope.anchor_attribute, "entryUUID");
    }

    #[test]
    fn an_agents_file_is_checked_like_the_gateways() {
        let dir = tempfile::tempdir().expect("a folder");
        let text =
            GOOD.replace("state = \"state\"", "").replace("name = \"corp\"", "name = \"corp\"\ndomains = [\"a.b\"]");
        let problems = load_agent(&write(dir.path(), &text)).expect_err("invalid").0;
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        // Which domains an agent may answer for, its enrolment says.
        assert_eq!(keys, ["agent.state", "connector.domains"], "{problems:#?}");
    }
}
