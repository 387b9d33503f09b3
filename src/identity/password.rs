//! A password in the clear: erased when dropped, and impossible to print.

use std::fmt;

use zeroize::Zeroizing;

/// A password as typed. Holds no `Debug` text and no `Display`; whoever needs the characters calls [`expose`](Self::expose).
pub struct PlainPassword(Zeroizing<String>);

/// Why a typed password is refused before anything checks it. Nothing of the password is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordShape {
    /// Nothing, or nothing but blanks and invisible characters: an empty password would be an unauthenticated bind
    /// (RFC 4513, section 5.1.2).
    #[error("the password is empty")]
    Empty,
    /// Longer than any directory takes; would let a caller buy work with bytes.
    #[error("the password is too long")]
    TooLong,
    /// A NUL would end the password early in some directory.
    #[error("the password has a character that no directory takes")]
    Character,
}

/// Longest accepted password, in UTF-16 code units: 256, as Active Directory allows 127 and LDAP servers rarely more.
const MAX_UTF16_UNITS: usize = 256;

impl PlainPassword {
    pub fn new(text: String) -> Result<Self, PasswordShape> {
        let text = Zeroizing::new(text);
        if text.encode_utf16().take(MAX_UTF16_UNITS + 1).count() > MAX_UTF16_UNITS {
            return Err(PasswordShape::TooLong);
        }
        if text.contains('\0') {
            return Err(PasswordShape::Character);
        }
        let invisible = |c: char| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
        };
        if text.chars().all(invisible) {
            return Err(PasswordShape::Empty);
        }
        Ok(Self(text))
    }

    /// The characters, for a bind or a key derivation and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Clone for PlainPassword {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for PlainPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainPassword(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_visible_is_an_empty_password() {
        for text in ["", " ", "\t \u{a0}", "\u{200b}\u{feff}", "\r\n"] {
            assert_eq!(PlainPassword::new(text.to_owned()).map(|_| ()), Err(PasswordShape::Empty), "{text:?}");
        }
    }

    #[test]
    fn nul_and_excess_are_refused() {
        assert_eq!(PlainPassword::new("a\0b".to_owned()).map(|_| ()), Err(PasswordShape::Character));
        assert_eq!(PlainPassword::new("a".repeat(257)).map(|_| ()), Err(PasswordShape::TooLong));
        assert!(PlainPassword::new("a".repeat(256)).is_ok());
    }

    #[test]
    fn it_does_not_print() {
        let password = PlainPassword::new("correct horse".to_owned()).expect("fits");
        assert_eq!(format!("{password:?} {password:#?}"), "PlainPassword(..) PlainPassword(..)");
    }
}
