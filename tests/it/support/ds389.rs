//! 389 Directory Server with retro change log and content synchronisation, without systemd and without its installer: the
//! files of an instance are made from the package's own templates, which takes a second instead of fifteen.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::passwords::ssha;
use super::pki::Pki;
use super::ports::free_port;
use super::process::{Process, Signal, is_root, run, temp_dir};
use super::wait::wait_until;

pub const SUFFIX: &str = "dc=ds,dc=example";

const PROGRAM: &str = "ns-slapd";
const TEMPLATES: &str = "/usr/share/dirsrv/data";
const MANAGER: &str = "cn=Directory Manager";
const MANAGER_PASSWORD: &str = "Manager-1!";
const SERVICE_PASSWORD: &str = "Service-account-1!";
const TOKEN_PASSWORD: &str = "token-password";
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Settings of a directory that is not running yet.
pub struct Builder {
    ldif: String,
    content_sync: bool,
    referential_integrity: bool,
}

/// A running server, or one that was stopped and can be started again with its data and ports.
pub struct Ds389 {
    process: Option<Process>,
    port: u16,
    tls_port: u16,
    pki: Pki,
    runs: u32,
    // Last, so that the folder goes after the process.
    dir: tempfile::TempDir,
}

impl Builder {
    /// Adds entries below [`SUFFIX`], which exists.
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif += ldif;
        self.ldif += "\n";
        self
    }

    /// Leaves the retro change log as the only way to learn of changes.
    pub fn without_content_sync(mut self) -> Self {
        self.content_sync = false;
        self
    }

    /// Group members follow renames, and deleted ones are taken out.
    pub fn referential_integrity(mut self) -> Self {
        self.referential_integrity = true;
        self
    }

    pub fn start(self) -> Ds389 {
        let dir = temp_dir("ds389");
        let d = dir.path();
        for folder in ["config/schema", "lock", "tmp", "ldif", "bak", "run", "inst", "log", "db"] {
            fs::create_dir_all(d.join(folder)).expect("own folder");
        }
        let (port, tls_port) = (free_port(), free_port());
        let pki = Pki::new(&d.join("tls"));
        key_database(d, &pki);
        for entry in fs::read_dir("/etc/dirsrv/config").expect("389-ds-base is installed") {
            let entry = entry.expect("a file");
            fs::copy(entry.path(), d.join("config").join(entry.file_name())).expect("a copy");
        }
        fs::copy("/etc/dirsrv/schema/99user.ldif", d.join("config/schema/99user.ldif")).expect("a copy");
        fs::write(d.join("config/dse.ldif"), self.configuration(d, port, tls_port)).expect("dse.ldif");
        fs::write(d.join("ldif/base.ldif"), base_ldif() + &self.ldif).expect("LDIF file");
        if is_root() {
            run(Command::new("chown").args(["-R", "dirsrv:dirsrv"]).arg(d));
        }
        run(Command::new(PROGRAM)
            .args(["ldif2db", "-n", "userRoot", "-D"])
            .arg(d.join("config"))
            .arg("-i")
            .arg(d.join("ldif/base.ldif")));
        let mut server = Ds389 { process: None, port, tls_port, pki, runs: 0, dir };
        server.start();
        // Nobody but the manager reads the change log unless told.
        let aci = format!(
            "(targetattr=\"*\")(version 3.0; acl \"sync\"; allow(read,search,compare) userdn=\"ldap:///{}\";)",
            server.service_dn()
        );
        server.ldapmodify(&format!("dn: cn=changelog\nchangetype: modify\nadd: aci\naci: {aci}\n"));
        server
    }

    fn configuration(&self, d: &Path, port: u16, tls_port: u16) -> String {
        let read = |name: &str| fs::read_to_string(Path::new(TEMPLATES).join(name)).expect("389-ds-base is installed");
        let suffix_entries: String =
            read("template-suffix-db.ldif").lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let mut text = format!("{}\n\n{}\n", read("template-dse.ldif").trim_end(), suffix_entries.trim());
        let user = if is_root() { "dirsrv".to_owned() } else { run(Command::new("id").arg("-un")).trim().to_owned() };
        let folder = d.display().to_string();
        let at = |name: &str| format!("{folder}/{name}");
        let values = [
            ("schema_dir", at("config/schema")),
            ("lock_dir", at("lock")),
            ("tmp_dir", at("tmp")),
            ("cert_dir", at("config")),
            ("config_dir", at("config")),
            ("ldif_dir", at("ldif")),
            ("bak_dir", at("bak")),
            ("run_dir", at("run")),
            ("inst_dir", at("inst")),
            ("log_dir", at("log")),
            ("db_home_dir", at("db")),
            ("db_dir", at("db")),
            ("db_lib", "bdb".to_owned()),
            ("fqdn", "localhost".to_owned()),
            ("ds_port", port.to_string()),
            ("ds_user", user),
            ("rootdn", MANAGER.to_owned()),
            ("ds_passwd", ssha(MANAGER_PASSWORD, b"managersalt")),
            ("ldapi_enabled", "off".to_owned()),
            ("ldapi_autobind", "off".to_owned()),
            ("ldapi", at("run/ldapi")),
            ("ds_suffix", SUFFIX.to_owned()),
            ("ds_bename", "userRoot".to_owned()),
            ("instance_name", "test".to_owned()),
        ];
        for (key, value) in values {
            text = text.replace(&format!("%{key}%"), &value);
        }
        switch_on(&mut text, "Retro Changelog Plugin", "\nnsslapd-attribute: nsuniqueid:targetUniqueId");
        if self.content_sync {
            switch_on(&mut text, "Content Synchronization", "");
        }
        if self.referential_integrity {
            switch_on(&mut text, "referential integrity postoperation", "");
        }
        text.replacen(
            "nsslapd-rootdn:",
            &format!(
                "nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\nnsslapd-security: on\n\
                 nsslapd-secureport: {tls_port}\nnsslapd-rootdn:"
            ),
            1,
        )
    }
}

impl Ds389 {
    pub fn builder() -> Builder {
        Builder { ldif: String::new(), content_sync: true, referential_integrity: false }
    }

    pub fn ldaps_url(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    pub fn ca_file(&self) -> PathBuf {
        self.pki.ca_file()
    }

    /// Whom the server lets do everything.
    pub fn manager_dn(&self) -> &'static str {
        MANAGER
    }

    pub fn manager_password(&self) -> &'static str {
        MANAGER_PASSWORD
    }

    pub fn service_dn(&self) -> String {
        format!("cn=sync,{SUFFIX}")
    }

    pub fn service_password(&self) -> &'static str {
        SERVICE_PASSWORD
    }

    /// Starts the server, the first time or again after [`Ds389::stop`], and returns when it answers.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        self.runs += 1;
        let log = self.dir.path().join(format!("ns-slapd-{}.log", self.runs));
        let mut command = Command::new(PROGRAM);
        command.arg("-D").arg(self.dir.path().join("config")).arg("-i").arg(self.dir.path().join("run/pid"));
        command.args(["-d", "0"]);
        let mut process = Process::spawn(&mut command, &log, Signal::Kill, Some(self.dir.path()));
        wait_until("ns-slapd to listen", START_DEADLINE, || {
            assert!(process.is_running(), "ns-slapd ended: {}", process.log());
            TcpStream::connect(("127.0.0.1", self.tls_port)).ok()
        });
        self.process = Some(process);
        wait_until("ns-slapd to answer", START_DEADLINE, || {
            let mut search = self.client("ldapsearch");
            let search = search.args(["-b", "", "-s", "base"]).stdin(Stdio::null());
            let status = search.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("ldap-utils is installed");
            status.success().then_some(())
        });
    }

    /// Kills the server at once (SIGKILL).
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Kill);
        }
    }

    /// Keeps a copy of the data of a stopped server.
    pub fn save(&self) {
        assert!(self.process.is_none(), "the server is running");
        let (db, saved) = (self.dir.path().join("db"), self.dir.path().join("saved"));
        run(Command::new("cp").arg("-a").arg(db).arg(saved));
    }

    /// Puts the copy of [`Self::save`] back into a stopped server.
    pub fn restore(&self) {
        assert!(self.process.is_none(), "the server is running");
        let (db, saved) = (self.dir.path().join("db"), self.dir.path().join("saved"));
        fs::remove_dir_all(&db).expect("own folder");
        run(Command::new("cp").arg("-a").arg(saved).arg(db));
    }

    /// Applies change records (RFC 2849) as the directory's manager.
    #[track_caller]
    pub fn ldapmodify(&self, ldif: &str) {
        let mut child = self
            .client("ldapmodify")
            .args(["-D", MANAGER, "-w", MANAGER_PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify is installed");
        child.stdin.take().expect("piped").write_all(ldif.as_bytes()).expect("ldapmodify reads");
        let output = child.wait_with_output().expect("own child can be awaited");
        assert!(output.status.success(), "ldapmodify: {}\n{ldif}", String::from_utf8_lossy(&output.stderr));
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LDAPNOINIT", "1").args(["-x", "-H", &format!("ldap://127.0.0.1:{}", self.port)]);
        command
    }
}

/// The certificate and its key in the form that the server reads.
fn key_database(d: &Path, pki: &Pki) {
    let cert = pki.server("ds389", &[]);
    let config = d.join("config");
    let (password, bundle) = (config.join("pwdfile.txt"), d.join("tls/server.p12"));
    fs::write(&password, format!("{TOKEN_PASSWORD}\n")).expect("a file");
    fs::write(config.join("pin.txt"), format!("Internal (Software) Token:{TOKEN_PASSWORD}\n")).expect("a file");
    run(Command::new("certutil").arg("-N").arg("-d").arg(&config).arg("-f").arg(&password));
    run(Command::new("openssl")
        .args(["pkcs12", "-export", "-name", "Server-Cert", "-passout", "pass:x", "-inkey"])
        .arg(&cert.key_file)
        .arg("-in")
        .arg(&cert.cert_file)
        .arg("-out")
        .arg(&bundle));
    run(Command::new("pk12util")
        .arg("-i")
        .arg(&bundle)
        .arg("-d")
        .arg(&config)
        .arg("-k")
        .arg(&password)
        .args(["-W", "x"]));
}

fn switch_on(text: &mut String, plugin: &str, more: &str) {
    const OFF: &str = "nsslapd-pluginenabled: off";
    let entry = text.find(&format!("cn: {plugin}\n")).expect("a plugin of the template");
    let at = entry + text[entry..].find(OFF).expect("it is off");
    text.replace_range(at..at + OFF.len(), &format!("nsslapd-pluginenabled: on{more}"));
}

fn base_ldif() -> String {
    format!(
        "dn: {SUFFIX}
objectClass: top
objectClass: domain
dc: ds
aci: (targetattr=\"*\")(version 3.0; acl \"sync\"; allow(read,search,compare) userdn=\"ldap:///cn=sync,{SUFFIX}\";)

dn: cn=sync,{SUFFIX}
objectClass: person
cn: sync
sn: sync
userPassword: {}

",
        ssha(SERVICE_PASSWORD, b"servicesalt")
    )
}
