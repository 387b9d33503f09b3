//! A SCIM 2.0 service (scim2-server) over TLS with a bearer token, which can be told to throttle, to fail and to lose
//! answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::pki::Pki;
use super::ports::free_port;
use super::process::{Process, Signal, temp_dir};
use super::wait::wait_until;

/// Where `scripts/test` puts the service.
const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../scim/bin/python");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/scim/server.py");
const START_DEADLINE: Duration = Duration::from_secs(60);
const TOKEN: &str = "t0ken-of-the-tests";

pub struct Scim {
    port: u16,
    pki: Pki,
    _process: Process,
    dir: tempfile::TempDir,
}

impl Scim {
    pub fn start() -> Self {
        assert!(Path::new(PYTHON).exists(), "{PYTHON} is missing: scripts/test installs scim2-server");
        let dir = temp_dir("scim");
        let pki = Pki::new(&dir.path().join("pki"));
        let cert = pki.server("scim", &[]);
        let control = dir.path().join("control");
        std::fs::write(&control, "").expect("a control file");
        std::fs::write(dir.path().join("token"), TOKEN).expect("a token file");
        super::process::make_private(&dir.path().join("token"));
        let port = free_port();
        let mut command = Command::new(PYTHON);
        command.arg(SERVER).arg(port.to_string()).arg(&cert.cert_file).arg(&cert.key_file).arg(TOKEN).arg(&control);
        let mut process =
            Process::spawn(&mut command, &dir.path().join("scim.log"), Signal::Terminate, Some(dir.path()));
        wait_until("the SCIM service to listen", START_DEADLINE, || {
            assert!(process.is_running(), "the SCIM service ended: {}", process.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())
        });
        Self { port, pki, _process: process, dir }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/v2", self.port)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.pki.ca_file()
    }

    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// A connector's lines in a settings file.
    pub fn settings(&self, name: &str) -> String {
        format!(
            "[[connectors]]\nkind = \"scim\"\nname = \"{name}\"\nurl = \"{}\"\ntoken_file = \"{}\"\nca_file = \"{}\"\n",
            self.url(),
            self.token_file().display(),
            self.ca_file().display()
        )
    }

    /// What becomes of the next requests: `throttle N`, `fail N`, `lose N`, `flood N`; see the server.
    pub fn tell(&self, what: &str) {
        std::fs::write(self.dir.path().join("control"), what).expect("a control file");
    }

    fn http(&self) -> reqwest::Client {
        landbridge::app::tls::install_provider();
        let ca = reqwest::Certificate::from_pem(self.pki.ca_pem().as_bytes()).expect("a certificate");
        reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(60))
            .tls_certs_only([ca])
            .build()
            .expect("a client")
    }

    /// An administrator of the service makes a resource.
    pub async fn make(&self, endpoint: &str, resource: &serde_json::Value) {
        let answer =
            self.http().post(format!("{}/{endpoint}", self.url())).bearer_auth(TOKEN).json(resource).send().await;
        let answer = answer.expect("an answer");
        assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap_or_default());
    }

    /// All resources of an endpoint, as an administrator of the service sees them.
    pub async fn resources(&self, endpoint: &str) -> Vec<serde_json::Value> {
        let url = format!("{}/{endpoint}?count=1000", self.url());
        let answer = self.http().get(url).bearer_auth(TOKEN).send().await.expect("an answer");
        let listed: serde_json::Value = answer.json().await.expect("JSON");
        listed["Resources"].as_array().cloned().unwrap_or_default()
    }
}
