//! What an application, or somebody in its place, does not get.

use serde_json::{Value, json};

use super::support::{PASSWORD, REDIRECT, Tab, VERIFIER, World, code_form};

#[tokio::test]
async fn an_unknown_client_or_address_gets_a_page_and_nobody_is_sent_anywhere() {
    let world = World::start().await;
    for changes in [
        [("client_id", "nobody")],
        [("client_id", "")],
        [("redirect_uri", "https://evil.example/")],
        [("redirect_uri", "https://app.example/cb/")],
        [("redirect_uri", "")],
    ] {
        let shown = Tab::new(&world).get(&world.authorize_url(&changes)).await;
        assert_eq!((shown.status, shown.location()), (400, ""), "{changes:?}");
        assert!(!shown.body.contains("evil.example"), "{changes:?}");
    }
}

#[tokio::test]
async fn a_faulty_request_is_told_to_the_application() {
    let world = World::start().await;
    for (changes, code) in [
        (&[("response_type", "token")][..], "unsupported_response_type"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("client_id", "spa"), ("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("request_uri", "https://evil.example/")], "request_uri_not_supported"),
        (&[("prompt", "none")], "login_required"),
    ] {
        let shown = Tab::new(&world).get(&world.authorize_url(changes)).await;
        assert_eq!(shown.status, 303, "{changes:?}");
        assert!(shown.location().starts_with(REDIRECT));
        let told = (shown.param("error"), shown.param("state"), shown.param("iss"));
        assert_eq!(told, (Some(code.to_owned()), Some("st".to_owned()), Some(world.base.clone())), "{changes:?}");
    }
}

#[tokio::test]
async fn the_token_endpoint_refuses_each_wrong_redemption_by_its_code() {
    let world = World::start().await;
    let rows: [(&str, &str, &[(&str, &str)], u16, &str); 6] = [
        ("another client's code", "es", &[], 400, "invalid_grant"),
        (
            "another registered address",
            "web",
            &[("redirect_uri", "https://app.example/cb?tenant=1")],
            400,
            "invalid_grant",
        ),
        (
            "a wrong verifier",
            "web",
            &[("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")],
            400,
            "invalid_grant",
        ),
        ("no verifier", "web", &[("code_verifier", "")], 400, "invalid_grant"),
        ("no code", "web", &[("code", "")], 400, "invalid_request"),
        ("another grant", "web", &[("grant_type", "password")], 400, "unsupported_grant_type"),
    ];
    for (name, client, changes, status, error) in rows {
        let code = Tab::new(&world).code("web", &[]).await;
        let mut form = code_form(&code).to_vec();
        for change in changes {
            form.retain(|(key, _)| *key != change.0);
            form.push(*change);
        }
        let (told, body) = world.token(client, &form).await;
        assert_eq!((told, &body["error"]), (status, &json!(error)), "{name}: {body}");
        assert!(body["access_token"].is_null() && body["id_token"].is_null());
    }
    let late = Tab::new(&world).code("web", &[]).await;
    world.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(world.redeem("web", &late).await.1["error"], "invalid_grant");
    assert_eq!(world.tail(1).await, [("token-refused".to_owned(), Some("code-expired".to_owned()))]);
}

#[tokio::test]
async fn a_verifier_is_refused_where_the_request_had_no_challenge() {
    let world = World::start().await;
    let without: &[(&str, &str)] = &[("code_challenge", ""), ("code_challenge_method", "")];
    let code = Tab::new(&world).code("web", without).await;
    assert_eq!(world.redeem("web", &code).await.1["error"], "invalid_grant");
    let code = Tab::new(&world).code("web", without).await;
    let (status, _) = world.token("web", &code_form(&code)[..3]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_gets_nothing() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[]).await;
    let post = async |basic: Option<(&str, &str)>, extra: &[(&str, &str)]| {
        let mut form = code_form(&code).to_vec();
        form.extend_from_slice(extra);
        let request = world.http.post(world.url("/oauth2/token"));
        let request = match basic {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let answer = request.form(&form).send().await.expect("an answer");
        let challenged = answer.headers().contains_key("www-authenticate");
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        (status, body["error"].as_str().unwrap_or_default().to_owned(), challenged)
    };
    let told = |status, error: &str, challenged| (status, error.to_owned(), challenged);
    assert_eq!(post(Some(("web", "wrong")), &[]).await, told(401, "invalid_client", true));
    assert_eq!(post(Some(("nobody", "wrong")), &[]).await, told(401, "invalid_client", true));
    assert_eq!(
        post(Some(("spa", "anything")), &[]).await,
        told(401, "invalid_client", true),
        "a public client has none"
    );
    assert_eq!(post(None, &[("client_id", "web")]).await, told(401, "invalid_client", false));
    assert_eq!(
        post(None, &[("client_id", "web"), ("client_secret", "wrong")]).await,
        told(401, "invalid_client", false)
    );
    assert_eq!(post(None, &[]).await, told(400, "invalid_request", false));
    let secret = world.secrets["web"].as_str();
    assert_eq!(post(Some(("web", secret)), &[("client_secret", secret)]).await, told(400, "invalid_request", false));
    assert_eq!(world.redeem("web", &code).await.0, 200, "none of them used the code");
}

#[tokio::test]
async fn a_code_shown_twice_revokes_what_it_gave() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let (access, refresh) =
        (tokens["access_token"].as_str().expect("one"), tokens["refresh_token"].as_str().expect("one"));
    assert_eq!(world.userinfo(access).await.0, 200);
    assert_eq!(world.redeem("web", &code).await.1["error"], "invalid_grant");
    assert_eq!(world.userinfo(access).await.0, 401);
    assert_eq!(world.refresh("web", refresh).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_lost_answer_signs_nobody_out_and_a_thief_ends_the_family() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let token = |tokens: &Value| tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
    let first = token(&tokens);
    let (status, _lost) = world.refresh("web", &first).await;
    assert_eq!(status, 200);
    world.clock.advance(std::time::Duration::from_secs(29));
    let (status, second) = world.refresh("web", &first).await;
    assert_eq!(status, 200, "the answer was lost");
    let (status, third) = world.refresh("web", &token(&second)).await;
    assert_eq!(status, 200);
    assert_eq!(world.refresh("web", &first).await.1["error"], "invalid_grant", "the thief");
    assert_eq!(world.refresh("web", &token(&third)).await.1["error"], "invalid_grant", "the family has ended");
    let reasons: Vec<_> = world.tail(3).await.into_iter().filter_map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["refresh-token-reused", "refresh-token-reused", "grant-revoked"]);
}

#[tokio::test]
async fn a_refresh_gives_less_when_less_is_asked_and_never_more() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[("scope", "openid profile offline_access")]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let first = tokens["refresh_token"].as_str().expect("one");
    let refresh = |scope: &'static str, token: String| {
        let world = &world;
        async move {
            world.token("web", &[("grant_type", "refresh_token"), ("refresh_token", &token), ("scope", scope)]).await
        }
    };
    assert_eq!(refresh("openid groups", first.to_owned()).await.1["error"], "invalid_scope");
    let (status, narrow) = refresh("openid", first.to_owned()).await;
    assert_eq!((status, &narrow["scope"]), (200, &json!("openid")));
    let (status, whole) = world.refresh("web", narrow["refresh_token"].as_str().expect("one")).await;
    assert_eq!((status, &whole["scope"]), (200, &json!("openid profile offline_access")));
}

#[tokio::test]
async fn disabling_a_user_or_changing_the_password_ends_tokens_at_once() {
    let world = World::start().await;
    for (change, undo) in [
        ("UPDATE tenant_user SET account_enabled = 0", "UPDATE tenant_user SET account_enabled = 1"),
        ("UPDATE tenant_user SET security_stamp = 's2'", "UPDATE tenant_user SET security_stamp = 's1'"),
        ("UPDATE credential SET version = 4", "UPDATE credential SET version = 3"),
    ] {
        let code = Tab::new(&world).code("web", &[]).await;
        let (_, tokens) = world.redeem("web", &code).await;
        let waiting = Tab::new(&world).code("web", &[]).await;
        world.sql(change).await;
        assert_eq!(world.redeem("web", &waiting).await.1["error"], "invalid_grant", "{change}");
        assert_eq!(
            world.refresh("web", tokens["refresh_token"].as_str().expect("one")).await.1["error"],
            "invalid_grant"
        );
        assert_eq!(world.userinfo(tokens["access_token"].as_str().expect("one")).await.0, 401, "{change}");
        world.sql(undo).await;
    }
}

#[tokio::test]
async fn userinfo_takes_access_tokens_of_ours_alone() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let access = tokens["access_token"].as_str().expect("one");
    assert_eq!(world.userinfo(tokens["id_token"].as_str().expect("one")).await.0, 401, "an identity token");
    assert_eq!(world.userinfo("").await.0, 401);
    let unsigned = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.{}.", access.split('.').nth(1).expect("claims"));
    assert_eq!(world.userinfo(&unsigned).await.0, 401);
    let by_query =
        world.http.get(world.url(&format!("/oauth2/userinfo?access_token={access}"))).send().await.expect("an answer");
    assert_eq!(by_query.status().as_u16(), 401, "never in an address");
    world.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(world.userinfo(access).await.0, 401, "expired");
}

#[tokio::test]
async fn a_hint_with_alg_none_signs_nobody_out() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let code = tab.code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let body = tokens["id_token"].as_str().and_then(|token| token.split('.').nth(1)).expect("claims");
    let unsigned = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{body}.");
    let shown = tab.get(&world.url(&format!("/oauth2/logout?id_token_hint={unsigned}"))).await;
    assert!(shown.body.contains("Sign out?"), "asked, as without a hint");
    assert!(tab.cookies.contains_key("__Host-landbridge"));
}

#[tokio::test]
async fn secrets_never_reach_the_audit_log() {
    let world = World::start().await;
    let code = Tab::new(&world).code("web", &[]).await;
    let (_, tokens) = world.redeem("web", &code).await;
    let rows = sqlx::query("SELECT record FROM audit").fetch_all(world.db.read()).await.expect("rows");
    let text: String = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "record")).collect();
    let refresh = tokens["refresh_token"].as_str().expect("one");
    for secret in [code.as_str(), refresh, PASSWORD, VERIFIER, world.secrets["web"].as_str()] {
        assert!(!text.contains(secret), "{text}");
    }
}
