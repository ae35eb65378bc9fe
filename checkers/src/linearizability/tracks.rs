//! The objects of a key, each with a search of its own, until an operation concerns them all.

use rustc_hash::FxHashMap;

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::models::Part;
use super::subject::{LoggedOf, Subject};
use super::track::Track;

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
    ration: Option<u64>,
}

/// What became of an operation that begins.
pub(super) enum Called {
    /// It is searched there.
    At(Place),
    /// It does not matter for now.
    Shelved,
    /// It is searched there, and all that are searched together from now on are elsewhere than before:
    /// by their invocations, in order.
    Joined(Place, Vec<(u64, Place)>),
    /// It needs operations that have been forgotten.
    Forgotten,
}

impl<S: Subject> Tracks<S> {
    pub(super) fn new(ration: Option<u64>) -> Tracks<S> {
        Tracks {
            all: Vec::new(),
            apart: Some(FxHashMap::default()),
            shelved: Vec::new(),
            ration,
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
        logged: LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        let Some(apart) = &mut self.apart else {
            return Ok(Called::At(self.call_at(0, logged, subject, budget)?));
        };
        match subject.part(logged.op) {
            Part::None => {
                self.shelved.push(logged);
                Ok(Called::Shelved)
            }
            Part::One(part) => {
                let fresh = self.all.len() as u32;
                let track = *apart.entry(part).or_insert(fresh);
                if track == fresh {
                    self.all.push(Track::new(subject, self.ration));
                }
                Ok(Called::At(self.call_at(track, logged, subject, budget)?))
            }
            Part::All => self.join(logged, subject, budget),
        }
    }

    fn call_at(
        &mut self,
        track: u32,
        logged: LoggedOf<S>,
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
        logged: LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Called, Exhausted> {
        if self.all.iter().any(|track| track.log.has_forgotten()) {
            return Ok(Called::Forgotten);
        }
        self.apart = None;
        let tracks = std::mem::take(&mut self.all);
        let mut ops = std::mem::take(&mut self.shelved);
        ops.extend(tracks.iter().flat_map(|track| track.log.iter().copied()));
        ops.sort_unstable_by_key(|op| op.invoke);
        drop(tracks);
        // Returns after this operation have not been searched yet.
        let past = |index: &u64| *index < logged.invoke;
        let mut events: Vec<(u64, u32, bool)> = Vec::with_capacity(ops.len() * 2);
        for (at, op) in ops.iter().enumerate() {
            events.push((op.invoke, at as u32, false));
            events.extend(op.returned().filter(past).map(|end| (end, at as u32, true)));
        }
        events.sort_unstable();
        let mut whole = Track::new(subject, self.ration);
        for (index, at, returns) in events {
            // Invocations are in order, so that identifiers are positions.
            match returns {
                false => drop(whole.call(ops[at as usize], subject, budget)?),
                true => whole.complete(at, index, subject, budget)?,
            }
        }
        let moved = ops.iter().enumerate();
        let moved = moved.map(|(at, op)| {
            (
                op.invoke,
                Place {
                    track: 0,
                    id: at as u32,
                },
            )
        });
        let moved = moved.collect();
        self.all.push(whole);
        Ok(Called::Joined(
            self.call_at(0, logged, subject, budget)?,
            moved,
        ))
    }
}
