//! How many operations there were, and how they ended.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::{Event, EventType, Name};

use crate::budget::Budget;
use crate::{CheckResult, Checker, Feed, Valid};

/// Counts the clients' operations by outcome, overall and by function. Never invalid.
///
/// Details: `ok`, `fail`, `info`, `count`, and the same for each function under `by-f`. Operations
/// that never ended count as `info`.
#[derive(Debug, Default)]
pub struct Stats {
    by_f: BTreeMap<Name, Counts>,
}

/// Operations by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    begun: u64,
    pub(crate) ok: u64,
    pub(crate) fail: u64,
    pub(crate) info: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, kind: EventType) {
        match kind {
            EventType::Invoke => self.begun += 1,
            EventType::Ok => self.ok += 1,
            EventType::Fail => self.fail += 1,
            EventType::Info => self.info += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: Counts) {
        self.begun += other.begun;
        self.ok += other.ok;
        self.fail += other.fail;
        self.info += other.info;
    }

    /// Operations whose outcome nobody knows, those that never ended included.
    fn unknown(&self) -> u64 {
        self.begun
            .saturating_sub(self.ok + self.fail)
            .max(self.info)
    }

    fn to_value(self) -> Value {
        json!({
            "count": self.ok + self.fail + self.unknown(),
            "ok": self.ok,
            "fail": self.fail,
            "info": self.unknown(),
        })
    }
}

impl Stats {
    /// Counts from nothing.
    pub fn new() -> Stats {
        Stats::default()
    }
}

impl Checker for Stats {
    fn feed(&mut self, events: &[Event], _budget: &dyn Budget) -> Feed {
        for event in events.iter().filter(|event| event.is_client()) {
            match self.by_f.get_mut(&event.f) {
                Some(counts) => counts.add(event.kind),
                None => self
                    .by_f
                    .entry(event.f.clone())
                    .or_default()
                    .add(event.kind),
            }
        }
        Feed::Continue
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        let mut total = Counts::default();
        for counts in self.by_f.values() {
            total.merge(*counts);
        }
        let mut result = CheckResult::new(
            Valid::True,
            format!(
                "{} operations: {} ok, {} failed, {} unknown",
                total.ok + total.fail + total.unknown(),
                total.ok,
                total.fail,
                total.unknown()
            ),
        );
        if let Value::Object(details) = total.to_value() {
            result.details = details;
        }
        let by_f = self.by_f.iter();
        let by_f = by_f.map(|(f, counts)| (f.to_string(), counts.to_value()));
        result
            .details
            .insert("by-f".to_owned(), Value::Object(by_f.collect()));
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::budget::Unlimited;

    #[test]
    fn counts_operations_by_outcome_and_function() {
        let events: Vec<Event> = [
            r#"{"index":0,"process":0,"type":"invoke","f":"read"}"#,
            r#"{"index":1,"process":1,"type":"invoke","f":"write","value":1}"#,
            r#"{"index":2,"process":"nemesis/kill","type":"invoke","f":"start"}"#,
            r#"{"index":3,"process":0,"type":"ok","f":"read","value":1}"#,
            r#"{"index":4,"process":1,"type":"fail","f":"write","value":1}"#,
            r#"{"index":5,"process":0,"type":"invoke","f":"read"}"#,
            r#"{"index":6,"process":1,"type":"invoke","f":"read"}"#,
            r#"{"index":7,"process":0,"type":"info","f":"read"}"#,
        ]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
        let result = crate::check(&mut Stats::new(), &events, &Unlimited);
        assert_eq!(result.valid, Valid::True);
        assert_eq!(
            Value::Object(result.details),
            json!({
                "count": 4, "ok": 1, "fail": 1, "info": 2,
                "by-f": {
                    "read": {"count": 3, "ok": 1, "fail": 0, "info": 2},
                    "write": {"count": 1, "ok": 0, "fail": 1, "info": 0},
                },
            })
        );
        assert_eq!(result.reason, "4 operations: 1 ok, 1 failed, 2 unknown");
    }
}
