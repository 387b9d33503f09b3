//! One PostgreSQL server per test binary, with a new database for each test that asks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::pki::{Pki, ServerCert};
use super::ports::free_port;
use super::process::{Process, Signal, give_to_unprivileged, run, temp_dir, unprivileged};
use super::wait::wait_until;

const BINARIES: &str = "/usr/lib/postgresql";
const START_DEADLINE: Duration = Duration::from_secs(30);
/// A log of 128 MB instead of a gigabyte: nothing is ever restored from it or replicated.
const LITTLE_DISK: [&str; 3] = ["wal_level=minimal", "max_wal_senders=0", "max_wal_size=128MB"];

/// The shared server. It lives in a static, which is never dropped: the process's watchdog ends it and removes its folder.
pub struct Postgres {
    port: u16,
    databases: AtomicU32,
    process: Option<Process>,
    dir: tempfile::TempDir,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Clients are cut off, what they had begun is rolled back.
    Fast,
    /// At once, without a last checkpoint: the next start recovers.
    Immediate,
}

static SHARED: OnceLock<Postgres> = OnceLock::new();

impl Postgres {
    /// The shared server, started by the first who asks.
    pub fn start() -> &'static Self {
        SHARED.get_or_init(|| Self::launch(None))
    }

    /// A server of its own, which a test may end and start again.
    pub fn alone() -> Self {
        Self::launch(None)
    }

    /// Ends the server.
    pub fn end(&mut self, how: End) {
        let mut process = self.process.take().expect("the server runs");
        process.end(match how {
            End::Fast => Signal::Interrupt,
            End::Immediate => Signal::Quit,
        });
    }

    /// Starts the server that was ended.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        self.process = Some(serve(self.dir.path(), self.port, None));
    }

    /// A server of its own that offers TLS, with a certificate of `pki` for this machine.
    pub fn with_tls(pki: &Pki) -> Self {
        Self::launch(Some(&pki.server("postgres", &[])))
    }

    /// The URL of a new, empty database.
    pub fn fresh_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(self.psql("postgres").args(["-c", &format!("CREATE DATABASE {name}")]));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs one statement on a database made by [`Postgres::fresh_database`] and returns psql's unaligned answer.
    pub fn query(&self, url: &str, sql: &str) -> String {
        let name = url.rsplit('/').next().expect("a URL ends in the database's name");
        run(self.psql(name).args(["-c", sql])).trim().to_owned()
    }

    fn launch(tls: Option<&ServerCert>) -> Self {
        let owned = temp_dir("postgres");
        let dir = owned.path();
        if let Some(cert) = tls {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::copy(&cert.cert_file, dir.join("server.pem")).expect("a certificate");
            std::fs::copy(&cert.key_file, dir.join("server.key")).expect("a key");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(dir.join("server.key"), private).expect("a private key");
        }
        give_to_unprivileged(dir);
        let (data, port) = (dir.join("data"), free_port());
        run(unprivileged(program("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]));
        let process = serve(dir, port, tls);
        Self { port, databases: AtomicU32::new(0), process: Some(process), dir: owned }
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-U", "postgres", "-d", database]);
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        command
    }
}

/// Runs a server over the data of `dir` and waits until it takes connections.
fn serve(dir: &Path, port: u16, tls: Option<&ServerCert>) -> Process {
    let mut command = unprivileged(program("postgres"));
    command.arg("-D").arg(dir.join("data")).arg("-k").arg(dir).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    for setting in ["max_connections=200", "fsync=off", "full_page_writes=off"].into_iter().chain(LITTLE_DISK) {
        command.args(["-c", setting]);
    }
    if tls.is_some() {
        let (cert, key) = (dir.join("server.pem"), dir.join("server.key"));
        for setting in
            ["ssl=on", &format!("ssl_cert_file={}", cert.display()), &format!("ssl_key_file={}", key.display())]
        {
            command.args(["-c", setting]);
        }
    }
    let log = dir.join("server.log");
    // SIGQUIT is PostgreSQL's immediate shutdown; SIGKILL would leave its shared memory segment behind.
    let mut process = Process::spawn(&mut command, &log, Signal::Quit, Some(dir));
    wait_until("PostgreSQL to accept connections", START_DEADLINE, || {
        assert!(process.is_running(), "postgres ended: {}", process.log());
        let ready =
            unprivileged(program("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status();
        ready.is_ok_and(|status| status.success()).then_some(())
    });
    process
}

/// A program of the newest PostgreSQL that is installed; Debian keeps the server's programs off the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir(BINARIES).expect("PostgreSQL's server is installed");
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let binary = path.join("bin").join(name);
            binary.exists().then_some((version, binary))
        })
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL's server is installed").1
}
