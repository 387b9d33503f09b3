//! What was found.

use serde::Serialize;

use crate::identity::ConnectorName;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    Connection,
    Clock,
    Import,
    /// What the server knows of what is named.
    Schema,
    Hashes,
    Writeback,
    /// More than is needed.
    Privileges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Good,
    /// It works; better were otherwise.
    Warning,
    /// What is configured does not work.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: Area,
    pub standing: Standing,
    pub text: String,
    /// What an operator can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Commands that do it, for an administrator of the domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Finding {
    fn new(area: Area, standing: Standing, text: impl Into<String>) -> Self {
        Self { area, standing, text: text.into(), remedy: None, commands: Vec::new() }
    }

    pub fn good(area: Area, text: impl Into<String>) -> Self {
        Self::new(area, Standing::Good, text)
    }

    pub fn warning(area: Area, text: impl Into<String>) -> Self {
        Self::new(area, Standing::Warning, text)
    }

    pub fn missing(area: Area, text: impl Into<String>) -> Self {
        Self::new(area, Standing::Missing, text)
    }

    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn by(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }
}

/// What was found of one connector.
#[derive(Debug, Serialize)]
pub struct Report {
    pub connector: ConnectorName,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether everything that is configured works.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.standing != Standing::Missing)
    }
}
