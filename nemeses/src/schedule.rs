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
//!   quarter each for three), and rests at least half an election time-out. As most activities leave a
//!   majority at work, the cluster works more than half of the time.
//! - **Events.** A quarter of the activities do not wait for their time when another fault is healed
//!   before it: they begin shortly after the heal, when the cluster is recovering. Their planned time is
//!   the latest.
//! - **End.** All stops come before 95 % of the time limit.
//!
//! The options `interval` and `duration` override the second and third points.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use harness::client::Op;
use harness::generator::{Context, Generator, Peek, Planned, Thread, Update};
use harness::seed::{Rng, Seed};
use harness::time::{Nanos, nanos};
use harness::{EventType, Value};
use rand::RngExt;
use rand::seq::IndexedRandom;

/// The operation that begins an activity.
pub const START: &str = "start";
/// The operation that ends an activity.
pub const STOP: &str = "stop";

/// How many activities a schedule prints at most.
const PRINTED: usize = 1000;
/// How many activities the durations are capped for.
const FITTING: u64 = 3;

/// Draws what an activity does, as the value of its `start`, from its number and a random stream.
pub(crate) type Draw = Arc<dyn Fn(u64, &mut Rng) -> Value + Send + Sync>;

/// One of some weighted choices, among those that are possible.
///
/// # Panics
/// If none is possible: every table has a choice that always is.
pub(crate) fn weighted<'a, T>(
    choices: &'a [(T, u32)],
    possible: impl Fn(&T) -> bool,
    rng: &mut Rng,
) -> &'a T {
    let weight = |(choice, weight): &(T, u32)| if possible(choice) { *weight } else { 0 };
    match choices.choose_weighted(rng, weight) {
        Ok((choice, _)) => choice,
        Err(error) => panic!("nothing to choose from: {error}"),
    }
}

/// What the times of a schedule depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long the main phase lasts.
    pub(crate) time_limit: Duration,
    /// About how long an election takes.
    pub(crate) election_timeout: Duration,
    /// The fault's place among the faults of the run.
    pub(crate) index: usize,
    /// How many faults the run has.
    pub(crate) faults: usize,
    /// From one start to the next on average, if the user chose it.
    pub(crate) interval: Option<Duration>,
    /// How long an activity lasts, if the user chose it.
    pub(crate) duration: Option<Duration>,
}

impl Timing {
    fn limit(&self) -> Nanos {
        nanos(self.time_limit)
    }

    fn election(&self) -> Nanos {
        nanos(self.election_timeout).max(MILLISECOND)
    }

    /// When everything is stopped.
    fn deadline(&self) -> Nanos {
        self.limit() / 20 * 19
    }

    /// The least time from a stop to the next start.
    fn rest(&self) -> Nanos {
        self.election() / 2
    }

    /// The shortest duration that is drawn.
    fn shortest(&self) -> Nanos {
        self.election() / 10
    }

    /// The longest duration that is drawn, except for the first activity's.
    fn longest(&self) -> Nanos {
        let fitting = match self.interval {
            Some(interval) => nanos(interval) / 2,
            // All after the first fifth, for cycles that are drawn a quarter longer at most.
            None => (self.deadline() - self.limit() / 5) / FITTING / self.idle_share() / 5 * 4,
        };
        fitting.clamp(self.shortest(), self.election().saturating_mul(10))
    }

    /// A cycle is this many times as long as the fault is in force.
    fn idle_share(&self) -> u64 {
        self.faults as u64 + 1
    }
}

const MILLISECOND: Nanos = 1_000_000;

/// An activity of a fault, as planned.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Its number, from 0.
    pub number: u64,
    /// When it starts, from the beginning of the run; at the latest, if `after_heal` is set.
    pub start: Duration,
    /// How long it is in force.
    pub lasts: Duration,
    /// If another fault is healed while this one rests: it starts so long after that.
    pub after_heal: Option<Duration>,
    /// What it does: the value of its `start`.
    pub value: Value,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, lasts) = (self.start.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{start:8.3} s  for {lasts:6.3} s  {}", self.value)?;
        match self.after_heal {
            None => Ok(()),
            Some(delay) => {
                let delay = delay.as_secs_f64();
                write!(f, "  (or {delay:.3} s after another fault is healed)")
            }
        }
    }
}

/// The row of activities, drawn one by one.
#[derive(Clone)]
struct Plan {
    seed: Seed,
    timing: Timing,
    draw: Draw,
    number: u64,
    /// When the next activity starts.
    cursor: Nanos,
}

impl Plan {
    fn new(seed: Seed, timing: Timing, draw: Draw) -> Plan {
        // A slot of the first fifth for each fault; none at its very edges.
        let (from, to) = (timing.limit() / 50, timing.limit() / 5);
        let slot = (to - from) / timing.faults.max(1) as u64;
        let within = seed.named("first").rng().random_range(0.0..0.9);
        let cursor = from + slot * timing.index as u64 + scaled(slot, within);
        Plan {
            seed,
            timing,
            draw,
            number: 0,
            cursor: to_milliseconds(cursor),
        }
    }

    fn duration(&self, rng: &mut Rng) -> Nanos {
        let (shortest, longest) = match self.number {
            0 => (self.timing.election(), self.timing.longest()),
            _ => (self.timing.shortest(), self.timing.longest()),
        };
        let drawn = log_uniform(shortest, longest, rng);
        self.timing.duration.map_or(drawn, nanos)
    }

    /// From this start to the next, for an activity that lasts so long.
    fn start_to_start(&self, lasts: Nanos, rng: &mut Rng) -> Nanos {
        let timing = &self.timing;
        let jitter: f64 = rng.random_range(-1.0..1.0);
        let cycle = match (timing.interval, timing.duration) {
            (Some(interval), _) => scaled(nanos(interval), 1.0 + jitter / 2.0),
            (None, Some(_)) => scaled(
                lasts.saturating_mul(timing.idle_share()),
                1.0 + jitter / 4.0,
            ),
            (None, None) => {
                let counted = lasts.min(timing.longest());
                scaled(counted * timing.idle_share(), 1.0 + jitter / 4.0)
            }
        };
        cycle.max(lasts + timing.rest())
    }

    /// Whether and how soon it follows another fault's healing.
    fn after_heal(&self, rng: &mut Rng) -> Option<Duration> {
        let follows = rng.random_bool(0.25);
        let delay = scaled(self.timing.rest(), rng.random_range(0.0..1.0));
        let possible = self.number > 0 && self.timing.faults > 1;
        (follows && possible).then(|| Duration::from_nanos(to_milliseconds(delay)))
    }
}

impl Iterator for Plan {
    type Item = Activity;

    fn next(&mut self) -> Option<Activity> {
        let rng = &mut self.seed.child(self.number).rng();
        let start = self.cursor;
        let left = self.timing.deadline().saturating_sub(start);
        if left < self.timing.shortest() {
            return None;
        }
        let lasts = self.duration(rng).min(left);
        let activity = Activity {
            number: self.number,
            start: Duration::from_nanos(start),
            lasts: Duration::from_nanos(to_milliseconds(lasts)),
            after_heal: self.after_heal(rng),
            value: (self.draw)(self.number, rng),
        };
        self.cursor = to_milliseconds(start.saturating_add(self.start_to_start(lasts, rng)));
        self.number += 1;
        Some(activity)
    }
}

/// A number between two, uniform on a logarithmic scale. The lower one, where they are out of order.
fn log_uniform(low: Nanos, high: Nanos, rng: &mut Rng) -> Nanos {
    let exponent: f64 = rng.random_range(0.0..1.0);
    let ratio = high.max(low) as f64 / low as f64;
    scaled(low, ratio.powf(exponent))
}

fn scaled(time: Nanos, factor: f64) -> Nanos {
    (time as f64 * factor) as Nanos
}

/// Rounded to a whole millisecond, one at least: finer is neither kept by timers nor read by people,
/// and rounding hides the last digits of floating-point functions, which differ between machines.
fn to_milliseconds(time: Nanos) -> Nanos {
    ((time + MILLISECOND / 2) / MILLISECOND).max(1) * MILLISECOND
}

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

/// The generator of one fault's operations, for the fault's own thread.
///
/// Give it a context that has the threads of all faults, so that it sees what the others do: it takes
/// its own thread only.
pub(crate) struct Schedule {
    plan: Plan,
    next: Option<Activity>,
    state: State,
}

impl Schedule {
    /// A schedule with its planned activities, at most a thousand of them.
    pub(crate) fn new(seed: Seed, timing: Timing, draw: Draw) -> (Schedule, Vec<Activity>) {
        let mut plan = Plan::new(seed, timing, draw);
        let planned = plan.clone().take(PRINTED).collect();
        let next = plan.next();
        let state = State::Resting(0);
        (Schedule { plan, next, state }, planned)
    }

    fn thread(&self, ctx: &Context<'_>) -> Thread {
        ctx.roster.workers + self.plan.timing.index
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

    fn another_healed(&mut self, now: Nanos) {
        if let (State::Resting(since), Some(next)) = (self.state, &mut self.next)
            && let Some(delay) = next.after_heal
        {
            let rested = since.saturating_add(self.plan.timing.rest());
            let start = now.saturating_add(nanos(delay)).max(rested);
            next.start = next.start.min(Duration::from_nanos(start));
        }
    }
}

impl Generator for Schedule {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let thread = self.thread(ctx);
        let planned = |time, op| match ctx.free.contains(thread) {
            true => Peek::Op(Planned { time, thread, op }),
            false => Peek::Pending,
        };
        match (self.state, &self.next) {
            (State::InForce(until), _) => planned(until, Op::new(STOP, Value::Null)),
            (State::Acting, _) => Peek::Pending,
            (State::Resting(_), Some(next)) if ctx.time < self.plan.timing.deadline() => {
                planned(nanos(next.start), Op::new(START, next.value.clone()))
            }
            (State::Resting(_), _) => Peek::Done,
        }
    }

    fn accept(&mut self, _ctx: &Context<'_>, _planned: &Planned) {
        self.state = State::Acting;
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let now = ctx.time;
        let mine = update.thread == self.thread(ctx);
        match (&*update.op.f, update.kind) {
            (STOP, EventType::Ok) if !mine && update.thread >= ctx.roster.workers => {
                self.another_healed(now);
            }
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
