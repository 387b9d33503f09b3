//! The conformance suite of the issuer's store: every rule on SQLite and on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::Record;
use landbridge::identity::{
    AttemptId, AuthenticationMethod, ClientId, GroupId, SessionId, SettableClock, Timestamp, UserId,
};
use landbridge::issuer::grant::AuthenticationContext;
use landbridge::issuer::opaque::Opaque;
use landbridge::issuer::redemption::{CodeRefusal, Proof};
use landbridge::issuer::refresh::RefreshRefusal;
use landbridge::issuer::signing_key::SigningKey;
use landbridge::issuer::standing::Ended;
use landbridge::issuer::store::{
    Clients, GrantLifetimes, Granted, Grants, NewCode, Redemption, RefreshRequest, Revocable, SigningKeys, StoredKey,
};
use landbridge::issuer::{Algorithm, AuthorizationRequest, GrantId, NewClient, ResponseMode};
use landbridge::store::audit::AuditLog;
use landbridge::store::issuer::IssuerStore;
use landbridge::store::{Database, Room, StoreError, Urgency};

use crate::support::postgres::Postgres;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const REDIRECT: &str = "https://app.example/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct World {
    _dir: tempfile::TempDir,
    db: Database,
    audit: AuditLog,
    store: IssuerStore,
    oid: UserId,
    sid: SessionId,
}

impl World {
    /// Ada, signed in with a password of version 3, on a new database at `url` (SQLite when there is none).
    async fn open(url: Option<String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = url.unwrap_or_else(|| format!("sqlite:{}", dir.path().display()));
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock);
        let store = IssuerStore::new(db.clone(), audit.clone());
        let world = Self { _dir: dir, db, audit, store, oid: UserId::random(), sid: SessionId::random() };
        let (oid, sid, end) = (world.oid, world.sid, (NOW + Duration::from_secs(86_400)).millis());
        for sql in [
            format!(
                "INSERT INTO tenant_user (oid, upn, upn_folded, domain, display_name, mail, attributes, account_enabled, \
                 cloud_mastered, security_stamp, created_at, updated_at) VALUES ('{oid}', 'Ada@a.example', \
                 'ada@a.example', 'a.example', 'Ada', 'ada@a.example', '{{}}', 1, 0, 's1', 0, 0)"
            ),
            format!(
                "INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
                 VALUES ('{oid}', 'corp', 'YQ==', 1, 0)"
            ),
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', 'YQ==', 'sealed', '', '', '', 3, 0, 0)"
                .to_owned(),
            format!(
                "INSERT INTO session (sid, cookie_hash, oid, domain, security_stamp, credential_version, method, \
                 authority, failover, attempt, amr, auth_time, expires_at) VALUES ('{sid}', 'h', '{oid}', 'a.example', \
                 's1', 3, 'phs', 'x', 0, '{}', '[\"pwd\"]', 0, {end})",
                AttemptId::random()
            ),
        ] {
            world.sql(&sql).await;
        }
        world
    }

    async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        let done = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await.map_err(StoreError::doing("a test's write"))
            })
        });
        done.await.expect("the test's own statement is right");
    }

    async fn code(&self, now: Timestamp) -> Opaque {
        let code = Opaque::random();
        self.store.issue_code(self.new_code(&code, now)).await.expect("the store is up").expect("a live session");
        code
    }

    fn new_code(&self, code: &Opaque, now: Timestamp) -> NewCode {
        NewCode {
            hash: code.hash(),
            sid: self.sid,
            oid: self.oid,
            request: AuthorizationRequest {
                client: app(),
                redirect_uri: REDIRECT.parse().expect("an address"),
                mode: ResponseMode::Query,
                scope: "openid offline_access".parse().expect("a scope"),
                state: None,
                nonce: Some("n".into()),
                challenge: Some(CHALLENGE.parse().expect("a challenge")),
                subject: None,
            },
            context: AuthenticationContext {
                method: AuthenticationMethod::Phs,
                authority: "x".into(),
                failover: false,
                attempt: AttemptId::random(),
                amr: vec!["pwd".into()],
                auth_time: now,
            },
            now,
            expires_at: now + Duration::from_secs(60),
        }
    }

    async fn redeem(&self, redemption: Redemption) -> Result<Granted, CodeRefusal> {
        self.store.redeem_code(redemption).await.expect("the store is up")
    }

    /// A grant and its first refresh token.
    async fn granted(&self) -> (GrantId, Opaque) {
        let code = self.code(NOW).await;
        let token = Opaque::random();
        let granted = self.redeem(redemption(&code, &token, NOW)).await.expect("a good code");
        assert!(granted.refreshable);
        (granted.grant.id, token)
    }

    async fn refresh(&self, token: &Opaque, at: Timestamp) -> Result<Opaque, RefreshRefusal> {
        self.refresh_as("app", token, at).await
    }

    async fn refresh_as(&self, client: &str, token: &Opaque, at: Timestamp) -> Result<Opaque, RefreshRefusal> {
        let successor = Opaque::random();
        let request = RefreshRequest {
            token: token.hash(),
            client: client.parse().expect("an id"),
            wanted: None,
            successor: successor.hash(),
            now: at,
            inactivity: at + Duration::from_secs(3600),
        };
        self.store.refresh(request).await.expect("the store is up").map(|_| successor)
    }

    /// Kind and reason of the newest audit records, oldest first.
    async fn tail(&self, count: i64) -> Vec<(String, Option<String>)> {
        let records = self.audit.tail(None, count).await.expect("the log is up");
        records.into_iter().map(|Record { kind, reason, .. }| (kind, reason)).collect()
    }
}

fn app() -> ClientId {
    "app".parse().expect("an id")
}

fn redemption(code: &Opaque, token: &Opaque, now: Timestamp) -> Redemption {
    let later = now + Duration::from_secs(7200);
    Redemption {
        code: code.hash(),
        client: app(),
        proof: Proof { redirect_uri: REDIRECT.into(), verifier: Some(VERIFIER.into()) },
        now,
        grant: GrantId::random(),
        lifetimes: GrantLifetimes { online: later, offline: later, failover: later, inactivity: later },
        refresh_token: token.hash(),
    }
}

fn record(kind: &str, reason: &str) -> (String, Option<String>) {
    (kind.to_owned(), Some(reason.to_owned()))
}

/// Runs a rule on both stores.
macro_rules! on_both {
    ($(async fn $rule:ident($world:ident: &World) $body:block)*) => {$(
        mod $rule {
            use super::*;

            async fn rule($world: &World) $body

            #[tokio::test]
            async fn on_sqlite() {
                rule(&World::open(None).await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                let url = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
                rule(&World::open(Some(url)).await).await;
            }
        }
    )*};
}

on_both! {
    async fn a_client_comes_back_as_it_was_added_and_its_id_is_taken_once(world: &World) {
        let new = NewClient {
            client_id: app(),
            name: "App".into(),
            public: false,
            redirect_uris: vec![REDIRECT.into()],
            logout_uris: vec!["https://app.example/bye".into()],
            pairwise: true,
            algorithm: landbridge::issuer::Algorithm::Es256,
        };
        let (client, secret) = new.register(NOW).expect("a good client");
        assert!(secret.is_some());
        assert!(world.store.add_client(client.clone()).await.expect("up"));
        assert!(!world.store.add_client(client.clone()).await.expect("up"));
        assert_eq!(world.store.client(&app()).await.expect("up"), Some(client.clone()));
        assert_eq!(world.store.clients().await.expect("up"), [client]);
        assert_eq!(world.store.client(&"other".parse().expect("an id")).await.expect("up"), None);
    }

    async fn nodes_that_start_together_make_one_signing_key(world: &World) {
        let key = || {
            let (key, _) = SigningKey::generate(Algorithm::Es256, NOW).expect("a key");
            let sealed_key = "sealed".to_owned();
            StoredKey { jwk: key.jwk, sealed_key, created_at: NOW, active_from: NOW, retired_at: None }
        };
        let nodes = (0..4).map(|_| world.store.add_first_key(key()));
        futures::future::try_join_all(nodes).await.expect("up");
        assert_eq!(world.store.keys().await.expect("up").len(), 1);
        world.store.add_key(key()).await.expect("up");
        let retired = world.store.keys().await.expect("up").iter().filter(|key| key.retired_at.is_some()).count();
        assert_eq!(retired, 1, "a rotation adds one, and the first one retires");
    }

    async fn a_code_is_traded_once_and_its_second_use_revokes_the_grant(world: &World) {
        let code = world.code(NOW).await;
        let token = Opaque::random();
        let granted = world.redeem(redemption(&code, &token, NOW)).await.expect("a good code");
        assert_eq!(granted.nonce.as_deref(), Some("n"));
        assert_eq!(granted.holder.upn, "Ada@a.example");
        assert_eq!((granted.grant.oid, granted.grant.sid), (world.oid, world.sid));
        assert!(world.store.live_grant(granted.grant.id, NOW).await.expect("up").is_some());
        let again = world.redeem(redemption(&code, &Opaque::random(), NOW)).await;
        assert_eq!(again.map(|_| ()), Err(CodeRefusal::Reused));
        assert!(world.store.live_grant(granted.grant.id, NOW).await.expect("up").is_none());
        assert_eq!(world.refresh(&token, NOW).await.map(|_| ()), Err(RefreshRefusal::Revoked));
        let expected = [
            record("grant-revoked", "code-reused"),
            record("token-refused", "code-reused"),
            record("token-refused", "grant-revoked"),
        ];
        assert_eq!(world.tail(3).await, expected);
    }

    async fn of_two_redemptions_at_once_one_wins_and_is_revoked(world: &World) {
        let code = world.code(NOW).await;
        let (one, two) = (Opaque::random(), Opaque::random());
        let (a, b) = tokio::join!(world.redeem(redemption(&code, &one, NOW)), world.redeem(redemption(&code, &two, NOW)));
        let mut results = [a.map(|granted| granted.grant.id), b.map(|granted| granted.grant.id)];
        results.sort_by_key(Result::is_err);
        assert_eq!(results[1], Err(CodeRefusal::Reused));
        let grant = results[0].expect("one of them wins");
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_none());
    }

    async fn each_wrong_proof_and_each_other_client_burns_the_code(world: &World) {
        let base = |code: &Opaque| redemption(code, &Opaque::random(), NOW);
        let rows: [(fn(&mut Redemption), CodeRefusal); 5] = [
            (|r| r.proof.redirect_uri = "https://app.example/CB".into(), CodeRefusal::RedirectUri),
            (|r| r.proof.verifier = None, CodeRefusal::VerifierMissing),
            (|r| r.proof.verifier = Some("x".repeat(43)), CodeRefusal::VerifierWrong),
            (|r| r.proof.verifier = Some(CHALLENGE.into()), CodeRefusal::VerifierWrong),
            (|r| r.now = NOW + Duration::from_secs(60), CodeRefusal::Expired),
        ];
        for (change, refusal) in rows {
            let code = world.code(NOW).await;
            let mut wrong = base(&code);
            change(&mut wrong);
            assert_eq!(world.redeem(wrong).await.map(|_| ()), Err(refusal));
            assert_eq!(world.redeem(base(&code)).await.map(|_| ()), Err(CodeRefusal::Reused), "{refusal:?}");
        }
        let code = world.code(NOW).await;
        let mut other = base(&code);
        other.client = "other".parse().expect("an id");
        assert_eq!(world.redeem(other.clone()).await.map(|_| ()), Err(CodeRefusal::OtherClient));
        assert_eq!(world.redeem(base(&code)).await.map(|_| ()), Err(CodeRefusal::Reused));
        let code = world.code(NOW).await;
        let granted = world.redeem(base(&code)).await.expect("a good code").grant.id;
        other.code = code.hash();
        assert_eq!(world.redeem(other).await.map(|_| ()), Err(CodeRefusal::OtherClient));
        assert!(world.store.live_grant(granted, NOW).await.expect("up").is_none(), "what it gave is revoked");
    }

    async fn a_lost_answer_gets_another_successor_and_whoever_goes_on_first_wins(world: &World) {
        let (grant, first) = world.granted().await;
        let lost = world.refresh(&first, NOW).await.expect("rotates");
        let later = NOW + Duration::from_secs(30);
        let second = world.refresh(&first, later).await.expect("the answer was lost");
        let third = world.refresh(&second, later).await.expect("goes on");
        assert!(world.refresh(&third, later).await.is_ok());
        assert_eq!(world.refresh(&lost, later).await.map(|_| ()), Err(RefreshRefusal::Reused));
        assert!(world.store.live_grant(grant, later).await.expect("up").is_none());
        assert_eq!(
            world.tail(2).await,
            [record("grant-revoked", "refresh-token-reused"), record("token-refused", "refresh-token-reused")]
        );
    }

    async fn a_stolen_token_ends_the_family_for_thief_and_owner(world: &World) {
        let (grant, first) = world.granted().await;
        let second = world.refresh(&first, NOW).await.expect("the owner rotates");
        let third = world.refresh(&second, NOW).await.expect("and goes on");
        assert_eq!(world.refresh(&first, NOW).await.map(|_| ()), Err(RefreshRefusal::Reused), "the thief");
        assert_eq!(world.refresh(&third, NOW).await.map(|_| ()), Err(RefreshRefusal::Revoked), "the owner");
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_none());
    }

    async fn a_predecessor_is_good_for_thirty_seconds(world: &World) {
        let (_, first) = world.granted().await;
        world.refresh(&first, NOW).await.expect("rotates");
        let late = NOW + Duration::from_millis(30_001);
        assert_eq!(world.refresh(&first, late).await.map(|_| ()), Err(RefreshRefusal::Reused));
    }

    async fn concurrent_uses_of_one_token_each_get_a_successor(world: &World) {
        let (grant, first) = world.granted().await;
        let (a, b) = tokio::join!(world.refresh(&first, NOW), world.refresh(&first, NOW));
        let (a, b) = (a.expect("rotates"), b.expect("rotates"));
        assert!(world.refresh(&b, NOW).await.is_ok());
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_some());
        assert_eq!(world.refresh(&a, NOW).await.map(|_| ()), Err(RefreshRefusal::Reused));
    }

    async fn an_unknown_or_expired_token_refuses_and_changes_nothing_and_a_foreign_one_ends_the_grant(world: &World) {
        let (grant, first) = world.granted().await;
        assert_eq!(world.refresh(&Opaque::random(), NOW).await.map(|_| ()), Err(RefreshRefusal::Unknown));
        let second = world.refresh(&first, NOW).await.expect("rotates still");
        let inactive = NOW + Duration::from_secs(3600);
        assert_eq!(world.refresh(&second, inactive).await.map(|_| ()), Err(RefreshRefusal::Expired));
        let over = NOW + Duration::from_secs(7200);
        assert_eq!(world.refresh(&second, over).await.map(|_| ()), Err(RefreshRefusal::GrantExpired));
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_some());
        // One that another client shows has leaked.
        assert_eq!(world.refresh_as("other", &second, NOW).await.map(|_| ()), Err(RefreshRefusal::OtherClient));
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_none());
        assert_eq!(world.refresh(&second, NOW).await.map(|_| ()), Err(RefreshRefusal::Revoked));
    }

    async fn what_the_grant_rests_on_is_compared_at_every_use(world: &World) {
        let undo_user = "UPDATE tenant_user SET account_enabled = 1, deleted_at = NULL, security_stamp = 's1'";
        let state = |enabled: bool| {
            let mut state = landbridge::identity::AccountState::unrestricted();
            state.enabled = enabled;
            let state = serde_json::to_string(&state).expect("JSON");
            format!(
                "INSERT INTO directory_state (connector, anchor, state, source_version, observed_at) \
                 VALUES ('corp', 'YQ==', '{state}', '1', 0) ON CONFLICT (connector, anchor) DO UPDATE SET state = excluded.state"
            )
        };
        let rows = [
            ("UPDATE session SET ended_at = 1".to_owned(), "UPDATE session SET ended_at = NULL".to_owned(), Ended::Session),
            ("UPDATE tenant_user SET account_enabled = 0".to_owned(), undo_user.to_owned(), Ended::UserDisabled),
            ("UPDATE tenant_user SET deleted_at = 1".to_owned(), undo_user.to_owned(), Ended::UserDeleted),
            ("UPDATE tenant_user SET security_stamp = 's2'".to_owned(), undo_user.to_owned(), Ended::StampMoved),
            ("UPDATE credential SET version = 4".to_owned(), "UPDATE credential SET version = 3".to_owned(), Ended::PasswordChanged),
            ("UPDATE credential SET stage = 'wiped'".to_owned(), "UPDATE credential SET stage = 'sealed'".to_owned(), Ended::PasswordChanged),
            (state(false), state(true), Ended::DirectoryDisabled),
        ];
        let (grant, mut token) = world.granted().await;
        for (change, undo, ended) in rows {
            let waiting = world.code(NOW).await;
            world.sql(&change).await;
            assert_eq!(world.refresh(&token, NOW).await.map(|_| ()), Err(RefreshRefusal::Ended(ended)));
            let redeemed = world.redeem(redemption(&waiting, &Opaque::random(), NOW)).await;
            assert_eq!(redeemed.map(|_| ()), Err(CodeRefusal::Ended(ended)));
            let code = world.store.issue_code(world.new_code(&Opaque::random(), NOW)).await.expect("up");
            assert_eq!(code, Err(ended));
            assert!(world.store.live_grant(grant, NOW).await.expect("up").is_none(), "{ended:?}");
            world.sql(&undo).await;
            token = world.refresh(&token, NOW).await.expect("it stands again");
        }
    }

    async fn an_expired_session_makes_no_code_but_its_grant_goes_on(world: &World) {
        let (_, token) = world.granted().await;
        world.sql(&format!("UPDATE session SET expires_at = {}", NOW.millis())).await;
        let code = world.store.issue_code(world.new_code(&Opaque::random(), NOW)).await.expect("up");
        assert_eq!(code, Err(Ended::SessionExpired));
        assert!(world.refresh(&token, NOW).await.is_ok());
    }

    async fn a_client_revokes_its_own_grant_alone(world: &World) {
        let (grant, token) = world.granted().await;
        let other: ClientId = "other".parse().expect("an id");
        for what in [Revocable::Grant(grant), Revocable::RefreshToken(token.hash())] {
            world.store.revoke(what, other.clone(), NOW).await.expect("up");
        }
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_some());
        world.store.revoke(Revocable::RefreshToken(token.hash()), app(), NOW).await.expect("up");
        assert_eq!(world.refresh(&token, NOW).await.map(|_| ()), Err(RefreshRefusal::Revoked));
    }

    async fn a_session_keeps_a_row_per_client(world: &World) {
        world.code(NOW).await;
        world.code(NOW + Duration::from_secs(5)).await;
        let rows = sqlx::query("SELECT client_id, first_at, last_at FROM session_client").fetch_all(world.db.read()).await;
        let rows = rows.expect("rows");
        assert_eq!(rows.len(), 1);
        let times: (i64, i64) = (sqlx::Row::get(&rows[0], "first_at"), sqlx::Row::get(&rows[0], "last_at"));
        assert_eq!(times, (NOW.millis(), NOW.millis() + 5000));
    }

    async fn groups_are_read_through_nesting_and_circles(world: &World) {
        let (outer, inner, gone) = (GroupId::random(), GroupId::random(), GroupId::random());
        for (group, deleted) in [(outer, "NULL"), (inner, "NULL"), (gone, "1")] {
            world.sql(&format!(
                "INSERT INTO tenant_group (oid, attributes, cloud_mastered, member_count, created_at, updated_at, \
                 deleted_at) VALUES ('{group}', '{{}}', 0, 0, 0, 0, {deleted})"
            )).await;
        }
        let oid = world.oid.to_string();
        for (group, kind, member) in [
            (inner, "user", oid),
            (outer, "group", inner.to_string()),
            (inner, "group", outer.to_string()),
            (gone, "group", inner.to_string()),
        ] {
            world.sql(&format!(
                "INSERT INTO membership (group_oid, member_kind, member_oid) VALUES ('{group}', '{kind}', '{member}')"
            )).await;
        }
        let mut expected = [outer, inner];
        expected.sort_by_key(ToString::to_string);
        assert_eq!(world.store.groups(world.oid, 10).await.expect("up"), expected);
        assert_eq!(world.store.groups(world.oid, 1).await.expect("up"), expected[..1]);
    }

    async fn the_purge_drops_what_is_over_and_nothing_else(world: &World) {
        let (grant, token) = world.granted().await;
        world.code(NOW).await;
        let code_over = NOW + Duration::from_secs(61);
        assert_eq!(world.store.purge(code_over).await.expect("up"), 1, "the code that nobody traded");
        assert!(world.store.live_grant(grant, NOW).await.expect("up").is_some());
        let grant_over = NOW + Duration::from_secs(7201);
        assert_eq!(world.store.purge(grant_over).await.expect("up"), 3, "code, refresh token, grant");
        assert_eq!(world.refresh(&token, NOW).await.map(|_| ()), Err(RefreshRefusal::Unknown));
        assert_eq!(world.store.purge(grant_over).await.expect("up"), 0);
    }
}

#[tokio::test]
async fn a_rotation_survives_a_restart_and_a_revoked_family_stays_revoked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().display());
    let world = World::open(Some(url.clone())).await;
    let (_, first) = world.granted().await;
    let second = world.refresh(&first, NOW).await.expect("rotates");
    let third = world.refresh(&second, NOW).await.expect("rotates");
    world.db.close().await;
    let reopened = |world: World, url: String| async move {
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens again");
        let store = IssuerStore::new(
            db.clone(),
            AuditLog::new(db.clone(), "node1".parse().expect("an id"), Arc::new(SettableClock::at(NOW))),
        );
        World { db, store, ..world }
    };
    let world = reopened(world, url.clone()).await;
    let fourth = world.refresh(&third, NOW).await.expect("what was acknowledged is there");
    assert_eq!(world.refresh(&second, NOW).await.map(|_| ()), Err(RefreshRefusal::Reused));
    world.db.close().await;
    let world = reopened(world, url).await;
    assert_eq!(world.refresh(&fourth, NOW).await.map(|_| ()), Err(RefreshRefusal::Revoked));
}
