//! The expression language of sync rules: grammar, types and functions, without I/O, clock or randomness of its own.
//!
//! An expression computes one attribute value from the attributes of one object. It is compiled once by
//! [`Expression::compile`], which checks names, numbers of arguments and whatever types are known beforehand, and
//! evaluated on any number of objects by [`Expression::evaluate`]. Everything the evaluation asks for comes from a
//! [`Context`].
//!
//! ```
//! use sync_expr::{Expression, Fields, Flow, Value, Values};
//!
//! let upn = Expression::compile(r#"IIF(IsPresent([mail]), LCase([mail]), [uid] & "@" & %Domain.FQDN%)"#)?;
//! let mut ada = Fields::default();
//! ada.set("uid", Value::from("ada"));
//! ada.set_parameter("Domain.FQDN", Value::from("example.org"));
//! assert_eq!(upn.evaluate(&ada)?, Flow::Value(Values::One(Value::from("ada@example.org"))));
//! # Ok::<(), sync_expr::Error>(())
//! ```
//!
//! # Grammar
//!
//! One expression: function calls, operators and operands; white space is free. `[attribute]`, `%parameter%`,
//! `"text"` (escapes `\\ \" \n \r \t`, and `""` for a quote), whole numbers of 64 bits (`42`, `&H2A`), `True`, `False`,
//! `NULL`, `CRLF`, `IgnoreThisFlow`, `AuthoritativeNull`, and `$name` inside `Select`, `Where` and `With`. Names are
//! case-sensitive. Operators bind in this order, each level from left to right: `+ - * / &`; `= <> < <= > >=`; `&&`;
//! `||`. Both sides of `&&` and `||` are always evaluated; of `IIF` and `Switch` only the value that is chosen.
//!
//! # Null
//!
//! A function of a null argument is null unless its description says otherwise. `&` takes null for nothing, and is null
//! when both sides are. `=` of null and null is true, of null and a value false; `<>` is its contrary; other comparisons
//! with null are false. As a condition null is false. The empty text is not null.
//!
//! # Several values
//!
//! What works on one value works on each value of several, and several such arguments are taken side by side; values
//! that come out null are left out of the result.
//!
//! # Limits
//!
//! Every limit is a constant of [`limits`]; beyond one there is an error, never a panic or unbounded work.

#![forbid(unsafe_code)]

mod ast;
mod cell;
mod check;
mod clock;
mod context;
mod dn;
mod error;
mod eval;
mod expression;
mod fields;
mod function;
mod kinds;
pub mod limits;
mod near;
mod node;
mod operator;
mod parse;
mod run;
mod token;
mod value;

pub use clock::NextChange;
pub use context::Context;
pub use dn::is_distinguished_name;
pub use error::{Error, ErrorKind};
pub use expression::{Expression, Flow};
pub use fields::Fields;
pub use function::{Function, Group, Parameter, functions, parse_date};
pub use near::nearest;
pub use value::{Value, Values};
