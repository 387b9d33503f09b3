//! Conversion between types.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Body, Form, Function, Group, Parameter, binary, each, number, parameter, text};
use crate::cell::Cell;
use crate::dn;
use crate::error::Fault;
use crate::function::date::parse_date;
use crate::kinds::Kinds;
use crate::run::Args;
use crate::value::Value;

const ENCODINGS: &[&str] = &["Unicode", "UTF8", "ASCII"];

const fn value(name: &'static str, kinds: Kinds) -> Parameter {
    parameter(name, kinds, Form::Each)
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CBool",
        group: Group::Conversion,
        parameters: &[value("value", Kinds::CONDITION.or(Kinds::TEXT))],
        summary: "A boolean: a number is true unless it is zero, null is false, a text must be `True` or `False` in any case.",
        examples: &[("CBool(2)", "true"), ("CBool(NULL)", "false"), ("CBool(\"FALSE\")", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, mut args| match args.value(0) {
            Some(Value::Boolean(truth)) => Ok(truth.into()),
            Some(Value::Integer(number)) => Ok((number != 0).into()),
            Some(Value::Text(text)) if text.trim().eq_ignore_ascii_case("true") => Ok(true.into()),
            Some(Value::Text(text)) if text.trim().eq_ignore_ascii_case("false") => Ok(false.into()),
            Some(Value::Text(text)) => Err(Fault::value(format!("`{}` is no boolean", short(&text)))),
            _ => Ok(false.into()),
        }),
    },
    Function {
        name: "CNum",
        group: Group::Conversion,
        parameters: &[value("value", Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::BINARY))],
        summary: "A number from decimal or `&H` hexadecimal digits, or from up to 8 bytes, the lowest first. \
                  Anything else is an error: `IsNumeric` tells beforehand.",
        examples: &[
            ("CNum(\"42\")", "42"),
            ("CNum(\" -7 \")", "-7"),
            ("CNum(\"&HFF\")", "255"),
            ("CNum(CBin(513, 2))", "513"),
            ("CNum(\"four\")", "error: is no number"),
        ],
        returns: each(Kinds::NUMBER),
        body: Body::Each(|_, mut args| match args.value(0) {
            Some(value) => to_number(&value).map(Cell::from),
            None => Ok(Cell::Null),
        }),
    },
    Function {
        name: "CStr",
        group: Group::Conversion,
        parameters: &[value("value", Kinds::NUMBER.or(Kinds::REFERENCE).or(Kinds::BOOLEAN).or(Kinds::TEXT))],
        summary: "The text of a number, of a boolean (`True`, `False`), or the name of a reference.",
        examples: &[
            ("CStr(42)", "\"42\""),
            ("CStr(1 = 1)", "\"True\""),
            ("CStr(CRef(\"cn=Joe,dc=x\"))", "\"cn=Joe,dc=x\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            Ok(match args.value(0) {
                Some(Value::Text(text) | Value::Reference(text)) => Cell::Value(Value::Text(text)),
                Some(Value::Integer(number)) => number.to_string().into(),
                Some(Value::Boolean(truth)) => (if truth { "True" } else { "False" }).into(),
                _ => Cell::Null,
            })
        }),
    },
    Function {
        name: "CDate",
        group: Group::Conversion,
        parameters: &[text("text")],
        summary: "A date from text: `2013-01-10`, `1/10/2013` (month first), `10 Jan 2013` or `Jan 10, 2013`, then \
                  perhaps a time (`16:00`, `4:00 PM`, seconds and fractions) and a zone (`Z`, `UTC`, `-8`, `+05:30`); or \
                  LDAP's generalised time. Without a zone it is UTC. `IsDate` tells beforehand whether it succeeds.",
        examples: &[
            ("FormatDateTime(CDate(\"2013-01-10 4:00 PM -8\"), \"yyyy-MM-dd HH:mm\")", "\"2013-01-11 00:00\""),
            ("FormatDateTime(CDate(\"12/25/2007\"), \"yyyy-MM-dd\")", "\"2007-12-25\""),
            ("IsNull(CDate(\"soon\"))", "error: is no date"),
        ],
        returns: each(Kinds::DATE),
        body: Body::Each(|_, mut args| {
            let text = args.text(0);
            let date = parse_date(&text);
            let cause = || Fault::value(format!("`{}` is no date, such as 2013-01-10 16:00", short(&text)));
            date.map(|date| Cell::Value(Value::Date(date))).ok_or_else(cause)
        }),
    },
    Function {
        name: "CGuid",
        group: Group::Conversion,
        parameters: &[text("text")],
        summary: "The 16 bytes of a GUID, in the order of Active Directory, from its text with or without braces. \
                  Other text is an error: `IsGuid` tells beforehand.",
        examples: &[
            ("CGuid(\"{00112233-4455-6677-8899-aabbccddeeff}\")", "{\"base64\":\"MyIRAFVEd2aImaq7zN3u/w==\"}"),
            ("CGuid(\"00112233\")", "error: is no GUID"),
        ],
        returns: each(Kinds::BINARY),
        body: Body::Each(|_, mut args| {
            let text = args.text(0);
            match parse_guid(&text) {
                Some(bytes) => Ok(bytes_cell(bytes.to_vec())),
                None => Err(Fault::value(format!("`{}` is no GUID", short(&text)))),
            }
        }),
    },
    Function {
        name: "CRef",
        group: Group::Conversion,
        parameters: &[value("text", Kinds::TEXT.or(Kinds::REFERENCE))],
        summary: "A reference from a distinguished name (RFC 4514). Other text is an error.",
        examples: &[
            ("CRef(\"cn=Joe,dc=x\")", "{\"ref\":\"cn=Joe,dc=x\"}"),
            ("CRef(\"Joe\")", "error: is no distinguished name"),
        ],
        returns: each(Kinds::REFERENCE),
        body: Body::Each(|_, mut args| {
            let name = args.text(0);
            match dn::components(&name) {
                Ok(_) => Ok(Cell::Value(Value::Reference(name))),
                Err(reason) => Err(Fault::value(format!("`{}` is no distinguished name: {reason}", short(&name)))),
            }
        }),
    },
    Function {
        name: "CBin",
        group: Group::Conversion,
        parameters: &[number("value"), number("byteCount")],
        summary: "The lowest bytes of a number, 1 to 8, the lowest first. A number that does not fit is an error.",
        examples: &[("CBin(513, 2)", "{\"base64\":\"AQI=\"}"), ("CBin(256, 1)", "error: does not fit")],
        returns: each(Kinds::BINARY),
        body: Body::Each(to_binary),
    },
    Function {
        name: "ConvertFromBase64",
        group: Group::Conversion,
        parameters: &[text("text"), parameter("encoding", Kinds::TEXT, Form::Word(ENCODINGS)).optional()],
        summary: "The text behind base64. The encoding is `Unicode` (UTF-16, the default), `UTF8` or `ASCII`.",
        examples: &[
            ("ConvertFromBase64(\"SABlAGwAbABvACAAdwBvAHIAbABkACEA\")", "\"Hello world!\""),
            ("ConvertFromBase64(\"SGVsbG8gd29ybGQh\", UTF8)", "\"Hello world!\""),
            ("ConvertFromBase64(\"SGVsbG8gd29ybGQh\", ASCII)", "\"Hello world!\""),
            ("ConvertFromBase64(\"%\")", "error: is no base64"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(from_base64),
    },
    Function {
        name: "ConvertToBase64",
        group: Group::Conversion,
        parameters: &[value("value", Kinds::TEXT.or(Kinds::BINARY))],
        summary: "Base64 of binary bytes as they are; of a text as UTF-16, as the field does.",
        examples: &[
            ("ConvertToBase64(\"Hello world!\")", "\"SABlAGwAbABvACAAdwBvAHIAbABkACEA\""),
            ("ConvertToBase64(CBin(513, 2))", "\"AQI=\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let bytes = match args.value(0) {
                Some(Value::Text(text)) => Cow::Owned(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
                Some(Value::Binary(bytes)) => bytes,
                _ => return Ok(Cell::Null),
            };
            Ok(STANDARD.encode(bytes).into())
        }),
    },
    Function {
        name: "ConvertToUTF8Hex",
        group: Group::Conversion,
        parameters: &[text("text")],
        summary: "The UTF-8 bytes of a text in hexadecimal capitals.",
        examples: &[("ConvertToUTF8Hex(\"Hello world!\")", "\"48656C6C6F20776F726C6421\"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| Ok(upper_hex(args.text(0).as_bytes()).into())),
    },
    Function {
        name: "ConvertFromUTF8Hex",
        group: Group::Conversion,
        parameters: &[text("text")],
        summary: "The text whose UTF-8 bytes are given in hexadecimal.",
        examples: &[
            ("ConvertFromUTF8Hex(\"48656C6C6F20776F726C6421\")", "\"Hello world!\""),
            ("ConvertFromUTF8Hex(\"4\")", "error: is no hexadecimal"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let hex = args.text(0);
            let bytes = from_hex(&hex).ok_or_else(|| Fault::value(format!("`{}` is no hexadecimal", short(&hex))))?;
            let text = String::from_utf8(bytes);
            text.map(Cell::from).map_err(|_| Fault::value("the bytes are no UTF-8"))
        }),
    },
    Function {
        name: "StringFromGuid",
        group: Group::Conversion,
        parameters: &[binary("guid")],
        summary: "The text of a GUID of 16 bytes in the order of Active Directory, without braces.",
        examples: &[(
            "StringFromGuid(CGuid(\"00112233-4455-6677-8899-AABBCCDDEEFF\"))",
            "\"00112233-4455-6677-8899-aabbccddeeff\"",
        )],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let bytes = args.bytes(0);
            match <[u8; 16]>::try_from(&*bytes) {
                Ok(guid) => Ok(guid_text(guid).into()),
                Err(_) => Err(Fault::value(format!("a GUID has 16 bytes, not {}", bytes.len()))),
            }
        }),
    },
    Function {
        name: "StringFromSid",
        group: Group::Conversion,
        parameters: &[binary("sid")],
        summary: "The text of a security identifier, such as `S-1-5-32-544`.",
        examples: &[("StringFromSid(CBin(1, 1))", "error: is no security identifier")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            sid_text(&args.bytes(0)).map(Cell::from).ok_or_else(|| Fault::value("the binary is no security identifier"))
        }),
    },
];

/// The beginning of a value, for messages.
pub(super) fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn bytes_cell<'a>(bytes: Vec<u8>) -> Cell<'a> {
    Cell::Value(Value::Binary(Cow::Owned(bytes)))
}

pub(super) fn to_number(value: &Value<'_>) -> Result<i64, Fault> {
    match value {
        Value::Integer(number) => Ok(*number),
        Value::Text(text) => {
            let digits = text.trim();
            let hex = digits.strip_prefix("&H").or_else(|| digits.strip_prefix("&h"));
            let number = match hex {
                Some(hex) if !hex.starts_with(['+', '-']) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
                Some(_) => None,
                None => digits.parse().ok(),
            };
            number.ok_or_else(|| Fault::value(format!("`{}` is no number of 64 bits", short(text))))
        }
        Value::Binary(bytes) if bytes.len() <= 8 => {
            let mut all = [0; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            Ok(i64::from_le_bytes(all))
        }
        Value::Binary(bytes) => Err(Fault::value(format!("{} bytes are no number of 64 bits", bytes.len()))),
        Value::Boolean(_) | Value::Reference(_) | Value::Date(_) => Err(Fault::value("the value is no number")),
    }
}

fn to_binary<'a>(_: &mut crate::run::Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let (Some(number), Some(count)) = (args.number(0), args.number(1)) else { return Ok(Cell::Null) };
    let Some(count) = usize::try_from(count).ok().filter(|count| (1..=8).contains(count)) else {
        return Err(Fault::value("a number has 1 to 8 bytes"));
    };
    let bytes = number.to_le_bytes();
    let (kept, rest) = bytes.split_at(count);
    let fits = rest.iter().all(|byte| *byte == 0) || (number < 0 && rest.iter().all(|byte| *byte == 0xff));
    if !fits {
        return Err(Fault::value(format!("{number} does not fit into {count} bytes")));
    }
    Ok(bytes_cell(kept.to_vec()))
}

fn from_base64<'a>(_: &mut crate::run::Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let (text, encoding) = (args.text(0), args.text(1));
    let bytes = STANDARD.decode(text.trim()).map_err(|_| Fault::value(format!("`{}` is no base64", short(&text))))?;
    let wrong = |encoding| Fault::value(format!("the bytes are no text in {encoding}"));
    let text = match &*encoding {
        "UTF8" => String::from_utf8(bytes).map_err(|_| wrong("UTF-8"))?,
        "ASCII" if bytes.is_ascii() => String::from_utf8(bytes).map_err(|_| wrong("ASCII"))?,
        "ASCII" => return Err(wrong("ASCII")),
        _ => {
            let (units, odd) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            if !odd.is_empty() {
                return Err(wrong("UTF-16"));
            }
            String::from_utf16(&units).map_err(|_| wrong("UTF-16"))?
        }
    };
    Ok(text.into())
}

pub(super) fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    if odd.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// The bytes in the order of Active Directory: the first three fields with their lowest byte first.
pub(super) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    let bare = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let digits = if bare.len() == 36 {
        let dashes = [8, 13, 18, 23].iter().all(|i| bare.as_bytes().get(*i) == Some(&b'-'));
        let digits = bare.replace('-', "");
        (dashes && digits.len() == 32).then_some(digits)?
    } else {
        (bare.len() == 32).then(|| bare.to_owned())?
    };
    let mut bytes: [u8; 16] = from_hex(&digits)?.try_into().ok()?;
    swap_guid(&mut bytes);
    Some(bytes)
}

fn swap_guid(bytes: &mut [u8; 16]) {
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
}

pub(super) fn guid_text(mut bytes: [u8; 16]) -> String {
    swap_guid(&mut bytes);
    let hex = upper_hex(&bytes).to_ascii_lowercase();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Revision, count of sub-authorities, 48 bits of authority, then 32 bits each (MS-DTYP section 2.4.2.2).
fn sid_text(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let (parts, odd) = rest.as_chunks::<4>();
    if head[0] != 1 || usize::from(head[1]) != parts.len() || parts.len() > 15 || !odd.is_empty() {
        return None;
    }
    let authority = head[2..].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mut text = format!("S-1-{authority}");
    for part in parts {
        text.push_str(&format!("-{}", u32::from_le_bytes(*part)));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_identifiers_are_written_as_the_field_writes_them() {
        let administrators = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
        assert_eq!(sid_text(&administrators).as_deref(), Some("S-1-5-32-544"));
        assert_eq!(sid_text(&administrators[..15]), None);
        assert_eq!(sid_text(&[]), None);
    }
}
