//! Arguments in sentences.

use serde_json::Value;

use super::argument::{foreign, keys, last_append, left, observations};
use super::evidence::{Impossible, Objects, TransactionView};
use super::explain::{events_of, lines, none_too_many, read_without};
use super::polygraph::{
    Argument, Choice, Conclusion, Fact, INITIAL, Link, Model, Moment, Observations, Read, Reason,
    Respects, Step,
};
use super::verify::micro;

struct Teller<'a> {
    evidence: &'a Impossible,
    keys: Vec<&'a Value>,
    sentences: Vec<String>,
}

/// Why the transactions are impossible, in sentences.
pub(super) fn explain(evidence: &Impossible) -> Vec<String> {
    let mut teller = Teller {
        evidence,
        keys: keys(&evidence.transactions),
        sentences: lines(&evidence.transactions),
    };
    teller.sentences.push(teller.premise());
    teller.argument(&evidence.proof.argument, "");
    let minimal = evidence.proof.minimal;
    let end = none_too_many(minimal, &evidence.transactions);
    teller.sentences.extend(end);
    teller.sentences
}

impl Teller<'_> {
    /// What the level would mean.
    fn premise(&self) -> String {
        let level = self.evidence.proof.level;
        let order = match level.respects {
            Respects::Nothing => "",
            Respects::Sessions => ", in the order of each process",
            Respects::RealTime => ", each between its two events",
        };
        match level.model {
            Model::Serializable => {
                format!("Suppose that they took effect one after the other{order}.")
            }
            Model::SnapshotIsolation => format!(
                "Suppose that each read what was there when it began, that its writes were there once it committed{order}, and that \
                 of two that {} the same key one committed before the other began.",
                self.wrote()
            ),
            Model::Prefix => format!(
                "Suppose that each read what was there when it began, and that its writes were there once it committed{order}."
            ),
        }
    }

    /// What the evidence shows.
    fn seen(&self) -> Observations {
        observations(
            self.evidence.objects,
            &self.evidence.transactions,
            &self.evidence.passed_over,
        )
    }

    fn wrote(&self) -> &'static str {
        match self.evidence.objects {
            Objects::Lists => "appended to",
            Objects::Registers | Objects::Rows | Objects::Sets | Objects::Counters => "wrote",
        }
    }

    fn view(&self, one: u32) -> Option<&TransactionView> {
        self.evidence.transactions.get(one as usize)
    }

    fn name(&self, one: u32) -> String {
        let view = self.view(one);
        view.map_or_else(|| "the initial state".to_owned(), |view| view.name.clone())
    }

    fn key(&self, key: u32) -> String {
        self.keys
            .get(key as usize)
            .map_or_else(String::new, |key| format!("key {key}"))
    }

    fn is_serial(&self) -> bool {
        self.evidence.proof.level.model == Model::Serializable
    }

    fn moment(&self, moment: Moment) -> String {
        match moment {
            Moment::Begin(one) | Moment::Commit(one) if self.is_serial() => self.name(one),
            Moment::Begin(one) => format!("{}'s begin", self.name(one)),
            Moment::Commit(one) => format!("{}'s commit", self.name(one)),
        }
    }

    fn before(&self, first: Moment, second: Moment) -> String {
        format!("{} < {}", self.moment(first), self.moment(second))
    }

    /// What a transaction left of a key, or its last append to it.
    fn written(&self, one: u32, key: u32) -> String {
        let of = |view| {
            let key = self.keys.get(key as usize)?;
            left(view, key).or_else(|| last_append(view, key))
        };
        let value = self.view(one).and_then(of);
        value.map_or_else(String::new, Value::to_string)
    }

    /// What was read, with its key: `1 from key "x"`.
    fn read(&self, read: Read) -> String {
        let value = || {
            let view = self.view(read.reader)?;
            let key = *self.keys.get(read.key as usize)?;
            let mut all = foreign(view).into_iter().filter(|(of, _)| *of == key);
            let (_, value) = all.next()?;
            // With several values of a key, only the place tells which.
            Some(value).filter(|value| !value.is_null() && all.next().is_none())
        };
        match value() {
            Some(value) => format!("{value} from {}", self.key(read.key)),
            None => self.key(read.key),
        }
    }

    fn saw(&self, read: Read, writer: u32) -> String {
        let (reader, key) = (self.name(read.reader), self.key(read.key));
        match writer {
            INITIAL => format!("{reader} read the initial state of {key}"),
            writer => format!(
                "{reader} read {}'s write of {} to {key}",
                self.name(writer),
                self.written(writer, read.key)
            ),
        }
    }

    fn fact(&self, fact: Fact) -> String {
        match fact {
            Fact::Before(first, second) => self.before(first, second),
            Fact::Saw(read, writer) => self.saw(read, writer),
            Fact::NotSaw(read, INITIAL) => format!(
                "what {} read of {} was not its initial state",
                self.name(read.reader),
                self.key(read.key)
            ),
            Fact::NotSaw(read, writer) => format!(
                "what {} read of {} was not {}'s write",
                self.name(read.reader),
                self.key(read.key),
                self.name(writer)
            ),
        }
    }

    /// Why a transaction comes before another, if that needs to be said.
    fn because(&self, link: &Link) -> Option<String> {
        let (Moment::Begin(from) | Moment::Commit(from)) = link.from;
        let (Moment::Begin(to) | Moment::Commit(to)) = link.to;
        let (first, second) = (self.name(from), self.name(to));
        Some(match link.why {
            Reason::Inside => return None,
            Reason::Session => {
                let process = self.view(from).map_or(0, |view| view.process);
                format!("process {process} executed {first} before {second}")
            }
            Reason::RealTime => {
                let ended = self.view(from).and_then(|view| view.complete);
                let began = self.view(to).and_then(|view| view.invoke);
                events_of(&first, ended, &second, began)
            }
            Reason::Saw { read } => self.saw(read, from),
            Reason::Initial { read } => format!(
                "{first} read the initial state of {}, to which {second} wrote {}",
                self.key(read.key),
                self.written(to, read.key)
            ),
            Reason::Shows { key } => format!(
                "{second} observed {first}'s append of {} to {}",
                self.written(from, key),
                self.key(key)
            ),
            Reason::Lacks { key } => format!(
                "{first} read {}, without {second}'s append of {}",
                self.list(from, key, to),
                self.written(to, key)
            ),
            Reason::Ordered { key } => format!(
                "{second} appended {} to {} after {first} appended {}, as {}",
                self.written(to, key),
                self.key(key),
                self.written(from, key),
                self.witness(from, to, key)
            ),
            Reason::Shown => "shown above".to_owned(),
        })
    }

    /// What a transaction read of a key, where it does not show what another appended.
    fn list(&self, reader: u32, key: u32, writer: u32) -> String {
        let text = || {
            let key = *self.keys.get(key as usize)?;
            let element = last_append(self.view(writer)?, key)?;
            Some(read_without(self.view(reader)?, key, element))
        };
        text().unwrap_or_else(|| self.key(key))
    }

    /// Who read in which order two transactions appended to a key.
    fn witness(&self, first: u32, second: u32, key: u32) -> String {
        let found = || {
            let key = *self.keys.get(key as usize)?;
            let earlier = last_append(self.view(first)?, key)?;
            let later = last_append(self.view(second)?, key)?;
            let shows = |view: &TransactionView, element: &Value| {
                let mut lists = micro(view).filter(|(f, of, _)| *f == "r" && *of == key);
                lists.any(|(_, _, list)| list.as_array().is_some_and(|list| list.contains(element)))
            };
            let mut all = self.evidence.transactions.iter();
            let reader = all.find(|view| shows(view, later)).map(|view| (view, true));
            let mut all = self.evidence.transactions.iter();
            let (reader, both) = reader.or_else(|| {
                all.find(|view| shows(view, earlier))
                    .map(|view| (view, false))
            })?;
            Some(match both {
                true => format!("{} read both in this order", reader.name),
                false => format!("{} read the first without the second", reader.name),
            })
        };
        found().unwrap_or_default()
    }

    /// A link, with the reason for it. `None` where none is needed.
    fn link(&self, link: &Link) -> Option<String> {
        let because = self.because(link)?;
        Some(format!("{} ({because})", self.before(link.from, link.to)))
    }

    fn path(&self, links: &[Link]) -> String {
        let links: Vec<String> = links.iter().filter_map(|link| self.link(link)).collect();
        listing(&links)
    }

    /// What must be one way or the other.
    fn choice(&self, choice: &Choice) -> String {
        match *choice {
            Choice::Between {
                read,
                writer,
                other,
            } => {
                let (reader, key) = (self.name(read.reader), self.key(read.key));
                let name = self.name(other);
                match writer {
                    INITIAL => format!(
                        "{reader} read the initial state of {key}, and {name} wrote it, which is only so if {reader} read first"
                    ),
                    writer => format!(
                        "{}, and {name} wrote {key} too, either before {} did or after {reader} read",
                        self.saw(read, writer),
                        self.name(writer)
                    ),
                }
            }
            Choice::Exclusive { key, one, other } => format!(
                "{} and {} both {} {}, so one committed before the other began",
                self.name(one),
                self.name(other),
                self.wrote(),
                self.key(key)
            ),
            Choice::Source { read } => format!(
                "{} read {}, which several wrote",
                self.name(read.reader),
                self.read(read)
            ),
        }
    }

    /// The possibilities of a choice, as far as they can be told.
    fn possibility(&self, choice: &Choice, number: usize) -> Option<String> {
        let model = self.evidence.proof.level.model;
        let facts = choice.possibilities(model, |read| self.seen().candidates_of(read).to_vec());
        facts.get(number).map(|fact| self.fact(*fact))
    }

    /// Why the other possibility is none.
    fn refuted(&self, choice: &Choice, fact: Fact, refuted: &[Vec<Link>]) -> String {
        let paths = refuted.iter().map(|path| self.path(path));
        let paths: Vec<String> = paths.filter(|path| !path.is_empty()).collect();
        if paths.is_empty() {
            return String::new();
        }
        let first = match fact {
            Fact::Before(first, _) => first,
            Fact::Saw(..) | Fact::NotSaw(..) => {
                return format!(" Not otherwise, as {}.", listing(&paths));
            }
        };
        let (Moment::Begin(first) | Moment::Commit(first)) = first;
        let not = match *choice {
            Choice::Between { other, .. } if first == other => "It was not after".to_owned(),
            Choice::Between { .. } => "It was not before".to_owned(),
            Choice::Exclusive { one, other, .. } => {
                let late = if first == one { other } else { one };
                format!("{} did not come first", self.name(late))
            }
            Choice::Source { .. } => "It was no other".to_owned(),
        };
        format!(" {not}, because {}.", listing(&paths))
    }

    fn step(&self, step: &Step) -> String {
        match step {
            Step::Forced {
                choice,
                fact,
                refuted,
            } => {
                let not = self.refuted(choice, *fact, refuted);
                format!("{}.{not} So {}.", self.choice(choice), self.fact(*fact))
            }
            Step::Excluded {
                read,
                candidate,
                by,
                paths,
            } => {
                let paths = paths.iter().map(|path| self.path(path));
                let paths: Vec<String> = paths.filter(|path| !path.is_empty()).collect();
                let ways = listing(&paths);
                let why = match by {
                    Some(other) => format!("{} had overwritten it by then", self.name(*other)),
                    None => "that came only later".to_owned(),
                };
                let fact = self.fact(Fact::NotSaw(*read, *candidate));
                match ways.is_empty() {
                    true => format!("{}, as {why}.", capital(&fact)),
                    false => format!("{}, as {why}: {ways}.", capital(&fact)),
                }
            }
        }
    }

    /// That there were too few versions for those that overwrote them.
    fn too_few(&self, reads: &[Read]) -> String {
        let readers: Vec<String> = reads.iter().map(|read| self.name(read.reader)).collect();
        let what = reads
            .first()
            .map_or_else(String::new, |read| self.read(*read));
        let seen = self.seen();
        let mut versions: Vec<u32> = reads
            .iter()
            .flat_map(|read| seen.candidates_of(*read))
            .copied()
            .collect();
        versions.sort_unstable();
        versions.dedup();
        let writers = versions.iter().map(|one| match *one {
            INITIAL => "it was there at first".to_owned(),
            one => format!("{} wrote it", self.name(one)),
        });
        let writers: Vec<String> = writers.collect();
        format!(
            "{} each read {what} and then wrote that key, so each overwrote another version. But these are {} transactions, and \
             there were only {} such versions ({}): a contradiction.",
            listing(&readers),
            reads.len(),
            versions.len(),
            listing(&writers)
        )
    }

    fn argument(&mut self, argument: &Argument, indent: &str) {
        for step in &argument.steps {
            let sentence = self.step(step);
            self.sentences.push(format!("{indent}{sentence}"));
        }
        let but = if argument.steps.is_empty() && indent.is_empty() {
            ""
        } else {
            "But "
        };
        match &argument.end {
            Conclusion::Cycle { links } => {
                let path = self.path(links);
                self.sentences
                    .push(format!("{indent}{but}{path}: a contradiction."));
            }
            Conclusion::NoSource { read } => self.sentences.push(format!(
                "{indent}So there is nobody from whom {} can have read {}: a contradiction.",
                self.name(read.reader),
                self.read(*read)
            )),
            Conclusion::TooFew { reads } => {
                let sentence = self.too_few(reads);
                self.sentences.push(format!("{indent}{sentence}"));
            }
            Conclusion::NoBeginning { reads } => {
                let readers: Vec<String> =
                    reads.iter().map(|read| self.name(read.reader)).collect();
                self.sentences.push(format!(
                    "{indent}{} each read what only these wrote ({}), so none of them can have been the first: a contradiction.",
                    listing(&readers),
                    listing(&reads.iter().map(|read| format!("{} read {}", self.name(read.reader), self.read(*read))).collect::<Vec<_>>())
                ));
            }
            Conclusion::Cases { choice, cases } => {
                let why = self.choice(choice);
                self.sentences.push(format!(
                    "{indent}{why}. Whichever it was, there is a contradiction:"
                ));
                for (case, number) in cases.iter().zip(1..) {
                    let fact = self.possibility(choice, number - 1).unwrap_or_default();
                    self.sentences
                        .push(format!("{indent}Case {number}: suppose that {fact}."));
                    self.argument(case, &format!("{indent}  "));
                }
            }
        }
    }
}

/// One, another and a third.
fn listing(all: &[String]) -> String {
    match all {
        [first @ .., before, last] => {
            let first: String = first.iter().map(|one| format!("{one}, ")).collect();
            format!("{first}{before} and {last}")
        }
        all => all.concat(),
    }
}

/// A sentence's beginning.
fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(rest).collect()
    })
}
