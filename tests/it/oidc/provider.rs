//! What an application sees when all is well, with an independent client library (openidconnect).

use landbridge::identity::Clock as _;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreGenderClaim, CoreIdTokenVerifier, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IdToken,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse,
};
use serde_json::{Value, json};

use super::support::{ADA, BYE, FAY, REDIRECT, Tab, World};

/// openidconnect's transport over this test's client.
pub async fn transport(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, std::io::Error> {
    let (parts, body) = request.into_parts();
    let sent = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    let answer = sent.send().await.map_err(std::io::Error::other)?;
    let mut response = openidconnect::http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    response.body(answer.bytes().await.map_err(std::io::Error::other)?.to_vec()).map_err(std::io::Error::other)
}

pub fn claims_of(token: &str) -> Value {
    use base64::Engine as _;
    let body = token.split('.').nth(1).expect("three parts");
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).expect("base64url");
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test]
async fn an_independent_library_signs_a_user_in_with_either_algorithm() {
    let world = World::start().await;
    let http = |request: HttpRequest| transport(world.http.clone(), request);
    for (client_id, algorithm) in [("web", "RS256"), ("es", "ES256")] {
        let issuer = IssuerUrl::new(world.base.clone()).expect("a url");
        let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.expect("metadata");
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(client_id.into()),
            Some(ClientSecret::new(world.secrets[client_id].clone())),
        )
        .set_redirect_uri(RedirectUrl::new(REDIRECT.into()).expect("a url"));
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(["profile", "email", "offline_access"].map(|scope| Scope::new(scope.into())))
            .set_pkce_challenge(challenge)
            .url();
        let mut tab = Tab::new(&world);
        let shown = tab.sign_in(url.as_str()).await;
        assert_eq!(shown.status, 303, "{}", shown.body);
        assert!(shown.location().starts_with(REDIRECT));
        assert_eq!(shown.param("state").as_deref(), Some(state.secret().as_str()));
        assert_eq!(shown.param("iss").as_deref(), Some(world.base.as_str()));
        let code = AuthorizationCode::new(shown.param("code").expect("a code"));
        let tokens = client
            .exchange_code(code)
            .expect("a token endpoint")
            .set_pkce_verifier(verifier)
            .request_async(&http)
            .await
            .expect("tokens");
        let id_token = tokens.id_token().expect("an id token");
        let checked = id_token.claims(&client.id_token_verifier(), &nonce).expect("it verifies");
        assert_eq!(checked.subject().as_str(), world.ada.to_string());
        let hash = AccessTokenHash::from_token(
            tokens.access_token(),
            id_token.signing_alg().expect("an algorithm"),
            id_token.signing_key(&client.id_token_verifier()).expect("a key"),
        );
        assert_eq!(checked.access_token_hash(), Some(&hash.expect("hashed")));
        let claims = claims_of(&id_token.to_string());
        let now = world.clock.now().secs();
        for (name, expected) in [
            ("oid", json!(world.ada.to_string())),
            ("upn", json!(ADA)),
            ("preferred_username", json!(ADA)),
            ("name", json!("Ada Byron")),
            ("given_name", json!("G")),
            ("family_name", json!("S")),
            ("email", json!("mail-ada@a.example")),
            ("amr", json!(["pwd"])),
            ("auth_time", json!(now)),
            ("acr", json!("urn:landbridge:acr:single-factor")),
            ("groups", Value::Null),
            ("landbridge_failover", Value::Null),
        ] {
            assert_eq!(claims[name], expected, "{name}");
        }
        assert!(claims["sid"].is_string());
        assert_eq!(header_of(&id_token.to_string())["alg"], algorithm);

        let info: openidconnect::core::CoreUserInfoClaims = client
            .user_info(tokens.access_token().clone(), Some(checked.subject().clone()))
            .expect("a userinfo endpoint")
            .request_async(&http)
            .await
            .expect("userinfo");
        assert_eq!(info.email().map(|email| email.as_str()), Some("mail-ada@a.example"));

        let refresh = tokens.refresh_token().expect("a refresh token").clone();
        let again =
            client.exchange_refresh_token(&refresh).expect("an endpoint").request_async(&http).await.expect("tokens");
        assert_ne!(again.refresh_token().expect("a successor").secret(), refresh.secret());
        let renewed =
            again.id_token().expect("an id token").claims(&client.id_token_verifier(), |_: Option<&Nonce>| Ok(()));
        assert_eq!(renewed.expect("it verifies").subject(), checked.subject());
    }
}

fn header_of(token: &str) -> Value {
    use base64::Engine as _;
    let header = token.split('.').next().expect("three parts");
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url"))
        .expect("JSON")
}

#[tokio::test]
async fn a_public_client_with_pkce_needs_no_secret_and_access_tokens_have_their_own_type() {
    let world = World::start().await;
    let code = Tab::new(&world).code("spa", &[("scope", "openid")]).await;
    let (status, tokens) = world.redeem("spa", &code).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("Bearer"), &json!("openid")));
    assert!(tokens.get("refresh_token").is_none(), "without offline_access there is none");
    let access = tokens["access_token"].as_str().expect("a token");
    assert_eq!(header_of(access)["typ"], "at+jwt");
    let claims = claims_of(access);
    assert_eq!((&claims["aud"], &claims["client_id"]), (&json!(world.base), &json!("spa")));
    let identity = claims_of(tokens["id_token"].as_str().expect("a token"));
    assert_eq!((&identity["name"], &identity["upn"], &identity["email"]), (&Value::Null, &Value::Null, &Value::Null));
    let (status, info) = world.userinfo(access).await;
    assert_eq!((status, &info["sub"]), (200, &json!(world.ada.to_string())));
}

#[tokio::test]
async fn a_session_answers_the_next_application_without_a_page_and_prompt_login_asks_again() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    tab.code("web", &[]).await;
    let silent = tab.get(&world.authorize_url(&[("client_id", "es"), ("prompt", "none")])).await;
    assert_eq!(silent.status, 303);
    let code = silent.param("code").expect("a code");
    assert_eq!(world.redeem("es", &code).await.0, 200);
    let asked = tab.get(&world.authorize_url(&[("prompt", "login")])).await;
    assert_eq!(asked.status, 200);
    world.clock.advance(std::time::Duration::from_secs(61));
    let old = tab.get(&world.authorize_url(&[("prompt", "none"), ("max_age", "60")])).await;
    assert_eq!(old.param("error").as_deref(), Some("login_required"));
    let asked = tab.get(&world.authorize_url(&[("max_age", "60")])).await;
    assert_eq!(asked.status, 200);
    let nobody = Tab::new(&world).get(&world.authorize_url(&[("prompt", "none")])).await;
    assert_eq!(
        (nobody.param("error").as_deref(), nobody.param("state").as_deref()),
        (Some("login_required"), Some("st"))
    );
}

#[tokio::test]
async fn pairwise_subjects_differ_from_the_oid_and_stay_the_same() {
    let world = World::start().await;
    let mut subjects = Vec::new();
    for _ in 0..2 {
        let code = Tab::new(&world).code("pairwise", &[("scope", "openid")]).await;
        let claims = claims_of(world.redeem("pairwise", &code).await.1["id_token"].as_str().expect("a token"));
        assert_eq!(claims["oid"], Value::Null);
        subjects.push(claims["sub"].clone());
    }
    assert_eq!(subjects[0], subjects[1]);
    assert_ne!(subjects[0], json!(world.ada.to_string()));
}

#[tokio::test]
async fn groups_are_told_only_when_asked_for() {
    let world = World::start().await;
    let group = landbridge::identity::GroupId::random();
    world
        .sql(&format!(
            "INSERT INTO tenant_group (oid, attributes, cloud_mastered, member_count, created_at, updated_at) \
             VALUES ('{group}', '{{}}', 0, 1, 0, 0)"
        ))
        .await;
    world
        .sql(&format!(
            "INSERT INTO membership (group_oid, member_kind, member_oid) VALUES ('{group}', 'user', '{}')",
            world.ada
        ))
        .await;
    let code = Tab::new(&world).code("web", &[("scope", "openid groups")]).await;
    let claims = claims_of(world.redeem("web", &code).await.1["id_token"].as_str().expect("a token"));
    assert_eq!(claims["groups"], json!([group.to_string()]));
}

#[tokio::test]
async fn form_post_brings_the_answer_in_a_form_with_a_policy_for_it_alone() {
    let world = World::start().await;
    let shown = Tab::new(&world).sign_in(&world.authorize_url(&[("response_mode", "form_post")])).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.action(), REDIRECT);
    assert!(
        shown.body.contains("name=\"code\"") && shown.body.contains("name=\"state\" value=\"st\""),
        "{}",
        shown.body
    );
    assert!(shown.policy().contains("form-action 'self' https://app.example;"), "{}", shown.policy());
}

#[tokio::test]
async fn a_sign_out_with_a_hint_ends_session_and_tokens_and_returns_to_the_application() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let code = tab.code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let (id_token, refresh) =
        (tokens["id_token"].as_str().expect("a token"), tokens["refresh_token"].as_str().expect("one"));
    world.clock.advance(std::time::Duration::from_secs(2 * 3600));
    let logout = |hint: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("id_token_hint", hint), ("post_logout_redirect_uri", BYE), ("state", "s&1")])
            .finish();
        world.url(&format!("/oauth2/logout?{query}"))
    };
    let shown = tab.get(&logout(id_token)).await;
    assert_eq!((shown.status, shown.location()), (303, "https://app.example/bye?state=s%261"));
    assert!(!tab.cookies.contains_key("__Host-landbridge"));
    assert_eq!(world.refresh("web", refresh).await.1["error"], "invalid_grant");
    let access = tokens["access_token"].as_str().expect("a token");
    assert_eq!(world.userinfo(access).await.0, 401);
    let again = tab.get(&world.authorize_url(&[("prompt", "none")])).await;
    assert_eq!(again.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn a_hint_alone_ends_nothing_and_another_site_takes_no_cookie() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let code = tab.code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let hint = tokens["id_token"].as_str().expect("a token");
    // Somebody found the token; another site's POST does not bring the session's cookie along.
    let mut other = Tab::new(&world);
    other.origin = "https://evil.example".into();
    for form in [&[("id_token_hint", hint)][..], &[("id_token_hint", hint), ("confirm", "yes")], &[]] {
        let shown = other.post("/oauth2/logout", form).await;
        assert_eq!(shown.status, 200);
        assert_eq!(shown.body.contains("Sign out?"), !form.is_empty(), "{}", shown.body);
        assert!(!shown.headers.contains_key("set-cookie"), "{form:?}");
    }
    other.origin = world.base.clone();
    other.post("/oauth2/logout", &[("id_token_hint", hint), ("confirm", "yes")]).await;
    let still = tab.get(&world.authorize_url(&[("prompt", "none")])).await;
    assert!(still.param("code").is_some(), "{}", still.location());
    // The same form from the browser that holds the session, on our page.
    let done = tab.post("/oauth2/logout", &[("id_token_hint", hint), ("confirm", "yes")]).await;
    assert!(done.status == 200 && !tab.cookies.contains_key("__Host-landbridge"));
    let over = tab.get(&world.authorize_url(&[("prompt", "none")])).await;
    assert_eq!(over.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn a_hint_of_somebody_else_is_answered_by_no_session_and_by_no_other_sign_in() {
    let world = World::start().await;
    let (mut ada, mut fay) = (Tab::new(&world), Tab::new(&world));
    let code = ada.code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let hint = tokens["id_token"].as_str().expect("a token");
    let page = fay.get(&world.authorize_url(&[("login_hint", FAY)])).await;
    let relay = page.attribute("name=\"RelayState\" value=\"");
    let signed_in = fay.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert!(signed_in.param("code").is_some(), "{}", signed_in.body);

    let hinted = |hint: &str, more: &[(&str, &str)]| {
        let hint = [("id_token_hint", hint)];
        world.authorize_url(&[&hint[..], more].concat())
    };
    for prompt in [&[][..], &[("prompt", "none")]] {
        assert!(ada.get(&hinted(hint, prompt)).await.param("code").is_some(), "her own, {prompt:?}");
    }
    for (tab, hint) in [(&mut fay, hint), (&mut ada, "not.a.token")] {
        let silent = tab.get(&hinted(hint, &[("prompt", "none")])).await;
        assert_eq!(silent.param("error").as_deref(), Some("login_required"), "{hint}");
        let asked = tab.get(&hinted(hint, &[])).await;
        assert!(asked.status == 200 && asked.body.contains("<label for=\"name\">"), "{hint}: {}", asked.body);
    }
    let relay = fay.get(&hinted(hint, &[("login_hint", FAY)])).await.attribute("name=\"RelayState\" value=\"");
    let other = fay.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert_eq!(other.param("error").as_deref(), Some("login_required"), "{}", other.body);
    // A token for another application says nothing to this one.
    let foreign = ada.get(&hinted(hint, &[("client_id", "es"), ("prompt", "none")])).await;
    assert_eq!(foreign.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn a_new_sign_in_takes_the_place_of_the_browsers_session_and_leaves_what_was_granted() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let code = tab.code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let mut copied = Tab::new(&world);
    copied.cookies = tab.cookies.clone();
    let silent = world.authorize_url(&[("prompt", "none")]);
    assert!(copied.get(&silent).await.param("code").is_some());
    tab.code("web", &[("prompt", "login")]).await;
    assert_eq!(copied.get(&silent).await.param("error").as_deref(), Some("login_required"));
    assert!(tab.get(&silent).await.param("code").is_some());
    let (status, _) = world.refresh("web", tokens["refresh_token"].as_str().expect("one")).await;
    assert_eq!(status, 200, "nobody signed out of the application");

    // A partner's POST does not bring the session along: the sign-in remembers with which it began.
    let mut fay = Tab::new(&world);
    let mut taken = None;
    for prompt in ["", "login"] {
        let page = fay.get(&world.authorize_url(&[("login_hint", FAY), ("prompt", prompt)])).await;
        let relay = page.attribute("name=\"RelayState\" value=\"");
        let session = fay.cookies.remove("__Host-landbridge");
        let done = fay.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
        assert!(done.param("code").is_some(), "{}", done.body);
        taken = session;
    }
    let mut thief = Tab::new(&world);
    thief.cookies.insert("__Host-landbridge".into(), taken.expect("the first session"));
    assert_eq!(thief.get(&silent).await.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn a_sign_out_without_a_hint_asks_first() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    tab.code("web", &[]).await;
    let page = tab
        .get(&world.url("/oauth2/logout?client_id=web&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye"))
        .await;
    assert_eq!(page.status, 200);
    assert!(tab.cookies.contains_key("__Host-landbridge") && page.body.contains("Sign out?"));
    let form = [("client_id", "web"), ("post_logout_redirect_uri", BYE), ("confirm", "yes")];
    tab.origin = "https://evil.example".into();
    let foreign = tab.post("/oauth2/logout", &form).await;
    assert!(foreign.body.contains("Sign out?") && tab.cookies.contains_key("__Host-landbridge"));
    tab.origin = world.base.clone();
    let done = tab.post("/oauth2/logout", &form).await;
    assert_eq!((done.status, done.location()), (303, BYE));
    assert!(!tab.cookies.contains_key("__Host-landbridge"));
    let evil =
        tab.get(&world.url("/oauth2/logout?client_id=web&post_logout_redirect_uri=https%3A%2F%2Fevil.example")).await;
    assert_eq!((evil.status, evil.location()), (200, ""));
}

#[tokio::test]
async fn a_client_revokes_and_everything_that_rests_on_the_grant_ends() {
    let world = World::start().await;
    for by_access_token in [false, true] {
        let code = Tab::new(&world).code("web", &[]).await;
        let (_, tokens) = world.redeem("web", &code).await;
        let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();
        let revoked = token(if by_access_token { "access_token" } else { "refresh_token" });
        let revoke = |client: &'static str, token: String| {
            let request = world.http.post(world.url("/oauth2/revoke")).basic_auth(client, Some(&world.secrets[client]));
            async move { request.form(&[("token", token)]).send().await.expect("an answer").status().as_u16() }
        };
        assert_eq!(revoke("es", revoked.clone()).await, 200, "told nothing");
        assert_eq!(world.userinfo(&token("access_token")).await.0, 200, "another client revokes nothing");
        assert_eq!(revoke("web", revoked).await, 200);
        assert_eq!(world.userinfo(&token("access_token")).await.0, 401);
        assert_eq!(world.refresh("web", &token("refresh_token")).await.1["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn a_rotated_key_verifies_with_the_library_after_it_fetched_the_keys_again() {
    let world = World::start().await;
    let (kid, from) = world.issuer.rotate_key(landbridge::issuer::Algorithm::Rs256).await.expect("rotated");
    let keys = async || -> Value {
        world.http.get(world.url("/oauth2/jwks")).send().await.expect("an answer").json().await.expect("JSON")
    };
    assert_eq!(keys().await["keys"].as_array().expect("keys").len(), 3, "announced");
    world.clock.set(from);
    let code = Tab::new(&world).code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let id_token = tokens["id_token"].as_str().expect("a token");
    assert_eq!(header_of(id_token)["kid"], json!(kid));
    let keys: openidconnect::core::CoreJsonWebKeySet = serde_json::from_value(keys().await).expect("a key set");
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new("web".into()),
        IssuerUrl::new(world.base.clone()).expect("a url"),
        keys,
    );
    type Token = IdToken<
        openidconnect::EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >;
    let token: Token = id_token.parse().expect("a token");
    assert!(token.claims(&verifier, &Nonce::new("no".into())).is_ok());
}
