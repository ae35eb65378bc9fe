//! Taking events in, within a budget.

use store::{Event, Process};

use super::evidence::Objects;
use super::intake::{Intake, Malformed};
use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Feed, Valid};

/// How many events pass between two looks at the budget.
const LOOK: u64 = 1 << 12;

/// What a checker has been fed.
pub(super) struct Feeding {
    intake: Intake,
    events: u64,
    charged: usize,
    stopped: Option<Stopped>,
}

enum Stopped {
    Malformed(Malformed),
    Exhausted(Exhausted),
}

impl Feeding {
    /// Nothing yet.
    pub(super) fn of(objects: Objects) -> Feeding {
        Feeding {
            intake: Intake::of(objects),
            events: 0,
            charged: 0,
            stopped: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), Stopped> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        self.events += 1;
        if self.events.is_multiple_of(LOOK) {
            budget.check().map_err(Stopped::Exhausted)?;
            let more = self.intake.bytes().saturating_sub(self.charged);
            budget.charge(more).map_err(Stopped::Exhausted)?;
            self.charged += more;
        }
        self.intake.take(event, process).map_err(Stopped::Malformed)
    }

    /// Takes events in.
    pub(super) fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.stopped.is_some() {
                break;
            }
            if let Err(why) = self.take(event, budget) {
                self.stopped = Some(why);
            }
        }
        match self.stopped {
            Some(Stopped::Exhausted(_)) => Feed::Exhausted,
            // What is malformed is said at the end.
            Some(Stopped::Malformed(_)) | None => Feed::Continue,
        }
    }

    /// The verdict on what was taken in.
    pub(super) fn finish(
        &self,
        budget: &dyn Budget,
        judge: impl FnOnce(&Intake) -> Result<CheckResult, Exhausted>,
    ) -> CheckResult {
        let result = match &self.stopped {
            Some(Stopped::Malformed(malformed)) => {
                CheckResult::new(Valid::Unknown, malformed.to_string())
            }
            Some(Stopped::Exhausted(exhausted)) => out_of_budget(*exhausted),
            None => judge(&self.intake).unwrap_or_else(out_of_budget),
        };
        budget.release(self.charged);
        result
    }
}

fn out_of_budget(exhausted: Exhausted) -> CheckResult {
    CheckResult::new(Valid::Unknown, format!("out of budget: {exhausted}"))
}
