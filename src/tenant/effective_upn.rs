//! Calculation of the effective user principal name from what the rules exported (reference, section 8.3).

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::domain::{DomainRules, Suffix};
use super::export::ExportWarning;
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

/// Longest local part of a stand-in with its digits (see [`Upn`]).
const MAX_LOCAL: usize = 64;

/// The on-premises name where it is fit and its suffix is a verified domain of the connector; else its local part, made
/// fit, in the initial domain. `seed` (the source anchor) makes a name where nothing of the local part is usable.
/// The same input gives the same name.
pub fn effective_upn(on_premises: &str, connector: &ConnectorName, rules: &DomainRules, seed: &str) -> EffectiveUpn {
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
    let fitted = fit(local);
    let invalid = ExportWarning::InvalidCharacters { upn: shown() };
    if fitted != local && !warnings.contains(&invalid) {
        warnings.push(invalid);
    }
    let name = if fitted.is_empty() { format!("user{}", digits(seed, 8)) } else { fitted };
    EffectiveUpn { upn: in_initial(&name, rules), warnings, not_registered }
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

/// Makes a local part fit: accents are taken off, a few letters spelled out, the rest dropped.
fn fit(local: &str) -> String {
    let plain: String = local.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(spelled).collect();
    let kept: String = plain.chars().filter(|c| c.is_ascii_alphanumeric() || "'.-_!#^~".contains(*c)).collect();
    let cut: String = kept.trim_matches('.').chars().take(MAX_LOCAL).collect();
    cut.trim_end_matches('.').to_owned()
}

/// Letters that no decomposition takes apart.
fn spelled(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'Æ' => ('A', Some('E')),
        'œ' => ('o', Some('e')),
        'Œ' => ('O', Some('E')),
        'þ' => ('t', Some('h')),
        'Þ' => ('T', Some('h')),
        'ø' => ('o', None),
        'Ø' => ('O', None),
        'ł' => ('l', None),
        'Ł' => ('L', None),
        'đ' | 'ð' => ('d', None),
        'Đ' | 'Ð' => ('D', None),
        'ı' => ('i', None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
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
            let effective = effective_upn(text, &connector(), &rules(), "seed");
            assert_eq!((effective.upn.to_string(), effective.warnings), (upn.to_owned(), warnings), "{text}");
            assert_eq!(effective.not_registered, None, "{text}");
        }
    }

    #[test]
    fn a_verified_domain_of_another_connector_is_named() {
        let effective = effective_upn("ada@foreign.example", &connector(), &rules(), "seed");
        assert_eq!(effective.not_registered.map(|name| name.to_string()).as_deref(), Some("foreign.example"));
        assert_eq!(effective.upn.to_string(), "ada@tenant.example");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_name_and_always_the_same(text in "\\PC{0,90}(@\\PC{0,40})?", seed in "[a-z]{1,8}") {
            let one = effective_upn(&text, &connector(), &rules(), &seed);
            prop_assert_eq!(&one, &effective_upn(&text, &connector(), &rules(), &seed));
            for stand_in in stand_ins(&one.upn, &rules(), &seed) {
                prop_assert_eq!(stand_in.domain().as_str(), "tenant.example");
            }
        }
    }
}
