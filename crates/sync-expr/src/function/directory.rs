//! Names of the directory.

use super::{Body, Form, Function, Group, each, number, parameter, reference, text};
use crate::cell::Cell;
use crate::dn::{self, Rdn};
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::Args;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "DNComponent",
        group: Group::Directory,
        parameters: &[reference("dn"), number("number")],
        summary: "The value of a component of a distinguished name, the leftmost being 1, without its type. Escapes are \
                  resolved, except those of control characters: the name of a replication conflict keeps its `\\0ACNF:`. \
                  A component that does not exist is an error.",
        examples: &[
            ("DNComponent(CRef(\"cn=Joe,ou=x\"), 1)", "\"Joe\""),
            ("InStr(DNComponent(CRef(\"cn=Joe\\\\0ACNF:6b1c,dc=x\"), 1), \"\\\\0ACNF:\") > 0", "true"),
            ("DNComponent(CRef(\"cn=Joe,ou=x\"), 3)", "error: has 2 components"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, args| component(args, false)),
    },
    Function {
        name: "DNComponentRev",
        group: Group::Directory,
        parameters: &[
            reference("dn"),
            number("number"),
            parameter("option", Kinds::TEXT, Form::QuotedWord(&["DC"])).optional(),
        ],
        summary: "Like `DNComponent`, counted from the right; with the option `DC` components of type `dc` do not count.",
        examples: &[
            ("DNComponentRev(CRef(\"cn=Joe,ou=Atlanta,ou=GA,ou=US,dc=contoso,dc=com\"), 3)", "\"US\""),
            ("DNComponentRev(CRef(\"cn=Joe,ou=Atlanta,ou=GA,ou=US,dc=contoso,dc=com\"), 1, \"DC\")", "\"US\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, args| component(args, true)),
    },
    Function {
        name: "EscapeDNComponent",
        group: Group::Directory,
        parameters: &[text("component")],
        summary: "A component, `type=value` or a bare value, with a backslash before `, = + < > # ; \\ \"` and before blanks \
                  at the ends of the value. What stands before the first `=` must be an attribute type.",
        examples: &[
            ("EscapeDNComponent(\"cn=Doe, John\")", "\"cn=Doe\\\\, John\""),
            ("EscapeDNComponent(\"Doe, John\")", "\"Doe\\\\, John\""),
            ("EscapeDNComponent(\"c,n=John\")", "error: is no attribute type"),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| dn::escape_component(&args.text(0)).map(Cell::from).map_err(Fault::value)),
    },
];

fn component<'a>(mut args: Args<'_, 'a>, from_the_right: bool) -> Result<Cell<'a>, Fault> {
    let (name, number, without_dc) = (args.text(0), args.number(1).unwrap_or(0), !args.is_null(2));
    let mut components =
        dn::components(&name).map_err(|reason| Fault::value(format!("no distinguished name: {reason}")))?;
    if without_dc {
        components.retain(|rdn| !rdn.attribute.eq_ignore_ascii_case("dc"));
    }
    if from_the_right {
        components.reverse();
    }
    let found = usize::try_from(number).ok().and_then(|number| components.get(number.checked_sub(1)?));
    found.map(|rdn: &Rdn<'_>| Cell::Value(Value::from(rdn.value().into_owned()))).ok_or_else(|| {
        Fault::value(format!("component {number} is out of bounds: the name has {} components", components.len()))
    })
}
