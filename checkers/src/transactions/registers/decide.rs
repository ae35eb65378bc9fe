//! Levels that depend on the order of versions, decided by trying what it may be ([`polygraph`](super::super::polygraph)).

use super::super::anomaly::{Anomaly, Base};
use super::super::cast::Cast;
use super::super::evidence::{Impossible, Objects, PassedOver};
use super::super::history::{Outcome, Transactions};
use super::super::models::{Level, find};
use super::super::polygraph::{self, Decision, Model, Observations, Observed, Respects};
use super::super::values::NONE;
use super::argument;
use super::prove::Prover;
use super::versions::{AMBIGUOUS, INITIAL, Versions};
use crate::budget::Budget;

/// The most transactions of which all levels are decided that can be, and not only the one that is asked for.
pub(super) const SMALL: usize = 5_000;

/// A level that can be decided, and what disproves it.
pub(in super::super) struct Decidable {
    name: &'static str,
    model: Model,
    respects: Respects,
}

impl Decidable {
    const fn new(name: &'static str, model: Model, respects: Respects) -> Decidable {
        Decidable {
            name,
            model,
            respects,
        }
    }

    /// What it is.
    pub(in super::super) fn level(&self) -> Option<&'static Level> {
        find(self.name)
    }

    /// What disproves it.
    pub(in super::super) fn anomaly(&self) -> Anomaly {
        let base = match self.respects {
            Respects::Nothing => Base::Plain,
            Respects::Sessions => Base::Process,
            Respects::RealTime => Base::Realtime,
        };
        match self.model {
            Model::Serializable => Anomaly::NoSerialOrder(base),
            Model::SnapshotIsolation => Anomaly::NoSnapshots(base),
            Model::Prefix => Anomaly::NoPrefixes,
        }
    }

    /// The same, as it is asked for.
    pub(in super::super) fn asked(&self) -> polygraph::Level {
        polygraph::Level {
            model: self.model,
            respects: self.respects,
        }
    }
}

/// All of them, weaker ones first.
const ALL: [Decidable; 7] = [
    Decidable::new("prefix", Model::Prefix, Respects::Nothing),
    Decidable::new(
        "snapshot-isolation",
        Model::SnapshotIsolation,
        Respects::Nothing,
    ),
    Decidable::new(
        "strong-session-snapshot-isolation",
        Model::SnapshotIsolation,
        Respects::Sessions,
    ),
    Decidable::new(
        "strong-snapshot-isolation",
        Model::SnapshotIsolation,
        Respects::RealTime,
    ),
    Decidable::new("serializable", Model::Serializable, Respects::Nothing),
    Decidable::new(
        "strong-session-serializable",
        Model::Serializable,
        Respects::Sessions,
    ),
    Decidable::new(
        "strict-serializable",
        Model::Serializable,
        Respects::RealTime,
    ),
];

/// The weakest of them that implies a level.
pub(in super::super) fn deciding(level: &Level) -> Option<&'static Decidable> {
    ALL.iter().find(|one| {
        one.level()
            .is_some_and(|decided| decided.reaches(level.name))
    })
}

/// All of them, stronger ones first: what holds of one need not be asked of weaker ones.
pub(in super::super) fn strongest_first() -> impl Iterator<Item = &'static Decidable> {
    ALL.iter().rev()
}

/// What comes of a decision.
pub(in super::super) enum Decided {
    Holds,
    Violated(Box<Impossible>),
    Unknown(String),
}

/// Decides a level of a history each of whose reads is of what somebody left there.
pub(super) fn decide(
    all: &Transactions,
    versions: &Versions,
    prover: &Prover,
    what: &Decidable,
    budget: &dyn Budget,
) -> Decided {
    let (seen, numbers) = observations(all, versions);
    match polygraph::decide(&seen, what.asked(), budget) {
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

/// Sorts transactions by their ends, as a decision likes them best. Those that nobody saw end stand where they began.
pub(in super::super) fn in_order(all: &Transactions, numbers: &mut [u32]) {
    numbers.sort_by_key(|one| {
        let at = *one as usize;
        let end = match all.is_ok(*one) {
            true => all.complete[at],
            false => all.invoke[at].min(all.complete[at]),
        };
        (end, *one)
    });
}

/// Where and when a transaction took place.
pub(in super::super) fn when(all: &Transactions, one: u32) -> Observed<'static> {
    let at = one as usize;
    let known = |event: u32| (event != NONE).then_some(event);
    let ok = all.is_ok(one);
    Observed {
        session: Some(all.process[at]),
        open: !ok,
        begin: known(all.invoke[at]),
        end: known(all.complete[at]).filter(|_| ok),
        ..Observed::default()
    }
}
