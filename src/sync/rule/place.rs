//! Where in a rule file something is.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::file::RuleSource;

/// A fault of a rule file, where it is and what is expected; or what is worth a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct RuleFileError {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

impl fmt::Display for RuleFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl RuleSource {
    /// What is said of the place at byte `at`.
    pub(super) fn fault(&self, at: usize, message: impl Into<String>) -> RuleFileError {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        RuleFileError { file: self.file.clone(), line, column, message: message.into() }
    }

    /// The byte of the file at which a place of a TOML string stands: `line` and `column` of its value, from 1.
    pub(super) fn within_string(&self, span: Range<usize>, value: &str, line: usize, column: usize) -> usize {
        let start_of_line: usize =
            value.split_inclusive('\n').take(line.saturating_sub(1)).map(|l| l.chars().count()).sum();
        let characters = start_of_line + column.saturating_sub(1);
        let Some(written) = self.text.get(span.clone()) else { return span.start };
        let (quote, escapes) = match written {
            w if w.starts_with("'''") => (3, false),
            w if w.starts_with("\"\"\"") => (3, true),
            w if w.starts_with('\'') => (1, false),
            _ => (1, true),
        };
        let mut at = quote;
        if quote == 3 {
            // A line break right after the quotes is no part of the value.
            let rest = &written[at..];
            at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
        }
        for _ in 0..characters {
            at += if escapes { length_of_character(&written[at..]) } else { width(&written[at..]) };
        }
        span.start + at.min(written.len().saturating_sub(quote))
    }
}

/// Bytes of the first character of a basic string, an escape being one character.
fn length_of_character(written: &str) -> usize {
    let mut characters = written.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), Some('u')) => 6.min(written.len()),
        (Some('\\'), Some('U')) => 10.min(written.len()),
        (Some('\\'), Some('x')) => 4.min(written.len()),
        (Some('\\'), Some(escaped)) if escaped.is_whitespace() => {
            // A backslash at the end of a line joins it with the next.
            let blank = written.len() - written[1..].trim_start().len();
            blank + length_of_character(&written[blank..]).min(written.len() - blank)
        }
        (Some('\\'), Some(escaped)) => 1 + escaped.len_utf8(),
        _ => width(written),
    }
}

fn width(written: &str) -> usize {
    written.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_strings_are_found_however_they_are_written() {
        for (text, line, column, expected) in [
            ("a = 'Left(5)'", 1, 6, "5)'"),
            ("a = \"Left(\\\"5\\\")\"", 1, 6, "\\\"5\\\")\""),
            ("a = \"Left(\\\"5\\\", x)\"", 1, 11, "x)\""),
            ("a = '''\nIIF(\n  x)'''", 2, 3, "x)'''"),
            ("a = \"\"\"IIF( \\\n   x)\"\"\"", 1, 6, "\\\n   x)\"\"\""),
            ("a = 'Zoë'", 1, 4, "'"),
            ("a = ''", 1, 9, "'"),
        ] {
            let source = RuleSource { file: "f".to_owned(), text: text.to_owned() };
            let value = toml::from_str::<toml::Table>(text).expect("TOML");
            let value = value["a"].as_str().expect("a string").to_owned();
            let at = source.within_string(4..text.len(), &value, line, column);
            assert_eq!(&text[at..], expected, "{text}");
        }
    }
}
