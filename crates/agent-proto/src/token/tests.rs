use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn token() -> EnrolmentToken {
    EnrolmentToken {
        url: "https://login.example.org:8444".to_owned(),
        pin: SpkiPin::of(b"key"),
        connector: "corp".to_owned(),
        domains: vec!["example.org".to_owned(), "b\u{fc}ro.example".to_owned()],
        expires_at: 1_800_000_000_000,
        secret: [9; SECRET],
        synchronised: None,
    }
}

#[test]
fn a_token_survives_being_copied_with_blanks_around_it() {
    let text = format!("  {}\n", *token().to_text());
    assert_eq!(text.parse::<EnrolmentToken>().expect("a token"), token());
}

#[test]
fn a_badly_copied_token_is_told_from_an_unknown_one() {
    let text = token().to_text();
    assert!(matches!(text[..text.len() - 2].parse::<EnrolmentToken>(), Err(TokenError::Damaged)));
    assert!(matches!("lbagent1-".parse::<EnrolmentToken>(), Err(TokenError::Damaged)));
    assert!(matches!("hunter2".parse::<EnrolmentToken>(), Err(TokenError::Prefix)));
    let mut bytes = vec![0x01];
    let check = digest(&SHA256, &bytes);
    bytes.extend_from_slice(&check.as_ref()[..CHECK]);
    let other = format!("{PREFIX}{}", BASE64.encode(&bytes));
    assert!(matches!(other.parse::<EnrolmentToken>(), Err(TokenError::Unknown)));
}

#[test]
fn a_token_does_not_print() {
    assert_eq!(format!("{:?}", token()), "EnrolmentToken(https://login.example.org:8444, corp, ..)");
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(lbagent1-)?.{0,200}", bytes in vec(any::<u8>(), 0..200)) {
        let _ = text.parse::<EnrolmentToken>();
        let _ = format!("{PREFIX}{}", BASE64.encode(bytes)).parse::<EnrolmentToken>();
    }
}
