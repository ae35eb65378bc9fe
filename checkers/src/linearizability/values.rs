//! Values of a history as numbers.

use rustc_hash::FxHashMap;
use serde_json::Value;

/// The values of a history, each with a number of its own, so that models compare and hash numbers.
#[derive(Debug)]
pub struct Values {
    numbers: FxHashMap<Value, u32>,
    values: Vec<Value>,
}

impl Default for Values {
    /// Nothing but `null`.
    fn default() -> Values {
        let mut values = Values {
            numbers: FxHashMap::default(),
            values: Vec::new(),
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
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.values.len() as u32;
        self.numbers.insert(value.clone(), number);
        self.values.push(value.clone());
        number
    }

    /// The value of a number that [`Values::number`] gave out.
    pub fn value(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }

    /// All values, by their numbers.
    pub(super) fn all(&self) -> &[Value] {
        &self.values
    }
}
