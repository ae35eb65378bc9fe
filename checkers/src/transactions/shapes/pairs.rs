//! Shapes of two transactions, of which one saw the other and missed it.
//!
//! For each two keys that some transaction writes both: who wrote the first of them before some place of its order, and the second latest? If
//! a transaction saw the first key up to that place, and the second only up to an earlier one, it missed that.

use rustc_hash::FxHashMap;

use super::super::anomaly::{Anomaly, Base, View};
use super::super::graph::{PROCESS, RW, WR, WW};
use super::super::history::Transactions;
use super::super::search::Link;
use super::super::values::NONE;
use super::{Read, Shape, Table, What, Write, code};
use crate::budget::{Budget, Exhausted};

/// How many members pass between two looks at the budget.
const LOOK: usize = 1 << 12;

/// Of the transactions that have a place in one key before this, the one whose place in another key is the last.
struct Latest {
    place: u32,
    other: u32,
    who: u32,
}

/// By two keys.
type Both = FxHashMap<(u32, u32), Vec<Latest>>;

fn both(table: &Table, budget: &dyn Budget) -> Result<Both, Exhausted> {
    let mut both = Both::default();
    for writes in &table.writes {
        budget.charge(writes.len() * writes.len() * 24)?;
        for (one, first) in writes {
            for (other, second) in writes {
                both.entry((*one, *other)).or_default().push(Latest {
                    place: first.place,
                    other: second.place,
                    who: first.transaction,
                });
            }
        }
    }
    for all in both.values_mut() {
        all.sort_by_key(|one| (one.place, one.who));
        for at in 1..all.len() {
            if all[at - 1].other > all[at].other {
                (all[at].other, all[at].who) = (all[at - 1].other, all[at - 1].who);
            }
        }
    }
    Ok(both)
}

/// Who has a place in one key before some place, and in another from some place on.
fn who(both: &Both, (key, before): (u32, u32), (other, from): (u32, u32)) -> Option<u32> {
    let all = both.get(&(key, other))?;
    let last = all
        .partition_point(|one| one.place < before)
        .checked_sub(1)?;
    (all[last].other >= from).then_some(all[last].who)
}

pub(super) fn find(
    all: &Transactions,
    table: &Table,
    budget: &dyn Budget,
) -> Result<Vec<Shape>, Exhausted> {
    let both = both(table, budget)?;
    let mut pairs = Pairs {
        all,
        table,
        both,
        found: Vec::new(),
    };
    let mut sessions = FxHashMap::default();
    for (number, transaction) in table.members.iter().enumerate() {
        if number.is_multiple_of(LOOK) {
            budget.check()?;
        }
        pairs.reads(*transaction, number);
        pairs.writes(*transaction, number);
        pairs.session(*transaction, number, &mut sessions);
    }
    Ok(pairs.found)
}

/// By process and key, the last place that it has written.
type Sessions = FxHashMap<(u32, u32), Write>;

struct Pairs<'a> {
    all: &'a Transactions,
    table: &'a Table,
    both: Both,
    found: Vec<Shape>,
}

impl Pairs<'_> {
    /// Each shape is kept once.
    fn wants(&self, anomaly: Anomaly) -> bool {
        !self.found.iter().any(|shape| shape.anomaly == anomaly)
    }

    fn reads(&mut self, reader: u32, number: usize) {
        let otv = Anomaly::View(View::Monotonic, Base::Plain);
        let fractured = Anomaly::View(View::Atomic, Base::Plain);
        let reads = &self.table.reads[number];
        for saw in reads {
            for missed in reads {
                let anomaly = match saw.mop < missed.mop {
                    true => otv,
                    false if saw.key == missed.key => continue,
                    false => fractured,
                };
                if !self.wants(anomaly) {
                    continue;
                }
                let (seen, from) = ((saw.key, saw.length), (missed.key, missed.length));
                let Some(writer) = who(&self.both, seen, from).filter(|one| *one != reader) else {
                    continue;
                };
                let dependency = (WR, saw.key, NONE);
                self.add(anomaly, reader, writer, missed, dependency);
            }
        }
    }

    fn writes(&mut self, writer: u32, number: usize) {
        let writes = &self.table.writes[number];
        for (key, write) in writes {
            for missed in &self.table.reads[number] {
                let next = code(self.all, write);
                if missed.key == *key {
                    let of = self.table.of(*key);
                    let after = of.partition_point(|one| one.place < missed.length);
                    let between = of[after..].iter().find(|one| one.transaction != writer);
                    let between = between.filter(|one| one.place < write.place);
                    if let Some(other) = between.filter(|_| self.wants(Anomaly::Cursor)) {
                        let other = other.transaction;
                        self.add(Anomaly::Cursor, writer, other, missed, (WW, *key, next));
                    }
                    continue;
                }
                let (before, from) = ((*key, write.place), (missed.key, missed.length));
                let other = who(&self.both, before, from).filter(|one| *one != writer);
                if let Some(other) = other.filter(|_| self.wants(Anomaly::FracturedUpdate)) {
                    let anomaly = Anomaly::FracturedUpdate;
                    self.add(anomaly, writer, other, missed, (WW, *key, next));
                }
            }
        }
    }

    /// What the session of a transaction had written, and it did not read.
    fn session(&mut self, transaction: u32, number: usize, sessions: &mut Sessions) {
        let all = self.all;
        let process = all.process[transaction as usize];
        let anomaly = Anomaly::View(View::Atomic, Base::Process);
        for missed in &self.table.reads[number] {
            let before = sessions.get(&(process, missed.key));
            let wanted = before.filter(|one| one.place >= missed.length && self.wants(anomaly));
            if let Some(before) = wanted {
                let other = before.transaction;
                self.add(anomaly, transaction, other, missed, (PROCESS, NONE, NONE));
            }
        }
        if all.is_ok(transaction) {
            for (key, write) in &self.table.writes[number] {
                let last = sessions.entry((process, *key)).or_insert(*write);
                if last.place < write.place {
                    *last = *write;
                }
            }
        }
    }

    /// That a transaction missed an append of another one, and depends on it: by which relation, of which key, with which of its own
    /// elements.
    fn add(
        &mut self,
        anomaly: Anomaly,
        reader: u32,
        other: u32,
        missed: &Read,
        (relation, key, next): (u8, u32, u32),
    ) {
        let element = |key: u32| {
            let write = self.table.write(other, key);
            write.map_or(NONE, |write| code(self.all, &write))
        };
        let link = |from, to, relation| Link { from, to, relation };
        let rw = What {
            key: missed.key,
            value: NONE,
            next: element(missed.key),
        };
        let back = (key != NONE).then(|| What {
            key,
            value: element(key),
            next,
        });
        self.found.push(Shape {
            anomaly,
            links: vec![
                (link(reader, other, RW), Some(rw)),
                (link(other, reader, relation), back),
            ],
        });
    }
}
