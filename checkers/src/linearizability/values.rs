//! Values of a history as numbers.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use serde_json::Value;

/// The values of a history, each with a number of its own, so that models compare and hash numbers.
#[derive(Debug)]
pub struct Values {
    values: IndexSet<Value, FxBuildHasher>,
}

impl Default for Values {
    /// Nothing but `null`.
    fn default() -> Values {
        let mut values = Values {
            values: IndexSet::default(),
        };
        values.number(&Value::Null);
        values
    }
}

impl Values {
    /// The number of `null`.
    pub const NULL: u32 = 0;

    /// The number of a value: the same for equal values, another for others.
    pub fn number(&mut self, value: &Value) -> u32 {
        let known = self.values.get_index_of(value);
        let number = known.unwrap_or_else(|| self.values.insert_full(value.clone()).0);
        number as u32
    }

    /// The value of a number that [`Values::number`] gave out.
    pub fn value(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }
}
