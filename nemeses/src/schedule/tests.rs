//! What schedules promise, and what they do when performed.

use std::sync::Arc;

use harness::client::Op;
use harness::generator::simulate::{Ending, Step, simulate};
use harness::generator::{
    BoxGenerator, GeneratorExt, Roster, any, op, phases, shortest_any, sleep,
};
use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::leaders::{LEADERS, WATCH};

const SECOND: Duration = Duration::from_secs(1);

fn timing(limit: u64, election: u64, index: usize, faults: usize) -> Timing {
    Timing {
        time_limit: Duration::from_millis(limit),
        election_timeout: Duration::from_millis(election),
        index,
        faults,
        leaders: false,
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
    let (name, rules) = (NAMES[timing.index].into(), Rules::default());
    Schedule::new(name, Seed::new(seed), timing, draw, rules)
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
        trigger: Some(Trigger {
            cause: Cause::Heal,
            delay: Duration::from_millis(250),
        }),
        value: serde_json::json!({"target": "one"}),
    };
    assert_eq!(
        activity.to_string(),
        r#"  12.345 s  for  0.800 s  {"target":"one"}  (or 0.250 s after another fault is healed)"#
    );
    assert_eq!(Cause::Election.to_string(), "a leader is elected");
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
        rested = stop.time + nanos(took + SECOND);
    }
}

#[test]
fn times_count_from_the_beginning_of_the_phase() {
    let steps = |sleep: Duration| {
        let (one, _) = schedule(3, timing(30_000, 1000, 0, 1));
        let roster = Roster {
            workers: 0,
            nodes: Vec::new(),
            nemeses: vec![NAMES[0].into()],
        };
        let ending = |_: &Step| Ending {
            latency: 0,
            kind: EventType::Ok,
        };
        // Setting up takes its time.
        let generator = phases([harness::generator::sleep(sleep).boxed(), one.boxed()]);
        let steps = simulate(roster, generator, ending).expect("it ends");
        let steps = steps.into_iter().filter(|step| &*step.op.f == START);
        steps.map(|step| step.time).collect::<Vec<_>>()
    };
    let shift = |time: &Nanos| time + nanos(100 * SECOND);
    let shifted: Vec<Nanos> = steps(Duration::ZERO).iter().map(shift).collect();
    assert_eq!(steps(100 * SECOND), shifted);
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
                    assert!(activity.trigger.is_some_and(|it| it.cause == Cause::Heal));
                    followed += 1;
                }
            }
        }
    }
    assert!(followed > 20, "{followed}");
}

/// The starts of a lone fault, while a watch tells of an election at each of these times.
fn starts_under_elections(seed: u64, timing: Timing, elections: &[Nanos]) -> Vec<Step> {
    let roster = Roster {
        workers: 1,
        nodes: Vec::new(),
        nemeses: vec![NAMES[0].into(), LEADERS.into()],
    };
    let watch = |value: Value| op(Op::new(WATCH, value)).nemesis(LEADERS).boxed();
    let mut told: Vec<BoxGenerator> = Vec::new();
    let mut before = 0;
    for at in elections {
        told.push(sleep(Duration::from_nanos(at - before)).boxed());
        told.push(watch(
            serde_json::json!({"leaders": ["n1"], "elected": ["n1"]}),
        ));
        told.push(watch(serde_json::json!({"leaders": [], "elected": []})));
        before = *at;
    }
    told.push(sleep(1000 * SECOND).boxed());
    let both = [schedule(seed, timing).0.boxed(), phases(told).boxed()];
    let ending = |_: &Step| Ending {
        latency: 0,
        kind: EventType::Ok,
    };
    let steps = simulate(roster, shortest_any(Seed::new(0), both), ending).expect("it ends");
    let starts = steps.into_iter().filter(|step| &*step.op.f == START);
    starts
        .filter(|step| step.kind == EventType::Invoke)
        .collect()
}

#[test]
fn some_activities_follow_an_election() {
    let mut followed = 0;
    for seed in 0..40 {
        let mut timing = timing(60_000, 1000, 0, 1);
        timing.leaders = true;
        let elections: Vec<Nanos> = (1..20).map(|n| 3 * n * nanos(SECOND)).collect();
        let planned = planned(seed, timing);
        for (start, activity) in starts_under_elections(seed, timing, &elections)
            .iter()
            .zip(&planned)
        {
            if start.time >= nanos(activity.start) {
                continue;
            }
            let trigger = activity.trigger.expect("only a trigger makes it early");
            assert_eq!(trigger.cause, Cause::Election);
            let after = |election: &Nanos| election + nanos(trigger.delay) <= start.time;
            assert!(elections.iter().any(after), "{start:?}");
            followed += 1;
        }
    }
    assert!(followed > 20, "{followed}");
}

#[test]
fn that_leaders_are_watched_changes_nothing_but_triggers() {
    let mut by_election = 0;
    for seed in 0..50 {
        let without = timing(60_000, 1000, 1, 2);
        let with = Timing {
            leaders: true,
            ..without
        };
        let (mut planned_with, planned_without) = (planned(seed, with), planned(seed, without));
        for (with, without) in planned_with.iter_mut().zip(&planned_without) {
            if with.trigger.is_some_and(|it| it.cause == Cause::Election) {
                assert_eq!(without.trigger, None);
                with.trigger = None;
                by_election += 1;
            }
        }
        assert_eq!(planned_with, planned_without);
    }
    assert!(by_election > 50, "{by_election}");
}

proptest! {
    #[test]
    fn elections_only_bring_forward(seed: u64, mut elections in prop::collection::vec(0u64..30_000, 0..20)) {
        elections.sort_unstable();
        let elections: Vec<Nanos> = elections.iter().map(|ms| ms * 1_000_000).collect();
        let mut timing = timing(30_000, 1000, 0, 1);
        timing.leaders = true;
        let planned = planned(seed, timing);
        let starts = starts_under_elections(seed, timing, &elections);
        prop_assert_eq!(starts.len(), planned.len());
        let mut rested = 0;
        for (start, activity) in starts.iter().zip(&planned) {
            prop_assert_eq!(&start.op.value, &activity.value);
            let latest = nanos(activity.start).max(rested);
            prop_assert!((rested..=latest).contains(&start.time), "{:?} {:?}", start, activity);
            prop_assert!(start.time == latest || activity.trigger.is_some());
            rested = start.time + nanos(activity.lasts.min(timing.time_limit) + SECOND);
            rested = rested.min(nanos(timing.time_limit) / 20 * 19 + nanos(SECOND));
        }
    }

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
                prop_assert!(rest + Duration::from_millis(1) >= election, "{pair:?}");
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
