//! Values of a history as numbers.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use serde_json::Value;

/// The values of a history, each with a number of its own, so that models compare and hash numbers.
#[derive(Debug)]
pub struct Values {
    values: IndexSet<Value, FxBuildHasher>,
    /// The numbers of the first whole numbers, which most values are; 0 where one was not met yet, for that is `null`'s.
    whole: Vec<u32>,
}

/// Whole numbers are looked up directly while they are not this many times more than there are values.
const SPARSE: usize = 4;

impl Default for Values {
    /// Nothing but `null`.
    fn default() -> Values {
        let mut values = IndexSet::default();
        values.insert(Value::Null);
        Values {
            values,
            whole: Vec::new(),
        }
    }
}

impl Values {
    /// The number of `null`.
    pub const NULL: u32 = 0;

    /// The number of a value: the same for equal values, another for others.
    pub fn number(&mut self, value: &Value) -> u32 {
        match value {
            Value::Null => Values::NULL,
            Value::Number(number) => match number.as_u64() {
                Some(whole) => self.number_of(whole, value),
                None => self.look_up(value),
            },
            _ => self.look_up(value),
        }
    }

    fn number_of(&mut self, whole: u64, value: &Value) -> u32 {
        let at = usize::try_from(whole).unwrap_or(usize::MAX);
        if let Some(known) = self.whole.get(at).filter(|known| **known != Values::NULL) {
            return *known;
        }
        let number = self.look_up(value);
        if at >= self.whole.len() && at < SPARSE * (self.values.len() + 64) {
            self.whole.resize(at + 1, Values::NULL);
        }
        if let Some(slot) = self.whole.get_mut(at) {
            *slot = number;
        }
        number
    }

    fn look_up(&mut self, value: &Value) -> u32 {
        let known = self.values.get_index_of(value);
        let number = known.unwrap_or_else(|| self.values.insert_full(value.clone()).0);
        number as u32
    }

    /// The value of a number that [`Values::number`] gave out.
    pub fn value(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_one_number_and_others_another() {
        let mut values = Values::default();
        let some = [
            json!(null),
            json!(0),
            json!(1),
            json!(1.0),
            json!(-1),
            json!("1"),
            json!([1]),
            json!(70),
            json!(100_000),
            json!(u64::MAX),
            json!(false),
            json!(2),
            json!(100_001),
        ];
        let numbers: Vec<u32> = some.iter().map(|value| values.number(value)).collect();
        assert_eq!(numbers, (0..some.len() as u32).collect::<Vec<_>>());
        for (value, number) in some.iter().zip(numbers) {
            assert_eq!(values.number(value), number);
            assert_eq!(values.value(number), value);
        }
    }
}
