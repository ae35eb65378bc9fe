//! What a schedule plans: the row of activities, drawn one by one from the seed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use harness::Value;
use harness::seed::{Rng, Seed};
use harness::time::{Nanos, nanos};
use rand::RngExt;
use rand::seq::IndexedRandom;

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
    /// Whether the run watches who leads.
    pub(crate) leaders: bool,
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
    pub(crate) fn deadline(&self) -> Nanos {
        self.limit() / 20 * 19
    }

    /// The least time from a stop to the next start.
    pub(crate) fn rest(&self) -> Nanos {
        self.election()
    }

    /// The shortest duration that is drawn.
    fn shortest(&self) -> Nanos {
        self.election() / 10
    }

    /// The longest duration that is drawn, except for the first activity's.
    fn longest(&self) -> Nanos {
        let fitting = match self.interval {
            Some(interval) => nanos(interval) / 2,
            // Three activities of this length fit what is left after the first fifth: two cycles,
            // drawn a quarter longer at most, and the third activity itself.
            None => (self.deadline() - self.limit() / 5) * 2 / (5 * self.idle_share() + 2),
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
    /// When it starts, from the beginning of the main phase; at the latest, if it has a trigger.
    pub start: Duration,
    /// How long it is in force.
    pub lasts: Duration,
    /// What lets it start before its time.
    pub trigger: Option<Trigger>,
    /// What it does: the value of its `start`.
    pub value: Value,
}

/// What lets an activity start before its time, if it happens while the fault rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// What has to happen.
    pub cause: Cause,
    /// How long after that it starts.
    pub delay: Duration,
}

/// What may happen in a run that a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another fault is healed.
    Heal,
    /// A leader is elected.
    Election,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Heal => "another fault is healed",
            Cause::Election => "a leader is elected",
        })
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, lasts) = (self.start.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{start:8.3} s  for {lasts:6.3} s  {}", self.value)?;
        match self.trigger {
            None => Ok(()),
            Some(Trigger { cause, delay }) => {
                write!(f, "  (or {:.3} s after {cause})", delay.as_secs_f64())
            }
        }
    }
}

/// The row of activities, drawn one by one.
#[derive(Clone)]
pub(super) struct Plan {
    seed: Seed,
    pub(super) timing: Timing,
    draw: Draw,
    number: u64,
    /// When the next activity starts.
    cursor: Nanos,
}

impl Plan {
    pub(super) fn new(seed: Seed, timing: Timing, draw: Draw) -> Plan {
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

    /// Whether and how soon it follows something that happens.
    fn trigger(&self, rng: &mut Rng) -> Option<Trigger> {
        // The first activity is early enough as it is.
        let follows_heal = self
            .follows(Cause::Heal, rng)
            .filter(|_| self.timing.faults > 1);
        // A stream of its own: whether leaders are watched changes nothing else of the plan.
        let rng = &mut self.seed.named("election").child(self.number).rng();
        let follows_election = self
            .follows(Cause::Election, rng)
            .filter(|_| self.timing.leaders);
        follows_heal
            .or(follows_election)
            .filter(|_| self.number > 0)
    }

    fn follows(&self, cause: Cause, rng: &mut Rng) -> Option<Trigger> {
        let follows = rng.random_bool(0.25);
        let delay = scaled(self.timing.rest(), rng.random_range(0.0..1.0));
        let delay = Duration::from_nanos(to_milliseconds(delay));
        follows.then_some(Trigger { cause, delay })
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
            trigger: self.trigger(rng),
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
