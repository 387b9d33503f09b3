//! Text to tokens.

use std::fmt;

use winnow::Parser;
use winnow::combinator::{alt, preceded};
use winnow::error::EmptyError;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, one_of, take_while};

use crate::error::{ErrorKind, Fault};
use crate::operator::Operator;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Text(String),
    /// Digits of a number of up to 64 bits; its sign is an operator.
    Decimal(u64),
    /// The bits of a number.
    Hex(u64),
    Name(String),
    Attribute(String),
    Parameter(String),
    Variable(String),
    Operator(Operator),
    Open,
    Close,
    Comma,
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub at: usize,
    pub token: Token,
}

type Input<'a> = LocatingSlice<&'a str>;
/// Which parser failed tells enough; the message is made where it was called.
type Lexed<T> = Result<T, EmptyError>;

/// The tokens of `text`, the last one being [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut input = LocatingSlice::new(text);
    let mut tokens: Vec<Placed> = Vec::new();
    loop {
        blanks(&mut input);
        let at = input.current_token_start();
        let Some(first) = input.peek_token() else {
            tokens.push(Placed { at, token: Token::End });
            return Ok(tokens);
        };
        // After an operand `&` joins texts; elsewhere it begins a hexadecimal number.
        let after_operand = tokens.last().is_some_and(|last| last.token.ends_an_operand());
        let token = token(&mut input, first, after_operand).map_err(|fault| fault.at(at))?;
        tokens.push(Placed { at, token });
    }
}

fn blanks(input: &mut Input<'_>) {
    let _: Lexed<&str> = take_while(0.., char::is_whitespace).parse_next(input);
}

fn token(input: &mut Input<'_>, first: char, after_operand: bool) -> Result<Token, Fault> {
    match first {
        '"' => text(input).map(Token::Text),
        '[' => enclosed(input, '[', ']', "attribute").map(Token::Attribute),
        '%' => enclosed(input, '%', '%', "parameter").map(Token::Parameter),
        '$' => {
            let name: Lexed<&str> = preceded('$', name).parse_next(input);
            name.map(|name| Token::Variable(name.to_owned())).map_err(|_| syntax("a name is expected after `$`"))
        }
        '0'..='9' => decimal(input),
        '&' if !after_operand => match hex(input)? {
            Some(number) => Ok(Token::Hex(number)),
            None => symbol(input, first),
        },
        c if c.is_alphabetic() || c == '_' => {
            let word: Lexed<&str> = name.parse_next(input);
            word.map(|word| Token::Name(word.to_owned())).map_err(|_| syntax("a name is expected"))
        }
        _ => symbol(input, first),
    }
}

fn name<'a>(input: &mut Input<'a>) -> Lexed<&'a str> {
    take_while(1.., |c: char| c.is_alphanumeric() || c == '_').parse_next(input)
}

fn symbol(input: &mut Input<'_>, first: char) -> Result<Token, Fault> {
    let symbol: Lexed<Token> = alt((
        alt((
            "&&".value(Token::Operator(Operator::And)),
            "||".value(Token::Operator(Operator::Or)),
            "<>".value(Token::Operator(Operator::NotEqual)),
            "<=".value(Token::Operator(Operator::LessOrEqual)),
            ">=".value(Token::Operator(Operator::GreaterOrEqual)),
            "<".value(Token::Operator(Operator::Less)),
            ">".value(Token::Operator(Operator::Greater)),
            "=".value(Token::Operator(Operator::Equal)),
        )),
        alt((
            "&".value(Token::Operator(Operator::Concat)),
            "+".value(Token::Operator(Operator::Add)),
            "-".value(Token::Operator(Operator::Subtract)),
            "*".value(Token::Operator(Operator::Multiply)),
            "/".value(Token::Operator(Operator::Divide)),
            "(".value(Token::Open),
            ")".value(Token::Close),
            ",".value(Token::Comma),
        )),
    ))
    .parse_next(input);
    symbol.map_err(|_| match first {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\'' => syntax("a text stands in straight double quotes"),
        '|' => syntax("`||` is the operator for \"or\""),
        '!' => syntax("`!` means nothing here: write `<>` for \"not equal\", `= False` for \"not\""),
        ']' => syntax("there is no `[` to this `]`"),
        ';' => syntax("`;` means nothing here: arguments are separated by `,`"),
        other => syntax(format!("`{}` means nothing here", other.escape_debug())),
    })
}

/// A text in straight quotes.
fn text(input: &mut Input<'_>) -> Result<String, Fault> {
    let mut text = String::new();
    let begin: Lexed<char> = '"'.parse_next(input);
    let unended = || syntax("the text that begins here has no closing `\"`");
    begin.map_err(|_| unended())?;
    loop {
        let plain: Lexed<&str> = take_while(0.., |c: char| c != '"' && c != '\\').parse_next(input);
        text.push_str(plain.unwrap_or_default());
        let at = input.current_token_start();
        let mark: Lexed<char> = any.parse_next(input);
        match mark.map_err(|_| unended())? {
            '"' => {
                let doubled: Lexed<char> = '"'.parse_next(input);
                if doubled.is_err() {
                    return Ok(text);
                }
                text.push('"');
            }
            _ => {
                let escaped: Lexed<char> = any.parse_next(input);
                text.push(match escaped.map_err(|_| unended())? {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => {
                        let other = other.escape_debug();
                        return Err(syntax(format!("`\\{other}` is no escape: a backslash is written `\\\\`")).at(at));
                    }
                });
            }
        }
    }
}

/// A name between two marks.
fn enclosed(input: &mut Input<'_>, open: char, close: char, what: &str) -> Result<String, Fault> {
    let begin: Lexed<char> = one_of(open).parse_next(input);
    let name: Lexed<&str> = take_while(0.., |c: char| c != close && c != open && !c.is_control()).parse_next(input);
    let end: Lexed<char> = one_of(close).parse_next(input);
    match (begin, name, end) {
        (Ok(_), Ok(name), Ok(_)) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        (Ok(_), Ok(_), Ok(_)) => Err(syntax(format!("the name of the {what} is missing"))),
        _ => Err(syntax(format!("the name of the {what} that begins here has no closing `{close}`"))),
    }
}

fn decimal(input: &mut Input<'_>) -> Result<Token, Fault> {
    let digits: Lexed<&str> = take_while(1.., |c: char| c.is_ascii_digit()).parse_next(input);
    let digits = digits.unwrap_or_default();
    match input.peek_token() {
        Some('.') => return Err(syntax("numbers are whole: there is no decimal point")),
        Some(c) if c.is_alphanumeric() || c == '_' => {
            return Err(syntax(format!("`{digits}{c}` is no number: a hexadecimal one is written `&HFF`")));
        }
        _ => {}
    }
    digits.parse().map(Token::Decimal).map_err(|_| syntax(format!("the number {digits} does not fit into 64 bits")))
}

/// A number after `&H`; `None` when it does not begin so.
fn hex(input: &mut Input<'_>) -> Result<Option<u64>, Fault> {
    let mark: Lexed<&str> = alt(("&H", "&h")).parse_next(input);
    if mark.is_err() {
        return Ok(None);
    }
    let digits: Lexed<&str> = take_while(0.., |c: char| c.is_alphanumeric()).parse_next(input);
    let digits = digits.unwrap_or_default();
    let fits = (1..=16).contains(&digits.len());
    match u64::from_str_radix(digits, 16) {
        Ok(number) if fits => Ok(Some(number)),
        _ => Err(syntax(format!("`&H{digits}` is no hexadecimal number of up to 16 digits"))),
    }
}

fn syntax(cause: impl Into<String>) -> Fault {
    Fault::new(ErrorKind::Syntax, cause)
}

impl Token {
    fn ends_an_operand(&self) -> bool {
        match self {
            Self::Operator(_) | Self::Open | Self::Comma | Self::End => false,
            Self::Text(_) | Self::Decimal(_) | Self::Hex(_) | Self::Name(_) => true,
            Self::Attribute(_) | Self::Parameter(_) | Self::Variable(_) | Self::Close => true,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("a text"),
            Self::Decimal(number) | Self::Hex(number) => write!(f, "`{number}`"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Attribute(name) => write!(f, "`[{name}]`"),
            Self::Parameter(name) => write!(f, "`%{name}%`"),
            Self::Variable(name) => write!(f, "`${name}`"),
            Self::Operator(operator) => write!(f, "`{operator}`"),
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::Comma => f.write_str("`,`"),
            Self::End => f.write_str("the end"),
        }
    }
}
