//! What rules read: an object of a connector space, or of the metaverse.

use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::DisabledTest;
use crate::sync::metaverse::MvObject;

/// The object that a rule reads.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Of a connector space.
    Space {
        attributes: &'a Attributes,
        /// Without what was exported and is not confirmed: what `ImportedValue` tells.
        imported: &'a Attributes,
        rdn: &'a str,
        disabled: &'a [DisabledTest],
    },
    Metaverse(&'a MvObject),
}

impl<'a> Source<'a> {
    pub fn values(&self, name: &Attribute) -> &'a [Value] {
        match self {
            Self::Space { attributes, .. } => attributes.get(name).map_or(&[], Vec::as_slice),
            Self::Metaverse(object) => object.values(name),
        }
    }

    /// What the last import showed of an attribute.
    pub fn imported(&self, name: &Attribute) -> &'a [Value] {
        match self {
            Self::Space { imported, .. } => imported.get(name).map_or(&[], Vec::as_slice),
            Self::Metaverse(object) => object.values(name),
        }
    }

    /// The relative name of an object of a space.
    pub fn rdn(&self) -> Option<&'a str> {
        match self {
            Self::Space { rdn, .. } => Some(rdn),
            Self::Metaverse(_) => None,
        }
    }

    /// Whether the connector's tests find the account enabled.
    pub fn is_enabled(&self) -> bool {
        match self {
            Self::Space { attributes, disabled, .. } => !disabled.iter().any(|test| test.holds(attributes)),
            // The file's validation leaves such flows to inbound rules.
            Self::Metaverse(_) => false,
        }
    }
}
