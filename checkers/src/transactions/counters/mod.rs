//! Counters: transactions that add to counters and read their sums.
//!
//! All increments are positive, so a counter grows with each transaction that changes it: its versions are its values, and a greater value
//! is a later version. A read does not show *whose* increments came before it, but four things follow from the sum that it shows:
//!
//! | what a read shows | what follows |
//! | --- | --- |
//! | more than others can have added without a transaction | it saw this transaction (`wr`) |
//! | less than there was after a transaction, if nothing else | it did not see this transaction (`rw`) |
//! | less than another read | some increment came between, which it did not see and the other saw: `rw`, then dependencies (*grew*) |
//! | more than was begun when it ended, less than was done when it began | it saw, or missed, *some* transaction: a cycle with real time |
//!
//! # What is taken for true
//!
//! All of this is about versions that committed transactions leave, as read committed has them: who reads what a failed or an
//! unfinished transaction added is not read committed, nor of any level that rules out one of the cycles here. So each argument may
//! take it for granted.
//!
//! - Who is `ok` happened, who failed did not. One of unknown outcome counts in what may have been added; it happened if some read
//!   must have seen it, and is left out otherwise.
//! - Only a read before the reader's own increments of the key is evidence of others: a later one may show them or (below read
//!   atomic) not. Later ones are compared with what the transaction itself knows (`internal`).
//! - A transaction that read a value and then added to it comes after what it read, or the reads and writes have a cycle without any
//!   anti-dependency. So whoever read less than both together did not see it.
//! - Of what grew, nobody knows who made the first increment after the smaller read. It may be the smaller reader itself: then the
//!   cycle has an anti-dependency fewer, and is ruled out by all levels that rule out the one that is shown. Each gap between two
//!   values is a vertex of its own, so that no anti-dependencies are taken for adjacent or apart that are not.
//!
//! Which sums the increments can make is asked of their total and their common divisor alone. So levels are disproved and never
//! proved: where nothing is found, the verdict is `unknown`.

mod bounds;
pub(super) mod explain;
mod infer;
pub(super) mod verify;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use store::{Event, EventType, Process};

use super::Options;
use super::anomaly::Anomaly;
use super::cast::{Cast, view};
use super::collected::{Collect, Collected, Pairing};
use super::components::components;
use super::conclude::{NOT_ENOUGH, Proved, conclude_all, cycles};
use super::evidence::{AnomalyEvidence, Cycle, Objects, Relation, Step};
use super::explain as sentences;
use super::graph::{PROCESS, REALTIME, RW, WR};
use super::history::{Outcome, Transactions};
use super::models::{Boundary, Level};
use super::scan::Sighting;
use super::search::{Found, Link};
use super::sets::micro;
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Feed};
use infer::Inferred;

/// Checks the isolation of transactions that add to counters and read them.
///
/// Values are `[["inc", key, n], ["r", key, value]]`, with positive integers `n`. A counter that was never added to is 0 or null.
pub struct CounterInc {
    options: Options,
    collected: Collected<History>,
}

#[derive(Default)]
struct History {
    /// Who did what when, but for the micro-operations.
    all: Transactions,
    values: Vec<Value>,
    pairing: Pairing,
    /// The sum of all increments of all counters.
    total: u64,
}

/// What a read shows, if it is what a counter can be.
fn sum_of(shown: &Value) -> Option<u64> {
    match shown {
        Value::Null => Some(0),
        // Some formats have no integers.
        Value::Number(number) => number.as_u64().or_else(|| {
            let whole = |one: &f64| one.fract() == 0.0 && (0.0..9e15).contains(one);
            number.as_f64().filter(whole).map(|one| one as u64)
        }),
        _ => None,
    }
}

impl Collect for History {
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        let index = event.index;
        if &*event.f != "txn" {
            return Err(format!(
                "event {index}: this function is {:?}; a counter-inc history has \"txn\" alone",
                event.f
            ));
        }
        let parts = event.value.as_array().map_or(0, Vec::len);
        let is_known =
            |f: &str, what: &Value| f == "r" || f == "inc" && what.as_u64().is_some_and(|n| n > 0);
        let known = micro(&event.value).filter(|(f, _, what)| is_known(f, what));
        if known.count() != parts || parts == 0 && !event.value.is_null() && !event.value.is_array()
        {
            return Err(format!(
                "event {index}: micro-operations are [\"inc\", key, n] of a positive integer, or [\"r\", key, value]"
            ));
        }
        let incs = micro(&event.value).filter(|(f, ..)| *f == "inc");
        for n in incs.filter_map(|(_, _, n)| n.as_u64()) {
            self.total = self
                .total
                .checked_add(n)
                .ok_or_else(|| format!("event {index}: the sum of all increments is too large"))?;
        }
        let (at, is_first) = self.pairing.take(&mut self.all, process, event);
        if is_first {
            self.values.push(event.value.clone());
        } else if event.kind == EventType::Ok {
            self.values[at as usize] = event.value.clone();
        }
        Ok(())
    }
}

impl CounterInc {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> CounterInc {
        CounterInc {
            options,
            collected: Collected::default(),
        }
    }
}

impl Checker for CounterInc {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.collected.feed(events, budget)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let level = self.options.consistency;
        self.collected
            .judged(|history| judge(history, level, budget))
    }
}

impl Inferred<'_> {
    fn sighting(&self, sighting: &Sighting) -> AnomalyEvidence {
        let mut cast = Cast::default();
        let views = sighting.transactions.iter().map(|one| {
            view(&self.history.all, *one, cast.name(*one), &|one| {
                self.micro(one)
            })
        });
        let elements = sighting.codes.iter();
        let mut evidence = AnomalyEvidence {
            anomaly: sighting.anomaly.name().to_owned(),
            objects: Objects::Counters,
            minimal: false,
            key: self.counters[sighting.key as usize].key.clone(),
            elements: elements
                .map(|one| self.named[*one as usize].clone())
                .collect(),
            transactions: views.collect(),
            explanation: Vec::new(),
        };
        evidence.explanation = sentences::anomaly(&evidence);
        evidence
    }

    /// What was recorded; nobody knows what one that is not `ok` read.
    fn micro(&self, transaction: u32) -> Value {
        self.history.values[transaction as usize].clone()
    }

    fn cycle(&self, found: &Found) -> Option<Cycle> {
        let mut cast = Cast::default();
        let count = self.history.values.len() as u32;
        let mut links = found.links.clone();
        // A gap has a way in and a way out, which are one step.
        let first = links.iter().position(|link| link.from < count)?;
        links.rotate_left(first);
        let mut steps = Vec::new();
        let mut links = links.iter();
        while let Some(link) = links.next() {
            let from = cast.name(link.from);
            steps.push(match link.to < count {
                true => self.step(link, from, cast.name(link.to))?,
                false => {
                    let to = links.next()?.to;
                    self.grew(link, from, (to, cast.name(to)))?
                }
            });
        }
        let mut cycle = Cycle {
            anomaly: found.anomaly.name().to_owned(),
            objects: Objects::Counters,
            shortest: found.shortest,
            minimal: false,
            steps,
            transactions: cast.views(&self.history.all, &|one| self.micro(one)),
            versions: Vec::new(),
            explanation: Vec::new(),
        };
        cycle.explanation = sentences::cycle(&cycle);
        Some(cycle)
    }

    fn step(&self, link: &Link, from: String, to: String) -> Option<Step> {
        let mut step = Step::new(from, to, Relation::Realtime);
        let (reader, writer) = match link.relation {
            WR => (link.to, link.from),
            RW => (link.from, link.to),
            PROCESS => {
                step.relation = Relation::Process;
                return Some(step);
            }
            REALTIME => return Some(step),
            _ => return None,
        };
        // Keys of the reader: few.
        let keys = micro(&self.history.values[reader as usize]).filter_map(|(f, key, _)| {
            let number = self.numbers.get(key).filter(|_| f == "r")?;
            Some(&self.counters[*number as usize])
        });
        let mut keys = keys.collect::<Vec<_>>().into_iter();
        keys.find_map(|counter| {
            let add = counter.of(writer)?;
            let reads = counter.reads.iter().filter(|read| read.reader == reader);
            let others = counter.others(reader);
            let mut reads = reads.filter(|read| match link.relation {
                WR => add.must_be_in(read.sum, others),
                _ => add.cannot_be_in(read.sum),
            });
            let read = reads.next()?;
            step.key = Some(counter.key.clone());
            step.value = Some(read.sum.into());
            (step.relation, step.next) = match link.relation {
                WR => (Relation::Wr, Some(others.into())),
                _ => (Relation::Rw, Some(add.least().into())),
            };
            Some(step.clone())
        })
    }

    /// The two links through a gap.
    fn grew(&self, link: &Link, from: String, (to, name): (u32, String)) -> Option<Step> {
        let gap = link.to - self.history.values.len() as u32;
        let number = self.counters.partition_point(|one| one.first_gap <= gap);
        let counter = self.counters.get(number.checked_sub(1)?)?;
        let less = counter.sums[(gap - counter.first_gap) as usize];
        let mut later = counter.reads.iter();
        let more = later.find(|read| read.reader == to && read.sum > less)?;
        Some(Step {
            key: Some(counter.key.clone()),
            value: Some(less.into()),
            next: Some(more.sum.into()),
            ..Step::new(from, name, Relation::Grew)
        })
    }
}

fn judge(history: &History, level: &Level, budget: &dyn Budget) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let inferred = Inferred::of(history, budget)?;
    let mut counts = serde_json::Map::new();
    counts.insert("transactions".to_owned(), json!(history.values.len()));
    counts.insert("keys".to_owned(), json!(inferred.counters.len()));
    let (graph, depends) = inferred.graph(budget)?;
    let found = cycles(&graph, &components(&graph, !0, budget)?, budget)?;
    let proved = Proved::of(
        &inferred.sightings,
        &found,
        |sighting| inferred.sighting(sighting),
        |found| inferred.cycle(found),
    );
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    let boundary = Boundary::of(&anomalies, &[], &|_| false);
    let open = || match depends {
        false => NOT_ENOUGH.to_owned(),
        true => format!(
            "nothing was found against {}; sums do not show whose increments were seen, so no model of counters is proved to hold",
            level.name
        ),
    };
    Ok(conclude_all(level, counts, &proved, &boundary, open))
}
