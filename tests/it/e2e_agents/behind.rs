//! A directory of which the gateway has neither address nor password: agents read it, write to it and check passwords there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::site::CONNECTOR;
use crate::support::agent::{Agent, settings_beside_samba};
use crate::support::directory::{ALPHA, Directory, People};
use crate::support::gateway::Gateway;
use crate::support::passwords::write_leaked_list;
use crate::support::ports::free_port;
use crate::support::process::Signal;
use crate::support::samba::{CORP, SYNC_PASSWORD, Samba};
use crate::support::slapd::Slapd;
use crate::support::visitor::{Outcome, Visitor};
use crate::support::wait::wait_until;

const IMPORTS: &str = "carries = [\"import\"]";
const ALL_READS: &str = "carries = [\"import\", \"passwords\"]";
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    agents: Vec<Agent>,
    gateway: Gateway,
    slapd: Slapd,
    directory: Directory,
}

impl Site {
    /// A gateway with active rules that has read nothing yet, and `agents` connected machines.
    fn open(people: usize, agents: usize) -> Self {
        let mut directory = People { people, groups: 2, ..People::default() }.generate();
        for person in &mut directory.people {
            person.upn = format!("{}@{ALPHA}", person.uid);
        }
        let slapd = Slapd::builder().directory(&directory).lockout_after(0).start();
        let port = free_port();
        let section = format!(
            "[agents]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\nacknowledgement = \"1s\"\n\
             [failover]\ngood_probes = 2\nprobe_interval = \"300ms\"\n"
        );
        let lines = "bind_deadline = \"5s\"\npage_size = 10\npassword_sync = true";
        let gateway = Gateway::builder().agents_only(CONNECTOR, &[ALPHA], lines).section(&section).start();
        gateway.cli(&["domain", "add", ALPHA]);
        gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        let enrol = |_| Agent::enrol_with(&gateway, CONNECTOR, &slapd, IMPORTS, "");
        let mut machines: Vec<Agent> = (0..agents).map(enrol).collect();
        machines.iter_mut().for_each(|agent| agent.connect(&gateway));
        Self { agents: machines, gateway, slapd, directory }
    }

    #[track_caller]
    fn completes(&self, profile: &str) -> Value {
        completes(&self.gateway, profile)
    }

    /// The names that people sign in by.
    fn users(&self) -> BTreeSet<String> {
        let users = self.gateway.cli(&["user", "list"]);
        let name = |user: &Value| user["upn"].as_str().expect("a name").to_owned();
        users.as_array().expect("users").iter().map(name).collect()
    }

    fn everybody(&self) -> BTreeSet<String> {
        self.directory.people.iter().map(|person| person.upn.clone()).collect()
    }

    /// Which agent has work of the engine now.
    fn serving(&self) -> usize {
        wait_until("an agent to be at work", PATIENCE, || {
            let listed = self.gateway.cli(&["agents", "list"]);
            let listed = listed.as_array().expect("a list");
            let busy = listed.iter().find(|agent| agent["exchanges"].as_u64().expect("a number") > 0)?;
            self.agents.iter().position(|agent| busy["id"] == agent.id.as_str())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_directory_that_agents_alone_reach_arrive_and_sign_in() {
    let (site, visitor) = tokio::task::block_in_place(|| {
        let mut site = Site::open(40, 0);
        let settings = std::fs::read_to_string(site.gateway.settings_file()).expect("the settings");
        assert!(!settings.contains(&site.slapd.ldaps_url()) && !settings.contains(&site.slapd.service_dn()));
        // Nobody is there to read it: a clear error, and nothing else.
        let (told, _) = site.gateway.cli_told(&["sync", "run", "--profile", "full"]);
        assert!(told.to_string().contains("no agent of connector corp is connected"), "{told:#}");

        // An agent that only checks passwords is named with what is to be done.
        let mut quiet = Agent::enrol(&site.gateway, CONNECTOR, &site.slapd);
        quiet.connect(&site.gateway);
        let (told, _) = site.gateway.cli_told(&["sync", "run", "--profile", "full"]);
        assert!(told.to_string().contains("do not say `import` under `carries`"), "{told:#}");

        let mut agent = Agent::enrol_with(&site.gateway, CONNECTOR, &site.slapd, ALL_READS, "");
        agent.connect(&site.gateway);
        let listed = site.gateway.cli(&["agents", "list"]);
        let listed = listed.as_array().expect("a list");
        let carries = |id: &str| listed.iter().find(|agent| agent["id"] == id).expect("listed")["carries"].clone();
        assert_eq!(carries(&agent.id), serde_json::json!(["import", "passwords"]));
        assert_eq!(carries(&quiet.id), serde_json::json!([]));
        site.agents = vec![quiet, agent];

        site.completes("full");
        assert_eq!(site.users(), site.everybody());
        let ada = &site.directory.people[0];
        site.slapd.replace(&ada.dn, "cn", "Ada of the branch office");
        let gone = site.directory.people.pop().expect("people");
        site.slapd.ldapmodify(&format!("dn: {}\nchangetype: delete\n", gone.dn));
        site.completes("delta");
        assert_eq!(site.users(), site.everybody(), "a deletion is told by the delta");
        let shown = site.gateway.cli(&["user", "show", &site.directory.people[0].upn]);
        assert!(shown.to_string().contains("Ada of the branch office"), "{shown:#}");
        let preview = site.gateway.cli(&["sync", "preview"]);
        assert!(preview.is_object(), "{preview}");

        site.gateway.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);
        let visitor = Visitor::register(&site.gateway);
        (site, visitor)
    });
    let bob = &site.directory.people[1];
    let outcome = visitor.sign_in(&bob.upn, &bob.password).await;
    assert!(matches!(outcome, Outcome::Signed(_)), "{outcome:?}\n{}", site.gateway.log());
    visitor.sign_in(&bob.upn, "wrong").await.refused();

    // The same people by their hashes, which no agent is needed for once they are stored.
    tokio::task::block_in_place(|| {
        let pass = site.gateway.cli(&["password-sync", "run"]);
        assert!(pass[0]["error"].is_null(), "{pass:#}");
        let again = site.gateway.cli(&["password-sync", "run"]);
        assert_eq!(again[0]["report"]["stored"], 0, "a repeated pass finds nothing: {again:#}");
        site.gateway.cli(&["domain", "set-method", ALPHA, "phs", "--force"]);
    });
    let outcome = visitor.sign_in(&bob.upn, &bob.password).await;
    assert!(matches!(outcome, Outcome::Signed(_)), "{outcome:?}\n{}", site.gateway.log());
    visitor.sign_in(&bob.upn, "wrong").await.refused();
    tokio::task::block_in_place(|| {
        let secret = site.slapd.service_password();
        let logs: String = site.agents.iter().map(Agent::log).chain([site.gateway.log()]).collect();
        assert!(!logs.contains(secret) && !logs.contains(&bob.password), "no secret is logged");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_while_it_reads_is_followed_by_another_and_nobody_is_lost() {
    tokio::task::block_in_place(|| {
        let mut site = Site::open(60, 2);
        site.completes("full");
        assert_eq!(site.users(), site.everybody());
        for profile in ["full", "delta"] {
            let ada = &site.directory.people[0];
            site.slapd.replace(&ada.dn, "cn", &format!("Ada by a {profile} import"));
            site.slapd.freeze();
            let operator = site.gateway.operator();
            let run = std::thread::spawn(move || {
                let output =
                    operator.command(&["sync", "run", "--profile", profile]).output().expect("the command runs");
                String::from_utf8_lossy(&output.stdout).into_owned()
            });
            let victim = site.serving();
            site.agents[victim].end(Signal::Kill);
            let other = site.serving();
            assert_ne!(other, victim, "the other agent took over");
            site.slapd.thaw();
            let told = run.join().expect("the run ends");
            let told: Value = serde_json::from_str(&told).expect("JSON");
            assert_eq!(told["run"]["outcome"], "completed", "{told:#}\n{}", site.gateway.log());
            assert_eq!(site.users(), site.everybody());
            let shown = site.gateway.cli(&["user", "show", &site.directory.people[0].upn]);
            assert!(shown.to_string().contains(&format!("Ada by a {profile} import")), "{shown:#}");
            let gateway = &site.gateway;
            site.agents[victim].connect(gateway);
        }
    });
}

/// A domain controller that an agent alone reaches, whose six users have arrived.
struct BehindSamba {
    agent: Agent,
    gateway: Gateway,
    samba: Samba,
}

impl BehindSamba {
    /// With further sections of the gateway's settings.
    fn open(sections: &str) -> Self {
        let samba = Samba::start(CORP, &["get-changes", "get-changes-all", "deleted-objects"]);
        samba.add_users("user", &(0..6).map(password).collect::<Vec<_>>());
        let port = free_port();
        let section = format!(
            "[agents]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n\
             [[connectors]]\nname = \"{CONNECTOR}\"\nreach = \"agents-only\"\ndialect = \"ad\"\ndomains = [\"{}\"]\n\
             bases = [\"OU=Staff,{}\"]\ndelta = \"dirsync\"\npassword_sync = true\n{sections}",
            CORP.realm,
            samba.base(),
        );
        let gateway = Gateway::builder().section(&section).hardening("sealed").start();
        gateway.cli(&["domain", "add", CORP.realm]);
        gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        let mut agent =
            Agent::enrol_as(&gateway, CONNECTOR, |dir| settings_beside_samba(dir, CONNECTOR, &samba, ALL_READS));
        agent.connect(&gateway);
        completes(&gateway, "full");
        Self { agent, gateway, samba }
    }
}

#[track_caller]
fn completes(gateway: &Gateway, profile: &str) -> Value {
    let answer = gateway.cli(&["sync", "run", "--profile", profile]);
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
    answer
}

fn password(user: usize) -> String {
    format!("Start-{user}-Pässwörd!")
}

fn upn(user: usize) -> String {
    format!("user{user}@{}", CORP.realm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_directory_that_agents_alone_reach_brings_people_by_dir_sync_and_hashes_by_replication() {
    let (samba, gateway, agent, visitor) = tokio::task::block_in_place(|| {
        let BehindSamba { samba, gateway, agent } = BehindSamba::open("");
        samba.replace("user1", "displayName", "Renamed by a delta");
        completes(&gateway, "delta");
        let shown = gateway.cli(&["user", "show", &format!("user1@{}", CORP.realm)]);
        assert!(shown.to_string().contains("Renamed by a delta"), "{shown:#}");
        gateway.cli(&["password-sync", "run"]);
        gateway.cli(&["domain", "set-method", CORP.realm, "phs", "--force"]);
        let visitor = Visitor::register(&gateway);
        (samba, gateway, agent, visitor)
    });
    let outcome = visitor.sign_in(&upn(0), &password(0)).await;
    assert!(matches!(outcome, Outcome::Signed(_)), "{outcome:?}\n{}\n{}", gateway.log(), agent.log());
    tokio::task::block_in_place(|| {
        samba.set_passwords([("user2", "Changed-2-Pässwörd!")]);
        let pass = gateway.cli(&["password-sync", "run"]);
        assert_eq!(pass[0]["report"]["stored"], 1, "the one that changed: {pass:#}");
        let raw = &samba.stored_hashes()["user3"];
        let logs = (gateway.log() + &agent.log()).to_ascii_lowercase();
        assert!(!logs.contains(&raw.to_ascii_lowercase()) && !logs.contains(SYNC_PASSWORD), "no secret is logged");
    });
    visitor.sign_in(&upn(2), &password(2)).await.refused();
    let outcome = visitor.sign_in(&upn(2), "Changed-2-Pässwörd!").await;
    assert!(matches!(outcome, Outcome::Signed(_)), "{outcome:?}\n{}", gateway.log());
}

/// What a list in the agent's folder says of the directory's passwords.
struct Listed {
    behind: BehindSamba,
    file: PathBuf,
}

impl Listed {
    fn write(&self, passwords: &[(&str, u64)]) {
        write_leaked_list(&self.file, passwords);
    }

    /// Whose password is found to be listed after a pass, and how often it was met.
    fn found(&self, full: bool) -> Vec<String> {
        let pass: &[&str] = if full { &["password-sync", "run", "--full"] } else { &["password-sync", "run"] };
        self.behind.gateway.cli(pass);
        let listed = self.behind.gateway.cli(&["password-sync", "leaked"]);
        let text = |user: &Value, key: &str| user[key].as_str().expect("a text").to_owned();
        let of_user = |user: &Value| format!("{} {}", text(user, "upn"), text(user, "met"));
        let mut found: Vec<_> = listed.as_array().expect("users").iter().map(of_user).collect();
        found.sort();
        found
    }

    fn error(&self) -> String {
        let status = self.behind.gateway.cli(&["password-sync", "status"]);
        assert_eq!(status["connectors"][0]["error"], Value::Null, "hashes arrive all the same");
        status["connectors"][0]["leaked_error"].as_str().unwrap_or("none").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaked_passwords_are_found_by_the_agent_that_reads_the_hashes() {
    let (listed, visitor) = tokio::task::block_in_place(|| {
        let behind = BehindSamba::open("[leaked_passwords]\npolicy = \"refuse\"\n");
        behind.gateway.cli(&["domain", "set-method", CORP.realm, "phs", "--force"]);
        let visitor = Visitor::register(&behind.gateway);
        let file = behind.agent.folder().join("ntlm.txt");
        (Listed { behind, file }, visitor)
    });
    let mut listed = tokio::task::block_in_place(move || {
        let mut listed = listed;
        assert_eq!(listed.found(false), Vec::<String>::new());
        assert!(listed.error().contains("has no list of leaked passwords"), "{}", listed.error());
        assert_eq!(listed.found(false), Vec::<String>::new());
        assert!(listed.error().contains("has no list"), "a pass that meets no hash tells it, too: {}", listed.error());

        listed.behind.agent.end(Signal::Terminate);
        listed.write(&[(&password(1), 1), (&password(2), 40_000), ("Listed-Since-3!", 12)]);
        listed.behind.agent.add_setting("leaked_passwords = \"ntlm.txt\"");
        listed.behind.agent.connect(&listed.behind.gateway);
        assert_eq!(listed.found(true), [format!("{} 1", upn(1)), format!("{} 1000+", upn(2))]);
        assert_eq!(listed.error(), "none");
        listed
    });
    visitor.sign_in(&upn(2), "a wrong one").await.refused();
    let outcome = visitor.sign_in(&upn(2), &password(2)).await;
    assert!(matches!(outcome, Outcome::MustChange), "{outcome:?}");
    let outcome = visitor.sign_in(&upn(0), &password(0)).await;
    assert!(matches!(outcome, Outcome::Signed(_)), "{outcome:?}");
    tokio::task::block_in_place(move || {
        let samba = &listed.behind.samba;
        samba.set_passwords([("user2", "Nowhere-Listed-2!"), ("user3", "Listed-Since-3!")]);
        assert_eq!(listed.found(false), [format!("{} 1", upn(1)), format!("{} 10-99", upn(3))]);
        // Another list takes the place of the first.
        listed.write(&[(&password(4), 3)]);
        assert_eq!(listed.found(true), [format!("{} 2-9", upn(4))]);

        std::fs::write(&listed.file, "this is no list\n").expect("a file");
        samba.set_passwords([("user5", "While-It-Is-Broken-5!")]);
        for _ in 0..2 {
            assert_eq!(listed.found(false), [format!("{} 2-9", upn(4))], "what was found stays");
            assert!(listed.error().contains("32 hexadecimal digits"), "{}", listed.error());
        }
        listed.behind.agent.end(Signal::Terminate);
    });
}

/// What is raised about the connector's agents.
fn missing(gateway: &Gateway) -> Option<String> {
    let status = gateway.cli(&["failover", "status"]);
    let alerts = status["alerts"].as_array().expect("a list");
    let alert = alerts.iter().find(|alert| alert["name"] == "agents-missing")?;
    assert_eq!(alert["subject"], CONNECTOR, "{alert:#}");
    Some(alert["detail"].as_str().expect("a text").to_owned())
}

#[test]
fn people_are_told_when_no_agent_reaches_a_directory_and_when_one_does_again() {
    let mut site = Site::open(2, 0);
    let nobody = wait_until("the alert", PATIENCE, || missing(&site.gateway));
    assert!(nobody.contains("no agent of connector corp is connected"), "{nobody}");
    // It imports, and the connector is to have hashes too.
    let mut half = Agent::enrol_with(&site.gateway, CONNECTOR, &site.slapd, IMPORTS, "");
    half.connect(&site.gateway);
    let mut whole = Agent::enrol_with(&site.gateway, CONNECTOR, &site.slapd, ALL_READS, "");
    assert!(missing(&site.gateway).is_some());
    whole.connect(&site.gateway);
    wait_until("the alert to be cleared", PATIENCE, || missing(&site.gateway).is_none().then_some(()));
    whole.end(Signal::Kill);
    let lacking = wait_until("the alert", PATIENCE, || missing(&site.gateway));
    assert!(lacking.contains("do not say `passwords` under `carries`"), "{lacking}");
    site.agents = vec![half, whole];
}
