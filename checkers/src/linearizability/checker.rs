//! The checker: keys side by side, and what is said at the end.

use serde_json::{Value, json};
use store::Event;

use crate::budget::Budget;
use crate::{CheckResult, Checker, Evidence, Feed, Valid};

use super::evidence::DeadEnd;
use super::explain::{Material, explain, summary, view};
use super::intake::{Intake, IntakeError, client};
use super::log::LoggedOp;
use super::minimise::minimise;
use super::options::Options;
use super::search::{Answer, Hardness};
use super::slice::Whole;
use super::verify::prove;

/// How many events pass between two looks at the budget.
const EVENTS_PER_LOOK: u64 = 256;

/// Checks that a history of `read`, `write` and `cas` is linearizable, key by key.
///
/// - `read` returns its result as the value of its `ok`.
/// - `write` has the value to write as the value of its invocation.
/// - `cas` has `[from, to]`. `ok`: it succeeded. `fail`: see [`Options::failed_cas`].
/// - `fail` means that the operation did not happen, `info` or no completion that nobody knows.
///
/// Any other function makes the verdict `unknown`.
///
/// ```
/// use checkers::linearizability::Linearizable;
/// use checkers::{Valid, budget::Unlimited, check};
/// use store::Event;
///
/// let history: Vec<Event> = [
///     r#"{"index":0,"process":0,"type":"invoke","f":"write","value":1}"#,
///     r#"{"index":1,"process":0,"type":"ok","f":"write","value":1}"#,
///     r#"{"index":2,"process":1,"type":"invoke","f":"read","value":null}"#,
///     r#"{"index":3,"process":1,"type":"ok","f":"read","value":2}"#,
/// ]
/// .iter()
/// .map(|line| serde_json::from_str(line).unwrap())
/// .collect();
///
/// let result = check(&mut Linearizable::default(), &history, &Unlimited);
/// assert_eq!(result.valid, Valid::False);
/// ```
pub struct Linearizable {
    intake: Intake,
    options: Options,
    events: u64,
    /// Why nothing more is taken in.
    stopped: Option<Stopped>,
    /// How many bytes were charged for what is remembered.
    charged: usize,
}

#[derive(Clone, Debug)]
enum Stopped {
    /// A key has no order.
    Violation,
    Error(IntakeError),
}

impl Default for Linearizable {
    /// Registers that begin as `null`; only a failed `cas` of the class `precondition` is an
    /// observation.
    fn default() -> Self {
        Linearizable::new(Options::default())
    }
}

impl Linearizable {
    /// A checker that reads histories as the options say.
    pub fn new(options: Options) -> Linearizable {
        Linearizable {
            intake: Intake::new(options.clone()),
            options,
            events: 0,
            stopped: None,
            charged: 0,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) {
        let Some(process) = client(event) else {
            return;
        };
        match self.intake.take(event, process, budget) {
            Err(error) => self.stopped = Some(Stopped::Error(error)),
            Ok(key) if self.intake.keys[key].search.is_invalid() => {
                self.stopped = Some(Stopped::Violation);
            }
            Ok(_) => {}
        }
        self.events += 1;
        if self.events.is_multiple_of(EVENTS_PER_LOOK)
            && let Err(exhausted) = budget.check()
        {
            self.stopped = Some(Stopped::Error(exhausted.into()));
        }
        if self.events.is_multiple_of(EVENTS_PER_LOOK * 64) {
            self.account(budget);
        }
    }

    /// Charges for what is remembered, and forgets when it is too much.
    fn account(&mut self, budget: &dyn Budget) {
        let remembered =
            |intake: &Intake| -> usize { intake.keys.iter().map(|key| key.log.len()).sum() };
        let bytes = |intake: &Intake| -> usize { intake.keys.iter().map(|key| key.bytes()).sum() };
        let too_many = remembered(&self.intake) > self.options.remembered;
        let more = bytes(&self.intake).saturating_sub(self.charged);
        if too_many || budget.charge(more).is_err() {
            for key in &mut self.intake.keys {
                key.trim();
            }
            let now = bytes(&self.intake);
            budget.release(self.charged.saturating_sub(now));
            self.charged = self.charged.min(now);
        } else {
            self.charged += more;
        }
    }

    fn state(&self) -> Feed {
        match self.stopped {
            None => Feed::Continue,
            Some(Stopped::Violation) => Feed::Violation,
            Some(Stopped::Error(IntakeError::Exhausted(_))) => Feed::Exhausted,
            // Nothing to be done before the end, which will say `unknown`.
            Some(Stopped::Error(IntakeError::Malformed(_))) => Feed::Continue,
        }
    }

    /// The answer of every key, or the first violation.
    fn answers(&mut self, budget: &dyn Budget) -> Vec<(usize, Answer)> {
        let keys = &mut self.intake.keys;
        if let Some(at) = keys.iter().position(|key| key.search.is_invalid()) {
            return vec![(at, keys[at].search.answer(budget))];
        }
        let mut answers = Vec::new();
        for (at, key) in keys.iter_mut().enumerate() {
            let answer = key.search.answer(budget);
            answers.push((at, answer));
            if matches!(answer, Answer::Invalid { .. }) {
                return vec![(at, answer)];
            }
        }
        answers
    }

    fn verdict(&mut self, budget: &dyn Budget) -> CheckResult {
        let answers = self.answers(budget);
        if let Some((key, Answer::Invalid { at })) = answers.last() {
            return self.invalid(*key, *at, budget);
        }
        let undecided: Vec<usize> = answers
            .iter()
            .filter(|(_, answer)| *answer != Answer::Valid)
            .map(|(key, _)| *key)
            .collect();
        let Some(hardest) = undecided.first() else {
            let reason = match self.intake.keys.len() {
                0 => "there were no operations on registers".to_owned(),
                1 => format!("all {} operations are linearizable", self.intake.operations),
                keys => format!(
                    "all {} operations on {keys} keys are linearizable",
                    self.intake.operations
                ),
            };
            return CheckResult::new(Valid::True, reason);
        };
        let why = match answers[*hardest].1 {
            Answer::Forgotten => "the operations needed to search again were forgotten; \
                                  raise the number of remembered operations"
                .to_owned(),
            Answer::Exhausted(exhausted) => exhausted.to_string(),
            Answer::Valid | Answer::Invalid { .. } => String::new(),
        };
        self.undecided(*hardest, undecided.len(), &why)
    }

    /// `unknown`: how far it got, what made it hard, and what would make it easier.
    fn undecided(&self, key: usize, keys: usize, why: &str) -> CheckResult {
        let hardness = self.intake.keys[key].search.hardness();
        let mut result = CheckResult::new(
            Valid::Unknown,
            format!(
                "{why}: {}; {}. {}",
                self.progress(key, hardness),
                difficulty(hardness),
                advice(hardness)
            ),
        );
        result.details.extend([
            ("undecided-keys".to_owned(), json!(keys)),
            ("proved-until-event".to_owned(), json!(hardness.proved)),
            (
                "open-crashed-operations".to_owned(),
                json!(hardness.crashed),
            ),
            ("most-open-operations".to_owned(), json!(hardness.open)),
            ("configurations".to_owned(), json!(hardness.width)),
        ]);
        result
    }

    fn progress(&self, key: usize, hardness: Hardness) -> String {
        let key = self.describe_key(key);
        match hardness.proved {
            Some(index) => format!("{key} is linearizable up to event {index}"),
            None => format!("nothing of {key} was decided"),
        }
    }

    fn describe_key(&self, key: usize) -> String {
        match &self.intake.keys[key].key {
            Some(key) => format!("key {key}"),
            None => "the register".to_owned(),
        }
    }

    /// `false`, if it can be proved independently.
    fn invalid(&self, key: usize, at: u64, budget: &dyn Budget) -> CheckResult {
        let log: Vec<&LoggedOp> = self.intake.keys[key].log.iter().collect();
        let forgotten = self.intake.keys[key].log.forgotten();
        let Some(dead_end) = self.dead_end(key, at, &log, budget) else {
            return self.unproved(key, at, "no part of it small enough to be proved was found");
        };
        let values = self.intake.values.all();
        let views = log.iter().map(|logged| view(logged, values));
        let proved = prove(&dead_end, views, forgotten);
        debug_assert!(
            !matches!(
                proved,
                Err(super::Refutation::Possible
                    | super::Refutation::Open { .. }
                    | super::Refutation::Mismatch(_))
            ),
            "the verifier disagrees: {proved:?} {dead_end:?}"
        );
        if let Err(refutation) = proved {
            return self.unproved(key, at, &refutation.to_string());
        }
        let reason = format!(
            "{} is not linearizable: {}",
            self.describe_key(key),
            summary(&dead_end)
        );
        let mut result = CheckResult::new(Valid::False, reason);
        result.evidence.push(Evidence::DeadEnd(Box::new(dead_end)));
        result
    }

    fn dead_end(
        &self,
        key: usize,
        at: u64,
        log: &[&LoggedOp],
        budget: &dyn Budget,
    ) -> Option<DeadEnd> {
        let key = &self.intake.keys[key];
        let forgotten = key.log.forgotten();
        let whole = Whole::new(log.iter().copied(), forgotten, at);
        let initial = self.intake.initial;
        let found = minimise(&whole, initial, budget)?;
        Some(explain(&Material {
            key: key.key.as_ref(),
            values: self.intake.values.all(),
            initial,
            whole: &whole,
            log,
            found: &found,
            whole_end: (at, key.search.last_states()),
        }))
    }

    fn unproved(&self, key: usize, at: u64, why: &str) -> CheckResult {
        CheckResult::new(
            Valid::Unknown,
            format!(
                "{} seems not to be linearizable at event {at}, but the independent verifier \
                 could not prove it: {why}",
                self.describe_key(key)
            ),
        )
    }

    fn stopped_early(&self, error: &IntakeError) -> CheckResult {
        match error {
            IntakeError::Malformed(malformed) => {
                CheckResult::new(Valid::Unknown, malformed.to_string())
            }
            IntakeError::Exhausted(exhausted) => {
                let keys = self.intake.keys.iter().enumerate();
                let hardest = keys.max_by_key(|(_, key)| key.search.hardness().width);
                match hardest {
                    Some((key, _)) => {
                        self.undecided(key, self.intake.keys.len(), &exhausted.to_string())
                    }
                    None => CheckResult::new(Valid::Unknown, exhausted.to_string()),
                }
            }
        }
    }
}

impl Checker for Linearizable {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.stopped.is_some() {
                break;
            }
            self.take(event, budget);
        }
        self.state()
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        if self.stopped.is_none()
            && let Err(exhausted) = self.intake.end(budget)
        {
            self.stopped = Some(Stopped::Error(exhausted.into()));
        }
        let mut result = match &self.stopped {
            Some(Stopped::Error(error)) => self.stopped_early(&error.clone()),
            Some(Stopped::Violation) | None => self.verdict(budget),
        };
        let counts = [
            ("keys", json!(self.intake.keys.len())),
            ("operations", json!(self.intake.operations)),
        ];
        let counts = counts.map(|(name, count): (&str, Value)| (name.to_owned(), count));
        result.details.extend(counts);
        budget.release(std::mem::take(&mut self.charged));
        result
    }
}

fn difficulty(hardness: Hardness) -> String {
    format!(
        "{} of its operations have an unknown outcome, and up to {} were open at once",
        hardness.crashed, hardness.open
    )
}

fn advice(hardness: Hardness) -> &'static str {
    if hardness.crashed > 0 {
        "Fewer operations a key (--ops-per-key) or fewer that time out (--op-timeout) make it easier"
    } else {
        "Fewer clients on a key (--concurrency) or fewer operations a key (--ops-per-key) make it \
         easier"
    }
}
