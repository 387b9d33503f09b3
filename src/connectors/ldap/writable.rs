//! What may be written to a directory, and what becomes of a change there.

use base64::Engine as _;

use crate::identity::causes;
use crate::ldap::{LdapError, Modification, ModificationKind, WriteAnswer};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::ExportResult;

/// Attributes that may be written. Whatever rules want of others is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writable {
    /// With their options, such as `userCertificate;binary`.
    pub attributes: Vec<String>,
    /// Those whose values are bytes.
    pub binary: Vec<String>,
}

/// Why a change was not carried out.
#[derive(Debug)]
pub(in crate::connectors) enum Failure {
    /// Of this object alone.
    Object { code: &'static str, reason: String },
    /// The fate of the change is unknown, and nothing else can be carried out.
    Server(LdapError),
    /// The server wants to be left alone for now.
    Busy(WriteAnswer),
}

impl From<LdapError> for Failure {
    fn from(error: LdapError) -> Self {
        Self::Server(error)
    }
}

pub(in crate::connectors) fn refused(code: &'static str, reason: impl Into<String>) -> Failure {
    Failure::Object { code, reason: reason.into() }
}

/// The base of an attribute description.
fn base(description: &str) -> &str {
    description.split(';').next().unwrap_or(description)
}

impl Writable {
    /// As the directory wants an attribute named; `None` where it must not be written.
    fn description(&self, name: &Attribute) -> Option<&str> {
        let listed = self.attributes.iter().map(String::as_str);
        listed.into_iter().find(|listed| base(listed).eq_ignore_ascii_case(base(name.as_str())))
    }

    pub(in crate::connectors) fn is_binary(&self, name: &str) -> bool {
        self.binary.iter().any(|listed| base(listed).eq_ignore_ascii_case(base(name)))
    }

    /// The names by which the attributes are read.
    pub(in crate::connectors) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|description| base(description))
    }

    /// Values as the directory takes them, with the attribute's description.
    pub(in crate::connectors) fn octets(
        &self,
        name: &Attribute,
        values: &[Value],
    ) -> Result<(String, Vec<Vec<u8>>), Failure> {
        let description = self
            .description(name)
            .ok_or_else(|| refused("permission-issue", format!("the settings do not let `{name}` be written")))?;
        let octets = values.iter().map(|value| match value {
            Value::Text(text) if self.is_binary(name.as_str()) => {
                base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| {
                    refused("invalid-base64-value", format!("`{name}` is binary, and its value is no base64"))
                })
            }
            Value::Text(_) | Value::Binary { .. } => {
                let bytes = value.bytes().map(|bytes| bytes.into_owned());
                bytes.ok_or_else(|| refused("invalid-base64-value", format!("the value of `{name}` is no base64")))
            }
        });
        Ok((description.to_owned(), octets.collect::<Result<_, _>>()?))
    }

    /// The changes of an update; an attribute without values is removed.
    pub(in crate::connectors) fn replacements(&self, changes: &Attributes) -> Result<Vec<Modification>, Failure> {
        let replace = |(name, values): (&Attribute, &Vec<Value>)| {
            let (attribute, values) = self.octets(name, values)?;
            Ok(Modification { kind: ModificationKind::Replace, attribute, values })
        };
        changes.iter().map(replace).collect()
    }
}

/// Results (RFC 4511, appendix A) that say something of the entry that was to be changed.
pub(in crate::connectors) mod result {
    pub const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub const VALUE_EXISTS: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const ENTRY_EXISTS: u32 = 68;
    pub const BUSY: u32 = 51;
    pub const UNAVAILABLE: u32 = 52;
}

/// Whether a change was carried out; a refusal by the name that the field has for it (reference, section 9.4).
pub(in crate::connectors) fn judge(answer: WriteAnswer) -> Result<(), Failure> {
    let code = match answer.code {
        0 => return Ok(()),
        result::BUSY | result::UNAVAILABLE => return Err(Failure::Busy(answer)),
        10 => "referral",
        result::NO_SUCH_ATTRIBUTE | 17 => "schema-violation",
        18 | 21 => "syntax-violation",
        19 => "constraint-violation",
        result::VALUE_EXISTS => "duplicate-value",
        result::NO_SUCH_OBJECT => "cd-missing-object",
        34 => "invalid-dn",
        8 | 13 | 49 | 50 => "permission-issue",
        53 => "unwilling-to-perform",
        64 | 67 => "modify-naming-attribute",
        65 => "schema-violation",
        66 => "not-a-leaf",
        result::ENTRY_EXISTS => "cd-existing-object",
        _ => "cd-error",
    };
    let WriteAnswer { code: number, diagnostic } = answer;
    let reason = match diagnostic.trim() {
        "" => format!("the directory answers with result {number}"),
        text => format!("the directory answers with result {number}: {text}"),
    };
    Err(refused(code, reason))
}

/// The answer for one object, or why the whole batch is in doubt.
pub(in crate::connectors) fn told(outcome: Result<Option<String>, Failure>) -> Result<ExportResult, String> {
    match outcome {
        Ok(anchor) => Ok(ExportResult::Accepted { anchor, warning: None }),
        Err(Failure::Object { code, reason }) => Ok(ExportResult::Refused { code: code.to_owned(), reason }),
        Err(Failure::Server(error)) => Err(causes(&error)),
        Err(Failure::Busy(answer)) => Err(format!("it is busy (result {}: {})", answer.code, answer.diagnostic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writable() -> Writable {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Writable {
            attributes: list(&["description", "userCertificate;binary", "mS-DS-ConsistencyGuid"]),
            binary: list(&["userCertificate", "mS-DS-ConsistencyGuid"]),
        }
    }

    #[test]
    fn only_listed_attributes_are_written_under_their_full_description() {
        let octets = |name: &str, value: Value| writable().octets(&name.into(), &[value]);
        let binary = octets("usercertificate", Value::binary(&[0xff, 0])).expect("listed");
        assert_eq!(binary, ("userCertificate;binary".to_owned(), vec![vec![0xff, 0]]));
        let text = octets("Description", Value::text("ü")).expect("listed");
        assert_eq!(text, ("description".to_owned(), vec!["ü".as_bytes().to_vec()]));
        let from_text = octets("mS-DS-ConsistencyGuid", Value::text("AAEC")).expect("base64");
        assert_eq!(from_text.1, [vec![0, 1, 2]]);
        for (name, value, expected) in [
            ("mail", Value::text("x"), "permission-issue"),
            ("mS-DS-ConsistencyGuid", Value::text("no base64!"), "invalid-base64-value"),
        ] {
            match octets(name, value) {
                Err(Failure::Object { code, .. }) => assert_eq!(code, expected),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_busy_server_leaves_the_batch_in_doubt_and_a_refusal_concerns_its_object() {
        let answer = |code| told(judge(WriteAnswer { code, diagnostic: String::new() }).map(|()| None));
        assert!(matches!(answer(0), Ok(ExportResult::Accepted { .. })));
        assert!(answer(51).is_err() && answer(52).is_err());
        for (code, word) in [(50, "permission-issue"), (65, "schema-violation"), (9999, "cd-error")] {
            assert!(matches!(answer(code), Ok(ExportResult::Refused { code, .. }) if code == word));
        }
    }
}
