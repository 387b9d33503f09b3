//! The password channel on a Samba domain: hashes by replication, account states over LDAP.

use std::sync::Arc;
use std::time::Duration;

use landbridge::config::{
    ConnectorSettings, DeltaMethod, Dialect, DisabledTest, ObjectClasses, PasswordAttributes, Reach,
    ReplicationSettings, ReplicationSignIn,
};
use landbridge::credential::pool::PoolSize;
use landbridge::credential::{Argon2Cost, ClearText, Hardening, HashingPool, KeyRing};
use landbridge::identity::{
    Answer, CredentialSource, DistinguishedName, LeaseEpoch, PlainPassword, Refusal, SourceAnchor, SystemClock, UserId,
    Verdict,
};
use landbridge::password_sync::store::PassStore as _;
use landbridge::password_sync::{AdSource, Channel, ChannelError, PassReport, Sealer, StoredHashes};
use landbridge::signin::authority::{Admission, HashCheck as _};
use landbridge::store::audit::AuditLog;
use landbridge::store::credentials::Credentials;
use landbridge::store::{Database, Room, StoreError, Urgency};

use crate::support::samba::{CORP, SYNC_ACCOUNT, SYNC_PASSWORD, Samba};
use crate::support::store::NoAlerts;

const EPOCH: LeaseEpoch = LeaseEpoch::from_number(0);
const RIGHTS: [&str; 3] = ["get-changes", "get-changes-all", "deleted-objects"];

/// A gateway with one connector, which keeps its source from pass to pass as a running one does.
struct World {
    _dir: tempfile::TempDir,
    credentials: Credentials,
    sealer: Sealer,
    channel: Channel,
    users: Vec<CredentialSource>,
}

impl World {
    /// With a user for each of `accounts`.
    async fn open(samba: &Samba, accounts: &[&str], sign_in: ReplicationSignIn) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().display());
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), Arc::new(SystemClock));
        let credentials = Credentials::new(db.clone(), audit);
        let sealer = Sealer {
            tenant: "tenant".to_owned(),
            ring: Arc::new(KeyRing::generate(&mut rand::rng()).expect("a ring")),
            pool: HashingPool::new(PoolSize { cores: 2, memory_kib: 1 << 20, each_kib: 19_456 }),
            hardening: Hardening::Argon2id(Argon2Cost::default()),
        };
        let settings = settings(samba, sign_in);
        let replication = settings.replication.as_ref().expect("set");
        let channel = Channel {
            connector: settings.name.clone(),
            source: Arc::new(AdSource::new(&settings, replication, Arc::new(SystemClock)).expect("settings")),
            store: Arc::new(credentials.clone()),
            sealer: sealer.clone(),
            clear_text: ClearText::Refused,
            clock: Arc::new(SystemClock),
        };
        let mut users = Vec::new();
        for account in accounts {
            let guid: uuid::Uuid = samba.guid_of(account).parse().expect("a GUID");
            let anchor = SourceAnchor::from_binary(&guid.to_bytes_le()).expect("an anchor");
            let oid = UserId::random();
            let sql = format!(
                "INSERT INTO tenant_user (oid, upn, upn_folded, domain, attributes, account_enabled, cloud_mastered, \
                 security_stamp, created_at, updated_at) VALUES ('{oid}', '', '', '', '{{}}', 1, 0, 's1', 0, 0); \
                 INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
                 VALUES ('{oid}', 'corp', '{anchor}', 1, 0)"
            );
            let done = db.write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let run = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await;
                    run.map_err(StoreError::doing("a test's write"))?;
                    Ok::<_, StoreError>(())
                })
            });
            done.await.expect("a test's write");
            users.push(CredentialSource { connector: settings.name.clone(), anchor });
        }
        Self { _dir: dir, credentials, sealer, channel, users }
    }

    async fn pass(&self) -> PassReport {
        self.channel.run_pass(EPOCH).await.expect("a pass")
    }

    async fn check(&self, user: usize, typed: &str) -> Answer {
        let store = Arc::new(self.credentials.clone());
        let hashes = StoredHashes::new(store, Arc::new(NoAlerts), self.sealer.clone(), Arc::new(SystemClock));
        let password = PlainPassword::new(typed.to_owned()).expect("may be typed");
        let admission = Admission { familiar: true, network: None, patience: Duration::from_secs(60) };
        hashes.check(Some(&self.users[user]), &password, admission).await.answer
    }
}

fn settings(samba: &Samba, sign_in: ReplicationSignIn) -> ConnectorSettings {
    let dn = |text: &str| text.parse::<DistinguishedName>().expect("a name");
    let base = samba.base();
    ConnectorSettings {
        name: "corp".parse().expect("a name"),
        dialect: Dialect::ActiveDirectory,
        servers: vec![format!("ldaps://{}", samba.address)],
        ca_file: Some(samba.ca_file()),
        bind_dn: dn(&samba.sync_account_name()),
        bind_password: PlainPassword::new(SYNC_PASSWORD.to_owned()).expect("may be typed"),
        domains: Vec::new(),
        reach: Reach::Direct,
        delta: DeltaMethod::Auto,
        bases: vec![dn(&format!("OU=Staff,{base}"))],
        excluded: Vec::new(),
        user_filter: None,
        group_filter: None,
        classes: ObjectClasses {
            user: "user".to_owned(),
            group: "group".to_owned(),
            container: "organizationalUnit".to_owned(),
        },
        anchor_attribute: "objectGUID".to_owned(),
        attributes: Vec::new(),
        page_size: 50,
        disabled: DisabledTest::BitSet { attribute: "userAccountControl".to_owned(), bit: 2 },
        passwords: PasswordAttributes { attributes: Vec::new(), cleartext_allowed: false },
        export: None,
        replication: Some(ReplicationSettings {
            domain: samba.forest.netbios.to_owned(),
            account: SYNC_ACCOUNT.to_owned(),
            sign_in,
            naming_context: dn(&base),
        }),
        connect_deadline: Duration::from_secs(5),
        bind_deadline: Duration::from_secs(5),
        lockout_duration: Duration::from_secs(600),
        password_policy: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domain_passwords_sign_in_while_every_controller_is_down() {
    let mut samba = Samba::start(CORP, &RIGHTS);
    let passwords: Vec<String> = (0..12).map(|number| format!("Start-{number}-Pässwörd!")).collect();
    samba.add_users("user", &passwords);
    let accounts: Vec<String> = (0..10).map(|number| format!("user{number}")).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let world = World::open(&samba, &accounts, ReplicationSignIn::Ntlm).await;

    let first = world.pass().await;
    assert_eq!((first.stored, first.errors, first.quarantined), (10, 0, 0), "{first:?}");
    let second = world.pass().await;
    assert_eq!((second.stored, second.unchanged, second.errors), (0, 10, 0), "{second:?}");

    samba.set_passwords([("user3", "Changed-3-Pässwörd!")]);
    samba.replace("user4", "userAccountControl", "514");
    samba.replace("user5", "pwdLastSet", "0");
    let third = world.pass().await;
    assert_eq!((third.stored, third.errors), (1, 0), "{third:?}");

    // A user who was linked after his hash went by is read by himself.
    samba.set_passwords([("user6", "Fetched-6-Pässwörd!")]);
    let page = world.channel.source.read(std::slice::from_ref(&world.users[6].anchor)).await.expect("a read");
    assert_eq!(page.accounts.len(), 1);
    let fourth = world.pass().await;
    assert_eq!(fourth.stored, 1, "{fourth:?}");

    samba.stop();
    assert!(matches!(world.check(0, "Start-0-Pässwörd!").await, Answer::Verdict(Verdict::Verified)));
    assert!(matches!(world.check(3, "Changed-3-Pässwörd!").await, Answer::Verdict(Verdict::Verified)));
    for (user, typed) in [(0, "Start-1-Pässwörd!"), (3, "Start-3-Pässwörd!")] {
        let answer = world.check(user, typed).await;
        assert!(matches!(answer, Answer::Verdict(Verdict::Refused(Refusal::WrongPassword))), "{answer:?}");
    }
    let states = [&world.users[4].anchor, &world.users[5].anchor].map(Clone::clone);
    let known = world.credentials.known(&world.channel.connector, &states).await.expect("a store");
    let state = |anchor: &SourceAnchor| {
        let known = known.iter().find(|known| known.anchor == *anchor).expect("known");
        known.state.clone().expect("a state").0
    };
    assert!(!state(&states[0]).enabled);
    assert!(state(&states[1]).must_change_password);
    // A pass that cannot reach the directory leaves everything as it is.
    let error = world.channel.run_pass(EPOCH).await.expect_err("nobody answers");
    assert!(matches!(error, ChannelError::Source(_)), "{error}");
    assert!(matches!(world.check(0, "Start-0-Pässwörd!").await, Answer::Verdict(Verdict::Verified)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_rights_the_channel_stops_and_says_which() {
    let samba = Samba::start(CORP, &["get-changes"]);
    samba.add_users("user", &["Start-0-Pässwörd!".to_owned()]);
    let world = World::open(&samba, &["user0"], ReplicationSignIn::Ntlm).await;
    let error = world.channel.run_pass(EPOCH).await.expect_err("a right is missing");
    let text = landbridge::identity::causes(&error);
    assert!(text.contains("Replicating Directory Changes All") && text.contains("1131f6ad-"), "{text}");
    samba.grant(SYNC_ACCOUNT, &["get-changes-all"]);
    assert_eq!(world.pass().await.stored, 1);
}
