//! SimpleSAMLphp as a federation partner, on PHP's built-in server, under a host name of its own registrable domain.
//!
//! It releases the UPN and the ImmutableID as the field's claims and a persistent NameID whose value is the ImmutableID.
//! Requests may start before a service provider is registered: metadata files are read with each request.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::ports::free_port;
use super::process::{Process, Signal, run, temp_dir};
use super::wait::wait_until;

pub const HOST: &str = "idp.partner-test.example";
pub const UPN_CLAIM: &str = "http://schemas.xmlsoap.org/claims/UPN";
pub const IMMUTABLE_ID_CLAIM: &str = "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID";

const WEB_ROOT: &str = "/usr/share/simplesamlphp/www";
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A user of the partner, who signs in with `name` and `password`.
#[derive(Clone, Debug)]
pub struct PartnerUser {
    pub name: String,
    pub password: String,
    pub upn: String,
    pub immutable_id: String,
}

/// Settings of a partner that is not running yet.
pub struct Builder {
    host: String,
    users: Vec<PartnerUser>,
}

pub struct SimpleSamlPhp {
    host: String,
    port: u16,
    process: Process,
    dir: tempfile::TempDir,
}

impl Builder {
    /// The host name in all of the partner's URLs; [`HOST`] by default. It resolves nowhere: see `name_proxy`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    pub fn user(mut self, name: &str, password: &str, upn: &str, immutable_id: &str) -> Self {
        self.users.push(PartnerUser {
            name: name.to_owned(),
            password: password.to_owned(),
            upn: upn.to_owned(),
            immutable_id: immutable_id.to_owned(),
        });
        self
    }

    pub fn start(self) -> SimpleSamlPhp {
        let dir = temp_dir("partner");
        let port = free_port();
        let path = dir.path();
        for folder in ["config", "metadata", "cert", "log", "data", "tmp", "session", "web"] {
            std::fs::create_dir(path.join(folder)).expect("folder");
        }
        std::os::unix::fs::symlink(WEB_ROOT, path.join("web/simplesaml")).expect("link to SimpleSAMLphp");
        write_signing_key(&path.join("cert"), "idp");
        let base = format!("http://{}:{port}", self.host);
        let write = |file: &str, text: String| std::fs::write(path.join(file), text).expect("configuration file");
        write("config/config.php", config(path, &base, None));
        write("config/authsources.php", auth_sources(&self.users));
        write("metadata/saml20-idp-hosted.php", identity_provider(&base, Rolled::No));
        write("metadata/saml20-sp-remote.php", "<?php\n".to_owned());
        let process = spawn(path, port);
        SimpleSamlPhp { host: self.host, port, process, dir }
    }
}

fn spawn(path: &Path, port: u16) -> Process {
    let mut command = Command::new("php");
    command
        .args(["-d", "opcache.enable=0", "-d"])
        .arg(format!("session.save_path={}", path.join("session").display()))
        .args(["-S", &format!("127.0.0.1:{port}"), "-t"])
        .arg(path.join("web"))
        .env("SIMPLESAMLPHP_CONFIG_DIR", path.join("config"))
        .env("PHP_CLI_SERVER_WORKERS", "4");
    let log = path.join("log/php.log");
    let mut process = Process::spawn(&mut command, &log, Signal::Kill, Some(path));
    wait_until("SimpleSAMLphp to listen", START_DEADLINE, || {
        assert!(process.is_running(), "php ended: {}", process.log());
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    process
}

impl SimpleSamlPhp {
    pub fn builder() -> Builder {
        Builder { host: HOST.to_owned(), users: Vec::new() }
    }

    /// Ends it, as a power cut would.
    pub fn stop(&mut self) {
        self.process.end(Signal::Kill);
    }

    pub fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.port);
    }

    /// It takes connections and answers nothing.
    pub fn freeze(&self) {
        self.process.signal(Signal::Stop);
    }

    pub fn thaw(&self) {
        self.process.signal(Signal::Continue);
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn base_url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn entity_id(&self) -> String {
        format!("{}/idp", self.base_url())
    }

    /// Where a service provider sends its AuthnRequest (HTTP-Redirect binding).
    pub fn sso_url(&self) -> String {
        format!("{}/simplesaml/saml2/idp/SSOService.php", self.base_url())
    }

    /// Starts a sign-in without a request, for an entity registered before.
    pub fn unsolicited_url(&self, sp_entity_id: &str) -> String {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("spentityid", sp_entity_id).finish();
        format!("{}?{query}", self.sso_url())
    }

    /// The partner's metadata document as it publishes it.
    pub fn metadata(&self) -> String {
        let url = self.metadata_url();
        let resolve = format!("{}:{}:127.0.0.1", self.host, self.port);
        run(Command::new("curl").args(["-fsS", "--noproxy", "*", "--resolve", &resolve, &url]))
    }

    /// Where it publishes its metadata.
    pub fn metadata_url(&self) -> String {
        format!("{}/simplesaml/saml2/idp/metadata.php", self.base_url())
    }

    /// Rolls its signing key to the one in `next.key` and `next.crt`, made when first asked for.
    pub fn roll(&self, rolled: Rolled) {
        let cert = self.dir.path().join("cert");
        if !cert.join("next.key").exists() {
            write_signing_key(&cert, "next");
        }
        let file = self.dir.path().join("metadata/saml20-idp-hosted.php");
        std::fs::write(file, identity_provider(&self.base_url(), rolled)).expect("own file");
    }

    /// Signs the metadata that it publishes, with the key in `cert/NAME.key`, or no longer.
    pub fn sign_metadata(&self, key: Option<&str>) {
        let text = config(self.dir.path(), &self.base_url(), key);
        std::fs::write(self.dir.path().join("config/config.php"), text).expect("own file");
    }

    /// Registers a service provider. With a certificate (PEM), only requests signed with its key are answered.
    pub fn register(&self, sp_entity_id: &str, acs_url: &str, certificate: Option<&str>) {
        let mut entry = format!(
            "$metadata[{}] = ['AssertionConsumerService' => {}, \
             'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'",
            php(sp_entity_id),
            php(acs_url)
        );
        if let Some(pem) = certificate {
            let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
            write!(entry, ", 'certData' => {}, 'validate.authnrequest' => true", php(&base64)).expect("text");
        }
        let file = self.dir.path().join("metadata/saml20-sp-remote.php");
        let registered = std::fs::read_to_string(&file).expect("own file");
        std::fs::write(&file, registered + &entry + "];\n").expect("own file");
    }

    /// The key that signs responses, so that tests can sign altered ones (PKCS #8, PEM).
    pub fn signing_key_file(&self) -> PathBuf {
        self.dir.path().join("cert/idp.key")
    }

    pub fn signing_cert_file(&self) -> PathBuf {
        self.dir.path().join("cert/idp.crt")
    }
}

/// How far a partner is with a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rolled {
    No,
    /// The next one is listed beside the present one.
    Announced,
    /// The former one is gone.
    Done,
}

fn write_signing_key(dir: &Path, name: &str) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("RSA key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "partner signing");
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    let certificate = params.self_signed(&key).expect("certificate");
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("key file");
    std::fs::write(dir.join(format!("{name}.crt")), certificate.pem()).expect("certificate file");
}

fn config(dir: &Path, base: &str, metadata_key: Option<&str>) -> String {
    let d = dir.display();
    let sign = match metadata_key {
        None => "'metadata.sign.enable' => false".to_owned(),
        Some(key) => format!(
            "'metadata.sign.enable' => true, 'metadata.sign.privatekey' => '{key}.key', 'metadata.sign.certificate' => '{key}.crt', \
             'metadata.sign.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'"
        ),
    };
    format!(
        "<?php
$config = [
  'baseurlpath' => '{base}/simplesaml/',
  'certdir' => '{d}/cert/', 'loggingdir' => '{d}/log/', 'datadir' => '{d}/data/', 'tempdir' => '{d}/tmp', 'metadatadir' => '{d}/metadata',
  'technicalcontact_name' => 'test', 'technicalcontact_email' => 'test@partner-test.example', 'timezone' => 'UTC',
  'secretsalt' => 'test-salt-0123456789abcdef', 'auth.adminpassword' => 'admin', 'admin.protectindexpage' => false,
  'trusted.url.domains' => null, 'debug' => null, 'showerrors' => true, 'errorreporting' => false,
  'logging.level' => SimpleSAML\\Logger::INFO, 'logging.handler' => 'file', 'logging.logfile' => 'ssp.log',
  'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
  'session.cookie.name' => 'SSPID', 'session.cookie.samesite' => null, 'session.cookie.secure' => false, 'session.duration' => 28800,
  'session.phpsession.cookiename' => 'SSPPHP', 'session.phpsession.savepath' => '{d}/session', 'session.phpsession.httponly' => true,
  'store.type' => 'phpsession', 'language.default' => 'en', 'theme.use' => 'default',
  'metadata.sources' => [['type' => 'flatfile', 'directory' => '{d}/metadata']], {sign},
  'authproc.idp' => [], 'authproc.sp' => [],
];
"
    )
}

fn auth_sources(users: &[PartnerUser]) -> String {
    let mut text =
        "<?php\n$config = ['admin' => ['core:AdminPassword'], 'users' => ['exampleauth:UserPass',\n".to_owned();
    for user in users {
        let login = php(&format!("{}:{}", user.name, user.password));
        let (upn, id) = (php(&user.upn), php(&user.immutable_id));
        writeln!(text, "  {login} => ['{UPN_CLAIM}' => [{upn}], '{IMMUTABLE_ID_CLAIM}' => [{id}]],").expect("text");
    }
    text + "]];\n"
}

fn identity_provider(base: &str, rolled: Rolled) -> String {
    let keys = match rolled {
        Rolled::No => "'privatekey' => 'idp.key', 'certificate' => 'idp.crt'",
        Rolled::Announced => {
            "'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'new_privatekey' => 'next.key', 'new_certificate' => 'next.crt'"
        }
        Rolled::Done => "'privatekey' => 'next.key', 'certificate' => 'next.crt'",
    };
    format!(
        "<?php
$metadata['{base}/idp'] = ['host' => '__DEFAULT__', {keys}, 'auth' => 'users',
  'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'saml20.sign.response' => true, 'saml20.sign.assertion' => true,
  'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:uri',
  'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => '{IMMUTABLE_ID_CLAIM}', 'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent']]];
"
    )
}

/// A PHP string literal.
fn php(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
