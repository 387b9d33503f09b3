//! The sign-in pages: what they show, what they set, and from whom they take a form.

use landbridge::limits::Rate;
use landbridge::web::ROUTES;

use super::support::{ADA, FAY, PASSWORD, Tab, World};

#[tokio::test]
async fn every_answer_has_the_security_headers_and_no_page_an_inline_script_or_style() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let name = tab.get(&world.authorize_url(&[])).await;
    let password = tab.post(&name.action(), &[("name", ADA)]).await;
    let refused = tab.post(&password.action(), &[("password", "wrong")]).await;
    let fault = tab.get(&world.url("/nowhere")).await;
    let signed_out = tab.get(&world.url("/oauth2/logout")).await;
    let partner = Tab::new(&world).get(&world.authorize_url(&[("login_hint", FAY)])).await;
    assert_eq!((name.status, password.status, refused.status, fault.status), (200, 200, 200, 404));
    for page in [name, password, refused, fault, signed_out, partner] {
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "strict-origin"),
            ("cache-control", "no-store"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ] {
            assert_eq!(page.headers[header], value, "{header}");
        }
        let policy = page.policy();
        for part in
            ["default-src 'none'", "style-src 'self'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(page.headers.contains_key("x-request-id"));
        let body = page.body.to_lowercase();
        for inline in ["<style", "style=", "onclick", "onload", "javascript:", "<script>"] {
            assert!(!body.contains(inline), "{inline} in {body}");
        }
        assert!(body.contains("<html lang=\"en\">") && body.contains("example &#38; sons"), "{body}");
    }
    let json = tab.get(&world.url("/oauth2/jwks")).await;
    assert_eq!(json.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
}

#[tokio::test]
async fn oversized_answers_of_partners_are_refused_and_recorded_once_in_a_while() {
    let world = World::start().await;
    let response = "A".repeat(1024 * 1024);
    for _ in 0..3 {
        let form = [("SAMLResponse", response.as_str()), ("RelayState", "x")];
        assert_eq!(Tab::new(&world).post("/federation/acs", &form).await.status, 400);
    }
    // Nobody knows whose they are, so that one record in a minute tells as much as all of them.
    let mut records = world.tail(9).await;
    records.retain(|(kind, _)| kind == "sign-in");
    assert_eq!(records, [("sign-in".to_owned(), Some("saml.too_large".to_owned()))]);
}

#[tokio::test]
async fn the_policy_lets_forms_lead_to_this_transactions_application_alone() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let name = tab.get(&world.authorize_url(&[])).await;
    assert!(name.policy().contains("form-action 'self' https://app.example;"), "{}", name.policy());
    let password = tab.post(&name.action(), &[("name", ADA)]).await;
    assert!(password.policy().contains("form-action 'self' https://app.example;"), "{}", password.policy());
}

#[tokio::test]
async fn fields_are_labelled_for_people_and_password_managers_and_typed_text_is_escaped() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[("login_hint", "<b>\"x")])).await;
    assert!(page.body.contains("<label for=\"name\">") && page.body.contains("autocomplete=\"username\""));
    assert!(!page.body.contains("<b>"), "{}", page.body);
    let odd = tab.post(&page.action(), &[("name", "not a name")]).await;
    assert_eq!(odd.status, 200);
    assert!(odd.body.contains("role=\"alert\"") && odd.body.contains("aria-invalid=\"true\""), "{}", odd.body);
    let page = tab.post(&page.action(), &[("name", ADA)]).await;
    for text in ["<label for=\"password\">", "autocomplete=\"current-password\"", "Use another account"] {
        assert!(page.body.contains(text), "{text}");
    }
    assert_eq!(page.attribute("name=\"username\" type=\"text\" value=\""), ADA);
}

#[tokio::test]
async fn wrong_password_and_unknown_name_get_one_page_and_one_status() {
    let world = World::start().await;
    let mut pages = Vec::new();
    for name in [ADA, "nobody@a.example"] {
        let mut tab = Tab::new(&world);
        let page = tab.get(&world.authorize_url(&[])).await;
        let id = page.action().split('/').nth(2).expect("an id").to_owned();
        let page = tab.post(&page.action(), &[("name", name)]).await;
        let shown = tab.post(&page.action(), &[("password", "wrong")]).await;
        assert!(!tab.cookies.contains_key("__Host-landbridge"));
        pages.push((shown.status, shown.body.replace(&id, "ID").replace(name, "NAME")));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].1.contains("You are not signed in"));
}

#[tokio::test]
async fn an_empty_password_is_refused_like_a_wrong_one() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let page = tab.post(&page.action(), &[("name", ADA)]).await;
    let shown = tab.post(&page.action(), &[("password", "")]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.body.contains("You are not signed in"));
}

#[tokio::test]
async fn another_account_can_be_chosen_and_the_back_button_leads_on() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let first = tab.get(&world.authorize_url(&[])).await;
    let page = tab.post(&first.action(), &[("name", "nobody@a.example")]).await;
    let over = page.action().replace("/password", "/start-over");
    let again = tab.post(&over, &[]).await;
    assert_eq!(again.action(), first.action());
    let page = tab.post(&first.action(), &[("name", "nobody@a.example")]).await;
    let back = tab.post(&first.action(), &[("name", ADA)]).await;
    assert_eq!(back.attribute("name=\"username\" type=\"text\" value=\""), ADA);
    let reload = tab.get(&world.url(first.action().trim_end_matches("/name"))).await;
    assert_eq!(reload.action(), page.action());
    assert_eq!(tab.post(&page.action(), &[("password", PASSWORD)]).await.status, 303);
}

#[tokio::test]
async fn two_tabs_do_not_disturb_each_other() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let one = tab.get(&world.authorize_url(&[])).await;
    let two = tab.get(&world.authorize_url(&[("client_id", "es")])).await;
    let page = tab.post(&one.action(), &[("name", ADA)]).await;
    let other = tab.post(&two.action(), &[("name", ADA)]).await;
    assert_eq!(tab.post(&page.action(), &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(tab.post(&other.action(), &[("password", PASSWORD)]).await.status, 303);
}

#[tokio::test]
async fn a_transaction_is_bound_to_its_browser() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let mut other = Tab::new(&world);
    assert_eq!(other.post(&page.action(), &[("name", ADA)]).await.status, 400);
    for (name, value) in &tab.cookies {
        other.cookies.insert(name.clone(), format!("x{value}"));
    }
    assert_eq!(other.post(&page.action(), &[("name", ADA)]).await.status, 400);
    assert_eq!(tab.post(&page.action(), &[("name", ADA)]).await.status, 200);
}

#[tokio::test]
async fn a_federated_user_is_sent_to_the_partner_and_comes_back_signed_in() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let page = tab.post(&page.action(), &[("name", FAY)]).await;
    assert_eq!(page.action(), "https://idp.fed.example/sso");
    assert!(!page.body.contains("ForceAuthn"), "nobody asked for a new proof");
    assert!(page.policy().contains("form-action 'self' https://idp.fed.example;"), "{}", page.policy());
    assert!(page.body.contains("<script src=\"/static/continue.js\" defer></script>"));
    let relay = page.attribute("name=\"RelayState\" value=\"");
    tab.origin = "https://idp.fed.example".into();
    let refused = tab.post("/federation/acs", &[("SAMLResponse", "bad"), ("RelayState", &relay)]).await;
    assert_eq!((refused.status, refused.location()), (403, ""));
    let stranger = Tab::new(&world).post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert_eq!((stranger.status, stranger.location()), (400, ""), "another browser");
    let shown = tab.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert_eq!(shown.status, 303, "{}", shown.body);
    let (status, tokens) = world.redeem("web", &shown.param("code").expect("a code")).await;
    assert_eq!(status, 200);
    let (_, info) = world.userinfo(tokens["access_token"].as_str().expect("one")).await;
    assert_eq!(info["upn"], FAY);
    let replayed = tab.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert_eq!((replayed.status, replayed.location()), (400, ""), "the transaction is over");
}

#[tokio::test]
async fn after_the_last_refused_answer_the_question_is_over() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[("login_hint", FAY)])).await;
    let relay = page.attribute("name=\"RelayState\" value=\"");
    let refused = tab.post("/federation/acs", &[("SAMLResponse", "worst"), ("RelayState", &relay)]).await;
    assert_eq!(refused.status, 403);
    let late = tab.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", &relay)]).await;
    assert_eq!((late.status, late.location()), (400, ""));
    let page = tab.get(&world.url(&format!("/sign-in/{relay}"))).await;
    assert!(page.body.contains("<label for=\"name\">"), "the person can begin again: {}", page.body);
}

#[tokio::test]
async fn a_network_that_asks_too_much_is_told_to_wait_before_anything_is_written() {
    let world = World::paced(Rate { per_minute: 1, burst: 4 }).await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let password = tab.post(&page.action(), &[("name", ADA)]).await;
    let wrong = tab.post(&password.action(), &[("password", "wrong")]).await;
    assert_eq!((page.status, password.status, wrong.status), (200, 200, 200));
    assert_eq!(Tab::new(&world).get(&world.authorize_url(&[])).await.status, 200, "the fourth");
    let records = world.tail(9).await;
    for shown in [
        Tab::new(&world).get(&world.authorize_url(&[])).await,
        tab.post(&page.action(), &[("name", ADA)]).await,
        tab.post(&password.action(), &[("password", PASSWORD)]).await,
        tab.post("/federation/acs", &[("SAMLResponse", "good"), ("RelayState", "x")]).await,
    ] {
        assert_eq!(
            (shown.status, shown.headers["retry-after"].to_str().expect("ASCII")),
            (429, "60"),
            "{}",
            shown.body
        );
        assert!(!shown.headers.contains_key("set-cookie"));
    }
    assert_eq!(world.tail(9).await, records);
    assert_eq!(Tab::new(&world).get(&world.url("/oauth2/jwks")).await.status, 200, "what costs nothing goes on");
}

#[tokio::test]
async fn only_a_visit_begins_a_sign_in() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    for mode in ["cors", "no-cors", "same-origin", "websocket", "invented"] {
        let shown = tab.fetch(&world.authorize_url(&[]), mode).await;
        assert_eq!(shown.status, 400, "{mode}");
        assert!(tab.cookies.is_empty(), "{mode}");
    }
    assert_eq!(tab.fetch(&world.authorize_url(&[]), "navigate").await.status, 200);
}

#[tokio::test]
async fn a_browser_holds_eight_transactions_and_the_newest_of_them() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let mut pages = Vec::new();
    for _ in 0..12 {
        pages.push(tab.get(&world.authorize_url(&[])).await);
        let held = tab.cookies.keys().filter(|name| name.starts_with("__Host-landbridge-t-")).count();
        assert!(held <= 8, "{held}");
    }
    assert_eq!(tab.post(&pages[11].action(), &[("name", ADA)]).await.status, 200);
    let lost = {
        let mut lost = 0;
        for page in &pages[..11] {
            lost += usize::from(tab.post(&page.action(), &[("name", ADA)]).await.status == 400);
        }
        lost
    };
    assert_eq!(lost, 4);
}

#[tokio::test]
async fn a_panic_is_a_refusal_and_the_gateway_goes_on() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let page = tab.post(&page.action(), &[("name", "panic@a.example")]).await;
    let shown = tab.post(&page.action(), &[("password", PASSWORD)]).await;
    assert!(shown.status >= 500, "{}", shown.status);
    assert!(!shown.body.contains("asked for"), "{}", shown.body);
    assert_eq!(Tab::new(&world).get(&world.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn sizes_and_kinds_of_bodies_are_bounded() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    let page = tab.get(&world.authorize_url(&[])).await;
    let big = "x".repeat(70 * 1024);
    assert_eq!(tab.post(&page.action(), &[("name", &big)]).await.status, 400);
    assert_eq!(tab.get(&world.authorize_url(&[("state", &"x".repeat(17 * 1024))])).await.status, 414);
    let json =
        world.http.post(world.url("/oauth2/token")).json(&serde_json::json!({})).send().await.expect("an answer");
    assert_eq!(json.status().as_u16(), 400);
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let world = World::start().await;
    let mut tab = Tab::new(&world);
    assert_eq!(tab.get(&world.url("/healthz")).await.body, "ok\n");
    let ready = tab.get(&world.url("/readyz")).await;
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"ready":true,"checks":[{"name":"store","ok":true}]}"#));
}

/// Who may call a route without any proof: everybody, or nobody. The list of open ones only shrinks.
#[tokio::test]
async fn every_route_refuses_a_caller_without_cookie_origin_or_client() {
    const OPEN: [(&str, &str); 7] = [
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/oauth2/jwks"),
        ("GET", "/federation/metadata"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        // These two show a page and change nothing.
        ("GET", "/oauth2/logout"),
        ("POST", "/oauth2/logout"),
    ];
    let world = World::start().await;
    let id = landbridge::identity::TransactionId::random().to_string();
    let mut seen = 0;
    for (pattern, methods) in ROUTES {
        let path = pattern.replace("{transaction}", &id).replace("{file}", "no-such-file");
        for method in *methods {
            seen += 1;
            for origin in [None, Some("https://evil.example"), Some(world.base.as_str())] {
                let request = world.http.request(method.parse().expect("a method"), world.url(&path));
                let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
                let request = if *method == "POST" { request.form(&[("x", "y")]) } else { request };
                let answer = request.send().await.expect("an answer");
                let status = answer.status().as_u16();
                let open = OPEN.contains(&(*method, pattern));
                assert_eq!(status < 400, open, "{method} {path} from {origin:?}: {status}");
                let session = answer.headers().get_all("set-cookie").iter().any(|cookie| {
                    cookie
                        .to_str()
                        .is_ok_and(|text| text.starts_with("__Host-landbridge=") && !text.contains("Max-Age=0"))
                });
                assert!(!session, "{method} {path} sets a session");
            }
            let foreign = pattern.starts_with("/sign-in/") && *method == "POST";
            if foreign {
                let request = world.http.post(world.url(&path)).header("origin", "https://evil.example");
                assert_eq!(
                    request.form(&[("x", "y")]).send().await.expect("an answer").status().as_u16(),
                    403,
                    "{path}"
                );
            }
        }
    }
    assert_eq!(seen, 19);
}
