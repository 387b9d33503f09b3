//! Published and independently made values of every scheme, each with its refusals.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::*;
use crate::credential::chain::Match;
use crate::credential::derived::{Argon2Cost, Derived};
use crate::credential::quarantine::Quarantine;
use crate::identity::PlainPassword;

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("a password that may be typed")
}

fn hashed(value: &str) -> Derived {
    match parse_user_password(value.as_bytes(), ClearText::Refused) {
        Ok(SourceValue::Hashed(derived)) => derived,
        other => panic!("{value}: {other:?}"),
    }
}

fn refused(value: &str) -> Quarantine {
    match parse_user_password(value.as_bytes(), ClearText::Refused) {
        Err(reason) => reason,
        Ok(_) => panic!("{value} was accepted"),
    }
}

/// The password is `secret` throughout.
const OF_SECRET: &[&str] = &[
    "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SHA384}WKd1ukESvjAFrkQHznV9iP2nHUBJe7gCbsrFTU4//HIyzo3jq1rLMK45dg/ufFPt",
    "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
    "{SSHA}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw==",
    "{SSHA}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw",
    "{ssha}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw==",
    "{SSHA256}lAejl/Of0h/+J/b6px7T8LLPd/QxmtSbDDvk8djjRJEAAQIDBAUGBw==",
    "{SSHA512}sA0uxvTZmjjgeqepQzW+3VNsblhqzltje58zvmzlAr0V6DwpiazN2VxnSFYthOpYDzqKXnv8rNmIQMOVX9alQgABAgMEBQYH",
    "{SMD5}A1+4FFtzzxEVcNyTYRK+nAABAgMEBQYH",
    "{PBKDF2}60000$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU7jFKUSbH4UobNQDm9OEIwuw",
    "{PBKDF2-SHA1}1234$AAECAwQFBgcICQoLDA0ODw$tryRuTaP9bi0koOf5tyvyfTkH94",
    "{PBKDF2-SHA256}1234$AAECAwQFBgcICQoLDA0ODw$fAnZspqyKwdKA67XsJAx1Y9DeRxtFAwxIz.MEYFOBVk",
    "{PBKDF2-SHA512}1234$AAECAwQFBgcICQoLDA0ODw$yiLAIXcWK1YIsYpPwuU05cd4n0Z80uwjKe1/RefiOxnWEkb3mcRqRJSBoCsTqLV9Xq2Zo89e12GkXqZauGs9ig",
    // The same with bits behind the last byte of the salt, which real data has.
    "{PBKDF2-SHA256}1234$AAECAwQFBgcICQoLDA0ODx$fAnZspqyKwdKA67XsJAx1Y9DeRxtFAwxIz.MEYFOBVk",
];

#[test]
fn the_digest_and_pbkdf2_vectors_verify() {
    for value in OF_SECRET {
        let derived = hashed(value);
        assert_eq!(derived.verify(&password("secret")), Ok(Match::Same), "{value}");
        assert_eq!(derived.verify(&password("Secret")), Ok(Match::Different), "{value}");
        assert!(!derived.chain.is_wrapped());
    }
}

#[test]
fn the_crypt_vectors_verify() {
    for (typed, value) in [
        // Drepper, "Unix crypt using SHA-256 and SHA-512".
        ("Hello world!", "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        (
            "Hello world!",
            "{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        // libxcrypt.
        ("Pâsswörd€ 7", "{crypt}$5$rounds=2000$abcdefgh$jQ/cwFik2Qb12BIdk156z6vC7oQu6z6ik2I50J7zSn4"),
        ("Pâsswörd€ 7", "{CRYPT}$5$s$cs4Xqb52griRezDXr1fDmWWgVWgUis/M07OnLW86Y52"),
        (
            "Pâsswörd€ 7",
            "{CRYPT}$6$rounds=1000$0123456789abcdef$5zEr.jaYD0CT3npiKs4qZCqCvkvZ1siseoiBQOsFjZw2Kf0r0/prBNhmDZOgXvie/Wp/GJd3fPvGb9RLUYv5n1",
        ),
        ("Pâsswörd€ 7", "{CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCC.20p695M0MAaU265G43mjKnxBNDBa.Yq"),
        ("Pâsswörd€ 7", "{CRYPT}$2y$04$abcdefghijklmnopqrstuupkP0JA77PNinlWDoP1KfVTKaSakPkBC"),
        // jBCrypt and Openwall.
        ("abc", "{CRYPT}$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ("U*U", "{CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ] {
        let derived = hashed(value);
        assert_eq!(derived.verify(&password(typed)), Ok(Match::Same), "{value}");
        assert_eq!(derived.verify(&password("Hello world")), Ok(Match::Different), "{value}");
    }
}

#[test]
fn the_argon2_vectors_verify_and_only_argon2id_at_the_floor_stays_unwrapped() {
    for (value, wrapped) in [
        ("{ARGON2}$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", false),
        ("{ARGON2}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", true),
    ] {
        let derived = hashed(value);
        assert_eq!(derived.verify(&password("password")), Ok(Match::Same), "{value}");
        assert_eq!(derived.verify(&password("passwore")), Ok(Match::Different), "{value}");
        assert_eq!(derived.chain.is_wrapped(), wrapped, "{value}");
    }
}

#[test]
fn the_binary_form_of_389_directory_server_is_checked_by_its_first_block() {
    use base64::Engine as _;
    let mut bytes = 3000_u32.to_be_bytes().to_vec();
    bytes.extend([5; 64]);
    let mut key = [0; 256];
    ::pbkdf2::pbkdf2_hmac::<sha2::Sha256>(b"secret", &[5; 64], 3000, &mut key);
    bytes.extend(key);
    let encode = |bytes: &[u8]| format!("{{PBKDF2_SHA256}}{}", base64::engine::general_purpose::STANDARD.encode(bytes));
    let derived = hashed(&encode(&bytes));
    assert_eq!(derived.output.expose(), &key[..32]);
    assert_eq!(derived.verify(&password("secret")), Ok(Match::Same));
    assert_eq!(derived.verify(&password("secreT")), Ok(Match::Different));
    assert!(matches!(refused(&encode(&bytes[..323])), Quarantine::Malformed { scheme: "{PBKDF2_SHA256}", .. }));
    bytes[..4].copy_from_slice(&[0xff; 4]);
    assert_eq!(refused(&encode(&bytes)), Quarantine::TooSlow { scheme: "{PBKDF2_SHA256}" });
    bytes[..4].copy_from_slice(&[0; 4]);
    assert!(matches!(refused(&encode(&bytes)), Quarantine::Malformed { .. }));
}

#[test]
fn the_samba_hash_is_read_in_either_case() {
    let mut rng = StdRng::seed_from_u64(1);
    for value in ["878D8014606CDA29677A44EFA1353FC7", "878d8014606cda29677a44efa1353fc7"] {
        let derived = parse_nt_hash(value.as_bytes()).expect("parses").into_pph1(&mut rng).expect("derives");
        assert_eq!(derived.verify(&password("secret")), Ok(Match::Same));
        assert_eq!(derived.verify(&password("secrets")), Ok(Match::Different));
    }
    let fault = |value: &str| parse_nt_hash(value.as_bytes()).map(|_| ()).expect_err("refused");
    assert_eq!(fault("NO PASSWORDXXXXXXXXXXXXXXXXXXXXX"), Quarantine::NoPassword);
    for value in
        ["", "878D8014606CDA29677A44EFA1353FC", "878D8014606CDA29677A44EFA1353FCG", "878D8014606CDA29677A44EFA1353FC7 "]
    {
        assert!(matches!(fault(value), Quarantine::Malformed { scheme: "sambaNTPassword", .. }), "{value}");
    }
}

#[test]
fn clear_text_is_refused_unless_accepted_and_then_becomes_argon2id() {
    for value in ["{CLEARTEXT}secret", "{clear}secret", "secret"] {
        assert_eq!(refused(value), Quarantine::ClearText);
        let accepted = parse_user_password(value.as_bytes(), ClearText::Accepted).expect("accepted");
        assert!(matches!(accepted, SourceValue::Clear(_)));
        let derived = accepted.into_derived(Argon2Cost::default(), &mut StdRng::seed_from_u64(1)).expect("derives");
        assert!(derived.chain.is_wrapped());
        assert_eq!(derived.verify(&password("secret")), Ok(Match::Same));
    }
    let blank = parse_user_password(b"{CLEARTEXT} ", ClearText::Accepted).map(|_| ());
    assert_eq!(blank, Err(Quarantine::UnusableClearText));
}

#[test]
fn what_is_too_costly_is_refused_unrun() {
    for (value, reason) in [
        (
            "{PBKDF2-SHA256}10000000$AAAA$fAnZspqyKwdKA67XsJAx1Y9DeRxtFAwxIz.MEYFOBVk",
            Quarantine::TooSlow { scheme: "{PBKDF2-SHA256}" },
        ),
        ("{PBKDF2}99999999999999$AAAA$j/aU7jFKUSbH4UobNQDm9OEIwuw", Quarantine::TooSlow { scheme: "{PBKDF2}" }),
        (
            "{CRYPT}$5$rounds=999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            Quarantine::TooSlow { scheme: "{CRYPT}" },
        ),
        (
            "{CRYPT}$2b$31$CCCCCCCCCCCCCCCCCCCCC.20p695M0MAaU265G43mjKnxBNDBa.Yq",
            Quarantine::TooSlow { scheme: "{CRYPT}" },
        ),
        (
            "{ARGON2}$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            Quarantine::TooMuchMemory { scheme: "{ARGON2}" },
        ),
        (
            "{ARGON2}$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            Quarantine::TooSlow { scheme: "{ARGON2}" },
        ),
        (
            "{ARGON2}$argon2id$v=19$m=65536,t=99999999999,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            Quarantine::TooSlow { scheme: "{ARGON2}" },
        ),
    ] {
        assert_eq!(refused(value), reason, "{value}");
    }
}

#[test]
fn what_is_malformed_is_quarantined_as_such() {
    for value in [
        "{SSHA}",
        "{SSHA}****",
        "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SHA}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw==",
        "{SHA}AAAA",
        "{MD5}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{PBKDF2}",
        "{PBKDF2}60000$Y6ZHtTTbeUgpIbIW0QDmDA",
        "{PBKDF2}60000$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU7jFKUSbH4UobNQDm9OEIwuw$",
        "{PBKDF2}-1$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU7jFKUSbH4UobNQDm9OEIwuw",
        "{PBKDF2}+1$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU7jFKUSbH4UobNQDm9OEIwuw",
        "{PBKDF2}0$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU7jFKUSbH4UobNQDm9OEIwuw",
        "{PBKDF2}1$Y6ZHtTTbeUgpIbIW0QDmDA$j/aU",
        "{CRYPT}$5$saltstring",
        "{CRYPT}$5$saltstring$short",
        "{CRYPT}$5$seventeen_letters$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "{CRYPT}$5$rounds=999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "{CRYPT}$5$rounds=x$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEcz",
        "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5.",
        "{CRYPT}$2b$5$CCCCCCCCCCCCCCCCCCCCC.20p695M0MAaU265G43mjKnxBNDBa.Yq",
        "{CRYPT}$2b$03$CCCCCCCCCCCCCCCCCCCCC.20p695M0MAaU265G43mjKnxBNDBa.Yq",
        "{CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCC.",
        "{CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCCä20p695M0MAaU265G43mjKnxBNDBa.Yq",
        "{ARGON2}$argon2id$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2x$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2id$v=19$t=2,m=65536,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=1,data=AAAA$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=1$c29t$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFh",
        "{ARGON2}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ",
    ] {
        let reason = refused(value);
        assert!(matches!(reason, Quarantine::Malformed { .. }), "{value}: {reason:?}");
    }
}

#[test]
fn what_is_not_supported_is_named_and_what_is_not_known_is_not_repeated() {
    for (value, reason) in [
        ("{CRYPT}rl0uE0wXB2jU.", Quarantine::UnsupportedScheme("{CRYPT} with DES")),
        ("{CRYPT}$1$salt$qJH7.N4xYta3aEG/dfqo/0", Quarantine::UnsupportedScheme("{CRYPT} $1$")),
        ("{CRYPT}$y$j9T$salt$hash", Quarantine::UnsupportedScheme("{CRYPT} with yescrypt")),
        (
            "{CRYPT}$2x$05$CCCCCCCCCCCCCCCCCCCCC.20p695M0MAaU265G43mjKnxBNDBa.Yq",
            Quarantine::UnsupportedScheme("{CRYPT} $2x$"),
        ),
        ("{CRYPT}!", Quarantine::NoPassword),
        ("{CRYPT}*", Quarantine::NoPassword),
        ("{CRYPT}x", Quarantine::NoPassword),
        ("{SASL}ada@EXAMPLE.ORG", Quarantine::Delegated),
        ("{UNIX}ada", Quarantine::UnsupportedScheme("{UNIX}")),
        ("{hunter2}", Quarantine::UnknownScheme),
        (
            "{ARGON2}$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            Quarantine::UnsupportedScheme("{ARGON2} version 1.0"),
        ),
        ("", Quarantine::Absent),
    ] {
        assert_eq!(refused(value), reason, "{value}");
    }
    assert_eq!(refused(&"a".repeat(2049)), Quarantine::TooLong);
    let not_text = parse_user_password(&[0xff, 0xfe, 0x00], ClearText::Accepted).map(|_| ());
    assert_eq!(not_text, Err(Quarantine::UnknownScheme));
}

#[test]
fn of_several_values_the_most_costly_to_guess_is_kept_and_faults_stop_none() {
    let values = |texts: &[&str]| texts.iter().map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect::<Vec<_>>();
    let kept =
        SourceValue::strongest(&values(&["{SASL}x", OF_SECRET[5], OF_SECRET[11], OF_SECRET[0]]), ClearText::Refused);
    match kept {
        Ok(SourceValue::Hashed(derived)) => assert!(derived.chain.to_string().starts_with("pbkdf2-sha1(60000,")),
        other => panic!("{other:?}"),
    }
    let none = SourceValue::strongest(&values(&["{SASL}x", "{SSHA}"]), ClearText::Refused).map(|_| ());
    assert_eq!(none, Err(Quarantine::Delegated));
    assert_eq!(SourceValue::strongest(&[], ClearText::Refused).map(|_| ()), Err(Quarantine::Absent));
}

#[test]
fn no_reason_holds_anything_of_the_value() {
    for value in
        ["{SSHA}hunter2hunter2", "{hunter2}", "{PBKDF2}hunter2$hunter2$hunter2", "{CRYPT}$hunter2$x", "hunter2"]
    {
        let reason = refused(value);
        assert!(!format!("{reason} {reason:?}").contains("hunter2"), "{reason:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_the_parsers(value in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_nt_hash(&value).is_err() || value.len() == 32);
        prop_assert!(parse_user_password(&value, ClearText::Accepted).is_err() || std::str::from_utf8(&value).is_ok());
    }

    #[test]
    fn no_near_miss_panics_the_parsers_or_passes_the_cost_limits(
        value in "\\{(SSHA|MD5|PBKDF2|PBKDF2-SHA512|PBKDF2_SHA256|CRYPT|ARGON2|ssha512)\\}(\\$(5|6|2b|argon2id|v=19|m=[0-9]{1,10},t=[0-9]{1,10},p=[0-9]{1,3}|rounds=[0-9]{1,10}|[0-9]{1,8}))?[$a-zA-Z0-9./+=é]{0,120}"
    ) {
        if let Ok(SourceValue::Hashed(derived)) = parse_user_password(value.as_bytes(), ClearText::Refused) {
            prop_assert_eq!(derived.chain.cost().excess(crate::credential::CostLimits::default()), None);
        }
    }
}
