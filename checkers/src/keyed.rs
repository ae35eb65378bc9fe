//! A checker for each key: many objects of one kind, each judged by itself.
//!
//! What is wrong with one object is wrong whatever the others are, so a history is invalid if one key's is; it is valid if
//! all keys' are, those left out on which nothing happened that could be wrong, as long as there are others.

use serde_json::{Map, Value, json};
use store::Event;

use crate::budget::{Budget, Exhausted, feed_clients};
use crate::transactions::values::Interner;
use crate::{CheckResult, Checker, Evidence, Feed, Valid};

/// How many keys' evidence is shown.
const SHOWN: usize = 3;
/// How many keys are named.
const NAMED: usize = 20;
/// What a key costs in memory beside its checker, about.
const KEY_BYTES: usize = 128;

/// In the details of those that have it: how many writes were acknowledged.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged-count";
/// In their details: the first event that they do not understand, if there is one.
pub(crate) const MALFORMED: &str = "malformed";

/// A checker for each key, made by a function.
pub struct Keyed<C> {
    make: Box<dyn Fn() -> C + Send>,
    counted: &'static str,
    keys: Interner,
    /// By number of the key.
    checkers: Vec<C>,
    is_violated: bool,
    exhausted: Option<Exhausted>,
}

impl<C: Checker> Keyed<C> {
    /// A checker that has seen nothing. Numbers in the details of keys whose names end with `-count` are added up; where the one that is
    /// named is 0, nothing happened on a key that could be wrong.
    pub fn new(counted: &'static str, make: impl Fn() -> C + Send + 'static) -> Keyed<C> {
        Keyed {
            counted,
            make: Box::new(make),
            keys: Interner::default(),
            checkers: Vec::new(),
            is_violated: false,
            exhausted: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), Exhausted> {
        let key = event.key.as_ref().unwrap_or(&Value::Null);
        let number = self.keys.number(key);
        if number as usize == self.checkers.len() {
            budget.charge(KEY_BYTES + size_of::<C>())?;
            self.checkers.push((self.make)());
        }
        let checker = &mut self.checkers[number as usize];
        match checker.feed(std::slice::from_ref(event), budget) {
            Feed::Continue => {}
            Feed::Violation => self.is_violated = true,
            // It says itself why.
            Feed::Exhausted => budget.check()?,
        }
        Ok(())
    }
}

impl<C: Checker> Checker for Keyed<C> {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.exhausted = feed_clients(self.exhausted, events, |event, _| self.take(event, budget));
        Feed::of(self.exhausted, self.is_violated)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        if let Some(why) = self.exhausted {
            return CheckResult::new(Valid::Unknown, why.to_string());
        }
        let results = self
            .checkers
            .iter_mut()
            .map(|checker| checker.finish(budget));
        let results: Vec<CheckResult> = results.collect();
        let keys = (0..results.len() as u32).map(|number| self.keys.value(number));
        combine(&keys.zip(results).collect::<Vec<_>>(), self.counted)
    }
}

fn combine(results: &[(&Value, CheckResult)], counted: &str) -> CheckResult {
    let is_empty = |result: &CheckResult| {
        let nothing = result.details.get(counted) == Some(&json!(0));
        nothing && result.valid == Valid::Unknown && !result.details.contains_key(MALFORMED)
    };
    let of = |valid: Valid| {
        let all = results.iter();
        let all = all.filter(move |(_, result)| result.valid == valid && !is_empty(result));
        all.collect::<Vec<_>>()
    };
    let (invalid, unknown, valid) = (of(Valid::False), of(Valid::Unknown), of(Valid::True));
    let told = |some: &[&(&Value, CheckResult)]| {
        let (key, first) = some[0];
        let total = results.len();
        match total {
            1 => first.reason.clone(),
            _ => format!(
                "{} of {total} keys, the first of them {key}: {}",
                some.len(),
                first.reason
            ),
        }
    };
    let mut result = if !invalid.is_empty() {
        CheckResult::new(Valid::False, told(&invalid))
    } else if !unknown.is_empty() {
        CheckResult::new(Valid::Unknown, told(&unknown))
    } else if !valid.is_empty() {
        CheckResult::new(Valid::True, told(&valid))
    } else {
        let why = match results.first() {
            Some((_, first)) => first.reason.clone(),
            None => "there are no operations".to_owned(),
        };
        CheckResult::new(Valid::Unknown, why)
    };
    let evidence = invalid.iter().take(SHOWN);
    let evidence =
        evidence.flat_map(|(key, one)| one.evidence.iter().take(1).map(move |e| (key, e)));
    result.evidence = evidence
        .map(|(key, evidence)| on_key(key, evidence.clone()))
        .collect();
    result.details = details(results);
    if !invalid.is_empty() {
        let named: Vec<Value> = (invalid.iter().take(NAMED))
            .map(|(key, one)| json!({"key": key, "reason": one.reason}))
            .collect();
        result
            .details
            .insert("invalid-keys".to_owned(), named.into());
        result
            .details
            .insert("invalid-key-count".to_owned(), invalid.len().into());
    }
    result
}

fn on_key(key: &Value, evidence: Evidence) -> Evidence {
    match evidence {
        Evidence::Operations(mut operations) if !key.is_null() => {
            operations.explanation = format!("On key {key}: {}", operations.explanation);
            Evidence::Operations(operations)
        }
        other => other,
    }
}

/// What all keys count, added up.
fn details(results: &[(&Value, CheckResult)]) -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("key-count".to_owned(), results.len().into());
    let all = results.iter().flat_map(|(_, result)| &result.details);
    for (name, value) in all.filter(|(name, _)| name.ends_with("-count")) {
        let sum = details
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let sum = sum.saturating_add(value.as_u64().unwrap_or_default());
        details.insert(name.clone(), sum.into());
    }
    details
}

#[cfg(test)]
mod tests;
