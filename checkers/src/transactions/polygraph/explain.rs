//! Arguments in sentences.

use super::Moment;
use super::observations::INITIAL;
use super::proof::{Argument, Choice, Conclusion, Fact, Link, Proof, Read, Reason, Step};
use super::{Level, level::Model};

/// What transactions and keys are called.
pub struct Names<'a> {
    /// A transaction: `T1`.
    pub transaction: &'a dyn Fn(u32) -> String,
    /// A key: `x`.
    pub key: &'a dyn Fn(u32) -> String,
}

/// An argument in sentences, one for each step and for its end. Cases are indented by two spaces each.
pub fn sentences(proof: &Proof, names: &Names<'_>) -> Vec<String> {
    let mut writer = Writer {
        level: proof.level,
        names,
        lines: Vec::new(),
    };
    writer.argument(&proof.argument, 0);
    writer.lines
}

struct Writer<'a> {
    level: Level,
    names: &'a Names<'a>,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn argument(&mut self, argument: &Argument, depth: usize) {
        for step in &argument.steps {
            let line = self.step(step);
            self.line(depth, &line);
        }
        match &argument.end {
            Conclusion::Cycle { links } => {
                let line = format!("{}: a cycle.", self.path(links));
                self.line(depth, &line);
            }
            Conclusion::NoSource { read } => {
                let line = format!(
                    "So there is nobody whose {} {} can have read.",
                    self.key(read.key),
                    self.name(read.reader)
                );
                self.line(depth, &line);
            }
            Conclusion::TooFew { reads } | Conclusion::NoBeginning { reads } => {
                let readers: Vec<String> =
                    reads.iter().map(|read| self.name(read.reader)).collect();
                let what = match argument.end {
                    Conclusion::TooFew { .. } => "have fewer versions to overwrite than they are",
                    _ => "read from each other alone",
                };
                let line = format!("{} {what}.", readers.join(", "));
                self.line(depth, &line);
            }
            Conclusion::Cases { choice, cases } => {
                let line = format!("{}.", self.choice(choice));
                self.line(depth, &line);
                for (number, case) in (1..).zip(cases) {
                    let line = format!(
                        "Case {number}: {}.",
                        self.fact(self.possibility(choice, number - 1))
                    );
                    self.line(depth, &line);
                    self.argument(case, depth + 1);
                }
            }
        }
    }

    fn line(&mut self, depth: usize, line: &str) {
        self.lines.push(format!("{:1$}{line}", "", depth * 2));
    }

    fn name(&self, one: u32) -> String {
        if one == INITIAL {
            "the initial value".to_owned()
        } else {
            (self.names.transaction)(one)
        }
    }

    fn key(&self, key: u32) -> String {
        (self.names.key)(key)
    }

    fn moment(&self, moment: Moment) -> String {
        match moment {
            Moment::Commit(one) if self.level.model == Model::Serializable => self.name(one),
            Moment::Commit(one) => format!("{}'s commit", self.name(one)),
            Moment::Begin(one) => format!("{}'s begin", self.name(one)),
        }
    }

    fn source(&self, read: &Read, writer: u32) -> String {
        let (reader, key) = (self.name(read.reader), self.key(read.key));
        if writer == INITIAL {
            format!("{reader} read the initial value of {key}")
        } else {
            format!("{reader} read {}'s {key}", self.name(writer))
        }
    }

    fn fact(&self, fact: Option<Fact>) -> String {
        match fact {
            Some(Fact::Before(one, other)) => {
                format!("{} comes before {}", self.moment(one), self.moment(other))
            }
            Some(Fact::Saw(read, writer)) => self.source(&read, writer),
            Some(Fact::NotSaw(read, writer)) => {
                format!("it is not so that {}", self.source(&read, writer))
            }
            None => "what is left".to_owned(),
        }
    }

    /// What a case takes for granted.
    fn possibility(&self, choice: &Choice, number: usize) -> Option<Fact> {
        let serial = self.level.model == Model::Serializable;
        let exclusive = self.level.model == Model::SnapshotIsolation;
        let begin = |one| {
            if serial {
                Moment::Commit(one)
            } else {
                Moment::Begin(one)
            }
        };
        let enter = |one| {
            if exclusive {
                Moment::Begin(one)
            } else {
                Moment::Commit(one)
            }
        };
        let facts = match *choice {
            Choice::Between {
                read,
                writer,
                other,
            } => {
                let after = Fact::Before(begin(read.reader), Moment::Commit(other));
                if writer == INITIAL {
                    vec![after]
                } else {
                    vec![Fact::Before(Moment::Commit(other), enter(writer)), after]
                }
            }
            Choice::Exclusive { one, other, .. } => vec![
                Fact::Before(Moment::Commit(one), Moment::Begin(other)),
                Fact::Before(Moment::Commit(other), Moment::Begin(one)),
            ],
            // Whom it may have seen stands in the history alone.
            Choice::Source { .. } => Vec::new(),
        };
        facts.get(number).copied()
    }

    fn choice(&self, choice: &Choice) -> String {
        match choice {
            Choice::Between {
                read,
                writer,
                other,
            } => format!(
                "{} and {} wrote {}, so {} wrote it before that or after the read",
                self.source(read, *writer),
                self.name(*other),
                self.key(read.key),
                self.name(*other),
            ),
            Choice::Exclusive { key, one, other } => {
                format!(
                    "{} and {} both wrote {}, so one commits before the other begins",
                    self.name(*one),
                    self.name(*other),
                    self.key(*key)
                )
            }
            Choice::Source { read } => {
                format!(
                    "{} read {} from one of those that wrote its value",
                    self.name(read.reader),
                    self.key(read.key)
                )
            }
        }
    }

    fn step(&self, step: &Step) -> String {
        match step {
            Step::Forced {
                choice,
                fact,
                refuted,
            } => {
                let ways: Vec<String> = refuted
                    .iter()
                    .filter(|path| !path.is_empty())
                    .map(|path| self.path(path))
                    .collect();
                let because = if ways.is_empty() {
                    String::new()
                } else {
                    format!(" ({}, so it is not the other way)", ways.join("; "))
                };
                format!(
                    "{}. So {}{because}.",
                    self.choice(choice),
                    self.fact(Some(*fact))
                )
            }
            Step::Excluded {
                read,
                candidate,
                by,
                paths,
            } => {
                let ways: Vec<String> = paths
                    .iter()
                    .filter(|path| !path.is_empty())
                    .map(|path| self.path(path))
                    .collect();
                let why = match by {
                    Some(by) => {
                        format!("{} wrote {} in between", self.name(*by), self.key(read.key))
                    }
                    None => "it came later".to_owned(),
                };
                let ways = if ways.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", ways.join("; "))
                };
                format!(
                    "It is not so that {}, for {why}{ways}.",
                    self.source(read, *candidate)
                )
            }
        }
    }

    fn path(&self, links: &[Link]) -> String {
        let each = links.iter().map(|link| {
            let why = match &link.why {
                Reason::Inside => "begins before it commits".to_owned(),
                Reason::Session => "same session".to_owned(),
                Reason::RealTime => "ended before that began".to_owned(),
                Reason::Saw { read } => {
                    format!("{} read its {}", self.name(read.reader), self.key(read.key))
                }
                Reason::Initial { read } => format!("read the initial {}", self.key(read.key)),
                Reason::Shows { key } => format!(
                    "{}'s {} has its append",
                    self.moment(link.to),
                    self.key(*key)
                ),
                Reason::Lacks { key } => format!("read {} without it", self.key(*key)),
                Reason::Ordered { key } => format!("in the order of {}", self.key(*key)),
                Reason::Shown => "shown above".to_owned(),
            };
            format!(
                "{} < {} ({why})",
                self.moment(link.from),
                self.moment(link.to)
            )
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Decision, INITIAL, Level, Model, Observations, Observed, Respects, decide};
    use super::*;
    use crate::budget::Unlimited;

    fn told(seen: &Observations, model: Model) -> String {
        let level = Level {
            model,
            respects: Respects::Nothing,
        };
        let names = Names {
            transaction: &|one| format!("T{}", one + 1),
            key: &|key| ["x", "y", "z"][key as usize].to_owned(),
        };
        match decide(seen, level, &Unlimited) {
            Decision::Violated(proof) => sentences(&proof, &names).join("\n"),
            other => format!("{other:?}"),
        }
    }

    /// The keys that a transaction writes, and its reads with their candidates.
    type Few<'a> = (&'a [u32], &'a [(u32, &'a [u32])]);

    fn observations(all: &[Few<'_>]) -> Observations {
        let mut seen = Observations::new();
        for (writes, reads) in all {
            seen.push(&Observed {
                writes,
                reads,
                ..Observed::default()
            });
        }
        seen
    }

    #[test]
    fn write_skew_in_sentences() {
        let seen = observations(&[(&[1], &[(0, &[INITIAL])]), (&[0], &[(1, &[INITIAL])])]);
        insta::assert_snapshot!(told(&seen, Model::Serializable));
    }

    #[test]
    fn blind_writes_in_sentences() {
        // Two readers that saw both keys of two writers crosswise.
        let seen = observations(&[
            (&[0, 1], &[]),
            (&[0, 1], &[]),
            (&[], &[(0, &[0]), (1, &[1])]),
        ]);
        insta::assert_snapshot!(told(&seen, Model::Serializable));
    }

    #[test]
    fn a_lost_update_in_sentences() {
        let seen = observations(&[(&[0], &[]), (&[0], &[(0, &[0])]), (&[0], &[(0, &[0])])]);
        insta::assert_snapshot!(told(&seen, Model::SnapshotIsolation));
    }
}
