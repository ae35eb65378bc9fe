//! Runs a generator on virtual time, without clients, to see what it would do.
//!
//! For tests of generators, those of suites too. Everything is deterministic: at equal times an
//! invocation comes before completions, and completions come in the order of their invocations. Every
//! answer is asked for twice and checked, so that a generator that breaks its contract fails here.

use std::collections::BTreeMap;

use store::{EventType, Process};
use thiserror::Error;

use super::{Generator, GeneratorExt, Occupancy, Peek, Roster, Thread, Update};
use crate::client::Op;
use crate::time::Nanos;

/// How long an operation of [`perfect`] and its like takes.
pub const LATENCY: Nanos = 10;

/// More steps than this are taken for an endless generator.
const STEPS_MAX: usize = 1_000_000;

/// An event of a simulated run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub time: Nanos,
    /// Who.
    pub thread: Thread,
    /// Under which process.
    pub process: Process,
    /// An invocation, or how it ended.
    pub kind: EventType,
    /// What.
    pub op: Op,
}

/// How a simulated operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How long after the invocation.
    pub latency: Nanos,
    /// `Ok`, `Fail` or `Info`.
    pub kind: EventType,
}

/// Why a simulation did not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stuck {
    /// The generator waits for an operation to complete, but none is in flight.
    #[error("at {at} ns the generator is pending, but nothing is in flight")]
    Pending {
        /// The virtual time.
        at: Nanos,
    },
    /// There is no end in sight.
    #[error("more than {STEPS_MAX} steps; limit the generator")]
    Endless,
}

/// A roster of client workers and one fault, `nemesis`, on five nodes.
pub fn roster(workers: usize) -> Roster {
    Roster {
        workers,
        nodes: (1..=5).map(|node| format!("n{node}").into()).collect(),
        nemeses: vec!["nemesis".into()],
    }
}

/// Runs a generator to its end. The function says how each invocation ends.
///
/// # Panics
/// When the generator breaks the contract of generators.
pub fn simulate(
    roster: Roster,
    generator: impl Generator + 'static,
    mut complete: impl FnMut(&Step) -> Ending,
) -> Result<Vec<Step>, Stuck> {
    let mut generator = generator.validate();
    let mut occupancy = Occupancy::new(roster);
    let mut steps: Vec<Step> = Vec::new();
    // By time, and then by the order of invocation.
    let mut in_flight: BTreeMap<(Nanos, usize), Step> = BTreeMap::new();
    let mut time = 0;
    for _ in 0..STEPS_MAX {
        let ctx = occupancy.context(time);
        let answer = generator.peek(&ctx);
        assert_eq!(
            answer,
            generator.peek(&ctx),
            "asked again, it says something else"
        );
        let completes = in_flight.first_key_value().map(|((at, _), _)| *at);
        match answer {
            Peek::Op(planned) if planned.time <= time => {
                generator.accept(&ctx, &planned);
                let invocation = Step {
                    time,
                    thread: planned.thread,
                    process: occupancy.process(planned.thread),
                    kind: EventType::Invoke,
                    op: planned.op,
                };
                occupancy.begin(planned.thread);
                let Ending { latency, kind } = complete(&invocation);
                let at = time + latency;
                let completion = Step {
                    time: at,
                    kind,
                    ..invocation.clone()
                };
                in_flight.insert((at, steps.len()), completion);
                steps.push(invocation);
            }
            Peek::Op(planned) if completes.is_none_or(|at| planned.time <= at) => {
                time = planned.time;
            }
            Peek::Wait(until) if completes.is_none_or(|at| until < at) => time = until,
            answer => match in_flight.pop_first() {
                Some((_, step)) => {
                    time = step.time;
                    occupancy.end(step.thread, step.kind == EventType::Info);
                    let update = Update {
                        thread: step.thread,
                        op: &step.op,
                        kind: step.kind,
                        value: &step.op.value,
                        error: None,
                    };
                    generator.update(&occupancy.context(time), &update);
                    steps.push(step);
                }
                None if answer == Peek::Done => return Ok(steps),
                None => return Err(Stuck::Pending { at: time }),
            },
        }
    }
    Err(Stuck::Endless)
}

fn invocations(
    workers: usize,
    generator: impl Generator + 'static,
    latency: Nanos,
    kind: EventType,
) -> Vec<Step> {
    let steps = simulate(roster(workers), generator, |_| Ending { latency, kind });
    let mut steps = steps.unwrap_or_else(|stuck| panic!("{stuck}"));
    steps.retain(|step| step.kind == EventType::Invoke);
    steps
}

/// The invocations when every operation ends `ok` in no time.
///
/// # Panics
/// When the generator gets [`Stuck`].
pub fn quick(workers: usize, generator: impl Generator + 'static) -> Vec<Step> {
    invocations(workers, generator, 0, EventType::Ok)
}

/// The invocations when every operation ends `ok` after 10 ns.
///
/// # Panics
/// When the generator gets [`Stuck`].
pub fn perfect(workers: usize, generator: impl Generator + 'static) -> Vec<Step> {
    invocations(workers, generator, LATENCY, EventType::Ok)
}

/// The invocations when every operation ends `info` after 10 ns.
///
/// # Panics
/// When the generator gets [`Stuck`].
pub fn perfect_info(workers: usize, generator: impl Generator + 'static) -> Vec<Step> {
    invocations(workers, generator, LATENCY, EventType::Info)
}

/// All steps when each thread's operations end in turn `fail`, `info` and `ok`, after 10 ns.
///
/// # Panics
/// When the generator gets [`Stuck`].
pub fn imperfect(workers: usize, generator: impl Generator + 'static) -> Vec<Step> {
    let mut last: BTreeMap<Thread, EventType> = BTreeMap::new();
    let steps = simulate(roster(workers), generator, |invocation| {
        let kind = match last.get(&invocation.thread) {
            Some(EventType::Fail) => EventType::Info,
            Some(EventType::Info) => EventType::Ok,
            _ => EventType::Fail,
        };
        last.insert(invocation.thread, kind);
        Ending {
            latency: LATENCY,
            kind,
        }
    });
    steps.unwrap_or_else(|stuck| panic!("{stuck}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Context, Planned, op};
    use store::json;

    #[test]
    fn what_never_ends_is_said_to_be_stuck() {
        struct Never;
        impl Generator for Never {
            fn peek(&mut self, _: &Context<'_>) -> Peek {
                Peek::Pending
            }
            fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
        }
        let ok = |_: &Step| Ending {
            latency: 5,
            kind: EventType::Ok,
        };
        assert_eq!(
            simulate(roster(2), Never, ok),
            Err(Stuck::Pending { at: 0 })
        );
        let endless = op(Op::new("read", json!(null))).repeat();
        assert_eq!(simulate(roster(2), endless, ok), Err(Stuck::Endless));
    }
}
