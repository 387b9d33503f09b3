use super::*;

fn asked() -> Asked {
    Asked { request: RequestId::new([1; 16]), subject: Subject::Anchor("a".to_owned()), password_hash: [3; 32] }
}

fn claims() -> Claims {
    Claims {
        outcome: Outcome::Verified,
        server: Some("ldaps://dc1".to_owned()),
        password_set: Some(5),
        at: 7,
        late: false,
    }
}

#[test]
fn an_answer_counts_for_its_check_and_its_agent_alone() {
    let key = SigningKey::generate().expect("a key");
    let answer = key.answer(&asked(), claims());
    assert_eq!(answer.verify(&key.public(), &asked()), Ok(&claims()));
    let others = [
        Asked { request: RequestId::new([2; 16]), ..asked() },
        Asked { subject: Subject::Anchor("b".to_owned()), ..asked() },
        Asked { subject: Subject::Unknown, ..asked() },
        Asked { password_hash: [4; 32], ..asked() },
    ];
    for other in others {
        assert_eq!(answer.verify(&key.public(), &other), Err(NotSigned), "{other:?}");
    }
    let stranger = SigningKey::generate().expect("a key");
    assert_eq!(answer.verify(&stranger.public(), &asked()), Err(NotSigned));
}

#[test]
fn an_altered_answer_is_refused() {
    let key = SigningKey::generate().expect("a key");
    let refused = Outcome::Refused { code: "wrong-password".to_owned(), number: None };
    let answer = key.answer(&asked(), Claims { outcome: refused, ..claims() });
    let forged = [
        claims(),
        Claims { server: None, ..answer.claims.clone() },
        Claims { password_set: None, ..answer.claims.clone() },
        Claims { at: 8, ..answer.claims.clone() },
        Claims { late: true, ..answer.claims.clone() },
    ];
    for claims in forged {
        let forged = Answer { claims, ..answer.clone() };
        assert_eq!(forged.verify(&key.public(), &asked()), Err(NotSigned), "{forged:?}");
    }
    // The request of the answer is what it is looked up by, and signed too.
    let moved = Answer { request: RequestId::new([2; 16]), ..answer.clone() };
    assert_eq!(moved.verify(&key.public(), &Asked { request: moved.request, ..asked() }), Err(NotSigned));
    for length in [0, 63, 65] {
        let cut = Answer { signature: vec![0; length], ..answer.clone() };
        assert_eq!(cut.verify(&key.public(), &asked()), Err(NotSigned));
    }
}

#[test]
fn a_stored_key_signs_like_the_one_that_was_stored() {
    let key = SigningKey::generate().expect("a key");
    let again = SigningKey::from_pkcs8(Zeroizing::new(key.pkcs8().to_vec())).expect("a key");
    assert_eq!(again.answer(&asked(), claims()), key.answer(&asked(), claims()));
    assert!(key.public().signed(b"csr", &again.sign(b"csr")));
    assert!(!key.public().signed(b"csr", &again.sign(b"another")));
}
