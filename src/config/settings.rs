//! The whole file.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::identity::ConnectorName;

use super::agents::{AgentSettings, AgentsSettings};
use super::alerts::{self, ChannelName, ChannelSettings};
use super::connector::{ConnectorSettings, Reach};
use super::directory::{DirectorySettings, MatchingSettings};
use super::gateway::{AdminSettings, GatewaySettings, StoreSettings};
use super::instance::{self, InstanceSettings};
use super::leaked_passwords::LeakedPasswordSettings;
use super::limits::LimitsSettings;
use super::problem::{Problem, Problems};
use super::reader::{Source, Table};
use super::scope::AgentsOnlySettings;
use super::signin::{FailoverSettings, LockoutSettings, SignInSettings, TokenSettings};
use super::sync::SyncSettings;
use super::sync_server::{SyncServerSettings, SyncServersSettings};
use super::systems::{Connectors, SystemSettings};

/// Settings that are valid as a whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that was read.
    pub file: PathBuf,
    pub gateway: GatewaySettings,
    pub store: StoreSettings,
    pub admin: AdminSettings,
    pub signin: SignInSettings,
    pub lockout: LockoutSettings,
    pub limits: LimitsSettings,
    pub failover: FailoverSettings,
    pub leaked_passwords: LeakedPasswordSettings,
    pub tokens: TokenSettings,
    pub sync: SyncSettings,
    pub matching: MatchingSettings,
    pub directory: DirectorySettings,
    /// Where pass-through agents connect; nowhere when absent.
    pub agents: Option<AgentsSettings>,
    /// The engine runs in sync servers; here when absent.
    pub sync_servers: Option<SyncServersSettings>,
    /// Where alerts are sent.
    pub alerts: Vec<(ChannelName, ChannelSettings)>,
    /// Directories that the gateway reaches.
    pub connectors: Vec<ConnectorSettings>,
    /// Directories that agents alone reach.
    pub agents_only: Vec<AgentsOnlySettings>,
    /// Sources and targets that are no directories.
    pub systems: Vec<SystemSettings>,
    /// The names of all, as the file lists them: it breaks ties between contributions.
    pub order: Vec<ConnectorName>,
    /// Staging instances.
    pub instances: Vec<InstanceSettings>,
    /// What is valid but deserves an operator's attention.
    pub warnings: Vec<String>,
}

/// Where the admin socket is, for a client: reads that key alone, no secret and no other section.
pub fn admin_socket(path: &Path) -> Result<PathBuf, Problems> {
    let source = read_file(path)?;
    let socket = match DeTable::parse(source.text()) {
        Ok(table) => Table::root(&source, table.get_ref()).table("admin").path("socket"),
        Err(_) => None,
    };
    socket.ok_or_else(|| {
        source.report(
            None,
            "admin.socket",
            "the path of the admin socket cannot be read",
            "run `landbridge check-config`",
        );
        Problems(source.into_problems())
    })
}

/// Where the sync rule files are: reads that key alone, so that they can be checked without the rest.
pub fn rules_folder(path: &Path) -> Result<PathBuf, Problems> {
    let source = read_file(path)?;
    let beside = source.folder().join("rules");
    let named = match DeTable::parse(source.text()) {
        Ok(table) => Table::root(&source, table.get_ref()).table("sync").path("rules"),
        Err(error) => {
            let at = error.span().map(|span| span.start);
            source.report(at, "", error.message().to_owned(), "run `landbridge check-config`");
            None
        }
    };
    let problems = source.into_problems();
    if problems.is_empty() { Ok(named.unwrap_or(beside)) } else { Err(Problems(problems)) }
}

/// Whether a settings file is a sync server's, by the section that only those have.
pub fn is_of_sync_server(path: &Path) -> Result<bool, Problems> {
    let source = read_file(path)?;
    Ok(DeTable::parse(source.text()).is_ok_and(|table| table.get_ref().contains_key("sync_server")))
}

fn read_file(path: &Path) -> Result<Source, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problems(vec![Problem {
            file: path.to_owned(),
            line: 0,
            key: String::new(),
            what: format!("the settings file cannot be read: {error}"),
            remedy: "give its path with --config".to_owned(),
        }])
    })?;
    Ok(Source::new(path, text))
}

/// Reads and validates the settings file, or tells everything that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    let settings = Settings { file: path.to_owned(), ..load_as(path, read)? };
    let instances = instance::resolved(&settings, |file| load_as(file, read))?;
    Ok(Settings { instances, ..settings })
}

/// Reads and validates the settings file of an agent.
pub fn load_agent(path: &Path) -> Result<AgentSettings, Problems> {
    load_as(path, AgentSettings::read)
}

/// Reads and validates the settings file of a sync server.
pub fn load_sync_server(path: &Path) -> Result<SyncServerSettings, Problems> {
    let settings = load_as(path, SyncServerSettings::read)?;
    Ok(SyncServerSettings { file: path.to_owned(), ..settings })
}

fn load_as<T>(path: &Path, read: impl FnOnce(Table<'_>) -> Option<T>) -> Result<T, Problems> {
    let source = read_file(path)?;
    let settings = match DeTable::parse(source.text()) {
        Ok(table) => read(Table::root(&source, table.get_ref())),
        Err(error) => {
            let at = error.span().map(|span| span.start);
            source.report(at, "", format!("the file is not TOML: {}", error.message()), "correct the syntax");
            None
        }
    };
    let problems = source.into_problems();
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(Problems(problems)),
    }
}

fn read(root: Table<'_>) -> Option<Settings> {
    let gateway = GatewaySettings::read(root.table("gateway"));
    let store = StoreSettings::read(root.table("store"));
    let admin = AdminSettings::read(root.table("admin"));
    let signin = SignInSettings::read(root.table("signin"));
    let lockout = LockoutSettings::read(root.table("lockout"));
    let limits = LimitsSettings::read(root.table("limits"));
    let failover = FailoverSettings::read(root.table("failover"));
    let leaked_passwords = LeakedPasswordSettings::read(root.table("leaked_passwords"));
    let tokens = TokenSettings::read(root.table("tokens"));
    let sync = SyncSettings::read(root.table("sync"));
    let matching = MatchingSettings::read(root.table("matching"));
    let directory = DirectorySettings::read(root.table("directory"));
    let agents = root.has("agents").then(|| AgentsSettings::read(root.table("agents"))).flatten();
    let alerts = alerts::channels(&root);
    let Connectors { directories, agents_only, systems, order } = Connectors::read(&root);
    let by_agents = directories.iter().filter(|connector| connector.reach != Reach::Direct);
    let by_agents =
        by_agents.map(|connector| &connector.name).chain(agents_only.iter().map(|connector| &connector.name));
    for name in by_agents.filter(|_| !root.has("agents")) {
        let what = format!("connector {name} is reached by agents, which have nowhere to connect to");
        root.complain("connectors", what, "add an [agents] section, or write reach = \"direct\"");
    }
    let sync_servers = root.has("sync_servers").then(|| SyncServersSettings::read(root.table("sync_servers")));
    if sync_servers.is_some() && !root.has("agents") {
        let remedy = "add an [agents] section: sync servers connect where agents do";
        root.complain("sync_servers", "sync servers have nowhere to connect to", remedy);
    }
    if sync_servers.is_some() && !systems.is_empty() {
        let what = "the engine does not run here, and files, databases and services are for the engine alone";
        root.complain("connectors", what, "move these connectors to the settings of the sync server");
    }
    for connector in agents_only.iter().filter(|_| sync_servers.is_some()) {
        let what = format!(
            "the engine does not run here, so that nobody asks the agents of connector {} to read its directory",
            connector.name
        );
        root.complain("connectors", what, "write reach = \"agents\", or let the engine run within the gateway");
    }
    if sync_servers.is_some() && !sync.instances.is_empty() {
        let remedy = "let the engine run within the gateway, or take the instances out";
        root.complain("sync", "staging instances run beside the engine, which does not run here", remedy);
    }
    sync.check_connectors(&root, &order);
    let mut warnings = warnings(&failover, (&directories, &agents_only, &systems), store.as_ref());
    warnings.extend(limits.warning());
    if sync_servers.is_some() {
        warnings.push(
            "the engine runs in sync servers, which bring no password hashes: let people sign in by pass-through or \
             federation, and expect no failover to stored hashes"
                .to_owned(),
        );
    }
    for connector in agents_only.iter().filter(|connector| !connector.password_sync) {
        warnings.push(format!(
            "connector {} is reached by agents alone, and password_sync is off: let its people sign in by pass-through or \
             federation, and expect no failover to stored hashes",
            connector.name
        ));
    }
    warnings.extend(root.source().warnings());
    root.finish();
    Some(Settings {
        // Known to whoever opened it.
        file: PathBuf::new(),
        gateway: gateway?,
        store: store?,
        admin: admin?,
        signin,
        lockout,
        limits,
        failover,
        leaked_passwords,
        tokens,
        sync,
        matching,
        directory,
        agents,
        sync_servers,
        alerts,
        connectors: directories,
        agents_only,
        systems,
        order,
        // Resolved once the whole file is known.
        instances: Vec::new(),
        warnings,
    })
}

fn warnings(
    failover: &FailoverSettings,
    (connectors, agents_only, systems): (&[ConnectorSettings], &[AgentsOnlySettings], &[SystemSettings]),
    store: Option<&StoreSettings>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let dialects = connectors.iter().map(|connector| connector.scope.dialect);
    let mut dialects = dialects.chain(agents_only.iter().map(|connector| connector.scope.dialect));
    let needs_groups = dialects.any(|dialect| dialect != super::Dialect::ActiveDirectory);
    if failover.barred_groups.is_empty() && needs_groups {
        warnings.push(
            "failover.barred_groups is empty: privileged users of LDAP directories get in through the backup too"
                .to_owned(),
        );
    }
    let of_directories = connectors.iter().flat_map(|connector| &connector.domains);
    let of_directories = of_directories.chain(agents_only.iter().flat_map(|connector| &connector.domains));
    for domain in of_directories.chain(systems.iter().flat_map(SystemSettings::domains)) {
        if domain.is_non_routable() {
            warnings.push(format!(
                "the domain {domain} is not routable and cannot be verified: its users get names in the initial domain"
            ));
        }
    }
    if store.is_some_and(|store| store.hardening == super::Hardening::Sealed) {
        warnings.push(
            "store.hardening is \"sealed\": whoever has both the store and the key ring can try passwords at the speed \
             of the source's own hash"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, text: &str) -> PathBuf {
        std::fs::create_dir_all(dir.join("rules")).expect("a folder");
        for file in ["cert.pem", "key.pem", "ca.pem", "bind-password"] {
            std::fs::write(dir.join(file), "secret\n").expect("a file");
            set_mode(&dir.join(file), 0o600);
        }
        let path = dir.join("landbridge.toml");
        std::fs::write(&path, text).expect("a settings file");
        path
    }

    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
    }

    const GOOD: &str = r#"
[gateway]
public_url = "https://login.example.org"
listen = "127.0.0.1:8443"
certificate = "cert.pem"
private_key = "key.pem"
initial_domain = "example.landbridge.internal"

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
ca_file = "ca.pem"
bind_dn = "cn=sync,dc=example,dc=org"
bind_password_file = "bind-password"
domains = ["example.org"]
bases = ["dc=example,dc=org"]
"#;

    #[test]
    fn a_short_file_is_enough_and_defaults_are_the_documented_ones() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = load(&write(dir.path(), GOOD)).expect("valid");
        assert_eq!(settings.connectors[0].bind_password.expose(), "secret");
        assert_eq!(settings.connectors[0].scope.anchor_attribute, "entryUUID");
        assert_eq!(settings.lockout.unfamiliar_limit, 3);
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    }

    #[test]
    fn replication_is_of_active_directory_and_knows_its_domain() {
        let dir = tempfile::tempdir().expect("a folder");
        let with = |dialect: &str, keys: &str| {
            let text = GOOD.replace("dialect = \"openldap\"", &format!("dialect = \"{dialect}\"\n{keys}"));
            load(&write(dir.path(), &text))
        };
        let both = "replication_account = \"svc\"\nreplication_domain = \"CORP\"";
        let settings = with("ad", both).expect("valid");
        let replication = settings.connectors[0].replication.as_ref().expect("set");
        assert_eq!(replication.naming_context.as_str(), "dc=example,dc=org");
        assert_eq!(replication.sign_in, crate::config::ReplicationSignIn::Ntlm);
        let refused = [
            ("openldap", both.to_owned()),
            ("ad", "replication_account = \"svc\"".to_owned()),
            ("ad", format!("{both}\nreplication_sign_in = \"basic\"")),
            ("ad", format!("{both}\nanchor_attribute = \"mail\"")),
        ];
        for (dialect, keys) in refused {
            assert!(with(dialect, &keys).is_err(), "{dialect} {keys}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line_and_a_remedy() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = GOOD
            .replace("https://login", "http://login")
            .replace("listen = \"127.0.0.1:8443\"", "lisen = \"127.0.0.1:8443\"")
            .replace("bind_password_file = \"bind-password\"", "bind_password_env = \"LANDBRIDGE_TEST_NOT_SET\"")
            .replace("[\"example.org\"]", "[\"exa mple.org\"]");
        let problems = load(&write(dir.path(), &text)).expect_err("invalid").0;
        let seen: Vec<(usize, &str)> = problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        let expected = [
            (2, "gateway.listen"),
            (3, "gateway.public_url"),
            (4, "gateway.lisen"),
            (23, "connectors[0].bind_password_env"),
            (24, "connectors[0].domains"),
            (24, "connectors[0].domains"),
        ];
        assert_eq!(seen, expected, "{problems:#?}");
        assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
    }

    #[test]
    fn an_initial_domain_that_no_user_name_fits_into_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let long = format!("{}.landbridge.internal", "a".repeat(40));
        let text = GOOD.replace("example.landbridge.internal", &long);
        let problems = load(&write(dir.path(), &text)).expect_err("invalid").0;
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["gateway.initial_domain"]);
    }

    #[test]
    fn run_profiles_and_windows_are_read_and_what_is_wrong_with_them_is_told_with_its_line() {
        const SYNC: &str = "[sync]\nscheduled_profile = \"own\"\n[[sync.profile]]\nname = \"own\"\n\
                            steps = [{ step = \"full-import\", connector = \"corp\" }, \"delta-sync\", \"export\"]\n\
                            [[sync.maintenance]]\nname = \"payroll\"\ndays = [\"fri\"]\nfrom = \"22:00\"\nto = \"04:00\"\n\
                            time_zone = \"Europe/Berlin\"\nholds = \"cycles\"\n";
        let dir = tempfile::tempdir().expect("a folder");
        let with = |sync: &str| load(&write(dir.path(), &format!("{sync}{GOOD}")));
        let sync = with(SYNC).expect("valid").sync;
        assert_eq!((sync.profiles[0].name.as_str(), sync.profiles[0].steps.len()), ("own", 3));
        assert_eq!(sync.windows[0].when.to_string(), "fri 22:00 to 04:00 Europe/Berlin");
        let refused = [
            ("scheduled_profile = \"own\"", "scheduled_profile = \"owl\"", "sync.scheduled_profile", 2),
            ("name = \"own\"", "name = \"full\"", "sync.profile[0].name", 4),
            ("\"delta-sync\"", "\"delta\"", "sync.profile[0].steps", 5),
            (
                "\"delta-sync\"",
                "{ step = \"full-sync\", connector = \"corp\" }",
                "sync.profile[0].steps[1].connector",
                5,
            ),
            ("connector = \"corp\"", "connector = \"lab\"", "sync", 1),
            ("connector = \"corp\"", "konnector = \"corp\"", "sync.profile[0].steps[0].konnector", 5),
            ("\"fri\"", "\"friday\"", "sync.maintenance[0].days", 8),
            ("22:00", "25:00", "sync.maintenance[0].from", 9),
            ("Europe/Berlin", "Berlin", "sync.maintenance[0].time_zone", 11),
            ("\"cycles\"", "\"everything\"", "sync.maintenance[0].holds", 12),
        ];
        for (right, wrong, key, line) in refused {
            let problems = with(&SYNC.replacen(right, wrong, 1)).expect_err(wrong).0;
            let told = problems.iter().find(|problem| problem.key == key);
            assert_eq!(told.map(|problem| problem.line), Some(line), "{wrong}: {problems:#?}");
        }
    }

    #[test]
    fn a_secret_given_inline_is_an_unknown_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = GOOD.replace("bind_password_file = \"bind-password\"", "bind_password = \"hunter2\"");
        let problems = load(&write(dir.path(), &text)).expect_err("invalid");
        assert!(
            problems.to_string().contains("`connectors[0].bind_password_file`: the secret is missing"),
            "{problems}"
        );
        assert!(!problems.to_string().contains("hunter2"));
    }

    /// A settings file with the connector `lines` besides a directory.
    fn with_system(dir: &Path, lines: &str) -> PathBuf {
        std::fs::create_dir_all(dir.join("drop")).expect("a folder");
        for (file, text) in
            [("token", "t0ken"), ("hr.url", "postgres://reader:secret@db.example.org/hr"), ("hr.db", "")]
        {
            std::fs::write(dir.join(file), text).expect("a file");
            set_mode(&dir.join(file), 0o600);
        }
        write(dir, &format!("{GOOD}\n[[connectors]]\n{lines}"))
    }

    const CSV: &str = "kind = \"file\"\nname = \"hr\"\nformat = \"csv\"\nfolder = \"drop\"\n\
                       domains = [\"example.org\"]\n[[connectors.sets]]\ncomplete = \"people*.csv\"\n\
                       type = \"user\"\nanchor = \"id\"\nreferences = [\"manager:user\"]\n";
    const SQL: &str = "kind = \"sql\"\nname = \"hr\"\nurl = \"sqlite:hr.db\"\ndomains = [\"example.org\"]\n\
                       [[connectors.types]]\ntype = \"user\"\ntable = \"people\"\nanchor = [\"id\"]\n\
                       [[connectors.types.values]]\nattribute = \"phone\"\ntable = \"phones\"\nkey = [\"person\"]\n\
                       column = \"number\"\n";
    const SCIM: &str = "kind = \"scim\"\nname = \"app\"\nurl = \"https://app.example.org/scim/v2\"\n\
                        token_file = \"token\"\n";

    #[test]
    fn connectors_of_every_kind_are_read_in_the_order_of_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        for lines in [CSV, SQL, SCIM] {
            let settings = load(&with_system(dir.path(), lines)).expect(lines);
            assert_eq!(settings.order.len(), 2);
            assert_eq!(settings.order[1], *settings.systems[0].name());
            assert_eq!(settings.connectors.len(), 1);
        }
        let remote = SQL.replace("url = \"sqlite:hr.db\"", "url_file = \"hr.url\"");
        let settings = load(&with_system(dir.path(), &remote)).expect("an address with a password in a secret file");
        assert!(!format!("{:?}", settings.systems).contains("secret"));
    }

    #[test]
    fn what_is_wrong_with_a_connector_of_another_kind_is_told_with_its_line() {
        let rows = [
            (CSV, "format = \"csv\"", "format = \"xlsx\"", "connectors[1].format", 4),
            (CSV, "folder = \"drop\"", "folder = \"nowhere\"", "connectors[1].folder", 5),
            (CSV, "people*.csv", "../people.csv", "connectors[1].sets[0].complete", 8),
            (CSV, "anchor = \"id\"", "anker = \"id\"", "connectors[1].sets[0].anchor", 7),
            (CSV, "manager:user", "manager", "connectors[1].sets[0].references", 11),
            (SQL, "sqlite:hr.db", "mysql://h/d", "connectors[1].url", 4),
            (SQL, "sqlite:hr.db", "sqlite:no.db", "connectors[1].url", 4),
            (SQL, "sqlite:hr.db", "postgres://a:b@h/d", "connectors[1].url", 4),
            (SQL, "sqlite:hr.db", "postgres://a@h/d?sslmode=disable", "connectors[1].url", 4),
            (SQL, "anchor = [\"id\"]", "anchor = []", "connectors[1].types[0].anchor", 9),
            (SQL, "key = [\"person\"]", "key = []", "connectors[1].types[0].values[0].key", 13),
            (SCIM, "https://app", "http://app", "connectors[1].url", 4),
            (SCIM, "\"app\"", "\"corp\"", "connectors", 17),
            (SCIM, "\"app\"", "\"tenant\"", "connectors", 17),
            (SCIM, "kind = \"scim\"", "kind = \"soap\"", "connectors[1].kind", 2),
        ];
        let base = GOOD.matches('\n').count() + 2;
        for (text, from, to, key, line) in rows {
            let dir = tempfile::tempdir().expect("a folder");
            let problems = load(&with_system(dir.path(), &text.replace(from, to))).expect_err(to).0;
            let expected = if key == "connectors" { line } else { base - 1 + line };
            assert!(
                problems.iter().any(|problem| problem.key == key && problem.line == expected),
                "{to}: {key} at {expected}: {problems:#?}"
            );
            assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
        }
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_and_one_that_its_group_can_is_pointed_out() {
        for (file, key) in [("bind-password", "connectors[0].bind_password_file"), ("key.pem", "gateway.private_key")] {
            for mode in [0o644, 0o604, 0o660, 0o602] {
                let dir = tempfile::tempdir().expect("a folder");
                let path = write(dir.path(), GOOD);
                set_mode(&dir.path().join(file), mode);
                let problems = load(&path).expect_err("too open").0;
                assert_eq!(problems.len(), 1, "{problems:#?}");
                assert_eq!((problems[0].key.as_str(), problems[0].what.contains("open to others")), (key, true));
                assert!(problems[0].remedy.contains("chmod 600"), "{}", problems[0].remedy);
            }
            let dir = tempfile::tempdir().expect("a folder");
            let path = write(dir.path(), GOOD);
            set_mode(&dir.path().join(file), 0o640);
            let warnings = load(&path).expect("valid").warnings;
            assert!(warnings.iter().any(|warning| warning.contains(file)), "{warnings:?}");
            set_mode(&dir.path().join(file), 0o400);
            assert_eq!(load(&path).expect("valid").warnings.len(), 1);
        }
    }

    #[test]
    fn a_connector_reached_by_agents_needs_a_place_for_them_to_connect_to() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = GOOD.replace("name = \"corp\"", "name = \"corp\"\nreach = \"agents\"");
        let problems = load(&write(dir.path(), &text)).expect_err("invalid").0;
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["connectors"]);
        let section = "\n[agents]\nlisten = \"127.0.0.1:8444\"\nurl = \"https://node1.example.org:8444\"\n";
        load(&write(dir.path(), &(text + section))).expect("valid");
    }

    #[test]
    fn broken_syntax_is_told_with_its_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let problems = load(&write(dir.path(), "[gateway]\nlisten = \n")).expect_err("invalid").0;
        assert_eq!(problems[0].line, 2);
    }
}
