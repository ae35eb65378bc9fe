//! Levels that depend on the order of versions, decided by trying what it may be ([`polygraph`](super::super::polygraph)).

use super::super::argument;
use super::super::cast::Cast;
use super::super::deciding::{Decidable, Decided, in_order, when};
use super::super::evidence::{Objects, PassedOver};
use super::super::history::{Outcome, Transactions};
use super::super::polygraph::{self, Decision, Observations, Observed};
use super::super::values::NONE;
use super::prove::Prover;
use super::versions::{AMBIGUOUS, INITIAL, Versions};
use crate::budget::Budget;

/// The most transactions of which all levels are decided that can be, and not only the one that is asked for.
pub(super) const SMALL: usize = 5_000;

/// Decides a level of a history each of whose reads is of what somebody left there. One that nobody asked for gets little effort.
pub(super) fn decide(
    all: &Transactions,
    versions: &Versions,
    prover: &Prover,
    what: &Decidable,
    is_asked: bool,
    budget: &dyn Budget,
) -> Decided {
    let (seen, numbers) = observations(all, versions);
    let decide = match is_asked {
        true => polygraph::decide,
        false => polygraph::decide_soon,
    };
    match decide(&seen, what.asked(), budget) {
        Decision::Holds(_) => Decided::Holds,
        Decision::Unknown(why) => Decided::Unknown(why),
        Decision::Violated(proof) => {
            let those = proof.transactions.iter();
            let few: Vec<u32> = those.map(|one| numbers[*one as usize]).collect();
            argue(all, versions, prover, what, &few, budget)
        }
    }
}

/// The argument about a few transactions that contradict each other, made again from these alone as the evidence has them.
fn argue(
    all: &Transactions,
    versions: &Versions,
    prover: &Prover,
    what: &Decidable,
    few: &[u32],
    budget: &dyn Budget,
) -> Decided {
    let mut cast = Cast::default();
    few.iter().for_each(|one| {
        cast.name(*one);
    });
    let mut passed_over = Vec::new();
    for reader in few {
        for (at, _) in versions.foreign_or_ambiguous(all, *reader) {
            let candidates = candidates(all, versions, *reader, at);
            let mut others = candidates.iter().filter(|one| **one != INITIAL);
            if others.any(|one| !few.contains(one)) {
                passed_over.push(PassedOver {
                    transaction: cast.name(*reader),
                    key: all.key_value(all.mops[at as usize].key()).clone(),
                    value: versions.value(all, versions.version(at)),
                });
            }
        }
    }
    let views = prover.views(&cast);
    let seen = argument::observations(Objects::Registers, &views, &passed_over);
    match polygraph::decide(&seen, what.asked(), budget) {
        Decision::Violated(proof) => argument::conclude(
            what.anomaly(),
            Objects::Registers,
            views,
            passed_over,
            *proof,
        ),
        _ => Decided::Unknown(
            "it was found to be impossible, but not for a few transactions".to_owned(),
        ),
    }
}

/// Who may have left what a read saw.
fn candidates(all: &Transactions, versions: &Versions, reader: u32, at: u32) -> Vec<u32> {
    let (key, version) = (all.mops[at as usize].key(), versions.version(at));
    let left = |writer: &u32| {
        *writer != reader
            && all.outcome[*writer as usize] != Outcome::Fail
            && versions.last_of(*writer, key) == Some(version)
    };
    let mut candidates: Vec<u32> = versions.writers(version).filter(left).collect();
    candidates.dedup();
    if versions.is_initial(version) {
        candidates.push(INITIAL);
    }
    candidates
}

/// The history as it is decided on, and who is who there.
fn observations(all: &Transactions, versions: &Versions) -> (Observations, Vec<u32>) {
    let mut wanted = versions.committed.clone();
    for reader in 0..all.len() as u32 {
        for (at, source) in versions.foreign_or_ambiguous(all, reader) {
            if source == AMBIGUOUS {
                for one in candidates(all, versions, reader, at) {
                    if one != INITIAL {
                        wanted[one as usize] = true;
                    }
                }
            }
        }
    }
    let mut numbers: Vec<u32> = (0..all.len() as u32)
        .filter(|one| wanted[*one as usize])
        .collect();
    in_order(all, &mut numbers);
    let mut number = vec![NONE; all.len()];
    for (one, at) in numbers.iter().zip(0..) {
        number[*one as usize] = at;
    }
    let mut seen = Observations::new();
    for one in &numbers {
        let writes: Vec<u32> = versions.finals(*one).iter().map(|one| one.key).collect();
        let mut mine: Vec<(u32, u32, Vec<u32>)> = Vec::new();
        for (at, _) in versions.foreign_or_ambiguous(all, *one) {
            let (key, version) = (all.mops[at as usize].key(), versions.version(at));
            if mine
                .iter()
                .any(|(of, same, _)| (*of, *same) == (key, version))
            {
                continue;
            }
            let candidates = candidates(all, versions, *one, at);
            let numbered = candidates.into_iter().map(|one| match one {
                INITIAL => polygraph::INITIAL,
                one => number[one as usize],
            });
            mine.push((key, version, numbered.collect()));
        }
        let borrowed: Vec<(u32, &[u32])> = mine
            .iter()
            .filter(|(_, _, candidates)| !candidates.is_empty())
            .map(|(key, _, candidates)| (*key, &candidates[..]))
            .collect();
        seen.push(&Observed {
            writes: &writes,
            reads: &borrowed,
            ..when(all, *one)
        });
    }
    (seen, numbers)
}
