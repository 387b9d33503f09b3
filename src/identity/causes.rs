//! Errors as one line of text, where they are dealt with.

use std::error::Error;

/// The error's text and those of its causes, outermost first, joined by `: `. A cause whose text its holder repeats is
/// told once.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer part")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the inner part")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(#[from] Outer);

    #[test]
    fn each_cause_is_told_once() {
        assert_eq!(causes(&Through(Outer(Inner))), "the outer part: the inner part");
    }
}
