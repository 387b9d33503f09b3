//! Attribute flows: how a rule makes one value of its target.

use crate::identity::SourceAnchor;
use crate::identity::source_anchor::SourceAnchorError;
use crate::sync::attribute::{Attribute, Attributes, Value, single};
use crate::sync::connector::DisabledTest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub target: Attribute,
    pub kind: FlowKind,
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    #[error("`{attribute}` has {count} values where one is expected")]
    SeveralValues { attribute: Attribute, count: usize },
    #[error("`{attribute}` is no source anchor: {source}")]
    Anchor { attribute: Attribute, source: SourceAnchorError },
}

impl Flow {
    /// What the flow contributes; nothing when its source is absent.
    pub fn evaluate(&self, source: &Attributes, disabled: &[DisabledTest]) -> Result<Vec<Value>, FlowError> {
        match &self.kind {
            FlowKind::Direct { source: name, take } => {
                let mut values = source.get(name).cloned().unwrap_or_default();
                match take {
                    Take::Single if values.len() > 1 => {
                        return Err(FlowError::SeveralValues { attribute: name.clone(), count: values.len() });
                    }
                    Take::First => values.truncate(1),
                    Take::All | Take::Single => {}
                }
                Ok(values)
            }
            FlowKind::Constant { value } => Ok(vec![Value::text(value.clone())]),
            FlowKind::AccountEnabled => Ok(vec![Value::boolean(!disabled.iter().any(|test| test.holds(source)))]),
            FlowKind::SourceAnchor { source: name, encoding } => match anchor(source, name, *encoding)? {
                Some(anchor) => Ok(vec![Value::text(anchor.as_str())]),
                None => Ok(Vec::new()),
            },
            FlowKind::Reference { .. } => Ok(Vec::new()),
        }
    }
}

fn anchor(source: &Attributes, name: &Attribute, encoding: AnchorEncoding) -> Result<Option<SourceAnchor>, FlowError> {
    let Some(values) = source.get(name).filter(|values| !values.is_empty()) else { return Ok(None) };
    let Some(value) = single(source, name) else {
        return Err(FlowError::SeveralValues { attribute: name.clone(), count: values.len() });
    };
    let refuse = |source| FlowError::Anchor { attribute: name.clone(), source };
    match encoding {
        AnchorEncoding::Text => SourceAnchor::from_text(value.as_text()).map(Some).map_err(refuse),
        AnchorEncoding::Binary => match value.bytes() {
            Some(bytes) => SourceAnchor::from_binary(&bytes).map(Some).map_err(refuse),
            None => Err(refuse(SourceAnchorError::Empty)),
        },
    }
}
