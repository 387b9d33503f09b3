//! A connector of the engine whose directory agents alone reach.

use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge::agent_sync::AgentDirectory;
use landbridge::config::{
    AgentsOnlySettings, DeltaMethod, Dialect, DirectoryScope, DisabledTest, ObjectClasses, WritableAttributes,
};

use crate::agents::world::{CORP, Running, World, domain};
use crate::support::agent;
use crate::support::slapd::{SUFFIX, Slapd};

pub const IMPORTS: &str = "carries = [\"import\"]";

pub fn scope() -> DirectoryScope {
    DirectoryScope {
        dialect: Dialect::Openldap,
        bases: vec![SUFFIX.parse().expect("a name")],
        excluded: Vec::new(),
        user_filter: None,
        group_filter: None,
        classes: ObjectClasses {
            user: "inetOrgPerson".to_owned(),
            group: "groupOfNames".to_owned(),
            container: "organizationalUnit".to_owned(),
        },
        anchor_attribute: "entryUUID".to_owned(),
        attributes: Vec::new(),
        page_size: 10,
        delta: DeltaMethod::Auto,
        disabled: DisabledTest::Equals { attribute: "nsAccountLock".to_owned(), value: "TRUE".to_owned() },
        export: None,
    }
}

/// What may be written.
pub fn writing(attributes: &[&str]) -> DirectoryScope {
    let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
    DirectoryScope { export: Some(WritableAttributes { attributes, binary: Vec::new() }), ..scope() }
}

/// The settings of a connector that agents alone reach.
pub fn settings(name: &str) -> AgentsOnlySettings {
    AgentsOnlySettings {
        name: name.parse().expect("a name"),
        domains: vec![domain("alpha.example"), domain("beta.example")],
        scope: scope(),
        bind_deadline: Duration::from_secs(2),
        password_sync: true,
    }
}

/// The connector to the directory behind the agents of `name`.
pub fn directory(world: &World, name: &str, scope: DirectoryScope) -> AgentDirectory {
    let settings = AgentsOnlySettings { scope, ..settings(name) };
    AgentDirectory::new(&settings, world.broker.clone()).expect("sound settings")
}

/// An enrolled machine beside `slapd`, not running.
pub async fn machine(world: &World, label: &str, slapd: &Slapd, agent_lines: &str, connector_lines: &str) -> PathBuf {
    let folder = world.enrol(label, CORP).await;
    agent::settings_with(&folder, CORP, slapd, agent_lines, connector_lines);
    folder
}

/// The same, running and connected.
pub async fn run(world: &World, label: &str, slapd: &Slapd, agent_lines: &str) -> (PathBuf, Running) {
    let folder = machine(world, label, slapd, agent_lines, "").await;
    let running = world.run(&folder).await;
    (folder, running)
}

pub fn id(folder: &Path) -> landbridge::identity::AgentId {
    World::identity(folder).id()
}
