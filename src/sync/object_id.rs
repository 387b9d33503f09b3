//! The engine's own ids of objects of connector spaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An object of a connector space. 64 bits, given by the engine, never shown outside as an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(pub i64);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
