//! Calculation of the effective user principal name from what the rules exported (reference, section 8.3).

use sha2::{Digest, Sha256};

use super::domain::{DomainRules, Suffix};
use super::export::ExportWarning;
use super::nickname::{MAX_LOCAL, MailNickname};
use crate::identity::{ConnectorName, DomainName, Upn};

/// What a user should be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveUpn {
    pub upn: Upn,
    pub warnings: Vec<ExportWarning>,
    /// The suffix is verified, but the contributing connector may not speak for it: an export of it is refused,
    /// a recalculation gives the stand-in.
    pub not_registered: Option<DomainName>,
}

/// The on-premises name where it is fit and its suffix is a verified domain of the connector; else `nickname`, or the
/// local part made fit, in the initial domain. `seed` (the source anchor) makes a name where nothing else does.
/// The same input gives the same name.
pub fn effective_upn(
    on_premises: &str,
    connector: &ConnectorName,
    nickname: Option<&MailNickname>,
    rules: &DomainRules,
    seed: &str,
) -> EffectiveUpn {
    let (local, suffix_text) = on_premises.rsplit_once('@').unwrap_or((on_premises, ""));
    let shown = || on_premises.chars().take(120).collect::<String>();
    let mut warnings = Vec::new();
    let mut not_registered = None;
    match suffix_text.parse::<DomainName>() {
        Err(_) => warnings.push(ExportWarning::InvalidCharacters { upn: shown() }),
        Ok(suffix) => match rules.suffix(&suffix, connector) {
            Suffix::Usable => match Upn::new(local, suffix) {
                Ok(upn) => return EffectiveUpn { upn, warnings, not_registered },
                Err(_) => warnings.push(ExportWarning::InvalidCharacters { upn: shown() }),
            },
            Suffix::NotRegistered => not_registered = Some(suffix),
            Suffix::Unverified if suffix.is_non_routable() => {
                warnings.push(ExportWarning::NonRoutableUpn { upn: shown() });
            }
            Suffix::Unverified => warnings.push(ExportWarning::UnverifiedSuffix { upn: shown() }),
        },
    }
    let fitted = MailNickname::fitted(local);
    let invalid = ExportWarning::InvalidCharacters { upn: shown() };
    if fitted.as_ref().map(MailNickname::as_str) != Some(local) && !warnings.contains(&invalid) {
        warnings.push(invalid);
    }
    let local = match nickname.or(fitted.as_ref()) {
        Some(name) => name.to_string(),
        None => format!("user{}", digits(seed, 8)),
    };
    EffectiveUpn { upn: in_initial(&local, rules), warnings, not_registered }
}

/// Names in the initial domain for a user whose own name is taken, in order of preference.
pub fn stand_ins(taken: &Upn, rules: &DomainRules, seed: &str) -> Vec<Upn> {
    [4, 8, 12].into_iter().map(|len| numbered(taken.local(), &digits(seed, len), rules)).collect()
}

fn numbered(local: &str, digits: &str, rules: &DomainRules) -> Upn {
    let kept: String = local.chars().take(MAX_LOCAL - digits.len()).collect();
    in_initial(&format!("{kept}{digits}"), rules)
}

fn in_initial(local: &str, rules: &DomainRules) -> Upn {
    Upn::new(local, rules.initial().clone()).expect("a fitted local part and the initial domain make a name")
}

/// The first `len` decimal digits of a digest of `seed`.
fn digits(seed: &str, len: usize) -> String {
    Sha256::digest(seed.as_bytes()).iter().map(|byte| char::from(b'0' + byte % 10)).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connector() -> ConnectorName {
        "corp".parse().expect("a name")
    }

    fn rules() -> DomainRules {
        let domain = |text: &str| text.parse::<DomainName>().expect("a domain");
        let mut rules = DomainRules::new(domain("tenant.example"));
        for name in ["verified.example", "foreign.example"] {
            rules.verify(domain(name));
        }
        rules.register(connector(), domain("verified.example"));
        rules.register(connector(), domain("unverified.example"));
        rules
    }

    #[test]
    fn each_suffix_and_spelling_gives_its_name_and_its_warning() {
        let invalid = |upn: &str| ExportWarning::InvalidCharacters { upn: upn.to_owned() };
        let unverified = |upn: &str| ExportWarning::UnverifiedSuffix { upn: upn.to_owned() };
        let rows = [
            ("Ada@Verified.example", "Ada@verified.example", vec![]),
            ("ada@tenant.example", "ada@tenant.example", vec![]),
            (
                "ada@corp.local",
                "ada@tenant.example",
                vec![ExportWarning::NonRoutableUpn { upn: "ada@corp.local".into() }],
            ),
            ("ada@unverified.example", "ada@tenant.example", vec![unverified("ada@unverified.example")]),
            (
                "zo\u{eb}.stra\u{df}e@verified.example",
                "zoe.strasse@tenant.example",
                vec![invalid("zo\u{eb}.stra\u{df}e@verified.example")],
            ),
            (".ada byron.@verified.example", "adabyron@tenant.example", vec![invalid(".ada byron.@verified.example")]),
            ("ada", "ada@tenant.example", vec![invalid("ada")]),
            ("a@b@verified.example", "ab@tenant.example", vec![invalid("a@b@verified.example")]),
            (
                "j\u{f6}@x.example",
                "jo@tenant.example",
                vec![unverified("j\u{f6}@x.example"), invalid("j\u{f6}@x.example")],
            ),
        ];
        for (text, upn, warnings) in rows {
            let effective = effective_upn(text, &connector(), None, &rules(), "seed");
            assert_eq!((effective.upn.to_string(), effective.warnings), (upn.to_owned(), warnings), "{text}");
            assert_eq!(effective.not_registered, None, "{text}");
        }
    }

    #[test]
    fn a_verified_domain_of_another_connector_is_named() {
        let effective = effective_upn("ada@foreign.example", &connector(), None, &rules(), "seed");
        assert_eq!(effective.not_registered.map(|name| name.to_string()).as_deref(), Some("foreign.example"));
        assert_eq!(effective.upn.to_string(), "ada@tenant.example");
    }

    #[test]
    fn the_nickname_stands_in_for_a_name_that_cannot_be_given() {
        let nickname = MailNickname::fitted("countess").expect("a nickname");
        let rows = [
            ("ada@verified.example", "ada@verified.example"),
            ("ada@unverified.example", "countess@tenant.example"),
            ("ada byron@verified.example", "countess@tenant.example"),
            ("@unverified.example", "countess@tenant.example"),
        ];
        for (text, upn) in rows {
            let effective = effective_upn(text, &connector(), Some(&nickname), &rules(), "seed");
            assert_eq!(effective.upn.to_string(), upn, "{text}");
            assert_eq!(stand_ins(&effective.upn, &rules(), "seed")[0].local().len(), effective.upn.local().len() + 4);
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_name_and_always_the_same(text in "\\PC{0,90}(@\\PC{0,40})?", seed in "[a-z]{1,8}") {
            let nickname = MailNickname::fitted(&seed);
            for nickname in [None, nickname.as_ref()] {
                let one = effective_upn(&text, &connector(), nickname, &rules(), &seed);
                prop_assert_eq!(&one, &effective_upn(&text, &connector(), nickname, &rules(), &seed));
            }
            let one = effective_upn(&text, &connector(), None, &rules(), &seed);
            for stand_in in stand_ins(&one.upn, &rules(), &seed) {
                prop_assert_eq!(stand_in.domain().as_str(), "tenant.example");
            }
        }
    }
}
