//! Keys, elements and processes as numbers.

use rustc_hash::FxHashMap;
use serde_json::Value;

/// No transaction, no event, no micro-operation.
pub(crate) const NONE: u32 = u32::MAX;

/// Values by number, in order of their first appearance.
#[derive(Default)]
pub(crate) struct Interner {
    integers: FxHashMap<i64, u32>,
    others: FxHashMap<Value, u32>,
    values: Vec<Value>,
}

impl Interner {
    /// The number of a value, which may be new.
    pub(crate) fn number(&mut self, value: &Value) -> u32 {
        let next = self.values.len() as u32;
        let number = match value.as_i64() {
            Some(integer) => *self.integers.entry(integer).or_insert(next),
            None => match self.others.get(value) {
                Some(number) => *number,
                None => *self.others.entry(value.clone()).or_insert(next),
            },
        };
        if number == next {
            self.values.push(value.clone());
        }
        number
    }

    fn find(&self, value: &Value) -> Option<u32> {
        match value.as_i64() {
            Some(integer) => self.integers.get(&integer).copied(),
            None => self.others.get(value).copied(),
        }
    }

    pub(crate) fn value(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Codes from here on are of elements that are no small numbers.
const INTERNED: u32 = 1 << 31;

/// Elements as codes: a small whole number is its own code, all else is looked up.
#[derive(Default)]
pub(crate) struct Elements {
    interned: Interner,
}

impl Elements {
    pub(crate) fn code(&mut self, value: &Value) -> u32 {
        match value.as_u64() {
            Some(small) if small < u64::from(INTERNED) => small as u32,
            _ => INTERNED | self.interned.number(value),
        }
    }

    /// The code of a value that is known.
    pub(crate) fn find(&self, value: &Value) -> Option<u32> {
        match value.as_u64() {
            Some(small) if small < u64::from(INTERNED) => Some(small as u32),
            _ => Some(INTERNED | self.interned.find(value)?),
        }
    }

    pub(crate) fn value(&self, code: u32) -> Value {
        match code & INTERNED {
            0 => Value::from(code),
            _ => self.interned.value(code & !INTERNED).clone(),
        }
    }

    pub(crate) fn list(&self, codes: &[u32]) -> Value {
        codes.iter().map(|code| self.value(*code)).collect()
    }

    /// How many elements are looked up.
    pub(crate) fn len(&self) -> usize {
        self.interned.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn codes_stand_for_values_and_for_no_others() {
        let mut elements = Elements::default();
        let values = [
            json!(0),
            json!(7),
            json!(-7),
            json!("7"),
            json!(7.5),
            json!(2_147_483_648_u64),
            json!(u64::MAX),
            json!(null),
            json!([7]),
        ];
        let codes: Vec<u32> = values.iter().map(|value| elements.code(value)).collect();
        for (at, value) in values.iter().enumerate() {
            assert_eq!(elements.code(value), codes[at]);
            assert_eq!(elements.value(codes[at]), *value);
            assert!(!codes[..at].contains(&codes[at]), "{value}");
        }
        assert_eq!(elements.len(), 7);
    }
}
