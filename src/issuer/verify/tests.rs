use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::identity::{Clock, SettableClock};
use crate::issuer::store::{SigningKeys, StoredKey};
use crate::issuer::{KeySealer, SealFault, StoreDown};

const ISSUER: &str = "https://login.example.org";
const LIFETIME: Duration = Duration::from_secs(3600);
const ANNOUNCEMENT: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Keys(Mutex<Vec<StoredKey>>);

#[async_trait]
impl SigningKeys for Keys {
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreDown> {
        Ok(self.0.lock().expect("not poisoned").clone())
    }

    async fn add_key(&self, key: StoredKey) -> Result<(), StoreDown> {
        let mut keys = self.0.lock().expect("not poisoned");
        for old in keys.iter_mut().filter(|old| old.jwk.alg == key.jwk.alg && old.retired_at.is_none()) {
            old.retired_at = Some(key.active_from);
        }
        keys.push(key);
        Ok(())
    }

    async fn add_first_key(&self, key: StoredKey) -> Result<(), StoreDown> {
        let present = self.0.lock().expect("not poisoned").iter().any(|old| old.jwk.alg == key.jwk.alg);
        if present { Ok(()) } else { self.add_key(key).await }
    }

    async fn pairwise_secret(&self, new: String) -> Result<String, StoreDown> {
        Ok(new)
    }
}

/// Stands for the key ring: binds the purpose, hides nothing.
struct Plain;

impl KeySealer for Plain {
    fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, SealFault> {
        Ok(format!("{purpose}|{}", hex::encode(plain)))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        let (bound, plain) = sealed.split_once('|').expect("sealed by us");
        assert_eq!(bound, purpose);
        Ok(Zeroizing::new(hex::decode(plain).expect("sealed by us")))
    }
}

async fn open() -> (Arc<Keys>, Arc<SettableClock>, KeySet) {
    let (store, clock) = (Arc::new(Keys::default()), Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000))));
    let keys = KeySet::open(store.clone(), Arc::new(Plain), clock.clone(), LIFETIME, ANNOUNCEMENT).await;
    (store, clock, keys.expect("keys open"))
}

fn claims(now: Timestamp) -> Value {
    json!({
        "iss": ISSUER, "sub": "u", "aud": ISSUER, "client_id": "app", "exp": now.secs() + 60, "iat": now.secs(),
        "jti": "j", "scope": "openid", "grant": "00000000-0000-4000-8000-000000000001", "amr": ["pwd"], "acr": "x",
        "auth_time": now.secs(), "sid": "00000000-0000-4000-8000-000000000002",
    })
}

fn issuer() -> IssuerUrl {
    ISSUER.parse().expect("an issuer")
}

fn reassemble(token: &str, header: Option<&Value>, body: Option<&Value>, signature: Option<&[u8]>) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let json = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = header.map_or(parts[0].to_owned(), json);
    let body = body.map_or(parts[1].to_owned(), json);
    let signature = signature.map_or(parts[2].to_owned(), |bytes| URL_SAFE_NO_PAD.encode(bytes));
    format!("{header}.{body}.{signature}")
}

#[tokio::test]
async fn our_own_tokens_verify_with_each_algorithm_and_no_altered_one_does() {
    let (_, clock, keys) = open().await;
    let now = clock.now();
    let check = |token: &str| access_token(&keys, &issuer(), token, now).map(|claims| claims.client_id);
    for algorithm in Algorithm::ALL {
        let signer = keys.signer(algorithm).expect("a key");
        let token = signer.sign(TokenType::AccessToken, &claims(now)).expect("signed");
        assert_eq!(check(&token), Ok("app".to_owned()), "{algorithm:?}");

        let (alg, kid) = (algorithm.as_str(), signer.jwk.kid.as_str());
        let other = keys.signer(Algorithm::ALL[usize::from(algorithm == Algorithm::Rs256)]).expect("a key");
        let header = |value: Value| reassemble(&token, Some(&value), None, None);
        let jwk = serde_json::to_value(&signer.jwk).expect("JSON");
        let mut evil = claims(now);
        evil["sub"] = json!("admin");
        let rows = [
            ("alg none", header(json!({"typ": "at+jwt", "alg": "none", "kid": kid})), TokenFault::Algorithm),
            (
                "alg None, no signature",
                reassemble(&token, Some(&json!({"typ": "at+jwt", "alg": "None", "kid": kid})), None, Some(b"")),
                TokenFault::Algorithm,
            ),
            ("alg HS256", header(json!({"typ": "at+jwt", "alg": "HS256", "kid": kid})), TokenFault::Algorithm),
            (
                "alg with a leading space",
                header(json!({"typ": "at+jwt", "alg": format!(" {alg}"), "kid": kid})),
                TokenFault::Algorithm,
            ),
            (
                "jwk in the header",
                header(json!({"typ": "at+jwt", "alg": alg, "kid": kid, "jwk": jwk})),
                TokenFault::Header,
            ),
            (
                "jku in the header",
                header(json!({"typ": "at+jwt", "alg": alg, "kid": kid, "jku": "https://evil.example/"})),
                TokenFault::Header,
            ),
            (
                "crit in the header",
                header(json!({"typ": "at+jwt", "alg": alg, "kid": kid, "crit": ["exp"]})),
                TokenFault::Header,
            ),
            ("no kid", header(json!({"typ": "at+jwt", "alg": alg})), TokenFault::Header),
            ("unknown kid", header(json!({"typ": "at+jwt", "alg": alg, "kid": "x"})), TokenFault::Key),
            (
                "the other key's kid",
                header(json!({"typ": "at+jwt", "alg": alg, "kid": other.jwk.kid})),
                TokenFault::Algorithm,
            ),
            ("another type", header(json!({"typ": "JWT", "alg": alg, "kid": kid})), TokenFault::Type),
            ("other claims", reassemble(&token, None, Some(&evil), None), TokenFault::Signature),
            ("no signature", reassemble(&token, None, None, Some(b"")), TokenFault::Signature),
            ("a signature of zeros", reassemble(&token, None, None, Some(&[0; 64])), TokenFault::Signature),
            ("two parts", token.rsplit_once('.').expect("three parts").0.to_owned(), TokenFault::Form),
            ("padded", format!("{token}=="), TokenFault::Signature),
            ("oversized", format!("{token}{}", "A".repeat(20_000)), TokenFault::Form),
        ];
        for (name, altered, fault) in rows {
            let told = check(&altered).expect_err(name);
            // A signature that is no base64 at all is refused before it is compared.
            assert!(told == fault || (name == "padded" && told == TokenFault::Claims), "{name}: {told:?}");
        }
        let identity = signer.sign(TokenType::IdToken, &claims(now)).expect("signed");
        assert_eq!(check(&identity), Err(TokenFault::Type), "an identity token is no access token");
    }
}

#[tokio::test]
async fn claims_of_the_wrong_type_party_or_time_are_refused() {
    let (_, clock, keys) = open().await;
    let now = clock.now();
    let signer = keys.signer(Algorithm::Es256).expect("a key");
    let rows = [
        ("exp", json!("4102444800"), TokenFault::Claims),
        ("exp", json!(4102444800.5), TokenFault::Claims),
        ("exp", Value::Null, TokenFault::Claims),
        ("exp", json!([4102444800_i64]), TokenFault::Claims),
        ("exp", json!(now.secs()), TokenFault::Time),
        ("iat", json!(now.secs() + 61), TokenFault::Time),
        ("iat", json!("0"), TokenFault::Claims),
        ("iss", json!("https://login.example.org/"), TokenFault::Party),
        ("aud", json!("app"), TokenFault::Party),
        ("grant", json!("x"), TokenFault::Claims),
    ];
    for (name, value, fault) in rows {
        let mut altered = claims(now);
        altered[name] = value.clone();
        let token = signer.sign(TokenType::AccessToken, &altered).expect("signed");
        assert_eq!(access_token(&keys, &issuer(), &token, now).err(), Some(fault), "{name} = {value}");
    }
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_until_its_last_token_is_over() {
    let (_, clock, keys) = open().await;
    let first = keys.signer(Algorithm::Rs256).expect("a key").jwk.kid.clone();
    let (second, from) = keys.rotate(Algorithm::Rs256).await.expect("rotated");
    let published = |kid: &str| keys.published().keys.iter().any(|key| key.kid == kid);
    let signs = || keys.signer(Algorithm::Rs256).expect("a key").jwk.kid.clone();
    assert!(published(&first) && published(&second));
    assert_eq!(signs(), first);
    clock.set(from);
    assert_eq!(signs(), second);
    let last_token = keys.signer(Algorithm::Rs256).expect("a key");
    assert!(last_token.retired_at.is_none());
    clock.advance(LIFETIME + Duration::from_secs(299));
    assert!(published(&first), "a token signed just before is still read");
    clock.advance(Duration::from_secs(2));
    assert!(!published(&first) && keys.by_id(&first).is_none());
    keys.reload().await.expect("reloaded");
    assert_eq!(keys.published().keys.len(), 2, "one key an algorithm");
}

#[tokio::test]
async fn another_node_opens_the_same_keys() {
    let (store, clock, keys) = open().await;
    let other = KeySet::open(store, Arc::new(Plain), clock.clone(), LIFETIME, ANNOUNCEMENT).await.expect("opens");
    let token = keys.signer(Algorithm::Rs256).expect("a key").sign(TokenType::AccessToken, &claims(clock.now()));
    assert!(access_token(&other, &issuer(), &token.expect("signed"), clock.now()).is_ok());
}
