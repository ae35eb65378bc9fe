//! The order of appends that nobody read, where a verdict hangs on it.
//!
//! Everything else about a list is known, and most levels only ask that this order fits what is known, which it can where there is no
//! cycle. But under snapshot isolation, of two transactions that append to a key one commits before the other begins: if each also
//! missed an append of the other elsewhere, either order is impossible, and no cycle of what is known says so. Which transactions
//! have appends in such a tangle is decided by trying what their order may be ([`polygraph`]). Transactions that are in no cycle together
//! come in the order of the components, whatever they appended, so each component is decided by itself.
//!
//! What the cycles of a shape ([`shapes`](super::shapes)) have proved violated is not asked. Prefix consistency needs no order of appends: any
//! in which the transactions commit will do, and that there is none of these is a shape, which was looked for.

use super::anomaly::Anomaly;
use super::argument;
use super::cast::Cast;
use super::components::{components, groups};
use super::conclude::Proved;
use super::deciding::{Decidable, Decided, Standings, in_order, when};
use super::edges::Edges;
use super::evidence::Objects;
use super::graph::Graph;
use super::history::{Seen, Transactions};
use super::models::Level;
use super::polygraph::{self, Decision, Observations, Observed, Proof};
use super::prove::Prover;
use super::search::relations;
use super::versions::Versions;
use crate::budget::{Budget, Exhausted};

/// The most transactions in tangles of which all levels are decided, and not only the one that is asked for.
const TANGLED: usize = 1_000;

/// What there is to decide on.
pub(super) struct Unread<'a> {
    pub(super) edges: &'a Edges<'a>,
    /// Of what is known.
    pub(super) graph: &'a Graph,
    pub(super) prover: &'a Prover<'a>,
}

impl Unread<'_> {
    /// Decides what is open of the level that is asked for, and of the others where that is quick.
    pub(super) fn settle(
        &self,
        asked: &Level,
        standings: &mut Standings,
        proved: &mut Proved,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        standings.settle(asked, proved, |standings, what, is_asked| {
            if !what.level().is_some_and(|level| standings.is_open(level)) {
                return Ok(None);
            }
            let tangles = self.tangles(what, budget)?;
            if !is_asked && tangles.iter().map(Vec::len).sum::<usize>() > TANGLED {
                return Ok(None);
            }
            for members in &tangles {
                let decided = self.decide(members, what, budget);
                if !matches!(decided, Decided::Holds) {
                    return Ok(Some(decided));
                }
            }
            Ok(Some(Decided::Holds))
        })
    }

    /// The components that must be decided: those with two appends that nobody read.
    fn tangles(&self, what: &Decidable, budget: &dyn Budget) -> Result<Vec<Vec<u32>>, Exhausted> {
        let (Anomaly::NoSerialOrder(base) | Anomaly::NoSnapshots(base)) = what.anomaly() else {
            return Ok(Vec::new());
        };
        let component = components(self.graph, relations(base), budget)?;
        let contested = self.edges.contested(&component);
        let mut tangles = groups(&component);
        tangles.retain_mut(|members| {
            let number = component[members[0] as usize];
            members.retain(|one| !self.graph.is_relay(*one));
            contested.binary_search(&number).is_ok()
        });
        Ok(tangles)
    }

    /// Decides a level for some transactions.
    fn decide(&self, members: &[u32], what: &Decidable, budget: &dyn Budget) -> Decided {
        let (all, versions) = (self.prover.all, self.prover.versions);
        let mut numbers = members.to_vec();
        in_order(all, &mut numbers);
        let (seen, keys) = observations(all, versions, &numbers);
        match polygraph::decide(&seen, what.asked(), budget) {
            Decision::Holds(_) => Decided::Holds,
            Decision::Unknown(why) => Decided::Unknown(why),
            Decision::Violated(proof) => {
                let few = self.witnesses(&proof, &numbers, &keys);
                self.argue(few, what, budget)
            }
        }
    }

    /// The transactions of a proof, and whose reads are needed to see what it takes for granted.
    fn witnesses(&self, proof: &Proof, numbers: &[u32], keys: &[u32]) -> Vec<u32> {
        let (all, versions) = (self.prover.all, self.prover.versions);
        let those = proof.transactions.iter();
        let mut few: Vec<u32> = those.map(|one| numbers[*one as usize]).collect();
        let orders = argument::orders(&proof.argument);
        few.extend(
            orders
                .iter()
                .map(|key| all.keys[keys[*key as usize] as usize].reader),
        );
        for at in 0..few.len() {
            // That one of unknown outcome happened is known from who read it.
            let doubtful = (!all.is_ok(few[at])).then_some(few[at]);
            let mut appends = doubtful.into_iter().flat_map(|one| all.writes(one));
            let read = appends.find(|(mop, ..)| versions.position(*mop).is_some());
            few.extend(read.map(|(_, key, _)| all.keys[key as usize].reader));
        }
        in_order(all, &mut few);
        few.dedup();
        few
    }

    /// The argument about a few transactions that contradict each other, made again from these alone as the evidence has them, and from
    /// as few of them as can be.
    fn argue(&self, few: Vec<u32>, what: &Decidable, budget: &dyn Budget) -> Decided {
        let mut cast = Cast::default();
        few.iter().for_each(|one| {
            cast.name(*one);
        });
        let mut views = self.prover.views(&cast);
        let mut found = None;
        let mut at = 0;
        // First all of them; then each is left out, if it can be.
        while at <= views.len() {
            let mut left = views.clone();
            if found.is_some() {
                if at == views.len() {
                    break;
                }
                left.remove(at);
            }
            let seen = argument::observations(Objects::Lists, &left, &[]);
            match polygraph::decide(&seen, what.asked(), budget) {
                Decision::Violated(proof) => {
                    views = left;
                    found = Some(proof);
                }
                _ if found.is_some() => at += 1,
                _ => break,
            }
        }
        let Some(mut proof) = found else {
            let why = "it was found to be impossible, but not for a few transactions";
            return Decided::Unknown(why.to_owned());
        };
        proof.minimal = true;
        argument::conclude(what.anomaly(), Objects::Lists, views, Vec::new(), *proof)
    }
}

/// Some transactions as they are decided on, and the keys that they have there.
fn observations(
    all: &Transactions,
    versions: &Versions,
    numbers: &[u32],
) -> (Observations, Vec<u32>) {
    let mops = numbers.iter().flat_map(|one| all.mops(*one));
    let mut keys: Vec<u32> = mops.map(|(_, mop)| mop.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    let number = |key: u32| keys.binary_search(&key).unwrap_or_default() as u32;
    let mut seen = Observations::new();
    for one in numbers {
        let (mut writes, mut placed): (Vec<u32>, Vec<(u32, u32)>) = (Vec::new(), Vec::new());
        // The last append to a key says when all are there.
        let mut done: Vec<u32> = Vec::new();
        for (mop, key, _) in all.writes(*one).rev() {
            if done.contains(&key) {
                continue;
            }
            done.push(key);
            writes.push(number(key));
            let place = versions.position(mop);
            placed.extend(place.map(|position| (number(key), position + 1)));
        }
        let shown = all.reads(*one).filter_map(|(_, key, seen)| match seen {
            Seen::Prefix(length) => Some((number(key), length)),
            Seen::Unknown | Seen::Odd(_) => None,
        });
        let mut shown: Vec<(u32, u32)> = shown.collect();
        shown.sort_unstable();
        shown.dedup();
        seen.push(&Observed {
            writes: &writes,
            placed: &placed,
            shown: &shown,
            ..when(all, *one)
        });
    }
    (seen, keys)
}
