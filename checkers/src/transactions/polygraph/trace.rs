//! Which transactions a contradiction comes from.
//!
//! Each derived edge tells of what it is the last possibility, and before which edge it was known; each clause, from which it
//! follows. Going back over these, from the contradiction, gives a set of transactions that contradict each other by
//! themselves. Not the smallest, but mostly a small one ([`super::shrink`]).

use std::collections::BTreeSet;

use super::NONE;
use super::clauses::Origin;
use super::graph::{Graph, Scratch, Why};
use super::observations::INITIAL;
use super::problem::{Constraint, Problem};
use super::saturate::Facts;
use super::search::Search;
use crate::budget::{Budget, Exhausted};

struct Trace<'a> {
    problem: &'a Problem<'a>,
    facts: &'a Facts,
    graph: &'a Graph,
    found: BTreeSet<u32>,
    edges: Vec<u32>,
    seen_edges: rustc_hash::FxHashSet<u32>,
    seen_reads: rustc_hash::FxHashSet<u32>,
    scratch: Scratch,
    budget: &'a dyn Budget,
}

/// The transactions from which facts contradict each other.
pub(super) fn of_facts(
    problem: &Problem<'_>,
    facts: &Facts,
    budget: &dyn Budget,
) -> Result<Vec<u32>, Exhausted> {
    let mut trace = Trace::new(problem, facts, &facts.graph, budget);
    if let Some(shortage) = &facts.shortage {
        for read in shortage.reads() {
            trace.read(*read)?;
        }
    } else if let Some(read) = facts.blind {
        trace.read(read)?;
    } else if let Some(cycle) = facts.graph.cycle(&facts.sorted) {
        trace.edges = cycle;
    }
    trace.finish()
}

/// The transactions from which a clause without literals follows.
pub(super) fn of_search(
    search: &Search<'_>,
    facts: &Facts,
    clause: u32,
    budget: &dyn Budget,
) -> Result<Vec<u32>, Exhausted> {
    let mut trace = Trace::new(search.problem, facts, &search.order.graph, budget);
    let (mut open, mut seen) = (vec![clause * 2], rustc_hash::FxHashSet::default());
    while let Some(node) = open.pop() {
        if !seen.insert(node) {
            continue;
        }
        budget.check()?;
        let clause = if node & 1 == 0 {
            &search.clauses[(node / 2) as usize]
        } else {
            // A value that needs no assumption: its reason, and the values of the others in that.
            let Some(reason) = Some(search.reason[(node / 2) as usize]).filter(|one| *one != NONE)
            else {
                continue;
            };
            let clause = &search.clauses[reason as usize];
            open.push(reason * 2);
            open.extend(clause.literals.iter().map(|literal| literal | 1));
            clause
        };
        match &clause.origin {
            Origin::Constraint(constraint) => trace.constraint(*constraint)?,
            Origin::Source => {}
            Origin::Path(edges) => trace.edges.extend(edges),
            Origin::Learned(from) => open.extend(from),
        }
    }
    trace.finish()
}

impl<'a> Trace<'a> {
    fn new(
        problem: &'a Problem<'a>,
        facts: &'a Facts,
        graph: &'a Graph,
        budget: &'a dyn Budget,
    ) -> Trace<'a> {
        Trace {
            problem,
            facts,
            graph,
            found: BTreeSet::new(),
            edges: Vec::new(),
            seen_edges: rustc_hash::FxHashSet::default(),
            seen_reads: rustc_hash::FxHashSet::default(),
            scratch: Scratch::default(),
            budget,
        }
    }

    fn finish(mut self) -> Result<Vec<u32>, Exhausted> {
        while let Some(edge) = self.edges.pop() {
            if !self.seen_edges.insert(edge) {
                continue;
            }
            let points = [self.graph.from[edge as usize], self.graph.to[edge as usize]];
            self.found.extend(
                points
                    .iter()
                    .filter_map(|point| self.problem.transaction(*point)),
            );
            if let Why::Derived(number) = self.graph.why[edge as usize] {
                self.derived(number, points[0])?;
            }
        }
        Ok(self.found.into_iter().collect())
    }

    /// A derived edge, from a point: what it is about, and what refutes the other possibilities.
    fn derived(&mut self, number: u32, from: u32) -> Result<(), Exhausted> {
        let derived = self.facts.derived[number as usize];
        self.constraint(derived.constraint)?;
        let problem = self.problem;
        match derived.constraint {
            Constraint::Between {
                read,
                writer,
                other,
            } => {
                let (begin, commit) = (
                    problem.begin(problem.reader[read as usize]),
                    problem.commit(other),
                );
                if from == commit {
                    self.path(commit, begin, derived.epoch)?;
                } else if writer != INITIAL {
                    self.path(problem.enter(writer), commit, derived.epoch)?;
                }
            }
            Constraint::Exclusive { one, other } => {
                self.path(problem.begin(one), problem.commit(other), derived.epoch)?;
            }
            Constraint::Choice { .. } => {}
        }
        Ok(())
    }

    fn path(&mut self, from: u32, to: u32, epoch: u32) -> Result<(), Exhausted> {
        let path = self
            .graph
            .path(from, to, epoch, &mut self.scratch, self.budget)?;
        debug_assert!(path.is_some(), "no path where one was");
        self.edges.extend(path.unwrap_or_default());
        Ok(())
    }

    fn constraint(&mut self, constraint: Constraint) -> Result<(), Exhausted> {
        match constraint {
            Constraint::Between {
                read,
                writer,
                other,
            } => {
                self.found.insert(other);
                self.found
                    .extend(Some(writer).filter(|one| *one != INITIAL));
                self.read(read)
            }
            Constraint::Exclusive { one, other } => {
                self.found.extend([one, other]);
                Ok(())
            }
            Constraint::Choice { read } => self.read(read),
        }
    }

    /// A read: whom it may have seen, and why not the others.
    fn read(&mut self, read: u32) -> Result<(), Exhausted> {
        if !self.seen_reads.insert(read) {
            return Ok(());
        }
        let problem = self.problem;
        let reader = problem.reader[read as usize];
        self.found.insert(reader);
        let candidates = problem.seen.candidates(read as usize).iter().copied();
        self.found.extend(candidates.filter(|one| *one != INITIAL));
        let first = self.facts.ruled.partition_point(|one| one.read < read);
        let facts = self.facts;
        for ruled in facts.ruled[first..]
            .iter()
            .take_while(|one| one.read == read)
        {
            let begin = problem.begin(reader);
            let Some(by) = ruled.by else {
                self.path(begin, problem.commit(ruled.candidate), ruled.epoch)?;
                continue;
            };
            self.found.insert(by);
            self.path(problem.commit(by), begin, ruled.epoch)?;
            if ruled.candidate != INITIAL {
                self.path(
                    problem.enter(ruled.candidate),
                    problem.commit(by),
                    ruled.epoch,
                )?;
            }
        }
        Ok(())
    }
}
