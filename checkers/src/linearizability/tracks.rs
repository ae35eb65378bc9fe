//! The objects of a key, each with a search of its own, until an operation concerns them all.

use rustc_hash::FxHashMap;

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::log::Log;
use super::model::Machine;
use super::models::Part;
use super::portfolio::{OPERATIONS_PER_QUESTION, Opinion, RATION, Rationed, ask_again};
use super::search::{Answer, Search};
use super::subject::{LoggedOf, Subject};

/// One object: the search for an order, and what is remembered of its operations.
pub(super) struct Track<S: Subject> {
    searching: Searching<S::Machine>,
    pub(super) log: Log<LoggedOf<S>>,
    /// The last event that happened to it.
    now: u64,
    /// What is left of the search's ration; `None` if it has as much as it wants.
    ration: Option<u64>,
    /// If a monitor found a violation and the search confirmed it: the operations that the search was sent
    /// over, by their positions in the log.
    suspects: Option<Vec<usize>>,
}

enum Searching<A: Machine> {
    Live(Box<Search<A>>),
    /// Nothing is open, and there is one state in which the object can be.
    Idle(A, u32),
    /// A monitor found everything linearizable, and is asked again when the log is as long as this.
    Aside(usize),
    /// Between two of these.
    Changing,
}

impl<S: Subject> Track<S> {
    fn new(subject: &mut S) -> Track<S> {
        let (machine, initial) = subject.object();
        Track {
            searching: Searching::Live(Box::new(Search::new(machine, initial))),
            log: Log::default(),
            now: 0,
            ration: Some(RATION),
            suspects: None,
        }
    }

    /// The search, begun anew where the last has settled.
    fn search(&mut self) -> &mut Search<S::Machine> {
        if let Searching::Idle(..) = self.searching
            && let Searching::Idle(machine, state) =
                std::mem::replace(&mut self.searching, Searching::Changing)
        {
            self.searching = Searching::Live(Box::new(Search::new(machine, state)));
        }
        match &mut self.searching {
            Searching::Live(search) => search,
            _ => unreachable!("made live above, and not called while aside"),
        }
    }

    /// Keeps no more than a state where that says everything.
    fn settle(&mut self) {
        let Searching::Live(search) = &mut self.searching else {
            return;
        };
        let Some(state) = search.settled() else {
            return;
        };
        if let Searching::Live(search) = std::mem::replace(&mut self.searching, Searching::Changing)
        {
            let mut machine = search.machine;
            machine.retain(&[state]);
            self.searching = Searching::Idle(machine, state);
        }
    }

    /// The search, unless it has settled.
    pub(super) fn live(&self) -> Option<&Search<S::Machine>> {
        match &self.searching {
            Searching::Live(search) => Some(search),
            _ => None,
        }
    }

    /// Whether an event has been found before which there is no order.
    pub(super) fn is_invalid(&self) -> bool {
        self.live().is_some_and(Search::is_invalid)
    }

    /// The answer on everything so far.
    pub(super) fn answer(&mut self, subject: &mut S, budget: &dyn Budget) -> Answer {
        match self.try_answer(subject, budget) {
            Ok(answer) => answer,
            Err(exhausted) => Answer::Exhausted(exhausted),
        }
    }

    fn try_answer(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<Answer, Exhausted> {
        if let Searching::Live(search) = &mut self.searching {
            let Some(ration) = self.ration else {
                return Ok(search.answer(budget));
            };
            let rationed = Rationed::new(budget, ration);
            let answer = search.answer(&rationed);
            if rationed.left().is_some() {
                return Ok(answer);
            }
            self.ask(subject, budget)?;
        } else if let Searching::Aside(_) = self.searching {
            self.ask(subject, budget)?;
        }
        Ok(match &mut self.searching {
            // Not rationed any more.
            Searching::Live(search) => search.answer(budget),
            _ => Answer::Valid,
        })
    }

    /// Lets something happen to the search, as far as its ration goes.
    fn advance(
        &mut self,
        subject: &mut S,
        budget: &dyn Budget,
        step: impl FnOnce(&mut Search<S::Machine>, &dyn Budget) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        if let Searching::Aside(until) = self.searching {
            if self.log.len() >= until {
                self.ask(subject, budget)?;
            }
            return Ok(());
        }
        let Some(ration) = self.ration else {
            return step(self.search(), budget);
        };
        let rationed = Rationed::new(budget, ration);
        let done = step(self.search(), &rationed);
        match rationed.left() {
            Some(left) => {
                self.ration = Some(left);
                done
            }
            None => self.ask(subject, budget),
        }
    }

    /// Asks the monitor about everything so far, and does as it says. What the search was at is lost.
    fn ask(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        let all = 0..self.log.len();
        match subject.opinion(&self.log, self.now, budget)? {
            Opinion::Linearizable => {
                self.searching = Searching::Aside(ask_again(self.log.len()));
                return Ok(());
            }
            Opinion::Violation(named) => {
                let suspects = subject.closed(&self.log, &named);
                self.resume(suspects.iter().copied(), subject, budget)?;
                if let Searching::Live(search) = &mut self.searching
                    && matches!(search.answer(budget), Answer::Invalid { .. })
                {
                    self.suspects = Some(suspects);
                    return Ok(());
                }
            }
            Opinion::Unknown => {}
        }
        self.resume(all, subject, budget)
    }

    /// Searches some operations, by their positions in the log, from the beginning until now, with no
    /// ration.
    fn resume(
        &mut self,
        some: impl Iterator<Item = usize>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.ration = None;
        let log: Vec<&LoggedOf<S>> = self.log.iter().collect();
        let mut events: Vec<(u64, usize, bool)> = Vec::new();
        for at in some {
            let past = |end: &u64| *end <= self.now;
            events.push((log[at].invoke, at, false));
            events.extend(log[at].returned().filter(past).map(|end| (end, at, true)));
        }
        events.sort_unstable();
        let (machine, initial) = subject.object();
        let mut search = Box::new(Search::new(machine, initial));
        for (index, at, returns) in events {
            let (op, id) = (log[at], at as OpId);
            match returns {
                false => search.call(id, op.op, op.returned(), index, budget)?,
                true => search.complete(id, index, budget)?,
            }
        }
        self.searching = Searching::Live(search);
        Ok(())
    }

    /// The operations among which a violation is to be looked for, with their positions in the log.
    pub(super) fn suspects(&self) -> Vec<(usize, &LoggedOf<S>)> {
        let log = self.log.iter().enumerate();
        match &self.suspects {
            None => log.collect(),
            Some(some) => log
                .filter(|(at, _)| some.binary_search(at).is_ok())
                .collect(),
        }
    }

    /// The states that were possible when there was no order any more, as those of the machine.
    pub(super) fn last_states(&self) -> Option<(&S::Machine, &[u32])> {
        let search = self.live()?;
        // Those of a part of the history are not those of the whole.
        let states = search.last_states();
        let known = self.suspects.is_none();
        Some((&search.machine, if known { states } else { &[] }))
    }

    /// About how many bytes are kept that grow with the history.
    pub(super) fn bytes(&self) -> usize {
        let search = match &self.searching {
            Searching::Live(search) => LIVE + search.machine.bytes() + search.bytes(),
            Searching::Idle(machine, _) => machine.bytes(),
            Searching::Aside(_) | Searching::Changing => 0,
        };
        size_of::<Track<S>>() + search + self.log.len() * size_of::<LoggedOf<S>>()
    }

    /// Forgets the older half of the operations, and with it the chance to search again where that
    /// would have to begin there.
    pub(super) fn trim(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        if let Searching::Aside(_) = self.searching {
            self.resume(0..self.log.len(), subject, budget)?;
        }
        // Monitors know nothing of what came before a log.
        self.ration = None;
        if self.suspects.is_some() {
            return Ok(());
        }
        let remembered = self.log.len();
        if let Searching::Live(search) = &mut self.searching
            && search.steps() > remembered
        {
            search.forget();
        }
        self.log.trim();
        Ok(())
    }

    fn call(
        &mut self,
        logged: LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<OpId, Exhausted> {
        let id = self.log.push(logged);
        self.now = logged.invoke;
        if self.log.len().is_multiple_of(OPERATIONS_PER_QUESTION) {
            self.ration = self.ration.map(|left| RATION.min(left + 1));
        }
        let returns = logged.returned();
        self.advance(subject, budget, |search, budget| {
            search.call(id, logged.op, returns, logged.invoke, budget)
        })?;
        Ok(id)
    }

    fn complete(
        &mut self,
        id: OpId,
        index: u64,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.now = index;
        self.advance(subject, budget, |search, budget| {
            search.complete(id, index, budget)
        })
    }
}

/// About how many bytes a search takes that has met nothing hard.
const LIVE: usize = 8 << 10;

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
    pub(super) fn new() -> Tracks<S> {
        Tracks {
            all: Vec::new(),
            apart: Some(FxHashMap::default()),
            shelved: Vec::new(),
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
                    self.all.push(Track::new(subject));
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
        let mut whole = Track::new(subject);
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
