//! A counter.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `add` | a whole number, possibly negative | anything |
//! | `increment`, `decrement` (`inc`, `dec`) | a whole number, or `null` for 1 | anything |
//! | `add-and-get` | a whole number | what the counter was afterwards |
//! | `get-and-add` | a whole number | what the counter was before |
//! | `read` | `null` | what the counter was |

use serde_json::Value;

use super::super::monitors::counter::CounterKind;
use super::{Call, Model, Monitored, Outcome, Role, Touched, Touches, Values};

/// A counter that begins with a number.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    initial: i64,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// The counter changed by so much; what it was afterwards, if anybody saw that.
    Add(i64, Option<i128>),
    /// The counter was this.
    Saw(i128),
}

impl Counter {
    /// A counter that begins with a whole number; `null` is 0. `None` if it is something else.
    pub fn new(initial: &Value) -> Option<Counter> {
        match initial {
            Value::Null => Some(Counter { initial: 0 }),
            value => value.as_i64().map(|initial| Counter { initial }),
        }
    }
}

fn whole(value: &Value) -> Result<i64, String> {
    let number = value.as_i64();
    number.ok_or_else(|| format!("a counter counts in whole numbers, not {value}"))
}

fn delta(call: &Call<'_>) -> Result<i64, String> {
    match (call.f, call.value) {
        ("increment" | "inc", Value::Null) => Ok(1),
        ("decrement" | "dec", Value::Null) => Ok(-1),
        ("decrement" | "dec", value) => whole(value).map(i64::saturating_neg),
        (_, value) => whole(value),
    }
}

impl Model for Counter {
    type State = i128;
    type Op = CounterOp;

    fn name(&self) -> &str {
        "counter"
    }

    fn initial(&self, _values: &mut Values) -> i128 {
        self.initial.into()
    }

    fn read(&self, call: &Call<'_>, _values: &mut Values) -> Result<Option<CounterOp>, String> {
        let seen = match call.f {
            "read" => {
                let seen = call.outcome.ok().map(whole).transpose()?;
                return Ok(seen.map(|seen| CounterOp::Saw(seen.into())));
            }
            "add" | "increment" | "inc" | "decrement" | "dec" => None,
            "add-and-get" | "get-and-add" => call.outcome.ok().map(whole).transpose()?,
            _ => {
                let known = "add, increment, decrement, add-and-get, get-and-add and read";
                return Err(call.unknown_function(known));
            }
        };
        let delta = delta(call)?;
        let after = seen.map(|seen| match call.f {
            "get-and-add" => i128::from(seen) + i128::from(delta),
            _ => seen.into(),
        });
        Ok(match (call.outcome, delta, after) {
            (Outcome::Refused, ..) | (_, 0, None) => None,
            (_, 0, Some(seen)) => Some(CounterOp::Saw(seen)),
            _ => Some(CounterOp::Add(delta, after)),
        })
    }

    fn step(&self, state: &i128, op: &CounterOp) -> Option<i128> {
        match *op {
            CounterOp::Add(delta, after) => {
                let sum = state.saturating_add(delta.into());
                after.is_none_or(|after| after == sum).then_some(sum)
            }
            CounterOp::Saw(seen) => (seen == *state).then_some(seen),
        }
    }

    fn is_observation(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Saw(_))
    }

    fn touches(&self, op: &CounterOp) -> Touches {
        match op {
            CounterOp::Saw(_) => Touches::needs(Touched::Everything),
            CounterOp::Add(_, Some(_)) => Touches::both(Touched::Everything),
            CounterOp::Add(_, None) => Touches {
                provides: Touched::Everything,
                needs: Touched::Nothing,
            },
        }
    }

    fn monitored(&self) -> Option<Monitored> {
        Some(Monitored::Counter)
    }

    fn role(&self, op: &CounterOp) -> Option<Role> {
        let (kind, amount) = match *op {
            CounterOp::Add(_, Some(_)) => return None,
            CounterOp::Add(amount, None) => (CounterKind::Add, amount.into()),
            CounterOp::Saw(seen) => (CounterKind::Read, seen - i128::from(self.initial)),
        };
        let amount = u32::try_from(amount).ok()?;
        Some(Role::Counter(kind, amount))
    }

    fn describe(&self, state: &i128, _values: &Values) -> Value {
        i64::try_from(*state).map_or_else(|_| state.to_string().into(), Value::from)
    }
}
