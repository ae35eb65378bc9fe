//! Is there an order? Answered by trying all of them, with nothing clever.

use checkers::linearizability::{FailedCas, NullRead, Options};
use serde_json::Value;
use store::{Event, EventType, History, OpError};

/// An operation that counts.
struct Op {
    f: String,
    value: Value,
    result: Value,
    failed: bool,
    invoke: usize,
    /// `None`: it need not have happened.
    returned: Option<usize>,
}

/// Whether a history of one register is linearizable. Exponential.
pub(crate) fn is_linearizable(events: &[Event], options: &Options) -> bool {
    let history = History::new(events.to_vec()).unwrap();
    let mut ops = Vec::new();
    for (at, invoke) in history.events().iter().enumerate() {
        if !invoke.is_invoke() {
            continue;
        }
        let complete = history.pair(at).map(|at| (at, &history.events()[at]));
        let kind = complete.map_or(EventType::Info, |(_, event)| event.kind);
        let result = complete.map_or(Value::Null, |(_, event)| event.value.clone());
        let class = complete.and_then(|(_, event)| event.error_class());
        let counts = match (&*invoke.f, kind) {
            ("read", EventType::Ok) => options.null_read == NullRead::Absent || !result.is_null(),
            ("read", _) => false,
            ("cas", EventType::Fail) => match options.failed_cas {
                FailedCas::Observes => true,
                FailedCas::Dropped => false,
                FailedCas::Precondition => class == Some(OpError::PRECONDITION),
            },
            (_, EventType::Fail) => false,
            _ => true,
        };
        if counts {
            ops.push(Op {
                f: invoke.f.to_string(),
                value: invoke.value.clone(),
                result,
                failed: kind == EventType::Fail,
                invoke: at,
                returned: complete
                    .map(|(at, _)| at)
                    .filter(|_| kind != EventType::Info),
            });
        }
    }
    let mut left: Vec<&Op> = ops.iter().collect();
    can_be_ordered(&mut left, &options.initial)
}

fn can_be_ordered(left: &mut Vec<&Op>, state: &Value) -> bool {
    let Some(first_return) = left.iter().filter_map(|op| op.returned).min() else {
        return true;
    };
    for at in 0..left.len() {
        if left[at].invoke > first_return {
            continue;
        }
        let Some(next) = apply(left[at], state) else {
            continue;
        };
        let op = left.remove(at);
        let found = can_be_ordered(left, &next);
        left.insert(at, op);
        if found {
            return true;
        }
    }
    false
}

fn apply(op: &Op, state: &Value) -> Option<Value> {
    match op.f.as_str() {
        "read" => (op.result == *state).then(|| state.clone()),
        "write" => Some(op.value.clone()),
        _ if op.failed => (op.value[0] != *state).then(|| state.clone()),
        _ => (op.value[0] == *state).then(|| op.value[1].clone()),
    }
}
