//! `[[connectors]]` with `kind = "scim"`: a service that takes users and groups by SCIM 2.0 (RFC 7643, RFC 7644).

use std::path::PathBuf;
use std::time::Duration;

use crate::identity::{ConnectorName, PlainPassword};

use super::reader::Table;
use super::secret::secret;
use super::words::setting_words;

#[derive(Clone, Debug)]
pub struct ScimTargetSettings {
    pub name: ConnectorName,
    /// The base of the service, below which `/Users` and `/Groups` are.
    pub url: url::Url,
    pub token: PlainPassword,
    /// PEM file of the certification authorities; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Resources asked for at a time.
    pub page_size: u32,
    /// How long one request may take.
    pub deadline: Duration,
    /// How long an export waits at most because the service asked it to slow down.
    pub longest_wait: Duration,
    /// What becomes of accounts that others made, when who adopted them leaves.
    pub adopted: AdoptedObjects,
}

setting_words! {
    /// What becomes of an object of a target that others made and that rules adopted, once nobody wants it any more.
    AdoptedObjects {
        Keep = "keep",
        Delete = "delete",
    }
    "keep, delete"
}

/// The `adopted` of a target.
pub(super) fn adopted(table: &Table<'_>) -> AdoptedObjects {
    table.parsed("adopted", "write keep or delete").unwrap_or(AdoptedObjects::Keep)
}

impl ScimTargetSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        table.has("kind");
        let second = Duration::from_secs(1);
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let url: Option<url::Url> = table.required("url", "write https://HOST/PATH");
        if let Some(url) = &url
            && (url.scheme() != "https" || url.cannot_be_a_base() || url.query().is_some() || url.fragment().is_some())
        {
            table.complain("url", "it is no https address without query and fragment", "write https://HOST/PATH");
        }
        let token = secret(&table, "token_file", "token_env");
        let ca_file = ca_file(&table);
        let settings = Self {
            name: name?,
            url: url?,
            token: token?,
            ca_file,
            page_size: table.number("page_size", 1..=10_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(100),
            deadline: table.duration("deadline", second..=600 * second).unwrap_or(30 * second),
            longest_wait: table.duration("longest_wait", Duration::ZERO..=600 * second).unwrap_or(60 * second),
            adopted: adopted(&table),
        };
        table.finish();
        Some(settings)
    }
}

/// The `ca_file` of a connector, which has to be there.
pub(super) fn ca_file(table: &Table<'_>) -> Option<PathBuf> {
    let file = table.path("ca_file")?;
    if !file.is_file() {
        let what = format!("there is no file {}", file.display());
        table.complain("ca_file", what, "give the PEM file of the service's certification authority");
    }
    Some(file)
}
