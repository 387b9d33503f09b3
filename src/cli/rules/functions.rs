//! `landbridge rules functions`: the reference page, from the table of the language itself.

use serde_json::json;
use sync_expr::{Function, functions};

use crate::cli::Output;

pub(super) fn run(output: &Output) {
    let all: Vec<_> = functions()
        .map(|function| {
            let examples =
                function.examples.iter().map(|(text, result)| json!({ "expression": text, "result": result }));
            json!({
                "name": function.name,
                "group": function.group.title(),
                "signature": function.signature(),
                "description": function.summary,
                "apply_once_only": function.is_random(),
                "examples": examples.collect::<Vec<_>>(),
            })
        })
        .collect();
    output.show(&all, |_| page());
}

/// Markdown.
fn page() -> String {
    let mut page = String::from(
        "# Functions of expressions\n\n\
         Printed by `landbridge rules functions` from the table that the language itself works with; every example is run by a \
         test. How expressions are written is told in [sync rules](sync-rules.md).\n\n\
         Types: `str` text, `num` whole number of 64 bits, `bool`, `bin` binary, `ref` reference, `date` (only inside expressions), \
         `exp` condition (a boolean, or a number that is not zero), `var` anything, `enum` a bare word, `mv` an attribute that may \
         have several values, `quoted` the name of an attribute in quotes. What stands in `[ ]` may be left out. Places count from 1. \
         Unless said otherwise, a null argument makes the result null, and of several values each is taken.\n",
    );
    let mut group = None;
    for function in functions() {
        if group != Some(function.group) {
            page.push_str(&format!("\n## {}\n", function.group.title()));
            group = Some(function.group);
        }
        page.push_str(&entry(function));
    }
    page
}

fn entry(function: &Function) -> String {
    let mut entry = format!("\n### {}\n\n`{}`\n\n{}\n", function.name, function.signature(), function.summary);
    let words: Vec<String> = function
        .parameters
        .iter()
        .filter_map(|p| {
            p.words().map(|words| {
                format!(
                    "`{}` is {}",
                    p.name,
                    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
                )
            })
        })
        .collect();
    if !words.is_empty() {
        entry.push_str(&format!("\n{}.\n", words.join("; ")));
    }
    if !function.examples.is_empty() {
        let width = function.examples.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
        entry.push_str("\n```\n");
        for (text, result) in function.examples {
            let result = if result.starts_with("error: ") { "error" } else { result };
            entry.push_str(&format!("{text:width$}  ->  {result}\n"));
        }
        entry.push_str("```\n");
    }
    entry
}
