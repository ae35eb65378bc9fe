//! What sums show of who came before whom.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::super::anomaly::Anomaly;
use super::super::graph::{DEPENDENCIES, Graph, HOP, RW, Sink, Time, WR};
use super::super::scan::Sightings;
use super::{History, Outcome, micro, sum_of};
use crate::budget::{Budget, Exhausted};

/// What a transaction, which did not fail, added to a counter in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Add {
    pub(super) writer: u32,
    pub(super) total: u64,
    /// The most that it read before it added.
    pub(super) base: u64,
}

impl Add {
    /// The least that there is with it.
    pub(super) fn least(&self) -> u64 {
        self.base.saturating_add(self.total)
    }

    /// Whether it was seen by a read of this sum, for which others than the reader can have added so much.
    pub(super) fn must_be_in(&self, sum: u64, others: u64) -> bool {
        sum <= others && self.total > others - sum
    }

    /// Whether it was not seen by a read of this sum.
    pub(super) fn cannot_be_in(&self, sum: u64) -> bool {
        self.least() > sum
    }
}

/// A read of a committed transaction before it added anything to the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Read {
    pub(super) sum: u64,
    pub(super) reader: u32,
}

/// A key with all that was done to it.
pub(super) struct Counter<'a> {
    pub(super) key: &'a Value,
    /// Ascending by writer.
    pub(super) adds: Vec<Add>,
    /// Ascending by sum.
    pub(super) reads: Vec<Read>,
    /// The sums that were read, ascending. Between each and the next is a gap.
    pub(super) sums: Vec<u64>,
    /// What all may have added.
    pub(super) total: u64,
    /// The number of its first gap among those of all counters.
    pub(super) first_gap: u32,
}

impl Counter<'_> {
    /// What a transaction added to it.
    pub(super) fn of(&self, writer: u32) -> Option<&Add> {
        let at = self.adds.binary_search_by_key(&writer, |add| add.writer);
        at.ok().map(|at| &self.adds[at])
    }

    /// What others than a transaction may have added to it.
    pub(super) fn others(&self, transaction: u32) -> u64 {
        self.total - self.of(transaction).map_or(0, |add| add.total)
    }

    fn gaps(&self) -> u32 {
        self.sums.len().saturating_sub(1) as u32
    }
}

/// What sums show.
pub(super) struct Inferred<'a> {
    pub(super) history: &'a History,
    /// In order of their first appearance.
    pub(super) counters: Vec<Counter<'a>>,
    pub(super) numbers: FxHashMap<&'a Value, u32>,
    /// `(from, to, relation)`.
    edges: Vec<(u32, u32, u8)>,
    committed: Vec<bool>,
    pub(super) sightings: Sightings,
    /// By their numbers in sightings, values.
    pub(super) named: Vec<Value>,
}

/// What a transaction did with a counter so far.
#[derive(Default)]
struct Touched {
    key: u32,
    added: u64,
    base: u64,
    /// What must be there, as it has read before.
    known: Option<u64>,
}

impl<'a> Inferred<'a> {
    pub(super) fn of(history: &'a History, budget: &dyn Budget) -> Result<Inferred<'a>, Exhausted> {
        let ok = history.all.outcome.iter().map(|one| *one == Outcome::Ok);
        let mut this = Inferred {
            history,
            counters: Vec::new(),
            numbers: FxHashMap::default(),
            edges: Vec::new(),
            committed: ok.collect(),
            sightings: Sightings::default(),
            named: Vec::new(),
        };
        for at in 0..history.values.len() as u32 {
            budget.charge(64 * history.values[at as usize].as_array().map_or(1, Vec::len))?;
            this.transaction(at);
            budget.check()?;
        }
        let mut gaps = 0;
        for number in 0..this.counters.len() as u32 {
            this.scan(number, budget)?;
            let counter = &mut this.counters[number as usize];
            counter.first_gap = gaps;
            gaps += counter.gaps();
        }
        let committed = &this.committed;
        this.edges
            .retain(|(from, to, _)| committed[*from as usize] && committed[*to as usize]);
        Ok(this)
    }

    pub(super) fn saw(&mut self, anomaly: Anomaly, key: u32, values: &[Value], who: &[u32]) {
        let first = self.named.len() as u32;
        self.named.extend_from_slice(values);
        let codes: Vec<u32> = (first..self.named.len() as u32).collect();
        self.sightings.add(anomaly, key, &codes, who);
    }

    fn number(&mut self, key: &'a Value) -> u32 {
        let next = self.counters.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.counters.push(Counter {
                key,
                adds: Vec::new(),
                reads: Vec::new(),
                sums: Vec::new(),
                total: 0,
                first_gap: 0,
            });
        }
        number
    }

    /// What a transaction added and read, and whether that agrees with itself.
    fn transaction(&mut self, at: u32) {
        let history = self.history;
        let outcome = history.all.outcome[at as usize];
        let mut touched: Vec<Touched> = Vec::new();
        for (f, key, what) in micro(&history.values[at as usize]) {
            let key = self.number(key);
            let place = touched.iter().position(|one| one.key == key);
            let place = place.unwrap_or_else(|| {
                touched.push(Touched {
                    key,
                    ..Touched::default()
                });
                touched.len() - 1
            });
            let one = &mut touched[place];
            if f == "inc" {
                let n = what.as_u64().unwrap_or_default();
                one.added += n;
                one.known = one.known.map(|known| known.saturating_add(n));
                continue;
            }
            if outcome != Outcome::Ok {
                continue;
            }
            let Some(sum) = sum_of(what) else {
                self.saw(Anomaly::GarbageRead, key, std::slice::from_ref(what), &[at]);
                continue;
            };
            let (own, known) = (one.added, one.known.replace(sum));
            if own == 0 {
                one.base = one.base.max(sum);
                let reads = &mut self.counters[key as usize].reads;
                reads.push(Read { sum, reader: at });
            }
            if known.is_some_and(|known| known != sum) || sum < own {
                self.saw(Anomaly::Internal, key, &[], &[at]);
            }
            if sum < own {
                self.saw(Anomaly::UnseenOwnWrite, key, &[], &[at]);
            }
        }
        for one in touched.iter().filter(|one| one.added > 0) {
            if outcome != Outcome::Fail {
                let counter = &mut self.counters[one.key as usize];
                counter.total += one.added;
                counter.adds.push(Add {
                    writer: at,
                    total: one.added,
                    base: one.base,
                });
            }
        }
    }

    /// What the reads of a counter show of others.
    fn scan(&mut self, number: u32, budget: &dyn Budget) -> Result<(), Exhausted> {
        let counter = &mut self.counters[number as usize];
        counter.reads.sort_unstable();
        counter.reads.dedup();
        self.bounds(number);
        let counter = &mut self.counters[number as usize];
        counter.sums = counter.reads.iter().map(|read| read.sum).collect();
        counter.sums.dedup();
        let slack = |read: &Read| counter.others(read.reader) - read.sum;
        let mut by_slack: Vec<(u64, u32)> = counter
            .reads
            .iter()
            .map(|read| (slack(read), read.reader))
            .collect();
        by_slack.sort_unstable();
        for add in &counter.adds {
            let before = self.edges.len();
            let sees = by_slack.partition_point(|(slack, _)| *slack < add.total);
            let saw = by_slack[..sees].iter().map(|(_, reader)| *reader);
            for reader in saw.filter(|reader| *reader != add.writer) {
                self.committed[add.writer as usize] = true;
                self.edges.push((add.writer, reader, WR));
            }
            // Who read less than the writer itself did comes before it as one who read less.
            let from = counter.reads.partition_point(|read| read.sum < add.base);
            let lacks = counter.reads[from..]
                .iter()
                .take_while(|read| add.cannot_be_in(read.sum));
            let lacks = lacks.filter(|read| read.reader != add.writer);
            self.edges
                .extend(lacks.map(|read| (read.reader, add.writer, RW)));
            budget.charge((self.edges.len() - before) * 12)?;
            budget.check()?;
        }
        Ok(())
    }

    /// From each reader to the gap after its sum, and from there to all who read more. Gaps are vertices after the transactions; the
    /// ways from them are relays, one for each sum, each with a hop to the next.
    fn each_growth(&self, first: u32, first_relay: u32, visit: Sink) {
        for counter in &self.counters {
            let last = counter.gaps();
            let (gap, relay) = (first + counter.first_gap, first_relay + counter.first_gap);
            let mut at = 0;
            for read in &counter.reads {
                at += u32::from(counter.sums[at as usize] < read.sum);
                if at < last {
                    visit(read.reader, gap + at, RW);
                }
                if at > 0 {
                    visit(relay + at - 1, read.reader, HOP);
                }
            }
            for at in 0..last {
                visit(gap + at, relay + at, WR);
                if at + 1 < last {
                    visit(relay + at, relay + at + 1, HOP);
                }
            }
        }
    }

    /// All that is known of who came before whom, and whether any of it comes from reads.
    pub(super) fn graph(&self, budget: &dyn Budget) -> Result<(Graph, bool), Exhausted> {
        let gaps: u32 = self.counters.iter().map(Counter::gaps).sum();
        let first = self.history.values.len() as u32;
        let time = Time::new(&self.history.all, &self.committed, first + 2 * gaps, budget)?;
        let each = |visit: Sink| {
            for (from, to, relation) in &self.edges {
                visit(*from, *to, *relation);
            }
            self.each_growth(first, first + gaps, visit);
            time.each_process(visit);
            time.each_moment(visit);
        };
        let graph = Graph::build(time.end(), first + gaps, &each, budget)?;
        let depends = gaps > 0 || self.edges.iter().any(|edge| edge.2 & DEPENDENCIES != 0);
        Ok((graph, depends))
    }
}
