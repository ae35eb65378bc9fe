//! Append-only lists and logs.
//!
//! | function | invocation | `ok` of a list | `ok` of a log |
//! | --- | --- | --- | --- |
//! | `append` | the element | anything | `[offset, element]`: where it went, or anything else |
//! | `read` of a list | `null` | all elements, in order | |
//! | `read` of a log (`poll`) | the offset | | `[offset, element]`, the element `null` where the log ended before |
//!
//! Offsets count from 0, without gaps.

use serde_json::Value;

use super::{Call, Model, Outcome, Touched, Touches, Values};

/// Whether elements are told by their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// A list: reads return all of it.
    Hidden,
    /// A log: appends tell where the element went, and reads are of one offset.
    Told,
}

/// An object to which elements are appended, and from which nothing is removed.
#[derive(Clone, Debug)]
pub struct List {
    offsets: Offsets,
    initial: Vec<Value>,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListOp {
    /// The element was appended, at the offset if anybody knows it.
    Append(u32, Option<u64>),
    /// These were all elements.
    SawAll(Box<[u32]>),
    /// The element at the offset, or that the list was no longer than that.
    SawAt(u64, Option<u32>),
}

impl List {
    /// A list or log that holds these elements first. `None` if they are no array.
    pub fn new(offsets: Offsets, initial: &Value) -> Option<List> {
        Some(List {
            offsets,
            initial: super::elements(initial)?.to_vec(),
        })
    }

    fn read_of(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ListOp>, String> {
        let Some(seen) = call.outcome.ok() else {
            return Ok(None);
        };
        if self.offsets == Offsets::Hidden {
            let all = super::elements(seen)
                .ok_or_else(|| format!("a read of a list returns its elements, not {seen}"))?;
            let all = all.iter().map(|value| values.number(value)).collect();
            return Ok(Some(ListOp::SawAll(all)));
        }
        let told = seen.as_array().map(Vec::as_slice);
        let (offset, element) = match told {
            Some([offset, element]) => (offset.as_u64(), element),
            _ => (None, seen),
        };
        let offset = offset.filter(|offset| call.value.as_u64().is_none_or(|it| it == *offset));
        let offset = offset.ok_or_else(|| {
            format!(
                "a read of a log at {} returns [offset, element], not {seen}",
                call.value
            )
        })?;
        let element = (!element.is_null()).then(|| values.number(element));
        Ok(Some(ListOp::SawAt(offset, element)))
    }
}

/// Where a log says that an element went.
fn offset(call: &Call<'_>) -> Option<u64> {
    match call.outcome.ok()?.as_array()?.as_slice() {
        [offset, element] if element == call.value => offset.as_u64(),
        _ => None,
    }
}

impl Model for List {
    type State = Box<[u32]>;
    type Op = ListOp;

    fn name(&self) -> &str {
        match self.offsets {
            Offsets::Hidden => "list",
            Offsets::Told => "log",
        }
    }

    fn initial(&self, values: &mut Values) -> Box<[u32]> {
        let elements = self.initial.iter();
        elements.map(|value| values.number(value)).collect()
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<ListOp>, String> {
        match call.f {
            "append" if call.outcome == Outcome::Refused => Ok(None),
            "append" => {
                let told = match self.offsets {
                    Offsets::Hidden => None,
                    Offsets::Told => offset(call),
                };
                Ok(Some(ListOp::Append(values.number(call.value), told)))
            }
            "read" | "poll" => self.read_of(call, values),
            _ => Err(call.unknown_function("append and read")),
        }
    }

    fn step(&self, state: &Box<[u32]>, op: &ListOp) -> Option<Box<[u32]>> {
        let length = state.len() as u64;
        match op {
            ListOp::Append(element, offset) => {
                if offset.is_some_and(|offset| offset != length) {
                    return None;
                }
                Some(state.iter().copied().chain([*element]).collect())
            }
            ListOp::SawAll(all) => (all == state).then(|| state.clone()),
            ListOp::SawAt(offset, seen) => {
                let at = usize::try_from(*offset).ok().and_then(|at| state.get(at));
                (at == seen.as_ref()).then(|| state.clone())
            }
        }
    }

    fn accepts(&self, state: &Box<[u32]>, op: &ListOp) -> bool {
        match op {
            ListOp::Append(_, offset) => offset.is_none_or(|offset| offset == state.len() as u64),
            ListOp::SawAll(all) => all == state,
            ListOp::SawAt(..) => self.step(state, op).is_some(),
        }
    }

    fn is_observation(&self, op: &ListOp) -> bool {
        !matches!(op, ListOp::Append(..))
    }

    /// Elements that no read shows can be left out of a list: they were appended after all reads. In a log
    /// they would be missed at the offsets of those that follow.
    fn touches(&self, op: &ListOp) -> Touches {
        match op {
            ListOp::Append(element, None) => Touches {
                provides: match self.offsets {
                    Offsets::Hidden => Touched::one(*element),
                    Offsets::Told => Touched::Everything,
                },
                needs: Touched::Nothing,
            },
            ListOp::SawAll(all) => {
                let mut shown: Vec<u64> = all.iter().copied().map(u64::from).collect();
                shown.sort_unstable();
                shown.dedup();
                Touches::needs(Touched::These(shown.into()))
            }
            ListOp::Append(_, Some(_)) => Touches::both(Touched::Everything),
            ListOp::SawAt(..) => Touches::needs(Touched::Everything),
        }
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
