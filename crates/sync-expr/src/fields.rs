//! A context made of maps: for tests, previews and other single evaluations.

use std::cell::Cell;
use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::value::{Value, Values};

/// Attributes by exact name. Until [`imported`](Self::set_imported) values are given, the last import showed the same.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    attributes: HashMap<String, Values<'static>>,
    imported: Option<HashMap<String, Values<'static>>>,
    parameters: HashMap<String, Value<'static>>,
    now: DateTime<Utc>,
    random: Cell<u64>,
}

impl Fields {
    pub fn set(&mut self, name: impl Into<String>, value: Value<'_>) {
        self.set_values(name, Values::One(value.into_owned()));
    }

    pub fn set_many<'v>(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = Value<'v>>) {
        self.set_values(name, Values::Many(values.into_iter().map(Value::into_owned).collect()));
    }

    pub fn set_values(&mut self, name: impl Into<String>, values: Values<'static>) {
        self.attributes.insert(name.into(), values);
    }

    /// What the last import showed, of all attributes.
    pub fn set_imported(&mut self, attributes: HashMap<String, Values<'static>>) {
        self.imported = Some(attributes);
    }

    pub fn set_parameter(&mut self, name: impl Into<String>, value: Value<'_>) {
        self.parameters.insert(name.into(), value.into_owned());
    }

    pub fn set_now(&mut self, now: DateTime<Utc>) {
        self.now = now;
    }

    /// The start of the sequence that `Guid` and `RandomNum` draw from.
    pub fn set_seed(&mut self, seed: u64) {
        self.random.set(seed);
    }
}

impl Context for Fields {
    fn attribute(&self, _: usize, name: &str) -> Values<'_> {
        self.attributes.get(name).map(Values::borrow).unwrap_or_default()
    }

    fn imported(&self, _: usize, name: &str) -> Values<'_> {
        let fields = self.imported.as_ref().unwrap_or(&self.attributes);
        fields.get(name).map(Values::borrow).unwrap_or_default()
    }

    fn parameter(&self, name: &str) -> Option<Value<'_>> {
        self.parameters.get(name).map(Value::borrow)
    }

    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
