//! Levels that are decided by trying orders that nobody saw ([`polygraph`]): of the versions of registers, or of appends that
//! nobody read.

use std::collections::BTreeSet;

use super::anomaly::{Anomaly, Base};
use super::conclude::Proved;
use super::evidence::Impossible;
use super::history::Transactions;
use super::models::{Boundary, Level, Standing, find};
use super::polygraph::{self, Model, Observed, Respects};
use super::values::NONE;
use crate::Evidence;
use crate::budget::Exhausted;

/// A level that can be decided, and what disproves it.
pub(super) struct Decidable {
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
    pub(super) fn level(&self) -> Option<&'static Level> {
        find(self.name)
    }

    /// What disproves it.
    pub(super) fn anomaly(&self) -> Anomaly {
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
    pub(super) fn asked(&self) -> polygraph::Level {
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
fn deciding(level: &Level) -> Option<&'static Decidable> {
    ALL.iter().find(|one| {
        one.level()
            .is_some_and(|decided| decided.reaches(level.name))
    })
}

/// All of them, stronger ones first: what holds of one need not be asked of weaker ones.
fn strongest_first() -> impl Iterator<Item = &'static Decidable> {
    ALL.iter().rev()
}

/// What comes of a decision.
pub(super) enum Decided {
    Holds,
    Violated(Box<Impossible>),
    Unknown(String),
}

/// What is known of the levels of a history.
pub(super) struct Standings<'a> {
    anomalies: BTreeSet<Anomaly>,
    ways: Vec<BTreeSet<Anomaly>>,
    pub(super) boundary: Boundary,
    /// Of which levels all that disproves them is looked for.
    decided: &'a dyn Fn(&Level) -> bool,
    /// Why what was asked for is not decided.
    pub(super) why: Option<String>,
}

impl<'a> Standings<'a> {
    /// Of a history that shows `anomalies`, and can be understood in some ways.
    pub(super) fn of(
        anomalies: BTreeSet<Anomaly>,
        ways: Vec<BTreeSet<Anomaly>>,
        decided: &'a dyn Fn(&Level) -> bool,
    ) -> Standings<'a> {
        Standings {
            boundary: Boundary::of(&anomalies, &ways, decided),
            anomalies,
            ways,
            decided,
            why: None,
        }
    }

    /// Whether nobody knows yet if a level holds.
    pub(super) fn is_open(&self, level: &Level) -> bool {
        self.boundary.standing(level) == Standing::Open
    }

    /// Decides what is open of the level that is asked for, and of the others. `decide` is told which is asked for, and says
    /// nothing where it does not want to.
    pub(super) fn settle(
        &mut self,
        asked: &Level,
        proved: &mut Proved,
        mut decide: impl FnMut(&Standings, &Decidable, bool) -> Result<Option<Decided>, Exhausted>,
    ) -> Result<(), Exhausted> {
        let first = deciding(asked).filter(|_| self.is_open(asked));
        // Once is enough.
        let others =
            strongest_first().filter(|one| first.is_none_or(|first| first.name != one.name));
        let first = first.into_iter().map(|one| (one, true));
        for (what, is_asked) in first.chain(others.map(|one| (one, false))) {
            // What is asked for may be a weaker level than what decides it.
            let of = if is_asked { Some(asked) } else { what.level() };
            if !of.is_some_and(|of| self.is_open(of)) {
                continue;
            }
            match decide(self, what, is_asked)? {
                Some(Decided::Holds) => {
                    let level = what.level().into_iter();
                    level.for_each(|level| self.boundary.hold(level));
                }
                Some(Decided::Violated(evidence)) => {
                    let made = std::iter::once(Ok(Evidence::Impossible(evidence)));
                    proved.keep(what.anomaly(), 1, made);
                    self.add(what.anomaly());
                }
                Some(Decided::Unknown(why)) if is_asked => self.why = Some(why),
                Some(Decided::Unknown(_)) | None => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, anomaly: Anomaly) {
        let held = self.boundary.all(Standing::Holds);
        self.anomalies.insert(anomaly);
        self.ways.iter_mut().for_each(|way| {
            way.insert(anomaly);
        });
        self.boundary = Boundary::of(&self.anomalies, &self.ways, self.decided);
        held.into_iter().for_each(|one| self.boundary.hold(one));
    }
}

/// Sorts transactions by their ends, as a decision likes them best. Those that nobody saw end stand where they began.
pub(super) fn in_order(all: &Transactions, numbers: &mut [u32]) {
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
pub(super) fn when(all: &Transactions, one: u32) -> Observed<'static> {
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
