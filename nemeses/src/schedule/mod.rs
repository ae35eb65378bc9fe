//! When a fault acts: each fault has a schedule of its own, and schedules overlap.
//!
//! A schedule is a row of *activities*: start, last for a while, stop, rest. It is drawn from the seed by
//! the fault's name and the activity's number, so the same seed gives the same row whatever happens in
//! the run, and the row can be printed before it.
//!
//! - **Scale.** What a fault does to a cluster depends on how its length compares with the election
//!   time-out, so durations are log-uniform from a tenth to ten times it. The first is at least one
//!   election time-out, that it may matter.
//! - **Early.** The first activity begins within the first fifth of the time limit; faults' first
//!   activities are spread over it. Durations are capped so that three activities fit the time.
//! - **Duty.** A fault is in force at most `1/(faults + 1)` of the time on average (a half when alone, a
//!   quarter each for three), and rests at least one election time-out. As most activities leave a
//!   majority at work, the cluster works more than half of the time.
//! - **Events.** A quarter of the activities do not wait for their time when another fault is healed
//!   before it: they begin shortly after the heal, when the cluster is recovering. As many of the others
//!   do so when a leader is elected, which has much to learn yet (where [leaders](crate::leader_watch) are
//!   watched). *Shortly* is up to one election time-out. Their planned time is the latest.
//! - **End.** All stops come before 95 % of the time limit.
//!
//! The options `interval` and `duration` override the second and third points.

use std::time::Duration;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Update};
use harness::seed::Seed;
use harness::time::{Nanos, nanos};
use harness::{EventType, Value};

use crate::leaders::tells_of_election;

mod plan;
#[cfg(test)]
mod tests;

use plan::Plan;
pub use plan::{Activity, Cause, Trigger};
pub(crate) use plan::{Draw, Timing, weighted};

/// The operation that begins an activity.
pub const START: &str = "start";
/// The operation that ends an activity.
pub const STOP: &str = "stop";

/// How many activities a schedule prints at most.
const PRINTED: usize = 1000;

/// What the fault is doing, as far as its schedule knows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing is in force, since then.
    Resting(Nanos),
    /// A `start` or a `stop` is under way.
    Acting,
    /// In force, to be stopped then.
    InForce(Nanos),
}

/// The generator of one fault's operations, for the fault's own thread, which it knows by the fault's name.
///
/// Give it a context that has the threads of all faults, so that it sees what the others do: it takes
/// its own thread only.
pub(crate) struct Schedule {
    name: &'static str,
    plan: Plan,
    next: Option<Activity>,
    state: State,
    /// When the main phase began: when this was asked first. All other times here are since then.
    began: Option<Nanos>,
}

impl Schedule {
    /// A schedule with its planned activities, at most a thousand of them.
    pub(crate) fn new(
        name: &'static str,
        seed: Seed,
        timing: Timing,
        draw: Draw,
    ) -> (Schedule, Vec<Activity>) {
        let mut plan = Plan::new(seed.named(name), timing, draw);
        let planned = plan.clone().take(PRINTED).collect();
        let schedule = Schedule {
            name,
            next: plan.next(),
            plan,
            state: State::Resting(0),
            began: None,
        };
        (schedule, planned)
    }

    fn in_force(&mut self, now: Nanos) {
        let lasts = self.next.as_ref().map_or(0, |next| nanos(next.lasts));
        let until = now.saturating_add(lasts).min(self.plan.timing.deadline());
        self.state = State::InForce(until);
    }

    /// The activity is over: on to the next, which may be late by now.
    fn over(&mut self, now: Nanos) {
        let earliest = now.saturating_add(self.plan.timing.rest());
        self.state = State::Resting(now);
        self.next = self.plan.next();
        if let Some(next) = &mut self.next {
            next.start = next.start.max(Duration::from_nanos(earliest));
        }
    }

    /// Something happened that the next activity may be waiting for.
    fn happened(&mut self, cause: Cause, now: Nanos) {
        if let (State::Resting(since), Some(next)) = (self.state, &mut self.next)
            && let Some(trigger) = next.trigger.filter(|trigger| trigger.cause == cause)
        {
            let rested = since.saturating_add(self.plan.timing.rest());
            let start = now.saturating_add(nanos(trigger.delay)).max(rested);
            next.start = next.start.min(Duration::from_nanos(start));
        }
    }
}

impl Generator for Schedule {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(thread) = ctx.roster.nemesis(self.name) else {
            return Peek::Done;
        };
        let began = *self.began.get_or_insert(ctx.time);
        let planned = |time: Nanos, op| match ctx.free.contains(thread) {
            true => Peek::Op(Planned {
                time: began.saturating_add(time),
                thread,
                op,
            }),
            false => Peek::Pending,
        };
        match (self.state, &self.next) {
            (State::InForce(until), _) => planned(until, Op::new(STOP, Value::Null)),
            (State::Acting, _) => Peek::Pending,
            (State::Resting(_), Some(next)) if ctx.time - began < self.plan.timing.deadline() => {
                planned(nanos(next.start), Op::new(START, next.value.clone()))
            }
            (State::Resting(_), _) => Peek::Done,
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {
        self.state = State::Acting;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let now = ctx.time - self.began.unwrap_or(ctx.time);
        let mine = Some(update.thread) == ctx.roster.nemesis(self.name);
        match (&*update.op.f, update.kind) {
            (STOP, EventType::Ok) if !mine && update.thread >= ctx.roster.workers => {
                self.happened(Cause::Heal, now);
            }
            _ if tells_of_election(ctx, update) => self.happened(Cause::Election, now),
            _ if !mine => {}
            (START, EventType::Ok | EventType::Info) => self.in_force(now),
            // A stop of which nobody knows whether it worked is tried again.
            (STOP, EventType::Info) => {
                self.state = State::InForce(now.saturating_add(self.plan.timing.rest()));
            }
            _ => self.over(now),
        }
    }
}
