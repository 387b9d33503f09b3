//! A mail server (aiosmtpd) that takes mail after STARTTLS and sign-in alone.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::pki::Pki;
use super::ports::free_port;
use super::process::{Process, Signal, make_private, temp_dir};
use super::wait::wait_until;

const PYTHON: &str = "/usr/bin/python3";
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mail/server.py");
const START_DEADLINE: Duration = Duration::from_secs(30);
const USER: &str = "gateway";
const PASSWORD: &str = "mail-password-of-the-tests";

pub struct MailServer {
    port: u16,
    pki: Pki,
    _process: Process,
    dir: tempfile::TempDir,
}

impl MailServer {
    pub fn start() -> Self {
        let dir = temp_dir("mail");
        let pki = Pki::new(&dir.path().join("pki"));
        let cert = pki.server("mail", &[]);
        std::fs::write(dir.path().join("password"), PASSWORD).expect("a password file");
        make_private(&dir.path().join("password"));
        let port = free_port();
        let mut command = Command::new(PYTHON);
        command.arg(SERVER).arg(port.to_string()).arg(&cert.cert_file).arg(&cert.key_file);
        command.args([USER, PASSWORD]).arg(dir.path());
        let mut process =
            Process::spawn(&mut command, &dir.path().join("mail.log"), Signal::Terminate, Some(dir.path()));
        wait_until("the mail server to listen", START_DEADLINE, || {
            assert!(process.is_running(), "the mail server ended: {}", process.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { port, pki, _process: process, dir }
    }

    /// The lines of a channel that sends to `to`.
    pub fn settings(&self, name: &str, to: &str) -> String {
        format!(
            "[[alerts]]\nname = \"{name}\"\nkind = \"mail\"\nhost = \"localhost\"\nport = {}\nuser = \"{USER}\"\n\
             password_file = \"{}\"\nfrom = \"landbridge@example.org\"\nto = [\"{to}\"]\nca_file = \"{}\"\n",
            self.port,
            self.password_file().display(),
            self.pki.ca_file().display(),
        )
    }

    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// The messages that came, oldest first, with the envelope in a first line.
    pub fn messages(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.dir.path()).expect("own folder").map(|entry| entry.expect("a file").path());
        let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "mail")).collect();
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).expect("a message")).collect()
    }
}
