//! The objects of a key, each with a search of its own, until an operation concerns them all.
//!
//! A search takes memory, also one that has hardly anything to do. So when there are very many objects, a monitor is
//! asked about all of them together, if there is one: an object that consists of others is of a type that
//! monitors know. As long as everything is linearizable, no object has a search (they are *gathered*);
//! if ever the monitor cannot tell, they are searched apart again (*scattered*).

use rustc_hash::FxHashMap;

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::log::{Log, happenings};
use super::models::Part;
use super::portfolio::{Opinion, Ration};
use super::subject::{LoggedOf, Subject};
use super::track::Track;

/// From so many objects on, for each question of a search's ration, a monitor is asked about all of them.
const GATHER: usize = 1 << 12;

/// From so many objects on, those that are settled are not searched on.
const MANY: usize = 256;

/// Where an operation is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    track: u32,
    id: OpId,
}

/// The tracks of a key.
pub(super) struct Tracks<S: Subject> {
    all: Vec<Track<S>>,
    /// By the number of the object that it is for, while objects are searched apart.
    apart: Option<FxHashMap<u32, u32>>,
    /// Operations that matter to nothing while objects are searched apart.
    shelved: Vec<LoggedOf<S>>,
    /// The ration of each search.
    ration: Option<Ration>,
    /// From so many objects on, a monitor is asked about all together.
    gather_at: usize,
}

/// What became of an operation that begins.
pub(super) enum Called {
    /// It is searched there.
    At(Place),
    /// It does not matter for now.
    Shelved,
    /// It is searched there, unless it does not matter for now, and others are elsewhere than before: by their
    /// invocations, in order.
    Moved(Option<Place>, Vec<(u64, Place)>),
    /// It needs operations that have been forgotten.
    Forgotten,
}

impl<S: Subject> Tracks<S> {
    pub(super) fn new(ration: Option<Ration>) -> Tracks<S> {
        Tracks {
            all: Vec::new(),
            apart: Some(FxHashMap::default()),
            shelved: Vec::new(),
            ration,
            gather_at: ration.map_or(usize::MAX, |ration| ration.times(GATHER).max(1)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Track<S>> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Track<S>> {
        self.all.iter_mut()
    }

    /// All operations of the key that are remembered, in no order.
    pub(super) fn logged(&self) -> impl Iterator<Item = &LoggedOf<S>> {
        let tracks = self.all.iter().flat_map(|track| track.log.iter());
        tracks.chain(&self.shelved)
    }

    /// An operation begins, its result known.
    pub(super) fn call(
        &mut self,
        logged: &LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        let Some(apart) = &mut self.apart else {
            let place = self.call_at(0, logged, subject, budget)?;
            return match self.all[0].is_torn() {
                true => self.scatter(logged.invoke, subject, budget),
                false => Ok(Called::At(place)),
            };
        };
        match subject.part(logged.op) {
            Part::None => {
                self.shelved.push(*logged);
                Ok(Called::Shelved)
            }
            Part::One(part) => {
                let fresh = self.all.len() as u32;
                let track = *apart.entry(part).or_insert(fresh);
                if track == fresh {
                    self.all.push(Track::new(subject, self.ration));
                }
                let place = self.call_at(track, logged, subject, budget)?;
                match self.all.len() >= self.gather_at {
                    true => self.gather(place, logged.invoke, subject, budget),
                    false => Ok(Called::At(place)),
                }
            }
            Part::All => self.join(logged, subject, budget),
        }
    }

    fn call_at(
        &mut self,
        track: u32,
        logged: &LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Place, Exhausted> {
        let id = self.all[track as usize].call(logged, subject, budget)?;
        Ok(Place { track, id })
    }

    pub(super) fn complete(
        &mut self,
        place: Place,
        index: u64,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let many = self.all.len() >= MANY;
        let track = &mut self.all[place.track as usize];
        track.complete(place.id, index, subject, budget)?;
        if many {
            track.settle();
        }
        Ok(())
    }

    /// The track that an operation is on.
    pub(super) fn at(&self, place: Place) -> &Track<S> {
        &self.all[place.track as usize]
    }

    /// Begins to search all objects as one, and lets all that has happened so far happen to it.
    fn join(
        &mut self,
        logged: &LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        if self.all.iter().any(|track| track.log.has_forgotten()) {
            return Ok(Called::Forgotten);
        }
        self.apart = None;
        let ops = self.all_together();
        self.all.clear();
        self.shelved.clear();
        let mut whole = Track::new(subject, self.ration);
        for (index, at, returns) in happenings(ops.iter(), logged.invoke) {
            // Invocations are in order, so that identifiers are positions.
            match returns {
                false => drop(whole.call(&ops[at as usize], subject, budget)?),
                true => whole.complete(at, index, subject, budget)?,
            }
        }
        self.all.push(whole);
        let place = self.call_at(0, logged, subject, budget)?;
        Ok(Called::Moved(Some(place), in_order::<S>(&ops)))
    }

    /// All operations of the key, in order of invocation.
    fn all_together(&self) -> Vec<LoggedOf<S>> {
        let mut ops: Vec<LoggedOf<S>> = self.logged().copied().collect();
        ops.sort_unstable_by_key(|op| op.invoke);
        ops
    }

    /// Puts all searches aside if a monitor finds everything linearizable. The last operation is at `place`.
    fn gather(
        &mut self,
        place: Place,
        now: u64,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        self.gather_at = self.gather_at.saturating_mul(2);
        let is_whole = |track: &Track<S>| !track.log.has_forgotten() && !track.is_accused();
        let (Some(ration), true) = (self.ration, self.all.iter().all(is_whole)) else {
            return Ok(Called::At(place));
        };
        let ops = self.all_together();
        let mut log = Log::default();
        for op in &ops {
            log.push(*op);
        }
        if subject.opinion(&log, now, budget)? != Opinion::Linearizable {
            return Ok(Called::At(place));
        }
        let hardness = self.all.iter().filter_map(Track::hardness);
        let track = Track::gathered(log, now, ration, hardness);
        self.all.clear();
        self.all.push(track);
        self.shelved.clear();
        self.apart = None;
        let moved = in_order::<S>(&ops);
        Ok(Called::Moved(moved.last().map(|(_, place)| *place), moved))
    }

    /// Searches apart what was gathered, until the event `now`.
    fn scatter(
        &mut self,
        now: u64,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        let ops = self.all_together();
        let accused = self.all.iter().any(Track::is_accused);
        self.all.clear();
        self.apart = Some(FxHashMap::default());
        self.gather_at = usize::MAX;
        let mut places: Vec<Option<Place>> = vec![None; ops.len()];
        for (index, at, returns) in happenings(ops.iter(), now + 1) {
            let at = at as usize;
            if returns {
                if let Some(place) = places[at] {
                    self.complete(place, index, subject, budget)?;
                }
                continue;
            }
            match self.call(&ops[at], subject, budget)? {
                Called::At(place) => places[at] = Some(place),
                Called::Shelved | Called::Forgotten => {}
                Called::Moved(place, moved) => {
                    for (before, (_, to)) in places.iter_mut().zip(moved) {
                        *before = Some(to);
                    }
                    places[at] = place;
                }
            }
        }
        if accused && let Some(track) = self.all.first_mut() {
            track.remain_accused();
        }
        let last = places.last().copied().flatten();
        let moved = ops.iter().zip(places);
        let moved = moved.filter_map(|(op, place)| Some((op.invoke, place?)));
        Ok(Called::Moved(last, moved.collect()))
    }

    /// The history is over: what was gathered must be decided, or searched apart.
    pub(super) fn end(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        let Some(track) = self.all.first_mut().filter(|track| track.is_gathered()) else {
            return Ok(());
        };
        track.ask_at_last(subject, budget)?;
        if track.is_torn() {
            self.scatter(u64::MAX - 1, subject, budget)?;
        }
        Ok(())
    }
}

/// Where operations are that are all searched together.
fn in_order<S: Subject>(ops: &[LoggedOf<S>]) -> Vec<(u64, Place)> {
    let ops = (0..).zip(ops);
    ops.map(|(id, op)| (op.invoke, Place { track: 0, id }))
        .collect()
}
