use super::super::client::ClientAuthentication;
use super::super::opaque::Opaque;
use super::super::{Algorithm, SubjectType};
use super::*;
use crate::identity::Timestamp;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn issuer() -> IssuerUrl {
    "https://login.example.org".parse().expect("an issuer")
}

fn client(authentication: ClientAuthentication) -> Client {
    Client {
        id: "app".parse().expect("an id"),
        name: "App".into(),
        authentication,
        redirect_uris: vec!["https://app.example/cb".parse().expect("an address")],
        logout_uris: vec![],
        subject_type: SubjectType::Public,
        algorithm: Algorithm::Rs256,
        created_at: Timestamp::from_secs(0),
    }
}

fn public() -> Client {
    client(ClientAuthentication::Public)
}

fn confidential() -> Client {
    client(ClientAuthentication::Secret(Opaque::random().hash()))
}

const GOOD: [(&str, &str); 8] = [
    ("client_id", "app"),
    ("redirect_uri", "https://app.example/cb"),
    ("response_type", "code"),
    ("scope", "openid profile unknown"),
    ("state", "s t&"),
    ("nonce", "n"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// The good request with some parameters replaced, added (a new name) or left out (an empty value).
fn request(changes: &[(&str, &str)]) -> Params {
    let mut pairs: Vec<_> = GOOD.to_vec();
    for change in changes {
        pairs.retain(|(name, _)| *name != change.0);
        pairs.push(*change);
    }
    Params::decode(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().as_bytes())
}

fn error_of(client: &Client, params: &Params) -> (String, AuthorizationAnswer) {
    let answer = check(client, &issuer(), params).expect("no page").expect_err("an error for the application");
    let find = |name| answer.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    assert_eq!(find("iss").as_deref(), Some("https://login.example.org"));
    (find("error").expect("an error code"), answer)
}

#[test]
fn a_good_request_is_taken_as_it_is() {
    let demand = check(&public(), &issuer(), &request(&[])).expect("no page").expect("a demand");
    assert_eq!(demand.prompt, Prompt::Default);
    assert_eq!(demand.request.scope.to_string(), "openid profile");
    assert_eq!(demand.request.state.as_deref(), Some("s t&"));
    assert_eq!(demand.request.nonce.as_deref(), Some("n"));
    let stored = serde_json::to_value(&demand.request).expect("JSON");
    assert_eq!(serde_json::from_value::<AuthorizationRequest>(stored).expect("the same"), demand.request);
}

#[test]
fn an_address_that_is_not_registered_byte_for_byte_is_never_sent_to() {
    for uri in [
        "https://app.example/cb/",
        "https://app.example/CB",
        "https://app.example/cb?x=1",
        "https://app.example:443/cb",
        "https://APP.example/cb",
        "https://app.example/cb#x",
        "https://app.example.evil.example/cb",
        "https://app.example/cb/../cb",
        "javascript:alert(1)",
    ] {
        let params = request(&[("redirect_uri", uri)]);
        assert_eq!(check(&public(), &issuer(), &params), Err(AuthorizeFault::RedirectUnknown), "{uri}");
    }
    let missing = request(&[("redirect_uri", "")]);
    assert_eq!(check(&public(), &issuer(), &missing), Err(AuthorizeFault::RedirectMissing));
    let twice = Params::decode(b"redirect_uri=https://app.example/cb&redirect_uri=https://evil.example/");
    assert_eq!(check(&public(), &issuer(), &twice), Err(AuthorizeFault::RedirectMissing));
    assert_eq!(named_client(&Params::decode(b"")), Err(AuthorizeFault::ClientMissing));
    assert_eq!(named_client(&Params::decode(b"client_id=a&client_id=b")), Err(AuthorizeFault::ClientMissing));
    assert_eq!(named_client(&Params::decode(b"client_id=a%00b")), Err(AuthorizeFault::ClientUnknown));
}

#[test]
fn each_fault_is_told_by_its_own_code() {
    let rows: [(&[(&str, &str)], &str); 16] = [
        (&[("response_type", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("scope", "")], "invalid_scope"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("prompt", "sometimes")], "invalid_request"),
        (&[("max_age", "-1")], "invalid_request"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "https://evil.example/r")], "request_uri_not_supported"),
        (&[("registration", "{}")], "registration_not_supported"),
    ];
    for (changes, code) in rows {
        let (told, answer) = error_of(&public(), &request(changes));
        assert_eq!(told, code, "{changes:?}");
        assert!(answer.params.contains(&("state", "s t&".to_owned())), "{changes:?}");
    }
}

#[test]
fn pkce_may_be_left_out_by_a_client_with_a_secret_alone() {
    let without = request(&[("code_challenge", ""), ("code_challenge_method", "")]);
    assert_eq!(error_of(&public(), &without).0, "invalid_request");
    let demand = check(&confidential(), &issuer(), &without).expect("no page").expect("a demand");
    assert_eq!(demand.request.challenge, None);
    let plain = request(&[("code_challenge_method", "plain")]);
    assert_eq!(error_of(&confidential(), &plain).0, "invalid_request");
}

#[test]
fn a_repeated_parameter_is_refused_and_an_oversized_state_is_not_echoed() {
    let mut text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(GOOD).finish();
    text.push_str("&nonce=again");
    assert_eq!(error_of(&public(), &Params::decode(text.as_bytes())).0, "invalid_request");
    let (code, answer) = error_of(&public(), &request(&[("state", &"x".repeat(4097))]));
    assert_eq!(code, "invalid_request");
    assert!(answer.params.iter().all(|(name, _)| *name != "state"));
}

#[test]
fn an_error_travels_in_the_mode_that_was_asked_for() {
    let (_, answer) = error_of(&public(), &request(&[("response_mode", "form_post"), ("scope", "")]));
    assert_eq!(answer.mode, ResponseMode::FormPost);
    let (_, answer) = error_of(&public(), &request(&[("scope", "")]));
    assert!(answer.location().starts_with("https://app.example/cb?error=invalid_scope&"), "{}", answer.location());
}

#[test]
fn prompt_and_hints_become_demands() {
    let demand = |changes: &[(&str, &str)]| check(&public(), &issuer(), &request(changes)).expect("ok").expect("ok");
    assert_eq!(demand(&[("prompt", "none")]).prompt, Prompt::None);
    assert_eq!(demand(&[("prompt", "login consent")]).prompt, Prompt::Login);
    assert_eq!(demand(&[("prompt", "consent")]).prompt, Prompt::Default);
    assert_eq!(demand(&[("max_age", "0")]).max_age, Some(0));
    assert_eq!(demand(&[("login_hint", "ada@a.example")]).login_hint.as_deref(), Some("ada@a.example"));
    let other = demand(&[("login_hint", "ada@a.example"), ("prompt", "select_account")]);
    assert_eq!((other.prompt, other.login_hint), (Prompt::Login, None));
}
