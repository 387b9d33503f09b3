use proptest::prelude::*;

use super::*;

const REQUEST: RequestId = RequestId::new([1; 16]);
const AGENT: AgentId = AgentId::new([2; 16]);

fn anchor(text: &str) -> Subject {
    Subject::Anchor(text.to_owned())
}

fn binding(subject: &Subject) -> Binding<'_> {
    Binding { request: REQUEST, agent: AGENT, subject, expires_at: 1_000 }
}

proptest! {
    #[test]
    fn a_password_comes_out_as_it_went_in(password in ".{0,256}") {
        let (key, subject) = (OpeningKey::generate().expect("a key"), anchor("a"));
        let sealed = key.public().seal(&password, &binding(&subject)).expect("sealed");
        let opened = key.open(&sealed, &binding(&subject)).expect("opened");
        prop_assert_eq!(opened.as_str(), password);
    }

    #[test]
    fn damaged_bytes_do_not_open(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (key, subject) = (OpeningKey::generate().expect("a key"), anchor("a"));
        let sealed = key.public().seal("correct horse", &binding(&subject)).expect("sealed");
        let mut other = sealed.clone();
        let whole = other.encapsulated.len() + other.ciphertext.len();
        let at = at.index(whole);
        match at.checked_sub(other.encapsulated.len()) {
            Some(at) => other.ciphertext[at] ^= flip,
            None => other.encapsulated[at] ^= flip,
        }
        // X25519 passes over the topmost bit of a point; the ciphertext is bound to the bytes all the same.
        prop_assert!(key.open(&other, &binding(&subject)).is_err());
    }
}

#[test]
fn a_password_opens_for_its_agent_request_subject_and_expiry_alone() {
    let (key, subject, other) = (OpeningKey::generate().expect("a key"), anchor("a"), anchor("b"));
    let sealed = key.public().seal("correct horse", &binding(&subject)).expect("sealed");
    let of = binding(&subject);
    let rows = [
        Binding { request: RequestId::new([9; 16]), ..of },
        Binding { agent: AgentId::new([9; 16]), ..of },
        Binding { subject: &other, ..of },
        Binding { subject: &Subject::Unknown, ..of },
        Binding { expires_at: 1_001, ..of },
    ];
    for row in rows {
        assert_eq!(key.open(&sealed, &row), Err(OpenError), "{row:?}");
    }
    let stranger = OpeningKey::generate().expect("a key");
    assert_eq!(stranger.open(&sealed, &of), Err(OpenError));
    assert!(key.open(&sealed, &of).is_ok());
}

#[test]
fn neither_password_nor_its_length_is_seen_in_the_bytes() {
    let (key, subject) = (OpeningKey::generate().expect("a key"), anchor("a"));
    let length = |password: &str| {
        let bytes = plain(&key.public().seal(password, &binding(&subject)).expect("sealed"));
        assert!(!bytes.windows(password.len().max(1)).any(|window| window == password.as_bytes()));
        bytes.len()
    };
    assert_eq!(length("Summer-7"), length("correct horse battery staple"));
    assert!(key.public().seal(&"x".repeat(MAX_PASSWORD + 1), &binding(&subject)).is_err());
}

#[test]
fn a_stored_pair_opens_what_was_sealed_before() {
    let (key, subject) = (OpeningKey::generate().expect("a key"), anchor("a"));
    let sealed = key.public().seal("correct horse", &binding(&subject)).expect("sealed");
    let stored = Zeroizing::new(key.private_bytes().to_vec());
    let again = OpeningKey::from_parts(stored, key.public().bytes()).expect("a key");
    assert_eq!(again.open(&sealed, &binding(&subject)).expect("opened").as_str(), "correct horse");
    assert!(OpeningKey::from_parts(Zeroizing::new(vec![1; 31]), key.public().bytes()).is_err());
    assert!(SealingKey::from_bytes(&[0; 33]).is_err());
    // A key of small order seals to nobody (RFC 9180, section 7.1.4).
    assert!(SealingKey::from_bytes(&[0; 32]).expect("32 bytes").seal("x", &binding(&subject)).is_err());
}

#[test]
fn nothing_secret_prints() {
    let (key, subject) = (OpeningKey::generate().expect("a key"), anchor("a"));
    let sealed = key.public().seal("correct horse", &binding(&subject)).expect("sealed");
    assert_eq!(
        format!("{key:?} {:?} {sealed:?}", key.public()),
        "OpeningKey(..) SealingKey(..) SealedPassword(144 bytes)"
    );
}

#[test]
fn a_page_of_accounts_opens_for_its_request_agent_connector_and_number_alone() {
    let key = OpeningKey::generate().expect("a key");
    let binding =
        PageBinding { request: RequestId::new([1; 16]), agent: AgentId::new([2; 16]), connector: "corp", number: 3 };
    let sealed = key.public().seal_page(b"accounts", &binding).expect("sealed");
    assert!(!sealed.windows(8).any(|window| window == b"accounts"));
    assert_eq!(key.open_page(&sealed, &binding).expect("opens").as_slice(), b"accounts");
    let others = [
        PageBinding { request: RequestId::new([9; 16]), ..binding },
        PageBinding { agent: AgentId::new([9; 16]), ..binding },
        PageBinding { connector: "lab", ..binding },
        PageBinding { number: 4, ..binding },
    ];
    for other in others {
        assert_eq!(key.open_page(&sealed, &other), Err(OpenError), "{other:?}");
    }
    let stranger = OpeningKey::generate().expect("a key");
    assert_eq!(stranger.open_page(&sealed, &binding), Err(OpenError));
    for length in 0..sealed.len() {
        assert_eq!(key.open_page(&sealed[..length], &binding), Err(OpenError), "{length}");
    }
}
