//! Rule files: TOML to tables. What the tables mean is checked in `check`.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::check;
use super::flow::Merge;
use super::place::RuleFileError;
use super::scope::Operator;
use super::set::{Direction, LinkType, RuleSet};
use super::syntax::Syntax;
use crate::sync::attribute::Attribute;

/// One rule file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSource {
    /// Path below the rules folder.
    pub file: String,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Names of rules of any file that do not apply.
    #[serde(default)]
    pub disable: Vec<Spanned<String>>,
    /// Parameters of all rules.
    #[serde(default)]
    pub parameters: std::collections::BTreeMap<String, Spanned<String>>,
    /// Types of attributes that are not text.
    #[serde(default)]
    pub types: std::collections::BTreeMap<String, Syntax>,
    #[serde(default)]
    pub rule: Vec<Spanned<RuleTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTable {
    pub name: Spanned<String>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub disabled: bool,
    pub direction: Direction,
    /// One connector by name ...
    pub connector: Option<Spanned<String>>,
    /// ... or all of a kind.
    pub connector_kind: Option<Spanned<String>>,
    pub space_type: SpaceTypes,
    pub metaverse_type: Spanned<String>,
    pub link: LinkType,
    pub precedence: Spanned<u32>,
    pub enable_password_sync: Option<Spanned<bool>>,
    #[serde(default)]
    pub scope: Vec<Vec<Spanned<ClauseTable>>>,
    #[serde(default)]
    pub join: Vec<Spanned<Vec<ClauseOfJoin>>>,
    #[serde(default)]
    pub flow: Vec<Spanned<FlowTable>>,
}

/// One type of the space, or several that an inbound rule treats alike.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum SpaceTypes {
    One(String),
    Several(Vec<String>),
}

impl SpaceTypes {
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClauseTable {
    /// Not of operators that take a group.
    pub attribute: Option<Attribute>,
    pub operator: Operator,
    pub value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClauseOfJoin {
    pub space: Attribute,
    pub metaverse: Attribute,
    #[serde(default)]
    pub case_sensitive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowTable {
    pub target: Attribute,
    pub direct: Option<Attribute>,
    #[serde(default)]
    pub single: bool,
    #[serde(default)]
    pub first: bool,
    pub constant: Option<String>,
    pub expression: Option<Spanned<String>>,
    pub account_enabled: Option<bool>,
    pub source_anchor: Option<AnchorTable>,
    pub reference: Option<Attribute>,
    #[serde(default)]
    pub apply_once: bool,
    #[serde(default)]
    pub merge: Merge,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnchorTable {
    pub attribute: Attribute,
    pub encoding: EncodingWord,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncodingWord {
    Text,
    Binary,
}

/// Parses and validates all files as a whole. Every fault is reported, not only the first.
pub fn parse(sources: &[RuleSource]) -> Result<RuleSet, Vec<RuleFileError>> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        match toml::from_str::<File>(&source.text) {
            Ok(file) => files.push((source, file)),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                faults.push(source.fault(at, error.message()));
            }
        }
    }
    check::check(files, faults)
}
