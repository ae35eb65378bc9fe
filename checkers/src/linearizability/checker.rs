//! The checker: keys side by side, and what is said at the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::Event;

use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Checker, Evidence, Feed, Valid};

use super::evidence::DeadEnd;
use super::intake::{Intake, IntakeError, client};
use super::models::Part;
use super::options::Options;
use super::portfolio::Ration;
use super::search::{Answer, Hardness};
use super::subject::{LoggedOf, Subject, describe_key};
use super::trace;
use super::track::Track;
use super::verify::Refutation;
use super::witness;

/// How many events pass between two looks at the budget.
const EVENTS_PER_LOOK: u64 = 256;

/// Checks that histories of a subject are linearizable, key by key.
pub(super) struct Checking<S: Subject> {
    intake: Intake<S>,
    /// How many operations of all keys together are remembered.
    remembered: usize,
    /// Whether a valid verdict comes with an order.
    witness: bool,
    events: u64,
    /// After how many events it is charged for what is remembered.
    account_at: u64,
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

impl<S: Subject> Checking<S> {
    pub(super) fn new(subject: S, options: &Options) -> Checking<S> {
        Checking {
            intake: Intake::new(subject, options),
            remembered: options.remembered,
            witness: options.witness,
            events: 0,
            account_at: EVENTS_PER_LOOK * 64,
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
            Ok(key) if self.intake.keys[key].invalid => {
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
        if self.events >= self.account_at {
            if let Err(exhausted) = self.account(budget) {
                self.stopped = Some(Stopped::Error(exhausted.into()));
            }
            // All tracks are looked at.
            let tracks = self.tracks().count() as u64;
            self.account_at = self.events + tracks.max(EVENTS_PER_LOOK * 64);
        }
    }

    /// Charges for what is remembered, and forgets when it is too much.
    fn account(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        // A monitor can do nothing without all operations, so it may have them as long as there is memory.
        let searched = self.tracks().filter(|track| !track.is_aside());
        if searched.map(|track| track.log.len()).sum::<usize>() > self.remembered {
            self.forget(|track| !track.is_aside(), budget)?;
        }
        if self.charge(budget).is_ok() {
            return Ok(());
        }
        self.forget(|_| true, budget)?;
        self.charge(budget)
    }

    /// Forgets about half of the operations on some tracks.
    fn forget(
        &mut self,
        which: impl Fn(&Track<S>) -> bool,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let Intake { subject, keys, .. } = &mut self.intake;
        let tracks = keys.iter_mut().flat_map(|key| key.tracks.iter_mut());
        for track in tracks.filter(|track| which(track)) {
            track.trim(subject, budget)?;
        }
        subject.forget_values(keys);
        Ok(())
    }

    fn charge(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        let now = self.bytes();
        budget.release(self.charged.saturating_sub(now));
        self.charged = self.charged.min(now);
        budget.charge(now.saturating_sub(self.charged))?;
        self.charged = now;
        Ok(())
    }

    fn tracks(&self) -> impl Iterator<Item = &Track<S>> {
        self.intake.keys.iter().flat_map(|key| key.tracks.iter())
    }

    fn bytes(&self) -> usize {
        self.tracks().map(Track::bytes).sum::<usize>() + self.intake.subject.bytes()
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

    /// The answer of every track that is not valid, or the first violation.
    fn answers(&mut self, budget: &dyn Budget) -> Vec<Answered> {
        let mut undecided = Vec::new();
        let Intake { subject, keys, .. } = &mut self.intake;
        // What is known to be impossible needs no search.
        let certain = keys.iter().position(|key| key.invalid);
        for (at, key) in keys.iter_mut().enumerate() {
            if certain.is_some_and(|certain| certain != at) {
                continue;
            }
            if key.lost {
                undecided.push(Answered {
                    key: at,
                    track: 0,
                    answer: Answer::Forgotten,
                });
            }
            if let Err(exhausted) = key.tracks.end(subject, budget) {
                undecided.push(Answered {
                    key: at,
                    track: 0,
                    answer: Answer::Exhausted(exhausted),
                });
                continue;
            }
            for (number, track) in key.tracks.iter_mut().enumerate() {
                if certain.is_some() && !track.is_invalid() {
                    continue;
                }
                let answered = Answered {
                    key: at,
                    track: number,
                    answer: track.answer(subject, budget),
                };
                match answered.answer {
                    Answer::Valid => {}
                    Answer::Invalid { .. } => return vec![answered],
                    Answer::Exhausted(_) | Answer::Forgotten | Answer::Disputed => {
                        undecided.push(answered);
                    }
                }
            }
        }
        undecided
    }

    fn verdict(&mut self, budget: &dyn Budget) -> CheckResult {
        let answers = self.answers(budget);
        let Some(first) = answers.first() else {
            let mut result = CheckResult::new(Valid::True, self.all_is_well());
            if self.witness {
                let (name, found) = match self.orders(budget) {
                    Ok(orders) => ("orders", json!(orders)),
                    Err(why) => ("no-orders", json!(why)),
                };
                result.details.insert(name.to_owned(), found);
            }
            return result;
        };
        let why = match first.answer {
            Answer::Invalid { at } => return self.invalid(first, at, budget),
            Answer::Forgotten => "the operations needed to search again were forgotten; \
                                  raise the number of remembered operations"
                .to_owned(),
            Answer::Exhausted(exhausted) => exhausted.to_string(),
            Answer::Disputed => {
                "a monitor found it impossible, but the search found an order; please \
                                 report this history as a bug"
                    .to_owned()
            }
            Answer::Valid => String::new(),
        };
        let mut keys: Vec<usize> = answers.iter().map(|answered| answered.key).collect();
        keys.dedup();
        self.undecided(first.key, first.track, keys.len(), &why)
    }

    /// An order of each object's operations, by the events that began them.
    fn orders(&mut self, budget: &dyn Budget) -> Result<Vec<Vec<u64>>, String> {
        let Intake { subject, keys, .. } = &mut self.intake;
        let mut orders = Vec::new();
        for track in keys.iter().flat_map(|key| key.tracks.iter()) {
            if track.log.has_forgotten() {
                return Err("the operations that it takes were forgotten".to_owned());
            }
            match orders_of(track, subject, budget) {
                Ok(Some(found)) => orders.extend(found),
                Ok(None) => return Err("none was found".to_owned()),
                Err(exhausted) => return Err(exhausted.to_string()),
            }
        }
        Ok(orders)
    }

    fn all_is_well(&self) -> String {
        let operations = self.intake.operations;
        match self.intake.keys.len() {
            0 => "there were no operations of clients".to_owned(),
            1 => format!("all {operations} operations are linearizable"),
            keys => format!("all {operations} operations on {keys} keys are linearizable"),
        }
    }

    /// `unknown`: how far it got, what made it hard, and what would make it easier.
    fn undecided(&self, key: usize, track: usize, keys: usize, why: &str) -> CheckResult {
        let Some(track) = self.intake.keys[key].tracks.iter().nth(track) else {
            return CheckResult::new(Valid::Unknown, why);
        };
        let Some(hardness) = track.hardness() else {
            return CheckResult::new(Valid::Unknown, why);
        };
        let accused = match track.is_accused() {
            true => {
                ", although a monitor found a violation: what it found could not be proved independently"
            }
            false => "",
        };
        let mut result = CheckResult::new(
            Valid::Unknown,
            format!(
                "{why}{accused}: {}; {}. {}",
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
        describe_key(
            self.intake.keys[key].key.as_ref(),
            &self.intake.subject.noun(),
        )
    }

    /// `false`, if it can be proved independently.
    fn invalid(&self, answered: &Answered, at: u64, budget: &dyn Budget) -> CheckResult {
        let Intake { subject, keys, .. } = &self.intake;
        let key = &keys[answered.key];
        let found = key.tracks.iter().nth(answered.track).and_then(|track| {
            let dead_end = subject.dead_end(key, track, at, budget)?;
            Some((dead_end, track.log.forgotten()))
        });
        let Some((dead_end, forgotten)) = found else {
            let why = "no part of it small enough to be proved was found";
            return self.unproved(answered.key, at, why);
        };
        let logged = key.tracks.logged();
        let views: Vec<_> = logged.map(|logged| subject.view(logged)).collect();
        let proved = subject.prove(&dead_end, &views, forgotten);
        debug_assert!(
            !matches!(
                proved,
                Err(Refutation::Possible | Refutation::Open { .. } | Refutation::Mismatch(_))
            ),
            "the verifier disagrees: {proved:?} {dead_end:?}"
        );
        if let Err(refutation) = proved {
            return self.unproved(answered.key, at, &refutation.to_string());
        }
        let dead_end = DeadEnd {
            prefixes: subject.prefixes(&dead_end),
            ..dead_end
        };
        let what = subject.summary(&dead_end);
        let reason = format!(
            "{} is not linearizable: {what}",
            self.describe_key(answered.key)
        );
        let mut result = CheckResult::new(Valid::False, reason);
        result.evidence.push(Evidence::DeadEnd(Box::new(dead_end)));
        result
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
                let tracks = keys.flat_map(|(key, it)| {
                    let tracks = it.tracks.iter().enumerate();
                    tracks.map(move |(number, track)| {
                        let width = track.hardness().map_or(0, |hardness| hardness.width);
                        (key, number, (track.is_accused(), width))
                    })
                });
                match tracks.max_by_key(|(.., width)| *width) {
                    Some((key, track, _)) => {
                        let keys = self.intake.keys.len();
                        self.undecided(key, track, keys, &exhausted.to_string())
                    }
                    None => CheckResult::new(Valid::Unknown, exhausted.to_string()),
                }
            }
        }
    }
}

/// What the search says of a track.
struct Answered {
    key: usize,
    track: usize,
    answer: Answer,
}

impl<S: Subject> Checker for Checking<S> {
    fn hurry(&mut self) {
        self.intake.ration = self.intake.ration.map(Ration::in_a_hurry);
    }

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
        let by_monitors = self.tracks().filter(|track| track.is_by_monitor()).count();
        if by_monitors > 0 {
            let name = "decided-by-monitors".to_owned();
            result.details.insert(name, json!(by_monitors));
        }
        budget.release(std::mem::take(&mut self.charged));
        result
    }
}

/// Orders of the objects on a track; `None` if none was found for one of them.
fn orders_of<S: Subject>(
    track: &Track<S>,
    subject: &mut S,
    budget: &dyn Budget,
) -> Result<Option<Vec<Vec<u64>>>, Exhausted> {
    // Many objects that have nothing to do with each other, unless an operation is on all of them.
    let mut apart: BTreeMap<u32, Vec<&LoggedOf<S>>> = BTreeMap::new();
    let is_apart = track.is_gathered()
        && track
            .log
            .iter()
            .all(|logged| match subject.part(logged.op) {
                Part::One(part) => {
                    apart.entry(part).or_default().push(logged);
                    true
                }
                Part::None | Part::All => false,
            });
    if !is_apart {
        if let Some(order) = subject.order(&track.log, budget)? {
            return Ok(Some(vec![order]));
        }
        let object = subject.object();
        let found = match track.is_searched() {
            true => trace::find(track.log.iter(), object, budget)?,
            false => witness::find(track.log.iter(), object, subject.hints(&track.log), budget)?,
        };
        return Ok(found.map(|order| vec![order]));
    }
    let each = apart.into_values().map(|ops| {
        let hints = Vec::new();
        witness::find(ops.into_iter(), subject.object(), hints, budget)
    });
    each.collect()
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
