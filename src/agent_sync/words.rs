//! What gateway and agent say to each other in an exchange: JSON, one word per message.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Carried, DirectoryScope};
use crate::identity::{ConnectorName, shown};
use crate::sync::connector::{
    ConnectorError, ExportChange, ExportResult, ImportPage, ImportRequest, ImportedObject, ReadBack, SingleRead,
    SingleRequest, Sought,
};

/// Objects in a word of an import.
pub const OBJECTS_PER_WORD: usize = 100;
/// An agent that has nothing to tell says so, so that a directory may take longer for a read than an answer may.
pub const STILL_AT_IT: Duration = Duration::from_secs(30);
/// Between two assurances that a run still has its turn.
pub const TURN_TOLD: Duration = Duration::from_millis(500);
/// So long after it asked for the last one an agent writes no more. Far below the shortest lease.
pub const TURN_LASTS: Duration = Duration::from_secs(2);

/// From the gateway. All but the last begin an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Answered by [`Word::Begun`], pages, and [`Word::End`].
    Import { scope: DirectoryScope, request: ImportRequest },
    /// Answered by [`Word::One`].
    ImportOne { scope: DirectoryScope, sought: Sought, request: SingleRequest },
    /// Answered by [`Word::Objects`].
    ReadBack { scope: DirectoryScope, objects: Vec<ReadBack> },
    /// Answered by [`Word::Results`], after any number of [`Word::Turn`] where the gateway answers these.
    Export {
        scope: DirectoryScope,
        changes: Vec<ExportChange>,
        /// The agent asks for the run's turn. A gateway of the former release does not say so, and tells of it unasked.
        #[serde(default)]
        answers_turns: bool,
    },
    /// The run whose changes were sent still has its turn: for an agent of the former release, which does not ask.
    GoOn,
    /// The answer to the [`Word::Turn`] of this number: the run had its turn after that was asked.
    HasTurn(u64),
    /// Answered by [`Word::Begun`], sealed pages, and [`Word::Reached`].
    Accounts { scope: DirectoryScope, since: Option<String>, salting: Salting },
    /// Answered by one sealed page.
    AccountsOf { scope: DirectoryScope, anchors: Vec<String>, salting: Salting },
}

impl Question {
    /// What an agent must carry to be asked so.
    pub fn carried(&self) -> Carried {
        match self {
            Self::Import { .. } | Self::ImportOne { .. } | Self::ReadBack { .. } => Carried::Import,
            Self::Export { .. } | Self::GoOn | Self::HasTurn(_) => Carried::Export,
            Self::Accounts { .. } | Self::AccountsOf { .. } => Carried::Passwords,
        }
    }
}

/// How accounts leave an agent, in hexadecimal digits: the gateway's key for this one read, and the secret of the salts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salting {
    pub key: String,
    pub salts: String,
}

impl std::fmt::Debug for Salting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salting(..)")
    }
}

/// From the agent. A fault ends what it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Of a read in pages: it has begun, or goes on.
    Begun,
    Page(Box<ImportPage>),
    /// The directory was read to its end.
    End,
    One(Box<SingleRead>),
    Objects(Vec<Option<ImportedObject>>),
    Results(Vec<ExportResult>),
    /// While changes are written: whether the run still has its turn. Answered by [`Question::HasTurn`].
    Turn(u64),
    /// A sealed page of accounts, in hexadecimal digits.
    Accounts(String),
    /// All accounts were read; up to where, as the source tells it.
    Reached(Option<String>),
    Fault(Fault),
}

/// Characters of a reason, at most.
const LONGEST_REASON: usize = 500;

/// What an agent says for operators, fit for logs, run steps and consoles.
pub fn reason(text: &str) -> String {
    shown(text, LONGEST_REASON)
}

/// Why an agent did not do it: a [`ConnectorError`] on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// For the operator.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    Unreachable,
    Aborted,
    StaleWatermark,
    Settings,
    Refused,
    Unsupported,
}

impl Fault {
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// As the engine is told it; the agent that says so is on the machine `host`.
    pub fn into_error(self, connector: ConnectorName, host: &str) -> ConnectorError {
        let reason = format!("{} (told by the agent on {host})", reason(&self.reason));
        match self.kind {
            FaultKind::Unreachable => ConnectorError::Unreachable { connector, reason },
            FaultKind::Aborted => ConnectorError::Aborted { connector, reason },
            FaultKind::StaleWatermark => ConnectorError::StaleWatermark { connector, reason },
            FaultKind::Settings => ConnectorError::Settings { connector, reason },
            FaultKind::Refused => ConnectorError::Refused { connector, reason },
            FaultKind::Unsupported => {
                ConnectorError::Unsupported { connector, what: "what was asked of its directory by an agent" }
            }
        }
    }
}

impl From<ConnectorError> for Fault {
    fn from(error: ConnectorError) -> Self {
        match error {
            ConnectorError::Unreachable { reason, .. } => Self::new(FaultKind::Unreachable, reason),
            ConnectorError::Aborted { reason, .. } => Self::new(FaultKind::Aborted, reason),
            ConnectorError::StaleWatermark { reason, .. } => Self::new(FaultKind::StaleWatermark, reason),
            ConnectorError::Settings { reason, .. } => Self::new(FaultKind::Settings, reason),
            ConnectorError::Refused { reason, .. } => Self::new(FaultKind::Refused, reason),
            ConnectorError::Unsupported { what, .. } => Self::new(FaultKind::Unsupported, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::connector::{ImportMode, Watermark};

    #[test]
    fn what_went_wrong_arrives_as_what_it_was() {
        let connector: ConnectorName = "corp".parse().expect("a name");
        let reason = || "why".to_owned();
        let errors = [
            ConnectorError::Unreachable { connector: connector.clone(), reason: reason() },
            ConnectorError::Aborted { connector: connector.clone(), reason: reason() },
            ConnectorError::StaleWatermark { connector: connector.clone(), reason: reason() },
            ConnectorError::Settings { connector: connector.clone(), reason: reason() },
            ConnectorError::Refused { connector: connector.clone(), reason: reason() },
            ConnectorError::Unsupported { connector: connector.clone(), what: "why" },
        ];
        for error in errors {
            let told = Fault::from(error.clone()).into_error(connector.clone(), "dc1");
            assert_eq!(std::mem::discriminant(&told), std::mem::discriminant(&error), "{told}");
        }
    }

    #[test]
    fn what_an_agent_says_of_a_fault_is_cut_and_moves_no_cursor() {
        let connector: ConnectorName = "corp".parse().expect("a name");
        let reason = format!("down\u{1b}[2K\nall is well{}", "x".repeat(1_000_000));
        let told = Fault::new(FaultKind::Unreachable, reason).into_error(connector, "dc1").to_string();
        assert!(told.len() < 700 && !told.chars().any(char::is_control), "{told}");
        assert!(told.contains("down [2K all is wellxx") && told.ends_with("x (told by the agent on dc1)"), "{told}");
    }

    #[test]
    fn a_gateway_of_the_former_release_is_not_asked_for_turns_and_an_agent_of_it_understands_an_export() {
        let text = serde_json::to_value(Question::Export {
            scope: serde_json::from_value(scope()).expect("a scope"),
            changes: Vec::new(),
            answers_turns: true,
        });
        let mut text = text.expect("text");
        assert_eq!(text["export"]["answers_turns"], true);
        text["export"].as_object_mut().expect("fields").remove("answers_turns");
        let former: Question = serde_json::from_value(text).expect("a question of the former release");
        assert!(matches!(former, Question::Export { answers_turns: false, .. }), "{former:?}");
    }

    fn scope() -> serde_json::Value {
        serde_json::json!({
            "dialect": "openldap", "bases": ["dc=example"], "excluded": [], "user_filter": null, "group_filter": null,
            "classes": { "user": "person", "group": "group", "container": "organizationalUnit" },
            "anchor_attribute": "entryUUID", "attributes": [], "page_size": 10, "delta": "auto",
            "disabled": { "equals": { "attribute": "nsAccountLock", "value": "TRUE" } }, "export": null,
        })
    }

    #[test]
    fn words_stay_and_fields_that_came_later_are_passed_over() {
        let text = r#"{"fault": {"kind": "stale-watermark", "reason": "gone", "hint": 1}}"#;
        let word: Word = serde_json::from_str(text).expect("a word");
        let fault = Fault::new(FaultKind::StaleWatermark, "gone");
        assert!(matches!(word, Word::Fault(told) if told == fault));
        assert_eq!(serde_json::to_string(&Word::Begun).expect("text"), r#""begun""#);
        assert_eq!(serde_json::to_string(&Question::GoOn).expect("text"), r#""go-on""#);
        let since = Watermark { server: "s".into(), incarnation: String::new(), value: "7".into() };
        let text = serde_json::to_string(&ImportMode::Delta { since }).expect("text");
        assert_eq!(text, r#"{"Delta":{"since":{"server":"s","incarnation":"","value":"7"}}}"#);
    }
}
