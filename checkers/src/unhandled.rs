//! Which errors there were, above all those that the workload did not expect.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use store::{Event, Name, OpError};

use crate::budget::Budget;
use crate::{CheckResult, Checker, Feed, Valid};

/// How many groups of errors are told apart. Histories from elsewhere may put a message where the
/// class belongs, so that each error would be a group of its own.
const GROUPS: usize = 1_000;

/// Groups the clients' errors by function and class. Never invalid.
///
/// Details: `errors`, a list of `{f, class, count, example, error, known}`, most frequent first;
/// `example` is the index of the first such event, and `error` what stands there. `ungrouped`
/// counts errors beyond a limit on groups.
#[derive(Debug)]
pub struct Unhandled {
    known: BTreeSet<String>,
    groups: BTreeMap<(Name, String), Group>,
    ungrouped: u64,
}

#[derive(Debug)]
struct Group {
    count: u64,
    example: u64,
    error: Value,
}

impl Default for Unhandled {
    /// Knows the classes that every workload has: a precondition that did not hold, a time-out,
    /// no client.
    fn default() -> Self {
        Unhandled::new([] as [&str; 0])
    }
}

impl Unhandled {
    /// Knows these classes, besides those that every workload has.
    pub fn new(known: impl IntoIterator<Item = impl Into<String>>) -> Unhandled {
        let standard = [OpError::PRECONDITION, OpError::TIMEOUT, OpError::NO_CLIENT];
        let known = known.into_iter().map(Into::into);
        Unhandled {
            known: known.chain(standard.map(String::from)).collect(),
            groups: BTreeMap::new(),
            ungrouped: 0,
        }
    }

    fn add(&mut self, event: &Event, error: &Value) {
        let key = (event.f.clone(), OpError::class_of(error).to_owned());
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
        } else if self.groups.len() < GROUPS {
            let group = Group {
                count: 1,
                example: event.index,
                error: error.clone(),
            };
            self.groups.insert(key, group);
        } else {
            self.ungrouped += 1;
        }
    }

    fn is_known(&self, class: &str) -> bool {
        self.known.contains(class)
    }

    fn reason(&self) -> String {
        let mut unknown: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, class), group) in &self.groups {
            if !self.is_known(class) {
                *unknown.entry(class).or_default() += group.count;
            }
        }
        if unknown.is_empty() {
            return "no errors that the workload does not know".to_owned();
        }
        const NAMED: usize = 5;
        let mut most: Vec<(&str, u64)> = unknown.into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let named = most.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|(class, count)| format!("{class} ({count} times)"))
            .collect();
        let more = match most.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "errors that the workload does not know: {}{more}",
            named.join(", ")
        )
    }
}

impl Checker for Unhandled {
    fn feed(&mut self, events: &[Event], _budget: &dyn Budget) -> Feed {
        for event in events.iter().filter(|event| event.is_client()) {
            if let Some(error) = &event.error {
                self.add(event, error);
            }
        }
        Feed::Continue
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| (std::cmp::Reverse(group.count), group.example));
        let errors: Vec<Value> = groups
            .into_iter()
            .map(|((f, class), group)| {
                json!({
                    "f": &**f,
                    "class": class,
                    "count": group.count,
                    "example": group.example,
                    "error": group.error,
                    "known": self.is_known(class),
                })
            })
            .collect();
        let mut result = CheckResult::new(Valid::True, self.reason());
        if !errors.is_empty() {
            result.details.insert("errors".to_owned(), errors.into());
        }
        if self.ungrouped > 0 {
            result
                .details
                .insert("ungrouped".to_owned(), self.ungrouped.into());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::budget::Unlimited;

    #[test]
    fn groups_errors_by_function_and_class() {
        let events: Vec<Event> = [
            r#"{"index":0,"process":0,"type":"fail","f":"cas","error":["precondition","was 3"]}"#,
            r#"{"index":1,"process":1,"type":"info","f":"cas","error":["bad-gateway","502"]}"#,
            r#"{"index":2,"process":2,"type":"info","f":"cas","error":["bad-gateway","x"]}"#,
            r#"{"index":3,"process":3,"type":"info","f":"read","error":"weird"}"#,
            r#"{"index":4,"process":"nemesis/kill","type":"fail","f":"start","error":"gone"}"#,
            r#"{"index":5,"process":4,"type":"ok","f":"read","value":1}"#,
        ]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
        let result = crate::check(&mut Unhandled::new(["weird"]), &events, &Unlimited);
        assert_eq!(result.valid, Valid::True);
        assert_eq!(
            result.reason,
            "errors that the workload does not know: bad-gateway (2 times)"
        );
        let groups = result.details["errors"].as_array().unwrap();
        assert_eq!(
            groups[0],
            json!({"f": "cas", "class": "bad-gateway", "count": 2, "example": 1,
                   "error": ["bad-gateway", "502"], "known": false})
        );
        assert_eq!(groups[1]["class"], "precondition");
        assert_eq!(groups[2]["known"], true);
        assert_eq!(groups.len(), 3);
    }

    #[test]
    fn limits_the_number_of_groups() {
        let events: Vec<Event> = (0..2_000u64)
            .map(|index| {
                let mut event: Event =
                    serde_json::from_str(r#"{"index":0,"process":0,"type":"info","f":"read"}"#)
                        .unwrap();
                event.error = Some(format!("error {index}").into());
                event
            })
            .collect();
        let result = crate::check(&mut Unhandled::default(), &events, &Unlimited);
        assert_eq!(result.details["errors"].as_array().unwrap().len(), GROUPS);
        assert_eq!(result.details["ungrouped"], 1_000);
    }
}
