//! Sets that only grow: are elements that were acknowledged still there?
//!
//! Operations are `add` of an element, `read`, and `final-read` when all is healed; an `ok` of these has all elements as a list. This
//! asks less than linearizability (for that, there is the model `set`), and so it says something of systems that promise little. For
//! each element by itself:
//!
//! | finding | what it is | verdict |
//! | --- | --- | --- |
//! | lost | it was known to be there; then a final read did not show it, and no read that ended after that one had begun did | invalid |
//! | undecided | the same, but the read was not final: it is lost, or the read was stale | unknown; invalid if linearizable |
//! | divergent | the last read of a process, a final one, does not show it, but others still do | invalid |
//! | unexpected | it was read, and nobody had begun to add it | invalid |
//! | aborted | it was read, and each add of it failed, that is, did not happen | invalid |
//! | duplicated | one read shows it more than once | invalid |
//! | stale | a read that began after it was known did not show it, but a later one does | counted; invalid if linearizable |
//! | recovered | nobody knew whether it was added, and a read shows that it was | counted |
//! | never read | it was acknowledged, and no read began after that | unknown |
//!
//! An element is *known* from the moment at which an add of it ended `ok`, or a read that shows it. A lost one that was read before has
//! *vanished*. Adds of unknown outcome prove nothing unless they are read, and a read proves no absence of what became
//! known after it had begun.
//!
//! A read is *final* if it is a `final-read` that began when all adds and all other reads had ended. Only such a read shows that
//! something is gone: any other may have asked a replica that is behind. In a history from anywhere nobody may have made that
//! difference; if it has no `final-read` at all, each `read` counts as one.
//!
//! Each read is looked at when it ends, and not kept, so memory grows with the elements alone.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use store::{Event, EventType};

use crate::budget::{Budget, Exhausted, feed_clients};
use crate::transactions::values::Interner;
use crate::{CheckResult, Checker, FINAL_READ, Feed, Valid};

mod findings;
mod report;
mod timeline;

use timeline::{Moment, Span, Timeline};

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Stale reads are violations.
    pub linearizable: bool,
}

/// What the functions of a history are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) add: &'static str,
    /// Reads all elements; when all adds have ended, whatever was acknowledged.
    pub(crate) all: &'static str,
    /// Reads all elements, of which nobody promised that they are up to date: what it does not show may be there.
    pub(crate) early: Option<&'static str>,
    /// Whether there must be reads of the first kind; else, where there are none, the others are as good.
    pub(crate) told_apart: bool,
    /// Reads whether one element is there: the element if so, else `null`.
    pub(crate) one: Option<&'static str>,
    /// Whether it is the set of one key of many, which is not looked at.
    pub(crate) keyed: bool,
    /// What it is a history of, with an article and functions.
    pub(crate) what: &'static str,
}

impl Words {
    const SET: Words = Words {
        add: "add",
        all: FINAL_READ,
        early: Some("read"),
        told_apart: true,
        one: None,
        keyed: false,
        what: "a set has add, read and final-read",
    };
}

/// What an element costs in memory, about.
const ELEMENT_BYTES: usize = size_of::<Timeline>() + 96;
/// After how many elements of a read the budget is asked.
const ASKED_EVERY: usize = 4_096;

/// What an operation asks for.
#[derive(Clone, Copy)]
enum Asked {
    Add(u32),
    /// All elements; finally or not.
    All {
        last: bool,
    },
    One(u32),
}

/// An operation that has not ended.
struct Open {
    begun: Moment,
    asked: Asked,
}

/// The checker of sets that only grow.
pub struct SetFull {
    options: Options,
    words: Words,
    numbers: Interner,
    /// By number of the element.
    elements: Vec<Timeline>,
    open: FxHashMap<u64, Open>,
    /// By process: its last read, if that began after all adds had ended, with what it shows, ascending.
    finals: BTreeMap<u64, (Span, Vec<u32>)>,
    /// When an add ended last.
    last_add: Option<u64>,
    /// When a read ended last that is not final.
    last_early: Option<u64>,
    /// Whether something is wrong that nothing later can mend.
    impossible: bool,
    reads: u64,
    /// Those of them that are final.
    last_reads: u64,
    /// By number of the element: the last read that shows it, as twice the number of the read, and one more if it shows it again.
    marks: Vec<u64>,
    /// The first operation that is no add or read of a set, and why.
    malformed: Option<(u64, String)>,
    exhausted: Option<Exhausted>,
}

impl SetFull {
    /// A checker that has seen nothing, of a history in which nothing but a `final-read` is final.
    pub fn new(options: Options) -> SetFull {
        SetFull::called(options, Words::SET)
    }

    /// The same of a history from anywhere: if there is no `final-read`, each `read` counts as one.
    pub fn of_any(options: Options) -> SetFull {
        let words = Words {
            told_apart: false,
            ..Words::SET
        };
        SetFull::called(options, words)
    }

    /// A checker of a history with other words.
    pub(crate) fn called(options: Options, words: Words) -> SetFull {
        SetFull {
            options,
            words,
            numbers: Interner::default(),
            elements: Vec::new(),
            open: FxHashMap::default(),
            finals: BTreeMap::new(),
            last_add: None,
            last_early: None,
            impossible: false,
            reads: 0,
            last_reads: 0,
            marks: Vec::new(),
            malformed: None,
            exhausted: None,
        }
    }

    fn number(&mut self, value: &serde_json::Value, budget: &dyn Budget) -> Result<u32, Exhausted> {
        let number = self.numbers.number(value);
        if number as usize == self.elements.len() {
            budget.charge(ELEMENT_BYTES)?;
            self.elements.push(Timeline::default());
            self.marks.push(0);
        }
        Ok(number)
    }

    fn malformed(&mut self, event: &Event, why: String) {
        self.malformed.get_or_insert((event.index, why));
    }

    fn take(&mut self, event: &Event, process: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        let now = Moment::of(event);
        if event.key.is_some() && !self.words.keyed {
            self.malformed(event, "it has a key: there is one set only".to_owned());
            return Ok(());
        }
        if event.kind == EventType::Invoke {
            let Some(asked) = self.asked(event, budget)? else {
                let why = format!("{}, not {}", self.words.what, event.f);
                self.malformed(event, why);
                return Ok(());
            };
            match asked {
                Asked::Add(number) => self.elements[number as usize].begin(now),
                // What it read before was not its last word.
                Asked::All { last: true } if !self.words.told_apart => {
                    self.words.told_apart = true;
                    self.forget_all(budget);
                }
                Asked::All { .. } => self.forget(process, budget),
                Asked::One(_) => {}
            }
            self.open.insert(process, Open { begun: now, asked });
            return Ok(());
        }
        let Some(Open { begun, asked }) = self.open.remove(&process) else {
            return Ok(());
        };
        let read = Span { begun, ended: now };
        match asked {
            Asked::Add(number) => {
                let element = &mut self.elements[number as usize];
                match event.kind {
                    EventType::Ok => element.acknowledge(begun, now),
                    EventType::Fail => element.fail(begun, now),
                    EventType::Info | EventType::Invoke => {}
                }
                self.last_add = Some(now.index);
                self.forget_all(budget);
            }
            Asked::All { last } if event.kind == EventType::Ok => {
                let last = last || !self.words.told_apart;
                if !last {
                    self.forget_all(budget);
                }
                self.read(event, last.then_some(process), read, budget)?;
            }
            Asked::One(number) if event.kind == EventType::Ok => self.look(event, number, read),
            Asked::All { .. } | Asked::One(_) => {}
        }
        Ok(())
    }

    /// What an operation asks for, if that is known here.
    fn asked(&mut self, event: &Event, budget: &dyn Budget) -> Result<Option<Asked>, Exhausted> {
        Ok(match &*event.f {
            f if f == self.words.add => Some(Asked::Add(self.number(&event.value, budget)?)),
            f if f == self.words.all => Some(Asked::All { last: true }),
            f if Some(f) == self.words.early => Some(Asked::All { last: false }),
            f if Some(f) == self.words.one => Some(Asked::One(self.number(&event.value, budget)?)),
            _ => None,
        })
    }

    /// Takes a read of one element. One that does not show it is of a moment that nobody promised anything of.
    fn look(&mut self, event: &Event, number: u32, read: Span) {
        if event.value == *self.numbers.value(number) {
            let element = &mut self.elements[number as usize];
            element.shown(read);
            self.impossible |= element.is_impossible();
        } else if !event.value.is_null() {
            let why = format!(
                "a read of one element returns it or null, not {}",
                event.value
            );
            self.malformed(event, why);
        }
    }

    /// Forgets the last read of a process.
    fn forget(&mut self, process: u64, budget: &dyn Budget) {
        if let Some((_, shown)) = self.finals.remove(&process) {
            budget.release(size_of_val(&shown[..]));
        }
    }

    fn forget_all(&mut self, budget: &dyn Budget) {
        while let Some(process) = self.finals.keys().next().copied() {
            self.forget(process, budget);
        }
    }

    /// When all had ended after which only final reads began.
    fn others_ended(&self) -> Option<u64> {
        let early = self.last_early.filter(|_| self.words.told_apart);
        self.last_add.max(early)
    }

    /// Takes a read of all elements; with the process whose last one it may be, if it is final.
    fn read(
        &mut self,
        event: &Event,
        process: Option<u64>,
        read: Span,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let Some(shown) = event.value.as_array() else {
            let why = format!("a read returns a list of all elements, not {}", event.value);
            self.malformed(event, why);
            return Ok(());
        };
        self.reads += 1;
        self.last_reads += u64::from(process.is_some());
        if &*event.f != self.words.all {
            self.last_early = Some(event.index);
        }
        let mut present = Vec::with_capacity(shown.len());
        for (at, value) in shown.iter().enumerate() {
            if at % ASKED_EVERY == 0 {
                budget.check()?;
            }
            present.push(self.number(value, budget)?);
        }
        for number in &present {
            let (once, twice) = (2 * self.reads, 2 * self.reads + 1);
            let mark = &mut self.marks[*number as usize];
            let element = &mut self.elements[*number as usize];
            if *mark < once {
                *mark = once;
                element.shown(read);
            } else if *mark == once {
                *mark = twice;
                element.repeated(read);
            }
            self.impossible |= element.is_impossible();
        }
        let seen = 2 * self.reads;
        for (at, (element, mark)) in self.elements.iter_mut().zip(&self.marks).enumerate() {
            if at % ASKED_EVERY == 0 {
                budget.check()?;
            }
            if *mark < seen {
                element.not_shown(read);
            }
        }
        if let Some(process) = process
            && self.others_ended() < Some(read.begun.index)
        {
            present.sort_unstable();
            present.dedup();
            budget.charge(size_of_val(&present[..]))?;
            self.finals.insert(process, (read, present));
        }
        Ok(())
    }
}

impl Checker for SetFull {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.exhausted = feed_clients(self.exhausted, events, |event, process| {
            self.take(event, process, budget)
        });
        Feed::of(self.exhausted, self.impossible)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        if let Some(why) = self.exhausted {
            return CheckResult::new(Valid::Unknown, why.to_string());
        }
        match findings::find(self, budget) {
            Ok(found) => report::report(self, &found),
            Err(why) => CheckResult::new(Valid::Unknown, why.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
