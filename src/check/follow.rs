//! The child's side of an online checker: follows the history of a run while it is written.
//!
//! It is asked to look now and then, and answers what it has seen. Between two questions it rests, and its
//! time limit with it: that is of checking, as for every checker.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use checkers::{Checker, Feed, Valid};
use serde::{Deserialize, Serialize};
use store::jsonl::{Limits, Tail};
use store::{Event, RunFolder};

use super::budget::ProcessBudget;
use super::standard;
use crate::spec::CheckLimits;
use crate::suites::Suites;

/// What an online checker has seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Seen {
    /// Nothing final.
    Nothing,
    /// A violation that no continuation can retract, proved.
    Violation {
        /// Why, in a sentence.
        reason: String,
    },
    /// It has given up; the check after the run will say more.
    Over {
        /// Why.
        why: String,
    },
}

/// A checker with its place in a history that grows.
pub(super) struct Following {
    checker: Box<dyn Checker>,
    tail: Tail,
    budget: ProcessBudget,
    /// When it last stopped working.
    rests_since: Instant,
    events: Vec<Event>,
    /// It has nothing more to say than this.
    last: Option<Seen>,
}

impl Following {
    /// At the beginning of the history of a run.
    pub(super) fn begin(
        suites: &Suites,
        folder: &Path,
        checker: &str,
        limits: CheckLimits,
    ) -> Result<Following> {
        let folder = RunFolder::open(folder)?;
        let mut checker = standard::make(suites, &folder, checker)?;
        checker.hurry();
        Ok(Following {
            checker,
            tail: Tail::open(&folder.history_path(), Limits::default())?,
            budget: ProcessBudget::new(limits.time, limits.memory),
            rests_since: Instant::now(),
            events: Vec::new(),
            last: None,
        })
    }

    /// Takes in what has been written since the last call.
    pub(super) fn look(&mut self) -> Seen {
        if let Some(last) = &self.last {
            return last.clone();
        }
        self.budget.postpone(self.rests_since.elapsed());
        let seen = self.take_in().unwrap_or_else(|error| Seen::Over {
            why: crate::words::describe(&error),
        });
        self.rests_since = Instant::now();
        if seen != Seen::Nothing {
            self.last = Some(seen.clone());
        }
        seen
    }

    fn take_in(&mut self) -> Result<Seen> {
        loop {
            self.events.clear();
            if !self.tail.read(&mut self.events)? {
                return Ok(Seen::Nothing);
            }
            match self.checker.feed(&self.events, &self.budget) {
                Feed::Continue => {}
                Feed::Violation | Feed::Exhausted => return Ok(self.verdict()),
            }
        }
    }

    /// What looks like a violation has to be proved, as after the run.
    fn verdict(&mut self) -> Seen {
        let result = self.checker.finish(&self.budget);
        match result.valid {
            Valid::False => Seen::Violation {
                reason: result.reason,
            },
            Valid::True | Valid::Unknown => Seen::Over { why: result.reason },
        }
    }
}
