//! An argument for a contradiction among few transactions, in steps that a person can follow.
//!
//! First everything that is forced, each step with the links that close the cycle which forces it. When nothing more is,
//! a choice is taken apart, that of which a possibility fails soonest. What is not used in the end is left out.

use std::collections::BTreeSet;

use super::lists;
use super::observations::{INITIAL, Observations};
use super::problem::{Constraint, Problem};
use super::proof::{Argument, Choice, Conclusion, Fact, Link, Read, Reason, Step};
use super::shortage::{self, Shortage};
use super::{Moment, NONE};
use crate::budget::{Budget, Exhausted};

/// The most steps of an argument, with all that was tried.
const STEPS_MAX: usize = 200_000;

/// The most cases within cases.
const DEPTH_MAX: usize = 64;

#[derive(Clone)]
struct State {
    /// Links between points, by where they begin.
    links: Vec<Vec<(u32, Link)>>,
    /// Which points each reaches: rows of bits.
    reach: Vec<u64>,
    /// Candidates that are left, by read.
    left: Vec<Vec<u32>>,
    shown: BTreeSet<Fact>,
    steps: Vec<Step>,
}

/// What the transactions of a problem are called outside.
pub(super) struct Names<'a> {
    /// Where they are taken from.
    pub(super) seen: &'a Observations,
    /// Their numbers there, ascending.
    pub(super) transactions: &'a [u32],
    /// The numbers of their reads there.
    pub(super) reads: &'a [u32],
}

impl Names<'_> {
    fn outside(&self, one: u32) -> u32 {
        self.transactions
            .get(one as usize)
            .copied()
            .unwrap_or(INITIAL)
    }

    fn inside(&self, one: u32) -> u32 {
        self.transactions
            .binary_search(&one)
            .map_or(INITIAL, |one| one as u32)
    }
}

pub(super) struct Deriver<'a> {
    problem: &'a Problem<'a>,
    names: &'a Names<'a>,
    words: usize,
    constraints: Vec<Constraint>,
    budget: &'a dyn Budget,
    spent: usize,
}

/// An argument that the transactions of a problem contradict each other. `None`: none was found that is short enough.
pub(super) fn derive(
    problem: &Problem<'_>,
    names: &Names<'_>,
    budget: &dyn Budget,
) -> Result<Option<Argument>, Exhausted> {
    let points = problem.moments() as usize;
    let words = points.div_ceil(64);
    let mut constraints = Vec::new();
    for read in 0..problem.reader.len() as u32 {
        if problem.source(read).is_none() {
            constraints.push(Constraint::Choice { read });
        }
        let candidates = problem.seen.candidates(read as usize);
        for (writer, other) in candidates
            .iter()
            .flat_map(|writer| problem.others(read).map(move |other| (writer, other)))
        {
            constraints.push(Constraint::Between {
                read,
                writer: *writer,
                other,
            });
        }
    }
    for key in (0..problem.keys).filter(|_| problem.exclusive()) {
        let writers = problem.writers.of_list(key);
        for (at, one) in writers.iter().enumerate() {
            constraints.extend(writers[at + 1..].iter().map(|other| Constraint::Exclusive {
                one: *one,
                other: *other,
            }));
        }
    }
    constraints.sort_unstable();
    constraints.dedup();
    let mut deriver = Deriver {
        problem,
        names,
        words,
        constraints,
        budget,
        spent: 0,
    };
    budget.charge(points * words * 8 * 4)?;
    let mut state = State {
        links: vec![Vec::new(); points],
        reach: vec![0; points * words],
        left: (0..problem.reader.len())
            .map(|read| problem.seen.candidates(read).to_vec())
            .collect(),
        shown: BTreeSet::new(),
        steps: Vec::new(),
    };
    (0..points).for_each(|point| state.reach[point * words + point / 64] |= 1 << (point % 64));
    if let Some(end) = deriver.begin(&mut state) {
        return Ok(Some(Argument {
            steps: Vec::new(),
            end,
        }));
    }
    let argument = deriver.argue(state, 0)?;
    Ok(argument.map(|mut argument| {
        tidy(&mut argument, &mut BTreeSet::new());
        argument
    }))
}

impl Deriver<'_> {
    fn read(&self, read: u32) -> Read {
        let seen = self.names.seen;
        let reader = self.names.outside(self.problem.reader[read as usize]);
        let number = self.names.reads[read as usize];
        Read {
            reader,
            place: number - seen.reads(reader).start as u32,
            key: seen.key(number as usize),
        }
    }

    fn moment(&self, point: u32) -> Moment {
        let one = self.names.outside(point >> u32::from(self.problem.split()));
        match self.problem.moment(point) {
            Some(Moment::Begin(_)) => Moment::Begin(one),
            _ => Moment::Commit(one),
        }
    }

    fn point(&self, moment: Moment) -> u32 {
        match moment {
            Moment::Begin(one) => self.problem.begin(self.names.inside(one)),
            Moment::Commit(one) => self.problem.commit(self.names.inside(one)),
        }
    }

    /// Puts in what holds in any order.
    fn begin(&mut self, state: &mut State) -> Option<Conclusion> {
        let problem = self.problem;
        let mut base: Vec<(u32, u32, Reason)> = Vec::new();
        let count = problem.seen.len();
        for one in (0..count).filter(|_| problem.split()) {
            base.push((problem.begin(one), problem.commit(one), Reason::Inside));
        }
        for read in 0..problem.reader.len() as u32 {
            let why = self.read(read);
            let begin = problem.begin(problem.reader[read as usize]);
            match problem.source(read) {
                Some(INITIAL) => {
                    base.extend(problem.others(read).map(|other| {
                        (begin, problem.commit(other), Reason::Initial { read: why })
                    }));
                }
                Some(writer) => {
                    base.push((problem.commit(writer), begin, Reason::Saw { read: why }));
                }
                None => {}
            }
        }
        base.extend(lists::each_link(problem, self.names));
        for later in 0..count {
            for earlier in 0..count {
                if let Some(why) = self.known_order(earlier, later) {
                    base.push((problem.commit(earlier), problem.begin(later), why));
                }
            }
        }
        base.into_iter()
            .find_map(|(from, to, why)| self.link(state, from, to, why))
    }

    /// Why one transaction comes before another without having to do with it.
    fn known_order(&self, earlier: u32, later: u32) -> Option<Reason> {
        use super::level::Respects;
        let (seen, respects) = (self.problem.seen, self.problem.level.respects);
        let (one, other) = (earlier as usize, later as usize);
        let session = seen.session[one] != NONE && seen.session[one] == seen.session[other];
        if respects != Respects::Nothing && session && earlier < later && !seen.open[one] {
            return Some(Reason::Session);
        }
        let timed = seen.end[one] != NONE && seen.begin[other] != NONE;
        let ended = timed && seen.end[one] < seen.begin[other];
        (respects == Respects::RealTime && ended).then_some(Reason::RealTime)
    }

    fn reaches(&self, state: &State, from: u32, to: u32) -> bool {
        let word = state.reach[from as usize * self.words + to as usize / 64];
        word >> (to % 64) & 1 == 1
    }

    /// Adds a link, and returns the cycle that it closes.
    fn link(&self, state: &mut State, from: u32, to: u32, why: Reason) -> Option<Conclusion> {
        let link = Link {
            from: self.moment(from),
            to: self.moment(to),
            why,
        };
        if self.reaches(state, to, from) {
            let mut links = vec![link];
            links.extend(self.path(state, to, from));
            return Some(Conclusion::Cycle { links });
        }
        state.links[from as usize].push((to, link));
        if !self.reaches(state, from, to) {
            let row: Vec<u64> = state.reach[to as usize * self.words..][..self.words].to_vec();
            for point in 0..self.problem.moments() {
                if self.reaches(state, point, from) {
                    let mine = &mut state.reach[point as usize * self.words..][..self.words];
                    mine.iter_mut()
                        .zip(&row)
                        .for_each(|(mine, new)| *mine |= new);
                }
            }
        }
        None
    }

    /// A shortest path. There is one.
    fn path(&self, state: &State, from: u32, to: u32) -> Vec<Link> {
        let points = state.links.len();
        let mut by: Vec<Option<Link>> = vec![None; points];
        let mut seen = vec![false; points];
        let mut queue = vec![from];
        seen[from as usize] = true;
        let mut at = 0;
        while at < queue.len() && !seen[to as usize] {
            for (next, link) in &state.links[queue[at] as usize] {
                if !std::mem::replace(&mut seen[*next as usize], true) {
                    by[*next as usize] = Some(*link);
                    queue.push(*next);
                }
            }
            at += 1;
        }
        let (mut path, mut point) = (Vec::new(), to);
        while point != from {
            let Some(link) = by[point as usize] else {
                break;
            };
            path.push(link);
            point = self.point(link.from);
        }
        path.reverse();
        path
    }

    /// The choice of a constraint, and what it leaves. `None`: it does not count here.
    fn facts(&self, state: &State, constraint: Constraint) -> Option<(Choice, Vec<Fact>)> {
        let problem = self.problem;
        let before = |from, to| Fact::Before(self.moment(from), self.moment(to));
        match constraint {
            Constraint::Between {
                read,
                writer,
                other,
            } => {
                let saw = self.read(read);
                let named = self.names.outside(writer);
                if problem.source(read).is_none() && !state.shown.contains(&Fact::Saw(saw, named)) {
                    return None;
                }
                // It is there from the beginning.
                if problem.source(read) == Some(INITIAL) {
                    return None;
                }
                let commit = problem.commit(other);
                let mut facts = Vec::new();
                if writer != INITIAL {
                    facts.push(before(commit, problem.enter(writer)));
                }
                facts.push(before(problem.begin(problem.reader[read as usize]), commit));
                let other = self.names.outside(other);
                Some((
                    Choice::Between {
                        read: saw,
                        writer: named,
                        other,
                    },
                    facts,
                ))
            }
            Constraint::Exclusive { one, other } => {
                let names = [one, other].map(|one| self.names.outside(one));
                let [one_writes, other_writes] = names.map(|one| self.names.seen.writes(one));
                let key = one_writes
                    .iter()
                    .copied()
                    .find(|key| other_writes.contains(key))?;
                let facts = vec![
                    before(problem.commit(one), problem.begin(other)),
                    before(problem.commit(other), problem.begin(one)),
                ];
                Some((
                    Choice::Exclusive {
                        key,
                        one: names[0],
                        other: names[1],
                    },
                    facts,
                ))
            }
            Constraint::Choice { read } => {
                let saw = self.read(read);
                let all = problem.seen.candidates(read as usize).iter();
                Some((
                    Choice::Source { read: saw },
                    all.map(|one| Fact::Saw(saw, self.names.outside(*one)))
                        .collect(),
                ))
            }
        }
    }

    fn holds(&self, state: &State, fact: Fact) -> bool {
        match fact {
            Fact::Before(from, to) => self.reaches(state, self.point(from), self.point(to)),
            Fact::Saw(..) | Fact::NotSaw(..) => state.shown.contains(&fact),
        }
    }

    fn refuted(&self, state: &State, fact: Fact) -> bool {
        match fact {
            Fact::Before(from, to) => self.reaches(state, self.point(to), self.point(from)),
            Fact::Saw(read, writer) => state.shown.contains(&Fact::NotSaw(read, writer)),
            Fact::NotSaw(..) => false,
        }
    }

    /// Takes a fact for granted, and returns the contradiction that it makes at once.
    fn take(&self, state: &mut State, fact: Fact) -> Option<Conclusion> {
        state.shown.insert(fact);
        match fact {
            Fact::Before(from, to) => {
                self.link(state, self.point(from), self.point(to), Reason::Shown)
            }
            Fact::Saw(read, writer) if writer != INITIAL => {
                let [from, to] = [writer, read.reader].map(|one| self.names.inside(one));
                let (from, to) = (self.problem.commit(from), self.problem.begin(to));
                self.link(state, from, to, Reason::Saw { read })
            }
            _ => None,
        }
    }

    /// Everything that is forced, up to a contradiction.
    fn forced(&mut self, state: &mut State) -> Result<Option<Conclusion>, Exhausted> {
        loop {
            self.budget.check()?;
            let before = state.steps.len();
            if let Some(end) = self.excluded(state) {
                return Ok(Some(end));
            }
            for at in 0..self.constraints.len() {
                let Some((choice, facts)) = self.facts(state, self.constraints[at]) else {
                    continue;
                };
                if facts.iter().any(|fact| self.holds(state, *fact)) {
                    continue;
                }
                let mut left = facts.iter().filter(|fact| !self.refuted(state, **fact));
                let first = left.next().copied();
                if left.next().is_some() {
                    continue;
                }
                // With none left, the last one closes a cycle.
                let Some(fact) = first.or(facts.last().copied()) else {
                    continue;
                };
                let others = facts.iter().filter(|one| **one != fact);
                let refuted = others.filter_map(|one| match one {
                    Fact::Before(from, to) => {
                        Some(self.path(state, self.point(*to), self.point(*from)))
                    }
                    Fact::Saw(..) | Fact::NotSaw(..) => None,
                });
                let refuted = refuted.collect();
                if first.is_none()
                    && let Choice::Source { read } = choice
                {
                    return Ok(Some(Conclusion::NoSource { read }));
                }
                state.steps.push(Step::Forced {
                    choice,
                    fact,
                    refuted,
                });
                if let Some(end) = self.take(state, fact) {
                    return Ok(Some(end));
                }
            }
            self.spent += state.steps.len() - before;
            if state.steps.len() == before {
                return self.shortage(state);
            }
        }
    }

    /// That there is not enough of what was read.
    fn shortage(&self, state: &State) -> Result<Option<Conclusion>, Exhausted> {
        let found = shortage::find(
            self.problem,
            &|read| &state.left[read as usize],
            self.budget,
        )?;
        Ok(found.map(|found| {
            let reads = found.reads().iter().map(|read| self.read(*read)).collect();
            match found {
                Shortage::Versions(_) => Conclusion::TooFew { reads },
                Shortage::Beginning(_) => Conclusion::NoBeginning { reads },
            }
        }))
    }

    /// Candidates that are excluded.
    fn excluded(&self, state: &mut State) -> Option<Conclusion> {
        let problem = self.problem;
        for read in (0..problem.reader.len() as u32).filter(|read| problem.source(*read).is_none())
        {
            let saw = self.read(read);
            let begin = problem.begin(problem.reader[read as usize]);
            for candidate in state.left[read as usize].clone() {
                let initial = candidate == INITIAL;
                let after = !initial && self.reaches(state, begin, problem.commit(candidate));
                let by = problem.others(read).find(|other| {
                    let commit = problem.commit(*other);
                    let overwrites =
                        initial || self.reaches(state, problem.enter(candidate), commit);
                    overwrites && self.reaches(state, commit, begin)
                });
                let paths = match by {
                    _ if after => vec![self.path(state, begin, problem.commit(candidate))],
                    Some(by) if initial => vec![self.path(state, problem.commit(by), begin)],
                    Some(by) => {
                        let commit = problem.commit(by);
                        vec![
                            self.path(state, problem.enter(candidate), commit),
                            self.path(state, commit, begin),
                        ]
                    }
                    None => continue,
                };
                let by = by.filter(|_| !after).map(|by| self.names.outside(by));
                state.left[read as usize].retain(|one| *one != candidate);
                let candidate = self.names.outside(candidate);
                state.shown.insert(Fact::NotSaw(saw, candidate));
                state.steps.push(Step::Excluded {
                    read: saw,
                    candidate,
                    by,
                    paths,
                });
            }
            if state.left[read as usize].is_empty() {
                return Some(Conclusion::NoSource { read: saw });
            }
        }
        None
    }

    fn argue(&mut self, mut state: State, depth: usize) -> Result<Option<Argument>, Exhausted> {
        if let Some(end) = self.forced(&mut state)? {
            return Ok(Some(Argument {
                steps: state.steps,
                end,
            }));
        }
        if depth >= DEPTH_MAX || self.spent > STEPS_MAX {
            return Ok(None);
        }
        let Some((choice, facts)) = self.split(&state)? else {
            return Ok(None);
        };
        let mut cases = Vec::new();
        for fact in facts {
            let mut case = state.clone();
            case.steps.clear();
            let argument = match self.take(&mut case, fact) {
                Some(end) => Some(Argument {
                    steps: Vec::new(),
                    end,
                }),
                None => self.argue(case, depth + 1)?,
            };
            let Some(argument) = argument else {
                return Ok(None);
            };
            cases.push(argument);
        }
        Ok(Some(Argument {
            steps: state.steps,
            end: Conclusion::Cases { choice, cases },
        }))
    }

    /// The choice to take apart: one of which most possibilities fail at once, and from which most follows.
    fn split(&mut self, state: &State) -> Result<Option<(Choice, Vec<Fact>)>, Exhausted> {
        let mut best: Option<(u64, Choice, Vec<Fact>)> = None;
        for at in 0..self.constraints.len() {
            let Some((choice, facts)) = self.facts(state, self.constraints[at]) else {
                continue;
            };
            if facts.iter().any(|fact| self.holds(state, *fact)) {
                continue;
            }
            let mut worth = 1u64;
            for fact in &facts {
                let mut case = state.clone();
                case.steps.clear();
                let fails =
                    self.take(&mut case, *fact).is_some() || self.forced(&mut case)?.is_some();
                let gain = if fails {
                    1 << 20
                } else {
                    1 + case.steps.len() as u64
                };
                worth = worth.saturating_mul(gain);
            }
            if best.as_ref().is_none_or(|(most, ..)| *most < worth) {
                best = Some((worth, choice, facts));
            }
            if self.spent > STEPS_MAX {
                break;
            }
        }
        Ok(best.map(|(_, choice, facts)| (choice, facts)))
    }
}

/// Leaves out steps that nothing later uses. `used` gets what the argument takes from outside.
fn tidy(argument: &mut Argument, used: &mut BTreeSet<Fact>) {
    match &mut argument.end {
        Conclusion::Cycle { links } => uses(links, used),
        Conclusion::NoSource { read } => {
            let excluded = argument.steps.iter().filter_map(|step| match step {
                Step::Excluded {
                    read: of,
                    candidate,
                    ..
                } if of == read => Some(Fact::NotSaw(*read, *candidate)),
                _ => None,
            });
            used.extend(excluded);
            // Others were excluded outside.
            used.insert(Fact::NotSaw(*read, NONE));
        }
        Conclusion::TooFew { reads } | Conclusion::NoBeginning { reads } => {
            used.extend(reads.iter().map(|read| Fact::NotSaw(*read, NONE)));
        }
        Conclusion::Cases { choice, cases } => {
            choice_uses(choice, used);
            cases.iter_mut().for_each(|case| tidy(case, used));
        }
    }
    let mut kept = Vec::new();
    for step in std::mem::take(&mut argument.steps).into_iter().rev() {
        let needed = match &step {
            Step::Forced { fact, .. } => used.contains(fact),
            Step::Excluded {
                read, candidate, ..
            } => {
                used.contains(&Fact::NotSaw(*read, *candidate))
                    || used.contains(&Fact::NotSaw(*read, NONE))
            }
        };
        if !needed {
            continue;
        }
        match &step {
            Step::Forced {
                choice, refuted, ..
            } => {
                choice_uses(choice, used);
                refuted.iter().for_each(|path| uses(path, used));
            }
            Step::Excluded { paths, .. } => paths.iter().for_each(|path| uses(path, used)),
        }
        kept.push(step);
    }
    kept.reverse();
    argument.steps = kept;
}

fn uses(links: &[Link], used: &mut BTreeSet<Fact>) {
    for link in links {
        let (Moment::Begin(from) | Moment::Commit(from)) = link.from;
        match link.why {
            Reason::Shown => used.insert(Fact::Before(link.from, link.to)),
            Reason::Saw { read } => used.insert(Fact::Saw(read, from)),
            Reason::Initial { read } => used.insert(Fact::Saw(read, INITIAL)),
            Reason::Inside
            | Reason::Session
            | Reason::RealTime
            | Reason::Shows { .. }
            | Reason::Lacks { .. }
            | Reason::Ordered { .. } => true,
        };
    }
}

fn choice_uses(choice: &Choice, used: &mut BTreeSet<Fact>) {
    match choice {
        Choice::Between { read, writer, .. } => {
            used.insert(Fact::Saw(*read, *writer));
        }
        Choice::Source { read } => {
            used.insert(Fact::NotSaw(*read, NONE));
        }
        Choice::Exclusive { .. } => {}
    }
}
