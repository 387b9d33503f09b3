//! Applications: Apache with mod_auth_openidc through the browser, and a client library without one.

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, IssuerUrl, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, RedirectUrl, Scope, TokenResponse as _,
};
use serde_json::{Value, json};

use super::world::{Method, World};
use crate::oidc::provider::{claims_of, transport};
use crate::support::apache::Apache;
use crate::support::chromium::Chromium;

fn now() -> i64 {
    use landbridge::identity::Clock as _;
    landbridge::identity::SystemClock.now().secs()
}

/// The claims that tell who signed in, how and when.
#[track_caller]
fn check_claims(claims: &Value, world: &World, method: Method, since: i64) {
    let user = world.user(&method.upn());
    for (name, expected) in [
        ("sub", &user["oid"]),
        ("oid", &user["oid"]),
        ("upn", &json!(method.upn())),
        ("preferred_username", &json!(method.upn())),
        ("email", &json!(method.upn())),
        ("name", &json!(format!("{} Müller", method.uid().to_uppercase()))),
        ("family_name", &json!("Müller")),
        ("amr", &json!(["pwd"])),
        ("iss", &json!(world.gateway.url())),
        ("landbridge_failover", &Value::Null),
    ] {
        assert_eq!(&claims[name], expected, "{name} of {method:?}: {claims}");
    }
    let auth_time = claims["auth_time"].as_i64().expect("a time");
    assert!((since..=now()).contains(&auth_time), "{auth_time} is not between {since} and now");
    assert!(claims["sid"].as_str().is_some_and(|sid| !sid.is_empty()), "{claims}");
}

#[tokio::test]
async fn a_user_of_each_method_signs_in_at_apache_and_out_again() {
    let world = World::start();
    let app = Apache::builder();
    let secret = world.add_client("apache", &app.redirect_uri(), &app.start_url());
    let app = app.start(world.gateway.pki(), &world.metadata_url(), "apache", &secret);
    let browser = Chromium::start(world.gateway.pki()).await;
    let mut sessions = Vec::new();
    for method in Method::ALL {
        let since = now();
        browser.goto(&app.protected_url()).await;
        world.sign_in(&browser, method).await;
        browser.wait_for_url(&app.protected_url()).await;
        let shown = browser.find("pre").await.text().await.expect("the browser answers");
        let shown: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
        check_claims(&shown["id_token"], &world, method, since);
        assert_eq!(shown["user"], shown["id_token"]["sub"]);
        assert_eq!(shown["userinfo"]["sub"], shown["id_token"]["sub"]);
        sessions.push(shown["id_token"]["sid"].clone());

        browser.goto(&app.logout_url()).await;
        browser.wait_for_url(&app.start_url()).await;
        assert!(browser.text().await.contains("Signed out"));
        browser.goto(&app.protected_url()).await;
        browser.wait_for_url(&world.gateway.url()).await;
        browser.find("#name").await;
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "each sign-in has a session of its own");
    let ended: Vec<Value> =
        world.gateway.audit(200).into_iter().filter(|record| record["kind"] == "sign-out").collect();
    assert_eq!(ended.len(), 3, "{ended:?}");
}

#[tokio::test]
async fn a_client_library_signs_a_user_of_each_method_in_without_a_browser() {
    const REDIRECT: &str = "https://app.example/cb";
    let world = World::start();
    let secret = world.add_client("library", REDIRECT, "https://app.example/bye");
    let api = world.gateway.http();
    let http = |request: HttpRequest| transport(api.clone(), request);
    let issuer = IssuerUrl::new(world.gateway.url()).expect("a url");
    let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.expect("metadata");
    let client =
        CoreClient::from_provider_metadata(metadata, ClientId::new("library".into()), Some(ClientSecret::new(secret)))
            .set_redirect_uri(RedirectUrl::new(REDIRECT.into()).expect("a url"));
    for method in Method::ALL {
        let since = now();
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(["profile", "email"].map(|scope| Scope::new(scope.into())))
            .set_pkce_challenge(challenge)
            .url();
        let end = world.visitor().sign_in(url.as_str(), method).await;
        assert!(end.as_str().starts_with(REDIRECT), "{end}");
        let param = |name: &str| end.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(param("state").as_deref(), Some(state.secret().as_str()));
        let code = AuthorizationCode::new(param("code").expect("a code"));
        let exchange = client.exchange_code(code).expect("a token endpoint").set_pkce_verifier(verifier);
        let tokens = exchange.request_async(&http).await.expect("tokens");
        let id_token = tokens.id_token().expect("an id token");
        id_token.claims(&client.id_token_verifier(), &nonce).expect("it verifies");
        check_claims(&claims_of(&id_token.to_string()), &world, method, since);
        let info: openidconnect::core::CoreUserInfoClaims = client
            .user_info(tokens.access_token().clone(), None)
            .expect("a userinfo endpoint")
            .request_async(&http)
            .await
            .expect("userinfo");
        assert_eq!(info.email().map(|email| email.as_str().to_owned()), Some(method.upn()));
    }
}
