//! Evidence of a [`Shortage`]: a value of a register that came more often than it can have been written.

use std::collections::BTreeSet;

use serde_json::Value;
use store::EventType;

use super::evidence::{DeadEnd, OperationView};
use super::shortage::Shortage;

/// How many of the operations that could have written the value are shown.
const SHOWN: usize = 3;

/// Makes evidence of a shortage. `all` are the operations of the register, `bare` is evidence that
/// says nothing yet, `value` what came too often.
pub(super) fn explain_shortage(
    shortage: &Shortage,
    value: &Value,
    all: &[OperationView],
    bare: DeadEnd,
) -> Option<DeadEnd> {
    let last = shortage.comings.last()?;
    let told = shortage.comings.iter();
    let told: BTreeSet<u64> = told.flat_map(|it| [it.absent, it.present]).collect();
    let ended = |view: &OperationView| match view.outcome {
        EventType::Ok => view.complete.unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    let dead = all.iter().find(|view| view.invoke == last.present)?;
    let writes = |view: &&OperationView| {
        view.outcome != EventType::Fail
            && match view.f.as_str() {
                "write" => view.value == *value,
                "cas" => view.value.get(1) == Some(value) && view.value.get(0) != Some(value),
                _ => false,
            }
    };
    let helps = |view: &&OperationView| {
        let mut comings = shortage.comings.iter();
        comings.any(|it| view.invoke < it.end && ended(view) > it.absent)
    };
    let writers: Vec<&OperationView> = all.iter().filter(writes).filter(helps).collect();
    let shown: BTreeSet<u64> = writers
        .iter()
        .rev()
        .take(SHOWN)
        .map(|it| it.invoke)
        .collect();
    let mentioned =
        |view: &&OperationView| told.contains(&view.invoke) || shown.contains(&view.invoke);
    let explanation = vec![
        format!(
            "Between events {} and {} {value} was seen {} times anew: each time something else \
             had been there since it was seen before.",
            shortage.comings.first()?.absent,
            last.end,
            shortage.comings.len(),
        ),
        format!(
            "Each time an operation must have written it, and none can have done so twice. Only {} \
             can have written it at any of these moments, those of unknown outcome included.",
            writers.len()
        ),
    ];
    Some(DeadEnd {
        operation: dead.invoke,
        sub_history: told.iter().copied().collect(),
        operations: all.iter().filter(mentioned).cloned().collect(),
        explanation,
        ..bare
    })
}
