//! Sets and multisets.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `add` | the element | `true` or `[element, true]`: it was not there before; with `false`: it was; anything else: nobody asked |
//! | `remove` | the element | the same: whether it was there before |
//! | `contains` | the element | the same: whether it is there |
//! | `read` | `null` | all elements, in any order |
//!
//! A multiset counts how often it has an element: `add` adds one, and always happens; `remove` removes
//! one. An `add` to a set that failed with the class `precondition` found the element there; such a
//! `remove` did not find it.
//!
//! While nothing reads the whole, a set is as many objects as there are elements, and each is searched
//! on its own.

use serde_json::Value;

use super::super::monitors::set::SetKind;
use super::{Call, Model, Monitored, Outcome, Part, Role, Touched, Touches, Values};

/// Whether an element can be in it more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// A set.
    Never,
    /// A multiset.
    Counted,
}

/// A set or multiset.
#[derive(Clone, Debug)]
pub struct Set {
    repeats: Repeats,
    initial: Vec<Value>,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// The element was added; whether it was new, if anybody asked.
    Add(u32, Option<bool>),
    /// One of the element was removed; whether there was one, if anybody asked.
    Remove(u32, Option<bool>),
    /// Whether the element was there.
    Contains(u32, bool),
    /// These were all elements, ascending.
    SawAll(Box<[u32]>),
}

impl Set {
    /// A set that holds these elements first. `None` if they are no array.
    pub fn new(repeats: Repeats, initial: &Value) -> Option<Set> {
        Some(Set {
            repeats,
            initial: super::elements(initial)?.to_vec(),
        })
    }

    fn number_all(&self, elements: &[Value], values: &mut Values) -> Box<[u32]> {
        let mut all: Vec<u32> = elements.iter().map(|it| values.number(it)).collect();
        all.sort_unstable();
        if self.repeats == Repeats::Never {
            all.dedup();
        }
        all.into()
    }
}

/// What an operation on one element answered.
fn answer(call: &Call<'_>) -> Option<bool> {
    match call.outcome {
        Outcome::Refused => Some(call.f == "contains"),
        Outcome::Unknown => None,
        Outcome::Ok(Value::Bool(answer)) if !call.value.is_boolean() => Some(*answer),
        Outcome::Ok(seen) => match seen.as_array()?.as_slice() {
            [element, Value::Bool(answer)] if element == call.value => Some(*answer),
            _ => None,
        },
    }
}

fn with(state: &[u32], element: u32) -> Box<[u32]> {
    let at = state.partition_point(|other| *other <= element);
    let before = state[..at].iter();
    before
        .chain([&element])
        .chain(&state[at..])
        .copied()
        .collect()
}

fn without(state: &[u32], at: usize) -> Box<[u32]> {
    let before = state[..at].iter();
    before.chain(&state[at + 1..]).copied().collect()
}

impl Model for Set {
    type State = Box<[u32]>;
    type Op = SetOp;

    fn name(&self) -> &str {
        match self.repeats {
            Repeats::Never => "set",
            Repeats::Counted => "multiset",
        }
    }

    fn initial(&self, values: &mut Values) -> Box<[u32]> {
        self.number_all(&self.initial, values)
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<SetOp>, String> {
        if call.f == "read" {
            let Some(seen) = call.outcome.ok() else {
                return Ok(None);
            };
            let all = super::elements(seen)
                .ok_or_else(|| format!("a read of a set returns its elements, not {seen}"))?;
            if self.repeats == Repeats::Never && has_repeats(all) {
                return Err(format!(
                    "a read of a set returned an element twice: {seen}; if that can be, the model is multiset"
                ));
            }
            return Ok(Some(SetOp::SawAll(self.number_all(all, values))));
        }
        let element = values.number(call.value);
        let answer = answer(call);
        let refused = call.outcome == Outcome::Refused;
        let counted = self.repeats == Repeats::Counted;
        Ok(match call.f {
            // A multiset takes anything.
            "add" if counted && refused => None,
            "add" if counted => Some(SetOp::Add(element, answer)),
            "add" => Some(SetOp::Add(element, answer)),
            "remove" => Some(SetOp::Remove(element, answer)),
            "contains" => answer
                .filter(|_| !refused)
                .map(|is| SetOp::Contains(element, is)),
            _ => return Err(call.unknown_function("add, remove, contains and read")),
        })
    }

    fn step(&self, state: &Box<[u32]>, op: &SetOp) -> Option<Box<[u32]>> {
        match op {
            SetOp::Add(element, new) => {
                let is_new = state.binary_search(element).is_err();
                if new.is_some_and(|new| new != is_new) {
                    return None;
                }
                Some(match is_new || self.repeats == Repeats::Counted {
                    true => with(state, *element),
                    false => state.clone(),
                })
            }
            SetOp::Remove(element, there) => {
                let found = state.binary_search(element);
                if there.is_some_and(|there| there != found.is_ok()) {
                    return None;
                }
                Some(found.map_or_else(|_| state.clone(), |at| without(state, at)))
            }
            SetOp::Contains(element, there) => {
                let found = state.binary_search(element).is_ok();
                (found == *there).then(|| state.clone())
            }
            SetOp::SawAll(all) => (all == state).then(|| state.clone()),
        }
    }

    fn accepts(&self, state: &Box<[u32]>, op: &SetOp) -> bool {
        match op {
            SetOp::Add(_, None) | SetOp::Remove(_, None) => true,
            SetOp::Add(element, Some(new)) => state.binary_search(element).is_err() == *new,
            SetOp::Remove(element, Some(there)) | SetOp::Contains(element, there) => {
                state.binary_search(element).is_ok() == *there
            }
            SetOp::SawAll(all) => all == state,
        }
    }

    fn is_observation(&self, op: &SetOp) -> bool {
        match op {
            SetOp::Add(_, answer) => self.repeats == Repeats::Never && *answer == Some(false),
            SetOp::Remove(_, answer) => *answer == Some(false),
            SetOp::Contains(..) | SetOp::SawAll(_) => true,
        }
    }

    fn touches(&self, op: &SetOp) -> Touches {
        if self.is_observation(op) {
            return Touches::needs(match self.part(op) {
                Part::One(element) => Touched::one(element),
                Part::All | Part::None => Touched::Everything,
            });
        }
        match *op {
            SetOp::Add(element, None) => Touches {
                provides: Touched::one(element),
                needs: Touched::Nothing,
            },
            SetOp::Add(element, _) | SetOp::Remove(element, _) | SetOp::Contains(element, _) => {
                Touches::both(Touched::one(element))
            }
            SetOp::SawAll(_) => Touches::needs(Touched::Everything),
        }
    }

    fn part(&self, op: &SetOp) -> Part {
        match *op {
            SetOp::Add(element, _) | SetOp::Remove(element, _) | SetOp::Contains(element, _) => {
                Part::One(element)
            }
            SetOp::SawAll(_) => Part::All,
        }
    }

    fn restrict(&self, op: &SetOp, elements: &[u32]) -> Option<SetOp> {
        match op {
            SetOp::Add(element, _) | SetOp::Remove(element, _) | SetOp::Contains(element, _) => {
                elements.contains(element).then(|| op.clone())
            }
            SetOp::SawAll(all) => {
                let some = all.iter().filter(|element| elements.contains(element));
                Some(SetOp::SawAll(some.copied().collect()))
            }
        }
    }

    fn monitored(&self) -> Option<Monitored> {
        self.initial.is_empty().then_some(Monitored::Set)
    }

    fn role(&self, op: &SetOp) -> Option<Role> {
        let counted = self.repeats == Repeats::Counted;
        let (kind, element) = match op {
            // Adds another one.
            SetOp::Add(_, Some(false)) if counted => return None,
            SetOp::Add(element, Some(false)) => (SetKind::Present, element),
            SetOp::Add(element, _) => (SetKind::Add, element),
            SetOp::Remove(element, None) => return Some(Role::Discarded(*element)),
            SetOp::Remove(element, Some(true)) => (SetKind::Remove, element),
            SetOp::Remove(element, Some(false)) => (SetKind::Absent, element),
            SetOp::Contains(element, true) => (SetKind::Present, element),
            SetOp::Contains(element, false) => (SetKind::Absent, element),
            SetOp::SawAll(all) => {
                let repeats = all.windows(2).any(|pair| pair[0] == pair[1]);
                return (!repeats).then(|| Role::SawAll(all.clone()));
            }
        };
        Some(Role::Set(kind, *element))
    }

    fn is_repeatable(&self, _op: &SetOp) -> bool {
        self.repeats == Repeats::Never
    }

    fn bytes(&self, state: &Box<[u32]>) -> usize {
        size_of_val(state) + size_of_val(&**state)
    }

    fn describe(&self, state: &Box<[u32]>, values: &Values) -> Value {
        let elements = state.iter();
        elements
            .map(|number| values.value(*number).clone())
            .collect()
    }
}

fn has_repeats(elements: &[Value]) -> bool {
    let mut seen = rustc_hash::FxHashSet::default();
    !elements.iter().all(|element| seen.insert(element))
}
