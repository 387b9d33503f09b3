//! The messages of the connector API; how they go together is told one level up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::{AgentId, ConnectorName, DomainName};
use crate::sync::connector::{Capabilities, ExportChange, ExportResult, ImportPage, ImportedObject, ReadBack};

/// The version that this release speaks.
pub const VERSION: u32 = 1;

/// Largest body of a request, in bytes. A change of one object is far below it: attributes of an object are at most 64 KiB.
pub const LARGEST_REQUEST: usize = 16 * 1024 * 1024;
/// Largest answer, or line of an import, in bytes. An object takes about as much as it has attributes, at most some
/// 100 KiB, and a line holds [`OBJECTS_PER_LINE`] at most.
pub const LARGEST_LINE: usize = 32 * 1024 * 1024;
/// Objects in a line of an import.
pub const OBJECTS_PER_LINE: usize = 100;
/// Changes of one export, questions of one `read-back`.
pub const LARGEST_BATCH: usize = 500;

/// Where each request goes.
pub mod path {
    pub const ROOT: &str = "/connector/";
    pub const HELLO: &str = "/connector/v1/hello";
    pub const TAKE_LEASE: &str = "/connector/v1/lease/take";
    pub const RENEW_LEASE: &str = "/connector/v1/lease/renew";
    pub const RELEASE_LEASE: &str = "/connector/v1/lease/release";
    pub const IMPORT: &str = "/connector/v1/import";
    pub const EXPORT: &str = "/connector/v1/export";
    pub const READ_BACK: &str = "/connector/v1/read-back";
}

/// What a server says of itself when it starts, and each minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name of its machine, for operators.
    pub host: String,
    pub software: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Who the certificate says the server is.
    pub server: AgentId,
    /// What it may bring, with the domains that each may speak for.
    pub connectors: BTreeMap<ConnectorName, Vec<DomainName>>,
    /// What the tenant directory can do.
    pub tenant: Capabilities,
    /// Where the gateway's nodes are reached.
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenLease {
    pub epoch: i64,
    /// How long it holds without renewal, in milliseconds.
    pub length_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfEpoch {
    pub epoch: i64,
}

/// An answer that says no more than that it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    pub epoch: i64,
    pub changes: Vec<ExportChange>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exported {
    pub results: Vec<ExportResult>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Questions {
    pub objects: Vec<ReadBack>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answers {
    pub objects: Vec<Option<ImportedObject>>,
}

/// A line of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportLine {
    Page(Box<ImportPage>),
    /// The directory was read to its end.
    End(bool),
    /// The read was aborted.
    Fault(Fault),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub error: FaultCode,
    /// For the operator.
    pub reason: String,
    /// With `unsupported-version`: what is spoken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<u32>,
}

/// What stays the same for the same fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The body is not what the path asks for.
    Malformed,
    /// Body or batch are larger than the limits.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// No certificate, or one that is unknown, revoked, ended, superseded or for another purpose.
    NotAdmitted,
    UnsupportedVersion,
    /// There is no such path.
    UnknownPath,
    /// Another server has the lease.
    LeaseHeld,
    /// The epoch is not that of a lease which this server holds now. Nothing was written.
    LeaseLost,
    /// The watermark does not fit any more: read everything.
    StaleWatermark,
    /// The tenant directory cannot do that.
    Unsupported,
    /// The request is understood, and refused as a whole.
    Refused,
    /// The gateway cannot do it now. What became of an export is not known.
    Unavailable,
}

impl FaultCode {
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::NotAdmitted,
        Self::UnsupportedVersion,
        Self::UnknownPath,
        Self::LeaseHeld,
        Self::LeaseLost,
        Self::StaleWatermark,
        Self::Unsupported,
        Self::Refused,
        Self::Unavailable,
    ];
}

impl Fault {
    pub fn new(error: FaultCode, reason: impl Into<String>) -> Self {
        Self { error, reason: reason.into(), versions: Vec::new() }
    }

    /// The status that goes with it (RFC 9110).
    pub const fn status(&self) -> u16 {
        match self.error {
            FaultCode::Malformed => 400,
            FaultCode::NotAdmitted => 403,
            FaultCode::UnsupportedVersion | FaultCode::UnknownPath => 404,
            FaultCode::TooSlow => 408,
            FaultCode::LeaseHeld | FaultCode::LeaseLost => 409,
            FaultCode::StaleWatermark => 410,
            FaultCode::TooLarge => 413,
            FaultCode::Refused => 422,
            FaultCode::Unsupported => 501,
            FaultCode::Unavailable => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_came_later_are_passed_over_and_words_stay() {
        let text = r#"{"error": "lease-lost", "reason": "gone", "hint": {"a": 1}}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault, Fault::new(FaultCode::LeaseLost, "gone"));
        let page = r#"{"page": {"objects": [], "deleted": ["x"], "left": {}, "left_below": [], "present": [],
            "enumerated": [], "links": [], "watermark": null, "bases": [], "refused": [], "later": 7}}"#;
        let line: ImportLine = serde_json::from_str(page).expect("a page");
        assert!(matches!(line, ImportLine::Page(page) if page.deleted == ["x"]));
        assert!(matches!(serde_json::from_str(r#"{"end": true}"#), Ok(ImportLine::End(true))));
        assert_eq!(serde_json::to_string(&ImportLine::End(true)).expect("json"), r#"{"end":true}"#);
    }

    #[test]
    fn a_change_goes_as_a_third_party_would_write_it() {
        let text = r#"{"epoch": 4, "changes": [{"object": 1, "object_type": "user", "identity": {},
            "operation": {"Add": {"attributes": {"sourceAnchor": ["a1"], "photo": [{"base64": "AQI="}]}}}}]}"#;
        let export: Export = serde_json::from_str(text).expect("an export");
        assert_eq!((export.epoch, export.changes.len()), (4, 1));
    }

    /// Every body on the page of the protocol, as whoever writes a client copies it.
    #[test]
    fn what_the_page_of_the_protocol_shows_is_understood() {
        const PAGE: &str = include_str!("../../docs/connector-api.md");
        fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<(), serde_json::Error> {
            serde_json::from_str::<T>(text).map(drop)
        }
        let mut seen = 0;
        for block in PAGE.split("```json ").skip(1) {
            let (name, rest) = block.split_once('\n').expect("a name");
            let (text, _) = rest.split_once("```").expect("an end");
            let understood = match name {
                "Hello" => read::<Hello>(text),
                "Welcome" => read::<Welcome>(text),
                "TakenLease" => read::<TakenLease>(text),
                "OfEpoch" => read::<OfEpoch>(text),
                "Export" => read::<Export>(text),
                "Exported" => read::<Exported>(text),
                "Questions" => read::<Questions>(text),
                "Answers" => read::<Answers>(text),
                "ImportRequest" => read::<crate::sync::connector::ImportRequest>(text),
                "ImportLine" => read::<ImportLine>(text),
                "Fault" => read::<Fault>(text),
                other => panic!("the page names no message {other}"),
            };
            understood.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            seen += 1;
        }
        assert_eq!(seen, 14);
    }

    #[test]
    fn the_page_of_the_protocol_lists_each_fault_with_its_status() {
        const PAGE: &str = include_str!("../../docs/connector-api.md");
        for error in FaultCode::ALL {
            let word = serde_json::to_value(error).expect("a word");
            let word = format!("`{}`", word.as_str().expect("a text"));
            let row = PAGE.lines().find(|line| line.starts_with('|') && line.contains(&word));
            let row = row.unwrap_or_else(|| panic!("{word} is not on the page"));
            assert!(row.contains(&Fault::new(error, "").status().to_string()), "{row}");
        }
    }
}
