//! Apache with mod_auth_openidc as the application, over HTTPS with the test's certificate authority.
//!
//! The module verifies the gateway's certificate against that authority alone and reaches the gateway's host name through
//! [`NameProxy`], so the issuer may have any name; its URL must be https.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::name_proxy::NameProxy;
use super::pki::Pki;
use super::ports::free_port;
use super::process::{Process, Signal, is_root, temp_dir};
use super::wait::wait_until;

pub const HOST: &str = "app.relying-party.example";

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Prints what the module passed on. Claims that occur in the ID token and in userinfo are in `claims` once.
const CLAIMS_PAGE: &str = r#"#!/usr/bin/php -n
<?php
$claims = [];
foreach (getenv() as $name => $value) {
    if (str_starts_with($name, 'OIDC_CLAIM_')) $claims[substr($name, 11)] = $value;
}
ksort($claims);
echo "Content-Type: application/json\nCache-Control: no-store\n\n";
echo json_encode(['user' => getenv('REMOTE_USER'), 'claims' => $claims,
    'id_token' => json_decode((string) getenv('OIDC_id_token_payload')),
    'userinfo' => json_decode((string) getenv('OIDC_userinfo_json'))], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
"#;
const START_PAGE: &str = "<!doctype html><html lang=\"en\"><head><title>Application</title></head>\
    <body><main><h1>Signed out</h1><p><a href=\"/protected/claims\">Sign in</a></p></main></body></html>\n";

/// Apache before it starts: its URLs are fixed, so that the client can be registered at the gateway first.
pub struct Builder {
    host: String,
    port: u16,
    scope: String,
}

pub struct Apache {
    host: String,
    port: u16,
    process: Process,
    dir: tempfile::TempDir,
    _proxy: NameProxy,
}

impl Builder {
    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.host, self.port)
    }

    pub fn start_url(&self) -> String {
        start_url(&self.host, self.port)
    }

    /// Starts Apache. `metadata_url` is the gateway's discovery document, read when the first browser comes.
    pub fn start(self, pki: &Pki, metadata_url: &str, client_id: &str, client_secret: &str) -> Apache {
        let dir = temp_dir("apache");
        let proxy = NameProxy::start();
        let path = dir.path();
        std::fs::create_dir_all(path.join("www/protected")).expect("folder");
        std::fs::write(path.join("www/index.html"), START_PAGE).expect("page");
        write_executable(&path.join("www/protected/claims"), CLAIMS_PAGE);
        let certificate = pki.server("apache", &[&self.host]);
        let (host, port, scope) = (&self.host, self.port, &self.scope);
        let user = if is_root() { "User www-data\nGroup www-data" } else { "" };
        let conf = format!(
            "ServerRoot {d}
ServerName https://{host}:{port}
UseCanonicalName On
PidFile {d}/httpd.pid
DefaultRuntimeDir {d}
Listen 127.0.0.1:{port} https
ErrorLog {d}/error.log
LogLevel warn auth_openidc:info
{user}
LoadModule mpm_prefork_module {MODULES}/mod_mpm_prefork.so
LoadModule authn_core_module {MODULES}/mod_authn_core.so
LoadModule authz_core_module {MODULES}/mod_authz_core.so
LoadModule authz_user_module {MODULES}/mod_authz_user.so
LoadModule cgi_module {MODULES}/mod_cgi.so
LoadModule dir_module {MODULES}/mod_dir.so
LoadModule mime_module {MODULES}/mod_mime.so
LoadModule ssl_module {MODULES}/mod_ssl.so
LoadModule auth_openidc_module {MODULES}/mod_auth_openidc.so
StartServers 2
TypesConfig /dev/null
AddType text/html .html
SSLEngine on
SSLCertificateFile {cert}
SSLCertificateKeyFile {key}
OIDCProviderMetadataURL {metadata_url}
OIDCClientID {client_id}
OIDCClientSecret {client_secret}
OIDCRedirectURI {redirect}
OIDCCryptoPassphrase test-passphrase-of-this-run
OIDCScope \"{scope}\"
OIDCSSLValidateServer On
OIDCCABundlePath {ca}
OIDCOutgoingProxy {proxy}
OIDCPKCEMethod S256
OIDCPassIDTokenAs claims payload
OIDCPassUserInfoAs claims json
OIDCRemoteUserClaim sub
DocumentRoot {d}/www
DirectoryIndex index.html
<Directory {d}/www/protected>
 Options +ExecCGI
 SetHandler cgi-script
</Directory>
<Location /protected>
 AuthType openid-connect
 Require valid-user
</Location>
",
            d = path.display(),
            cert = certificate.cert_file.display(),
            key = certificate.key_file.display(),
            redirect = self.redirect_uri(),
            ca = pki.ca_file().display(),
            proxy = proxy.address(),
        );
        std::fs::write(path.join("httpd.conf"), conf).expect("httpd.conf");
        let mut command = Command::new(PROGRAM);
        command.arg("-d").arg(path).arg("-f").arg(path.join("httpd.conf")).arg("-DFOREGROUND");
        let mut process = Process::spawn(&mut command, &path.join("output.log"), Signal::Terminate, Some(path));
        wait_until("Apache to listen", START_DEADLINE, || {
            let log = || process_log(&dir);
            assert!(process.is_running(), "apache2 ended: {}{}", process.log(), log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Apache { host: self.host, port, process, dir, _proxy: proxy }
    }
}

impl Apache {
    pub fn builder() -> Builder {
        Builder { host: HOST.to_owned(), port: free_port(), scope: "openid profile email".to_owned() }
    }

    /// The page that anyone may see, and where a sign-out ends.
    pub fn start_url(&self) -> String {
        start_url(&self.host, self.port)
    }

    /// The page that only a signed-in browser sees: JSON with `user`, `claims`, `id_token` and `userinfo`.
    pub fn protected_url(&self) -> String {
        format!("{}protected/claims", self.start_url())
    }

    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.host, self.port)
    }

    /// Ends the application's session and goes through the gateway's end-session endpoint back to the start page.
    pub fn logout_url(&self) -> String {
        let target: String = url::form_urlencoded::byte_serialize(self.start_url().as_bytes()).collect();
        format!("{}?logout={target}", self.redirect_uri())
    }

    /// What Apache and the module logged.
    pub fn log(&self) -> String {
        self.process.log() + &process_log(&self.dir)
    }
}

fn start_url(host: &str, port: u16) -> String {
    format!("https://{host}:{port}/")
}

fn redirect_uri(host: &str, port: u16) -> String {
    format!("https://{host}:{port}/protected/callback")
}

fn process_log(dir: &tempfile::TempDir) -> String {
    String::from_utf8_lossy(&std::fs::read(dir.path().join("error.log")).unwrap_or_default()).into_owned()
}

fn write_executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("own file");
}
