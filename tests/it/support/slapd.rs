//! OpenLDAP's slapd with the overlays that matter to sign-in and sync: memberof, refint, ppolicy, syncprov, retcode.
//!
//! Anonymous clients may bind and read the root DSE, nothing else. The service account reads everything including
//! password values; people read everything but passwords. Plain LDAP, StartTLS and LDAPS are served.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use landbridge::identity::DistinguishedName;

use super::directory::Directory;
use super::passwords::ssha;
use super::pki::{Pki, ServerCert};
use super::ports::free_port;
use super::process::{Process, Signal, run, temp_dir};
use super::wait::wait_until;

pub const SUFFIX: &str = "dc=ldap,dc=example";
/// A policy whose passwords expire after a day; set `pwdPolicySubentry` of a person to this DN.
pub const EXPIRING_POLICY: &str = "cn=expiring,ou=policies,dc=ldap,dc=example";

/// What [`Slapd::bind`] returns when no answer came; no LDAP result code has this value.
pub const NO_ANSWER: i32 = 124;
/// What [`Slapd::bind`] returns when no connection could be made.
pub const NO_CONNECTION: i32 = 255;

const PROGRAM: &str = "/usr/sbin/slapd";
const SLAPADD: &str = "/usr/sbin/slapadd";
const SCRIPTED_ACCESS: &str = "access to attrs=entry,objectClass,errCode,errOp,errSleepTime by * read";
const SCHEMA: &str = include_str!("../../data/slapd/test.schema");
const SERVICE_PASSWORD: &str = "Service-account-1!";
const ADMIN_PASSWORD: &str = "admin";
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Writes LDIF.
type Entries = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()>>;

/// Settings of a directory that is not running yet.
pub struct Builder {
    ldif: String,
    entries: Option<Entries>,
    lockout_after: u32,
    extra_conf: String,
    scripted: bool,
    access_log: Option<String>,
    cert_names: Option<Vec<String>>,
    address: Option<String>,
}

/// A running slapd, or one that was stopped and can be started again with its data and ports.
pub struct Slapd {
    process: Option<Process>,
    port: u16,
    tls_port: u16,
    /// Where LDAPS is served besides loopback.
    address: Option<String>,
    pki: Pki,
    earlier_logs: String,
    runs: u32,
    // Last, so that the folder goes after the process.
    dir: tempfile::TempDir,
}

impl Builder {
    /// Adds entries below [`SUFFIX`]; `ou=people` and `ou=groups` exist.
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif += ldif;
        self.ldif += "\n";
        self
    }

    /// Adds entries after all others as they are written, for sets that no memory should hold.
    pub fn entries(mut self, entries: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'static) -> Self {
        self.entries = Some(Box::new(entries));
        self
    }

    pub fn directory(self, directory: &Directory) -> Self {
        self.ldif(&directory.ldif())
    }

    /// Failures after which the default password policy locks an account for ten minutes. Default 10.
    pub fn lockout_after(mut self, failures: u32) -> Self {
        self.lockout_after = failures;
        self
    }

    /// Lines for the end of slapd.conf, within the database section.
    pub fn conf(mut self, lines: &str) -> Self {
        self.extra_conf += lines;
        self.extra_conf += "\n";
        self
    }

    /// Allows [`Slapd::answer_bind`]. The overlay looks each entry up as the binding client, so anonymous clients may then
    /// learn which entries exist.
    pub fn scripted_answers(mut self) -> Self {
        self.scripted = true;
        self.conf(&format!("overlay retcode\nretcode-parent ou=retcodes,{SUFFIX}\nretcode-indir"))
    }

    /// Logs every write in `cn=accesslog` and keeps the records as `logpurge` says: an age and an interval.
    pub fn access_log(mut self, purge: &str) -> Self {
        self.access_log = Some(purge.to_owned());
        self
    }

    /// Serves a certificate for exactly these names, to test refusal of a wrong one.
    pub fn certificate_for(mut self, names: &[&str]) -> Self {
        self.cert_names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Serves LDAPS at this address too, and is called by it.
    pub fn at(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    pub fn start(mut self) -> Slapd {
        let dir = temp_dir("slapd");
        // The log lies within, so that it is saved and restored with the data.
        std::fs::create_dir_all(dir.path().join("db/log")).expect("database folders");
        let pki = Pki::new(&dir.path().join("tls"));
        let cert = match &self.cert_names {
            Some(names) => pki.server_exactly("slapd", &names.iter().map(String::as_str).collect::<Vec<_>>()),
            None => pki.server("slapd", &self.address.as_deref().into_iter().collect::<Vec<_>>()),
        };
        std::fs::write(dir.path().join("test.schema"), SCHEMA).expect("schema file");
        std::fs::write(dir.path().join("slapd.conf"), self.slapd_conf(&dir, &pki, &cert)).expect("slapd.conf");
        let entries = self.entries.take();
        slapadd(dir.path(), |input| {
            input.write_all(base_ldif(self.lockout_after).as_bytes())?;
            input.write_all(self.ldif.as_bytes())?;
            entries.map_or(Ok(()), |entries| entries(input))
        });
        let mut slapd = Slapd {
            process: None,
            port: free_port(),
            tls_port: free_port(),
            address: self.address.take(),
            pki,
            earlier_logs: String::new(),
            runs: 0,
            dir,
        };
        slapd.start();
        slapd
    }

    fn slapd_conf(&self, dir: &tempfile::TempDir, pki: &Pki, cert: &ServerCert) -> String {
        let d = dir.path().display();
        let (cert_file, key_file) = (cert.cert_file.display(), cert.key_file.display());
        let mut conf = String::new();
        for schema in ["core", "cosine", "inetorgperson", "nis"] {
            writeln!(conf, "include /etc/ldap/schema/{schema}.schema").expect("text");
        }
        let modules = [
            "back_mdb",
            "accesslog",
            "memberof",
            "refint",
            "ppolicy",
            "syncprov",
            "retcode",
            "pw-sha2",
            "pw-pbkdf2",
            "argon2",
        ];
        writeln!(conf, "include {d}/test.schema\npidfile {d}/slapd.pid\nargsfile {d}/slapd.args").expect("text");
        writeln!(conf, "modulepath /usr/lib/ldap").expect("text");
        for module in modules {
            writeln!(conf, "moduleload {module}").expect("text");
        }
        conf + &format!(
            "loglevel stats
sizelimit unlimited
password-hash {{SSHA}}
TLSCertificateFile {cert_file}
TLSCertificateKeyFile {key_file}
TLSCACertificateFile {ca}

database mdb
suffix {SUFFIX}
rootdn cn=admin,{SUFFIX}
rootpw {ADMIN_PASSWORD}
directory {d}/db
maxsize 8589934592
dbnosync
index objectClass,entryUUID,entryCSN eq
index uid,mail,userPrincipalName,employeeNumber,cn,sn,member eq
{scripted_access}
access to attrs=userPassword,sambaNTPassword by dn.exact=cn=sync,{SUFFIX} read by self write by anonymous auth by * none
access to * by dn.exact=cn=sync,{SUFFIX} read by self write by users read by anonymous auth by * none
limits dn.exact=cn=sync,{SUFFIX} time=unlimited size=unlimited
overlay memberof
overlay refint
refint_attributes member memberOf
overlay ppolicy
ppolicy_default cn=default,ou=policies,{SUFFIX}
ppolicy_use_lockout
ppolicy_hash_cleartext
overlay syncprov
syncprov-checkpoint 100 10
syncprov-sessionlog 10000
{extra}{access_log}",
            ca = pki.ca_file().display(),
            scripted_access = if self.scripted { SCRIPTED_ACCESS } else { "" },
            extra = self.extra_conf,
            access_log = self.access_log.as_ref().map(|purge| access_log(purge, &d)).unwrap_or_default(),
        )
    }
}

impl Slapd {
    pub fn builder() -> Builder {
        Builder {
            ldif: String::new(),
            entries: None,
            lockout_after: 10,
            extra_conf: String::new(),
            scripted: false,
            access_log: None,
            cert_names: None,
            address: None,
        }
    }

    /// Plain LDAP; StartTLS works on it.
    pub fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    pub fn ldaps_url(&self) -> String {
        format!("ldaps://{}:{}", self.address.as_deref().unwrap_or("localhost"), self.tls_port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ca_file(&self) -> PathBuf {
        self.pki.ca_file()
    }

    pub fn people_base(&self) -> String {
        format!("ou=people,{SUFFIX}")
    }

    /// An account that reads everything, password values included.
    pub fn service_dn(&self) -> String {
        format!("cn=sync,{SUFFIX}")
    }

    pub fn service_password(&self) -> &'static str {
        SERVICE_PASSWORD
    }

    /// An account that may write everything.
    pub fn admin_dn(&self) -> String {
        format!("cn=admin,{SUFFIX}")
    }

    pub fn admin_password(&self) -> &'static str {
        ADMIN_PASSWORD
    }

    /// Starts the server, the first time or again after [`Slapd::stop`], and returns when it answers.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "slapd is running");
        self.runs += 1;
        let log = self.dir.path().join(format!("slapd-{}.log", self.runs));
        let mut listeners = format!("ldap://127.0.0.1:{} ldaps://127.0.0.1:{}", self.port, self.tls_port);
        if self.address.is_some() {
            listeners += " ";
            listeners += &self.ldaps_url();
        }
        let mut command = Command::new(PROGRAM);
        command.arg("-f").arg(self.dir.path().join("slapd.conf")).args(["-d", "stats", "-h", &listeners]);
        let mut process = Process::spawn(&mut command, &log, Signal::Kill, Some(self.dir.path()));
        wait_until("slapd to listen", START_DEADLINE, || {
            assert!(process.is_running(), "slapd ended: {}", process.log());
            TcpStream::connect(("127.0.0.1", self.tls_port)).ok()
        });
        self.process = Some(process);
        run(self.client("ldapsearch").args(["-b", "", "-s", "base"]));
    }

    /// Kills the server at once (SIGKILL). Connections break and new ones are refused.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Kill);
            self.earlier_logs += &process.log();
        }
    }

    /// Ends the server in order (SIGTERM).
    pub fn shut_down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Terminate);
            self.earlier_logs += &process.log();
        }
    }

    /// Keeps a copy of the data of a stopped server.
    pub fn save(&self) {
        assert!(self.process.is_none(), "slapd is running");
        run(Command::new("cp").arg("-a").arg(self.dir.path().join("db")).arg(self.dir.path().join("saved")));
    }

    /// Puts the copy of [`Self::save`] back into a stopped server.
    pub fn restore(&self) {
        assert!(self.process.is_none(), "slapd is running");
        let db = self.dir.path().join("db");
        std::fs::remove_dir_all(&db).expect("own folder");
        run(Command::new("cp").arg("-a").arg(self.dir.path().join("saved")).arg(db));
    }

    /// Puts the data of [`Self::save`] back into a stopped server, and leaves its access log as it is.
    pub fn restore_data_alone(&self) {
        assert!(self.process.is_none(), "slapd is running");
        for file in ["data.mdb", "lock.mdb"] {
            let saved = self.dir.path().join("saved").join(file);
            run(Command::new("cp").arg(saved).arg(self.dir.path().join("db").join(file)));
        }
    }

    /// Adds to the schema of a stopped server.
    pub fn extend_schema(&self, definitions: &str) {
        assert!(self.process.is_none(), "slapd is running");
        std::fs::write(self.dir.path().join("test.schema"), format!("{SCHEMA}\n{definitions}\n")).expect("own file");
    }

    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Stops the server from answering (SIGSTOP): connections stay open and new ones are accepted by the kernel.
    pub fn freeze(&self) {
        self.running().signal(Signal::Stop);
    }

    pub fn thaw(&self) {
        self.running().signal(Signal::Continue);
    }

    /// The LDAP result code of a simple bind with ldap-utils; [`NO_ANSWER`] after two seconds of silence.
    pub fn bind(&self, dn: &str, password: &str) -> i32 {
        let mut command = Command::new("timeout");
        command.args(["2", "ldapwhoami", "-D", dn, "-w", password]);
        let status =
            self.connection(&mut command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.expect("timeout is installed").code().expect("no signal was sent")
    }

    /// Applies change records (RFC 2849) as the directory's administrator.
    #[track_caller]
    pub fn ldapmodify(&self, ldif: &str) {
        self.modify_with(&[], ldif);
    }

    #[track_caller]
    fn modify_with(&self, options: &[&str], ldif: &str) {
        let mut child = self
            .client("ldapmodify")
            .args(options)
            .args(["-D", &format!("cn=admin,{SUFFIX}"), "-w", ADMIN_PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify is installed");
        child.stdin.take().expect("piped").write_all(ldif.as_bytes()).expect("ldapmodify reads");
        let output = child.wait_with_output().expect("own child can be awaited");
        assert!(output.status.success(), "ldapmodify: {}\n{ldif}", String::from_utf8_lossy(&output.stderr));
    }

    /// Replaces one attribute of one entry.
    #[track_caller]
    pub fn replace(&self, dn: &str, attribute: &str, value: &str) {
        let change = super::directory::line("dn", dn) + &format!("changetype: modify\nreplace: {attribute}\n");
        self.ldapmodify(&(change + &super::directory::line(attribute, value)));
    }

    /// A person changes their own password (RFC 3062), which an administrator's change would mark as due for change.
    #[track_caller]
    pub fn change_own_password(&self, dn: &str, old: &str, new: &str) {
        run(self.client("ldappasswd").args(["-D", dn, "-w", old, "-a", old, "-s", new]));
    }

    /// Puts a person under [`EXPIRING_POLICY`] with a password that is years old.
    pub fn expire_password(&self, dn: &str) {
        self.replace(dn, "pwdPolicySubentry", EXPIRING_POLICY);
        let head = super::directory::line("dn", dn);
        // The attribute is the server's own; the Relax Rules control lets the administrator set it.
        self.modify_with(
            &["-e", "relax"],
            &format!("{head}changetype: modify\nreplace: pwdChangedTime\npwdChangedTime: 20200101000000Z\n"),
        );
    }

    /// From now on a bind as `dn` is answered with this result code, after a delay that holds up nobody else. The entry
    /// stays what it was. Needs [`Builder::scripted_answers`]. With result 0 the password is checked as ever, after the delay.
    pub fn answer_bind(&self, dn: &str, result: i32, delay: Duration) {
        let head = super::directory::line("dn", dn);
        self.ldapmodify(&format!(
            "{head}changetype: modify\nadd: objectClass\nobjectClass: errAuxObject\n-\nadd: errCode\nerrCode: {result}\n-\n\
             add: errOp\nerrOp: bind\n-\nadd: errSleepTime\nerrSleepTime: {}\n",
            delay.as_secs()
        ));
    }

    /// The entries below `base` of an object class, read as administrator: lines of LDIF, `dn` first, the others sorted.
    #[track_caller]
    pub fn entries(&self, base: &str, class: &str, attributes: &[&str]) -> Vec<Vec<String>> {
        let admin = format!("cn=admin,{SUFFIX}");
        let text = run(self
            .client("ldapsearch")
            .args(["-LLL", "-o", "ldif-wrap=no", "-D", &admin, "-w", ADMIN_PASSWORD])
            .args(["-b", base, "-s", "sub", &format!("(objectClass={class})")])
            .args(attributes));
        let entry = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[1..].sort();
            lines
        };
        text.split("\n\n").map(str::trim).filter(|entry| !entry.is_empty()).map(entry).collect()
    }

    /// The values of one attribute, read as administrator; values outside ASCII come as ldapsearch's base64.
    #[track_caller]
    pub fn values(&self, dn: &str, attribute: &str) -> Vec<String> {
        let admin = format!("cn=admin,{SUFFIX}");
        let text = run(self
            .client("ldapsearch")
            .args(["-LLL", "-o", "ldif-wrap=no", "-D", &admin, "-w", ADMIN_PASSWORD])
            .args(["-b", dn, "-s", "base", attribute]));
        let prefix = format!("{attribute}:");
        text.lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(|value| value.trim_matches([':', ' ']).to_owned())
            .collect()
    }

    /// Simple bind requests over all runs of this server, without anonymous ones and the administrator's.
    pub fn bind_count(&self) -> usize {
        self.binds(|dn| !dn.is_empty() && !dn.starts_with("cn=admin,"))
    }

    /// Bind requests for one DN, however its characters are written.
    pub fn bind_count_of(&self, wanted: &str) -> usize {
        let folded = |dn: &str| dn.parse::<DistinguishedName>().map(|name| name.folded());
        let wanted = folded(wanted).expect("a DN");
        self.binds(|dn| folded(dn).is_ok_and(|dn| dn == wanted))
    }

    fn binds(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let log = self.log();
        log.lines()
            .filter(|line| line.contains(" BIND dn=") && line.contains(" method=128"))
            .filter_map(|line| line.split(" BIND dn=\"").nth(1)?.split("\" method=").next())
            .filter(|dn| wanted(dn))
            .count()
    }

    /// The statistics log over all runs of this server.
    pub fn log(&self) -> String {
        let mut log = self.earlier_logs.clone();
        if let Some(process) = &self.process {
            log += &process.log();
        }
        log
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("slapd was started")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.connection(&mut command);
        command
    }

    fn connection<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LDAPNOINIT", "1").args(["-x", "-H", &format!("ldap://127.0.0.1:{}", self.port)])
    }
}

/// The overlay of the database before it, and the database of the log.
fn access_log(purge: &str, dir: &std::path::Display<'_>) -> String {
    format!(
        "overlay accesslog
logdb cn=accesslog
logops writes
logsuccess TRUE
logpurge {purge}

database mdb
suffix cn=accesslog
rootdn cn=admin,{SUFFIX}
directory {dir}/db/log
dbnosync
index reqStart,reqResult,reqType eq
access to * by dn.exact=cn=sync,{SUFFIX} read by * none
limits dn.exact=cn=sync,{SUFFIX} time=unlimited size=unlimited
"
    )
}

/// Fills the database of the folder's slapd.conf.
fn slapadd(dir: &Path, entries: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let log = dir.join("slapadd.log");
    let mut command = Command::new(SLAPADD);
    command.args(["-q", "-b", SUFFIX, "-f"]).arg(dir.join("slapd.conf"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("a log file"));
    let mut child = command.spawn().expect("slapd is installed");
    let mut input = BufWriter::new(child.stdin.take().expect("piped"));
    let written = entries(&mut input).and_then(|()| input.flush());
    drop(input);
    let status = child.wait().expect("own child can be awaited");
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success() && written.is_ok(), "slapadd: {status}, {written:?}\n{log}");
}

fn base_ldif(lockout_after: u32) -> String {
    let service = ssha(SERVICE_PASSWORD, b"servicesalt");
    format!(
        "dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: ldap
dc: ldap

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{SUFFIX}
objectClass: organizationalUnit
ou: groups

dn: ou=policies,{SUFFIX}
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,{SUFFIX}
objectClass: person
objectClass: pwdPolicy
sn: default
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: {lockout_after}
pwdLockoutDuration: 600
pwdFailureCountInterval: 600
pwdMaxAge: 0
pwdMustChange: TRUE

dn: {EXPIRING_POLICY}
objectClass: person
objectClass: pwdPolicy
sn: expiring
cn: expiring
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: {lockout_after}
pwdLockoutDuration: 600
pwdMaxAge: 86400
pwdGraceAuthNLimit: 0
pwdMustChange: TRUE

dn: cn=sync,{SUFFIX}
objectClass: person
sn: sync
cn: sync
userPassword: {service}

"
    )
}
