//! What several tests of registers need.

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::{Assumptions, Options, RwRegister};
use checkers::{CheckResult, check};
use serde_json::{Value, json};
use store::Event;

use crate::events::history_of;
use crate::support::{event, proved};

/// A history from lines of `process type micro-operation…`. A micro-operation is `x:1` (write 1 to x), `x=1` (read 1 from x), `x=`
/// (read its initial value), or `x?` (a read of which nothing is known); the first two with a version: `x:1@7`.
pub(crate) fn history(text: &str) -> Vec<Event> {
    history_of(text, |index, process, kind, words| {
        event(index, process, kind, words.map(micro).collect())
    })
}

fn micro(word: &str) -> Value {
    if let Some((word, version)) = word.split_once('@') {
        let mut micro = micro(word);
        let version = version.parse::<i64>().unwrap();
        micro.as_array_mut().unwrap().push(version.into());
        return micro;
    }
    if let Some((key, value)) = word.split_once(':') {
        return json!(["w", key, value.parse::<i64>().unwrap()]);
    }
    let Some((key, value)) = word.split_once('=') else {
        return json!(["r", word.trim_end_matches('?')]);
    };
    json!(["r", key, value.parse::<i64>().ok()])
}

/// The verdict at a level, with all evidence proved again.
pub(crate) fn judge(events: &[Event], level: &str) -> CheckResult {
    judge_with(events, level, Assumptions::default())
}

/// As [`judge`], with assumptions.
pub(crate) fn judge_with(events: &[Event], level: &str, assume: Assumptions) -> CheckResult {
    let result = raw(events, level, assume);
    proved(&result, events);
    result
}

/// The verdict at a level.
pub(crate) fn raw(events: &[Event], level: &str, assume: Assumptions) -> CheckResult {
    let options = Options {
        consistency: find(level).unwrap(),
    };
    check(&mut RwRegister::new(options, assume), events, &Unlimited)
}

/// Versions are in the order of their numbers.
pub(crate) const GIVEN: Assumptions = Assumptions {
    wfr_keys: true,
    sequential_keys: false,
    linearizable_keys: false,
    given_versions: true,
};

/// Each key is linearizable.
pub(crate) const LINEARIZABLE: Assumptions = Assumptions {
    wfr_keys: true,
    sequential_keys: false,
    linearizable_keys: true,
    given_versions: false,
};

/// Each key is sequentially consistent.
pub(crate) const SEQUENTIAL: Assumptions = Assumptions {
    wfr_keys: true,
    sequential_keys: true,
    linearizable_keys: false,
    given_versions: false,
};
