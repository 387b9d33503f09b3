//! Printing: for people by default, JSON with `--json`.

use serde::Serialize;

pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    #[cfg(feature = "gateway")]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or what `people` makes of it.
    pub fn show<T: Serialize>(&self, value: &T, people: impl FnOnce(&T) -> String) {
        if self.json {
            match serde_json::to_string_pretty(value) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("error: the answer cannot be written as JSON: {error}"),
            }
        } else {
            println!("{}", people(value).trim_end());
        }
    }

    /// A line of progress, on standard error so that output stays clean in a pipe.
    pub fn note(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    pub fn failure(&self, error: &anyhow::Error) {
        if self.json {
            let value =
                told_by_gateway(error).unwrap_or_else(|| serde_json::json!({ "message": format!("{error:#}") }));
            eprintln!("{}", serde_json::json!({ "error": value }));
        } else {
            eprintln!("error: {error:#}");
        }
    }
}

/// The error as an operation of the gateway, or a rule, gave it.
#[cfg(feature = "gateway")]
fn told_by_gateway(error: &anyhow::Error) -> Option<serde_json::Value> {
    if let Some(fault) = error.downcast_ref::<super::rules::ExpressionFault>() {
        return Some(fault.json());
    }
    match error.downcast_ref()? {
        super::ClientError::Operation(operation) => serde_json::to_value(operation).ok(),
        _ => None,
    }
}

/// An agent asks no gateway's operations.
#[cfg(not(feature = "gateway"))]
fn told_by_gateway(_: &anyhow::Error) -> Option<serde_json::Value> {
    None
}

/// A table with a header row, without lines around it.
#[cfg(feature = "gateway")]
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
