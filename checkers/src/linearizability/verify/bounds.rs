//! Proofs by adding up: a counter showed less or more than it can have been, in whatever order.

use super::order::{Outcome, Seen};

/// What a counter can have been just before an operation, and what it was going by the operation's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What the operations make that had certainly happened before it began.
    pub certain: i128,
    /// The least that those could make of it that may have happened before it ended.
    pub least: i128,
    /// The most.
    pub most: i128,
    /// What it was.
    pub was: i128,
}

impl Bounds {
    /// Whether it can have been that.
    pub fn is_possible(&self) -> bool {
        (self.least..=self.most).contains(&self.was)
    }
}

/// By how much an operation changes a counter, if it happens.
pub(super) fn change(op: &Seen) -> i128 {
    let amount = op.value.as_i64().map_or(1, i128::from);
    match op.f.as_str() {
        "read" => 0,
        "decrement" | "dec" => -amount,
        _ => amount,
    }
}

/// The bounds of what an operation showed, of a counter that was `initial` at first, with all operations at hand.
/// `None` if it showed nothing.
pub(super) fn bounds(op: &Seen, all: &[Seen], initial: i128) -> Option<Bounds> {
    let seen = op.result()?.as_i64()?;
    let was = match op.f.as_str() {
        "read" | "get-and-add" => i128::from(seen),
        "add-and-get" => i128::from(seen) - change(op),
        _ => return None,
    };
    let end = op.returned?;
    let mut bounds = Bounds {
        certain: initial,
        least: 0,
        most: 0,
        was,
    };
    let others = all.iter().filter(|other| other.invoke != op.invoke);
    for other in others.filter(|other| other.outcome != Outcome::Refused) {
        let change = change(other);
        if other.returned.is_some_and(|returned| returned < op.invoke) {
            bounds.certain += change;
        } else if other.invoke < end {
            bounds.least += change.min(0);
            bounds.most += change.max(0);
        }
    }
    bounds.least += bounds.certain;
    bounds.most += bounds.certain;
    Some(bounds)
}
