//! Timestamps that the system gives: are transactions what it says they are?
//!
//! Some systems say when each transaction began and committed, on a clock of theirs: a transaction ends with the micro-operation
//! `["timestamps", start, commit]`. That is a claim about one order, so there is nothing to search: in the order of commits,
//! each read is compared with what must have been there (Chronos, ICDE 2025). It takes as long as sorting.
//!
//! | anomaly | what it is | level |
//! | --- | --- | --- |
//! | `INT` | a transaction is at odds with its own reads and writes | all |
//! | `EXT` | a read is not of all that had committed at its start | snapshot isolation |
//! | `NOCONFLICT` | of two that wrote a key, one began before the other's commit, and committed after it | snapshot isolation |
//! | `EXT-commit` | a read is not of all that had committed before its own commit | serializable |
//! | `SESSION` | a process began, by its timestamps, before its last transaction had committed | strong-session levels |
//! | `REALTIME` | one that began after another's end has a start before the other's commit | strong and strict levels |
//!
//! Serializable is in the order of commits, so of sessions and real time it asks for that order alone. A violation is one of what
//! the system says of itself: other timestamps might explain the history. That it holds is more than that some might.

mod prove;
mod read;
pub(super) mod verify;

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::Event;

use super::Options;
use super::evidence::Objects;
use super::models::Level;
use super::verify::verify_anomaly;
use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Checker, Evidence, Feed, Valid};
use prove::{Finding, evidence};
use read::{Told, Transaction};

/// How many of each anomaly are kept as evidence.
const KEPT: usize = 4;

/// The levels that timestamps decide.
pub const TIMESTAMPED: &[&str] = &[
    "snapshot-isolation",
    "strong-session-snapshot-isolation",
    "strong-snapshot-isolation",
    "serializable",
    "strong-session-serializable",
    "strict-serializable",
];

/// What must come before what, besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Respects {
    Nothing,
    Sessions,
    Realtime,
}

/// Checks the timestamps of transactions on lists or registers. Each that ended `ok` has, among its micro-operations,
/// `["timestamps", start, commit]`.
pub struct Timestamps {
    options: Options,
    objects: Objects,
    told: Told,
    wrong: Option<String>,
}

impl Timestamps {
    /// A checker that has seen nothing, of lists or of registers.
    pub fn new(options: Options, objects: Objects) -> Timestamps {
        Timestamps {
            options,
            objects,
            told: Told::default(),
            wrong: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), String> {
        let exhausted = |why: Exhausted| format!("out of budget: {why}");
        if event.index.is_multiple_of(1 << 10) {
            budget.check().map_err(exhausted)?;
        }
        let parts = event.value.as_array().map_or(1, Vec::len);
        budget.charge(256 + 128 * parts).map_err(exhausted)?;
        self.told.take(event)
    }
}

impl Checker for Timestamps {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.wrong.is_some() {
                break;
            }
            self.wrong = self.take(event, budget).err();
        }
        Feed::Continue
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        if let Some(wrong) = self.wrong.take() {
            return CheckResult::new(Valid::Unknown, wrong);
        }
        let level = self.options.consistency;
        if !TIMESTAMPED.contains(&level.name) {
            let all = TIMESTAMPED.join(", ");
            let why = format!("timestamps do not decide {}, but {all}", level.name);
            return CheckResult::new(Valid::Unknown, why);
        }
        match replay(&self.told, self.objects, level, budget) {
            Ok(replay) => replay.conclude(&self.told, level),
            Err(why) => CheckResult::new(Valid::Unknown, format!("out of budget: {why}")),
        }
    }
}

/// A version of a key: who made it, and what it is.
#[derive(Clone, Copy)]
struct Version<'a> {
    commit: i64,
    by: usize,
    value: &'a Value,
}

/// What was found, going through transactions by their commits.
struct Replay<'a> {
    objects: Objects,
    /// Whether reads are of what was there at the commit, and not at the start.
    serial: bool,
    /// By key, in order of commits; of lists, each element.
    versions: FxHashMap<&'a Value, Vec<Version<'a>>>,
    findings: Vec<Finding>,
    counts: FxHashMap<&'static str, u64>,
    /// Why something is not known.
    open: Option<String>,
}

fn replay<'a>(
    told: &'a Told,
    objects: Objects,
    level: &Level,
    budget: &dyn Budget,
) -> Result<Replay<'a>, Exhausted> {
    let serial = level.reaches("serializable");
    let respects = match level.name {
        "strict-serializable" | "strong-snapshot-isolation" => Respects::Realtime,
        name if name.starts_with("strong-session") => Respects::Sessions,
        _ => Respects::Nothing,
    };
    let mut this = Replay {
        objects,
        serial,
        versions: FxHashMap::default(),
        findings: Vec::new(),
        counts: FxHashMap::default(),
        open: None,
    };
    let all = &told.transactions;
    let mut by_commit: Vec<usize> = Vec::new();
    for (at, one) in all.iter().enumerate().filter(|(_, one)| one.is_ok()) {
        match one.stamps {
            Some(_) => by_commit.push(at),
            None if one.micro().any(|(f, ..)| f != "r") || one.reads_any() => {
                let why = format!("event {}: this transaction has no timestamps", one.event());
                this.open.get_or_insert(why);
            }
            None => {}
        }
    }
    by_commit.sort_by_key(|at| all[*at].commit());
    for pair in by_commit.windows(2) {
        if all[pair[0]].commit() == all[pair[1]].commit() {
            let why = format!(
                "events {} and {} have one commit timestamp",
                all[pair[0]].event(),
                all[pair[1]].event()
            );
            this.open.get_or_insert(why);
        }
    }
    for at in &by_commit {
        budget.check()?;
        this.write(all, *at);
    }
    for at in &by_commit {
        budget.check()?;
        this.read(told, *at);
    }
    this.order(all, &by_commit, respects);
    Ok(this)
}

impl<'a> Replay<'a> {
    fn find(&mut self, anomaly: &'static str, key: &Value, elements: &[&Value], who: &[usize]) {
        let count = self.counts.entry(anomaly).or_default();
        *count += 1;
        if *count as usize <= KEPT {
            self.findings.push(Finding {
                anomaly,
                key: key.clone(),
                elements: elements.iter().map(|one| (*one).clone()).collect(),
                who: who.to_vec(),
            });
        }
    }

    /// Takes in what a transaction wrote. Called in order of commits.
    fn write(&mut self, all: &'a [Transaction], at: usize) {
        let one = &all[at];
        let commit = one.commit();
        let is_list = self.objects == Objects::Lists;
        let mut last: Vec<(&'a Value, &'a Value)> = Vec::new();
        for (_, key, value) in one.micro().filter(|(f, ..)| *f != "r") {
            if !is_list {
                last.retain(|(of, _)| *of != key);
            }
            last.push((key, value));
        }
        let mut keys: Vec<&Value> = Vec::new();
        for (key, value) in last {
            let versions = self.versions.entry(key).or_default();
            let before = versions.last().filter(|before| before.by != at).copied();
            versions.push(Version {
                commit,
                by: at,
                value,
            });
            let conflicts = |before: &Version| {
                !self.serial && !keys.contains(&key) && before.commit > one.start()
            };
            if let Some(before) = before.filter(conflicts) {
                self.find("NOCONFLICT", key, &[], &[before.by, at]);
            }
            keys.push(key);
        }
    }

    fn read(&mut self, told: &'a Told, at: usize) {
        let all = &told.transactions;
        let one = &all[at];
        let mut own: Vec<(&Value, &Value)> = Vec::new();
        for (f, key, value) in one.micro() {
            if f != "r" {
                own.push((key, value));
                continue;
            }
            let mine: Vec<&Value> = own
                .iter()
                .filter(|(of, _)| *of == key)
                .map(|(_, value)| *value)
                .collect();
            if self.objects == Objects::Lists {
                self.read_list(told, at, key, value, &mine);
            } else if let Some(last) = mine.last() {
                if *last != value {
                    self.find("INT", key, &[], &[at]);
                }
            } else {
                self.read_register(told, at, key, value);
            }
        }
    }

    /// How many versions of a key a transaction must see.
    fn visible(&self, one: &Transaction, key: &Value) -> usize {
        let versions = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        versions.partition_point(|version| match self.serial {
            true => version.commit < one.commit(),
            false => version.commit <= one.start(),
        })
    }

    fn ext(&self) -> &'static str {
        match self.serial {
            true => "EXT-commit",
            false => "EXT",
        }
    }

    fn read_list(
        &mut self,
        told: &'a Told,
        at: usize,
        key: &'a Value,
        value: &'a Value,
        own: &[&Value],
    ) {
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        let foreign = list.len().saturating_sub(own.len());
        let ends = list.len() >= own.len() && list[foreign..].iter().eq(own.iter().copied());
        if !ends {
            return self.find("INT", key, &[], &[at]);
        }
        let seen = &list[..foreign];
        let count = self.visible(&told.transactions[at], key);
        let versions = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let expected = &versions[..count];
        if seen.iter().eq(expected.iter().map(|version| version.value)) {
            return;
        }
        let (ext, expected) = (self.ext(), expected.to_vec());
        if let Some(missing) = expected.iter().find(|one| !seen.contains(one.value)) {
            return self.find(ext, key, &[missing.value], &[at, missing.by]);
        }
        let later: Vec<Version> = versions[count..].to_vec();
        let mut strange = seen.iter();
        let is_expected = |one: &Value| expected.iter().any(|version| version.value == one);
        if let Some(element) = strange.find(|one| !is_expected(one)) {
            return match later.iter().find(|version| version.value == element) {
                Some(version) => self.find(ext, key, &[element], &[at, version.by]),
                None => self.stranger(told, at, key, element),
            };
        }
        // All that must be there is, in another order, or twice.
        let pairs = seen.windows(2).find_map(|pair| {
            let by = |value: &Value| expected.iter().position(|version| version.value == value);
            let (first, second) = (by(&pair[0])?, by(&pair[1])?);
            (first >= second).then(|| (pair, expected[first].by, expected[second].by))
        });
        if let Some((pair, first, second)) = pairs {
            self.find(ext, key, &[&pair[0], &pair[1]], &[at, first, second]);
        }
    }

    fn read_register(&mut self, told: &'a Told, at: usize, key: &'a Value, value: &'a Value) {
        let count = self.visible(&told.transactions[at], key);
        let versions = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let expected = count.checked_sub(1).map(|last| versions[last]);
        if expected.map_or(&Value::Null, |version| version.value) == value {
            return;
        }
        let source = versions
            .iter()
            .rev()
            .find(|version| version.value == value)
            .copied();
        let ext = self.ext();
        match (source, expected) {
            (Some(source), _) if source.by == at => self.find("INT", key, &[], &[at]),
            (Some(source), Some(expected)) if source.commit < expected.commit => {
                self.find(
                    ext,
                    key,
                    &[expected.value, value],
                    &[at, expected.by, source.by],
                );
            }
            (Some(source), _) => self.find(ext, key, &[value], &[at, source.by]),
            (None, Some(expected)) if value.is_null() => {
                self.find(ext, key, &[expected.value], &[at, expected.by]);
            }
            (None, _) => self.stranger(told, at, key, value),
        }
    }

    /// Something was read that no committed transaction left.
    fn stranger(&mut self, told: &Told, at: usize, key: &Value, value: &Value) {
        let writes = |one: &Transaction| {
            let mut all = one.micro();
            all.any(|(f, of, what)| f != "r" && of == key && what == value)
        };
        match told.transactions.iter().position(writes) {
            None => self.find("garbage-read", key, &[value], &[at]),
            Some(by) if told.transactions[by].is_failed() => {
                self.find("G1a", key, &[value], &[at, by]);
            }
            Some(by) if told.transactions[by].is_ok() && by != at => {
                self.find("G1b", key, &[value], &[at, by]);
            }
            Some(by) => {
                let why = format!(
                    "event {}: of this transaction it is not known when it committed, and it was read",
                    told.transactions[by].event()
                );
                self.open.get_or_insert(why);
            }
        }
    }

    /// Whether timestamps keep to the order of sessions and to real time.
    fn order(&mut self, all: &[Transaction], by_commit: &[usize], respects: Respects) {
        let point = |at: usize| match self.serial {
            true => all[at].commit(),
            false => all[at].start(),
        };
        let mut found: Vec<(&'static str, usize, usize)> = Vec::new();
        if respects >= Respects::Sessions {
            let mut last: FxHashMap<u64, usize> = FxHashMap::default();
            let mut by_invoke = by_commit.to_vec();
            by_invoke.sort_unstable();
            for at in by_invoke {
                let before = last.insert(all[at].process, at);
                if let Some(before) = before.filter(|before| all[*before].commit() > point(at)) {
                    found.push(("SESSION", before, at));
                }
            }
        }
        if respects == Respects::Realtime {
            let mut by_end = by_commit.to_vec();
            by_end.sort_by_key(|at| all[*at].complete);
            let mut ended = by_end.into_iter().peekable();
            let mut latest: Option<usize> = None;
            let mut by_invoke = by_commit.to_vec();
            by_invoke.sort_by_key(|at| all[*at].invoke);
            for at in by_invoke.into_iter().filter(|at| all[*at].invoke.is_some()) {
                while let Some(one) = ended.next_if(|one| all[*one].complete < all[at].invoke) {
                    if latest.is_none_or(|latest| all[latest].commit() < all[one].commit()) {
                        latest = Some(one);
                    }
                }
                if let Some(before) = latest.filter(|before| all[*before].commit() > point(at)) {
                    found.push(("REALTIME", before, at));
                }
            }
        }
        for (anomaly, before, at) in found {
            self.find(anomaly, &Value::Null, &[], &[before, at]);
        }
    }

    fn conclude(&self, told: &Told, level: &Level) -> CheckResult {
        let mut proofs = Vec::new();
        let mut unproved = None;
        for finding in &self.findings {
            let one = evidence(told, finding, self.objects);
            match verify_anomaly(&one) {
                Ok(()) => proofs.push(Evidence::Anomaly(Box::new(one))),
                Err(why) => unproved = Some(why.to_string()),
            }
        }
        let mut counts: Vec<(&str, u64)> = self.counts.iter().map(|(a, b)| (*a, *b)).collect();
        counts.sort_unstable();
        let names: Vec<String> = counts
            .iter()
            .map(|(name, count)| match count {
                1 => (*name).to_owned(),
                count => format!("{name} ({count} times)"),
            })
            .collect();
        let (valid, reason) = match (&proofs[..], unproved, &self.open) {
            ([_, ..], ..) => (
                Valid::False,
                format!("by its timestamps not {}: {}", level.name, names.join(", ")),
            ),
            ([], Some(why), _) => (
                Valid::Unknown,
                format!("something was found that could not be proved again: {why}"),
            ),
            ([], None, Some(why)) => (Valid::Unknown, why.clone()),
            ([], None, None) if self.versions.is_empty() => (
                Valid::Unknown,
                "not enough evidence: no transaction with timestamps wrote anything".to_owned(),
            ),
            ([], None, None) => (
                Valid::True,
                format!("{}, by its timestamps: no anomaly", level.name),
            ),
        };
        let mut result = CheckResult::new(valid, reason);
        result.evidence = proofs;
        let counts = counts
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()));
        let counts: serde_json::Map<String, Value> = counts.collect();
        result.details.insert("anomalies".to_owned(), counts.into());
        let transactions = told.transactions.len().into();
        result
            .details
            .insert("transactions".to_owned(), transactions);
        result
            .details
            .insert("consistency".to_owned(), level.name.into());
        result
    }
}
