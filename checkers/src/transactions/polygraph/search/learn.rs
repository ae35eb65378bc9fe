//! What is learned from a conflict: a clause, and which transactions it was about.

use super::super::NONE;
use super::super::clauses::{Origin, variable};
use super::Search;
use crate::budget::{Budget, Exhausted};

/// How much more a conflict counts than the one before.
const GROWTH: f32 = 1.01;

impl Search<'_> {
    /// Learns from a false clause and goes back. If there is nowhere to go back to, returns a clause without literals.
    pub(super) fn learn(
        &mut self,
        conflict: u32,
        budget: &dyn Budget,
    ) -> Result<Option<u32>, Exhausted> {
        self.conflicts += 1;
        self.weight *= GROWTH;
        if self.weight > 1e30 {
            self.blame
                .iter_mut()
                .for_each(|blame| *blame /= self.weight);
            self.weight = 1.0;
        }
        let mut from = Vec::new();
        let mut literals: Vec<u32> = Vec::new();
        let mut count = vec![0u32; self.levels.len() + 1];
        self.resolve(conflict, NONE, &mut literals, &mut count, &mut from);
        let (mut at, mut top) = (self.trail.len(), self.levels.len());
        loop {
            while top > 0 && count[top] == 0 {
                top -= 1;
            }
            if top == 0 || count[top] == 1 {
                break;
            }
            // The last of them has a reason, for the first of a level alone was decided.
            at = at.min(self.levels.get(top).copied().unwrap_or(at)) - 1;
            let literal = self.trail[at];
            let var = variable(literal);
            if self.seen[var] {
                self.seen[var] = false;
                count[top] -= 1;
                let reason = self.reason[var];
                self.resolve(reason, literal, &mut literals, &mut count, &mut from);
            }
        }
        literals.retain(|one| self.seen[variable(*one)]);
        let needed = self.needed(&literals, top as u32, &mut from);
        literals
            .iter()
            .for_each(|one| self.seen[variable(*one)] = false);
        let mut literals = needed;
        from.sort_unstable();
        from.dedup();
        budget.charge(from.len() * 4)?;
        let origin = Origin::Learned(from.into_boxed_slice());
        if top == 0 {
            return self.reason(Vec::new(), origin, budget).map(Some);
        }
        let level = |search: &Search<'_>, literal: u32| search.level[variable(literal)] as usize;
        literals.sort_unstable_by_key(|one| std::cmp::Reverse((level(self, *one), *one)));
        let back = literals.get(1).map_or(0, |one| level(self, *one));
        self.back(back);
        let first = literals[0];
        let learned = self.clause(literals, origin, budget)?;
        self.assign(first, learned);
        Ok(None)
    }

    /// Takes the literals of a clause into what is being learned, but the one that it is the reason of.
    fn resolve(
        &mut self,
        clause: u32,
        but: u32,
        literals: &mut Vec<u32>,
        count: &mut [u32],
        from: &mut Vec<u32>,
    ) {
        from.push(clause * 2);
        self.blame(clause);
        for literal in &self.clauses[clause as usize].literals {
            let var = variable(*literal);
            if *literal == but {
                continue;
            }
            if self.level[var] == 0 {
                from.push(var as u32 * 2 + 1);
            } else if !self.seen[var] {
                self.seen[var] = true;
                count[self.level[var] as usize] += 1;
                literals.push(*literal);
            }
        }
    }

    /// Counts the transactions that a clause is about as having to do with a conflict.
    fn blame(&mut self, clause: u32) {
        let mut count = |point: u32| {
            if let Some(one) = self.problem.transaction(point) {
                self.blame[one as usize] += self.weight;
            }
        };
        let clause = &self.clauses[clause as usize];
        for literal in &clause.literals {
            if let Some((from, to)) = self.atoms.edge(*literal) {
                [from, to].into_iter().for_each(&mut count);
            }
        }
        if let Origin::Path(edges) = &clause.origin {
            for edge in edges {
                count(self.order.graph.to[*edge as usize]);
            }
        }
    }

    /// Those of what is being learned that do not follow from the others at once (Sörensson and Biere 2009), and that of the
    /// top level.
    fn needed(&self, literals: &[u32], top: u32, from: &mut Vec<u32>) -> Vec<u32> {
        let mut needed = Vec::with_capacity(literals.len());
        for literal in literals {
            let own = variable(*literal);
            let reason = self.reason[own];
            if reason == NONE || self.level[own] == top {
                needed.push(*literal);
                continue;
            }
            let others = self.clauses[reason as usize].literals.iter();
            let others = others.map(|one| variable(*one)).filter(|var| *var != own);
            if others
                .clone()
                .all(|var| self.level[var] == 0 || self.seen[var])
            {
                from.push(reason * 2);
                let firm = others.filter(|var| self.level[*var] == 0);
                from.extend(firm.map(|var| var as u32 * 2 + 1));
            } else {
                needed.push(*literal);
            }
        }
        needed
    }

    /// The transactions that had to do with conflicts, those with the most and the latest first.
    pub(in crate::transactions::polygraph) fn suspects(&self) -> Vec<u32> {
        let blamed = (0u32..).zip(&self.blame).filter(|(_, blame)| **blame > 0.0);
        let mut blamed: Vec<(u32, f32)> = blamed.map(|(one, blame)| (one, *blame)).collect();
        blamed
            .sort_by(|(one, first), (other, second)| second.total_cmp(first).then(one.cmp(other)));
        blamed.into_iter().map(|(one, _)| one).collect()
    }
}
