//! An agent as an operator runs it: a settings file, `landbridge agent enrol`, `landbridge agent run`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::gateway::{Gateway, binary};
use super::lan::Machine;
use super::process::{Process, Signal, make_private, output, temp_dir};
use super::samba::{SYNC_ACCOUNT, SYNC_PASSWORD, Samba};
use super::slapd::{SUFFIX, Slapd};
use super::wait::wait_until;

const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// An enrolled machine; dropping it ends its agent.
pub struct Agent {
    process: Option<Process>,
    machine: Option<Machine>,
    dir: tempfile::TempDir,
    pub id: String,
}

/// The settings file of an agent at `slapd`, in `dir`.
pub fn settings(dir: &Path, connector: &str, slapd: &Slapd) -> PathBuf {
    settings_with(dir, connector, slapd, "", "")
}

/// The same with further lines for the agent and for the connector.
pub fn settings_with(dir: &Path, connector: &str, slapd: &Slapd, agent_lines: &str, connector_lines: &str) -> PathBuf {
    let secret = dir.join("bind.secret");
    std::fs::write(&secret, slapd.service_password()).expect("a secret file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("own file");
    let text = format!(
        "[agent]\nstate = \"state\"\n{agent_lines}\n[connector]\nname = \"{connector}\"\ndialect = \"openldap\"\nservers = [\"{}\"]\n\
         ca_file = \"{}\"\nbind_dn = \"{}\"\nbind_password_file = \"bind.secret\"\nbases = [\"{SUFFIX}\"]\n\
         bind_deadline = \"5s\"\nconnect_deadline = \"3s\"\n{connector_lines}\n",
        slapd.ldaps_url(),
        slapd.ca_file().display(),
        slapd.service_dn(),
    );
    let path = dir.join("agent.toml");
    std::fs::write(&path, text).expect("a settings file");
    path
}

/// The settings file of an agent beside a Samba domain, with further lines for the agent, in `dir`.
pub fn settings_beside_samba(dir: &Path, connector: &str, samba: &Samba, agent_lines: &str) {
    let secret = dir.join("bind.secret");
    std::fs::write(&secret, SYNC_PASSWORD).expect("a secret file");
    make_private(&secret);
    let text = format!(
        "[agent]\nstate = \"state\"\n{agent_lines}\n[connector]\nname = \"{connector}\"\ndialect = \"ad\"\n\
         servers = [\"ldaps://{}\"]\nca_file = \"{}\"\nbind_dn = \"{}\"\nbind_password_file = \"bind.secret\"\n\
         bases = [\"{}\"]\nreplication_account = \"{SYNC_ACCOUNT}\"\nreplication_domain = \"{}\"\nbind_deadline = \"5s\"\n",
        samba.address,
        samba.ca_file().display(),
        samba.sync_account_name(),
        samba.base(),
        samba.forest.netbios,
    );
    std::fs::write(dir.join("agent.toml"), text).expect("a settings file");
}

impl Agent {
    /// A machine enrolled at `gateway` by a new token.
    #[track_caller]
    pub fn enrol(gateway: &Gateway, connector: &str, slapd: &Slapd) -> Self {
        Self::enrol_with(gateway, connector, slapd, "", "")
    }

    /// The same with further lines of settings for the agent and for the connector.
    #[track_caller]
    pub fn enrol_with(
        gateway: &Gateway,
        connector: &str,
        slapd: &Slapd,
        agent_lines: &str,
        connector_lines: &str,
    ) -> Self {
        Self::enrol_as(gateway, connector, |dir| {
            drop(settings_with(dir, connector, slapd, agent_lines, connector_lines))
        })
    }

    /// A machine with settings that `write` puts into its folder, as `agent.toml`.
    #[track_caller]
    pub fn enrol_as(gateway: &Gateway, connector: &str, write: impl FnOnce(&Path)) -> Self {
        Self::enrol_at(None, gateway, connector, write)
    }

    /// The same on a machine of its own, if there is one.
    #[track_caller]
    pub fn enrol_at(machine: Option<Machine>, gateway: &Gateway, connector: &str, write: impl FnOnce(&Path)) -> Self {
        let dir = temp_dir("agent");
        write(dir.path());
        let token = gateway.cli(&["agents", "token", "--connector", connector]);
        let mut agent = Self { process: None, machine, dir, id: String::new() };
        let enrolled = agent.try_enrol(token["token"].as_str().expect("a token")).expect("enrolled");
        agent.id = enrolled["agent"].as_str().expect("an id").to_owned();
        agent
    }

    /// Enrols by `token`; what the command printed, as JSON when it succeeded.
    pub fn try_enrol(&self, token: &str) -> Result<Value, String> {
        let mut child = self
            .command(&["agent", "enrol"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        child.stdin.take().expect("piped").write_all(token.as_bytes()).expect("the command reads");
        let output = child.wait_with_output().expect("own child can be awaited");
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let program = std::env::var_os("LANDBRIDGE_AGENT_BINARY").map_or_else(binary, PathBuf::from);
        let mut command =
            self.machine.as_ref().map_or_else(|| Command::new(&program), |machine| machine.command(&program));
        command.arg("--config").arg(self.dir.path().join("agent.toml")).arg("--json").args(args);
        command
    }

    /// Where its settings are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A further setting of its connector.
    pub fn add_setting(&self, line: &str) {
        let file = self.dir.path().join("agent.toml");
        let settings = std::fs::read_to_string(&file).expect("settings");
        std::fs::write(&file, format!("{settings}{line}\n")).expect("a settings file");
    }

    /// Starts the agent; it may not be connected yet.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the agent runs");
        let mut command = self.command(&["agent", "run"]);
        command.env("LANDBRIDGE_LOG", "info");
        let log = self.dir.path().join("agent.log");
        self.process = Some(Process::spawn(&mut command, &log, Signal::Terminate, Some(self.dir.path())));
    }

    /// Starts the agent and waits until `gateway` lists it as connected.
    #[track_caller]
    pub fn connect(&mut self, gateway: &Gateway) {
        self.start();
        wait_until("the agent to connect", CONNECT_DEADLINE, || {
            assert!(self.process.as_mut().is_some_and(Process::is_running), "the agent ended:\n{}", self.log());
            (self.state(gateway) == "connected").then_some(())
        });
    }

    /// As `landbridge agents list` tells it.
    #[track_caller]
    pub fn state(&self, gateway: &Gateway) -> String {
        let agents = gateway.cli(&["agents", "list"]);
        let agents = agents.as_array().expect("a list");
        let mine = agents.iter().find(|agent| agent["id"] == self.id.as_str()).expect("listed");
        mine["state"].as_str().expect("a state").to_owned()
    }

    /// What `landbridge agent status` tells on the machine.
    #[track_caller]
    pub fn status(&self) -> Value {
        let output = output(&self.command(&["agent", "status"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Ends the agent with `signal`.
    pub fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.end(signal);
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the agent runs").signal(signal);
    }

    /// The machine that it was given.
    pub fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("a machine of its own")
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("agent.log")).unwrap_or_default()).into_owned()
    }

    pub fn state_folder(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The pid of the agent.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the agent runs").id()
    }

    /// Resident memory, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("agent {}:\n{}", self.id, self.log());
        }
    }
}
