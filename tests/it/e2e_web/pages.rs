//! Every page that the gateway shows, in the browser: accessible by axe-core, no sideways scroll, nothing that its own content
//! security policy forbids. Pictures of all are in `tmp/pages` of the target folder, to be looked at.

use std::path::Path;

use serde_json::json;

use super::world::{EXPIRED, Method, World, password};
use crate::support::chromium::Chromium;

const REDIRECT: &str = "https://app.relying-party.example/cb";
/// A phone and a desk.
const WIDTHS: [u32; 2] = [360, 1280];

/// How the browser tells of something that a page's policy forbids.
const FORBIDDEN: &str = "Content Security Policy";

/// Looks at the page that the browser shows.
async fn look(browser: &Chromium, page: &str, heading: &str) {
    let shown = browser.find("h1").await.text().await.expect("the browser answers");
    assert_eq!(shown, heading, "{page}");
    let forbidden: Vec<String> = browser.console().await.into_iter().filter(|line| line.contains(FORBIDDEN)).collect();
    assert_eq!(forbidden, [""; 0], "{page}");
    for (scheme, width) in [("light", WIDTHS[0]), ("light", WIDTHS[1]), ("dark", WIDTHS[0])] {
        // Without motion, so that nobody looks at a colour that is still on its way to another.
        let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let picture = format!("pages/{page}-{scheme}-{width}.png");
        browser.screenshot(width, &Path::new(env!("CARGO_TARGET_TMPDIR")).join(picture)).await;
        assert!(!browser.scrolls_sideways().await, "{page} at {width}");
        assert_eq!(browser.axe_violations().await, [""; 0], "{page} at {width}, {scheme}");
    }
}

/// Spoils the page, so that a silent instrument is noticed.
async fn instruments_see_faults(browser: &Chromium) {
    let spoil = "const script = document.createElement('script'); script.textContent = '0'; \
                 document.querySelector('main').append(script, new Image()); 0";
    browser.evaluate(spoil).await;
    let console = browser.console().await;
    assert!(console.iter().any(|line| line.contains(FORBIDDEN)), "{console:?}");
    let violations = browser.axe_violations().await;
    assert!(violations.iter().any(|line| line.contains("image-alt")), "{violations:?}");
    browser.evaluate("document.querySelector('main').style.width = '2000px'; 0").await;
    assert!(browser.scrolls_sideways().await);
}

fn authorize_url(world: &World, more: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", "pages"), ("redirect_uri", REDIRECT), ("response_type", "code")])
        .extend_pairs([("scope", "openid"), ("state", "st"), ("nonce", "no")])
        .extend_pairs(more)
        .finish();
    format!("{}/oauth2/authorize?{query}", world.gateway.url())
}

async fn name(browser: &Chromium, name: &str) {
    browser.fill("#name", name).await;
    browser.click("button[type=submit]").await;
}

async fn submit_password(browser: &Chromium, password: &str) {
    browser.fill("#password", password).await;
    browser.click("form[action*=password] button").await;
    browser.find("#notice, [data-continue], pre").await;
}

#[tokio::test]
async fn every_page_is_accessible_fits_its_screen_and_obeys_its_own_policy() {
    let mut world = World::start();
    world.add_client("pages", REDIRECT, "https://app.relying-party.example/");
    let browser = Chromium::start(world.gateway.pki()).await;
    // The pages that go on by themselves stay.
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.setBlockedURLs", json!({ "urls": ["*/static/continue.js"] })).await;
    let url = world.gateway.url();
    let authorize = authorize_url(&world, &[("response_mode", "form_post")]);

    browser.goto(&authorize).await;
    look(&browser, "name", "Sign in").await;
    instruments_see_faults(&browser).await;
    browser.goto(&authorize).await;
    name(&browser, "ada").await;
    browser.find("#notice").await;
    look(&browser, "name-refused", "Sign in").await;
    name(&browser, &Method::Federated.upn()).await;
    browser.find("[data-continue]").await;
    look(&browser, "partner", "Continue to your organisation").await;

    browser.goto(&authorize).await;
    name(&browser, EXPIRED).await;
    submit_password(&browser, &password("eve")).await;
    look(&browser, "password-must-change", "Enter your password").await;
    world.slapd.stop();
    browser.goto(&authorize).await;
    name(&browser, &Method::Live.upn()).await;
    submit_password(&browser, &password(Method::Live.uid())).await;
    look(&browser, "password-try-again", "Enter your password").await;

    browser.goto(&authorize).await;
    name(&browser, &Method::Hash.upn()).await;
    browser.find("#password").await;
    look(&browser, "password", "Enter your password").await;
    submit_password(&browser, "wrong").await;
    look(&browser, "password-refused", "Enter your password").await;
    submit_password(&browser, &password(Method::Hash.uid())).await;
    look(&browser, "return", "Return to the application").await;

    browser.goto(&format!("{url}/oauth2/logout")).await;
    look(&browser, "sign-out", "Sign out?").await;
    browser.click("button[type=submit]").await;
    browser.find("main:not(:has(form))").await;
    look(&browser, "signed-out", "You are signed out").await;

    browser.goto(&format!("{url}/sign-in/{}", landbridge::identity::TransactionId::random())).await;
    look(&browser, "start-again", "Start again").await;
    browser.goto(&authorize_url(&world, &[("client_id", "other")]).replacen("client_id=pages&", "", 1)).await;
    look(&browser, "client-unknown", "The application cannot be opened").await;
    browser.goto(&format!("{url}/nothing")).await;
    look(&browser, "not-found", "There is no such page").await;
}
