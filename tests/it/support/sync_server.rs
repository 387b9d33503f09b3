//! A sync server as an operator runs it: a settings file, `landbridge sync-server enrol`, `landbridge sync-server run`, and
//! the command line beside it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::gateway::{Gateway, binary};
use super::process::{Process, Signal, make_private, output, run, temp_dir};
use super::slapd::{SUFFIX, Slapd};
use super::wait::wait_until;

const START_DEADLINE: Duration = Duration::from_secs(60);

/// An enrolled machine; dropping it ends its process.
pub struct SyncServer {
    dir: tempfile::TempDir,
    process: Option<Process>,
    pub id: String,
}

impl SyncServer {
    /// A machine beside `slapd`, enrolled at `gateway` for `connector` by a new token.
    #[track_caller]
    pub fn enrol(gateway: &Gateway, connector: &str, slapd: &Slapd, domains: &[&str]) -> Self {
        let dir = temp_dir("sync-server");
        let secret = dir.path().join("bind.secret");
        std::fs::write(&secret, slapd.service_password()).expect("a secret file");
        make_private(&secret);
        let text = format!(
            "[sync_server]\nstate = \"state\"\n\n[store]\nurl = \"sqlite:data\"\nkey_ring = \"key-ring\"\n\n\
             [admin]\nsocket = \"admin.sock\"\nprincipals = [{{ name = \"tester\", uid = {}, role = \"owner\" }}]\n\n\
             [sync]\nrules = \"{}\"\nscheduled = false\n\n\
             [[connectors]]\nname = \"{connector}\"\ndialect = \"openldap\"\nservers = [\"{}\"]\nca_file = \"{}\"\n\
             bind_dn = \"{}\"\nbind_password_file = \"bind.secret\"\ndomains = {domains:?}\nbases = [\"{SUFFIX}\"]\n",
            run(Command::new("id").arg("-u")).trim(),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules").display(),
            slapd.ldaps_url(),
            slapd.ca_file().display(),
            slapd.service_dn(),
        );
        std::fs::write(dir.path().join("sync-server.toml"), text).expect("a settings file");
        let token = gateway.cli(&["agents", "token", "--sync-server", "--connector", connector]);
        let file = dir.path().join("token");
        std::fs::write(&file, token["token"].as_str().expect("a token")).expect("a token file");
        let mut server = Self { dir, process: None, id: String::new() };
        let enrolled = server.cli(&["sync-server", "enrol", "--token-file", &file.display().to_string()]);
        server.id = enrolled["server"].as_str().expect("an id").to_owned();
        server
    }

    /// Starts the server and waits until its admin socket answers.
    #[track_caller]
    pub fn start(&mut self) {
        let mut command = self.command(&["sync-server", "run"]);
        command.env("LANDBRIDGE_LOG", "info,sqlx=warn");
        let log = self.dir.path().join("sync-server.log");
        let mut process = Process::spawn(&mut command, &log, Signal::Terminate, Some(self.dir.path()));
        let socket = self.dir.path().join("admin.sock");
        wait_until("the sync server to start", START_DEADLINE, || {
            assert!(process.is_running(), "the sync server ended at its start:\n{}", process.log());
            std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(())
        });
        self.process = Some(process);
    }

    /// Ends the server with `signal`.
    pub fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.end(signal);
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the sync server runs").signal(signal);
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("sync-server.log")).unwrap_or_default())
            .into_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--config").arg(self.dir.path().join("sync-server.toml")).arg("--json").args(args);
        command
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Value {
        let output = output(&self.command(args));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "landbridge {args:?}: {}\n{told}\n{}", output.status, self.log());
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Runs a command that must be refused, and returns what it said.
    #[track_caller]
    pub fn cli_refused(&self, args: &[&str]) -> String {
        let output = output(&self.command(args));
        assert_eq!(output.status.code(), Some(1), "landbridge {args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}
