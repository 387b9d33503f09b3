//! Names that no entry has, for the road of unknown users and for probes.

use uuid::Uuid;

use crate::identity::{DistinguishedName, PlainPassword, SourceAnchor};

use super::settings::AnchorAttribute;

/// A random name below `base`.
pub fn name(base: &DistinguishedName) -> DistinguishedName {
    base.child("cn", &Uuid::new_v4().simple().to_string()).expect("hex digits need no escape")
}

/// A random anchor in the form that `attribute` has.
pub fn anchor(attribute: &AnchorAttribute) -> SourceAnchor {
    let id = Uuid::new_v4();
    match attribute {
        AnchorAttribute::Text(_) => SourceAnchor::from_stored(id.to_string()),
        AnchorAttribute::Binary(_) => SourceAnchor::from_binary(id.as_bytes()).expect("16 bytes fit"),
    }
}

/// A random password that takes as many bytes on the wire as `typed`: what somebody typed for a name that nobody has
/// is not the directory's business.
pub fn password(typed: Option<&PlainPassword>) -> PlainPassword {
    let wanted = typed.map_or(16, |typed| typed.expose().len()).clamp(1, 256);
    let text: String = std::iter::repeat_with(|| Uuid::new_v4().simple().to_string()).take(8).collect();
    PlainPassword::new(text[..wanted].to_owned()).expect("1 to 256 hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_password_is_as_long_as_the_typed_one() {
        // None of these is made of hex digits alone, as the absent ones are.
        for typed in ["z", "correct horse", "p\u{e4}ssw\u{f6}rd", &"x".repeat(256), &"\u{20ac}".repeat(256)] {
            let typed = PlainPassword::new(typed.to_owned()).expect("fits");
            let absent = password(Some(&typed));
            assert_eq!(absent.expose().len(), typed.expose().len().min(256));
            assert_ne!(absent.expose(), typed.expose());
        }
    }
}
