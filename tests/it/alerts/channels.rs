//! A gateway whose federation partner's certificate ends soon tells a webhook and a mail server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use landbridge::alerts::SIGNATURE;
use landbridge::identity::{Clock as _, SystemClock};
use serde_json::Value;
use sha2::Sha256;

use crate::support::directory::ALPHA;
use crate::support::gateway::Gateway;
use crate::support::mail::MailServer;
use crate::support::pki::Pki;
use crate::support::ports::free_port;
use crate::support::process::{make_private, temp_dir};
use crate::support::wait::wait_until;

const SECRET: &str = "a-secret-that-signs-the-notices";
const PARTNER: &str = "https://partner.example.org/idp";
const LONG: Duration = Duration::from_secs(60);

/// Takes notices whose signature is right.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Value>>>);

impl Receiver {
    async fn start(self, pki: &Pki) -> u16 {
        landbridge::app::tls::install_provider();
        let certificate = pki.server("receiver", &[]);
        let tls = axum_server::tls_rustls::RustlsConfig::from_pem_file(certificate.cert_file, certificate.key_file);
        let (tls, port) = (tls.await.expect("own certificate"), free_port());
        let app = Router::new().route("/hook", post(take)).with_state(self);
        let server = axum_server::bind_rustls(std::net::SocketAddr::from(([127, 0, 0, 1], port)), tls);
        tokio::spawn(async move { server.serve(app.into_make_service()).await.expect("served") });
        port
    }

    fn notices(&self) -> Vec<Value> {
        self.0.lock().expect("no panic before").clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (time, mac) = signature.split_once(",v1=").unwrap_or_default();
    let seconds = time.strip_prefix("t=").unwrap_or_default();
    let mut expected = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    expected.update(format!("{seconds}.{body}").as_bytes());
    if expected.verify_slice(&hex::decode(mac).unwrap_or_default()).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    receiver.0.lock().expect("no panic before").push(serde_json::from_str(&body).expect("JSON"));
    StatusCode::NO_CONTENT
}

/// The metadata of a partner whose signing certificate ends in so many days.
fn metadata(days: i64) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["partner.example.org".to_owned()]).expect("a name");
    let millis = u64::try_from(SystemClock.now().millis()).expect("after 1970");
    let now = std::time::UNIX_EPOCH + Duration::from_millis(millis);
    params.not_before = (now - Duration::from_secs(86_400)).into();
    params.not_after = (now + Duration::from_secs(u64::try_from(days * 86_400 + 3600).expect("ahead"))).into();
    let certificate = STANDARD.encode(params.self_signed(&key).expect("a certificate").der());
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{PARTNER}\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><KeyDescriptor use=\"signing\"><KeyInfo \
         xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data>\
         </KeyInfo></KeyDescriptor><SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" \
         Location=\"https://partner.example.org/sso\"/></IDPSSODescriptor></EntityDescriptor>"
    )
}

fn add_partner(gateway: &Gateway, days: i64) {
    let file = gateway.folder().join("metadata.xml");
    std::fs::write(&file, metadata(days)).expect("a file");
    gateway.cli(&["partner", "add", "--metadata", &file.display().to_string(), "--domain", ALPHA]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_by_webhook_and_mail_until_it_is_replaced() {
    let dir = temp_dir("alerts");
    let (pki, receiver, mail) = (Pki::new(&dir.path().join("pki")), Receiver::default(), MailServer::start());
    let port = receiver.clone().start(&pki).await;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    make_private(&secret);
    let hook = |name: &str, path: &str| {
        format!(
            "[[alerts]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"https://localhost:{port}/{path}\"\n\
             secret_file = \"{}\"\nca_file = \"{}\"\n",
            secret.display(),
            pki.ca_file().display()
        )
    };
    let sections = [hook("chat", "hook"), hook("nowhere", "elsewhere"), mail.settings("ops", "ops@example.org")];
    let mut gateway = Gateway::builder().section(&sections.concat()).start();
    gateway.cli(&["domain", "add", ALPHA]);
    gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
    add_partner(&gateway, 5);

    gateway.cli(&["alerts", "test", "chat"]);
    gateway.cli(&["alerts", "test", "ops"]);
    assert_eq!(receiver.notices()[0]["state"], "test");
    assert!(mail.messages()[0].contains("Subject: [Test organisation] test: test ops"), "{}", mail.messages()[0]);
    let refused = gateway.cli_refused(&["alerts", "test", "nowhere"]);
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("status 404")), "{refused:#}");
    let refused = gateway.cli_refused(&["alerts", "test", "pager"]);
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("chat, nowhere, ops")), "{refused:#}");

    // The watch looks at the start, and each hour.
    gateway.stop();
    gateway.start_again();
    let both_told = |count: usize| receiver.notices().len() >= count && mail.messages().len() >= count;
    wait_until("both channels to tell", LONG, || both_told(2).then_some(()));
    let told = &receiver.notices()[1];
    assert_eq!(
        (&told["alert"], &told["state"], &told["subject"]),
        (&"certificate-ends-in-7-days".into(), &"raised".into(), &PARTNER.into()),
        "{told:#}"
    );
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("in 5 days")), "{told:#}");
    let message = &mail.messages()[1];
    assert!(message.starts_with("X-Envelope: landbridge@example.org -> ops@example.org\r\n"), "{message}");
    assert!(message.contains("certificate-ends-in-7-days") && message.contains("in 5 days"), "{message}");
    let raised = gateway.cli(&["failover", "status"]);
    assert_eq!(raised["alerts"][0]["name"], "certificate-ends-in-7-days", "{raised:#}");
    let status = gateway.cli(&["alerts", "status"]);
    let waiting = |name: &str| {
        let channels = status.as_array().expect("a list");
        channels.iter().find(|channel| channel["name"] == name).expect("listed")["waiting"].clone()
    };
    assert_eq!((waiting("chat"), waiting("nowhere"), waiting("ops")), (0.into(), 1.into(), 0.into()), "{status:#}");

    add_partner(&gateway, 300);
    gateway.stop();
    gateway.start_again();
    wait_until("both channels to tell that it is over", LONG, || both_told(3).then_some(()));
    assert_eq!(receiver.notices()[2]["state"], "cleared");
    assert!(mail.messages()[2].contains("cleared: certificate-ends-in-7-days"), "{}", mail.messages()[2]);
    assert_eq!(receiver.notices().len(), 3, "{:#?}", receiver.notices());
    for secret in [SECRET, &std::fs::read_to_string(mail.password_file()).expect("a file")] {
        assert!(!gateway.log().contains(secret), "a secret is in the log");
    }
}
