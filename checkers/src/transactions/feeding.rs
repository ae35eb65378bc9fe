//! Taking events in, within a budget; and looking, if there is a hurry, whether what was taken in is a violation already.
//!
//! A verdict in a hurry is that of the check after a run, on all events so far. It costs as much as that, so it is asked
//! for only where something is suspected: of lists, by [`Online`], which follows each event; of registers, whenever the history
//! has grown by a half, so that all these checks together cost at most three times the last one. A suspicion that
//! was wrong puts the next one off until the history is twice as long.
//!
//! No continuation retracts such a verdict. What a transaction that is still open wrote and others read may fail later,
//! but then they have read what failed. A read of what nobody wrote is no such verdict, as the write might still come.

use store::{Event, Process};

use super::anomaly::Anomaly;
use super::evidence::Objects;
use super::intake::{Intake, Malformed, Taken};
use super::models::Level;
use super::online::Online;
use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Evidence, Feed, Valid};

/// How many events pass between two looks at the budget.
const LOOK: u64 = 1 << 12;

/// How many transactions of registers there are when they are judged first.
const FIRST: usize = 1 << 10;

/// What a checker has been fed.
pub(super) struct Feeding {
    objects: Objects,
    intake: Intake,
    events: u64,
    charged: usize,
    stopped: Option<Stopped>,
    hurry: Option<Hurry>,
}

enum Stopped {
    Malformed(Malformed),
    Exhausted(Exhausted),
    Violation(Box<CheckResult>),
}

/// How a violation is noticed while the history is being made.
struct Hurry {
    /// Follows events, where that is known how.
    online: Option<Online>,
    /// No verdict is asked for before there are so many transactions.
    patience: usize,
}

impl Feeding {
    /// Nothing yet.
    pub(super) fn of(objects: Objects) -> Feeding {
        Feeding {
            objects,
            intake: Intake::of(objects),
            events: 0,
            charged: 0,
            stopped: None,
            hurry: None,
        }
    }

    /// From now on, violations of a level are to be noticed soon.
    pub(super) fn hurry(&mut self, level: &'static Level) {
        let (online, patience) = match self.objects {
            Objects::Lists => (Some(Online::of(level)), 0),
            Objects::Registers | Objects::Rows | Objects::Sets | Objects::Counters => (None, FIRST),
        };
        self.hurry = Some(Hurry { online, patience });
    }

    fn take(
        &mut self,
        event: &Event,
        budget: &dyn Budget,
        judge: impl Fn(&Intake) -> Result<CheckResult, Exhausted>,
    ) -> Result<(), Stopped> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        self.events += 1;
        if self.events.is_multiple_of(LOOK) {
            budget.check()?;
            let online = self.hurry.as_ref().and_then(|hurry| hurry.online.as_ref());
            let bytes = self.intake.bytes() + online.map_or(0, Online::bytes);
            let more = bytes.saturating_sub(self.charged);
            budget.charge(more)?;
            self.charged += more;
        }
        let taken = self.intake.take(event, process);
        let taken = taken.map_err(Stopped::Malformed)?;
        if let Some(hurry) = &mut self.hurry
            && hurry.suspects(&self.intake, taken, budget)?
        {
            let result = judge(&self.intake)?;
            if is_final(&result) {
                return Err(Stopped::Violation(Box::new(result)));
            }
        }
        Ok(())
    }

    /// Takes events in. `judge` gives the verdict on what was taken in.
    pub(super) fn feed(
        &mut self,
        events: &[Event],
        budget: &dyn Budget,
        judge: impl Fn(&Intake) -> Result<CheckResult, Exhausted>,
    ) -> Feed {
        for event in events {
            if self.stopped.is_some() {
                break;
            }
            if let Err(why) = self.take(event, budget, &judge) {
                self.stopped = Some(why);
            }
        }
        match self.stopped {
            Some(Stopped::Exhausted(_)) => Feed::Exhausted,
            Some(Stopped::Violation(_)) => Feed::Violation,
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
            Some(Stopped::Violation(result)) => (**result).clone(),
            None => judge(&self.intake).unwrap_or_else(out_of_budget),
        };
        budget.release(self.charged);
        result
    }
}

impl Hurry {
    /// Whether what was taken in should be judged.
    fn suspects(
        &mut self,
        intake: &Intake,
        taken: Taken,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let all = &intake.transactions;
        let (suspects, growth) = match &mut self.online {
            Some(online) => (online.follow(all, taken, budget)?, all.len()),
            None => (true, all.len() / 2),
        };
        let suspects = suspects && all.len() >= self.patience;
        if suspects {
            self.patience = all.len() + growth;
        }
        Ok(suspects)
    }
}

/// Whether a verdict is a violation that no continuation can retract.
fn is_final(result: &CheckResult) -> bool {
    let may_come = |evidence: &Evidence| match evidence {
        Evidence::Anomaly(anomaly) => anomaly.anomaly == Anomaly::GarbageRead.name(),
        _ => false,
    };
    result.valid == Valid::False && !result.evidence.iter().all(may_come)
}

impl From<Exhausted> for Stopped {
    fn from(exhausted: Exhausted) -> Stopped {
        Stopped::Exhausted(exhausted)
    }
}

fn out_of_budget(exhausted: Exhausted) -> CheckResult {
    CheckResult::new(Valid::Unknown, format!("out of budget: {exhausted}"))
}
