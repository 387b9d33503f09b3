//! Attribute flows: how a rule makes one value of its target.

use std::fmt;

use serde::Deserialize;

use super::formula::{Formula, FormulaError, RunFacts, Surroundings, Yield};
use super::parameters::Parameters;
use super::source::Source;
use crate::identity::SourceAnchor;
use crate::identity::source_anchor::SourceAnchorError;
use crate::sync::attribute::{Attribute, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub target: Attribute,
    pub kind: FlowKind,
    /// Only when the target object is created, as for an initial password.
    pub apply_once: bool,
    pub merge: Merge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowKind {
    Direct {
        source: Attribute,
        take: Take,
    },
    Constant {
        value: String,
    },
    Expression(Formula),
    /// TRUE or FALSE by the connector's tests for a disabled account.
    AccountEnabled,
    /// The source anchor, held to the published rules.
    SourceAnchor {
        source: Attribute,
        encoding: AnchorEncoding,
    },
    /// Links: carried by the link passes, not with the object.
    Reference {
        source: Attribute,
    },
}

/// What a direct flow makes of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    All,
    /// More than one is an error of the object.
    Single,
    /// The first in sorted order: stable, whatever the order of the directory.
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorEncoding {
    Text,
    /// Base64 of the bytes, as for objectGUID.
    Binary,
}

/// How the values of several rules for one attribute come together (reference, section 2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The strongest rule with a value gives the whole attribute.
    #[default]
    #[serde(alias = "replace")]
    Update,
    /// All rules give their values; those of a target stay.
    Merge,
    /// The same, where values that differ in case are one.
    MergeCaseInsensitive,
}

impl Merge {
    /// Adds the values that are not among `held`.
    pub fn add(self, held: &mut Vec<Value>, values: impl IntoIterator<Item = Value>) {
        for value in values {
            let known = match self {
                Self::MergeCaseInsensitive => held.iter().any(|other| other.folded() == value.folded()),
                Self::Update | Self::Merge => held.contains(&value),
            };
            if !known {
                held.push(value);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    #[error("`{attribute}` has {count} values where one is expected")]
    SeveralValues { attribute: Attribute, count: usize },
    #[error("`{attribute}` is no source anchor: {source}")]
    Anchor { attribute: Attribute, source: SourceAnchorError },
    #[error("`{target}`: {source}")]
    Formula { target: Attribute, source: FormulaError },
    #[error("a value of `{target}` holds a NUL character, which no text may")]
    Nul { target: Attribute },
}

impl Flow {
    /// What the flow has to say of its target.
    pub fn evaluate(&self, source: Source<'_>, parameters: &Parameters, run: &RunFacts) -> Result<Yield, FlowError> {
        let yielded = self.say(source, parameters, run)?;
        match &yielded {
            Yield::Values(values) if values.iter().any(Value::has_nul) => {
                Err(FlowError::Nul { target: self.target.clone() })
            }
            _ => Ok(yielded),
        }
    }

    fn say(&self, source: Source<'_>, parameters: &Parameters, run: &RunFacts) -> Result<Yield, FlowError> {
        let values = match &self.kind {
            FlowKind::Direct { source: name, take } => {
                let values = source.values(name);
                match take {
                    Take::Single if values.len() > 1 => {
                        return Err(FlowError::SeveralValues { attribute: name.clone(), count: values.len() });
                    }
                    Take::First => values.iter().take(1).cloned().collect(),
                    Take::All | Take::Single => values.to_vec(),
                }
            }
            FlowKind::Constant { value } => vec![Value::text(value.clone())],
            FlowKind::Expression(formula) => {
                let surroundings = Surroundings { source, parameters, run };
                let refuse = |source| FlowError::Formula { target: self.target.clone(), source };
                return formula.evaluate(&surroundings).map_err(refuse);
            }
            FlowKind::AccountEnabled => vec![Value::boolean(source.is_enabled())],
            FlowKind::SourceAnchor { source: name, encoding } => {
                anchor(source.values(name), name, *encoding)?.into_iter().collect()
            }
            FlowKind::Reference { .. } => Vec::new(),
        };
        Ok(if values.is_empty() { Yield::Null } else { Yield::Values(values) })
    }

    /// The attributes it reads of its source, links left out.
    pub fn reads(&self) -> Vec<&Attribute> {
        match &self.kind {
            FlowKind::Direct { source, .. } | FlowKind::SourceAnchor { source, .. } => vec![source],
            FlowKind::Expression(formula) => formula.attributes().collect(),
            FlowKind::Constant { .. } | FlowKind::AccountEnabled | FlowKind::Reference { .. } => Vec::new(),
        }
    }
}

impl Flow {
    /// Whether what it says depends on the time. What is applied once stays as it was then.
    pub fn reads_clock(&self) -> bool {
        !self.apply_once && matches!(&self.kind, FlowKind::Expression(formula) if formula.reads_clock())
    }

    /// The reference attributes of which it reads how many values they have.
    pub fn counts(&self) -> &[Attribute] {
        match &self.kind {
            FlowKind::Expression(formula) => formula.counted(),
            FlowKind::Direct { .. }
            | FlowKind::SourceAnchor { .. }
            | FlowKind::Constant { .. }
            | FlowKind::AccountEnabled
            | FlowKind::Reference { .. } => &[],
        }
    }
}

/// What it is made of, in the words of rule files.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FlowKind::Direct { source, take } => {
                let how = match take {
                    Take::All => "",
                    Take::Single => ", single",
                    Take::First => ", first",
                };
                write!(f, "direct {source}{how}")?;
            }
            FlowKind::Constant { value } => write!(f, "constant \"{value}\"")?,
            FlowKind::Expression(formula) => write!(f, "expression {formula}")?,
            FlowKind::AccountEnabled => f.write_str("account_enabled")?,
            FlowKind::SourceAnchor { source, encoding } => {
                let encoding = match encoding {
                    AnchorEncoding::Text => "text",
                    AnchorEncoding::Binary => "binary",
                };
                write!(f, "source_anchor {source}, {encoding}")?;
            }
            FlowKind::Reference { source } => write!(f, "reference {source}")?,
        }
        if self.apply_once {
            f.write_str(", apply_once")?;
        }
        Ok(())
    }
}

fn anchor(values: &[Value], name: &Attribute, encoding: AnchorEncoding) -> Result<Option<Value>, FlowError> {
    let value = match values {
        [] => return Ok(None),
        [value] => value,
        several => return Err(FlowError::SeveralValues { attribute: name.clone(), count: several.len() }),
    };
    let refuse = |source| FlowError::Anchor { attribute: name.clone(), source };
    let anchor = match encoding {
        AnchorEncoding::Text => SourceAnchor::from_text(value.as_text()).map_err(refuse)?,
        AnchorEncoding::Binary => match value.bytes() {
            Some(bytes) => SourceAnchor::from_binary(&bytes).map_err(refuse)?,
            None => return Err(refuse(SourceAnchorError::Empty)),
        },
    };
    Ok(Some(Value::text(anchor.as_str())))
}
