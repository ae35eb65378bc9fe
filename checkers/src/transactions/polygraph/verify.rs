//! Proves an argument again from the observations alone, step by step.
//!
//! Shares nothing with what found the argument but the observations and the shape of the argument.

use std::collections::BTreeMap;

use super::level::{Model, Respects};
use super::observations::{INITIAL, Observations};
use super::proof::{Argument, Choice, Conclusion, Fact, Link, Proof, Read, Reason, Step};
use super::{Level, Moment, NONE};

/// How many cases may be within cases.
const DEPTH_MAX: usize = 100;

/// Whether the argument holds: nothing in it is taken from anything but the observations, the level and earlier steps, and all
/// transactions in it are named.
pub fn proves(seen: &Observations, proof: &Proof) -> bool {
    let mut verifier = Verifier {
        seen,
        level: proof.level,
        named: &proof.transactions,
        facts: BTreeMap::new(),
    };
    verifier.argument(&proof.argument, 0)
}

struct Verifier<'a> {
    seen: &'a Observations,
    level: Level,
    named: &'a [u32],
    /// What has been shown, and how many times.
    facts: BTreeMap<Fact, u32>,
}

impl Verifier<'_> {
    fn argument(&mut self, argument: &Argument, depth: usize) -> bool {
        let mut shown = Vec::new();
        let steps = argument.steps.iter().all(|step| {
            let fact = self.step(step);
            fact.inspect(|fact| {
                shown.push(*fact);
                self.know(*fact);
            });
            fact.is_some()
        });
        let ends = steps && self.conclusion(&argument.end, depth);
        shown.iter().for_each(|fact| self.forget(*fact));
        ends
    }

    fn know(&mut self, fact: Fact) {
        *self.facts.entry(fact).or_default() += 1;
    }

    fn forget(&mut self, fact: Fact) {
        if let Some(count) = self.facts.get_mut(&fact) {
            *count -= 1;
        }
    }

    fn known(&self, fact: Fact) -> bool {
        self.facts.get(&fact).is_some_and(|count| *count > 0)
    }

    fn conclusion(&mut self, end: &Conclusion, depth: usize) -> bool {
        match end {
            Conclusion::Cycle { links } => match (links.first(), links.last()) {
                (Some(first), Some(last)) => {
                    self.path(links, first.from, last.to) && first.from == last.to
                }
                _ => false,
            },
            Conclusion::NoSource { read } => match self.candidates(*read) {
                Some(candidates) => candidates
                    .iter()
                    .all(|one| self.known(Fact::NotSaw(*read, *one))),
                None => false,
            },
            Conclusion::TooFew { reads } => self.are_too_few(reads),
            Conclusion::NoBeginning { reads } => {
                let made = |one: &u32| reads.iter().any(|read| read.reader == *one);
                let each = |read: &Read| self.left(*read).is_some_and(|left| left.iter().all(made));
                !reads.is_empty() && reads.iter().all(each)
            }
            Conclusion::Cases { choice, cases } => {
                let Some(facts) = self.possibilities(choice) else {
                    return false;
                };
                depth < DEPTH_MAX
                    && facts.len() == cases.len()
                    && facts.iter().zip(cases).all(|(fact, case)| {
                        self.know(*fact);
                        let holds = self.argument(case, depth + 1);
                        self.forget(*fact);
                        holds
                    })
            }
        }
    }

    /// What a step shows, if it does.
    fn step(&self, step: &Step) -> Option<Fact> {
        match step {
            Step::Forced {
                choice,
                fact,
                refuted,
            } => {
                let mut refuted = refuted.iter();
                let mut possible = false;
                for other in self.possibilities(choice)? {
                    let excluded = match other {
                        _ if other == *fact => {
                            possible = true;
                            true
                        }
                        Fact::Before(first, second) => self.path(refuted.next()?, second, first),
                        Fact::Saw(read, writer) => self.known(Fact::NotSaw(read, writer)),
                        Fact::NotSaw(..) => false,
                    };
                    if !excluded {
                        return None;
                    }
                }
                (possible && refuted.next().is_none()).then_some(*fact)
            }
            Step::Excluded {
                read,
                candidate,
                by,
                paths,
            } => {
                if !self.candidates(*read)?.contains(candidate) {
                    return None;
                }
                let begin = self.begin(read.reader)?;
                let holds = match (by, &paths[..]) {
                    (None, [path]) => self.path(path, begin, self.commit(*candidate)?),
                    (Some(other), [before]) if *candidate == INITIAL => {
                        self.overwrites(*read, *other)
                            && self.path(before, self.commit(*other)?, begin)
                    }
                    (Some(other), [after, before]) => {
                        let other_commit = self.commit(*other)?;
                        self.overwrites(*read, *other)
                            && self.path(after, self.enter(*candidate)?, other_commit)
                            && self.path(before, other_commit, begin)
                    }
                    _ => false,
                };
                holds.then_some(Fact::NotSaw(*read, *candidate))
            }
        }
    }

    /// The possibilities of a choice, if it is one.
    fn possibilities(&self, choice: &Choice) -> Option<Vec<Fact>> {
        let is_one = match *choice {
            Choice::Between {
                read,
                writer,
                other,
            } => {
                let named = [read.reader, other].iter().all(|one| self.is_named(*one));
                let writer_named = writer == INITIAL || self.is_named(writer);
                named && writer_named && self.saw(read, writer) && self.overwrites(read, other)
            }
            Choice::Exclusive { key, one, other } => {
                let both = self.wrote(one, key) && self.wrote(other, key) && one != other;
                both && self.level.model == Model::SnapshotIsolation
            }
            Choice::Source { read } => self.candidates(read).is_some(),
        };
        let candidates = |read| self.candidates(read).unwrap_or_default().to_vec();
        is_one.then(|| choice.possibilities(self.level.model, candidates))
    }

    /// Whom a read may have seen as far as has been shown.
    fn left(&self, read: Read) -> Option<Vec<u32>> {
        let all = self.candidates(read)?.iter().copied();
        Some(
            all.filter(|one| !self.known(Fact::NotSaw(read, *one)))
                .collect(),
        )
    }

    /// Whether reads by transactions that overwrote what they read have fewer versions between them than they are.
    fn are_too_few(&self, reads: &[Read]) -> bool {
        if self.level.model == Model::Prefix {
            return false;
        }
        let mut versions = std::collections::BTreeSet::new();
        let mut readers = std::collections::BTreeSet::new();
        for read in reads {
            let Some(left) = self.left(*read) else {
                return false;
            };
            let same_key = read.key == reads[0].key;
            let named = left
                .iter()
                .all(|one| *one == INITIAL || self.is_named(*one));
            let writes = self.wrote(read.reader, read.key);
            if !same_key || !named || !writes || !readers.insert(read.reader) {
                return false;
            }
            versions.extend(left);
        }
        versions.len() < readers.len()
    }

    /// Whether somebody wrote another value of what was read.
    fn overwrites(&self, read: Read, other: u32) -> bool {
        let candidates = self.candidates(read);
        other != read.reader
            && self.wrote(other, read.key)
            && candidates.is_some_and(|candidates| !candidates.contains(&other))
    }

    fn saw(&self, read: Read, writer: u32) -> bool {
        self.candidates(read) == Some(&[writer]) || self.known(Fact::Saw(read, writer))
    }

    /// Whether links lead from one moment to another. A moment leads to itself.
    fn path(&self, links: &[Link], from: Moment, to: Moment) -> bool {
        let mut at = from;
        let connected = links.iter().all(|link| {
            let next = link.from == at && self.link(link);
            at = link.to;
            next
        });
        connected && at == to
    }

    fn link(&self, link: &Link) -> bool {
        let (Moment::Begin(from) | Moment::Commit(from)) = link.from;
        let (Moment::Begin(to) | Moment::Commit(to)) = link.to;
        if !self.is_named(from) || !self.is_named(to) {
            return false;
        }
        let ends = Some(link.from) == self.commit(from) && Some(link.to) == self.begin(to);
        let (seen, respects) = (self.seen, self.level.respects);
        match link.why {
            Reason::Inside => {
                from == to && link.from == Moment::Begin(from) && link.to == Moment::Commit(from)
            }
            Reason::Session => {
                let session = seen.session[from as usize];
                let same = session != NONE && session == seen.session[to as usize];
                let ended = !seen.open[from as usize];
                ends && respects != Respects::Nothing && same && from < to && ended
            }
            Reason::RealTime => {
                let (end, begin) = (seen.end[from as usize], seen.begin[to as usize]);
                let known = end != NONE && begin != NONE;
                ends && respects == Respects::RealTime && known && end < begin
            }
            Reason::Saw { read } => ends && read.reader == to && self.saw(read, from),
            Reason::Initial { read } => {
                let moments =
                    Some(link.from) == self.begin(from) && Some(link.to) == self.commit(to);
                moments
                    && read.reader == from
                    && self.saw(read, INITIAL)
                    && self.overwrites(read, to)
            }
            Reason::Shows { key } => ends && self.shows(to, from, key) == Some(true),
            Reason::Lacks { key } => {
                let moments =
                    Some(link.from) == self.begin(from) && Some(link.to) == self.commit(to);
                moments && self.shows(from, to, key) == Some(false)
            }
            Reason::Ordered { key } => {
                let moments =
                    Some(link.from) == self.commit(from) && Some(link.to) == self.enter(to);
                let both = self.wrote(from, key) && self.wrote(to, key);
                // What has no place comes last.
                moments && both && seen.place(from, key) < seen.place(to, key)
            }
            Reason::Shown => self.known(Fact::Before(link.from, link.to)),
        }
    }

    /// Whether a list that a transaction read shows what another appended. `None` if it read no list of the key, or the other
    /// did not append to it.
    fn shows(&self, reader: u32, writer: u32, key: u32) -> Option<bool> {
        let mut lists = self.seen.shown(reader).iter();
        let (_, length) = lists.find(|(of, _)| *of == key)?;
        let both = reader != writer && self.wrote(writer, key);
        both.then(|| self.seen.place(writer, key) <= *length)
    }

    fn is_named(&self, one: u32) -> bool {
        one < self.seen.len() && self.named.binary_search(&one).is_ok()
    }

    fn wrote(&self, one: u32, key: u32) -> bool {
        self.is_named(one) && self.seen.writes(one).contains(&key)
    }

    fn candidates(&self, read: Read) -> Option<&[u32]> {
        if !self.is_named(read.reader) {
            return None;
        }
        let number = self.seen.reads(read.reader).nth(read.place as usize)?;
        (self.seen.key(number) == read.key).then(|| self.seen.candidates(number))
    }

    fn begin(&self, one: u32) -> Option<Moment> {
        let serial = self.level.model == Model::Serializable;
        self.is_named(one).then_some(if serial {
            Moment::Commit(one)
        } else {
            Moment::Begin(one)
        })
    }

    fn commit(&self, one: u32) -> Option<Moment> {
        self.is_named(one).then_some(Moment::Commit(one))
    }

    /// Before when those that it overwrites must have committed.
    fn enter(&self, one: u32) -> Option<Moment> {
        let exclusive = self.level.model == Model::SnapshotIsolation;
        self.is_named(one).then_some(if exclusive {
            Moment::Begin(one)
        } else {
            Moment::Commit(one)
        })
    }
}
