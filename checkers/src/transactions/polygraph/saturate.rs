//! What follows without trying: where one side of a choice would close a cycle, the other is a fact, and facts make more facts.
//!
//! This is the pruning of Cobra (OSDI 2020) and PolySI (VLDB 2023), to a fixed point, but by clocks of chains instead of a
//! closure of all pairs, and without writing the choices down. For a read of `w`'s `x` by `r` and another writer `s` of `x`:
//!
//! - if `s` comes before `r`, it comes before `w`. In each chain it is enough to know that of the last such `s`, for
//!   those before it come before it too;
//! - if `w` comes before `s`, so does `r`. Here it is enough to look from `s` at the last such `w` of each chain.
//!
//! Two writers of a key under snapshot isolation are settled like the latter. Where every write of a key follows a read of it
//! (*mini-transactions*, MTC, ICDE 2025), the first rounds settle everything.

use super::NONE;
use super::chains::{Chains, Clocks};
use super::graph::{EDGE_BYTES, Graph, Why};
use super::observations::INITIAL;
use super::problem::{Constraint, Problem};
use super::shortage::{self, Shortage};
use crate::budget::{Budget, Exhausted};

/// Rounds that add less than one fact for so many points are not worth their time: the search does better.
const WORTH: u32 = 2_000;

/// An edge that was derived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived {
    /// Of what it is the last possibility.
    pub(super) constraint: Constraint,
    /// Edges older than this refute the others.
    pub(super) epoch: u32,
}

/// Why a read cannot have seen a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruled {
    pub(super) read: u32,
    pub(super) candidate: u32,
    /// Who would have overwritten it before the read. `None`: the reader comes before the candidate.
    pub(super) by: Option<u32>,
    pub(super) epoch: u32,
}

/// A graph of facts.
pub(super) struct Facts {
    pub(super) graph: Graph,
    pub(super) derived: Vec<Derived>,
    /// By read.
    pub(super) ruled: Vec<Ruled>,
    /// Whom each read saw, or `NONE` while that is open.
    pub(super) source: Vec<u32>,
    /// The reads that are open, with those whom they may have seen.
    pub(super) open: Vec<(u32, Vec<u32>)>,
    /// The points in an order with which the graph agrees. Short of some, if the facts contradict each other.
    pub(super) sorted: Vec<u32>,
    /// A read that can have seen nobody.
    pub(super) blind: Option<u32>,
    /// Reads that are impossible together.
    pub(super) shortage: Option<Shortage>,
}

impl Facts {
    pub(super) fn contradict(&self) -> bool {
        self.blind.is_some()
            || self.shortage.is_some()
            || self.sorted.len() < self.graph.points() as usize
    }
}

/// A writer of a key that is in a chain.
#[derive(Clone, Copy)]
struct Entry {
    chain: u32,
    one: u32,
}

struct Saturation<'a> {
    problem: &'a Problem<'a>,
    chains: Chains,
    clocks: Clocks,
    /// Writers in chains by key, chain and place.
    entries: Vec<Entry>,
    /// Where each key's begin.
    start: Vec<u32>,
    facts: Facts,
    /// Readers by what they read: `(key, writer, read)`, sorted.
    readers: Vec<(u32, u32, u32)>,
    /// The edges that the round began with.
    epoch: u32,
}

/// What holds in any order, and nothing else.
fn known(problem: &Problem<'_>, budget: &dyn Budget) -> Result<Facts, Exhausted> {
    let graph = problem.graph();
    budget.charge(graph.edges() as usize * EDGE_BYTES)?;
    let sorted = graph.sort(budget)?;
    let reads = 0..problem.reader.len() as u32;
    let open = reads.clone().filter(|read| problem.source(*read).is_none());
    let open = open.map(|read| (read, problem.seen.candidates(read as usize).to_vec()));
    Ok(Facts {
        graph,
        derived: Vec::new(),
        ruled: Vec::new(),
        open: open.collect(),
        source: reads
            .map(|read| problem.source(read).unwrap_or(NONE))
            .collect(),
        sorted,
        blind: None,
        shortage: None,
    })
}

impl Facts {
    /// Counts what was read, where it may be of several.
    fn count(&mut self, problem: &Problem<'_>, budget: &dyn Budget) -> Result<(), Exhausted> {
        if self.open.is_empty() || self.contradict() {
            return Ok(());
        }
        let (source, open) = (&self.source, &self.open);
        let left = |read: u32| match open.binary_search_by_key(&read, |(read, _)| *read) {
            Ok(at) => &open[at].1[..],
            Err(_) => std::slice::from_ref(&source[read as usize]),
        };
        self.shortage = shortage::find(problem, &left, budget)?;
        Ok(())
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most rounds. A round finds what follows from the facts of the last.
    pub(super) rounds: u32,
    /// The most chains.
    pub(super) chains: usize,
}

/// What follows, within limits.
pub(super) fn saturate(
    problem: &Problem<'_>,
    limits: Limits,
    budget: &dyn Budget,
) -> Result<Facts, Exhausted> {
    let mut facts = known(problem, budget)?;
    facts.count(problem, budget)?;
    if limits.rounds == 0 || facts.contradict() {
        return Ok(facts);
    }
    let chains = Chains::new(problem, &facts.graph, &facts.sorted, limits.chains);
    let bytes = Clocks::bytes(&chains, problem.points());
    budget.charge(bytes)?;
    let (entries, start) = entries(problem, &chains);
    budget.charge(entries.len() * size_of::<Entry>() + start.len() * 4)?;
    let mut saturation = Saturation {
        problem,
        clocks: Clocks::new(&chains, problem.points()),
        chains,
        entries,
        start,
        facts,
        readers: Vec::new(),
        epoch: 0,
    };
    saturation.run(limits.rounds, budget)?;
    budget.release(bytes);
    let mut facts = saturation.facts;
    facts.ruled.sort_by_key(|ruled| ruled.read);
    if !facts.ruled.is_empty() {
        facts.count(problem, budget)?;
    }
    Ok(facts)
}

/// The writers of each key that are in chains, and where each key's begin.
fn entries(problem: &Problem<'_>, chains: &Chains) -> (Vec<Entry>, Vec<u32>) {
    let mut entries = Vec::new();
    let mut start = vec![0];
    for key in 0..problem.keys {
        let writers = problem.writers.of_list(key).iter();
        let known = writers.filter(|one| chains.of[**one as usize] != NONE);
        let from = entries.len();
        entries.extend(known.map(|one| Entry {
            chain: chains.of[*one as usize],
            one: *one,
        }));
        entries[from..]
            .sort_unstable_by_key(|entry| (entry.chain, chains.place[entry.one as usize]));
        start.push(entries.len() as u32);
    }
    (entries, start)
}

impl Saturation<'_> {
    fn run(&mut self, rounds: u32, budget: &dyn Budget) -> Result<(), Exhausted> {
        for round in 0..rounds {
            let before = self.facts.graph.edges();
            let new = std::mem::replace(&mut self.epoch, before);
            self.clocks.set(
                self.problem,
                &self.chains,
                &self.facts.graph,
                &self.facts.sorted,
                new,
                budget,
            )?;
            let resolved = self.resolve(budget)?;
            if self.facts.blind.is_some() {
                return Ok(());
            }
            self.read_rules(resolved, budget)?;
            self.write_rules(resolved, budget)?;
            let added = self.facts.graph.edges() - before;
            budget.charge(added as usize * (EDGE_BYTES + size_of::<Derived>()))?;
            self.facts.sorted = self.facts.graph.sort(budget)?;
            let little = added < self.facts.graph.points() / WORTH && round >= 8;
            if self.facts.contradict() || (added == 0 && !resolved) || (little && !resolved) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a moment of a transaction in a chain, at this time, comes before a point or is it.
    fn reaches(&self, transaction: u32, time: u32, point: u32) -> bool {
        let chain = self.chains.of[transaction as usize];
        chain != NONE && self.clocks.of(point)[chain as usize] >= time
    }

    fn enter_time(&self, one: u32) -> u32 {
        if self.problem.exclusive() {
            self.chains.begin(one)
        } else {
            self.chains.commit(one)
        }
    }

    fn derive(&mut self, from: u32, to: u32, constraint: Constraint) {
        let number = self.facts.derived.len() as u32;
        self.facts.derived.push(Derived {
            constraint,
            epoch: self.epoch,
        });
        self.facts.graph.add(from, to, Why::Derived(number));
    }

    fn span(&self, key: u32) -> std::ops::Range<usize> {
        self.start[key as usize] as usize..self.start[key as usize + 1] as usize
    }

    /// For each chain, the last writer of a key for which `time` is no later than the chain's clock at a point, and that
    /// is wanted.
    fn last_of_each(
        &self,
        key: u32,
        point: u32,
        time: impl Fn(u32) -> u32,
        wanted: impl Fn(u32) -> bool,
        found: &mut Vec<u32>,
    ) {
        found.clear();
        let clock = self.clocks.of(point);
        let entries = &self.entries[self.span(key)];
        let mut at = 0;
        while at < entries.len() {
            let chain = entries[at].chain;
            let length = entries[at..].partition_point(|entry| entry.chain == chain);
            let group = &entries[at..at + length];
            let limit = clock[chain as usize];
            let known = group.partition_point(|entry| time(entry.one) <= limit);
            let last = group[..known].iter().rev().find(|entry| wanted(entry.one));
            found.extend(last.map(|entry| entry.one));
            at += length;
        }
    }

    /// Rules out candidates of open reads.
    fn resolve(&mut self, budget: &dyn Budget) -> Result<bool, Exhausted> {
        let mut open = std::mem::take(&mut self.facts.open);
        let mut found = Vec::new();
        let before = self.facts.ruled.len();
        for (at, (read, left)) in open.iter_mut().enumerate() {
            if at.is_multiple_of(1 << 8) {
                budget.check()?;
            }
            let reader = self.problem.reader[*read as usize];
            let begin = self.problem.begin(reader);
            let key = self.problem.seen.key(*read as usize);
            let all = self.problem.seen.candidates(*read as usize);
            let strange = |one| one != reader && !all.contains(&one);
            self.last_of_each(
                key,
                begin,
                |one| self.chains.commit(one),
                strange,
                &mut found,
            );
            let mut ruled = Vec::new();
            left.retain(|candidate| {
                let by = found.iter().copied().find(|other| {
                    let commit = self.problem.commit(*other);
                    *candidate == INITIAL
                        || self.reaches(*candidate, self.enter_time(*candidate), commit)
                });
                let after = *candidate != INITIAL
                    && self.reaches(
                        reader,
                        self.chains.begin(reader),
                        self.problem.commit(*candidate),
                    );
                if by.is_some() || after {
                    let by = if after { None } else { by };
                    ruled.push(Ruled {
                        read: *read,
                        candidate: *candidate,
                        by,
                        epoch: self.epoch,
                    });
                }
                by.is_none() && !after
            });
            self.facts.ruled.append(&mut ruled);
            match left[..] {
                [] => self.facts.blind = Some(*read),
                [one] => {
                    self.facts.source[*read as usize] = one;
                    if one != INITIAL {
                        let (from, to) = (self.problem.commit(one), begin);
                        self.derive(from, to, Constraint::Choice { read: *read });
                    }
                }
                _ => {}
            }
        }
        open.retain(|(_, left)| left.len() > 1);
        self.facts.open = open;
        Ok(self.facts.ruled.len() > before)
    }

    /// Who comes before a reader, and is not whom it saw, comes before that.
    fn read_rules(&mut self, resolved: bool, budget: &dyn Budget) -> Result<(), Exhausted> {
        let mut found = Vec::new();
        self.readers.clear();
        for read in 0..self.problem.reader.len() as u32 {
            if read.is_multiple_of(1 << 10) {
                budget.check()?;
            }
            let writer = self.facts.source[read as usize];
            let key = self.problem.seen.key(read as usize);
            if writer == NONE {
                continue;
            }
            self.readers.push((key, writer, read));
            // Nothing comes before the initial value: what comes before its reader is a cycle or will be one.
            if writer == INITIAL && self.problem.source(read).is_some() {
                continue;
            }
            let reader = self.problem.reader[read as usize];
            let all = self.problem.seen.candidates(read as usize);
            let strange = |one| one != reader && !all.contains(&one);
            if writer == INITIAL {
                self.resolved_initial(read);
                continue;
            }
            let begin = self.problem.begin(reader);
            if !self.clocks.changed[begin as usize] && !resolved {
                continue;
            }
            self.last_of_each(
                key,
                begin,
                |one| self.chains.commit(one),
                strange,
                &mut found,
            );
            let enter = self.problem.enter(writer);
            for other in &found {
                if !self.reaches(*other, self.chains.commit(*other), enter) {
                    let constraint = Constraint::Between {
                        read,
                        writer,
                        other: *other,
                    };
                    self.derive(self.problem.commit(*other), enter, constraint);
                }
            }
        }
        self.readers.sort_unstable();
        Ok(())
    }

    /// A read that is now known to have seen the initial value comes before all other writers.
    fn resolved_initial(&mut self, read: u32) {
        let begin = self.problem.begin(self.problem.reader[read as usize]);
        let reader = self.problem.reader[read as usize];
        let others: Vec<u32> = self.problem.others(read).collect();
        for other in others {
            let commit = self.problem.commit(other);
            let chained = self.chains.of[reader as usize] != NONE;
            let known = if chained {
                self.reaches(reader, self.chains.begin(reader), commit)
            } else {
                self.linked(begin, commit)
            };
            if !known {
                let constraint = Constraint::Between {
                    read,
                    writer: INITIAL,
                    other,
                };
                self.derive(begin, commit, constraint);
            }
        }
    }

    fn linked(&self, from: u32, to: u32) -> bool {
        self.facts
            .graph
            .leaving(from)
            .any(|edge| self.facts.graph.to[edge as usize] == to)
    }

    /// Who saw a writer that comes before another writer of the key comes before that; and so does the
    /// writer's commit, where they exclude each other.
    fn write_rules(&mut self, resolved: bool, budget: &dyn Budget) -> Result<(), Exhausted> {
        let mut found = Vec::new();
        for key in 0..self.problem.keys {
            budget.check()?;
            for at in 0..self.problem.writers.of_list(key).len() {
                let other = self.problem.writers.of_list(key)[at];
                let commit = self.problem.commit(other);
                if !self.clocks.changed[commit as usize] && !resolved {
                    continue;
                }
                self.last_of_each(
                    key,
                    commit,
                    |one| self.enter_time(one),
                    |one| one != other,
                    &mut found,
                );
                for writer in &found {
                    self.follow(key, *writer, other);
                }
            }
        }
        Ok(())
    }

    /// What follows from a writer's coming before another.
    fn follow(&mut self, key: u32, writer: u32, other: u32) {
        if self.problem.exclusive() {
            let begin = self.problem.begin(other);
            if !self.reaches(writer, self.chains.commit(writer), begin) {
                let constraint = Constraint::Exclusive { one: writer, other };
                self.derive(self.problem.commit(writer), begin, constraint);
            }
        }
        let commit = self.problem.commit(other);
        let mut at = self.readers.partition_point(|one| *one < (key, writer, 0));
        while let Some((of, from, read)) = self.readers.get(at).copied() {
            if (of, from) != (key, writer) {
                break;
            }
            at += 1;
            let reader = self.problem.reader[read as usize];
            if reader == other || self.reaches(reader, self.chains.begin(reader), commit) {
                continue;
            }
            if self.problem.seen.candidates(read as usize).contains(&other) {
                continue;
            }
            let begin = self.problem.begin(reader);
            // What is in no chain is not seen to be there already.
            if self.chains.of[reader as usize] == NONE && self.linked(begin, commit) {
                continue;
            }
            self.derive(
                begin,
                commit,
                Constraint::Between {
                    read,
                    writer,
                    other,
                },
            );
        }
    }
}
