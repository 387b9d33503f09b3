//! The support code's partner, application and browser: that each does its part before the gateway joins in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::apache::Apache;
use crate::support::chromium::Chromium;
use crate::support::pki::Pki;
use crate::support::ports::free_port;
use crate::support::process::temp_dir;
use crate::support::simplesamlphp::{IMMUTABLE_ID_CLAIM, SimpleSamlPhp, UPN_CLAIM};
use crate::support::wait::wait_until;

/// How long a test waits for the browser to come and to write.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const SP: &str = "https://gateway.landbridge-test.example/saml";

/// An assertion consumer service that takes one POST and returns its body.
fn one_post(listener: TcpListener) -> std::thread::JoinHandle<String> {
    listener.set_nonblocking(true).expect("own socket");
    std::thread::spawn(move || {
        loop {
            let (mut stream, _) = wait_until("a browser to come", PATIENCE, || listener.accept().ok());
            stream.set_nonblocking(false).expect("own socket");
            stream.set_read_timeout(Some(PATIENCE)).expect("own socket");
            let request = read_request(&mut stream);
            let page = "<!doctype html><html lang=\"en\"><head><title>Done</title><meta name=\"viewport\" content=\"width=device-width\"></head><body><main><h1>Done</h1></main></body></html>";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            )
            .expect("the browser reads");
            if let Some(body) = request.strip_prefix("POST ") {
                return body.split_once("\r\n\r\n").expect("a complete request").1.to_owned();
            }
        }
    })
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).expect("the browser writes");
        request.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let length: usize = header.map_or(0, |value| value.parse().expect("a length"));
            if body.len() >= length {
                return text.into_owned();
            }
        }
        if count == 0 {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn the_partner_signs_a_user_in_through_the_browser() {
    let dir = temp_dir("web");
    let pki = Pki::new(dir.path());
    let partner =
        SimpleSamlPhp::builder().user("zoe", "Start123!x", "zoe@beta.example", "kZohAy9x5Eil2r4V5t3y/Q==").start();
    assert!(partner.metadata().contains(&partner.entity_id()), "{}", partner.metadata());
    let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("a free port");
    let acs = format!("http://gateway.landbridge-test.example:{}/acs", listener.local_addr().expect("bound").port());
    partner.register(SP, &acs, None);
    let posted = one_post(listener);

    let browser = Chromium::start(&pki).await;
    browser.goto(&partner.unsolicited_url(SP)).await;
    browser.fill("#username", "zoe").await;
    browser.fill("#password", "Start123!x").await;
    browser.click("#submit_button, #submit, button[type=submit], input[type=submit]").await;
    browser.wait_for_url(&acs).await;

    let body = posted.join().expect("the form was posted");
    let (_, response) =
        url::form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "SAMLResponse").expect("a response");
    let response = String::from_utf8(STANDARD.decode(response.as_bytes()).expect("base64")).expect("UTF-8");
    for expected in
        [UPN_CLAIM, "zoe@beta.example", IMMUTABLE_ID_CLAIM, "kZohAy9x5Eil2r4V5t3y/Q==", &partner.entity_id(), SP]
    {
        assert!(response.contains(expected), "no {expected} in {response}");
    }
    assert!(response.contains("nameid-format:persistent") && response.contains("<ds:SignatureValue>"), "{response}");

    assert_eq!(browser.axe_violations().await, [""; 0]);
    let picture = dir.path().join("done.png");
    browser.screenshot(360, &picture).await;
    let png = std::fs::read(&picture).expect("picture");
    assert_eq!(u32::from_be_bytes(png[16..20].try_into().expect("IHDR")), 360);
    assert!(!browser.scrolls_sideways().await);
}

/// An issuer's discovery document over TLS with a certificate for `name`.
async fn serve_discovery(pki: &Pki, name: &str) -> (String, axum_server::Handle<std::net::SocketAddr>) {
    let port = free_port();
    let issuer = format!("https://{name}:{port}");
    let document = serde_json::json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let page = "<!doctype html><html lang=\"en\"><head><title>Sign in</title></head><body><main><h1>Sign in</h1></main></body></html>";
    let routes = axum::Router::new()
        .route("/.well-known/openid-configuration", axum::routing::get(move || async move { axum::Json(document) }))
        .route("/authorize", axum::routing::get(move || async move { axum::response::Html(page) }));
    let certificate = pki.server("issuer", &["gateway.landbridge-test.example"]);
    // Whoever comes first installs the provider; all tests want the same one.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let tls = axum_server::tls_rustls::RustlsConfig::from_pem_file(certificate.cert_file, certificate.key_file);
    let tls = tls.await.expect("own certificate");
    let handle = axum_server::Handle::new();
    let server = axum_server::bind_rustls(([127, 0, 0, 1], port).into(), tls).handle(handle.clone());
    tokio::spawn(server.serve(routes.into_make_service()));
    handle.listening().await.expect("the server listens");
    (issuer, handle)
}

#[tokio::test]
async fn the_application_sends_a_browser_to_an_issuer_whose_certificate_it_verifies() {
    let dir = temp_dir("web");
    let pki = Pki::new(dir.path());
    let (issuer, _handle) = serve_discovery(&pki, "gateway.landbridge-test.example").await;
    let app = Apache::builder().start(&pki, &format!("{issuer}/.well-known/openid-configuration"), "app", "app-secret");
    let browser = Chromium::start(&pki).await;
    browser.goto(&app.start_url()).await;
    assert!(browser.text().await.contains("Signed out"));
    browser.click("a").await;
    browser.wait_for_url(&format!("{issuer}/authorize?")).await;
    let url = browser.url().await;
    let pair = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(pair("client_id").as_deref(), Some("app"));
    assert_eq!(pair("redirect_uri"), Some(app.redirect_uri()));
    assert_eq!(pair("code_challenge_method").as_deref(), Some("S256"));
}

#[tokio::test]
async fn the_application_refuses_an_issuer_with_a_certificate_for_another_name() {
    let dir = temp_dir("web");
    let pki = Pki::new(dir.path());
    let (issuer, _handle) = serve_discovery(&pki, "other.landbridge-test.example").await;
    let app = Apache::builder().start(&pki, &format!("{issuer}/.well-known/openid-configuration"), "app", "app-secret");
    let browser = Chromium::start(&pki).await;
    browser.goto(&app.protected_url()).await;
    assert_eq!(browser.url().await.as_str(), app.protected_url(), "no redirect to an issuer that cannot be verified");
    assert!(app.log().contains("other.landbridge-test.example"), "{}", app.log());
}

#[tokio::test]
async fn the_browser_refuses_a_certificate_of_another_authority() {
    let dir = temp_dir("web");
    let (pki, other) = (Pki::new(&dir.path().join("one")), Pki::new(&dir.path().join("two")));
    let (issuer, _handle) = serve_discovery(&pki, "gateway.landbridge-test.example").await;
    let browser = Chromium::start(&other).await;
    browser.goto(&format!("{issuer}/authorize")).await;
    let text = browser.text().await;
    assert!(text.contains("ERR_CERT_AUTHORITY_INVALID"), "{text}");
}
