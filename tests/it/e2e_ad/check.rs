//! `landbridge ad check`: what an account lacks, what it has too much, and the commands that mend it.

use serde_json::Value;

use super::site::RIGHTS;
use crate::support::gateway::{Builder, Gateway};
use crate::support::samba::{CORP, SYNC_ACCOUNT, SYNC_PASSWORD, Samba};

/// The sync account by its entry, which bears another name.
const SYNC_ACCOUNT_ENTRY: &str = "svc-sync0";

/// A connector that replicates and writes one attribute back.
fn gateway(samba: &Samba) -> Gateway {
    let export = "[connectors.export]\nattributes = [\"mS-DS-ConsistencyGuid\"]";
    Builder::default().samba("corp", samba).connector_lines(export).prepare()
}

/// What was found, and whether all of it is sound.
fn check(gateway: &Gateway) -> (Vec<Value>, bool) {
    let (reports, sound) = gateway.cli_told(&["ad", "check"]);
    let findings = reports[0]["findings"].as_array().expect("findings").clone();
    (findings, sound)
}

/// The texts of findings of a standing, with their remedies and commands.
fn told(findings: &[Value], standing: &str) -> Vec<String> {
    let text = |finding: &Value| {
        let commands = finding["commands"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let parts = [&finding["text"], &finding["remedy"]].into_iter().filter_map(Value::as_str);
        parts.chain(commands).collect::<Vec<_>>().join("\n")
    };
    findings.iter().filter(|finding| finding["standing"] == standing).map(text).collect()
}

#[track_caller]
fn one(texts: &[String], parts: &[&str]) {
    let found: Vec<_> = texts.iter().filter(|text| parts.iter().all(|part| text.contains(part))).collect();
    assert_eq!(found.len(), 1, "{parts:?} in {texts:#?}");
}

#[test]
fn the_check_tells_what_is_missing_and_its_commands_grant_it() {
    let mut samba = Samba::start(CORP, &[]);
    samba.add_users("user", &["Start-0-Pässwörd!".to_owned()]);
    let gateway = gateway(&samba);

    let (findings, sound) = check(&gateway);
    assert!(!sound);
    let missing = told(&findings, "missing");
    one(&missing, &["deleted objects cannot be seen", "ldbmodify", "LCRP"]);
    one(&missing, &["lacks Replicating Directory Changes on", "samba-tool dsacl set", "1131f6aa-"]);
    one(&missing, &["lacks Replicating Directory Changes All on", "samba-tool dsacl set", "1131f6ad-"]);
    one(&missing, &["may not replicate passwords", "grant CORP\\svc-sync both rights"]);
    one(
        &missing,
        &["may not write mS-DS-ConsistencyGuid", "samba-tool dsacl set", "23773dc2-b63a-11d2-90e1-00c04fd91ab1"],
    );
    assert_eq!(missing.len(), 5, "{missing:#?}");

    // The commands, as an administrator on the controller runs them.
    let commands = findings.iter().flat_map(|finding| finding["commands"].as_array().into_iter().flatten());
    let commands: Vec<_> = commands.filter_map(Value::as_str).collect();
    samba.as_administrator(&commands.join("\n"));
    let (findings, sound) = check(&gateway);
    assert!(sound, "{findings:#?}");
    assert_eq!(told(&findings, "warning"), Vec::<String>::new());
    one(&told(&findings, "good"), &["own hash was read"]);

    samba.join_group("Domain Admins", SYNC_ACCOUNT);
    let (findings, sound) = check(&gateway);
    let warnings = told(&findings, "warning");
    assert!(sound, "{findings:#?}");
    one(&warnings, &["a member of Domain Admins"]);
    one(&warnings, &["that nothing is configured to write"]);
    samba.stop();
}

#[test]
fn a_directory_that_keeps_no_hashes_is_told_from_one_that_refuses_the_account() {
    let samba = Samba::start_with(CORP, &RIGHTS, "nt hash store = never");
    let gateway = Builder::default().samba("corp", &samba).prepare();
    one(&told(&check(&gateway).0, "missing"), &["keeps no NT hash of the account", "nt hash store = always"]);
}

/// What one domain's faults do to the three who meet them: the check, the password channel, the import.
struct Faults {
    samba: Samba,
    gateway: Gateway,
}

impl Faults {
    /// Each part of the text is in the one thing that the check misses, and in the error of a pass, of the status after it.
    #[track_caller]
    fn hashes_fail(&self, check_tells: &[&str], pass_tells: &[&str]) {
        let (findings, sound) = check(&self.gateway);
        assert!(!sound);
        one(&told(&findings, "missing"), check_tells);
        let (passes, passed) = self.gateway.cli_told(&["password-sync", "run"]);
        let status = self.gateway.cli(&["password-sync", "status"]);
        for error in [&passes[0]["error"], &status["connectors"][0]["error"]] {
            let error = error.as_str().unwrap_or_else(|| panic!("{pass_tells:?}: {passes:#}"));
            assert!(!passed && pass_tells.iter().all(|part| error.contains(part)), "{pass_tells:?} in {error}");
        }
    }

    #[track_caller]
    fn hashes_arrive(&self) {
        let (findings, sound) = check(&self.gateway);
        assert!(sound, "{:#?}", told(&findings, "missing"));
        one(&told(&findings, "good"), &["own hash was read"]);
        self.gateway.cli(&["password-sync", "run"]);
        assert_eq!(self.gateway.cli(&["password-sync", "status"])["connectors"][0]["error"], Value::Null);
    }

    /// A full import comes to its end.
    #[track_caller]
    fn imports(&self) {
        let (answer, imported) = self.gateway.cli_told(&["sync", "run", "--profile", "full"]);
        assert!(imported, "{answer:#}");
    }

    /// Each part of the text is told of the import.
    #[track_caller]
    fn import_fails(&self, tells: &[&str]) {
        let (answer, imported) = self.gateway.cli_told(&["sync", "run", "--profile", "full"]);
        let told = answer.to_string();
        assert!(!imported && tells.iter().all(|part| told.contains(part)), "{tells:?} in {answer:#}");
    }

    fn by_kerberos(&mut self) {
        self.gateway.reconfigure(|settings| {
            let kerberos = "replication_domain = \"corp.example\"\nreplication_sign_in = \"kerberos\"";
            settings.replace("replication_domain = \"CORP\"", kerberos)
        });
    }

    fn secret(&mut self, password: &str) {
        self.gateway.stop();
        std::fs::write(self.gateway.folder().join("corp.secret"), password).expect("a secret");
        self.gateway.start_again();
    }
}

/// A gateway that runs before a domain whose sync account has these rights.
fn before_domain(rights: &[&str]) -> Faults {
    let samba = Samba::start(CORP, rights);
    // Without a limit the domain counts no wrong passwords.
    samba.lock_after(50);
    samba.know_by_address();
    let gateway = Builder::default().samba("corp", &samba).start();
    gateway.cli(&["rules", "activate"]);
    Faults { samba, gateway }
}

const SERVICES: &str = "server services = rpc, ldap, cldap, kdc";

#[test]
fn rights_passwords_and_ports_have_errors_and_remedies_of_their_own() {
    let mut faults = before_domain(&["get-changes", "deleted-objects"]);
    // Wrong rights; then the right ones. Nobody listens for SMB, and nobody misses it.
    faults.hashes_fail(
        &["may not replicate passwords", "grant CORP\\svc-sync both rights"],
        &["may not replicate passwords", "Replicating Directory Changes All", "grant CORP\\svc-sync both rights"],
    );
    faults.samba.grant(SYNC_ACCOUNT, &["get-changes-all"]);
    assert!(std::net::TcpStream::connect((faults.samba.address, 445)).is_err());
    faults.hashes_arrive();

    // A wrong password: the directory says so over LDAP, to all three alike.
    let wrong = ["the name or the password is wrong", "bind_password_file"];
    faults.secret("Not-the-password-1!");
    let before = faults.samba.bad_passwords(SYNC_ACCOUNT);
    faults.hashes_fail(&wrong, &wrong);
    assert_eq!(faults.samba.bad_passwords(SYNC_ACCOUNT) - before, 2, "the check and the pass try it once each");
    faults.import_fails(&wrong);
    faults.secret(SYNC_PASSWORD);

    // The RPC port is closed, and LDAP is not: imports go on.
    faults.samba.reconfigure(SERVICES, "server services = ldap, cldap, kdc");
    let closed = ["TCP port 135 (RPC endpoint mapper) cannot be reached", "open TCP 135 and the dynamic RPC ports"];
    faults.hashes_fail(&closed, &closed);
    faults.imports();

    faults.samba.stop();
    let gone = ["no connection to", "open TCP 636"];
    faults.hashes_fail(&gone, &gone);
    faults.import_fails(&gone);
}

#[test]
fn a_domain_without_ntlm_is_told_from_a_wrong_password_and_rc4_is_not_needed() {
    let mut faults = before_domain(&RIGHTS);
    // NTLM, which is made of RC4, is put away: the check finds that Kerberos does.
    faults.samba.reconfigure(SERVICES, &format!("{SERVICES}\n  ntlm auth = disabled"));
    faults.hashes_fail(
        &["refuses NTLM, and admits svc-sync by Kerberos", "replication_sign_in = \"kerberos\"", "dc1.corp.example"],
        &["the sign-in of CORP\\svc-sync was refused", "if the domain refuses NTLM", "ad check"],
    );
    faults.by_kerberos();
    faults.hashes_arrive();

    // RC4 is disabled for the account, too, which changes nothing.
    faults.samba.replace(SYNC_ACCOUNT_ENTRY, "msDS-SupportedEncryptionTypes", "24");
    faults.hashes_arrive();
}

#[test]
fn clocks_that_are_apart_are_told() {
    let mut faults = before_domain(&RIGHTS);
    faults.by_kerberos();
    faults.hashes_arrive();
    faults.samba.set_clock("+20m");
    let (findings, sound) = check(&faults.gateway);
    let missing = told(&findings, "missing");
    assert!(!sound);
    one(&missing, &["the clock differs too much", "one time source"]);
    let (passes, passed) = faults.gateway.cli_told(&["password-sync", "run"]);
    let error = passes[0]["error"].as_str().unwrap_or_default();
    assert!(!passed && error.contains("the clock differs too much") && error.contains("one time source"), "{error}");
    faults.imports();
}
