//! `landbridge demo`: a gateway, a directory, a federation partner and a sample application on one machine.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;

use super::application::{Application, ListedAccount};
use super::directory::{Directory, Entries, Person};
use super::partner::{Account, PartnerIdentityProvider};
use super::pki::{DemoPki, ServerFiles, write_private};
use crate::app::installation::Installation;
use crate::app::{Gateway, tls};
use crate::cli::Client;
use crate::identity::{
    AuthenticationMethod, Backup, Clock as _, DomainName, FailoverMode, PlainPassword, SourceAnchor, SystemClock,
};
use crate::issuer::NewClient;
use crate::saml::key::KeyKind;
use crate::saml::received_request::RelyingParty;
use crate::saml::{SigningKey, XmlSecEngine};
use crate::signin::desk::SetMethod;
use crate::sync::run::Profile;
use crate::web::admin::client_add::ClientAdd;
use crate::web::admin::domain_add::{self, DomainAdd};
use crate::web::admin::domain_set_failover::{self, DomainSetFailover};
use crate::web::admin::domain_set_method::DomainSetMethod;
use crate::web::admin::domain_verify::{self, DomainVerify};
use crate::web::admin::partner_add::{self, PartnerAdd};
use crate::web::admin::password_sync_run::{self, PasswordSyncRun};
use crate::web::admin::rules_activate::{self, RulesActivate};
use crate::web::admin::sync_run::{self, SyncRun};

/// Where the demonstration lives.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Its folder; made anew at every start.
    pub folder: PathBuf,
    pub gateway_port: u16,
    pub application_port: u16,
    pub partner_port: u16,
    pub directory_port: u16,
}

const PASSWORD: &str = "correct horse battery";
const HASH_DOMAIN: &str = "hash.demo.example";
const LIVE_DOMAIN: &str = "live.demo.example";
const PARTNER_DOMAIN: &str = "partner.demo.example";
const CLIENT_ID: &str = "sample-application";

/// Runs the demonstration until it is interrupted.
pub async fn run(options: DemoOptions, say: impl Fn(&str)) -> anyhow::Result<()> {
    tls::install_provider();
    let folder = &options.folder;
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let pki = DemoPki::new(folder)?;

    say("starting the directory ...");
    let service_password = PlainPassword::new(uuid::Uuid::new_v4().to_string())?;
    let base = "o=demonstration".parse()?;
    let entries = Entries::new(&base, &people()?, &[("staff", vec!["alice", "bob"])], &service_password)?;
    let anchor_of_carol = anchor(&entries, "carol")?;
    let service = entries.service().clone();
    let certificate = pki.server("directory")?;
    let tls = tls::server(&certificate.certificate, &certificate.private_key)?;
    let directory = Directory::start(entries, options.directory_port, tls).await?;

    say("starting the gateway ...");
    write_private(&folder.join("directory-password"), service_password.expose())?;
    let settings_file = folder.join("landbridge.toml");
    let gateway_files = pki.server("gateway")?;
    write_rules(folder)?;
    std::fs::write(&settings_file, settings(&options, &gateway_files, directory.address().port(), service.as_str()))?;
    let settings = crate::config::load(&settings_file)?;
    let installation = Installation::init(&settings.store).await?;
    installation.gateway.close().await;
    installation.engine.close().await;
    let issuer = settings.gateway.public_url.clone();
    let gateway = Gateway::start(settings).await?;
    let desk = Client::new(&folder.join("admin.sock"));
    wait_for_desk(&desk).await?;

    say("synchronising people, groups and password hashes ...");
    for domain in [HASH_DOMAIN, LIVE_DOMAIN, PARTNER_DOMAIN] {
        let name: DomainName = domain.parse()?;
        desk.call::<DomainAdd>(&domain_add::Request { name: name.clone() }).await?;
        desk.call::<DomainVerify>(&domain_verify::Request { name, vouched: true }).await?;
    }
    desk.call::<RulesActivate>(&rules_activate::Request { even_if_held: false }).await?;
    desk.call::<SyncRun>(&sync_run::Request::waiting(Profile::Full.code())).await?;
    desk.call::<PasswordSyncRun>(&password_sync_run::Request { connector: None, full: false }).await?;

    say("starting the federation partner ...");
    let partner_url: url::Url = format!("http://localhost:{}", options.partner_port).parse()?;
    let party = RelyingParty {
        entity_id: issuer.join(crate::web::PARTNER_METADATA_PATH)?.as_str().parse()?,
        acs_url: issuer.join(crate::web::ACS_PATH)?,
        certificates: vec![gateway.saml_certificate().clone()],
    };
    let metadata = start_partner(&partner_url, party, anchor_of_carol, options.partner_port).await?;
    let domains = vec![PARTNER_DOMAIN.parse()?];
    desk.call::<PartnerAdd>(&partner_add::Request { metadata, domains, claims: None, published: Default::default() })
        .await?;
    set_method(&desk, PARTNER_DOMAIN, AuthenticationMethod::Federated).await?;
    set_method(&desk, LIVE_DOMAIN, AuthenticationMethod::Pta).await?;
    let failover = domain_set_failover::Request {
        domain: LIVE_DOMAIN.parse()?,
        backup: Some(Backup::Phs),
        failover: Some(FailoverMode::Automatic),
        max_hash_age_seconds: None,
        partner_outage_seconds: None,
    };
    desk.call::<DomainSetFailover>(&failover).await?;

    say("starting the sample application ...");
    let own_url: url::Url = format!("http://localhost:{}/", options.application_port).parse()?;
    let registration = NewClient {
        client_id: CLIENT_ID.parse()?,
        name: "Sample application".to_owned(),
        public: false,
        redirect_uris: vec![own_url.join("callback")?.to_string()],
        logout_uris: vec![own_url.to_string()],
        pairwise: false,
        algorithm: Default::default(),
    };
    let client = desk.call::<ClientAdd>(&registration).await?;
    let application = Application {
        issuer: issuer.clone(),
        own_url: own_url.clone(),
        client_id: client.client_id,
        client_secret: client.client_secret.context("a confidential client has a secret")?,
        http: reqwest::Client::builder().tls_certs_only([pki.authority()?]).build()?,
        switch: directory.switch(),
        accounts: accounts(),
    };
    serve(application.into_router(), options.application_port).await?;

    say(&introduction(&own_url, &issuer, &partner_url, folder));
    tokio::signal::ctrl_c().await?;
    say("stopping ...");
    gateway.stop().await;
    Ok(())
}

fn person(uid: &str, given_name: &str, surname: &str, domain: &str, disabled: bool) -> anyhow::Result<Person> {
    Ok(Person {
        uid: uid.to_owned(),
        given_name: given_name.to_owned(),
        surname: surname.to_owned(),
        mail: format!("{uid}@{domain}"),
        password: PlainPassword::new(PASSWORD.to_owned())?,
        disabled,
    })
}

fn people() -> anyhow::Result<Vec<Person>> {
    Ok(vec![
        person("alice", "Alice", "Hash", HASH_DOMAIN, false)?,
        person("bob", "Bob", "Live", LIVE_DOMAIN, false)?,
        person("dave", "Dave", "Disabled", LIVE_DOMAIN, true)?,
        person("carol", "Carol", "Partner", PARTNER_DOMAIN, false)?,
    ])
}

fn accounts() -> Vec<ListedAccount> {
    let account = |name: String, method| ListedAccount { name, password: PASSWORD.to_owned(), method };
    vec![
        account(format!("alice@{HASH_DOMAIN}"), "password hash sync"),
        account(format!("bob@{LIVE_DOMAIN}"), "pass-through, with failover to hash sync"),
        account(format!("dave@{LIVE_DOMAIN}"), "pass-through; disabled in the directory, never gets in"),
        account(format!("carol@{PARTNER_DOMAIN}"), "federation"),
    ]
}

fn anchor(entries: &Entries, uid: &str) -> anyhow::Result<SourceAnchor> {
    let entry = entries.iter().find(|entry| entry.values("uid").iter().any(|value| value == uid.as_bytes()));
    let bytes = entry.and_then(|entry| entry.values("entryUUID").first()).context("every entry has an anchor")?;
    Ok(SourceAnchor::from_text(std::str::from_utf8(bytes)?)?)
}

async fn start_partner(url: &url::Url, party: RelyingParty, anchor: SourceAnchor, port: u16) -> anyhow::Result<String> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let partner = PartnerIdentityProvider {
        base_url: url.clone(),
        key: SigningKey::generate(KeyKind::Rsa2048, "partner.demo.example", SystemClock.now(), YEAR)?,
        accounts: vec![Account {
            upn: format!("carol@{PARTNER_DOMAIN}").parse()?,
            password: PlainPassword::new(PASSWORD.to_owned())?,
            source_anchor: anchor,
        }],
        party,
        engine: Arc::new(XmlSecEngine),
        clock: Arc::new(SystemClock),
    };
    let metadata = partner.metadata();
    serve(partner.into_router(), port).await?;
    Ok(metadata)
}

async fn serve(router: Router, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("port {port}"))?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, port, "a part of the demonstration ended");
        }
    });
    Ok(())
}

async fn set_method(desk: &Client, domain: &str, method: AuthenticationMethod) -> anyhow::Result<()> {
    let request = SetMethod::new(domain.parse()?, method);
    desk.call::<DomainSetMethod>(&request).await?;
    Ok(())
}

/// The admin socket is served by a task of the gateway; it is there in a moment.
async fn wait_for_desk(desk: &Client) -> anyhow::Result<()> {
    use crate::web::admin::domain_list::{DomainList, Request};
    for _ in 0..100 {
        if desk.call::<DomainList>(&Request {}).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the admin socket does not answer")
}

/// The shipped rules, as an installation would have them beside its settings.
fn write_rules(folder: &Path) -> anyhow::Result<()> {
    let rules = folder.join("rules");
    std::fs::create_dir_all(&rules)?;
    for source in crate::sync::rule::shipped::rules() {
        std::fs::write(rules.join(source.file), source.text)?;
    }
    Ok(())
}

fn settings(options: &DemoOptions, files: &ServerFiles, directory_port: u16, service: &str) -> String {
    let uid = std::fs::metadata("/proc/self").map_or(0, |own| std::os::unix::fs::MetadataExt::uid(&own));
    format!(
        r#"# Settings of the demonstration, written at its start.
[gateway]
organisation = "Demonstration"
public_url = "https://localhost:{port}"
listen = "127.0.0.1:{port}"
certificate = "{certificate}"
private_key = "{key}"
initial_domain = "demonstration.internal"

[store]
url = "sqlite:data"
key_ring = "key-ring"

[admin]
socket = "admin.sock"
principals = [{{ name = "you", uid = {uid}, role = "owner" }}]

[sync]
rules = "rules"

[[connectors]]
name = "directory"
dialect = "openldap"
servers = ["ldaps://localhost:{directory_port}"]
ca_file = "ca.pem"
bind_dn = "{service}"
bind_password_file = "directory-password"
domains = ["{HASH_DOMAIN}", "{LIVE_DOMAIN}", "{PARTNER_DOMAIN}"]
bases = ["o=demonstration"]
bind_deadline = "1s"
"#,
        port = options.gateway_port,
        certificate = files.certificate.display(),
        key = files.private_key.display(),
    )
}

fn introduction(application: &url::Url, issuer: &url::Url, partner: &url::Url, folder: &Path) -> String {
    let mut text = format!(
        "\nThe demonstration runs.\n\n  sample application   {application}   (open this one)\n  gateway              {issuer}\n  federation partner   {partner}\n  settings, store      {}\n\n\
         Your browser does not know the demonstration's certification authority: accept its warning, or import {}.\n\nAccounts:\n",
        folder.display(),
        folder.join("ca.pem").display()
    );
    for account in accounts() {
        text.push_str(&format!("  {:<28} {}   ({})\n", account.name, account.password, account.method));
    }
    text.push_str(&format!(
        "\nIn another terminal: landbridge --socket {}/admin.sock failover status\nCtrl-C ends it.",
        folder.display()
    ));
    text
}
