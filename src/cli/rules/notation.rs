//! Attribute values as JSON: strings, whole numbers, booleans, `{"base64": ...}`, `{"ref": DN}`, arrays of these.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use sync_expr::{Value, Values};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The attributes of a file. Null and the empty array are absent attributes.
pub(super) fn read(path: &Path) -> anyhow::Result<HashMap<String, Values<'static>>> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{name} cannot be read"))?.len();
    anyhow::ensure!(size <= MAX_FILE, "{name} is larger than {MAX_FILE} bytes");
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
    let json: Json = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    let Json::Object(fields) = json else { bail!("{name}: a JSON object of attributes is expected") };
    let mut attributes = HashMap::new();
    for (attribute, json) in fields {
        let values = values(&json).with_context(|| format!("{name}: attribute `{attribute}`"))?;
        attributes.insert(attribute, values);
    }
    Ok(attributes)
}

fn values(json: &Json) -> anyhow::Result<Values<'static>> {
    Ok(match json {
        Json::Null => Values::Absent,
        Json::Array(items) if items.is_empty() => Values::Absent,
        Json::Array(items) => Values::Many(items.iter().map(value).collect::<Result<_, _>>()?),
        single => Values::One(value(single)?),
    })
}

fn value(json: &Json) -> anyhow::Result<Value<'static>> {
    match json {
        Json::String(text) => Ok(Value::from(text.clone())),
        Json::Bool(truth) => Ok(Value::from(*truth)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Ok(Value::from(number)),
            None => bail!("{number} is no whole number of 64 bits"),
        },
        Json::Object(fields) => match fields.iter().collect::<Vec<_>>().as_slice() {
            [(key, Json::String(text))] if *key == "base64" => {
                let bytes = STANDARD.decode(text).with_context(|| format!("`{text}` is no base64"))?;
                Ok(Value::Binary(bytes.into()))
            }
            [(key, Json::String(dn))] if *key == "ref" => {
                anyhow::ensure!(sync_expr::is_distinguished_name(dn), "`{dn}` is no distinguished name (RFC 4514)");
                Ok(Value::Reference(dn.clone().into()))
            }
            _ => bail!("{json} is neither {{\"base64\": text}} nor {{\"ref\": DN}}"),
        },
        Json::Null => bail!("null cannot be one of several values"),
        Json::Array(_) => bail!("an array cannot stand in an array"),
    }
}

pub(super) fn of_values(values: &Values<'_>) -> Json {
    match values {
        Values::Absent => Json::Null,
        Values::One(value) => of_value(value),
        Values::Many(values) => values.iter().map(of_value).collect(),
    }
}

pub(super) fn of_value(value: &Value<'_>) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(truth) => json!(truth),
        Value::Binary(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
        Value::Reference(dn) => json!({ "ref": dn }),
        // No result holds one: the language refuses it.
        Value::Date(date) => json!(date.to_rfc3339()),
    }
}
