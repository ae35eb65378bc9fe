//! One object: the search for an order, what is remembered of its operations, and when a monitor is asked
//! (see [`portfolio`](super::portfolio)).

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::log::{Log, happenings};
use super::model::Machine;
use super::portfolio::{Named, Opinion, Ration, Rationed, Spent};
use super::search::{Answer, Hardness, Search};
use super::subject::{LoggedOf, OpOf, Subject};

/// One object.
pub(super) struct Track<S: Subject> {
    searching: Searching<S::Machine>,
    pub(super) log: Log<LoggedOf<S>>,
    /// The last event that happened to it.
    now: u64,
    /// What is left of the search's ration; `None` if it has as much as it wants.
    ration: Option<Ration>,
    /// What a monitor found a violation in, if it did.
    accused: Option<Accused<S>>,
    /// Whether it is many objects that can be searched apart.
    gathered: bool,
}

enum Searching<A: Machine> {
    Live(Box<Search<A>>),
    /// Nothing is open, and there is one state in which the object can be.
    Idle(A, u32),
    Aside(Aside),
    /// It is many objects that must be searched apart.
    Torn,
    /// Between two of these.
    Changing,
}

/// A search that was put aside.
#[derive(Clone, Copy)]
struct Aside {
    /// The monitor is asked again when the log is as long as this.
    again: usize,
    /// As far as the search got, and then the monitor.
    hardness: Hardness,
}

/// A violation according to a monitor.
struct Accused<S: Subject> {
    /// The operations that the search was sent over and which it found to be impossible; `None` if it is at all of them.
    suspects: Option<Vec<Suspect<S>>>,
    /// The only elements that these are about, if so.
    elements: Vec<u32>,
}

/// An operation, by its position in the log, as it counts.
pub(super) type Suspect<S> = (usize, LoggedOf<S>);

/// What is left of a search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Intact,
    /// It was broken off.
    Nothing,
}

impl<S: Subject> Track<S> {
    pub(super) fn new(subject: &mut S, ration: Option<Ration>) -> Track<S> {
        let (machine, initial) = subject.object();
        Track {
            searching: Searching::Live(Box::new(Search::new(machine, initial))),
            log: Log::default(),
            now: 0,
            ration,
            accused: None,
            gathered: false,
        }
    }

    /// Many objects, all of whose operations a monitor found linearizable together until the event `now`. What made
    /// the search of each hard is given.
    pub(super) fn gathered(
        log: Log<LoggedOf<S>>,
        now: u64,
        ration: Ration,
        hardness: impl Iterator<Item = Hardness>,
    ) -> Track<S> {
        let none = Hardness {
            crashed: 0,
            open: 0,
            width: 0,
            proved: Some(now),
        };
        let hardness = hardness.fold(none, |most, one| Hardness {
            open: most.open.max(one.open),
            width: most.width.max(one.width),
            ..most
        });
        let again = ration.ask_again(log.len());
        Track {
            searching: Searching::Aside(Aside { again, hardness }),
            log,
            now,
            ration: Some(ration),
            accused: None,
            gathered: true,
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
    pub(super) fn settle(&mut self) {
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

    /// The search, unless it has settled or was put aside.
    pub(super) fn live(&self) -> Option<&Search<S::Machine>> {
        match &self.searching {
            Searching::Live(search) => Some(search),
            _ => None,
        }
    }

    /// Whether the search decides, or has decided, about all operations.
    pub(super) fn is_searched(&self) -> bool {
        matches!(self.searching, Searching::Live(_) | Searching::Idle(..))
    }

    /// Whether a monitor has taken over, which needs all operations.
    pub(super) fn is_aside(&self) -> bool {
        matches!(self.searching, Searching::Aside(_))
    }

    /// Whether it is many objects.
    pub(super) fn is_gathered(&self) -> bool {
        self.gathered
    }

    /// Whether it is many objects that must be searched apart.
    pub(super) fn is_torn(&self) -> bool {
        matches!(self.searching, Searching::Torn)
    }

    /// Whether there certainly is no order.
    pub(super) fn is_invalid(&self) -> bool {
        self.live().is_some_and(Search::is_invalid)
    }

    /// Whether a monitor found that there is no order.
    pub(super) fn is_accused(&self) -> bool {
        self.accused.is_some()
    }

    /// A monitor found that there is no order of this or of objects that it was gathered with.
    pub(super) fn remain_accused(&mut self) {
        self.accused = Some(Accused {
            suspects: None,
            elements: Vec::new(),
        });
    }

    /// Whether a monitor decided it.
    pub(super) fn is_by_monitor(&self) -> bool {
        self.is_aside() || self.some_suspects().is_some()
    }

    /// How far it got, and what made it hard.
    pub(super) fn hardness(&self) -> Option<Hardness> {
        match &self.searching {
            Searching::Live(search) => Some(search.hardness()),
            Searching::Aside(aside) => {
                let crashed = self.log.iter().filter(|op| op.returned().is_none());
                Some(Hardness {
                    crashed: crashed.count(),
                    ..aside.hardness
                })
            }
            _ => None,
        }
    }

    /// The operations among which a violation is to be looked for.
    pub(super) fn suspects(&self) -> Vec<Suspect<S>> {
        let all = || self.log.iter().copied().enumerate().collect();
        self.some_suspects().cloned().unwrap_or_else(all)
    }

    /// The only elements that the suspects are about, if so.
    pub(super) fn elements(&self) -> &[u32] {
        self.accused.as_ref().map_or(&[], |it| &it.elements)
    }

    fn some_suspects(&self) -> Option<&Vec<Suspect<S>>> {
        self.accused.as_ref()?.suspects.as_ref()
    }

    /// Those of the operations that have to do with some elements, as if there were no others.
    pub(super) fn restricted(&self, elements: &[u32], subject: &S) -> Vec<Suspect<S>> {
        if elements.is_empty() {
            return Vec::new();
        }
        let restrict = |(at, op)| Some((at, subject.restrict(op, elements)?));
        self.log.iter().enumerate().filter_map(restrict).collect()
    }

    /// The states that were possible when there was no order any more, as those of the machine.
    pub(super) fn last_states(&self) -> Option<(&S::Machine, &[u32])> {
        let search = self.live()?;
        // Those of a part of the history are not those of the whole.
        let states = match self.some_suspects() {
            None => search.last_states(),
            Some(_) => &[],
        };
        Some((&search.machine, states))
    }

    /// The answer on everything so far.
    pub(super) fn answer(&mut self, subject: &mut S, budget: &dyn Budget) -> Answer {
        let answer = self.try_answer(subject, budget);
        match answer.unwrap_or_else(Answer::Exhausted) {
            Answer::Valid if self.is_accused() => Answer::Disputed,
            answer => answer,
        }
    }

    fn try_answer(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<Answer, Exhausted> {
        match &mut self.searching {
            Searching::Live(search) => {
                let Some(ration) = self.ration else {
                    return Ok(search.answer(budget));
                };
                let rationed = Rationed::new(budget, ration, self.log.len());
                let answer = search.answer(&rationed);
                if !matches!(rationed.spent(), Spent::TooMuch) {
                    return Ok(answer);
                }
                // To answer changes nothing that could not be done again.
                self.ask(Left::Intact, subject, budget)?;
            }
            _ => self.ask_at_last(subject, budget)?,
        }
        let is_proved = self.is_proved();
        Ok(match &mut self.searching {
            Searching::Live(search) => search.answer(budget),
            Searching::Idle(..) => Answer::Valid,
            Searching::Aside(_) if is_proved => Answer::Valid,
            Searching::Aside(_) | Searching::Torn | Searching::Changing => Answer::Forgotten,
        })
    }

    /// Whether the search is aside, and a monitor found everything linearizable.
    fn is_proved(&self) -> bool {
        let now = Some(self.now);
        matches!(&self.searching, Searching::Aside(aside) if aside.hardness.proved == now)
    }

    /// Asks the monitor about everything where it has taken over and was not asked yet. The history is over.
    pub(super) fn ask_at_last(
        &mut self,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        if !self.is_aside() || self.is_proved() {
            return Ok(());
        }
        self.ask(Left::Nothing, subject, budget)?;
        if self.is_aside() && !self.is_proved() {
            self.search_freely(Left::Nothing, subject, budget)?;
        }
        Ok(())
    }

    /// Lets something happen to the search, as far as its ration goes.
    fn advance(
        &mut self,
        subject: &mut S,
        budget: &dyn Budget,
        step: impl FnOnce(&mut Search<S::Machine>, &dyn Budget) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        if let Searching::Aside(aside) = &self.searching {
            return match self.log.len() >= aside.again {
                true => self.ask(Left::Nothing, subject, budget),
                false => Ok(()),
            };
        }
        if self.is_torn() {
            return Ok(());
        }
        let Some(ration) = self.ration else {
            return step(self.search(), budget);
        };
        let rationed = Rationed::new(budget, ration, self.log.len());
        let done = step(self.search(), &rationed);
        match rationed.spent() {
            Spent::TooMuch => self.ask(Left::Nothing, subject, budget),
            Spent::All if done.is_ok() && !self.is_invalid() => {
                self.ask(Left::Intact, subject, budget)
            }
            Spent::All => done,
            Spent::Left(left) => {
                self.ration = Some(left);
                done
            }
        }
    }

    /// Searches without a ration from now on if the monitor will never have an opinion: later that may cost all that was
    /// searched.
    fn probe(&mut self, subject: &S, budget: &dyn Budget) -> Result<(), Exhausted> {
        if subject.opinion(&self.log, self.now, budget)? == Opinion::Unknown {
            self.ration = None;
        }
        Ok(())
    }

    /// Asks the monitor about everything so far, and does as it says.
    fn ask(&mut self, left: Left, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        match subject.opinion(&self.log, self.now, budget)? {
            Opinion::Linearizable => self.put_aside(Some(self.now)),
            Opinion::NotYet => self.put_aside(None),
            Opinion::Unknown => return self.search_freely(left, subject, budget),
            Opinion::Violation(named) => return self.accuse(named, left, subject, budget),
        }
        Ok(())
    }

    /// Puts the search aside, everything until the event `proved` being linearizable.
    fn put_aside(&mut self, proved: Option<u64>) {
        let (Some(hardness), Some(ration)) = (self.hardness(), self.ration) else {
            return;
        };
        self.searching = Searching::Aside(Aside {
            again: ration.ask_again(self.log.len()),
            hardness: Hardness {
                proved: proved.or(hardness.proved),
                ..hardness
            },
        });
    }

    /// Searches without a ration from now on.
    fn search_freely(
        &mut self,
        left: Left,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.ration = None;
        if self.gathered {
            self.searching = Searching::Torn;
        } else if left == Left::Nothing {
            let all = self.log.iter().copied().enumerate();
            self.searching = Searching::Live(self.search_some(all, subject, budget)?);
        }
        Ok(())
    }

    /// A monitor says that there is no order of some operations. If the search cannot confirm it, it goes on with
    /// all.
    fn accuse(
        &mut self,
        named: Named,
        left: Left,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.remain_accused();
        let (suspects, elements) = self.suspects_of(named, subject);
        if suspects.len() < self.log.len() {
            let mut search = self.search_some(suspects.iter().copied(), subject, budget)?;
            if matches!(search.answer(budget), Answer::Invalid { .. }) {
                self.searching = Searching::Live(search);
                self.ration = None;
                self.accused = Some(Accused {
                    suspects: Some(suspects),
                    elements,
                });
                return Ok(());
            }
        }
        self.search_freely(left, subject, budget)
    }

    /// The operations that have to do with the elements that a monitor named; or, where a model knows of no elements, those
    /// that it named, with all that they depend on.
    fn suspects_of(&self, named: Named, subject: &S) -> (Vec<Suspect<S>>, Vec<u32>) {
        let restricted = self.restricted(&named.elements, subject);
        if !restricted.is_empty() {
            return (restricted, named.elements);
        }
        let closed = subject.closed(&self.log, &named.ops);
        let log = self.log.iter().copied().enumerate();
        let closed = log.filter(|(at, _)| closed.binary_search(at).is_ok());
        (closed.collect(), Vec::new())
    }

    /// A search that some operations have happened to until now.
    fn search_some(
        &self,
        some: impl Iterator<Item = Suspect<S>>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<Box<Search<S::Machine>>, Exhausted> {
        let log: Vec<LoggedOf<S>> = some.map(|(_, op)| op).collect();
        let (machine, initial) = subject.object();
        let mut search = Box::new(Search::new(machine, initial));
        for (index, id, returns) in happenings(log.iter(), self.now + 1) {
            let op = log[id as usize];
            match returns {
                false => search.call(id, op.op, op.returned(), index, budget)?,
                true => search.complete(id, index, budget)?,
            }
        }
        Ok(search)
    }

    /// The operations that the search may still let happen, or happen again.
    pub(super) fn searched_ops(&self) -> Vec<OpOf<S>> {
        self.live().map(Search::ops).unwrap_or_default()
    }

    /// The states that anything may still begin from.
    pub(super) fn live_states(&mut self) -> Vec<u32> {
        match &mut self.searching {
            Searching::Live(search) => search.live_states(),
            Searching::Idle(_, state) => vec![*state],
            Searching::Aside(_) | Searching::Torn | Searching::Changing => Vec::new(),
        }
    }

    /// About how many bytes are kept that grow with the history.
    pub(super) fn bytes(&self) -> usize {
        let search = match &self.searching {
            Searching::Live(search) => LIVE + search.machine.bytes() + search.bytes(),
            Searching::Idle(machine, _) => machine.bytes(),
            Searching::Aside(_) | Searching::Torn | Searching::Changing => 0,
        };
        size_of::<Track<S>>() + search + self.log.len() * size_of::<LoggedOf<S>>()
    }

    /// Forgets the older half of the operations, and with it the chance to search again where that
    /// would have to begin there.
    pub(super) fn trim(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        if self.is_aside() {
            self.search_freely(Left::Nothing, subject, budget)?;
        }
        // Monitors know nothing of what came before a log.
        self.ration = None;
        if self.is_accused() || self.is_torn() {
            return Ok(());
        }
        let remembered = self.log.len();
        if let Searching::Live(search) = &mut self.searching
            && search.steps() > remembered
        {
            search.forget(budget)?;
        }
        self.log.trim();
        Ok(())
    }

    pub(super) fn call(
        &mut self,
        logged: &LoggedOf<S>,
        subject: &mut S,
        budget: &dyn Budget,
    ) -> Result<OpId, Exhausted> {
        let id = self.log.push(*logged);
        self.now = logged.invoke;
        if let Some(ration) = &mut self.ration {
            ration.replenish(self.log.len());
            if self.log.len() == PROBE && matches!(self.searching, Searching::Live(_)) {
                self.probe(subject, budget)?;
            }
        }
        let (op, returns) = (logged.op, logged.returned());
        match &mut self.searching {
            // Nothing is asked of a budget when an operation begins that will return.
            Searching::Live(search) if returns.is_some() => {
                search.call(id, op, returns, logged.invoke, budget)?
            }
            _ => self.advance(subject, budget, |search, budget| {
                search.call(id, op, returns, logged.invoke, budget)
            })?,
        }
        Ok(id)
    }

    pub(super) fn complete(
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

/// After so many operations it shows whether a history is one for a monitor: mostly, whether its values are unique.
const PROBE: usize = 64;
