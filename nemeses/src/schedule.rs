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
use harness::generator::{Context, Generator, Peek, Planned, Update};
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

/// The generator of one fault's operations, for the fault's own thread, which it knows by the fault's name.
///
/// Give it a context that has the threads of all faults, so that it sees what the others do: it takes
/// its own thread only.
pub(crate) struct Schedule {
    name: &'static str,
    plan: Plan,
    next: Option<Activity>,
    state: State,
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
        let Some(thread) = ctx.roster.nemesis(self.name) else {
            return Peek::Done;
        };
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
        let mine = Some(update.thread) == ctx.roster.nemesis(self.name);
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

#[cfg(test)]
mod tests {
    use harness::generator::simulate::{Ending, Step, simulate};
    use harness::generator::{GeneratorExt, Roster, any};
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timing(limit: u64, election: u64, index: usize, faults: usize) -> Timing {
        Timing {
            time_limit: Duration::from_millis(limit),
            election_timeout: Duration::from_millis(election),
            index,
            faults,
            interval: None,
            duration: None,
        }
    }

    const NAMES: [&str; 4] = ["partition", "kill", "pause", "skew"];

    fn schedule(seed: u64, timing: Timing) -> (Schedule, Vec<Activity>) {
        let draw: Draw = Arc::new(|number, rng| {
            let drawn: u32 = rng.random_range(0..1000);
            serde_json::json!([number, drawn])
        });
        Schedule::new(NAMES[timing.index], Seed::new(seed), timing, draw)
    }

    fn planned(seed: u64, timing: Timing) -> Vec<Activity> {
        schedule(seed, timing).1
    }

    /// The invocations of schedules, when each operation takes so long and ends as told by the number of
    /// operations before it.
    fn perform(
        schedules: Vec<Schedule>,
        takes: Duration,
        outcome: impl Fn(usize) -> EventType,
    ) -> Vec<Step> {
        let roster = Roster {
            workers: 4,
            nodes: Vec::new(),
            nemeses: NAMES[..schedules.len()]
                .iter()
                .map(|name| (*name).into())
                .collect(),
        };
        let schedules = schedules.into_iter().map(GeneratorExt::boxed);
        let mut count = 0;
        let complete = |_: &Step| {
            count += 1;
            Ending {
                latency: nanos(takes),
                kind: outcome(count - 1),
            }
        };
        let steps = simulate(roster, any(Seed::new(0), schedules), complete);
        let mut steps = steps.expect("it ends");
        steps.retain(|step| step.kind == EventType::Invoke);
        steps
    }

    #[test]
    fn the_seed_decides_everything() {
        let timing = timing(30_000, 1000, 1, 3);
        assert_eq!(planned(7, timing), planned(7, timing));
        assert_ne!(planned(7, timing), planned(8, timing));
    }

    #[test]
    fn first_activities_of_faults_are_spread() {
        for seed in 0..100 {
            let firsts: Vec<Duration> = (0..3)
                .map(|i| planned(seed, timing(30_000, 1000, i, 3))[0].start)
                .collect();
            assert!(firsts.is_sorted(), "{firsts:?}");
        }
    }

    #[test]
    fn the_user_sets_interval_and_duration() {
        let mut timing = timing(100_000, 1000, 0, 2);
        timing.interval = Some(10 * SECOND);
        timing.duration = Some(4 * SECOND);
        for seed in 0..50 {
            let planned = planned(seed, timing);
            assert!(planned.iter().rev().skip(1).all(|a| a.lasts == 4 * SECOND));
            for pair in planned.windows(2) {
                let cycle = pair[1].start - pair[0].start;
                assert!((5 * SECOND..=15 * SECOND).contains(&cycle), "{cycle:?}");
            }
        }
    }

    #[test]
    fn a_schedule_is_printed() {
        let activity = Activity {
            number: 3,
            start: Duration::from_millis(12_345),
            lasts: Duration::from_millis(800),
            after_heal: Some(Duration::from_millis(250)),
            value: serde_json::json!({"target": "one"}),
        };
        assert_eq!(
            activity.to_string(),
            r#"  12.345 s  for  0.800 s  {"target":"one"}  (or 0.250 s after another fault is healed)"#
        );
    }

    #[test]
    fn starts_and_stops_alternate_and_keep_to_the_plan() {
        let (one, planned) = schedule(3, timing(30_000, 1000, 0, 1));
        let took = Duration::from_millis(20);
        let steps = perform(vec![one], took, |_| EventType::Ok);
        assert_eq!(steps.len(), 2 * planned.len());
        let mut rested = 0;
        for (pair, activity) in steps.chunks(2).zip(&planned) {
            let (start, stop) = (&pair[0], &pair[1]);
            assert_eq!((&*start.op.f, &*stop.op.f), (START, STOP));
            assert_eq!(start.op.value, activity.value);
            // Late only where the rest after the one before would be too short.
            assert_eq!(start.time, nanos(activity.start).max(rested));
            let until = start.time + nanos(took + activity.lasts);
            assert_eq!(stop.time, until.min(28_500_000_000));
            rested = stop.time + nanos(took + SECOND / 2);
        }
    }

    #[test]
    fn what_was_skipped_is_not_stopped_and_what_may_stand_is_stopped_until_it_is_gone() {
        let took = Duration::from_millis(20);
        let one = || schedule(3, timing(30_000, 1000, 0, 1));
        let steps = perform(vec![one().0], took, |_| EventType::Fail);
        assert_eq!(steps.len(), one().1.len());
        assert!(steps.iter().all(|step| &*step.op.f == START));

        // The first stop fails twice.
        let outcome = |before| {
            if before < 3 {
                EventType::Info
            } else {
                EventType::Ok
            }
        };
        let steps = perform(vec![one().0], took, outcome);
        let functions: Vec<&str> = steps.iter().take(5).map(|step| &*step.op.f).collect();
        assert_eq!(functions, [START, STOP, STOP, STOP, START]);
    }

    #[test]
    fn some_activities_follow_a_heal() {
        let mut followed = 0;
        for seed in 0..20 {
            let both = (0..2).map(|i| schedule(seed, timing(60_000, 1000, i, 2)));
            let (schedules, planned): (Vec<_>, Vec<_>) = both.unzip();
            let steps = perform(schedules, SECOND / 50, |_| EventType::Ok);
            for (index, planned) in planned.iter().enumerate() {
                let starts = steps.iter().filter(|step| step.thread == 4 + index);
                let starts = starts.filter(|step| &*step.op.f == START);
                for (start, activity) in starts.zip(planned) {
                    assert_eq!(start.op.value, activity.value);
                    if start.time < nanos(activity.start) {
                        assert!(activity.after_heal.is_some());
                        followed += 1;
                    }
                }
            }
        }
        assert!(followed > 20, "{followed}");
    }

    proptest! {
        #[test]
        fn plans_keep_their_promises(
            seed: u64,
            limit in 8_000u64..600_000,
            election in 50u64..1_000,
            faults in 1usize..=4,
        ) {
            let mut in_force = 0.0;
            for index in 0..faults {
                let planned = planned(seed, timing(limit, election, index, faults));
                let (limit, election) = (Duration::from_millis(limit), Duration::from_millis(election));
                prop_assert!(planned.len() >= 3, "{planned:?}");
                prop_assert!(planned[0].start <= limit / 5);
                prop_assert!(planned[0].lasts >= election);
                for activity in &planned {
                    let rounding = Duration::from_millis(1);
                    prop_assert!(activity.lasts + rounding >= election / 10);
                    prop_assert!(activity.lasts <= election * 10);
                    prop_assert!(activity.start + activity.lasts <= limit / 20 * 19 + rounding);
                }
                for pair in planned.windows(2) {
                    let rest = pair[1].start - pair[0].start - pair[0].lasts;
                    prop_assert!(rest + Duration::from_millis(1) >= election / 2, "{pair:?}");
                }
                let total: Duration = planned.iter().map(|activity| activity.lasts).sum();
                in_force += total.as_secs_f64() / limit.as_secs_f64();
            }
            // At most 1/(faults + 1) each on average; jitter and the longer first activity add some.
            prop_assert!(in_force < faults as f64 / (faults + 1) as f64 * 1.5, "{in_force}");
        }

        #[test]
        fn all_is_stopped_before_the_end(seed: u64, faults in 1usize..=3, takes in 1u64..3_000) {
            let timing = |i| timing(10_000, 1000, i, faults);
            let schedules = (0..faults).map(|i| schedule(seed, timing(i)).0).collect();
            let takes = Duration::from_millis(takes);
            let steps = perform(schedules, takes, |_| EventType::Ok);
            for fault in 0..faults {
                let own: Vec<_> = steps.iter().filter(|step| step.thread == 4 + fault).collect();
                prop_assert!(own.len() >= 2 && own.len().is_multiple_of(2));
                for pair in own.chunks(2) {
                    prop_assert_eq!((&*pair[0].op.f, &*pair[1].op.f), (START, STOP));
                    prop_assert!(pair[0].time < 9_500_000_000);
                    prop_assert!(pair[1].time <= 9_500_000_000 + nanos(takes));
                }
            }
        }
    }
}
