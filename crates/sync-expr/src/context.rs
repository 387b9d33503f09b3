//! What an evaluation asks of its surroundings.

use chrono::{DateTime, Utc};

use crate::value::{Value, Values};

/// The object an expression is evaluated on, and what surrounds it.
///
/// Attributes are asked for by their index in [`Expression::attributes`](crate::Expression::attributes), so that names
/// can be looked up once, and by name. Whether case tells attribute names apart is the context's decision.
pub trait Context {
    /// What the attribute holds, exports that are not confirmed yet included.
    fn attribute(&self, index: usize, name: &str) -> Values<'_>;

    /// What the last import showed of the attribute.
    fn imported(&self, index: usize, name: &str) -> Values<'_>;

    /// How many values the attribute has; overridden where counting is cheaper than reading.
    fn count(&self, index: usize, name: &str) -> usize {
        self.attribute(index, name).len()
    }

    /// The value of a `%parameter%`; `None` when there is none of that name.
    fn parameter(&self, name: &str) -> Option<Value<'_>>;

    /// The time that `Now` tells: the same for a whole run, so that a repeated run finds nothing.
    fn now(&self) -> DateTime<Utc>;

    /// 64 random bits, for `Guid` and `RandomNum`.
    fn random(&self) -> u64;
}
