//! Program flow.

use super::{Body, Form, Function, Group, Special, each, one, parameter, text};
use crate::kinds::Kinds;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "IIF",
        group: Group::Flow,
        parameters: &[
            parameter("condition", Kinds::CONDITION, Form::Each),
            parameter("then", Kinds::ANY, Form::Each),
            parameter("else", Kinds::ANY, Form::Each),
        ],
        summary: "One of two values. Only the chosen one is evaluated. A condition over several values chooses for each of \
                  them, and values that come out null are left out.",
        examples: &[
            ("IIF(1 < 2, \"yes\", \"no\")", "\"yes\""),
            ("IIF(IsPresent([nothing]), Item([nothing], 1), NULL)", "null"),
            (
                "IIF(InStr([proxyAddresses], \"SIP:\") = 1, NULL, [proxyAddresses])",
                "[\"SMTP:ada@example.org\",\"smtp:ab@example.org\"]",
            ),
        ],
        returns: each(Kinds::ANY),
        body: Body::Special(Special::If),
    },
    Function {
        name: "Switch",
        group: Group::Flow,
        parameters: &[parameter("condition", Kinds::CONDITION, Form::Each), parameter("value", Kinds::ANY, Form::Each)],
        summary: "The value that follows the first condition that holds; null when none does. All conditions are evaluated, \
                  and of the values the chosen one. `True, Error(\"...\")` as last pair refuses everything else.",
        examples: &[
            ("Switch(1 = 2, \"a\", 1 = 1, \"b\")", "\"b\""),
            ("Switch(False, 1)", "null"),
            ("Switch(True)", "error: pairs of a condition and a value"),
        ],
        returns: each(Kinds::ANY),
        body: Body::Special(Special::Switch),
    },
    Function {
        name: "With",
        group: Group::Flow,
        parameters: &[
            parameter("$name", Kinds::NONE, Form::Variable),
            parameter("value", Kinds::ANY, Form::Whole),
            parameter("result", Kinds::ANY, Form::Each),
        ],
        summary: "An expression in which a variable stands for a value that is computed once.",
        examples: &[("With($upper, UCase(\"ada\"), $upper & $upper)", "\"ADAADA\"")],
        returns: each(Kinds::ANY),
        body: Body::Special(Special::With),
    },
    Function {
        name: "Error",
        group: Group::Flow,
        parameters: &[text("text")],
        summary: "Refuses the object with this text (`sync-rule-error-function-triggered`).",
        examples: &[
            ("IIF(True, Error(\"no account name\"), 1)", "error: no account name"),
            ("IIF(False, Error(\"x\"), 1)", "1"),
        ],
        returns: one(Kinds::NONE),
        body: Body::Special(Special::Raise),
    },
];
