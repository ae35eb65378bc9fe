//! Short words for the tests of generators.

use std::time::Duration;

use store::{EventType, Process, json};

use super::simulate::Step;
use super::{Generator, GeneratorExt, Thread, op, ops};
use crate::client::Op;

/// An operation without arguments.
pub(super) fn call(f: &str) -> Op {
    Op::new(f, json!(null))
}

/// One operation, again and again.
pub(super) fn many(f: &str) -> impl Generator + 'static {
    op(call(f)).repeat()
}

/// Operations with the values 0, 1, 2 …
pub(super) fn integers(f: &'static str) -> impl Generator + 'static {
    ops((0..).map(move |n| Op::new(f, json!(n))))
}

pub(super) fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Time and function of each step.
pub(super) fn times(steps: &[Step]) -> Vec<(u64, &str)> {
    steps.iter().map(|step| (step.time, &*step.op.f)).collect()
}

/// Function, thread and time of each step.
pub(super) fn rows(steps: &[Step]) -> Vec<(&str, Thread, u64)> {
    steps
        .iter()
        .map(|step| (&*step.op.f, step.thread, step.time))
        .collect()
}

/// The functions of the steps.
pub(super) fn fs(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| &*step.op.f).collect()
}

/// The integer values of the steps.
pub(super) fn values(steps: &[Step]) -> Vec<u64> {
    steps
        .iter()
        .filter_map(|step| step.op.value.as_u64())
        .collect()
}

/// The threads of the steps, each once, ascending.
pub(super) fn threads(steps: &[Step]) -> Vec<Thread> {
    let mut threads: Vec<_> = steps.iter().map(|step| step.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    threads
}

/// Time, process and kind of each step of a client.
pub(super) fn outcomes(steps: &[Step]) -> Vec<(u64, u64, EventType)> {
    let outcome = |step: &Step| match step.process {
        Process::Client(process) => Some((step.time, process, step.kind)),
        Process::Nemesis(_) => None,
    };
    steps.iter().filter_map(outcome).collect()
}

/// How many steps have a function.
pub(super) fn count(steps: &[Step], f: &str) -> usize {
    steps.iter().filter(|step| *step.op.f == *f).count()
}
