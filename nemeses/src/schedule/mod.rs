//! When a fault acts: each fault has a schedule of its own, and schedules overlap, unless the user wants otherwise.
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
//!
//! Otherwise than that: faults may [take turns](Order::Alternating), one in force at a time; what happens when may be
//! [written down](Script), by hand or by an earlier run; there may be [quiet periods](Quiet) without any fault; and a fault
//! may want to be in force alone (its option `alone`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Update};
use harness::seed::Seed;
use harness::time::{Nanos, nanos};
use harness::{EventType, Name, Value};

use crate::leaders::{LEADERS, tells_of_election};

mod plan;
mod quiet;
mod replay;
mod script;
#[cfg(test)]
mod tests;
mod turns;

use plan::Plan;
pub use plan::{Activity, Cause, Trigger};
pub(crate) use plan::{Draw, Timing, weighted};
pub use quiet::Quiet;
pub use replay::replay;
pub use script::{Entry, Script};
pub(crate) use turns::Turns;

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

/// Who is in force beside whom, and when nobody is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Faults that are in force alone: none begins beside them, and they beside none.
    pub(crate) alone: Arc<[Name]>,
    /// Periods without any fault.
    pub(crate) quiet: Option<Quiet>,
}

impl Rules {
    fn is_alone(&self, name: &Name) -> bool {
        self.alone.contains(name)
    }
}

/// A row of activities, in order.
pub(crate) type Row = Box<dyn Iterator<Item = Activity> + Send>;

/// The generator of one fault's operations, for the fault's own thread, which it knows by the fault's name.
///
/// Give it a context that has the threads of all faults, so that it sees what the others do: it takes
/// its own thread only.
pub(crate) struct Schedule {
    name: Name,
    row: Row,
    /// When everything is stopped.
    deadline: Nanos,
    /// The least time from a stop to the next start.
    rest: Nanos,
    rules: Rules,
    next: Option<Activity>,
    state: State,
    /// Other faults that are in force, or may be.
    others: BTreeSet<Name>,
    /// When the main phase began: when this was asked first. All other times here are since then.
    began: Option<Nanos>,
}

impl Schedule {
    /// A schedule of its own with its planned activities, at most a thousand of them.
    pub(crate) fn new(
        name: Name,
        seed: Seed,
        timing: Timing,
        draw: Draw,
        rules: Rules,
    ) -> (Schedule, Vec<Activity>) {
        let plan = Plan::new(seed.named(&name), timing, draw);
        let (deadline, rest) = (timing.deadline(), timing.rest());
        let row = move || -> Row { Box::new(plan.clone()) };
        Schedule::of(name, row, deadline, rest, rules)
    }

    /// A schedule of a given row of activities.
    pub(crate) fn of(
        name: Name,
        row: impl Fn() -> Row,
        deadline: Nanos,
        rest: Nanos,
        rules: Rules,
    ) -> (Schedule, Vec<Activity>) {
        let planned = row().take(PRINTED).collect();
        let mut row = row();
        let schedule = Schedule {
            name,
            next: row.next(),
            row,
            deadline,
            rest,
            rules,
            state: State::Resting(0),
            others: BTreeSet::new(),
            began: None,
        };
        (schedule, planned)
    }

    fn in_force(&mut self, now: Nanos) {
        let lasts = self.next.as_ref().map_or(0, |next| nanos(next.lasts));
        let until = now.saturating_add(lasts).min(self.deadline);
        let quiet = self.rules.quiet.map_or(until, |quiet| quiet.begins(now));
        self.state = State::InForce(until.min(quiet));
    }

    /// The activity is over: on to the next, which may be late by now.
    fn over(&mut self, now: Nanos) {
        let earliest = now.saturating_add(self.rest);
        self.state = State::Resting(now);
        self.next = self.row.next();
        if let Some(next) = &mut self.next {
            next.start = next.start.max(Duration::from_nanos(earliest));
        }
    }

    /// Something happened that the next activity may be waiting for.
    fn happened(&mut self, cause: Cause, now: Nanos) {
        if let (State::Resting(since), Some(next)) = (self.state, &mut self.next)
            && let Some(trigger) = next.trigger.filter(|trigger| trigger.cause == cause)
        {
            let rested = since.saturating_add(self.rest);
            let start = now.saturating_add(nanos(trigger.delay)).max(rested);
            next.start = next.start.min(Duration::from_nanos(start));
        }
    }

    /// When the next activity begins: not in a quiet period.
    fn starts(&self, next: &Activity, now: Nanos) -> Nanos {
        let start = nanos(next.start);
        let quiet = self.rules.quiet;
        quiet.map_or(start, |quiet| quiet.leave(start.max(now)))
    }

    /// Whether somebody is in force, or about to be, beside whom this must not begin.
    fn must_wait(&self, ctx: &Context<'_>) -> bool {
        let me = self.rules.is_alone(&self.name);
        let faults = ctx.roster.nemeses.iter().filter(|name| {
            **name != self.name && **name != LEADERS.into() && (me || self.rules.is_alone(name))
        });
        let mut faults = faults.filter_map(|name| Some((name, ctx.roster.nemesis(name)?)));
        faults.any(|(name, thread)| self.others.contains(name) || !ctx.free.contains(thread))
    }

    /// Keeps up with what the others do.
    fn note(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let number = update.thread.checked_sub(ctx.roster.workers);
        let Some(name) = number.and_then(|number| ctx.roster.nemeses.get(number)) else {
            return;
        };
        match (&*update.op.f, update.kind) {
            (START, EventType::Ok | EventType::Info) => drop(self.others.insert(name.clone())),
            (STOP, EventType::Ok | EventType::Fail) => drop(self.others.remove(name)),
            _ => {}
        }
    }
}

impl Generator for Schedule {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(thread) = ctx.roster.nemesis(&self.name) else {
            return Peek::Done;
        };
        let began = *self.began.get_or_insert(ctx.time);
        let now = ctx.time - began;
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
            (State::Resting(_), Some(next)) => match self.starts(next, now) {
                start if now >= self.deadline || start >= self.deadline => Peek::Done,
                _ if self.must_wait(ctx) => Peek::Pending,
                start => planned(start, Op::new(START, next.value.clone())),
            },
            (State::Resting(_), None) => Peek::Done,
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {
        self.state = State::Acting;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let now = ctx.time - self.began.unwrap_or(ctx.time);
        let mine = Some(update.thread) == ctx.roster.nemesis(&self.name);
        if !mine {
            self.note(ctx, update);
        }
        match (&*update.op.f, update.kind) {
            (STOP, EventType::Ok) if !mine && update.thread >= ctx.roster.workers => {
                self.happened(Cause::Heal, now);
            }
            _ if tells_of_election(ctx, update) => self.happened(Cause::Election, now),
            _ if !mine => {}
            (START, EventType::Ok | EventType::Info) => self.in_force(now),
            // A stop of which nobody knows whether it worked is tried again.
            (STOP, EventType::Info) => {
                self.state = State::InForce(now.saturating_add(self.rest));
            }
            _ => self.over(now),
        }
    }
}
