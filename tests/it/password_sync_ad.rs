//! The password channel on a Samba domain: hashes by replication, account states over LDAP.

use std::sync::Arc;
use std::time::Duration;

use landbridge::config::{
    Bounds, ConnectorSettings, DeltaMethod, Dialect, DirectoryScope, DisabledTest, ObjectClasses, PasswordAttributes,
    Reach, ReplicationSettings, ReplicationSignIn,
};
use landbridge::credential::pool::PoolSize;
use landbridge::credential::{Argon2Cost, ClearText, Hardening, HashingPool, KeyRing};
use landbridge::identity::{
    Answer, CredentialSource, DistinguishedName, LeaseEpoch, PlainPassword, Refusal, SourceAnchor, SystemClock,
    Timestamp, UserId, Verdict,
};
use landbridge::password_sync::store::PassStore as _;
use landbridge::password_sync::{
    AccountSource, AdSource, Channel, ChannelError, Depth, PassReport, Passwords, Sealer, SourceError, SourcePage,
    SourcePosition, StoredHashes,
};
use landbridge::signin::authority::{Admission, HashCheck as _};
use landbridge::store::audit::AuditLog;
use landbridge::store::credentials::Credentials;
use landbridge::store::{Database, Room, StoreError, Urgency};
use tokio::sync::mpsc;

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
            leaks: None,
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
        self.channel.run_pass(EPOCH, Depth::Changes).await.expect("a pass")
    }

    /// The gateway after a restart: nothing is left but the store.
    fn restart(&mut self, source: impl AccountSource + 'static) {
        self.channel.source = Arc::new(source);
    }

    /// How far the passwords are stored, as the store says.
    async fn position(&self) -> SourcePosition {
        let begun = self.credentials.begin_pass(EPOCH, &self.channel.connector, Timestamp::from_secs(0)).await;
        begun.expect("a store").expect("a position")
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
        servers: vec![format!("ldaps://{}", samba.address)],
        ca_file: Some(samba.ca_file()),
        bind_dn: dn(&samba.sync_account_name()),
        bind_password: PlainPassword::new(SYNC_PASSWORD.to_owned()).expect("may be typed"),
        domains: Vec::new(),
        reach: Reach::Direct,
        scope: DirectoryScope {
            dialect: Dialect::ActiveDirectory,
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
            export: None,
        },
        passwords: PasswordAttributes { attributes: Vec::new(), cleartext_allowed: false },
        replication: Some(ReplicationSettings {
            domain: samba.forest.netbios.to_owned(),
            account: SYNC_ACCOUNT.to_owned(),
            sign_in,
            naming_context: dn(&base),
        }),
        connect_deadline: Duration::from_secs(5),
        bind_deadline: Duration::from_secs(5),
        bounds: Bounds::Everywhere,
        lockout_duration: Duration::from_secs(600),
        password_policy: None,
        leaked_passwords: None,
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
    let error = world.channel.run_pass(EPOCH, Depth::Changes).await.expect_err("nobody answers");
    assert!(matches!(error, ChannelError::Source(_)), "{error}");
    assert!(matches!(world.check(0, "Start-0-Pässwörd!").await, Answer::Verdict(Verdict::Verified)));
}

/// A source that dies after some pages.
struct Dying {
    source: AdSource,
    pages: usize,
}

#[async_trait::async_trait]
impl AccountSource for Dying {
    async fn read_all(
        &self,
        since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        let (sender, mut received) = mpsc::channel(1);
        let read = self.source.read_all(since, sender);
        let some = async {
            for _ in 0..self.pages {
                let page = received.recv().await.expect("a page");
                pages.send(page).await.map_err(|_| SourceError::GivenUp)?;
            }
            drop(received);
            Err(SourceError::GivenUp)
        };
        let (_, ended) = tokio::join!(read, some);
        ended
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        self.source.read(anchors).await
    }
}

fn source(samba: &Samba) -> AdSource {
    let mut settings = settings(samba, ReplicationSignIn::Ntlm);
    settings.scope.page_size = 5;
    let replication = settings.replication.as_ref().expect("set");
    AdSource::new(&settings, replication, Arc::new(SystemClock)).expect("settings")
}

/// Of how many accounts a read from `since` tells a password anew, and of how many that it is as before.
async fn told(source: &AdSource, since: &SourcePosition) -> (usize, usize) {
    let (sender, mut pages) = mpsc::channel(100);
    source.read_all(Some(since), sender).await.expect("a read");
    let (mut anew, mut unchanged) = (0, 0);
    while let Some(page) = pages.recv().await {
        for account in page.accounts {
            match account.passwords {
                Passwords::Read(_) => anew += 1,
                Passwords::Unchanged => unchanged += 1,
                Passwords::Unreadable(reason) => panic!("{}: {reason}", account.anchor),
            }
        }
    }
    (anew, unchanged)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_channel_goes_on_where_all_is_stored() {
    const USERS: usize = 20;
    let mut samba = Samba::start(CORP, &RIGHTS);
    samba.add_users("user", &(0..USERS).map(|number| format!("Start-{number}-Pässwörd!")).collect::<Vec<_>>());
    let accounts: Vec<String> = (0..USERS).map(|number| format!("user{number}")).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let mut world = World::open(&samba, &accounts, ReplicationSignIn::Ntlm).await;
    // The account that reads is one of the directory's, too.
    const ALL: usize = USERS + 1;

    world.restart(Dying { source: source(&samba), pages: 2 });
    world.channel.run_pass(EPOCH, Depth::Changes).await.expect_err("it dies in the midst");
    world.restart(source(&samba));
    let first = world.pass().await;
    assert!((1..USERS as u64).contains(&first.stored), "some were stored before: {first:?}");
    assert_eq!((first.read, first.errors), (ALL as u64, 0));
    let position = world.position().await;
    assert_eq!(told(&source(&samba), &position).await, (0, ALL));

    samba.set_passwords([("user2", "Changed-2-Pässwörd!"), ("user17", "Changed-17-Pässwörd!")]);
    world.restart(Dying { source: source(&samba), pages: 1 });
    world.channel.run_pass(EPOCH, Depth::Changes).await.expect_err("it dies in the midst");
    assert_eq!(world.position().await, position, "never ahead of what is stored");
    assert_eq!(told(&source(&samba), &position).await, (2, ALL - 2));
    world.restart(source(&samba));
    world.pass().await;
    for user in [2, 17] {
        let answer = world.check(user, &format!("Changed-{user}-Pässwörd!")).await;
        assert!(matches!(answer, Answer::Verdict(Verdict::Verified)), "user{user}: {answer:?}");
    }
    let position = world.position().await;
    assert_eq!(told(&source(&samba), &position).await, (0, ALL));

    // Restored as another incarnation of its database: it is not believed to tell what it lost.
    samba.stop();
    samba.set_invocation_id("7b1a4c8e-1111-4222-8333-0123456789ab");
    samba.start_again();
    samba.set_passwords([("user5", "Changed-5-Pässwörd!")]);
    assert_eq!(told(&source(&samba), &position).await, (ALL, 0));
    // What another controller tells counts from what was seen of all of them.
    let elsewhere = position.as_str().replace(&format!("\"{}\"", samba.address), "\"dc7.corp.example\"");
    assert_ne!(elsewhere, position.as_str());
    let (anew, unchanged) = told(&source(&samba), &SourcePosition::new(elsewhere)).await;
    assert!((1..ALL).contains(&anew) && anew + unchanged == ALL, "{anew} and {unchanged}");
    world.pass().await;
    let answer = world.check(5, "Changed-5-Pässwörd!").await;
    assert!(matches!(answer, Answer::Verdict(Verdict::Verified)), "{answer:?}");
    assert_eq!(told(&source(&samba), &world.position().await).await, (0, ALL));
    // A position that is none, or too old, is not gone on from.
    assert_eq!(told(&source(&samba), &SourcePosition::new("17".to_owned())).await, (ALL, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_rights_the_channel_stops_and_says_which() {
    let samba = Samba::start(CORP, &["get-changes"]);
    samba.add_users("user", &["Start-0-Pässwörd!".to_owned()]);
    let world = World::open(&samba, &["user0"], ReplicationSignIn::Ntlm).await;
    let error = world.channel.run_pass(EPOCH, Depth::Changes).await.expect_err("a right is missing");
    let text = landbridge::identity::causes(&error);
    assert!(text.contains("Replicating Directory Changes All") && text.contains("1131f6ad-"), "{text}");
    samba.grant(SYNC_ACCOUNT, &["get-changes-all"]);
    assert_eq!(world.pass().await.stored, 1);
}
