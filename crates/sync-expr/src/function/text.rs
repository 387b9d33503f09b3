//! Text. Characters are counted, from 1, as Unicode code points.

use std::borrow::Cow;

use super::convert::guid_text;
use super::{Body, Form, Function, Group, Parameter, each, number, parameter, text};
use crate::cell::Cell;
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::{Args, Run, fits};
use crate::value::Value;

const COMPARE: Parameter =
    parameter("compare", Kinds::TEXT, Form::Word(&["vbBinaryCompare", "vbTextCompare"])).optional();
const TEXT_OR_BINARY: Parameter = parameter("text", Kinds::TEXT.or(Kinds::BINARY), Form::Each);
const PAD: &[Parameter] = &[text("text"), number("length"), text("padCharacter")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "Guid",
        group: Group::Text,
        parameters: &[],
        summary: "A new random GUID. Only in flows that are applied once.",
        examples: &[("Len(Guid())", "36")],
        returns: super::one(Kinds::TEXT),
        body: Body::Each(|run, _| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&run.context.random().to_le_bytes());
            bytes[8..].copy_from_slice(&run.context.random().to_le_bytes());
            // Version 4 and variant 1 (RFC 9562 section 5.4), in the order of Active Directory.
            bytes[7] = bytes[7] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            Ok(guid_text(bytes).into())
        }),
    },
    Function {
        name: "InStr",
        group: Group::Text,
        parameters: &[text("text"), text("match"), number("start").optional(), COMPARE],
        summary: "The place of the first occurrence of `match`, from 1; 0 when there is none or the text is null. The search \
                  begins at `start`; `vbTextCompare` takes no account of case.",
        examples: &[
            ("InStr(\"The quick brown fox\", \"quick\")", "5"),
            ("InStr(\"repEated\", \"e\", 3, vbBinaryCompare)", "7"),
            ("InStr(\"repEated\", \"e\", 3, vbTextCompare)", "4"),
            ("InStr(NULL, \"x\")", "0"),
        ],
        returns: each(Kinds::NUMBER),
        body: Body::EachOrNull(|_, args| find(args, false)),
    },
    Function {
        name: "InStrRev",
        group: Group::Text,
        parameters: &[text("text"), text("match"), number("start").optional(), COMPARE],
        summary: "The place of the last occurrence of `match`, from 1; 0 when there is none or the text is null. With `start` \
                  the occurrence ends there or before.",
        examples: &[("InStrRev(\"abbcdbbbef\", \"bb\")", "7"), ("InStrRev(\"abbcdbbbef\", \"bb\", 7)", "6")],
        returns: each(Kinds::NUMBER),
        body: Body::EachOrNull(|_, args| find(args, true)),
    },
    Function {
        name: "LCase",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "The text in lower case, character by character.",
        examples: &[("LCase(\"TeSt\")", "\"test\"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| Ok(map_changed(args.text(0), |c| c.is_uppercase() || lower(c) != c, lower))),
    },
    Function {
        name: "UCase",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "The text in upper case, character by character.",
        examples: &[("UCase(\"TeSt\")", "\"TEST\"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| Ok(map_changed(args.text(0), |c| upper(c) != c, upper))),
    },
    Function {
        name: "PCase",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "Each word between blanks with its first letter in upper case and the others in lower case.",
        examples: &[("PCase(\"TEsT\")", "\"Test\""), ("PCase(\"ada o'neil-byron\")", "\"Ada O'neil-byron\"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let mut first = true;
            let text = args.text(0);
            let cased = text.chars().map(|c| {
                let cased = if first { upper(c) } else { lower(c) };
                first = c.is_whitespace();
                cased
            });
            Ok(cased.collect::<String>().into())
        }),
    },
    Function {
        name: "Left",
        group: Group::Text,
        parameters: &[text("text"), number("count")],
        summary: "The first characters. Of a shorter text, and for a negative count, all; of null the empty text.",
        examples: &[
            ("Left(\"John Doe\", 3)", "\"Joh\""),
            ("Left(\"John Doe\", 0)", "\"\""),
            ("Left(\"John Doe\", -1)", "\"John Doe\""),
            ("Left(NULL, 3)", "\"\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::EachOrNull(|_, mut args| {
            let (text, count) = (args.text(0), args.number(1).unwrap_or(0));
            let end = if count < 0 { text.len() } else { offset(&text, count) };
            Ok(slice(text, 0, end))
        }),
    },
    Function {
        name: "Right",
        group: Group::Text,
        parameters: &[text("text"), number("count")],
        summary: "The last characters. Of a shorter text, and for a negative count, all; of null the empty text.",
        examples: &[
            ("Right(\"John Doe\", 3)", "\"Doe\""),
            ("Right(\"John Doe\", 0)", "\"\""),
            ("Right(\"John Doe\", -1)", "\"John Doe\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::EachOrNull(|_, mut args| {
            let (text, count) = (args.text(0), args.number(1).unwrap_or(0));
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            let start = if count < 0 || count >= length { 0 } else { offset(&text, length - count) };
            let end = text.len();
            Ok(slice(text, start, end))
        }),
    },
    Function {
        name: "Mid",
        group: Group::Text,
        parameters: &[TEXT_OR_BINARY, number("start"), number("count").optional()],
        summary: "Characters from a place on, from 1; without a count all of them; of a binary its bytes. A count of 0 yields \
                  the empty text; a negative count, and a start outside the text, the whole input; null the empty text.",
        examples: &[
            ("Mid(\"John Doe\", 3, 5)", "\"hn Do\""),
            ("Mid(\"John Doe\", 6, 999)", "\"Doe\""),
            ("Mid(\"John Doe\", 6)", "\"Doe\""),
            ("Mid(\"John\", 9, 1)", "\"John\""),
            ("Mid(\"John\", 0, 1)", "\"John\""),
            ("Mid(\"John\", 2, 0)", "\"\""),
            ("Mid(NULL, 1, 1)", "\"\""),
        ],
        returns: each(Kinds::TEXT.or(Kinds::BINARY)).as_first(),
        body: Body::EachOrNull(|_, args| Ok(middle(args))),
    },
    Function {
        name: "Len",
        group: Group::Text,
        parameters: &[TEXT_OR_BINARY],
        summary: "The number of characters of a text, of bytes of a binary; 0 for null.",
        examples: &[("Len(\"John Doe\")", "8"), ("Len(CBin(1, 2))", "2"), ("Len(NULL)", "0")],
        returns: each(Kinds::NUMBER),
        body: Body::EachOrNull(|_, mut args| {
            let length = match args.value(0) {
                Some(Value::Text(text)) => text.chars().count(),
                Some(Value::Binary(bytes)) => bytes.len(),
                _ => 0,
            };
            Ok((length as i64).into())
        }),
    },
    Function {
        name: "LTrim",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "The text without white space at its beginning.",
        examples: &[("LTrim(\" Test \")", "\"Test \"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let text = args.text(0);
            let (start, end) = (text.len() - text.trim_start().len(), text.len());
            Ok(slice(text, start, end))
        }),
    },
    Function {
        name: "RTrim",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "The text without white space at its end.",
        examples: &[("RTrim(\" Test \")", "\" Test\"")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let text = args.text(0);
            let end = text.trim_end().len();
            Ok(slice(text, 0, end))
        }),
    },
    Function {
        name: "Trim",
        group: Group::Text,
        parameters: &[text("text")],
        summary: "The text without white space at its ends; each of several. Null stays null.",
        examples: &[("Trim(\" Test \")", "\"Test\""), ("Trim(NULL)", "null")],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let text = args.text(0);
            let start = text.len() - text.trim_start().len();
            let end = text.trim_end().len().max(start);
            Ok(slice(text, start, end))
        }),
    },
    Function {
        name: "PadLeft",
        group: Group::Text,
        parameters: PAD,
        summary: "The text, filled up to a length at its left with one character. A text that is long enough stays as it is; \
                  null becomes the empty text.",
        examples: &[
            ("PadLeft(\"User\", 10, \"0\")", "\"000000User\""),
            ("PadLeft(\"User\", 2, \"0\")", "\"User\""),
            ("PadLeft(NULL, 3, \"0\")", "\"\""),
            ("PadLeft(\"User\", 10, \"\")", "error: one character"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::EachOrNull(|_, args| pad(args, true)),
    },
    Function {
        name: "PadRight",
        group: Group::Text,
        parameters: PAD,
        summary: "The text, filled up to a length at its right with one character; otherwise like `PadLeft`.",
        examples: &[("PadRight(\"User\", 10, \"0\")", "\"User000000\"")],
        returns: each(Kinds::TEXT),
        body: Body::EachOrNull(|_, args| pad(args, false)),
    },
    Function {
        name: "Replace",
        group: Group::Text,
        parameters: &[text("text"), text("old"), text("new")],
        summary: "The text with every occurrence of `old` replaced, with regard to case. `\\n`, `\\r` and `\\t` in `old` and \
                  `new` are line feed, carriage return and tab. An empty `old` replaces nothing.",
        examples: &[
            ("Replace(\"a-b-c\", \"-\", \"+\")", "\"a+b+c\""),
            ("Replace(\"1 Main St\\r\\nSpringfield\", \"\\r\\n\", \", \")", "\"1 Main St, Springfield\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(replace),
    },
    Function {
        name: "ReplaceChars",
        group: Group::Text,
        parameters: &[text("text"), text("pattern")],
        summary: "The text with characters replaced by a pattern of pairs, such as `å:a,ö:oe,':`. Left of the colon stands \
                  exactly one character, right of it any text or none. White space in the pattern means nothing; comma and \
                  colon cannot be replaced.",
        examples: &[
            ("ReplaceChars(\"Räksmörgås\", \"å:a, ä:a, ö:oe\")", "\"Raksmoergas\""),
            ("ReplaceChars(\"O'Neil\", \"':\")", "\"ONeil\""),
            ("ReplaceChars(\"x\", \"ab:c\")", "error: one character"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(replace_characters),
    },
    Function {
        name: "Word",
        group: Group::Text,
        parameters: &[text("text"), number("number"), text("delimiters")],
        summary: "A word of the text, from 1. Any character of `delimiters` ends a word, and empty words count. The empty text \
                  when there is no such word, or the text is null.",
        examples: &[
            ("Word(\"The quick brown fox\", 3, \" \")", "\"brown\""),
            ("Word(\"This,string!has&many separators\", 3, \",!&#\")", "\"has\""),
            ("Word(\"Test;;Function\", 2, \";\")", "\"\""),
            ("Word(\"x\", 2, \" \")", "\"\""),
            ("Word(\"User_64c6\", 1, \"_\")", "\"User\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::EachOrNull(|_, mut args| {
            let (text, number, delimiters) = (args.text(0), args.number(1).unwrap_or(0), args.text(2));
            let Some(skip) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
                return Ok("".into());
            };
            let marks = text.char_indices().filter(|(_, c)| delimiters.contains(*c));
            let mut marks = marks.map(|(at, c)| (at, at + c.len_utf8())).skip(skip.saturating_sub(1));
            let start = match skip {
                0 => 0,
                _ => match marks.next() {
                    Some((_, after)) => after,
                    None => return Ok("".into()),
                },
            };
            let end = marks.next().map_or(text.len(), |(at, _)| at);
            Ok(slice(text, start, end))
        }),
    },
];

fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// Lower case, character by character, so that places in the text stay the same.
pub(super) fn fold_simply(text: &str) -> String {
    text.chars().map(lower).collect()
}

fn map_changed<'a>(text: Cow<'a, str>, changes: impl Fn(char) -> bool, map: impl Fn(char) -> char) -> Cell<'a> {
    if text.chars().any(changes) {
        text.chars().map(map).collect::<String>().into()
    } else {
        Cell::Value(Value::Text(text))
    }
}

/// The byte at which the character number `count`, from 0, begins; the end of a shorter text.
fn offset(text: &str, count: i64) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

fn slice<'a>(text: Cow<'a, str>, start: usize, end: usize) -> Cell<'a> {
    Cell::Value(Value::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..end]),
        Cow::Owned(text) if start == 0 && end == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text[start..end].to_owned()),
    }))
}

fn middle<'a>(mut args: Args<'_, 'a>) -> Cell<'a> {
    let without_count = args.is_null(2);
    let input = args.value(0);
    let (start, count) = (args.number(1).unwrap_or(0), args.number(2).unwrap_or(0));
    match input {
        Some(Value::Text(text)) => {
            let length = text.chars().count();
            match window(length, start, count, without_count) {
                Some((from, to)) => {
                    let (from, to) = (offset(&text, from as i64), offset(&text, to as i64));
                    slice(text, from, to)
                }
                None => Cell::Value(Value::Text(text)),
            }
        }
        Some(Value::Binary(bytes)) => match window(bytes.len(), start, count, without_count) {
            Some((from, to)) => Cell::Value(Value::Binary(Cow::Owned(bytes[from..to].to_vec()))),
            None => Cell::Value(Value::Binary(bytes)),
        },
        _ => "".into(),
    }
}

/// The part that `Mid` cuts out; `None` for the whole input.
fn window(length: usize, start: i64, count: i64, without_count: bool) -> Option<(usize, usize)> {
    if !without_count && count == 0 {
        return Some((0, 0));
    }
    let from = usize::try_from(start).ok()?.checked_sub(1)?;
    if from >= length || count < 0 {
        return None;
    }
    let count = if without_count { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) };
    Some((from, from.saturating_add(count).min(length)))
}

fn find<'a>(mut args: Args<'_, 'a>, backwards: bool) -> Result<Cell<'a>, Fault> {
    if args.is_null(0) || args.is_null(1) {
        return Ok(0.into());
    }
    let (mut text, mut wanted, start, compare) = (args.text(0), args.text(1), args.number(2), args.text(3));
    if start.is_some_and(|start| start < 1) && !(backwards && start == Some(-1)) {
        return Err(Fault::value("the start of a search must be 1 or more"));
    }
    if compare == "vbTextCompare" {
        text = Cow::Owned(fold_simply(&text));
        wanted = Cow::Owned(fold_simply(&wanted));
    }
    let found = if backwards {
        let end = start.filter(|start| *start > 0).map_or(text.len(), |start| offset(&text, start));
        text[..end].rfind(&*wanted)
    } else {
        let from = start.map_or(0, |start| offset(&text, start - 1));
        text[from..].find(&*wanted).map(|at| from + at)
    };
    Ok((found.map_or(0, |at| text[..at].chars().count() as i64 + 1)).into())
}

fn pad<'a>(mut args: Args<'_, 'a>, left: bool) -> Result<Cell<'a>, Fault> {
    let absent = args.is_null(0);
    let (text, length, filling) = (args.text(0), args.number(1).unwrap_or(0), args.text(2));
    let mut marks = filling.chars();
    let (Some(mark), None) = (marks.next(), marks.next()) else {
        return Err(Fault::value("the pad character must be one character"));
    };
    if absent {
        return Ok("".into());
    }
    let has = text.chars().count();
    let missing = usize::try_from(length).unwrap_or(0).saturating_sub(has);
    if missing == 0 {
        return Ok(Cell::Value(Value::Text(text)));
    }
    fits(missing.saturating_mul(mark.len_utf8()).saturating_add(text.len()))?;
    let padding = mark.to_string().repeat(missing);
    Ok((if left { format!("{padding}{text}") } else { format!("{text}{padding}") }).into())
}

fn resolve(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text;
    }
    Cow::Owned(text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t"))
}

fn replace<'a>(_: &mut Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let (text, old, new) = (args.text(0), resolve(args.text(1)), resolve(args.text(2)));
    if old.is_empty() || !text.contains(&*old) {
        return Ok(Cell::Value(Value::Text(text)));
    }
    let count = text.matches(&*old).count();
    fits(text.len() - count * old.len() + count.saturating_mul(new.len()))?;
    Ok(text.replace(&*old, &new).into())
}

fn replace_characters<'a>(_: &mut Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let (text, pattern) = (args.text(0), args.text(1));
    let bare: String = pattern.chars().filter(|c| !c.is_whitespace()).collect();
    let mut pairs: Vec<(char, &str)> = Vec::new();
    for pair in bare.split(',') {
        let fault = |what: &str| Fault::value(format!("`{pair}` in the pattern of `ReplaceChars` {what}"));
        let (old, new) = pair.split_once(':').ok_or_else(|| fault("has no colon"))?;
        let mut olds = old.chars();
        match (olds.next(), olds.next()) {
            (Some(old), None) => pairs.push((old, new)),
            _ => return Err(fault("must have one character before its colon")),
        }
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match pairs.iter().find(|(old, _)| *old == c) {
            Some((_, new)) => out.push_str(new),
            None => out.push(c),
        }
        fits(out.len())?;
    }
    Ok(out.into())
}
