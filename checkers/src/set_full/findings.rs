//! From what became of each element to what is wrong.

use std::collections::BTreeMap;

use crate::budget::{Budget, Exhausted};

use super::timeline::{Span, Timeline};
use super::{ASKED_EVERY, SetFull};

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Lost,
    Divergent,
    Unexpected,
    Aborted,
    Duplicated,
    Stale,
}

impl Kind {
    /// All, the worst first.
    pub(super) const ALL: [Kind; 6] = [
        Kind::Lost,
        Kind::Divergent,
        Kind::Unexpected,
        Kind::Aborted,
        Kind::Duplicated,
        Kind::Stale,
    ];

    /// As in results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Divergent => "divergent",
            Kind::Unexpected => "unexpected",
            Kind::Aborted => "aborted",
            Kind::Duplicated => "duplicated",
            Kind::Stale => "stale",
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// By kind, the elements, by number, ascending.
    pub(super) elements: BTreeMap<Kind, Vec<u32>>,
    /// By divergent element, a final read that does not show it.
    pub(super) divergent: BTreeMap<u32, Span>,
    pub(super) attempted: u64,
    pub(super) acknowledged: u64,
    pub(super) stable: u64,
    pub(super) recovered: u64,
    pub(super) never_read: u64,
    /// Elements that the last reads do not show, which are not final: gone, or those reads were stale.
    pub(super) undecided: u64,
    pub(super) vanished: u64,
    /// Elements that were read and vanished, or whose adds had failed.
    pub(super) dirty: u64,
    /// How long after they were known reads did not show them, of elements that are not lost; nanoseconds.
    pub(super) latencies: Vec<u64>,
}

impl Findings {
    pub(super) fn of(&self, kind: Kind) -> &[u32] {
        self.elements.get(&kind).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, kind: Kind, element: u32) {
        self.elements.entry(kind).or_default().push(element);
    }

    /// Counts an element, with the moment at which all ended after which only final reads began.
    fn count(&mut self, number: u32, element: &Timeline, ended: Option<u64>) {
        let acknowledged = element.acknowledged.is_some();
        self.attempted += u64::from(element.added.is_some());
        self.acknowledged += u64::from(acknowledged);
        self.never_read += u64::from(acknowledged && !element.judged);
        let was_unknown = !acknowledged && !element.is_aborted() && element.added.is_some();
        self.recovered += u64::from(was_unknown && element.first_shown.is_some());
        if element.unexpected.is_some() {
            self.add(Kind::Unexpected, number);
        }
        if element.is_aborted() {
            self.add(Kind::Aborted, number);
            self.dirty += 1;
        }
        if element.duplicated.is_some() {
            self.add(Kind::Duplicated, number);
        }
        if let Some(missed) = element.lost() {
            // Earlier, a replica may have been behind that has caught up since.
            if ended.is_none_or(|ended| ended < missed.begun.index) {
                let vanished = element.first_shown.is_some();
                self.add(Kind::Lost, number);
                self.vanished += u64::from(vanished);
                self.dirty += u64::from(vanished && !element.is_aborted());
            } else {
                self.add(Kind::Stale, number);
                self.latencies.push(element.stale_for());
                self.undecided += 1;
            }
        } else if element.judged {
            self.stable += 1;
            self.latencies.push(element.stale_for());
            if element.missed > 0 {
                self.add(Kind::Stale, number);
            }
        }
    }
}

/// Looks for everything.
pub(super) fn find(set: &SetFull, budget: &dyn Budget) -> Result<Findings, Exhausted> {
    let mut found = Findings::default();
    let ended = set.others_ended();
    for (number, element) in (0..).zip(&set.elements) {
        if (number as usize).is_multiple_of(ASKED_EVERY) {
            budget.check()?;
        }
        found.count(number, element, ended);
    }
    for (read, present) in set.finals.values() {
        budget.check()?;
        let mut present = present.iter().copied().peekable();
        for (number, element) in (0..).zip(&set.elements) {
            if present.next_if_eq(&number).is_some() {
                continue;
            }
            let was_known = element
                .known
                .is_some_and(|known| known.index < read.begun.index);
            if was_known && element.lost().is_none() {
                found.divergent.entry(number).or_insert(*read);
            }
        }
    }
    let divergent: Vec<u32> = found.divergent.keys().copied().collect();
    if !divergent.is_empty() {
        if let Some(stale) = found.elements.get_mut(&Kind::Stale) {
            stale.retain(|number| !found.divergent.contains_key(number));
        }
        found.stable = found.stable.saturating_sub(divergent.len() as u64);
        found.elements.insert(Kind::Divergent, divergent);
    }
    found.elements.retain(|_, elements| !elements.is_empty());
    found.latencies.sort_unstable();
    Ok(found)
}
