//! Histories of objects of any [`Model`](super::models::Model).

use std::sync::Arc;

use serde_json::Value;
use store::{Event, EventType, Name};

use crate::budget::{Budget, Exhausted};

use super::evidence::{DeadEnd, OperationView, Prefix};
use super::explain_object::{Material, explain, explain_bounds, summary};
use super::intake::Key;
use super::log::{Ending, Log};
use super::minimise::minimise;
use super::models::{Call, Monitored, Outcome, Part, Role, Touches, Values};
use super::monitors::collection::CollectionKind;
use super::object::{AnyModel, Object, ObjectOp};
use super::portfolio::{Opinion, Question};
use super::reduce::{ObjectWhole, closed};
use super::slice::slice_ops;
use super::subject::{Landed, LoggedOf, Malformed, Subject};
use super::track::{Suspect, Track};
use super::verify::{Judge, Refutation, bounds_of, prefixes, prove_object};
use super::witness::{self, Hint};

/// A model, and how its histories are read.
pub(super) struct Objects {
    pub(super) model: Box<dyn AnyModel>,
    /// What evidence calls the model.
    pub(super) name: String,
    pub(super) values: Values,
    functions: Vec<Name>,
    /// An object in its first state, and the number of the state.
    pristine: (Object, u32),
    /// What the options say that it holds first.
    pub(super) initial: Value,
    /// What proves evidence again.
    pub(super) judge: Arc<dyn Judge>,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    f: u32,
    value: u32,
    process: u64,
}

/// An operation as the history has it: its function, and the numbers of the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    f: u32,
    value: u32,
    result: u32,
}

impl Objects {
    pub(super) fn new(
        model: Box<dyn AnyModel>,
        name: &str,
        initial: &Value,
        judge: Arc<dyn Judge>,
    ) -> Objects {
        let mut values = Values::default();
        Objects {
            pristine: model.object(&mut values),
            model,
            name: name.to_owned(),
            values,
            functions: Vec::new(),
            initial: initial.clone(),
            judge,
        }
    }

    /// The elements of a set that it is enough to look at, since there is no order at the event `at`; none if all must be.
    fn elements(&self, track: &Track<Objects>, at: u64, budget: &dyn Budget) -> Vec<u32> {
        if !track.elements().is_empty() || self.model.monitored() != Some(Monitored::Set) {
            return track.elements().to_vec();
        }
        match self.opinion(&track.log, at, budget) {
            Ok(Opinion::Violation(named)) => named.elements,
            _ => Vec::new(),
        }
    }

    /// A proof that a counter cannot have been what the operation saw that ended with the event `at`, if that is so.
    fn out_of_bounds(
        &self,
        key: &Key<Objects>,
        track: &Track<Objects>,
        at: u64,
    ) -> Option<DeadEnd> {
        if self.model.monitored() != Some(Monitored::Counter) {
            return None;
        }
        let all: Vec<OperationView> = track.log.iter().map(|logged| self.view(logged)).collect();
        let operation = all.iter().find(|view| view.complete == Some(at))?.clone();
        let bounds = bounds_of(operation.invoke, &all, self.judge.as_ref())?;
        let key = key.key.as_ref();
        (!bounds.is_possible()).then(|| explain_bounds(self, key, operation, &bounds))
    }

    fn function(&mut self, f: &Name) -> u32 {
        let known = self.functions.iter().position(|known| known == f);
        let at = known.unwrap_or_else(|| {
            self.functions.push(f.clone());
            self.functions.len() - 1
        });
        at as u32
    }

    /// What was asked, with its outcome, as an operation of the model.
    fn read(&mut self, asked: Asked, outcome: Outcome<'_>) -> Result<Option<ObjectOp>, String> {
        let value = self.values.value(asked.value).clone();
        let call = Call {
            f: &self.functions[asked.f as usize],
            value: &value,
            outcome,
            process: asked.process,
        };
        self.model.read(&call, &mut self.values)
    }
}

/// Operations as they are asked for.
fn borrowed(some: &[Suspect<Objects>]) -> impl Iterator<Item = (usize, &LoggedOf<Objects>)> {
    some.iter().map(|(at, op)| (*at, op))
}

impl Subject for Objects {
    type Machine = Object;
    type Asked = Asked;
    type Told = Told;

    fn noun(&self) -> String {
        format!("the {}", self.model.name())
    }

    fn ask(&mut self, event: &Event, process: u64) -> Result<Asked, Malformed> {
        let call = Call {
            f: &event.f,
            value: &event.value,
            outcome: Outcome::Unknown,
            process,
        };
        let checked = self.model.check(&call, &mut self.values);
        let index = event.index;
        checked.map_err(|message| Malformed::Operation { index, message })?;
        Ok(Asked {
            f: self.function(&event.f),
            value: self.values.number(&event.value),
            process,
        })
    }

    fn complete(
        &mut self,
        asked: Asked,
        event: &Event,
    ) -> Result<Option<Landed<Objects>>, Malformed> {
        let (outcome, ending) = match event.kind {
            EventType::Fail => (Outcome::Refused, Ending::Fail),
            _ => (Outcome::Ok(&event.value), Ending::Ok),
        };
        let index = event.index;
        let read = self.read(asked, outcome);
        let Some(op) = read.map_err(|message| Malformed::Operation { index, message })? else {
            return Ok(None);
        };
        let told = Told {
            f: asked.f,
            value: asked.value,
            result: match ending {
                Ending::Ok => self.values.number(&event.value),
                _ => Values::NULL,
            },
        };
        Ok(Some(Landed { op, told, ending }))
    }

    fn unknown(&mut self, asked: Asked) -> Option<Landed<Objects>> {
        let told = Told {
            f: asked.f,
            value: asked.value,
            result: Values::NULL,
        };
        let ending = Ending::Info;
        // What cannot be read is not taken in.
        let read = self.read(asked, Outcome::Unknown).ok().flatten();
        let op = read.filter(|op| !op.is_observation())?;
        Some(Landed { op, told, ending })
    }

    fn bytes(&self) -> usize {
        self.values.bytes() + self.model.bytes()
    }

    fn object(&mut self) -> (Object, u32) {
        self.pristine.clone()
    }

    fn part(&self, op: ObjectOp) -> Part {
        self.model.part(op)
    }

    fn view(&self, logged: &LoggedOf<Objects>) -> OperationView {
        let Told { f, value, result } = logged.told;
        logged.view(
            self.functions[f as usize].to_string(),
            self.values.value(value).clone(),
            self.values.value(result).clone(),
        )
    }

    fn opinion(
        &self,
        log: &Log<LoggedOf<Objects>>,
        now: u64,
        budget: &dyn Budget,
    ) -> Result<Opinion, Exhausted> {
        let Some(monitored) = self.model.monitored() else {
            return Ok(Opinion::Unknown);
        };
        let log = log.iter();
        let question = Question { log, now, budget };
        question.of_object(monitored, |op| self.model.role(op))
    }

    fn closed(&self, log: &Log<LoggedOf<Objects>>, some: &[usize]) -> Vec<usize> {
        let touches = log.iter().map(|logged| self.model.touches(logged.op));
        closed(&touches.collect::<Vec<Touches>>(), some)
    }

    fn order(
        &self,
        log: &Log<LoggedOf<Objects>>,
        budget: &dyn Budget,
    ) -> Result<Option<Vec<u64>>, Exhausted> {
        let Some(Monitored::Collection(order)) = self.model.monitored() else {
            return Ok(None);
        };
        let log = log.iter();
        witness::of_collection(order, log, |op| self.model.role(op), budget)
    }

    fn hints(&self, log: &Log<LoggedOf<Objects>>) -> Vec<Option<Hint>> {
        let Some(Monitored::Collection(order)) = self.model.monitored() else {
            return Vec::new();
        };
        let role = |op| match self.model.role(op) {
            Some(Role::Collection(kind, element)) => Some((kind, element)),
            _ => None,
        };
        let ops = log.iter().map(|logged| (logged, role(logged.op)));
        let elements = ops.filter_map(|(logged, role)| {
            let (kind, element) = role?;
            let end = logged.returned().unwrap_or(u64::MAX);
            Some((kind, element, (logged.invoke, end)))
        });
        let ranks = witness::ranks(elements, order);
        let hint = |(kind, element)| Hint {
            inserts: kind == CollectionKind::Insert,
            rank: ranks.get(&element).copied().unwrap_or(u64::MAX),
        };
        log.iter().map(|logged| role(logged.op).map(hint)).collect()
    }

    fn restrict(&self, logged: &LoggedOf<Objects>, elements: &[u32]) -> Option<LoggedOf<Objects>> {
        let op = self.model.restrict(logged.op, elements)?;
        Some(LoggedOf::<Objects> { op, ..*logged })
    }

    fn dead_end(
        &self,
        key: &Key<Objects>,
        track: &Track<Objects>,
        at: u64,
        budget: &dyn Budget,
    ) -> Option<DeadEnd> {
        if track.log.has_forgotten() {
            return None;
        }
        if let Some(found) = self.out_of_bounds(key, track, at) {
            return Some(found);
        }
        let log: Vec<&LoggedOf<Objects>> = track.log.iter().collect();
        let elements = self.elements(track, at, budget);
        let (all, suspects, states) = match elements.is_empty() {
            true => {
                let all = track.log.iter().copied().enumerate().collect();
                (all, track.suspects(), track.last_states()?)
            }
            false => {
                let some = track.restricted(&elements, self);
                // What was possible in the whole history was more than these.
                (some.clone(), some, (track.last_states()?.0, &[][..]))
            }
        };
        let all = slice_ops(borrowed(&all), at, ObjectOp::is_observation);
        let whole = ObjectWhole::new(self, &self.pristine, borrowed(&suspects), at);
        let found = minimise(&whole, budget)?;
        Some(explain(&Material {
            key: key.key.as_ref(),
            subject: self,
            elements: &elements,
            all: &all,
            log: &log,
            found: &found,
            whole_end: (at, states),
        }))
    }

    fn summary(&self, dead_end: &DeadEnd) -> String {
        summary(dead_end)
    }

    fn prefixes(&self, dead_end: &DeadEnd) -> Vec<Prefix> {
        prefixes(dead_end, self.judge.as_ref())
    }

    fn prove(
        &self,
        dead_end: &DeadEnd,
        all: &[OperationView],
        _forgotten: Option<u64>,
    ) -> Result<(), Refutation> {
        prove_object(dead_end, all, self.judge.as_ref())
    }
}
