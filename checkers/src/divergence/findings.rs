//! From what became of each record to what is wrong.

use std::collections::BTreeMap;

use store::Name;

use crate::budget::{Budget, Exhausted};

use super::{Divergence, Last, Record};

/// What is wrong with records, besides versions with two values.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Records with two final reads that contradict each other.
    pub(super) divergent: Vec<(u32, [Last; 2])>,
    /// Records with a final read that does not find them.
    pub(super) lost: Vec<(u32, Last)>,
    /// Records with a value of them whose writes all failed.
    pub(super) aborted: Vec<(u32, u32)>,
    /// Records with a value of them that nobody wrote.
    pub(super) unexpected: Vec<(u32, u32)>,
    /// Records whose final reads differ as a write of unknown outcome may explain.
    pub(super) explained: u64,
    /// Records that were written for certain.
    pub(super) written: u64,
    /// Those of them that were not read at the end by two at least.
    pub(super) unchecked: u64,
}

/// Looks for everything.
pub(super) fn find(all: &Divergence, budget: &dyn Budget) -> Result<Findings, Exhausted> {
    let mut found = Findings::default();
    for (number, record) in (0..).zip(&all.records) {
        budget.check()?;
        for (value, written) in &record.values {
            if written.unexpected {
                found.unexpected.push((number, *value));
            } else if written.writes == 0 && written.shown.is_some() {
                found.aborted.push((number, *value));
            }
        }
        let finals = finals(record);
        found.written += u64::from(record.acknowledged.is_some());
        found.unchecked += u64::from(record.acknowledged.is_some() && finals.len() < 2);
        let is_none = |last: &&Last| all.values.value(last.state.value).is_null();
        if record.acknowledged.is_some()
            && let Some(last) = finals.iter().find(is_none)
        {
            found.lost.push((number, last.clone()));
        }
        match contradiction(record, &finals) {
            Some(pair) => found.divergent.push((number, pair)),
            None if finals
                .iter()
                .any(|last| last.state.differs(finals[0].state)) =>
            {
                found.explained += 1;
            }
            None => {}
        }
    }
    Ok(found)
}

/// The last final read of each node, or of each process that is not known to be on one, in the order in which they ended.
fn finals(record: &Record) -> Vec<Last> {
    let mut by_node: BTreeMap<(Option<Name>, u64), &Last> = BTreeMap::new();
    for (process, last) in &record.finals {
        if record
            .last_write
            .is_some_and(|write| write > last.read.begun)
        {
            continue;
        }
        let process = match last.node {
            None => *process,
            Some(_) => Default::default(),
        };
        let place = (last.node.clone(), process);
        let kept = by_node.entry(place).or_insert(last);
        if kept.read.ended < last.read.ended {
            *kept = last;
        }
    }
    let mut finals: Vec<Last> = by_node.into_values().cloned().collect();
    finals.sort_unstable_by_key(|last| last.read.ended);
    finals
}

/// Two final reads that no write explains, of those in the order in which they ended.
fn contradiction(record: &Record, finals: &[Last]) -> Option<[Last; 2]> {
    // A record that is not there cannot come to be so, since nothing is deleted.
    let is_settled = |last: &&Last| {
        let written = record.values.get(&last.state.value);
        written.is_none_or(|written| written.unsettled == 0)
    };
    let settled: Vec<&Last> = finals.iter().filter(is_settled).collect();
    // One that says its version tells more.
    let says = settled.iter().find(|last| last.state.version.is_some());
    let first = says.or(settled.first())?;
    if let Some(other) = settled.iter().find(|last| last.state.differs(first.state)) {
        return Some([(*first).clone(), (*other).clone()]);
    }
    // All settled reads found the same. Who found something else, and had it before one of these began?
    let begun_last = settled.iter().max_by_key(|last| last.read.begun)?;
    let before = finals.iter().find(|last| {
        last.state.differs(begun_last.state) && last.read.ended < begun_last.read.begun
    })?;
    Some([before.clone(), (*begun_last).clone()])
}
