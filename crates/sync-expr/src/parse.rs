//! Tokens to a tree, by precedence climbing.

use crate::ast::{Ast, AstKind};
use crate::error::{ErrorKind, Fault};
use crate::limits;
use crate::operator::Operator;
use crate::token::{Placed, Token, tokens};

pub(crate) fn parse(text: &str) -> Result<Ast, Fault> {
    if text.len() > limits::EXPRESSION {
        let cause = format!("the expression has {} bytes; at most {} are taken", text.len(), limits::EXPRESSION);
        return Err(Fault::new(ErrorKind::Limit, cause).at(0));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, nesting: 0 };
    let ast = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(ast),
        Token::Close => Err(parser.expected("the end: there is no `(` to this `)`")),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |placed| &placed.token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |placed| placed.at)
    }

    fn take(&mut self) -> Token {
        let token = self.tokens.get_mut(self.next).map_or(Token::End, |placed| {
            // The last token stays what it is: it may be asked for again.
            if placed.token == Token::End { Token::End } else { std::mem::replace(&mut placed.token, Token::Comma) }
        });
        self.next += 1;
        token
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::new(ErrorKind::Syntax, format!("expected {what}, found {}", self.peek())).at(self.at())
    }

    /// Operands joined by operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Ast, Fault> {
        let mut left = self.operand()?;
        while let Token::Operator(operator) = *self.peek() {
            if operator.precedence() < least {
                break;
            }
            let at = self.at();
            self.take();
            let right = self.expression(operator.precedence() + 1)?;
            left = bounded(Ast::new(at, AstKind::Binary(operator, Box::new(left), Box::new(right))))?;
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Ast, Fault> {
        let at = self.at();
        self.nesting += 1;
        if self.nesting > limits::NESTING {
            let cause = format!("more than {} levels of nesting", limits::NESTING);
            return Err(Fault::new(ErrorKind::Limit, cause).at(at));
        }
        let operand = self.operand_at(at);
        self.nesting -= 1;
        operand
    }

    fn operand_at(&mut self, at: usize) -> Result<Ast, Fault> {
        let kind = match self.peek() {
            Token::Operator(Operator::Subtract) => return self.negative(at),
            Token::Operator(_) | Token::Close | Token::Comma | Token::End => {
                return Err(self.expected("a value, an attribute, a function or `(`"));
            }
            Token::Open => {
                self.take();
                let inner = self.expression(0)?;
                if *self.peek() != Token::Close {
                    return Err(self.expected("an operator or `)`"));
                }
                self.take();
                return Ok(inner);
            }
            _ => match self.take() {
                Token::Text(text) => AstKind::Text(text),
                Token::Decimal(number) => AstKind::Number(i64::try_from(number).map_err(|_| too_large(at))?),
                Token::Hex(bits) => AstKind::Number(bits.cast_signed()),
                Token::Attribute(name) => AstKind::Attribute(name),
                Token::Parameter(name) => AstKind::Parameter(name),
                Token::Variable(name) => AstKind::Variable(name),
                Token::Name(name) if *self.peek() == Token::Open => AstKind::Call(name, self.arguments()?),
                Token::Name(name) => word(name),
                Token::Operator(_) | Token::Open | Token::Close | Token::Comma | Token::End => {
                    return Err(self.expected("a value"));
                }
            },
        };
        bounded(Ast::new(at, kind))
    }

    fn negative(&mut self, at: usize) -> Result<Ast, Fault> {
        self.take();
        if let Token::Decimal(number) = *self.peek() {
            self.take();
            let number = 0i64.checked_sub_unsigned(number).ok_or_else(|| too_large(at))?;
            return Ok(Ast::new(at, AstKind::Number(number)));
        }
        let operand = self.operand()?;
        bounded(Ast::new(at, AstKind::Negate(Box::new(operand))))
    }

    fn arguments(&mut self) -> Result<Vec<Ast>, Fault> {
        self.take();
        let mut arguments = Vec::new();
        if *self.peek() == Token::Close {
            self.take();
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            match self.peek() {
                Token::Comma => {
                    self.take();
                }
                Token::Close => {
                    self.take();
                    return Ok(arguments);
                }
                _ => return Err(self.expected("an operator, `,` or `)`")),
            }
        }
    }
}

fn word(name: String) -> AstKind {
    match name.as_str() {
        "NULL" => AstKind::Null,
        "CRLF" => AstKind::LineBreak,
        "IgnoreThisFlow" => AstKind::Ignore,
        "AuthoritativeNull" => AstKind::Authoritative,
        "True" | "TRUE" | "true" => AstKind::Boolean(true),
        "False" | "FALSE" | "false" => AstKind::Boolean(false),
        _ => AstKind::Word(name),
    }
}

fn too_large(at: usize) -> Fault {
    Fault::new(ErrorKind::Syntax, "the number does not fit into 64 bits").at(at)
}

fn bounded(ast: Ast) -> Result<Ast, Fault> {
    if ast.depth <= limits::DEPTH {
        return Ok(ast);
    }
    let cause = format!("more than {} levels of operators and calls", limits::DEPTH);
    Err(Fault::new(ErrorKind::Limit, cause).at(ast.at.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf() -> impl Strategy<Value = AstKind> {
        let name = "[A-Za-z][A-Za-z0-9]{0,8}";
        prop_oneof![
            "\\PC{0,8}|[\\\\\"\n\r\t]{1,4}".prop_map(AstKind::Text),
            any::<i64>().prop_map(AstKind::Number),
            any::<bool>().prop_map(AstKind::Boolean),
            Just(AstKind::Null),
            Just(AstKind::LineBreak),
            Just(AstKind::Ignore),
            Just(AstKind::Authoritative),
            "[A-Za-z][A-Za-z0-9-]{0,8}".prop_map(AstKind::Attribute),
            "[A-Za-z][A-Za-z0-9._]{0,8}".prop_map(AstKind::Parameter),
            name.prop_map(AstKind::Variable),
            "[a-z]{3}Compare".prop_map(AstKind::Word),
        ]
    }

    fn tree() -> impl Strategy<Value = Ast> {
        leaf().prop_map(|kind| Ast::new(0, kind)).prop_recursive(6, 60, 4, |inner| {
            let operator = prop::sample::select(Operator::ALL.to_vec());
            prop_oneof![
                ("[A-Z][a-z]{1,6}[A-Z]", prop::collection::vec(inner.clone(), 0..4))
                    .prop_map(|(name, arguments)| Ast::new(0, AstKind::Call(name, arguments))),
                (operator, inner.clone(), inner.clone())
                    .prop_map(|(op, a, b)| Ast::new(0, AstKind::Binary(op, Box::new(a), Box::new(b)))),
                inner.prop_map(|operand| Ast::new(0, AstKind::Negate(Box::new(operand)))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_is_printed_parses_to_the_same_tree(tree in tree()) {
            let printed = tree.to_string();
            prop_assert_eq!(parse(&printed), Ok(tree), "{}", printed);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
