//! The search for an order: conflict-driven, with the order as its memory.
//!
//! All moments stand in an order that agrees with the graph. Where a read is wrong in it (another writer stands between
//! whom it saw and itself), one of two edges must be added; only then is that choice written down, as a clause. So of millions of
//! choices, those are considered that the present order gets wrong. Adding an edge moves some moments
//! ([`Order`]), which may put other reads wrong. What cannot be is learned as a clause and
//! excluded for good (Marques-Silva and Sakallah 1996; Zhang et al. 2001), with cycles of the graph as the theory
//! (as MonoSAT, AAAI 2015, does for Cobra and PolySI). Going back takes edges away, but leaves the order as it
//! is: most of what was right stays right, and is not searched again.
//!
//! When nothing is wrong, the order is the witness. When a contradiction needs no assumption, there is none.

mod learn;

use super::NONE;
use super::clauses::{Atoms, Clause, Origin, not, variable};
use super::graph::{EDGE_BYTES, Order, Why};
use super::observations::INITIAL;
use super::problem::{Constraint, Problem};
use crate::budget::{Budget, Exhausted};

/// Bytes that a clause takes besides its literals, and a variable, about.
const CLAUSE_BYTES: usize = 120;

/// What is wrong in an order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    /// The other one wrote between the read and whom it saw.
    Read { read: u32, other: u32 },
    /// The two overlap.
    Overlap { one: u32, other: u32 },
}

pub(super) struct Search<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) order: Order,
    /// Whom each read saw, or `NONE` if that is open.
    pub(super) source: &'a [u32],
    open: &'a [(u32, Vec<u32>)],
    pub(super) atoms: Atoms,
    pub(super) clauses: Vec<Clause>,
    watches: Vec<Vec<u32>>,
    /// By variable: 0 open, 1 true, 2 false.
    value: Vec<u8>,
    level: Vec<u32>,
    pub(super) reason: Vec<u32>,
    trail: Vec<u32>,
    /// How long the trail was when each level began.
    levels: Vec<usize>,
    /// How much of the trail is in the graph and has been propagated.
    done: usize,
    wrong: Vec<Wrong>,
    dirty: Vec<bool>,
    queue: std::collections::VecDeque<u32>,
    events: Vec<(u32, u32, u32)>,
    seen: Vec<bool>,
    pub(super) conflicts: u64,
    pub(super) decisions: u64,
    /// By transaction, how much it had to do with conflicts.
    pub(super) blame: Vec<f32>,
    /// What a conflict counts. Later ones count more.
    weight: f32,
    /// Reads and writes looked at.
    swept: u64,
}

/// How a search ended.
pub(super) enum End {
    /// The order explains everything.
    Order,
    /// This clause is false without any assumption.
    Contradiction(u32),
    /// It took too long.
    Effort,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        problem: &'a Problem<'a>,
        source: &'a [u32],
        open: &'a [(u32, Vec<u32>)],
        mut order: Order,
    ) -> Search<'a> {
        order.firm = order.graph.edges();
        Search {
            problem,
            order,
            source,
            open,
            atoms: Atoms::default(),
            clauses: Vec::new(),
            watches: Vec::new(),
            value: Vec::new(),
            level: Vec::new(),
            reason: Vec::new(),
            trail: Vec::new(),
            levels: Vec::new(),
            done: 0,
            wrong: Vec::new(),
            dirty: vec![true; problem.keys as usize],
            queue: (0..problem.keys).collect(),
            events: Vec::new(),
            seen: Vec::new(),
            conflicts: 0,
            decisions: 0,
            blame: vec![0.0; problem.seen.len() as usize],
            weight: 1.0,
            swept: 0,
        }
    }

    /// Searches to the end, or until so much effort is spent.
    pub(super) fn run(&mut self, effort: u64, budget: &dyn Budget) -> Result<End, Exhausted> {
        if let Some(clause) = self.choices(budget)? {
            return Ok(End::Contradiction(clause));
        }
        let mut turns = 0u32;
        loop {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(1 << 6) {
                budget.check()?;
                if self.effort() > effort {
                    return Ok(End::Effort);
                }
            }
            if let Some(conflict) = self.propagate(budget)? {
                if let Some(clause) = self.learn(conflict, budget)? {
                    return Ok(End::Contradiction(clause));
                }
                continue;
            }
            self.mark();
            let conflict = match self.next_wrong(budget)? {
                None => return Ok(End::Order),
                Some(wrong) => self.repair(wrong, budget)?,
            };
            if let Some(conflict) = conflict
                && let Some(clause) = self.learn(conflict, budget)?
            {
                return Ok(End::Contradiction(clause));
            }
        }
    }

    /// What has been done, in units of a few nanoseconds to a few dozen.
    fn effort(&self) -> u64 {
        self.order.steps + self.swept + self.conflicts * 64
    }

    /// The clauses of reads that may have seen one of several.
    fn choices(&mut self, budget: &dyn Budget) -> Result<Option<u32>, Exhausted> {
        for (read, left) in self.open {
            let begin = self.problem.begin(self.problem.reader[*read as usize]);
            let mut any = Vec::new();
            for candidate in left {
                let saw = self.saw(*read, *candidate);
                any.push(saw);
                if *candidate != INITIAL {
                    let wrote = self.before(self.problem.commit(*candidate), begin);
                    self.clause(vec![not(saw), wrote], Origin::Source, budget)?;
                }
            }
            let constraint = Constraint::Choice { read: *read };
            self.clause(any, Origin::Constraint(constraint), budget)?;
        }
        Ok(None)
    }

    fn known(&mut self) {
        let count = self.atoms.all.len();
        self.value.resize(count, 0);
        self.level.resize(count, 0);
        self.reason.resize(count, NONE);
        self.seen.resize(count, false);
        self.watches.resize_with(count * 2, Vec::new);
    }

    fn before(&mut self, one: u32, other: u32) -> u32 {
        let literal = self.atoms.before(one, other);
        self.known();
        literal
    }

    fn saw(&mut self, read: u32, candidate: u32) -> u32 {
        let literal = self.atoms.saw(read, candidate);
        self.known();
        literal
    }

    /// 0 open, 1 true, 2 false.
    fn value(&self, literal: u32) -> u8 {
        match (self.value[variable(literal)], literal & 1) {
            (0, _) => 0,
            (value, 0) => value,
            (value, _) => 3 - value,
        }
    }

    /// Adds a clause. Its first two literals are watched.
    fn clause(
        &mut self,
        literals: Vec<u32>,
        origin: Origin,
        budget: &dyn Budget,
    ) -> Result<u32, Exhausted> {
        let number = self.reason(literals, origin, budget)?;
        if let [first, second, ..] = self.clauses[number as usize].literals[..] {
            self.watches[first as usize].push(number);
            self.watches[second as usize].push(number);
        }
        Ok(number)
    }

    /// A clause that is a reason and nothing else.
    fn reason(
        &mut self,
        literals: Vec<u32>,
        origin: Origin,
        budget: &dyn Budget,
    ) -> Result<u32, Exhausted> {
        budget.charge(CLAUSE_BYTES + literals.len() * 4)?;
        self.clauses.push(Clause { literals, origin });
        Ok(self.clauses.len() as u32 - 1)
    }

    fn depth(&self) -> u32 {
        self.levels.len() as u32
    }

    fn assign(&mut self, literal: u32, reason: u32) {
        let at = variable(literal);
        self.value[at] = 1 + (literal & 1) as u8;
        self.level[at] = self.depth();
        self.reason[at] = reason;
        self.trail.push(literal);
    }

    fn decide(&mut self, literal: u32) {
        self.decisions += 1;
        if self.levels.is_empty() {
            self.order.firm = self.order.graph.edges();
        }
        self.levels.push(self.trail.len());
        self.assign(literal, NONE);
    }

    /// Puts what has been assigned into the graph, and finds what follows. Returns a clause that is false.
    fn propagate(&mut self, budget: &dyn Budget) -> Result<Option<u32>, Exhausted> {
        while self.done < self.trail.len() {
            let literal = self.trail[self.done];
            if let Some((from, to)) = self.atoms.edge(literal) {
                let added = self.order.add(from, to, Why::Literal(literal), budget)?;
                if let Err(path) = added {
                    let clause = self.cycle(literal, &path, budget)?;
                    return Ok(Some(clause));
                }
                budget.charge(EDGE_BYTES)?;
            }
            self.done += 1;
            if let Some(conflict) = self.visit(not(literal)) {
                return Ok(Some(conflict));
            }
        }
        Ok(None)
    }

    /// The clause that a literal and these edges are not all true.
    fn cycle(&mut self, literal: u32, path: &[u32], budget: &dyn Budget) -> Result<u32, Exhausted> {
        let (mut literals, mut known) = (vec![not(literal)], Vec::new());
        for edge in path {
            match self.order.graph.why[*edge as usize] {
                Why::Literal(other) => literals.push(not(other)),
                Why::Base | Why::Derived(_) => known.push(*edge),
            }
        }
        budget.charge(known.len() * 4)?;
        self.reason(literals, Origin::Path(known.into_boxed_slice()), budget)
    }

    /// Visits the clauses that watch a literal that has become false.
    fn visit(&mut self, falsified: u32) -> Option<u32> {
        let mut watching = std::mem::take(&mut self.watches[falsified as usize]);
        let (mut kept, mut at, mut conflict) = (0, 0, None);
        'clauses: while at < watching.len() {
            let number = watching[at];
            at += 1;
            let mut literals = std::mem::take(&mut self.clauses[number as usize].literals);
            if literals[0] == falsified {
                literals.swap(0, 1);
            }
            let mut moved = false;
            if self.value(literals[0]) != 1 {
                let other = (2..literals.len()).find(|at| self.value(literals[*at]) != 2);
                if let Some(other) = other {
                    literals.swap(1, other);
                    self.watches[literals[1] as usize].push(number);
                    moved = true;
                }
            }
            let first = literals[0];
            self.clauses[number as usize].literals = literals;
            if moved {
                continue;
            }
            watching[kept] = number;
            kept += 1;
            match self.value(first) {
                0 => self.assign(first, number),
                2 => {
                    conflict = Some(number);
                    break 'clauses;
                }
                _ => {}
            }
        }
        watching.copy_within(at.., kept);
        watching.truncate(kept + watching.len() - at);
        self.watches[falsified as usize] = watching;
        conflict
    }

    fn back(&mut self, level: usize) {
        let Some(length) = self.levels.get(level).copied() else {
            return;
        };
        while self.trail.len() > length {
            let Some(literal) = self.trail.pop() else {
                return;
            };
            if self.trail.len() < self.done && self.atoms.edge(literal).is_some() {
                self.order.graph.pop();
            }
            self.value[variable(literal)] = 0;
        }
        self.done = self.done.min(length);
        self.levels.truncate(level);
    }

    /// Keys whose reads or writes have moved are looked at again.
    fn mark(&mut self) {
        for point in std::mem::take(&mut self.order.moved) {
            let Some(one) = self.problem.transaction(point) else {
                continue;
            };
            let seen = self.problem.seen;
            let reads = seen.reads(one).map(|read| seen.key(read));
            for key in reads.chain(seen.writes(one).iter().copied()) {
                if !self.dirty[key as usize] {
                    self.dirty[key as usize] = true;
                    self.queue.push_back(key);
                }
            }
        }
    }

    fn next_wrong(&mut self, budget: &dyn Budget) -> Result<Option<Wrong>, Exhausted> {
        loop {
            while let Some(wrong) = self.wrong.pop() {
                if self.still(wrong) {
                    return Ok(Some(wrong));
                }
            }
            let Some(key) = self.queue.pop_front() else {
                return Ok(None);
            };
            budget.check()?;
            self.dirty[key as usize] = false;
            self.sweep(key);
            // What is put right may put others wrong, or not be put right at once.
            if !self.wrong.is_empty() {
                self.wrong.reverse();
                self.dirty[key as usize] = true;
                self.queue.push_back(key);
            }
        }
    }

    /// What is wrong with a key in the present order.
    fn sweep(&mut self, key: u32) {
        let problem = self.problem;
        let place = |point: u32| self.order.place[point as usize];
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let reads = problem.reads.of_list(key).iter();
        events.extend(reads.map(|read| {
            (
                place(problem.begin(problem.reader[*read as usize])),
                0,
                *read,
            )
        }));
        let writers = problem.writers.of_list(key).iter();
        events.extend(writers.map(|one| (place(problem.commit(*one)), 1, *one)));
        events.sort_unstable();
        self.swept += 4 * events.len() as u64;
        let mut last = INITIAL;
        for (_, kind, who) in &events {
            if *kind == 0 {
                let source = self.source[*who as usize];
                let candidates = problem.seen.candidates(*who as usize);
                if last != source && last != INITIAL && !candidates.contains(&last) {
                    self.wrong.push(Wrong::Read {
                        read: *who,
                        other: last,
                    });
                } else if last == INITIAL && source == NONE && !candidates.contains(&INITIAL) {
                    self.wrong.push(Wrong::Read {
                        read: *who,
                        other: INITIAL,
                    });
                }
                continue;
            }
            if problem.exclusive()
                && last != INITIAL
                && place(problem.commit(last)) > place(problem.begin(*who))
            {
                self.wrong.push(Wrong::Overlap {
                    one: last,
                    other: *who,
                });
            }
            last = *who;
        }
        self.events = events;
    }

    fn still(&self, wrong: Wrong) -> bool {
        let problem = self.problem;
        match wrong {
            Wrong::Read { read, other } => {
                let begin = problem.begin(problem.reader[read as usize]);
                let writer = self.source[read as usize];
                let writer = if writer == NONE {
                    self.chosen(read)
                } else {
                    Some(writer)
                };
                match writer {
                    None => other == INITIAL || self.order.before(problem.commit(other), begin),
                    Some(_) if other == INITIAL => false,
                    Some(writer) => {
                        let after = writer == INITIAL
                            || self
                                .order
                                .before(problem.commit(writer), problem.commit(other));
                        after && self.order.before(problem.commit(other), begin)
                    }
                }
            }
            Wrong::Overlap { one, other } => {
                let before =
                    |one, other| self.order.before(problem.begin(one), problem.commit(other));
                before(one, other) && before(other, one)
            }
        }
    }

    /// Whom an open read is taken to have seen.
    fn chosen(&self, read: u32) -> Option<u32> {
        let at = self
            .open
            .binary_search_by_key(&read, |(read, _)| *read)
            .ok()?;
        let mut left = self.open[at].1.iter().copied();
        left.find(|candidate| {
            let literal = self.atoms.known_saw(read, *candidate);
            literal.is_some_and(|literal| self.value(literal) == 1)
        })
    }

    /// Puts right what is wrong, or finds a clause that is false.
    fn repair(&mut self, wrong: Wrong, budget: &dyn Budget) -> Result<Option<u32>, Exhausted> {
        let problem = self.problem;
        let (literals, constraint) = match wrong {
            Wrong::Overlap { one, other } => {
                let first = self.before(problem.commit(one), problem.begin(other));
                let second = self.before(problem.commit(other), problem.begin(one));
                (vec![first, second], Constraint::Exclusive { one, other })
            }
            Wrong::Read { read, other } => {
                let mut literals = Vec::new();
                let mut writer = self.source[read as usize];
                if writer == NONE {
                    let Some(chosen) = self.chosen(read) else {
                        self.choose(read);
                        return Ok(None);
                    };
                    writer = chosen;
                    literals.push(not(self.saw(read, writer)));
                }
                let commit = problem.commit(other);
                if writer != INITIAL {
                    literals.push(self.before(commit, problem.enter(writer)));
                }
                let begin = problem.begin(problem.reader[read as usize]);
                literals.push(self.before(begin, commit));
                (
                    literals,
                    Constraint::Between {
                        read,
                        writer,
                        other,
                    },
                )
            }
        };
        self.settle(literals, Origin::Constraint(constraint), budget)
    }

    /// Takes an open read to have seen the last candidate before it, or else the first after it.
    fn choose(&mut self, read: u32) {
        let Ok(at) = self.open.binary_search_by_key(&read, |(read, _)| *read) else {
            return;
        };
        let begin =
            self.order.place[self.problem.begin(self.problem.reader[read as usize]) as usize];
        let distance = |candidate: u32| {
            if candidate == INITIAL {
                return (false, begin);
            }
            let place = self.order.place[self.problem.commit(candidate) as usize];
            (place > begin, place.abs_diff(begin))
        };
        let left = self.open[at].1.iter().copied();
        let best = left
            .filter(|one| {
                let literal = self.atoms.known_saw(read, *one);
                literal.is_none_or(|literal| self.value(literal) == 0)
            })
            .min_by_key(|one| distance(*one));
        // There is one: with all but one excluded, the last is chosen already.
        if let Some(best) = best {
            let literal = self.saw(read, best);
            self.decide(literal);
        }
    }

    /// Makes a clause true that the order makes false.
    fn settle(
        &mut self,
        mut literals: Vec<u32>,
        origin: Origin,
        budget: &dyn Budget,
    ) -> Result<Option<u32>, Exhausted> {
        let mut costs = vec![u64::MAX; literals.len()];
        for at in 0..literals.len() {
            let literal = literals[at];
            if self.value(literal) != 0 {
                continue;
            }
            let Some((from, to)) = self.atoms.edge(literal) else {
                continue;
            };
            let steps = self.order.steps;
            if let Some(path) = self.order.probe(from, to, budget)? {
                let clause = self.cycle(literal, &path, budget)?;
                self.assign(not(literal), clause);
            } else {
                costs[at] = self.order.steps - steps;
            }
        }
        // Watched are those that are open, or became false last.
        let rank = |search: &Search<'_>, literal: u32| match search.value(literal) {
            2 => 1 + search.depth() - search.level[variable(literal)],
            _ => 0,
        };
        let mut order: Vec<usize> = (0..literals.len()).collect();
        order.sort_by_key(|at| (rank(self, literals[*at]), costs[*at]));
        literals = order.iter().map(|at| literals[*at]).collect();
        let (first, second) = (literals[0], literals.get(1).copied());
        let number = self.clause(literals, origin, budget)?;
        match (
            self.value(first),
            second.map_or(2, |second| self.value(second)),
        ) {
            (2, _) => return Ok(Some(number)),
            (0, 2) => self.assign(first, number),
            (0, _) => self.decide(first),
            _ => {}
        }
        Ok(None)
    }
}
