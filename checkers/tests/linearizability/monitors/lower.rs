//! From the events of `gen_lin.py` to the operations of a monitor, for tests and benches.

use std::collections::HashMap;

use checkers::Exhausted;
use checkers::budget::Budget;
use checkers::linearizability::monitors::collection::{self, CollectionKind, Order};
use checkers::linearizability::monitors::register::{self, RegisterKind};
use checkers::linearizability::monitors::set::{self, SetKind};
use checkers::linearizability::monitors::{NEVER, Operation, Outcome, verify};
use serde_json::Value;
use store::{Event, EventType, Process};

/// The operations of a history, by the type of its object.
pub(crate) enum Lowered {
    Collection(Order, Vec<Operation<CollectionKind>>),
    Set(Vec<Operation<SetKind>>),
    Register(Vec<Operation<RegisterKind>>),
}

/// What a monitor said, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Linearizable,
    /// With the reason, which was proved again.
    Violation(String),
    NotApplicable(String),
}

impl Lowered {
    /// Runs the monitor.
    pub(crate) fn check(&self, budget: &dyn Budget) -> Result<Said, Exhausted> {
        Ok(match self {
            Lowered::Collection(order, ops) => {
                let outcome = collection::check(*order, ops, budget)?;
                said(outcome, |reason| {
                    verify::collection(*order, ops, reason).unwrap()
                })
            }
            Lowered::Set(ops) => said(set::check(ops, budget)?, |reason| {
                verify::set(ops, reason).unwrap();
            }),
            Lowered::Register(ops) => said(register::check(ops, budget)?, |reason| {
                verify::register(ops, reason).unwrap();
            }),
        })
    }
}

fn said<R: std::fmt::Debug>(outcome: Outcome<R>, prove: impl Fn(&R)) -> Said {
    match outcome {
        Outcome::Linearizable => Said::Linearizable,
        Outcome::NotApplicable(why) => Said::NotApplicable(why.to_string()),
        Outcome::Violation(reason) => {
            prove(&reason);
            Said::Violation(format!("{reason:?}"))
        }
    }
}

/// An operation that was taken in; `None` for its kind if it says nothing.
type Taken<K> = Vec<Operation<Option<K>>>;

/// Takes events, one after the other.
#[derive(Default)]
pub(crate) struct Lowering {
    order: Option<Order>,
    collection: Taken<CollectionKind>,
    set: Taken<SetKind>,
    register: Taken<RegisterKind>,
    /// By process: the place of its open operation, and what was asked.
    open: HashMap<u64, (usize, Value)>,
    /// Whether a failed compare-and-set says that the value was different.
    failures: bool,
}

impl Lowering {
    pub(crate) fn new(failures: bool) -> Lowering {
        Lowering {
            failures,
            ..Lowering::default()
        }
    }

    pub(crate) fn take(&mut self, event: &Event) {
        let Process::Client(process) = event.process else {
            return;
        };
        let (invoke, complete) = (event.index as u32, NEVER);
        if event.kind == EventType::Invoke {
            let asked = event.value.clone();
            let value = number(&asked);
            let place = match &*event.f {
                "enqueue" | "push" | "insert" | "dequeue" | "pop" | "poll" => {
                    let kind = Some(match &*event.f {
                        "enqueue" | "push" | "insert" => CollectionKind::Insert,
                        _ => CollectionKind::Remove,
                    });
                    self.order = Some(match &*event.f {
                        "enqueue" | "dequeue" => Order::First,
                        "push" | "pop" => Order::Last,
                        _ => Order::Greatest,
                    });
                    put(
                        &mut self.collection,
                        Operation {
                            kind,
                            value,
                            invoke,
                            complete,
                        },
                    )
                }
                "add" | "remove" | "contains" => {
                    let kind = match &*event.f {
                        "add" => Some(SetKind::Add),
                        "remove" => Some(SetKind::Remove),
                        _ => None,
                    };
                    put(
                        &mut self.set,
                        Operation {
                            kind,
                            value,
                            invoke,
                            complete,
                        },
                    )
                }
                "read" | "write" | "cas" => {
                    let (kind, value) = match (&*event.f, pair(&asked)) {
                        ("cas", Some((from, to))) => {
                            let from = register_number(&from);
                            (Some(RegisterKind::Cas { from }), register_number(&to))
                        }
                        ("write", _) => (Some(RegisterKind::Write), register_number(&asked)),
                        _ => (None, 0),
                    };
                    put(
                        &mut self.register,
                        Operation {
                            kind,
                            value,
                            invoke,
                            complete,
                        },
                    )
                }
                other => panic!("what is {other}?"),
            };
            self.open.insert(process, (place, asked));
            return;
        }
        let (place, asked) = self.open.remove(&process).unwrap();
        if event.kind != EventType::Info {
            self.complete(place, &asked, event);
        }
    }

    fn complete(&mut self, place: usize, asked: &Value, event: &Event) {
        let complete = event.index as u32;
        let failed = event.kind == EventType::Fail;
        match &*event.f {
            "dequeue" | "pop" | "poll" => {
                let op = &mut self.collection[place];
                op.complete = complete;
                op.value = number(&event.value);
                if event.value.is_null() {
                    op.kind = Some(CollectionKind::Empty);
                }
            }
            "enqueue" | "push" | "insert" => self.collection[place].complete = complete,
            "add" | "remove" | "contains" => {
                let (value, answer) = pair(&event.value).unwrap();
                let op = &mut self.set[place];
                op.complete = complete;
                op.value = number(&value);
                op.kind = Some(match (op.kind, answer == true) {
                    (Some(SetKind::Add), true) => SetKind::Add,
                    (Some(SetKind::Add), false) => SetKind::Present,
                    (Some(SetKind::Remove), true) => SetKind::Remove,
                    (Some(SetKind::Remove), false) => SetKind::Absent,
                    (_, true) => SetKind::Present,
                    (_, false) => SetKind::Absent,
                });
            }
            _ => {
                let op = &mut self.register[place];
                op.complete = complete;
                match &*event.f {
                    "read" => {
                        op.kind = Some(RegisterKind::Read);
                        op.value = register_number(&event.value);
                    }
                    "cas" if failed => {
                        op.kind = self.failures.then_some(RegisterKind::Differs);
                        op.value = register_number(&pair(asked).unwrap().0);
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Lowered {
        if let Some(order) = self.order {
            return Lowered::Collection(order, telling(self.collection));
        }
        match self.set.is_empty() {
            true => Lowered::Register(telling(self.register)),
            false => Lowered::Set(telling(self.set)),
        }
    }
}

fn put<K>(ops: &mut Taken<K>, op: Operation<Option<K>>) -> usize {
    ops.push(op);
    ops.len() - 1
}

fn telling<K>(ops: Taken<K>) -> Vec<Operation<K>> {
    let telling = ops.into_iter().filter_map(|op| {
        Some(Operation {
            kind: op.kind?,
            value: op.value,
            invoke: op.invoke,
            complete: op.complete,
        })
    });
    telling.collect()
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .map_or(0, |number| number.try_into().unwrap())
}

/// Absent is 0, which a register holds first.
fn register_number(value: &Value) -> u32 {
    value
        .as_u64()
        .map_or(0, |number| u32::try_from(number).unwrap() + 1)
}

fn pair(value: &Value) -> Option<(Value, Value)> {
    match value.as_array().map(Vec::as_slice) {
        Some([one, other]) => Some((one.clone(), other.clone())),
        _ => None,
    }
}
