//! The password channel on a real slapd: what it writes verifies here, and what it changes arrives.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use landbridge::config::{
    Bounds, ConnectorSettings, DeltaMethod, Dialect, DirectoryScope, DisabledTest, ObjectClasses, PasswordAttributes,
    Reach,
};
use landbridge::credential::pool::PoolSize;
use landbridge::credential::{Argon2Cost, ClearText, Hardening, HashingPool, KeyRing};
use landbridge::identity::{
    AccountState, Answer, Clock as _, CredentialSource, DirectoryLockout, DistinguishedName, LeaseEpoch, PlainPassword,
    Refusal, SourceAnchor, SystemClock, UserId, Verdict,
};
use landbridge::password_sync::store::PassStore as _;
use landbridge::password_sync::{Channel, ChannelError, Depth, LdapSource, PassReport, Sealer, StoredHashes, Wrapping};
use landbridge::signin::authority::{Admission, HashCheck as _};
use landbridge::store::audit::AuditLog;
use landbridge::store::credentials::Credentials;
use landbridge::store::{Database, Room, StoreError, Urgency};
use sqlx::Row as _;

use crate::support::directory::{self, Person};
use crate::support::process::run;
use crate::support::slapd::{SUFFIX, Slapd};
use crate::support::store::NoAlerts;

const EPOCH: LeaseEpoch = LeaseEpoch::from_number(0);
const SUCCESS: i32 = 0;
const INVALID_CREDENTIALS: i32 = 49;

struct World {
    _dir: tempfile::TempDir,
    db: Database,
    credentials: Credentials,
    sealer: Sealer,
    settings: ConnectorSettings,
}

impl World {
    /// A gateway whose connector reads `slapd`, with a user for each of `dns`.
    async fn open(slapd: &Slapd, dns: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().display());
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), Arc::new(SystemClock));
        let world = Self {
            _dir: dir,
            credentials: Credentials::new(db.clone(), audit),
            db,
            sealer: Sealer {
                tenant: "tenant".to_owned(),
                ring: Arc::new(KeyRing::generate(&mut rand::rng()).expect("a ring")),
                pool: HashingPool::new(PoolSize { cores: 2, memory_kib: 1 << 20, each_kib: 19_456 }),
                hardening: Hardening::Argon2id(Argon2Cost::default()),
            },
            settings: settings(slapd),
        };
        for dn in dns {
            let (oid, anchor) = (UserId::random(), source(slapd, dn).anchor);
            world
                .sql(format!(
                    "INSERT INTO tenant_user (oid, upn, upn_folded, domain, attributes, account_enabled, cloud_mastered, \
                     security_stamp, created_at, updated_at) VALUES ('{oid}', '', '', '', '{{}}', 1, 0, 's1', 0, 0); \
                     INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
                     VALUES ('{oid}', 'corp', '{anchor}', 1, 0)"
                ))
                .await;
        }
        world
    }

    async fn sql(&self, sql: String) {
        let done = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let run = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await;
                run.map_err(StoreError::doing("a test's write"))?;
                Ok::<_, StoreError>(())
            })
        });
        done.await.expect("a test's write");
    }

    fn channel(&self) -> Channel {
        Channel {
            connector: self.settings.name.clone(),
            source: Arc::new(LdapSource::new(&self.settings, Arc::new(SystemClock)).expect("settings")),
            store: Arc::new(self.credentials.clone()),
            sealer: self.sealer.clone(),
            clear_text: ClearText::Refused,
            clock: Arc::new(SystemClock),
            leaks: None,
        }
    }

    async fn pass(&self) -> PassReport {
        self.channel().run_pass(EPOCH, Depth::Changes).await.expect("a pass")
    }

    async fn check(&self, source: &CredentialSource, typed: &str) -> Answer {
        let store = Arc::new(self.credentials.clone());
        let hashes = StoredHashes::new(store, Arc::new(NoAlerts), self.sealer.clone(), Arc::new(SystemClock));
        let password = PlainPassword::new(typed.to_owned()).expect("may be typed");
        let admission = Admission { familiar: true, network: None, patience: Duration::from_secs(60) };
        hashes.check(Some(source), &password, admission).await.answer
    }

    async fn state(&self, source: &CredentialSource) -> AccountState {
        let known = self.credentials.known(&source.connector, std::slice::from_ref(&source.anchor)).await;
        known.expect("a store")[0].state.clone().expect("a state").0
    }

    async fn text(&self, sql: &str) -> String {
        let row = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(self.db.read()).await.expect("a row");
        row.get(0)
    }
}

fn settings(slapd: &Slapd) -> ConnectorSettings {
    let dn = |text: &str| text.parse::<DistinguishedName>().expect("a name");
    ConnectorSettings {
        name: "corp".parse().expect("a name"),
        servers: vec![slapd.url()],
        ca_file: Some(slapd.ca_file()),
        bind_dn: dn(&slapd.service_dn()),
        bind_password: PlainPassword::new(slapd.service_password().to_owned()).expect("may be typed"),
        domains: Vec::new(),
        reach: Reach::Direct,
        scope: DirectoryScope {
            dialect: Dialect::Openldap,
            bases: vec![dn(&slapd.people_base())],
            excluded: Vec::new(),
            user_filter: None,
            group_filter: None,
            classes: ObjectClasses {
                user: "inetOrgPerson".to_owned(),
                group: "groupOfNames".to_owned(),
                container: "organizationalUnit".to_owned(),
            },
            anchor_attribute: "entryUUID".to_owned(),
            attributes: Vec::new(),
            page_size: 50,
            delta: DeltaMethod::Auto,
            disabled: DisabledTest::Equals {
                attribute: "pwdAccountLockedTime".to_owned(),
                value: "000001010000Z".to_owned(),
            },
            export: None,
        },
        passwords: PasswordAttributes { attributes: vec!["userPassword".to_owned()], cleartext_allowed: false },
        replication: None,
        connect_deadline: Duration::from_secs(5),
        bind_deadline: Duration::from_secs(5),
        bounds: Bounds::Everywhere,
        lockout_duration: Duration::from_secs(600),
        password_policy: None,
        leaked_passwords: None,
    }
}

fn source(slapd: &Slapd, dn: &str) -> CredentialSource {
    let uuid = slapd.values(dn, "entryUUID").pop().expect("every entry has one");
    let anchor = SourceAnchor::from_text(&uuid).expect("an anchor");
    CredentialSource { connector: "corp".parse().expect("a name"), anchor }
}

fn dns(people: &[Person]) -> Vec<&str> {
    people.iter().map(|person| person.dn.as_str()).collect()
}

/// A value as OpenLDAP's own tool makes it.
fn slappasswd(scheme: &str, crypt_format: Option<&str>, password: &str) -> String {
    let mut command = Command::new("/usr/sbin/slappasswd");
    command.args(["-n", "-h", scheme, "-s", password, "-o", "module-path=/usr/lib/ldap"]);
    // It loads one module: the last that is named.
    let module = [("{PBKDF2", "pw-pbkdf2"), ("{ARGON2", "argon2"), ("{", "pw-sha2")];
    let (_, module) = module.iter().find(|(prefix, _)| scheme.starts_with(prefix)).expect("a scheme in braces");
    command.args(["-o", &format!("module-load={module}")]);
    if let Some(format) = crypt_format {
        command.args(["-c", format]);
    }
    run(&mut command).trim().to_owned()
}

const VERIFIED: Answer = Answer::Verdict(Verdict::Verified);
const WRONG: Answer = Answer::Verdict(Verdict::Refused(Refusal::WrongPassword));
const NO_CREDENTIAL: Answer = Answer::Verdict(Verdict::Refused(Refusal::NoCredential));

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_that_slapd_writes_and_accepts_verifies_before_and_after_wrapping() {
    const PASSWORD: &str = "Pâsswörd € 7";
    const SCHEMES: [(&str, Option<&str>); 18] = [
        ("{SSHA}", None),
        ("{SHA}", None),
        ("{SMD5}", None),
        ("{MD5}", None),
        ("{SSHA256}", None),
        ("{SSHA384}", None),
        ("{SSHA512}", None),
        ("{SHA256}", None),
        ("{SHA384}", None),
        ("{SHA512}", None),
        ("{PBKDF2}", None),
        ("{PBKDF2-SHA1}", None),
        ("{PBKDF2-SHA256}", None),
        ("{PBKDF2-SHA512}", None),
        ("{ARGON2}", None),
        ("{CRYPT}", Some("$5$%.16s")),
        ("{CRYPT}", Some("$6$rounds=7000$%.8s")),
        ("{CRYPT}", Some("$2b$08$%.22s")),
    ];
    let people = directory::people(SCHEMES.len() + 1);
    let slapd = Slapd::builder().directory(&people).lockout_after(100).start();
    for (person, (scheme, format)) in people.people.iter().zip(SCHEMES) {
        slapd.replace(&person.dn, "userPassword", &slappasswd(scheme, format, PASSWORD));
        assert_eq!(slapd.bind(&person.dn, PASSWORD), SUCCESS, "{scheme}");
        assert_eq!(slapd.bind(&person.dn, "Password 7"), INVALID_CREDENTIALS, "{scheme}");
    }
    let last = people.people.last().expect("one more");
    slapd.replace(&last.dn, "userPassword", PASSWORD);
    assert!(!slapd.values(&last.dn, "userPassword")[0].is_empty(), "slapd hashes it");
    let world = World::open(&slapd, &dns(&people.people)).await;
    assert_eq!(world.pass().await.stored, 19);
    for round in ["sealed", "wrapped"] {
        for (person, (scheme, _)) in people.people.iter().zip(SCHEMES.into_iter().chain([("slapd's own", None)])) {
            let source = source(&slapd, &person.dn);
            assert_eq!(world.check(&source, PASSWORD).await, VERIFIED, "{scheme} {round}");
            assert_eq!(world.check(&source, "Password 7").await, WRONG, "{scheme} {round}");
        }
        let wrapping = Wrapping::new(Arc::new(world.credentials.clone()), world.sealer.clone());
        wrapping.run_round(EPOCH).await.expect("a round");
    }
    let unwrapped = "SELECT CAST(COUNT(*) AS TEXT) FROM credential WHERE stage <> 'wrapped'";
    assert_eq!(world.text(unwrapped).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_arrive_with_the_next_pass_and_one_bad_value_stops_nobody() {
    let people = directory::people(120);
    let slapd = Slapd::builder().directory(&people).start();
    let [ada, ben, cem, dan] = [&people.people[0], &people.people[1], &people.people[2], &people.people[7]];
    let world = World::open(&slapd, &dns(&people.people[..20])).await;
    let first = world.pass().await;
    assert_eq!((first.read, first.stored, first.no_target_connection), (120, 20, 100));
    for person in [ada, ben, cem, dan] {
        assert_eq!(world.check(&source(&slapd, &person.dn), &person.password).await, VERIFIED, "{}", person.dn);
    }
    let second = world.pass().await;
    assert_eq!((second.stored, second.unchanged, second.states_changed), (0, 20, 0));

    slapd.replace(&ada.dn, "userPassword", "Changed-by-test-1!");
    slapd.replace(&ben.dn, "userPassword", "{SSHA}broken");
    slapd.replace(&cem.dn, "title", "renamed, with the same password");
    let third = world.pass().await;
    assert_eq!((third.stored, third.quarantined, third.unchanged), (1, 1, 18));
    assert_eq!(world.check(&source(&slapd, &ada.dn), "Changed-by-test-1!").await, VERIFIED);
    assert_eq!(world.check(&source(&slapd, &ada.dn), &ada.password).await, WRONG);
    assert_eq!(world.check(&source(&slapd, &ben.dn), &ben.password).await, NO_CREDENTIAL);
    assert_eq!(world.check(&source(&slapd, &cem.dn), &cem.password).await, VERIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_the_directory_bar_as_the_directory_does() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).lockout_after(3).start();
    let [free, locked, disabled, expired, reset] = [0, 1, 2, 3, 4].map(|index| &people.people[index]);
    for _ in 0..3 {
        assert_eq!(slapd.bind(&locked.dn, "wrong"), INVALID_CREDENTIALS);
    }
    slapd.replace(&disabled.dn, "pwdAccountLockedTime", "000001010000Z");
    slapd.expire_password(&expired.dn);
    slapd.replace(&reset.dn, "pwdReset", "TRUE");
    let world = World::open(&slapd, &dns(&people.people[..5])).await;
    world.pass().await;
    let now = SystemClock.now();
    for (person, expected) in [
        (free, Ok(())),
        (locked, Err(Refusal::LockedOut)),
        (disabled, Err(Refusal::Disabled)),
        (expired, Err(Refusal::PasswordExpired)),
        (reset, Err(Refusal::MustChangePassword)),
    ] {
        let state = world.state(&source(&slapd, &person.dn)).await;
        assert_eq!(state.evaluate(now), expected, "{}: {state:?}", person.dn);
    }
    let lock = world.state(&source(&slapd, &locked.dn)).await.locked_until.expect("a lock");
    assert!(lock.since(now) <= Duration::from_secs(600), "it ends by itself");
    slapd.ldapmodify(&format!("dn: {}\nchangetype: modify\ndelete: pwdAccountLockedTime\n", disabled.dn));
    world.pass().await;
    assert_eq!(world.state(&source(&slapd, &disabled.dn)).await.evaluate(now), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_policy_ages_passwords_where_the_connector_names_it() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).start();
    let person = &people.people[0];
    slapd.replace(&person.dn, "userPassword", "Changed-by-test-1!");
    let policy = format!("cn=default,ou=policies,{SUFFIX}");
    slapd.replace(&policy, "pwdMaxAge", "3600");
    let mut world = World::open(&slapd, &[&person.dn]).await;
    world.pass().await;
    assert_eq!(world.state(&source(&slapd, &person.dn)).await.password_expires, None);
    world.settings.password_policy = Some(policy.parse().expect("a name"));
    world.pass().await;
    let state = world.state(&source(&slapd, &person.dn)).await;
    let set = state.password_set.expect("slapd notes when a password was set");
    assert_eq!(state.password_expires, Some(set + Duration::from_secs(3600)));
    let lockout = DirectoryLockout { threshold: 10, window_ms: 600_000 };
    assert_eq!(state.lockout, Some(lockout), "the directory's own threshold bounds ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_entry_bars_and_a_moved_one_is_followed() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).start();
    let [gone, moved] = [&people.people[0], &people.people[1]];
    let (gone_source, moved_source) = (source(&slapd, &gone.dn), source(&slapd, &moved.dn));
    let world = World::open(&slapd, &dns(&people.people[..3])).await;
    world.pass().await;
    slapd.ldapmodify(&format!("dn: {}\nchangetype: delete\n", gone.dn));
    slapd.ldapmodify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid={}\ndeleteoldrdn: 0\nnewsuperior: ou=groups,{SUFFIX}\n",
        moved.dn, moved.uid
    ));
    slapd.replace(&format!("uid={},ou=groups,{SUFFIX}", moved.uid), "userPassword", "Changed-by-test-1!");
    let report = world.pass().await;
    assert_eq!((report.missing, report.stored), (1, 1));
    assert_eq!(world.state(&gone_source).await.evaluate(SystemClock.now()), Err(Refusal::NotInDirectory));
    assert!(!world.state(&moved_source).await.deleted);
    assert_eq!(world.check(&moved_source, "Changed-by-test-1!").await, VERIFIED);
    assert_eq!(world.check(&gone_source, &gone.password).await, VERIFIED, "the state bars; the hash is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_may_no_longer_read_passwords_costs_nobody_the_stored_one() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).start();
    let mut world = World::open(&slapd, &dns(&people.people)).await;
    world.pass().await;
    let other = &people.people[19];
    world.settings.bind_dn = other.dn.parse().expect("a name");
    world.settings.bind_password = PlainPassword::new(other.password.clone()).expect("may be typed");
    let lost = world.channel().run_pass(EPOCH, Depth::Changes).await;
    // It still reads its own.
    assert!(matches!(lost, Err(ChannelError::PasswordsVanished { vanished: 19, usable: 20 })), "{lost:?}");
    let first = &people.people[0];
    assert_eq!(world.check(&source(&slapd, &first.dn), &first.password).await, VERIFIED);
    assert!(world.text("SELECT error FROM connector_pass").await.contains("the right to read them is probably lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sambas_hash_is_read_where_it_is_preferred_and_the_next_server_answers_for_a_dead_one() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).start();
    let person = &people.people[0];
    let mut world = World::open(&slapd, &[&person.dn]).await;
    world.settings.passwords.attributes = vec!["sambaNTPassword".to_owned(), "userPassword".to_owned()];
    let dead = crate::support::ports::free_port();
    world.settings.servers = vec![format!("ldap://localhost:{dead}"), slapd.ldaps_url()];
    assert_eq!(world.pass().await.stored, 1);
    let chain = world.text("SELECT chain FROM credential").await;
    assert!(chain.starts_with("md4-utf16>hex-upper-utf16>pbkdf2-sha256(1000,"), "{chain}");
    assert_eq!(world.check(&source(&slapd, &person.dn), &person.password).await, VERIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_trusted_certificate_is_not_read() {
    let people = directory::people(20);
    let slapd = Slapd::builder().directory(&people).start();
    let other = Slapd::builder().start();
    let mut world = World::open(&slapd, &dns(&people.people[..1])).await;
    world.settings.ca_file = Some(other.ca_file());
    assert!(matches!(world.channel().run_pass(EPOCH, Depth::Changes).await, Err(ChannelError::Source(_))));
    assert_eq!(slapd.bind_count_of(&slapd.service_dn()), 0, "the service password never left");
}
