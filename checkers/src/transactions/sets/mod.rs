//! Sets: transactions that add elements to sets and read them.
//!
//! A read shows whose adds came before it, and, by absence, whose came after; nothing is known of the order of adds, nor does it matter
//! (Kingsbury and Alvaro 2020, §3). So there are read dependencies and anti-dependencies, and no write dependencies.
//!
//! What is known of each reader and each add is everything that reads can show: if these dependencies have no cycle, any order that
//! keeps to them explains all reads, so serializable and its strong variants are decided, and so is read committed. Levels that
//! ask which of two writers came first (snapshot isolation, cursor stability …) are disproved by the cycles that they rule out, and
//! hold where a stronger one does.

pub(super) mod explain;
pub(super) mod verify;

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};
use store::{Event, EventType, Process};

use super::Options;
use super::anomaly::Anomaly;
use super::cast::{Cast, view};
use super::collected::{Collect, Collected, Pairing};
use super::components::components;
use super::conclude::{NOT_ENOUGH, Proved, conclude_all, cycles, undecided};
use super::evidence::{AnomalyEvidence, Cycle, Objects, Relation, Step};
use super::explain as sentences;
use super::graph::{PROCESS, REALTIME, RW, Sink, Time, WR};
use super::history::{Outcome, Transactions};
use super::models::{Boundary, Level};
use super::scan::{Sighting, Sightings};
use super::search::{Found, Link};
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Feed, Valid};

/// The levels that are decided.
const DECIDED: &[&str] = &[
    "read-committed",
    "read-uncommitted",
    "repeatable-read",
    "serializable",
    "strict-serializable",
    "strong-read-committed",
    "strong-read-uncommitted",
    "strong-session-read-committed",
    "strong-session-read-uncommitted",
    "strong-session-serializable",
];

/// Checks the isolation of transactions that add elements to sets and read them.
///
/// Values are `[["add", key, element], ["r", key, elements]]`. Each element is added to its key at most once.
pub struct SetAdd {
    options: Options,
    collected: Collected<History>,
}

#[derive(Default)]
struct History {
    /// Who did what when, but for the micro-operations.
    all: Transactions,
    values: Vec<Value>,
    pairing: Pairing,
}

/// Micro-operations as function, key, and element or elements.
pub(super) fn micro(value: &Value) -> impl DoubleEndedIterator<Item = (&str, &Value, &Value)> {
    let all = value.as_array().map_or(&[][..], Vec::as_slice).iter();
    all.filter_map(|one| {
        let what = one.get(2).unwrap_or(&Value::Null);
        Some((one.get(0)?.as_str()?, one.get(1)?, what))
    })
}

impl Collect for History {
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        let index = event.index;
        if &*event.f != "txn" {
            return Err(format!(
                "event {index}: this function is {:?}; a set-add history has \"txn\" alone",
                event.f
            ));
        }
        let parts = event.value.as_array().map_or(0, Vec::len);
        let is_list = |what: &Value| what.is_null() || what.is_array();
        let known = micro(&event.value)
            .filter(|(f, _, what)| *f == "add" || *f == "r" && is_list(what))
            .count();
        if known != parts || parts == 0 && !event.value.is_null() && !event.value.is_array() {
            return Err(format!(
                "event {index}: micro-operations are [\"add\", key, element] or [\"r\", key, elements]"
            ));
        }
        let (at, is_first) = self.pairing.take(&mut self.all, process, event);
        if is_first {
            self.values.push(event.value.clone());
        } else if event.kind == EventType::Ok {
            self.values[at as usize] = event.value.clone();
        }
        Ok(())
    }

    fn bytes(event: &Event) -> usize {
        let elements: usize = micro(&event.value)
            .map(|(_, _, what)| 4 + what.as_array().map_or(1, Vec::len))
            .sum();
        256 + 32 * elements
    }
}

impl SetAdd {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> SetAdd {
        SetAdd {
            options,
            collected: Collected::default(),
        }
    }
}

impl Checker for SetAdd {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.collected.feed(events, budget)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let level = self.options.consistency;
        self.collected
            .judged(|history| judge(history, level, budget))
    }
}

/// What reads show.
struct Inferred<'a> {
    history: &'a History,
    /// By key, the elements that were added, with who did.
    adds: FxHashMap<&'a Value, Vec<(&'a Value, u32)>>,
    /// `(from, to, relation)`.
    edges: Vec<(u32, u32, u8)>,
    committed: Vec<bool>,
    sightings: Sightings,
    /// By their numbers in sightings, keys and elements.
    named: Vec<Value>,
    /// An element that was added twice.
    twice: Option<String>,
}

impl<'a> Inferred<'a> {
    fn of(history: &'a History, budget: &dyn Budget) -> Result<Inferred<'a>, Exhausted> {
        let ok = history.all.outcome.iter().map(|one| *one == Outcome::Ok);
        let mut this = Inferred {
            history,
            adds: FxHashMap::default(),
            edges: Vec::new(),
            committed: ok.collect(),
            sightings: Sightings::default(),
            named: Vec::new(),
            twice: None,
        };
        let mut there: FxHashSet<(&Value, &Value)> = FxHashSet::default();
        for (value, at) in history.values.iter().zip(0..) {
            for (_, key, element) in micro(value).filter(|(f, ..)| *f == "add") {
                this.adds.entry(key).or_default().push((element, at));
                if !there.insert((key, element)) {
                    let why = format!(
                        "the element {element} was added to key {key} twice: each element of a key must be unique"
                    );
                    this.twice.get_or_insert(why);
                }
            }
        }
        for at in 0..history.values.len() as u32 {
            budget.check()?;
            let before = this.edges.len();
            if history.all.is_ok(at) {
                this.reads(at);
            }
            budget.charge((this.edges.len() - before) * 12)?;
        }
        for (from, _, relation) in &this.edges {
            this.committed[*from as usize] |= *relation == WR;
        }
        let committed = &this.committed;
        this.edges
            .retain(|(from, to, _)| committed[*from as usize] && committed[*to as usize]);
        Ok(this)
    }

    fn saw(&mut self, anomaly: Anomaly, key: &Value, element: Option<&Value>, who: &[u32]) {
        let number = |named: &mut Vec<Value>, value: &Value| {
            named.push(value.clone());
            named.len() as u32 - 1
        };
        let key = number(&mut self.named, key);
        let codes: Vec<u32> = element
            .map(|element| number(&mut self.named, element))
            .into_iter()
            .collect();
        self.sightings.add(anomaly, key, &codes, who);
    }

    fn reads(&mut self, at: u32) {
        let history = self.history;
        let mut own: Vec<(&Value, &Value)> = Vec::new();
        let mut known: FxHashMap<&Value, FxHashSet<&Value>> = FxHashMap::default();
        for (f, key, what) in micro(&history.values[at as usize]) {
            if f == "add" {
                own.push((key, what));
                if let Some(known) = known.get_mut(key) {
                    known.insert(what);
                }
                continue;
            }
            let shown: FxHashSet<&Value> = what.as_array().into_iter().flatten().collect();
            let mine = own.iter().filter(|(of, _)| *of == key);
            let lacks = mine
                .into_iter()
                .any(|(_, element)| !shown.contains(element));
            let differs = known.get(key).is_some_and(|known| *known != shown);
            if lacks || differs {
                self.saw(Anomaly::Internal, key, None, &[at]);
            }
            self.read(at, key, &shown, &own);
            known.insert(key, shown);
        }
    }

    fn read(
        &mut self,
        at: u32,
        key: &'a Value,
        shown: &FxHashSet<&Value>,
        own: &[(&Value, &Value)],
    ) {
        let all = &self.history.all;
        let adds = self.adds.get(key).cloned().unwrap_or_default();
        let mut found = 0;
        for (element, by) in &adds {
            let is_shown = shown.contains(element);
            found += usize::from(is_shown);
            let failed = all.outcome[*by as usize] == Outcome::Fail;
            match (*by == at, is_shown) {
                (true, true) if !own.contains(&(key, *element)) => {
                    self.saw(Anomaly::FutureRead, key, Some(element), &[at]);
                }
                (true, _) => {}
                (false, true) if failed => self.saw(Anomaly::G1a, key, Some(element), &[at, *by]),
                (false, true) => {
                    self.edges.push((*by, at, WR));
                    let unfinished = adds
                        .iter()
                        .any(|(other, of)| of == by && !shown.contains(other));
                    if unfinished {
                        self.saw(Anomaly::G1b, key, Some(element), &[at, *by]);
                    }
                }
                (false, false) if !failed => self.edges.push((at, *by, RW)),
                (false, false) => {}
            }
        }
        if found < shown.len() {
            let known: FxHashSet<&Value> = adds.iter().map(|(element, _)| *element).collect();
            let mut garbage: Vec<&Value> = shown
                .iter()
                .filter(|one| !known.contains(**one))
                .copied()
                .collect();
            garbage.sort_by_key(|one| one.to_string());
            for element in garbage {
                self.saw(Anomaly::GarbageRead, key, Some(element), &[at]);
            }
        }
    }

    fn sighting(&self, sighting: &Sighting) -> AnomalyEvidence {
        let mut cast = Cast::default();
        let named = |number: &u32| self.named[*number as usize].clone();
        let views = sighting.transactions.iter().map(|one| {
            view(&self.history.all, *one, cast.name(*one), &|one| {
                self.micro(one)
            })
        });
        let mut evidence = AnomalyEvidence {
            anomaly: sighting.anomaly.name().to_owned(),
            objects: Objects::Sets,
            minimal: false,
            key: named(&sighting.key),
            elements: sighting.codes.iter().map(named).collect(),
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
        for link in &found.links {
            cast.name(link.from);
        }
        let steps = found.links.iter().map(|link| self.step(link, &mut cast));
        let mut cycle = Cycle {
            anomaly: found.anomaly.name().to_owned(),
            objects: Objects::Sets,
            shortest: found.shortest,
            minimal: false,
            steps: steps.collect::<Option<Vec<Step>>>()?,
            transactions: cast.views(&self.history.all, &|one| self.micro(one)),
            versions: Vec::new(),
            explanation: Vec::new(),
        };
        cycle.explanation = sentences::cycle(&cycle);
        Some(cycle)
    }

    fn step(&self, link: &Link, cast: &mut Cast) -> Option<Step> {
        let mut step = Step::new(cast.name(link.from), cast.name(link.to), Relation::Realtime);
        let (writer, reader, shown) = match link.relation {
            WR => (link.from, link.to, true),
            RW => (link.to, link.from, false),
            PROCESS => {
                step.relation = Relation::Process;
                return Some(step);
            }
            REALTIME => return Some(step),
            _ => return None,
        };
        let adds = micro(&self.history.values[writer as usize]).filter(|(f, ..)| *f == "add");
        let (key, element) = adds.into_iter().find_map(|(_, key, element)| {
            let reads = micro(&self.history.values[reader as usize]).filter(|(f, ..)| *f == "r");
            let mut of_key = reads.filter(|(_, of, _)| *of == key);
            let has = |what: &Value| what.as_array().is_some_and(|all| all.contains(element));
            let found = of_key.any(|(_, _, what)| has(what) == shown);
            found.then_some((key, element))
        })?;
        step.key = Some(key.clone());
        match shown {
            true => (step.relation, step.value) = (Relation::Wr, Some(element.clone())),
            false => (step.relation, step.next) = (Relation::Rw, Some(element.clone())),
        }
        Some(step)
    }
}

fn judge(history: &History, level: &Level, budget: &dyn Budget) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let inferred = Inferred::of(history, budget)?;
    let mut counts = serde_json::Map::new();
    counts.insert("transactions".to_owned(), json!(history.values.len()));
    counts.insert("keys".to_owned(), json!(inferred.adds.len()));
    if let Some(twice) = &inferred.twice {
        return Ok(CheckResult::new(Valid::Unknown, twice.clone()));
    }
    let time = Time::new(
        &history.all,
        &inferred.committed,
        history.values.len() as u32,
        budget,
    )?;
    let each = |visit: Sink| {
        for (from, to, relation) in &inferred.edges {
            visit(*from, *to, *relation);
        }
    };
    let (graph, depends) = time.graph(&each, budget)?;
    let found = cycles(&graph, &components(&graph, !0, budget)?, budget)?;
    let proved = Proved::of(
        &inferred.sightings,
        &found,
        |sighting| inferred.sighting(sighting),
        |found| inferred.cycle(found),
    );
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    let ways = match depends && proved.unproved.is_empty() {
        true => std::slice::from_ref(&anomalies),
        false => &[],
    };
    let boundary = Boundary::of(&anomalies, ways, &|level| DECIDED.contains(&level.name));
    let open = || match depends {
        false => NOT_ENOUGH.to_owned(),
        true => undecided(level, &boundary),
    };
    Ok(conclude_all(level, counts, &proved, &boundary, open))
}
