//! A Samba domain controller: an Active Directory of its own for each test, on a loopback address of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::process::{Process, Signal, run, temp_dir};
use super::wait::wait_until;

/// On a machine with two busy cores.
const START_DEADLINE: Duration = Duration::from_secs(60);
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/");
/// Provisioned directories, which each test copies.
const TEMPLATES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../samba");
const IMPACKET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../impacket/bin/python");

/// As in the settings that `tests/samba/dc` writes.
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 49_152..=49_252;
/// TCP_ESTABLISHED of `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

static NEXT: AtomicU8 = AtomicU8::new(1);

/// A forest with one domain and one controller.
#[derive(Clone, Copy, Debug)]
pub struct Forest {
    pub realm: &'static str,
    pub netbios: &'static str,
    pub host: &'static str,
}

pub const CORP: Forest = Forest { realm: "corp.example", netbios: "CORP", host: "dc1" };

/// Another forest, which knows nothing of the first one.
pub const RES: Forest = Forest { realm: "res.example", netbios: "RES", host: "dc2" };

pub const SYNC_ACCOUNT: &str = "svc-sync";
pub const SYNC_PASSWORD: &str = "Sync-9-account!";

/// A running controller; dropping it ends it and removes its folder.
pub struct Samba {
    pub forest: Forest,
    pub address: Ipv4Addr,
    process: Option<Process>,
    dir: tempfile::TempDir,
    /// What the server's clock is shown as, from the next start on.
    clock: Option<&'static str>,
    /// Ports that it listens on when it runs.
    ports: &'static [u16],
}

const PORTS: &[u16] = &[135, 389, 636, 88];

impl Samba {
    /// Starts a fresh forest with [`SYNC_ACCOUNT`], which has these rights: `get-changes`, `get-changes-all`,
    /// `deleted-objects`.
    pub fn start(forest: Forest, rights: &[&str]) -> Self {
        Self::start_with(forest, rights, "")
    }

    /// The same with a line for the server's settings.
    pub fn start_with(forest: Forest, rights: &[&str], line: &str) -> Self {
        Self::start_at(free_address(), forest, rights, line)
    }

    /// The same on an address of this machine that nothing else uses.
    pub fn start_at(address: Ipv4Addr, forest: Forest, rights: &[&str], line: &str) -> Self {
        let mut samba = Self { forest, address, process: None, dir: temp_dir("samba"), clock: None, ports: PORTS };
        let address = samba.address.to_string();
        let mut command = Command::new(script("dc"));
        command.env("SAMBA_TEMPLATES", TEMPLATES).arg("new").arg(samba.dir.path());
        run(command.args([address.as_str(), forest.realm, forest.netbios, forest.host]));
        samba.change_settings(|text| text.replacen("[sysvol]", &format!("  {line}\n[sysvol]"), 1));
        samba.add_users("svc-sync", &[SYNC_PASSWORD.to_owned()]);
        samba.rename("svc-sync0", SYNC_ACCOUNT);
        samba.grant(SYNC_ACCOUNT, rights);
        samba.start_again();
        samba
    }

    /// A further controller of the same domain, which has what this one has now. Nothing that happens later is replicated
    /// between them.
    pub fn another(&self, host: &'static str) -> Self {
        let forest = Forest { host, ..self.forest };
        let mut another =
            Self { forest, address: free_address(), process: None, dir: temp_dir("samba"), clock: None, ports: PORTS };
        let (own, address) = (another.address.to_string(), self.address.to_string());
        let mut command = Command::new(script("dc"));
        command.arg("join").arg(another.dir.path()).args([own.as_str(), forest.realm, forest.netbios, forest.host]);
        run(command.arg(self.dir.path()).arg(address));
        another.start_again();
        another
    }

    fn change_settings(&self, change: impl FnOnce(String) -> String) {
        let settings = self.dir.path().join("etc/smb.conf");
        let text = std::fs::read_to_string(&settings).expect("the server's settings");
        std::fs::write(&settings, change(text)).expect("its settings");
    }

    /// Restarts the server with another line of settings in the place of `before`.
    pub fn reconfigure(&mut self, before: &str, after: &str) {
        self.stop();
        self.change_settings(|text| {
            assert!(text.contains(before), "{before} in {text}");
            text.replacen(before, after, 1)
        });
        let serves_calls = !after.starts_with("server services") || after.contains("rpc");
        self.ports = if serves_calls { PORTS } else { &[389, 636, 88] };
        self.start_again();
    }

    /// Restarts the server with a clock that is ahead, `+10m` for instance; `+0` is the right time.
    pub fn set_clock(&mut self, offset: &'static str) {
        self.stop();
        self.clock = (offset != "+0").then_some(offset);
        self.start_again();
    }

    /// Lets Kerberos know the server by its address, for clients that have no names to resolve.
    #[track_caller]
    pub fn know_by_address(&self) {
        let (host, base) = (self.forest.host.to_uppercase(), self.base());
        let change =
            format!("changetype: modify\nadd: servicePrincipalName\nservicePrincipalName: ldap/{}\n", self.address);
        self.ldif(&format!("dn: CN={host},OU=Domain Controllers,{base}\n{change}"));
    }

    /// Starts the server that was stopped.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "samba runs already");
        let log = self.dir.path().join("server.log");
        let mut command = Command::new(script("dc"));
        command.arg("run").arg(self.dir.path()).envs(self.clock.map(|offset| ("DC_CLOCK", offset)));
        let mut process = Process::spawn(&mut command, &log, Signal::Kill, Some(self.dir.path()));
        for port in self.ports {
            wait_until("samba to listen", START_DEADLINE, || {
                assert!(process.is_running(), "samba ended: {}", process.log());
                TcpStream::connect((self.address, *port)).ok()
            });
        }
        self.process = Some(process);
    }

    /// Kills the server at once. Connections break and new ones are refused.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::Kill);
            // The other processes of the group may hold their ports for a moment longer.
            wait_until("samba to be gone", START_DEADLINE, || {
                [135, 389, 636].iter().all(|port| TcpListener::bind((self.address, *port)).is_ok()).then_some(())
            });
        }
    }

    /// Whether somebody is connected to a port at which the server replicates.
    pub fn is_replicating(&self) -> bool {
        let address = u32::from_le_bytes(self.address.octets());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc(5)");
        let remote = |line: &str| {
            let mut fields = line.split_ascii_whitespace().skip(2);
            let (remote, state) = (fields.next()?, fields.next()?);
            let (host, port) = remote.split_once(':')?;
            let (host, port) = (u32::from_str_radix(host, 16).ok()?, u16::from_str_radix(port, 16).ok()?);
            Some(host == address && DYNAMIC_PORTS.contains(&port) && state == ESTABLISHED)
        };
        table.lines().skip(1).any(|line| remote(line) == Some(true))
    }

    /// How often an account's password was checked by a simple bind. The server must log these (`auth_audit:3`).
    pub fn bind_count_of(&self, account: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("log/log.%m")).expect("the server's log");
        let (log, named) = (log.to_lowercase(), format!("\\[{account}]").to_lowercase());
        log.lines().filter(|line| line.contains("auth: [ldap,simple bind") && line.contains(&named)).count()
    }

    /// The distinguished name of the domain.
    pub fn base(&self) -> String {
        self.forest.realm.split('.').map(|part| format!("DC={part}")).collect::<Vec<_>>().join(",")
    }

    /// The distinguished name of an account that [`Self::add_users`] made.
    pub fn name_of(&self, account: &str) -> String {
        format!("CN={account},OU=Staff,{}", self.base())
    }

    /// The distinguished name of [`SYNC_ACCOUNT`].
    pub fn sync_account_name(&self) -> String {
        self.name_of("svc-sync0")
    }

    /// The objectGUID of an account.
    #[track_caller]
    pub fn guid_of(&self, account: &str) -> String {
        self.directory(&["guid", account], "").trim().to_owned()
    }

    /// The objectGUID of every account.
    #[track_caller]
    pub fn guids(&self) -> BTreeMap<String, String> {
        pairs(&self.directory(&["guids"], ""))
    }

    /// The objectSid of an account, as text.
    #[track_caller]
    pub fn sid_of(&self, account: &str) -> String {
        self.directory(&["sid", account], "").trim().to_owned()
    }

    /// The certification authority of the server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("private/tls/ca.pem")
    }

    /// Accounts `PREFIX0`, `PREFIX1` ... below `OU=Staff`, one for each password.
    #[track_caller]
    pub fn add_users(&self, prefix: &str, passwords: &[String]) {
        self.directory(&["users", &passwords.len().to_string(), prefix], &(passwords.join("\n") + "\n"));
    }

    /// Accounts by name, container (relative to the domain) and password. They come as from another directory, by their
    /// hash and without Kerberos keys, which makes thousands of them a matter of seconds.
    #[track_caller]
    pub fn add_people<'a>(&self, people: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) {
        let line = |(account, container, password)| format!("{account}\t{container}\t{password}\n");
        self.directory(&["people"], &people.into_iter().map(line).collect::<String>());
    }

    #[track_caller]
    pub fn set_passwords<'a>(&self, changes: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let lines = changes.into_iter().map(|(account, password)| format!("{account}\t{password}\n"));
        self.directory(&["passwords"], &lines.collect::<String>());
    }

    /// The same as [`Self::add_people`] does it: quick, and without Kerberos keys.
    #[track_caller]
    pub fn set_hashes<'a>(&self, changes: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let lines = changes.into_iter().map(|(account, password)| format!("{account}\t{password}\n"));
        self.directory(&["passwords", "hashes"], &lines.collect::<String>());
    }

    #[track_caller]
    pub fn grant(&self, account: &str, rights: &[&str]) {
        self.directory(&[&["grant", account], rights].concat(), "");
    }

    #[track_caller]
    pub fn delete(&self, account: &str) {
        self.directory(&["delete", account], "");
    }

    /// Gives the forest its recycle bin; what is deleted is kept whole from then on.
    #[track_caller]
    pub fn enable_recycle_bin(&self) {
        self.directory(&["recycle-bin"], "");
    }

    /// Deletes an account for good: from the recycle bin, too.
    #[track_caller]
    pub fn recycle(&self, account: &str) {
        self.directory(&["recycle", account], "");
    }

    /// Replaces one attribute of an account made by [`Self::add_users`].
    #[track_caller]
    pub fn replace(&self, account: &str, attribute: &str, value: &str) {
        let name = self.name_of(account);
        self.ldif(&format!("dn: {name}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"));
    }

    /// The same for a value that is no text.
    #[track_caller]
    pub fn replace_bytes(&self, account: &str, attribute: &str, value: &[u8]) {
        let octets: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory(&["bytes", account, attribute, &octets], "");
    }

    /// Says when an account's password was set, which no client may (units of 100 ns since 1601).
    #[track_caller]
    pub fn set_password_time(&self, account: &str, time: &str) {
        self.directory(&["password-time", account, time], "");
    }

    /// Applies change records to the directory.
    #[track_caller]
    pub fn ldif(&self, records: &str) {
        self.directory(&["ldif"], records);
    }

    /// A value of an account's attribute, in base64.
    #[track_caller]
    pub fn attribute(&self, account: &str, name: &str) -> Option<String> {
        let text = self.directory(&["attribute", account, name], "");
        Some(text.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Runs commands that are written for a controller's own shell, with its usual places.
    #[track_caller]
    pub fn as_administrator(&self, commands: &str) {
        const USUAL: &str = "-H /var/lib/samba/private/sam.ldb";
        let folder = self.dir.path().display();
        let database = format!("-H {folder}/private/sam.ldb");
        let commands = commands
            .replace(USUAL, &format!("--configfile={folder}/etc/smb.conf {database}"))
            .replace("samba-tool dsacl set", &format!("samba-tool dsacl set -s {folder}/etc/smb.conf {database}"));
        run(Command::new("bash").args(["-euo", "pipefail", "-c", &commands]));
    }

    #[track_caller]
    pub fn join_group(&self, group: &str, account: &str) {
        let (base, sid) = (self.base(), self.sid_of(account));
        self.ldif(&format!("dn: CN={group},CN=Users,{base}\nchangetype: modify\nadd: member\nmember: <SID={sid}>\n"));
    }

    /// Lets the domain lock accounts after so many wrong passwords.
    #[track_caller]
    pub fn lock_after(&self, failures: u32) {
        self.replace_in_domain("lockoutThreshold", &failures.to_string());
    }

    /// Replaces an attribute of the domain's own entry: its password policy, for instance.
    #[track_caller]
    pub fn replace_in_domain(&self, attribute: &str, value: &str) {
        let change = format!("changetype: modify\nreplace: {attribute}\n{attribute}: {value}\n");
        self.ldif(&format!("dn: {}\n{change}", self.base()));
    }

    /// Wrong passwords that the domain counts against an account (`badPwdCount`).
    #[track_caller]
    pub fn bad_passwords(&self, account: &str) -> u32 {
        self.directory(&["bad-passwords", account], "").trim().parse().expect("a number")
    }

    /// Makes the database another incarnation, as a restore does. The server must be stopped.
    #[track_caller]
    pub fn set_invocation_id(&self, id: &str) {
        assert!(self.process.is_none(), "samba runs");
        self.directory(&["invocation-id", id], "");
    }

    /// Account and NT hash in hexadecimal, as they lie in the database.
    #[track_caller]
    pub fn stored_hashes(&self) -> BTreeMap<String, String> {
        pairs(&self.directory(&["hashes"], ""))
    }

    #[track_caller]
    fn rename(&self, account: &str, name: &str) {
        self.replace(account, "sAMAccountName", name);
    }

    #[track_caller]
    fn directory(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(script("directory.py"))
            .arg(self.dir.path().join("etc/smb.conf"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the script reads");
        let output = child.wait_with_output().expect("own child can be awaited");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the script writes UTF-8")
    }

    /// Whether there is another implementation of the protocol to compare with; in tests there must be.
    pub fn has_impacket(&self) -> bool {
        Path::new(IMPACKET).exists()
    }

    /// Account and NT hash as another implementation of the protocol reads them.
    #[track_caller]
    pub fn hashes_by_impacket(&self) -> BTreeMap<String, String> {
        let mut command = Command::new(IMPACKET);
        command.arg(script("impacket_hashes.py")).arg(self.address.to_string());
        pairs(&run(command.args([self.forest.netbios, SYNC_ACCOUNT, SYNC_PASSWORD, &self.base()])))
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        self.stop();
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// The scripts lie in the repository's `tests/samba`, wherever the crate is whose tests run.
fn script(name: &str) -> PathBuf {
    let folder = Path::new(SCRIPTS).ancestors().map(|folder| folder.join("tests/samba")).find(|folder| folder.is_dir());
    folder.expect("tests/samba is in the repository").join(name)
}

/// An address of 127.0.0.0/8 on which nobody uses the ports of a controller. Processes start at different places.
fn free_address() -> Ipv4Addr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    loop {
        let address = Ipv4Addr::new(127, 64 + high % 128, low, NEXT.fetch_add(1, Ordering::Relaxed).max(1));
        if [88, 135, 389, 445, 636].iter().all(|port| TcpListener::bind((address, *port)).is_ok()) {
            return address;
        }
    }
}
