//! Arguments that some transactions are impossible: from evidence alone, proved again and put into sentences.

use serde_json::Value;
use store::EventType;

use super::super::evidence::{Impossible, PassedOver, TransactionView};
use super::super::explain::lines;
use super::super::polygraph::{
    Argument, Choice, Conclusion, Fact, INITIAL, Link, Model, Moment, Observations, Observed, Read,
    Reason, Step, proves,
};
use super::super::verify::micro;

/// Whether an argument holds, of what its evidence shows.
pub(in super::super) fn verify(evidence: &Impossible) -> bool {
    let seen = observations(&evidence.transactions, &evidence.passed_over);
    proves(&seen, &evidence.proof) && name(evidence) == evidence.anomaly
}

/// What it is called, by its level.
fn name(evidence: &Impossible) -> String {
    use super::super::polygraph::Respects;
    let what = match evidence.proof.level.model {
        Model::Serializable => "no-serial-order",
        Model::SnapshotIsolation => "no-snapshots",
        Model::Prefix => "no-prefixes",
    };
    let base = match evidence.proof.level.respects {
        Respects::Nothing => "",
        Respects::Sessions => "-process",
        Respects::RealTime => "-realtime",
    };
    format!("{what}{base}")
}

/// All keys, in order of their first appearance.
fn keys(views: &[TransactionView]) -> Vec<&Value> {
    let mut keys: Vec<&Value> = Vec::new();
    for (_, key, _) in views.iter().flat_map(micro) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// What a transaction leaves, by key.
fn left<'a>(view: &'a TransactionView, key: &Value) -> Option<&'a Value> {
    let mut writes = micro(view).filter(|(f, of, _)| *f == "w" && *of == key);
    writes.next_back().map(|(_, _, what)| what)
}

/// What a transaction read of others, each once.
fn foreign(view: &TransactionView) -> Vec<(&Value, &Value)> {
    let mut own: Vec<&Value> = Vec::new();
    let mut reads: Vec<(&Value, &Value)> = Vec::new();
    for (f, key, what) in micro(view).filter(|_| view.outcome == EventType::Ok) {
        if f == "w" {
            own.push(key);
        } else if !own.contains(&key) && !reads.contains(&(key, what)) {
            reads.push((key, what));
        }
    }
    reads
}

/// The transactions of some evidence as a history, each with the number of its place. Reads that others may have been seen by
/// are passed over.
pub(super) fn observations(views: &[TransactionView], passed_over: &[PassedOver]) -> Observations {
    let keys = keys(views);
    let number = |key: &Value| keys.iter().position(|one| *one == key).unwrap_or_default() as u32;
    let mut seen = Observations::new();
    for (at, view) in views.iter().enumerate() {
        let written = keys.iter().filter(|key| left(view, key).is_some());
        let writes: Vec<u32> = written.map(|key| number(key)).collect();
        let mut reads: Vec<(u32, Vec<u32>)> = Vec::new();
        for (key, value) in foreign(view) {
            let is_passed_over = passed_over
                .iter()
                .any(|one| one.transaction == view.name && one.key == *key && one.value == *value);
            let others = (0u32..).zip(views).filter(|(_, other)| {
                other.name != view.name
                    && other.outcome != EventType::Fail
                    && left(other, key) == Some(value)
            });
            let mut candidates: Vec<u32> = others.map(|(at, _)| at).collect();
            if value.is_null() {
                candidates.push(INITIAL);
            }
            if !is_passed_over && !candidates.is_empty() {
                reads.push((number(key), candidates));
            }
        }
        let borrowed: Vec<(u32, &[u32])> = reads.iter().map(|(key, of)| (*key, &of[..])).collect();
        let ok = view.outcome == EventType::Ok;
        let last = !views[at + 1..]
            .iter()
            .any(|other| other.process == view.process);
        let event = |event: Option<u64>| event.and_then(|event| u32::try_from(event).ok());
        seen.push(&Observed {
            session: (ok || last).then_some(view.process as u32),
            begin: event(view.invoke),
            end: event(view.complete.filter(|_| ok)),
            writes: &writes,
            reads: &borrowed,
        });
    }
    seen
}

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
    teller.argument(&evidence.proof.argument, "");
    teller.sentences
}

impl Teller<'_> {
    fn name(&self, one: u32) -> String {
        let view = self.evidence.transactions.get(one as usize);
        view.map_or_else(|| "the initial state".to_owned(), |view| view.name.clone())
    }

    fn key(&self, key: u32) -> String {
        self.keys
            .get(key as usize)
            .map_or_else(String::new, |key| key.to_string())
    }

    fn moment(&self, moment: Moment) -> String {
        let serial = self.evidence.proof.level.model == Model::Serializable;
        match moment {
            Moment::Begin(one) | Moment::Commit(one) if serial => self.name(one),
            Moment::Begin(one) => format!("{}'s begin", self.name(one)),
            Moment::Commit(one) => format!("{}'s commit", self.name(one)),
        }
    }

    fn fact(&self, fact: Fact) -> String {
        match fact {
            Fact::Before(first, second) => {
                format!("{} < {}", self.moment(first), self.moment(second))
            }
            Fact::Saw(read, writer) => format!(
                "{} read {} from {}",
                self.name(read.reader),
                self.key(read.key),
                self.name(writer)
            ),
            Fact::NotSaw(read, writer) => {
                format!(
                    "{} did not read {} from {}",
                    self.name(read.reader),
                    self.key(read.key),
                    self.name(writer)
                )
            }
        }
    }

    fn link(&self, link: &Link) -> String {
        let because = match link.why {
            Reason::Inside => "it begins before it commits".to_owned(),
            Reason::Session => "in the order of their process".to_owned(),
            Reason::RealTime => "one ended before the other began".to_owned(),
            Reason::Saw { read } => format!("which read its write of key {}", self.key(read.key)),
            Reason::Initial { read } => {
                format!(
                    "the one read the initial state of key {}, the other wrote it",
                    self.key(read.key)
                )
            }
            Reason::Shown => "as was shown".to_owned(),
        };
        format!(
            "{} < {} ({because})",
            self.moment(link.from),
            self.moment(link.to)
        )
    }

    fn path(&self, links: &[Link]) -> String {
        let links: Vec<String> = links.iter().map(|link| self.link(link)).collect();
        links.join(", ")
    }

    fn choice(&self, choice: &Choice) -> String {
        let of = |read: Read| format!("{} read key {}", self.name(read.reader), self.key(read.key));
        match *choice {
            Choice::Between {
                read,
                writer,
                other,
            } => {
                let other = self.name(other);
                format!(
                    "{} as {} left it, and {other} wrote it too",
                    of(read),
                    self.name(writer)
                )
            }
            Choice::Exclusive { key, one, other } => format!(
                "{} and {} both wrote key {}, so one committed before the other began",
                self.name(one),
                self.name(other),
                self.key(key)
            ),
            Choice::Source { read } => format!("{} as somebody left it", of(read)),
        }
    }

    fn argument(&mut self, argument: &Argument, indent: &str) {
        for step in &argument.steps {
            let sentence = match step {
                Step::Forced {
                    choice,
                    fact,
                    refuted,
                } => {
                    let paths = refuted.iter().filter(|path| !path.is_empty());
                    let paths: Vec<String> = paths.map(|path| self.path(path)).collect();
                    let but = match paths.is_empty() {
                        true => String::new(),
                        false => format!(
                            ", and the other way round it cannot be, as {}",
                            paths.join("; ")
                        ),
                    };
                    format!(
                        "{}, because {}{but}.",
                        self.fact(*fact),
                        self.choice(choice)
                    )
                }
                Step::Excluded {
                    read,
                    candidate,
                    by,
                    paths,
                } => {
                    let paths: Vec<String> = paths.iter().map(|path| self.path(path)).collect();
                    let why = match by {
                        Some(other) => format!("{} had overwritten it by then", self.name(*other)),
                        None => "the read came first".to_owned(),
                    };
                    let fact = self.fact(Fact::NotSaw(*read, *candidate));
                    format!("{fact}, because {why}: {}.", paths.join("; "))
                }
            };
            self.sentences.push(format!("{indent}{sentence}"));
        }
        match &argument.end {
            Conclusion::Cycle { links } => {
                let path = self.path(links);
                self.sentences
                    .push(format!("{indent}But {path}: a contradiction."));
            }
            Conclusion::NoSource { read } => self.sentences.push(format!(
                "{indent}So there is nobody from whom {} could have read key {}: a contradiction.",
                self.name(read.reader),
                self.key(read.key)
            )),
            Conclusion::Cases { choice, cases } => {
                let why = self.choice(choice);
                self.sentences.push(format!(
                    "{indent}{why}; whichever it was, there is a contradiction:"
                ));
                for (case, number) in cases.iter().zip(1..) {
                    self.sentences.push(format!("{indent}Case {number}:"));
                    self.argument(case, &format!("{indent}  "));
                }
            }
        }
    }
}
