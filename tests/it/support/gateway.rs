//! The product itself, as an operator runs it: a settings file, `landbridge init`, `landbridge serve`, and the command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::pki::Pki;
use super::ports::free_port;
use super::process::{PATIENCE, Process, Signal, make_private, output, output_within, run, temp_dir};
use super::samba::{SYNC_ACCOUNT, SYNC_PASSWORD, Samba};
use super::slapd::Slapd;
use super::wait::wait_until;

/// The gateway that was built with the tests, or another one that the environment names: benchmarks want the optimised one.
pub fn binary() -> PathBuf {
    std::env::var_os("LANDBRIDGE_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_landbridge").into(), PathBuf::from)
}

/// How long the gateway may take from its start to its first answer.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What differs between gateways of tests.
#[derive(Default)]
pub struct Builder {
    host: Option<String>,
    public_port: Option<u16>,
    store: Option<String>,
    hardening: Option<String>,
    sections: String,
    sync: String,
    connectors: String,
    secrets: Vec<(String, String)>,
    scheduled: bool,
    settle: String,
    rules: Vec<PathBuf>,
}

/// A gateway process; dropping it ends it.
pub struct Gateway {
    dir: tempfile::TempDir,
    pki: Arc<Pki>,
    host: String,
    /// Where this node listens.
    port: u16,
    /// The port of the public address: a balancer's, or the node's own.
    public_port: u16,
    process: Option<Process>,
    log_filter: &'static str,
    environment: Vec<(&'static str, String)>,
    patience: Duration,
}

/// The command line, on another thread than the gateway's guard.
#[derive(Clone)]
pub struct Operator {
    settings: PathBuf,
}

impl Operator {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--config").arg(&self.settings).arg("--json").args(args);
        command
    }

    /// What the command printed; `None` when it failed, for whatever reason.
    pub fn run(&self, args: &[&str]) -> Option<Value> {
        let output = output(&self.command(args));
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }
}

impl Builder {
    /// The host name of the public address; `localhost` when not given.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The port of the public address, where a balancer listens.
    pub fn public_port(mut self, port: u16) -> Self {
        self.public_port = Some(port);
        self
    }

    /// A store elsewhere than in the gateway's own folder.
    pub fn store(mut self, url: &str) -> Self {
        self.store = Some(url.to_owned());
        self
    }

    /// How stored hashes are kept: `argon2id` (the default) or `sealed`.
    pub fn hardening(mut self, hardening: &str) -> Self {
        self.hardening = Some(hardening.to_owned());
        self
    }

    /// Further sections of the settings file, such as `[failover]` with its keys.
    pub fn section(mut self, toml: &str) -> Self {
        self.sections.push_str(toml);
        self.sections.push('\n');
        self
    }

    /// A file of rules besides the shipped ones.
    pub fn rules(mut self, file: &Path) -> Self {
        self.rules.push(file.to_owned());
        self
    }

    /// Lines for `[gateway]`.
    pub fn gateway_line(mut self, line: &str) -> Self {
        self.settle.push_str(line);
        self.settle.push('\n');
        self
    }

    /// A line for `[sync]`.
    pub fn sync_line(mut self, line: &str) -> Self {
        self.sync.push_str(line);
        self.sync.push('\n');
        self
    }

    /// Lets engine and password channel run by themselves.
    pub fn scheduled(mut self) -> Self {
        self.scheduled = true;
        self
    }

    /// A connector to `slapd` with further lines of settings.
    pub fn slapd(mut self, name: &str, slapd: &Slapd, domains: &[&str], lines: &str) -> Self {
        let secret = format!("{name}.secret");
        self.connectors.push_str(&format!(
            "[[connectors]]\nname = \"{name}\"\ndialect = \"openldap\"\nservers = [\"{}\"]\nca_file = \"{}\"\n\
             bind_dn = \"{}\"\nbind_password_file = \"{secret}\"\ndomains = {domains:?}\nbases = [\"{}\"]\n{lines}\n",
            slapd.ldaps_url(),
            slapd.ca_file().display(),
            slapd.service_dn(),
            super::slapd::SUFFIX,
        ));
        self.secrets.push((secret, slapd.service_password().to_owned()));
        self
    }

    /// A connector to a directory like slapd's that agents alone reach, with further lines of settings.
    pub fn agents_only(mut self, name: &str, domains: &[&str], lines: &str) -> Self {
        self.connectors.push_str(&format!(
            "[[connectors]]\nname = \"{name}\"\ndialect = \"openldap\"\nreach = \"agents-only\"\n\
             domains = {domains:?}\nbases = [\"{}\"]\n{lines}\n",
            super::slapd::SUFFIX,
        ));
        self
    }

    /// A connector to Active Directory, for the domain that bears the forest's name; hashes come by replication.
    pub fn samba(mut self, name: &str, samba: &Samba) -> Self {
        let secret = format!("{name}.secret");
        self.connectors.push_str(&format!(
            "[[connectors]]\nname = \"{name}\"\ndialect = \"ad\"\nservers = [\"ldaps://{}\"]\nca_file = \"{}\"\n\
             bind_dn = \"{}\"\nbind_password_file = \"{secret}\"\ndomains = [\"{}\"]\nbases = [\"OU=Staff,{}\"]\n\
             replication_account = \"{SYNC_ACCOUNT}\"\nreplication_domain = \"{}\"\nbind_deadline = \"5s\"\n",
            samba.address,
            samba.ca_file().display(),
            samba.sync_account_name(),
            samba.forest.realm,
            samba.base(),
            samba.forest.netbios,
        ));
        self.secrets.push((secret, SYNC_PASSWORD.to_owned()));
        self
    }

    /// Further lines for the connector that was added last.
    pub fn connector_lines(mut self, toml: &str) -> Self {
        self.connectors.push_str(toml);
        self.connectors.push('\n');
        self
    }

    /// Writes the settings, initialises the installation and starts the gateway.
    pub fn start(self) -> Gateway {
        let mut gateway = self.prepare();
        gateway.start_again();
        gateway
    }

    /// Writes the settings and initialises the installation.
    pub fn prepare(self) -> Gateway {
        let dir = temp_dir("gateway");
        let host = self.host.unwrap_or_else(|| "localhost".to_owned());
        let port = free_port();
        let public_port = self.public_port.unwrap_or(port);
        let pki = Pki::new(&dir.path().join("pki"));
        let cert = pki.server("gateway", &[&host]);
        for (file, secret) in &self.secrets {
            std::fs::write(dir.path().join(file), secret).expect("a secret file");
            make_private(&dir.path().join(file));
        }
        make_private(&cert.key_file);
        let store = self.store.unwrap_or_else(|| "sqlite:data".to_owned());
        let hardening = self.hardening.map(|word| format!("hardening = \"{word}\"\n")).unwrap_or_default();
        let mut rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
        if !self.rules.is_empty() {
            let own = dir.path().join("rules");
            std::fs::create_dir(&own).expect("a folder");
            let shipped =
                std::fs::read_dir(&rules).expect("the shipped rules").map(|entry| entry.expect("a file").path());
            for file in shipped.chain(self.rules.iter().cloned()) {
                std::fs::copy(&file, own.join(file.file_name().expect("a name"))).expect("a rule file");
            }
            rules = own;
        }
        // Tests and benchmarks sign in from one address, as fast as they can.
        let unhurried = match self.sections.contains("[limits]") {
            true => "",
            false => "[limits]\nrequests_per_minute = 10000000\n\n",
        };
        let settings = format!(
            "[gateway]\nnode = \"node1\"\norganisation = \"Test organisation\"\npublic_url = \"https://{host}:{public_port}\"\n\
             listen = \"127.0.0.1:{port}\"\ncertificate = \"{}\"\nprivate_key = \"{}\"\n\
             initial_domain = \"initial.test\"\n{}\n[store]\nurl = \"{store}\"\nkey_ring = \"key-ring\"\n{hardening}\n\
             [admin]\nsocket = \"admin.sock\"\nprincipals = [{{ name = \"tester\", uid = {}, role = \"owner\" }}]\n\n\
             [sync]\nrules = \"{}\"\nscheduled = {}\n{}\n{}{}\n{}",
            cert.cert_file.display(),
            cert.key_file.display(),
            self.settle,
            run(Command::new("id").arg("-u")).trim(),
            rules.display(),
            self.scheduled,
            self.sync,
            unhurried,
            self.sections,
            self.connectors,
        );
        std::fs::write(dir.path().join("landbridge.toml"), settings).expect("a settings file");
        let pki = Arc::new(pki);
        let log_filter = "info,sqlx=warn";
        let patience = PATIENCE;
        let gateway =
            Gateway { dir, pki, host, port, public_port, process: None, log_filter, environment: vec![], patience };
        gateway.cli(&["init"]);
        gateway
    }
}

impl Gateway {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The public address, without a path.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.public_port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the public address: of a balancer, where there is one.
    pub fn public_port(&self) -> u16 {
        self.public_port
    }

    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub fn settings_file(&self) -> PathBuf {
        self.dir.path().join("landbridge.toml")
    }

    /// Another node over the same store and key ring, with the same settings.
    pub fn beside(&self, node: &str) -> Self {
        let mut beside = self.prepared_beside(node);
        beside.start_again();
        beside
    }

    /// The same, not started yet.
    pub fn prepared_beside(&self, node: &str) -> Self {
        let dir = temp_dir("gateway");
        let port = free_port();
        for entry in std::fs::read_dir(self.dir.path()).expect("the gateway's folder") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "secret") {
                let copy = dir.path().join(path.file_name().expect("a name"));
                std::fs::copy(&path, &copy).expect("a secret file");
                make_private(&copy);
            }
        }
        let text = std::fs::read_to_string(self.settings_file()).expect("the settings file");
        let text = text
            .replace("node = \"node1\"", &format!("node = \"{node}\""))
            .replace(&format!("listen = \"127.0.0.1:{}\"", self.port), &format!("listen = \"127.0.0.1:{port}\""))
            .replace("\"key-ring\"", &format!("\"{}\"", self.dir.path().join("key-ring").display()));
        std::fs::write(dir.path().join("landbridge.toml"), text).expect("a settings file");
        let (pki, host) = (self.pki.clone(), self.host.clone());
        let (public_port, log_filter, patience) = (self.public_port, self.log_filter, self.patience);
        Self { dir, pki, host, port, public_port, process: None, log_filter, environment: Vec::new(), patience }
    }

    /// Stops `serve` from running (SIGSTOP), as a machine does that hangs.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the gateway runs").signal(Signal::Stop);
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("the gateway runs").signal(Signal::Continue);
    }

    /// Stops `serve`, changes the settings file and starts `serve` again.
    pub fn reconfigure(&mut self, change: impl FnOnce(String) -> String) {
        self.stop();
        let file = self.settings_file();
        let text = std::fs::read_to_string(&file).expect("the settings file");
        std::fs::write(&file, change(text)).expect("the settings file");
        self.start_again();
    }

    /// What the log has from the next start on, as `LANDBRIDGE_LOG`.
    pub fn log_filter(&mut self, filter: &'static str) {
        self.log_filter = filter;
    }

    /// How long a command may take, where usual tests' patience is too short.
    pub fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What `serve` finds in its environment from the next start on.
    pub fn environment(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// The pid of `serve`.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the gateway runs").id()
    }

    /// Starts `serve` and waits until it is ready.
    pub fn start_again(&mut self) {
        let mut command = Command::new(binary());
        command.arg("--config").arg(self.settings_file()).arg("serve").env("LANDBRIDGE_LOG", self.log_filter);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process =
            Process::spawn(&mut command, &self.dir.path().join("serve.log"), Signal::Terminate, Some(self.dir.path()));
        let address = ("127.0.0.1", self.port);
        let socket = self.dir.path().join("admin.sock");
        wait_until("the gateway to listen", START_DEADLINE, || {
            assert!(process.is_running(), "the gateway ended at its start:\n{}", process.log());
            let admin = std::os::unix::net::UnixStream::connect(&socket).is_ok();
            (admin && std::net::TcpStream::connect(address).is_ok()).then_some(())
        });
        self.process = Some(process);
    }

    /// Ends `serve` at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Kill);
        }
    }

    /// Ends `serve` in order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Terminate);
        }
    }

    /// Ends `serve` in order, however long it takes to answer what it was asked.
    pub fn drain(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end_within(Signal::Terminate, Duration::from_secs(60));
        }
    }

    /// What `serve` has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("serve.log")).unwrap_or_default()).into_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.operator().command(args)
    }

    /// The command line of an operator who may find the gateway gone.
    pub fn operator(&self) -> Operator {
        Operator { settings: self.settings_file() }
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Value {
        let output = output_within(&self.command(args), self.patience);
        assert!(
            output.status.success(),
            "landbridge {args:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("landbridge {args:?} printed no JSON: {error}\n{text}"))
    }

    /// What a command printed, and whether it succeeded.
    #[track_caller]
    pub fn cli_told(&self, args: &[&str]) -> (Value, bool) {
        let output = output(&self.command(args));
        let told = serde_json::from_slice(&output.stdout);
        let told =
            told.unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
        (told, output.status.success())
    }

    /// Runs a command that must be refused (exit code 1), and returns the error that it printed.
    #[track_caller]
    pub fn cli_refused(&self, args: &[&str]) -> Value {
        let output = output(&self.command(args));
        assert_eq!(output.status.code(), Some(1), "landbridge {args:?}: {}", String::from_utf8_lossy(&output.stdout));
        let text = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str::<Value>(&text).map_or_else(|_| Value::String(text.into_owned()), |v| v["error"].clone())
    }

    /// The newest audit records, oldest first.
    #[track_caller]
    pub fn audit(&self, lines: u32) -> Vec<Value> {
        let records = self.cli(&["audit", "tail", "--lines", &lines.to_string()]);
        records.as_array().expect("a list of records").clone()
    }

    /// An HTTP client that trusts the gateway, keeps cookies and follows no redirect.
    pub fn http(&self) -> reqwest::Client {
        self.http_builder().cookie_store(true).build().expect("a client")
    }

    /// The same for many browsers at once, each of which keeps its own cookies.
    pub fn http_without_cookies(&self) -> reqwest::Client {
        self.http_builder().timeout(Duration::from_secs(30)).build().expect("a client")
    }

    /// A client before it is built, without a cookie store.
    pub fn http_builder(&self) -> reqwest::ClientBuilder {
        self.http_builder_at([127, 0, 0, 1])
    }

    /// A client whose way to the public address leads over another address of the loopback network.
    pub fn http_builder_at(&self, address: [u8; 4]) -> reqwest::ClientBuilder {
        landbridge::app::tls::install_provider();
        let ca = reqwest::Certificate::from_pem(self.pki.ca_pem().as_bytes()).expect("a certificate");
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .resolve(&self.host, (address, self.public_port).into())
    }
}
