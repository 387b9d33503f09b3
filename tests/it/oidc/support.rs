//! A gateway on loopback with two people: Ada by password hash, Fay by a federation partner.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landbridge::identity::{
    AccountState, Answer, AuthenticationMethod, Backup, Clock as _, ConnectorName, CredentialSource, DomainName,
    EntityId, FailoverMode, GroupId, PlainPassword, Refusal, SettableClock, SignInName, SourceAnchor, SystemClock,
    TransactionId, Unavailable, UnavailableCause, Upn, UserId, Verdict, Wire,
};
use landbridge::issuer::{Algorithm, Issuer, IssuerSettings, KeySealer, NewClient, SealFault};
use landbridge::limits::Rate;
use landbridge::signin::directory::{Directory, DirectoryState, FailoverStanding, Holder, Realm, UserForSignIn};
use landbridge::signin::store::StoreDown;
use landbridge::signin::{
    Admission, CredentialFacts, FederatedIdentity, HashAnswer, HashCheck, LiveAnswer, LiveCheck, LiveSubject, Parts,
    ServerProbe, Settings, SignIn, SignInKey,
};
use landbridge::store::audit::AuditLog;
use landbridge::store::issuer::IssuerStore;
use landbridge::store::signin::SignInTables;
use landbridge::store::{Database, Room, StoreError, Urgency};
use landbridge::web::{Check, ClientNetworks, FederationGate, GateError, Outgoing, Pace, Readiness, Services, router};
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use zeroize::Zeroizing;

pub const ADA: &str = "ada@a.example";
pub const FAY: &str = "fay@fed.example";
pub const PASSWORD: &str = "correct horse";
pub const REDIRECT: &str = "https://app.example/cb";
pub const BYE: &str = "https://app.example/bye";
pub const PARTNER: &str = "https://idp.fed.example/metadata";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub struct World {
    _dir: tempfile::TempDir,
    pub base: String,
    pub http: reqwest::Client,
    pub db: Database,
    pub audit: AuditLog,
    pub clock: Arc<SettableClock>,
    pub issuer: Arc<Issuer>,
    pub ada: UserId,
    /// Secrets of the clients `web` (RS256), `es` (ES256) and `pairwise`; `spa` is public.
    pub secrets: BTreeMap<&'static str, String>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl World {
    pub async fn start() -> Self {
        Self::paced(Rate { per_minute: 60_000, burst: 60_000 }).await
    }

    /// With so many requests of sign-in from one network.
    pub async fn paced(rate: Rate) -> Self {
        // The test's own HTTP client needs a provider, though it speaks plain HTTP.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().display());
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let clock = Arc::new(SettableClock::at(SystemClock.now()));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let settings = IssuerSettings::new(base.parse().expect("an issuer"));
        let store = Arc::new(IssuerStore::new(db.clone(), audit.clone()));
        let issuer = Arc::new(Issuer::open(settings, store, Arc::new(Plain), clock.clone()).await.expect("it opens"));
        let (ada, fay) = (UserId::random(), UserId::random());
        let sign_in = SignIn::new(Parts {
            directory: Arc::new(People { ada, fay }),
            store: Arc::new(SignInTables::new(db.clone(), audit.clone())),
            live: Arc::new(NoDirectory),
            hashes: Arc::new(OnePassword),
            clock: clock.clone(),
            settings: Settings { refusal_quantum: Duration::from_millis(1), ..Settings::default() },
            key: SignInKey::new([7; 32]),
        });
        let services = Services {
            sign_in,
            issuer: issuer.clone(),
            federation: Arc::new(Partner { clock: clock.clone() }),
            readiness: Arc::new(Ready),
            organisation: "Example & Sons".into(),
            networks: ClientNetworks::FromConnection,
            pace: Pace::new(rate),
        };
        let service = router(services).into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.expect("served") });
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let mut world = Self { _dir: dir, base, http, db, audit, clock, issuer, ada, secrets: BTreeMap::new(), server };
        world.add_user(ada, "Ada Byron", ADA, "YWRh").await;
        world.add_user(fay, "Fay", FAY, "ZmF5").await;
        for (id, algorithm) in [
            ("web", Algorithm::Rs256),
            ("es", Algorithm::Es256),
            ("pairwise", Algorithm::Rs256),
            ("spa", Algorithm::Es256),
        ] {
            let new = NewClient {
                client_id: id.parse().expect("an id"),
                name: id.into(),
                public: id == "spa",
                redirect_uris: vec![REDIRECT.into(), "https://app.example/cb?tenant=1".into()],
                logout_uris: vec![BYE.into()],
                pairwise: id == "pairwise",
                algorithm,
            };
            let (client, secret) = new.register(world.clock.now()).expect("a good client");
            assert!(world.issuer.clients().add_client(client).await.expect("the store is up"));
            if let Some(secret) = secret {
                world.secrets.insert(id, secret.expose().to_owned());
            }
        }
        world
    }

    async fn add_user(&self, oid: UserId, name: &str, upn: &str, anchor: &str) {
        let (domain, method) = match upn.rsplit_once('@') {
            Some((_, "fed.example")) => ("fed.example", "federated"),
            _ => ("a.example", "phs"),
        };
        self.sql(&format!(
            "INSERT INTO tenant_user (oid, upn, upn_folded, domain, display_name, given_name, surname, mail, attributes, \
             account_enabled, cloud_mastered, security_stamp, created_at, updated_at) VALUES ('{oid}', '{upn}', \
             '{upn}', '{domain}', '{name}', 'G', 'S', 'mail-{upn}', '{{}}', 1, 0, 's1', 0, 0)"
        ))
        .await;
        self.sql(&format!(
            "INSERT INTO credential_source (oid, connector, anchor, eligible, updated_at) \
             VALUES ('{oid}', 'corp', '{anchor}', 1, 0)"
        ))
        .await;
        self.sql(&format!(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', '{anchor}', 'sealed', '', '', '', 3, 0, 0)"
        ))
        .await;
        self.sql(&format!(
            "INSERT INTO tenant_domain (name, is_initial, verification, challenge, created_at, method, method_since, \
             backup, failover, max_hash_age_ms, version) VALUES ('{domain}', 0, 'operator', '', 0, '{method}', 0, 'none', \
             'manual', 0, 1)"
        ))
        .await;
    }

    pub async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        let done = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await.map_err(StoreError::doing("a test's write"))
            })
        });
        done.await.expect("the test's own statement is right");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Kinds and reasons of the newest audit records, oldest first.
    pub async fn tail(&self, count: i64) -> Vec<(String, Option<String>)> {
        let records = self.audit.tail(None, count).await.expect("the log is up");
        records.into_iter().map(|record| (record.kind, record.reason)).collect()
    }

    /// The address of an authorization request of `web` with parameters replaced, added or (empty) left out.
    pub fn authorize_url(&self, changes: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("client_id", "web"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile email offline_access"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for change in changes {
            pairs.retain(|(name, _)| name != &change.0);
            if !change.1.is_empty() {
                pairs.push(*change);
            }
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.url(&format!("/oauth2/authorize?{query}"))
    }

    /// Posts to the token endpoint as `client` with its secret in the header.
    pub async fn token(&self, client: &str, form: &[(&str, &str)]) -> (u16, serde_json::Value) {
        let request = self.http.post(self.url("/oauth2/token"));
        let request = match self.secrets.get(client) {
            Some(secret) => request.basic_auth(client, Some(secret)).form(form),
            None => {
                let mut form = form.to_vec();
                form.push(("client_id", client));
                request.form(&form)
            }
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    pub async fn redeem(&self, client: &str, code: &str) -> (u16, serde_json::Value) {
        self.token(client, &code_form(code)).await
    }

    pub async fn refresh(&self, client: &str, token: &str) -> (u16, serde_json::Value) {
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    pub async fn userinfo(&self, token: &str) -> (u16, serde_json::Value) {
        let answer = self.http.get(self.url("/oauth2/userinfo")).bearer_auth(token).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

pub fn code_form(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)]
}

/// A browser played by hand: keeps cookies, sends `Origin` as browsers do, follows nothing by itself.
pub struct Tab<'a> {
    pub world: &'a World,
    pub cookies: BTreeMap<String, String>,
    pub origin: String,
}

pub struct Shown {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl<'a> Tab<'a> {
    pub fn new(world: &'a World) -> Self {
        Self { world, cookies: BTreeMap::new(), origin: world.base.clone() }
    }

    pub async fn get(&mut self, url: &str) -> Shown {
        let request = self.world.http.get(url);
        self.send(request).await
    }

    /// What a script or an image of a page does, where a browser tells it.
    pub async fn fetch(&mut self, url: &str, mode: &str) -> Shown {
        let request = self.world.http.get(url).header("sec-fetch-mode", mode);
        self.send(request).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Shown {
        let request = self.world.http.post(self.world.url(path)).header("origin", &self.origin).form(form);
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Shown {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("ASCII");
            assert!(
                text.contains("Secure; HttpOnly") && text.contains("Path=/;") && text.starts_with("__Host-"),
                "{text}"
            );
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Shown {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.text().await.expect("a body"),
        }
    }

    /// Signs in with the pages, from the address of an authorization request to the redirect that ends it.
    pub async fn sign_in(&mut self, url: &str) -> Shown {
        let page = self.get(url).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = self.post(&page.action(), &[("name", ADA)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        self.post(&page.action(), &[("password", PASSWORD)]).await
    }

    /// A code for `client`.
    pub async fn code(&mut self, client: &str, changes: &[(&str, &str)]) -> String {
        let mut all = vec![("client_id", client)];
        all.extend_from_slice(changes);
        let url = self.world.authorize_url(&all);
        let shown = self.sign_in(&url).await;
        shown.param("code").unwrap_or_else(|| panic!("no code: {} {}", shown.status, shown.body))
    }
}

impl Shown {
    /// The action of the first form.
    pub fn action(&self) -> String {
        self.attribute("action=\"")
    }

    pub fn attribute(&self, start: &str) -> String {
        let rest = self.body.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.body)).1;
        rest.split('"').next().expect("a value").to_owned()
    }

    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|value| value.to_str().expect("ASCII")).unwrap_or_default()
    }

    /// A parameter of the redirect.
    pub fn param(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.location()).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    pub fn policy(&self) -> &str {
        self.headers["content-security-policy"].to_str().expect("ASCII")
    }
}

/// Stands for the key ring: binds the purpose, hides nothing.
struct Plain;

impl KeySealer for Plain {
    fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, SealFault> {
        Ok(format!("{purpose}|{}", hex::encode(plain)))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        let (bound, plain) = sealed.split_once('|').expect("sealed by us");
        assert_eq!(bound, purpose);
        Ok(Zeroizing::new(hex::decode(plain).expect("sealed by us")))
    }
}

struct People {
    ada: UserId,
    fay: UserId,
}

fn corp() -> ConnectorName {
    "corp".parse().expect("a name")
}

impl People {
    fn realm(domain: &str) -> Option<Realm> {
        let method = match domain {
            "a.example" => AuthenticationMethod::Phs,
            "fed.example" => AuthenticationMethod::Federated,
            _ => return None,
        };
        Some(Realm {
            domain: domain.parse().expect("a domain"),
            method,
            backup: Backup::None,
            failover: FailoverMode::Manual,
            max_hash_age: Duration::from_secs(3600),
            pin: None,
            partner: (method == AuthenticationMethod::Federated).then(|| PARTNER.parse().expect("an entity id")),
            connectors: vec![corp()],
            rollouts: Vec::new(),
            failover_groups: Vec::new(),
            partner_outage: None,
        })
    }

    fn user(oid: UserId, upn: &str, anchor: &str) -> UserForSignIn {
        let anchor = SourceAnchor::from_stored(anchor.into());
        UserForSignIn {
            oid,
            upn: upn.parse().expect("a upn"),
            recent_upns: vec![],
            source_anchor: Some(anchor.clone()),
            account_enabled: true,
            security_stamp: "s1".into(),
            source: Some(CredentialSource { connector: corp(), anchor }),
            directory_state: Some(DirectoryState {
                state: AccountState::unrestricted(),
                observed_at: SystemClock.now(),
            }),
            refusal: None,
        }
    }
}

#[async_trait]
impl Directory for People {
    async fn realm_of(&self, name: &SignInName) -> Result<Option<Realm>, StoreDown> {
        Ok(match name {
            SignInName::Address { domain, .. } => Self::realm(domain.as_str()),
            SignInName::DownLevel { .. } => None,
        })
    }

    async fn holder(&self, name: &SignInName) -> Result<Option<Holder>, StoreDown> {
        let holder =
            |oid, domain: &str| Holder { oid, domain: domain.parse().expect("a domain"), groups: BTreeSet::new() };
        Ok(match name.folded().as_str() {
            ADA => Some(holder(self.ada, "a.example")),
            FAY => Some(holder(self.fay, "fed.example")),
            _ => None,
        })
    }

    async fn groups_of_user(&self, _: UserId) -> Result<BTreeSet<GroupId>, StoreDown> {
        Ok(BTreeSet::new())
    }

    async fn realm(&self, domain: &DomainName) -> Result<Option<Realm>, StoreDown> {
        Ok(Self::realm(domain.as_str()))
    }

    async fn initial_realm(&self) -> Result<Realm, StoreDown> {
        Ok(Self::realm("a.example").expect("there"))
    }

    async fn user(&self, name: &SignInName) -> Result<Option<UserForSignIn>, StoreDown> {
        Ok(match name.folded().as_str() {
            ADA => Some(Self::user(self.ada, ADA, "YWRh")),
            FAY => Some(Self::user(self.fay, FAY, "ZmF5")),
            "panic@a.example" => panic!("asked for"),
            _ => None,
        })
    }

    async fn user_by_anchor(&self, anchor: &SourceAnchor) -> Result<Option<UserForSignIn>, StoreDown> {
        Ok((anchor.as_str() == "ZmF5").then(|| Self::user(self.fay, FAY, "ZmF5")))
    }

    async fn failover_standing(&self, _: UserId, _: &CredentialSource) -> Result<FailoverStanding, StoreDown> {
        Ok(FailoverStanding { barred: false, groups: BTreeSet::new(), last_pass: None })
    }

    async fn gone(&self, _: Vec<GroupId>) -> Result<BTreeSet<GroupId>, StoreDown> {
        Ok(BTreeSet::new())
    }
}

struct OnePassword;

#[async_trait]
impl HashCheck for OnePassword {
    async fn check(&self, source: Option<&CredentialSource>, password: &PlainPassword, _: Admission) -> HashAnswer {
        let right = source.is_some() && password.expose() == PASSWORD;
        let verdict = if right { Verdict::Verified } else { Verdict::Refused(Refusal::WrongPassword) };
        HashAnswer { answer: Answer::Verdict(verdict), credential_version: source.map(|_| 3) }
    }

    async fn matches_spare(&self, _: &CredentialSource, _: &PlainPassword) -> Option<bool> {
        None
    }

    async fn facts(
        &self,
        _: &CredentialSource,
    ) -> Result<Option<CredentialFacts>, landbridge::signin::authority::CredentialStoreDown> {
        Ok(None)
    }
}

struct NoDirectory;

#[async_trait]
impl LiveCheck for NoDirectory {
    async fn check(&self, _: &ConnectorName, _: &DomainName, _: &LiveSubject, _: &PlainPassword) -> LiveAnswer {
        let unavailable = Unavailable { cause: UnavailableCause::Connect, wire: Wire::NothingSent, server: None };
        LiveAnswer { answer: Answer::Unavailable(unavailable), server: None, password_set: None, late: None }
    }

    async fn probe(&self, _: &ConnectorName) -> Vec<ServerProbe> {
        vec![]
    }

    fn deadline(&self, _: &ConnectorName) -> Duration {
        Duration::from_secs(1)
    }
}

/// Accepts the answer `good` and refuses every other.
struct Partner {
    clock: Arc<SettableClock>,
}

#[async_trait]
impl FederationGate for Partner {
    async fn start(
        &self,
        partner: &EntityId,
        request_id: &str,
        relay: TransactionId,
        force: bool,
    ) -> Result<Outgoing, GateError> {
        assert_eq!(partner.as_str(), PARTNER);
        let mut fields = vec![("SAMLRequest", request_id.to_owned()), ("RelayState", relay.to_string())];
        fields.extend(force.then(|| ("ForceAuthn", "true".to_owned())));
        Ok(Outgoing::Form { action: "https://idp.fed.example/sso".into(), fields })
    }

    async fn accept(
        &self,
        response: &str,
        partner: &EntityId,
        request_id: &str,
        network: Option<std::net::IpAddr>,
    ) -> Result<FederatedIdentity, GateError> {
        assert_eq!(network, Some([127, 0, 0, 1].into()));
        if response != "good" {
            return Err(GateError::Refused { code: "signature".into(), last: response == "worst" });
        }
        Ok(FederatedIdentity {
            partner: partner.clone(),
            request_id: request_id.to_owned(),
            source_anchor: SourceAnchor::from_stored("ZmF5".into()),
            upn: FAY.parse::<Upn>().expect("a upn"),
            amr: vec!["fed".into()],
            authenticated_at: self.clock.now(),
            assertion: format!("assertion-{request_id}"),
            valid_until: self.clock.now() + Duration::from_secs(60),
        })
    }

    fn metadata(&self) -> String {
        "<EntityDescriptor/>".into()
    }
}

struct Ready;

#[async_trait]
impl Readiness for Ready {
    async fn check(&self) -> Vec<Check> {
        vec![Check { name: "store", ok: true }]
    }
}
