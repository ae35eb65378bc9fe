//! Histories of registers with compare-and-set, which the search knows by heart.

use serde_json::Value;
use store::{Event, EventType};

use crate::budget::{Budget, Exhausted};

use super::counted::explain_shortage;
use super::evidence::{DeadEnd, OperationView, Prefix};
use super::explain::{Material, explain, summary};
use super::intake::Key;
use super::log::{Ending, Log, LoggedOp};
use super::minimise::minimise;
use super::model::{Register, RegisterOp};
use super::models::{Part, Touched, Touches, Values};
use super::monitors::register::RegisterKind;
use super::options::{NullRead, Options};
use super::portfolio::{Opinion, Question};
use super::reduce::closed;
use super::search::Search;
use super::slice::{RegisterWhole, slice_ops};
use super::subject::{Landed, LoggedOf, Malformed, Subject};
use super::track::Track;
use super::verify::{REGISTER, Reference, Refutation, prefixes, prove};

/// The values of registers, and how their operations are read.
pub(super) struct Registers {
    values: Values,
    initial: u32,
    null_read: NullRead,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Read,
    Write(u32),
    Cas(u32, u32),
}

impl Asked {
    fn values(self) -> [Option<u32>; 2] {
        match self {
            Asked::Read => [None; 2],
            Asked::Write(value) => [Some(value), None],
            Asked::Cas(from, to) => [Some(from), Some(to)],
        }
    }
}

/// The arguments of a compare-and-set, if an operation was one. One of a value to itself is lowered to a
/// read.
pub(super) type Told = Option<(u32, u32)>;

/// An operation on a register as it is remembered.
pub(super) type Logged = LoggedOp<RegisterOp, Told>;

impl Registers {
    pub(super) fn new(options: &Options) -> Registers {
        let mut values = Values::default();
        Registers {
            initial: values.number(&options.initial),
            values,
            null_read: options.null_read,
        }
    }
}

fn landed(op: RegisterOp, asked: Asked, ending: Ending) -> Option<Landed<Registers>> {
    let told = match asked {
        Asked::Cas(from, to) => Some((from, to)),
        Asked::Read | Asked::Write(_) => None,
    };
    Some(Landed { op, told, ending })
}

impl Subject for Registers {
    type Machine = Register;
    type Asked = Asked;
    type Told = Told;

    fn noun(&self) -> String {
        "the register".to_owned()
    }

    fn ask(&mut self, event: &Event, _process: u64) -> Result<Asked, Malformed> {
        match &*event.f {
            "read" => Ok(Asked::Read),
            "write" => Ok(Asked::Write(self.values.number(&event.value))),
            "cas" => match event.value.as_array().map(Vec::as_slice) {
                Some([from, to]) => {
                    Ok(Asked::Cas(self.values.number(from), self.values.number(to)))
                }
                _ => Err(Malformed::CasValue {
                    index: event.index,
                    value: event.value.to_string(),
                }),
            },
            other => Err(Malformed::UnknownFunction {
                index: event.index,
                f: other.to_owned(),
            }),
        }
    }

    fn complete(
        &mut self,
        asked: Asked,
        event: &Event,
    ) -> Result<Option<Landed<Registers>>, Malformed> {
        let (op, ending) = match (event.kind, asked) {
            (EventType::Fail, Asked::Cas(from, _)) => (RegisterOp::Differs(from), Ending::Fail),
            (EventType::Fail, Asked::Read | Asked::Write(_)) => return Ok(None),
            (_, Asked::Read) => {
                if event.value.is_null() && self.null_read == NullRead::MatchesAnything {
                    return Ok(None);
                }
                (
                    RegisterOp::Read(self.values.number(&event.value)),
                    Ending::Ok,
                )
            }
            (_, Asked::Write(value)) => (RegisterOp::Write(value), Ending::Ok),
            (_, Asked::Cas(from, to)) => (RegisterOp::cas(from, to), Ending::Ok),
        };
        Ok(landed(op, asked, ending))
    }

    /// An operation that may have happened or not. One that would change nothing says nothing.
    fn unknown(&mut self, asked: Asked) -> Option<Landed<Registers>> {
        match asked {
            Asked::Write(value) => landed(RegisterOp::Write(value), asked, Ending::Info),
            Asked::Cas(from, to) if from != to => {
                landed(RegisterOp::Cas(from, to), asked, Ending::Info)
            }
            Asked::Read | Asked::Cas(..) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }

    fn forget_values(&mut self, keys: &mut [Key<Registers>]) {
        let mut live = vec![false; self.values.end() as usize];
        // The number that stands for all that no operation names is none of them.
        let mut keep = |value: u32| {
            live.get_mut(value as usize)
                .into_iter()
                .for_each(|it| *it = true)
        };
        keep(Values::NULL);
        keep(self.initial);
        for key in keys {
            for asked in key.asked() {
                asked.values().into_iter().flatten().for_each(&mut keep);
            }
            for logged in key.logged() {
                let told = logged
                    .told
                    .map_or([None; 2], |(from, to)| [Some(from), Some(to)]);
                told.into_iter().flatten().for_each(&mut keep);
                logged.op.values().into_iter().flatten().for_each(&mut keep);
            }
            for track in key.tracks.iter_mut() {
                let ops = track.searched_ops();
                let values = ops.into_iter().flat_map(RegisterOp::values);
                values.flatten().for_each(&mut keep);
                track.live_states().into_iter().for_each(&mut keep);
            }
        }
        self.values.retain(|value| live[value as usize]);
    }

    fn object(&mut self) -> (Register, u32) {
        (Register, self.initial)
    }

    fn part(&self, _op: RegisterOp) -> Part {
        Part::All
    }

    fn view(&self, logged: &LoggedOf<Registers>) -> OperationView {
        view(logged, &self.values)
    }

    fn opinion(
        &self,
        log: &Log<Logged>,
        now: u64,
        budget: &dyn Budget,
    ) -> Result<Opinion, Exhausted> {
        // The monitor calls the initial value 0, so the two change places.
        let value = |value: u32| match value {
            0 => self.initial,
            _ if value == self.initial => 0,
            _ => value,
        };
        let kind = |op: RegisterOp| match op {
            RegisterOp::Read(seen) => (RegisterKind::Read, value(seen)),
            RegisterOp::Differs(not) => (RegisterKind::Differs, value(not)),
            RegisterOp::Write(written) => (RegisterKind::Write, value(written)),
            RegisterOp::Cas(from, to) => (RegisterKind::Cas { from: value(from) }, value(to)),
        };
        let log = log.iter();
        let question = Question { log, now, budget };
        question.of_register(|op| Some(kind(op)))
    }

    fn closed(&self, log: &Log<Logged>, some: &[usize]) -> Vec<usize> {
        let touches = log.iter().map(|logged| touches(logged.op));
        closed(&touches.collect::<Vec<Touches>>(), some)
    }

    fn dead_end(
        &self,
        key: &Key<Registers>,
        track: &Track<Registers>,
        at: u64,
        budget: &dyn Budget,
    ) -> Option<DeadEnd> {
        let log: Vec<&Logged> = track.log.iter().collect();
        let all = slice_ops(
            log.iter().copied().enumerate(),
            at,
            RegisterOp::is_observation,
        );
        let suspects = track.suspects();
        let suspects = suspects.iter().map(|(at, op)| (*at, op));
        let whole = RegisterWhole::new(suspects, self.initial, track.log.forgotten(), at);
        if let Some(shortage) = track.live().and_then(Search::shortage) {
            let value = self.values.value(shortage.value);
            let all: Vec<OperationView> = log.iter().map(|logged| self.view(logged)).collect();
            return explain_shortage(shortage, value, &all, self.bare(key));
        }
        let found = minimise(&whole, budget)?;
        Some(explain(&Material {
            key: key.key.as_ref(),
            values: &self.values,
            initial: self.initial,
            all: &all,
            log: &log,
            found: &found,
            whole_end: (at, track.last_states()?.1),
        }))
    }

    fn summary(&self, dead_end: &DeadEnd) -> String {
        summary(dead_end)
    }

    fn prefixes(&self, dead_end: &DeadEnd) -> Vec<Prefix> {
        let options = Options {
            initial: dead_end.initial.clone(),
            ..Options::default()
        };
        // A register is a map's entry.
        let judge = Reference::new("map", &options);
        judge.map_or_else(Vec::new, |judge| prefixes(dead_end, &judge))
    }

    fn prove(
        &self,
        dead_end: &DeadEnd,
        all: &[OperationView],
        forgotten: Option<u64>,
    ) -> Result<(), Refutation> {
        prove(dead_end, all.iter().cloned(), forgotten)
    }
}

impl Registers {
    /// Evidence that says nothing yet.
    fn bare(&self, key: &Key<Registers>) -> DeadEnd {
        DeadEnd {
            model: REGISTER.to_owned(),
            key: key.key.clone(),
            initial: self.values.value(self.initial).clone(),
            operation: 0,
            states: Vec::new(),
            range: None,
            states_of_whole: false,
            pending: Vec::new(),
            pending_omitted: 0,
            sources: Vec::new(),
            sub_history: Vec::new(),
            minimal: false,
            prefixes: Vec::new(),
            elements: Vec::new(),
            operations: Vec::new(),
            explanation: Vec::new(),
        }
    }
}

/// What an operation leaves for others and needs from them.
fn touches(op: RegisterOp) -> Touches {
    let needs = match op {
        RegisterOp::Read(value) | RegisterOp::Cas(value, _) => Touched::one(value),
        RegisterOp::Differs(_) => Touched::Everything,
        RegisterOp::Write(_) => Touched::Nothing,
    };
    let provides = op.writes().map_or(Touched::Nothing, Touched::one);
    Touches { provides, needs }
}

/// An operation of the log as evidence shows it.
pub(super) fn view(logged: &Logged, values: &Values) -> OperationView {
    let value = |id: u32| values.value(id).clone();
    let (f, asked, result) = match (logged.told, logged.op) {
        (Some((from, to)), _) => (
            "cas",
            Value::from(vec![value(from), value(to)]),
            Value::Null,
        ),
        (None, RegisterOp::Write(written)) => ("write", value(written), Value::Null),
        (None, RegisterOp::Read(seen)) => ("read", Value::Null, value(seen)),
        // Only a compare-and-set is lowered to these.
        (None, RegisterOp::Differs(_) | RegisterOp::Cas(..)) => ("cas", Value::Null, Value::Null),
    };
    logged.view(f.to_owned(), asked, result)
}
