//! Distinguished names as far as expressions take them apart (RFC 4514).

use std::borrow::Cow;

/// One relative distinguished name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rdn<'a> {
    pub attribute: &'a str,
    /// As written, escapes included.
    value: &'a str,
}

/// Whether `text` has the form of a distinguished name. The empty name is one: the root.
pub fn is_distinguished_name(text: &str) -> bool {
    components(text).is_ok()
}

/// The components from the left. An error says what is wrong.
pub(crate) fn components(text: &str) -> Result<Vec<Rdn<'_>>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split(text, ',').into_iter().map(component).collect()
}

fn component(text: &str) -> Result<Rdn<'_>, String> {
    let Some((attribute, value)) = text.split_once('=') else {
        return Err(format!("`{}` has no `=`", text.trim()));
    };
    let attribute = attribute.trim();
    if !is_attribute_type(attribute) {
        return Err(format!("`{attribute}` is no attribute type"));
    }
    let value = trim(value);
    for part in split(value, '+').into_iter().skip(1) {
        component(part)?;
    }
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match (rest.next(), rest.clone().next()) {
                (Some(a), Some(b)) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    rest.next();
                }
                (Some(a), _) if !a.is_alphanumeric() => {}
                _ => return Err(format!("`{value}` has an escape without meaning")),
            },
            '"' | ';' | '<' | '>' => return Err(format!("`{c}` in `{value}` must be escaped")),
            _ => {}
        }
    }
    Ok(Rdn { attribute, value })
}

/// A name such as `cn` or an object identifier.
pub(crate) fn is_attribute_type(text: &str) -> bool {
    let name = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let oid = !text.is_empty() && text.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()));
    name || oid
}

/// Splits at marks that are not escaped.
fn split(text: &str, mark: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Without blanks around; an escaped blank at the end stays.
fn trim(value: &str) -> &str {
    let value = value.trim_start_matches(' ');
    let bare = value.trim_end_matches(' ');
    let backslashes = bare.bytes().rev().take_while(|b| *b == b'\\').count();
    if backslashes % 2 == 1 && bare.len() < value.len() { &value[..bare.len() + 1] } else { bare }
}

impl<'a> Rdn<'a> {
    /// The value without escapes. Escapes of control characters stay as text, as in `Name\0ACNF:...`.
    pub fn value(&self) -> Cow<'a, str> {
        if !self.value.contains('\\') {
            return Cow::Borrowed(self.value);
        }
        let mut out = String::with_capacity(self.value.len());
        let mut rest = self.value;
        while let Some(i) = rest.find('\\') {
            out.push_str(&rest[..i]);
            rest = &rest[i..];
            let bytes = hex_run(rest);
            if bytes.is_empty() {
                rest = &rest[1..];
                let Some(c) = rest.chars().next() else { break };
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let written = bytes.len() * 3;
            match std::str::from_utf8(&bytes) {
                Ok(text) if !text.chars().any(char::is_control) => out.push_str(text),
                _ => out.push_str(&rest[..written]),
            }
            rest = &rest[written..];
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// The bytes of the `\XX` escapes at the beginning of `text`.
fn hex_run(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for escape in text.as_bytes().chunks_exact(3) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match (escape[0], digit(escape[1]), digit(escape[2])) {
            (b'\\', Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => break,
        }
    }
    bytes
}

/// A form in which equal names are equal: types and values without case and blanks around, escapes resolved.
pub(crate) fn key(text: &str) -> String {
    match components(text) {
        Ok(components) => {
            let parts = components.iter().map(|rdn| format!("{}={}", rdn.attribute, rdn.value()).to_lowercase());
            parts.collect::<Vec<_>>().join("\u{1f}")
        }
        Err(_) => text.to_lowercase(),
    }
}

/// Escapes one component, `type=value` or a bare value. An error names the part that cannot be a type.
pub(crate) fn escape_component(text: &str) -> Result<String, String> {
    let (prefix, value) = match text.split_once('=') {
        Some((attribute, value)) if is_attribute_type(attribute.trim()) => (&text[..text.len() - value.len()], value),
        Some((attribute, _)) => return Err(format!("`{attribute}` is no attribute type")),
        None => ("", text),
    };
    let mut out = String::with_capacity(text.len() + 8);
    out.push_str(prefix);
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '\\' | '"' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\{byte:02X}"));
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_at_marks_that_are_not_escaped() {
        let values =
            |dn: &str| components(dn).map(|c| c.iter().map(|rdn| rdn.value().into_owned()).collect::<Vec<_>>());
        assert_eq!(values("cn=Joe,ou=x"), Ok(vec!["Joe".into(), "x".into()]));
        assert_eq!(values(r"CN=Byron\, Ada , DC=org"), Ok(vec!["Byron, Ada".into(), "org".into()]));
        assert_eq!(values(r"cn=Z\C3\B6e,dc=x"), Ok(vec!["Zöe".into(), "x".into()]));
        assert_eq!(values(r"CN=Ada\0ACNF:6b1c,DC=x"), Ok(vec![r"Ada\0ACNF:6b1c".into(), "x".into()]));
        assert_eq!(values(r"cn=a\ ,dc=x"), Ok(vec!["a ".into(), "x".into()]));
        assert_eq!(values(""), Ok(vec![]));
        for wrong in ["Joe", "=x", "c n=x", "cn=a,,dc=b", r"cn=a\", r"cn=a\z", "cn=\"a\"", "cn=a+b"] {
            assert!(components(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn equal_names_have_equal_keys() {
        assert_eq!(key("CN=Ada, DC=Example"), key("cn=ada,dc=example"));
        assert_eq!(key(r"cn=a\2Cb"), key(r"cn=a\,b"));
        assert_ne!(key("cn=a,dc=b"), key("cn=b,dc=b"));
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for value in ["Doe, John", " a ", "#1", r"a\b", "1+1=2", "<x>", "é"] {
            let escaped = escape_component(&format!("cn={value}"));
            let escaped = escaped.as_deref().unwrap_or_default();
            assert_eq!(components(escaped).map(|c| c[0].value().into_owned()), Ok(value.to_owned()), "{escaped}");
        }
    }
}
