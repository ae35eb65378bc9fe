//! Values of a history as numbers.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use serde_json::Value;

/// The values of a history, each with a number of its own, so that models compare and hash numbers.
#[derive(Debug)]
pub struct Values {
    /// By number. Where a value was forgotten, `null`.
    values: Vec<Value>,
    numbers: HashTable<u32>,
    /// The numbers of the first whole numbers, which most values are; 0 where one is not known, for that is `null`'s.
    whole: Vec<u32>,
    /// The numbers of values that were forgotten.
    free: Vec<u32>,
    /// How many bytes values have beside themselves.
    heap: usize,
}

/// Whole numbers are looked up directly while they are not this many times more than there are values.
const SPARSE: usize = 4;

impl Default for Values {
    /// Nothing but `null`.
    fn default() -> Values {
        Values {
            values: vec![Value::Null],
            numbers: HashTable::new(),
            whole: Vec::new(),
            free: Vec::new(),
            heap: 0,
        }
    }
}

fn hash(value: &Value) -> u64 {
    FxBuildHasher.hash_one(value)
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
        let hashed = hash(value);
        let values = &mut self.values;
        if let Some(known) = self
            .numbers
            .find(hashed, |at| values[*at as usize] == *value)
        {
            return *known;
        }
        self.heap += heap(value);
        let number = match self.free.pop() {
            Some(number) => {
                values[number as usize] = value.clone();
                number
            }
            None => {
                values.push(value.clone());
                (values.len() - 1) as u32
            }
        };
        let again = |at: &u32| hash(&values[*at as usize]);
        self.numbers.insert_unique(hashed, number, again);
        number
    }

    /// The value of a number that [`Values::number`] gave out.
    pub fn value(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }

    /// All numbers that were given out are less than this.
    pub(super) fn end(&self) -> u32 {
        self.values.len() as u32
    }

    /// Forgets the values of all numbers that are not `live`. They will be given to others.
    pub(super) fn retain(&mut self, live: impl Fn(u32) -> bool) {
        let values = &mut self.values;
        self.numbers.retain(|number| live(*number));
        for number in self.whole.iter_mut().filter(|number| !live(**number)) {
            *number = Values::NULL;
        }
        self.free.clear();
        for (number, value) in (1..).zip(&mut values[1..]) {
            if !live(number) {
                self.heap -= heap(value);
                *value = Value::Null;
                self.free.push(number);
            }
        }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.whole.capacity() + self.free.capacity() + self.numbers.capacity() * 2;
        self.values.capacity() * size_of::<Value>() + numbers * size_of::<u32>() + self.heap
    }
}

/// About how many bytes a value has beside itself, what is in lists of lists left out.
fn heap(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => size_of_val(&elements[..]),
        Value::Object(fields) => fields.len() * 2 * size_of::<Value>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn some() -> Vec<Value> {
        vec![
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
        ]
    }

    #[test]
    fn equal_values_have_one_number_and_others_another() {
        let mut values = Values::default();
        let some = some();
        let numbers: Vec<u32> = some.iter().map(|value| values.number(value)).collect();
        assert_eq!(numbers, (0..some.len() as u32).collect::<Vec<_>>());
        for (value, number) in some.iter().zip(numbers) {
            assert_eq!(values.number(value), number);
            assert_eq!(values.value(number), value);
        }
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let mut values = Values::default();
        let some = some();
        let numbers: Vec<u32> = some.iter().map(|value| values.number(value)).collect();
        values.retain(|number| number % 3 == 0);
        for (value, number) in some.iter().zip(&numbers).filter(|(_, it)| *it % 3 == 0) {
            assert_eq!(values.number(value), *number);
            assert_eq!(values.value(*number), value);
        }
        let mut again: Vec<u32> = (1_000..1_008).map(|it| values.number(&json!(it))).collect();
        again.sort_unstable();
        assert_eq!(again, [1, 2, 4, 5, 7, 8, 10, 11]);
        let anew = values.number(&some[1]);
        assert_eq!(values.value(anew), &some[1]);
        assert!(anew as usize >= some.len());
    }
}
