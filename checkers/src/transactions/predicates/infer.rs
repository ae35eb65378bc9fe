//! What reads say of who came first.
//!
//! A row is what the universe made it, until the one transaction that writes it. So what a read shows of a row, or that a read by
//! predicate does not show it, often says which of the two there was:
//!
//! | the row as made | as written | shown | so the read |
//! | --- | --- | --- | --- |
//! | matches | does not | no | came after the write (`wrp`) |
//! | does not | matches | no | came before the write (`rwp`) |
//! | matches | matches | no | is a predicate-read-miss |
//! | | | with a value | read that value (`wr`, `rw`) |

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::super::anomaly::Anomaly;
use super::super::graph::{RW, WR, WW};
use super::super::history::Outcome;
use super::super::scan::Sightings;
use super::history::{History, Mop, State};
use crate::budget::{Budget, Exhausted};

/// A dependency.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dependency {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) relation: u8,
    /// Whether it is by what a predicate did not show.
    pub(super) predicate: bool,
    pub(super) key: u32,
}

/// All that was inferred.
#[derive(Default)]
pub(super) struct Inferred {
    pub(super) sightings: Sightings,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) committed: Vec<bool>,
    /// Why not all is known, if it is not.
    pub(super) open: Option<String>,
}

struct Inference<'a> {
    history: &'a History,
    /// By key, who writes it and did not fail, with what they leave.
    writers: FxHashMap<u32, Vec<(u32, State)>>,
    found: Inferred,
    at_odds: BTreeSet<(u32, u32)>,
}

pub(super) fn infer(history: &History, budget: &dyn Budget) -> Result<Inferred, Exhausted> {
    let mut writers: FxHashMap<u32, Vec<(u32, State)>> = FxHashMap::default();
    for transaction in 0..history.len() as u32 {
        if history.all.outcome[transaction as usize] != Outcome::Fail {
            for (key, state) in history.finals(transaction) {
                writers
                    .entry(key)
                    .or_default()
                    .push((transaction, state.clone()));
            }
        }
    }
    writers
        .values_mut()
        .for_each(|all| all.sort_by_key(|(one, _)| *one));
    let ok = history.all.outcome.iter().map(|one| *one == Outcome::Ok);
    let mut inference = Inference {
        history,
        writers,
        found: Inferred {
            committed: ok.collect(),
            ..Inferred::default()
        },
        at_odds: BTreeSet::new(),
    };
    inference.orders();
    for transaction in 0..history.len() as u32 {
        budget.check()?;
        let before = inference.found.dependencies.len();
        if history.all.is_ok(transaction) {
            inference.reads(transaction);
        }
        let more = inference.found.dependencies.len() - before;
        budget.charge(more * size_of::<Dependency>())?;
    }
    let mut found = inference.found;
    for one in &found.dependencies {
        found.committed[one.from as usize] |= one.relation == WR;
    }
    let committed = &found.committed;
    let both = |one: &Dependency| committed[one.from as usize] && committed[one.to as usize];
    found.dependencies.retain(both);
    Ok(found)
}

impl Inference<'_> {
    /// What the universe made comes before what is written.
    fn orders(&mut self) {
        for key in 0..self.history.keys.len() as u32 {
            let writers = self.writers.get(&key).cloned().unwrap_or_default();
            if writers.len() > 1 {
                let name = &self.history.keys[key as usize];
                let why = format!(
                    "key {name:?} is written by several transactions, in an order that nobody shows"
                );
                self.found.open.get_or_insert(why);
            }
            let made = self.history.base[key as usize].is_some();
            let init = self.history.init.filter(|_| made);
            for (writer, _) in &writers {
                init.into_iter()
                    .for_each(|init| self.add(init, *writer, WW, false, key));
            }
        }
    }

    fn add(&mut self, from: u32, to: u32, relation: u8, predicate: bool, key: u32) {
        if from != to {
            self.found.dependencies.push(Dependency {
                from,
                to,
                relation,
                predicate,
                key,
            });
        }
    }

    fn odd(&mut self, transaction: u32, key: u32) {
        if self.at_odds.insert((transaction, key)) {
            let sightings = &mut self.found.sightings;
            sightings.add(Anomaly::Internal, key, &[], &[transaction]);
        }
    }

    fn reads(&mut self, transaction: u32) {
        let history = self.history;
        let mut own: FxHashMap<u32, State> = FxHashMap::default();
        let mut seen: FxHashMap<u32, State> = FxHashMap::default();
        for mop in &history.mops[transaction as usize] {
            match mop {
                Mop::Write(key, state) => {
                    own.insert(*key, state.clone());
                }
                Mop::Read(key, state) => match own.get(key) {
                    Some(own) if own != state => self.odd(transaction, *key),
                    Some(_) => {}
                    None => {
                        let before = seen.entry(*key).or_insert_with(|| state.clone()).clone();
                        if before != *state {
                            self.odd(transaction, *key);
                        }
                        self.read(transaction, *key, state);
                    }
                },
                Mop::Rows(predicate, rows) => {
                    for key in 0..history.keys.len() as u32 {
                        let shown = rows.get(&key).cloned();
                        let matches = |state: &State| predicate.matches(state.as_ref());
                        if let Some(own) = own.get(&key) {
                            let expected = own.clone().filter(|_| matches(own));
                            if expected != shown {
                                self.odd(transaction, key);
                            }
                        } else if shown.is_none() {
                            self.unshown(transaction, key, &matches);
                        } else if matches(&shown) {
                            self.read(transaction, key, &shown);
                        } else {
                            self.odd(transaction, key);
                        }
                    }
                }
                Mop::Nothing => {}
            }
        }
    }

    fn others(&self, transaction: u32, key: u32) -> Vec<(u32, State)> {
        let all = self.writers.get(&key).cloned().unwrap_or_default();
        all.into_iter()
            .filter(|(one, _)| *one != transaction)
            .collect()
    }

    /// A transaction read a row as it is in some state.
    fn read(&mut self, transaction: u32, key: u32, state: &State) {
        let history = self.history;
        let others = self.others(transaction, key);
        let made = &history.base[key as usize];
        let from: Vec<u32> = others
            .iter()
            .filter(|(_, one)| one == state)
            .map(|(one, _)| *one)
            .collect();
        match (&from[..], made == state) {
            ([one], false) => self.add(*one, transaction, WR, false, key),
            ([], true) => self.before(transaction, key, &others, false),
            // Before the universe.
            ([], false) if state.is_none() => {
                let init = history.init.unwrap_or(transaction);
                self.add(transaction, init, RW, false, key);
            }
            ([], false) => self.nobody(transaction, key, state),
            _ => {
                let why = format!(
                    "event {}: several may have made of key {:?} what was read",
                    history.all.complete[transaction as usize], history.keys[key as usize]
                );
                self.found.open.get_or_insert(why);
            }
        }
    }

    /// A transaction saw a row as the universe made it.
    fn before(&mut self, transaction: u32, key: u32, others: &[(u32, State)], predicate: bool) {
        let made = self.history.base[key as usize].is_some();
        if let Some(init) = self.history.init.filter(|_| made) {
            self.add(init, transaction, WR, predicate, key);
        }
        for (other, _) in others {
            self.add(transaction, *other, RW, predicate, key);
        }
    }

    /// What no transaction left there.
    fn nobody(&mut self, transaction: u32, key: u32, state: &State) {
        let history = self.history;
        let wrote = |one: &u32| {
            let mops = history.mops[*one as usize].iter();
            mops.into_iter()
                .any(|mop| matches!(mop, Mop::Write(of, what) if *of == key && what == state))
        };
        let mut all = (0..history.len() as u32).filter(|one| *one != transaction);
        let sightings = &mut self.found.sightings;
        match all.find(wrote) {
            Some(one) if history.all.outcome[one as usize] == Outcome::Fail => {
                sightings.add(Anomaly::G1a, key, &[], &[transaction, one]);
            }
            Some(one) => sightings.add(Anomaly::G1b, key, &[], &[transaction, one]),
            None => sightings.add(Anomaly::GarbageRead, key, &[], &[transaction]),
        }
    }

    /// A predicate did not show a row.
    fn unshown(&mut self, transaction: u32, key: u32, matches: &dyn Fn(&State) -> bool) {
        let others = self.others(transaction, key);
        let made = self.history.base[key as usize].clone();
        let hidden: Vec<u32> = others
            .iter()
            .filter(|(_, one)| !matches(one))
            .map(|(one, _)| *one)
            .collect();
        match (&hidden[..], matches(&made)) {
            ([], true) => {
                let mut all = vec![transaction];
                all.extend(self.history.init);
                all.extend(others.iter().map(|(one, _)| *one));
                let sightings = &mut self.found.sightings;
                sightings.add(Anomaly::PredicateReadMiss, key, &[], &all);
            }
            ([one], true) => self.add(*one, transaction, WR, true, key),
            ([], false) => self.before(transaction, key, &others, true),
            // Which of them it was makes no difference to the predicate.
            _ => {}
        }
    }
}
