//! The one folding of text for comparison (design D16): no comparison relies on a database collation.

use unicode_normalization::UnicodeNormalization;

/// Folds text for case-insensitive comparison: NFKC, lower case, NFKC again.
///
/// Key columns in the store hold the folded form; what is shown to people is the text as it came.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn case_and_composition_do_not_matter() {
        assert_eq!(fold("Zo\u{eb}@Example.ORG"), fold("ZOE\u{308}@example.org"));
        assert_ne!(fold("a@example.org"), fold("b@example.org"));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
