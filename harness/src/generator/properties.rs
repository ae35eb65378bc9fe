//! Properties of generators of any shape.
//!
//! The simulator itself fails a generator that answers differently when asked twice, plans an operation
//! for a busy thread or waits for the past; so every simulation here is a test of that, too.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;
use store::{EventType, Value, json};

use super::simulate::{Ending, Step, Stuck, roster, simulate};
use super::testing::{many, ns};
use super::*;
use crate::generators;
use crate::seed::Seed;

/// A generator, as data.
#[derive(Clone, Debug)]
enum Shape {
    Nothing,
    Once,
    Random,
    Sleep(u64),
    Log,
    Concat(Vec<Shape>),
    Phases(Vec<Shape>),
    Cycle(Box<Shape>),
    FlipFlop(Box<Shape>, Box<Shape>),
    Any(Vec<Shape>),
    ShortestAny(Vec<Shape>),
    Mix(Vec<Shape>),
    Clients(Box<Shape>),
    Nemeses(Box<Shape>),
    Reserve(usize, Box<Shape>, Box<Shape>),
    EachThread(Box<Shape>),
    EachProcess(Box<Shape>),
    Independent(usize, Box<Shape>),
    Limit(u64, Box<Shape>),
    Repeat(Box<Shape>),
    ProcessLimit(usize, Box<Shape>),
    ConcurrencyLimit(usize, Box<Shape>),
    TimeLimit(u64, Box<Shape>),
    UntilOk(Box<Shape>),
    Stagger(u64, Box<Shape>),
    Delay(u64, Box<Shape>),
    CycleTimes(u64, Box<Shape>, u64, Box<Shape>),
    Cache(u64, Box<Shape>),
    Filter(Box<Shape>),
    Rename(Box<Shape>),
}

fn random(seed: Seed) -> impl Generator + 'static {
    from_fn(seed, |rng, _| {
        Some(Op::new(
            "random",
            json!(rng.random_range(0..1_000_000_000u64)),
        ))
    })
}

fn build_all(shapes: &[Shape], seed: Seed) -> Vec<BoxGenerator> {
    let numbered = shapes.iter().zip(1..);
    numbered
        .map(|(shape, n)| build(shape, seed.child(n)))
        .collect()
}

fn build(shape: &Shape, seed: Seed) -> BoxGenerator {
    let inner = seed.child(1);
    let other = seed.child(2);
    match shape.clone() {
        Shape::Nothing => nothing().boxed(),
        Shape::Once => many("once").once().boxed(),
        Shape::Random => random(seed).boxed(),
        Shape::Sleep(time) => sleep(ns(time)).boxed(),
        Shape::Log => log("a message").boxed(),
        Shape::Concat(shapes) => concat(build_all(&shapes, seed)).boxed(),
        Shape::Phases(shapes) => phases(build_all(&shapes, seed)).boxed(),
        Shape::Cycle(shape) => cycle(move |round| build(&shape, inner.child(round))).boxed(),
        Shape::FlipFlop(a, b) => flip_flop(build(&a, inner), build(&b, other)).boxed(),
        Shape::Any(shapes) => super::any(seed, build_all(&shapes, seed)).boxed(),
        Shape::ShortestAny(shapes) => shortest_any(seed, build_all(&shapes, seed)).boxed(),
        Shape::Mix(shapes) => mix(seed, build_all(&shapes, seed)).boxed(),
        Shape::Clients(shape) => build(&shape, inner).clients().boxed(),
        Shape::Nemeses(shape) => build(&shape, inner).nemeses().boxed(),
        Shape::Reserve(n, a, b) => reserve([(n, build(&a, inner))], build(&b, other)).boxed(),
        Shape::EachThread(shape) => each_thread(move |_| build(&shape, inner)).boxed(),
        Shape::EachProcess(shape) => each_process(move |_| build(&shape, inner)).boxed(),
        Shape::Independent(size, shape) => {
            let make = move |seed, _: &Value, _| build(&shape, seed);
            independent::concurrent(seed, size, 0..20, make).boxed()
        }
        Shape::Limit(n, shape) => build(&shape, inner).limit(n).boxed(),
        Shape::Repeat(shape) => build(&shape, inner).repeat().boxed(),
        Shape::ProcessLimit(n, shape) => build(&shape, inner).process_limit(n).boxed(),
        Shape::ConcurrencyLimit(n, shape) => build(&shape, inner).concurrency_limit(n).boxed(),
        Shape::TimeLimit(time, shape) => build(&shape, inner).time_limit(ns(time)).boxed(),
        Shape::UntilOk(shape) => build(&shape, inner).until_ok().boxed(),
        Shape::Stagger(gap, shape) => build(&shape, inner).stagger(seed, ns(gap)).boxed(),
        Shape::Delay(gap, shape) => build(&shape, inner).delay(ns(gap)).boxed(),
        Shape::CycleTimes(a, first, b, second) => {
            let windows = [
                (ns(a), build(&first, inner)),
                (ns(b), build(&second, other)),
            ];
            cycle_times(windows).boxed()
        }
        Shape::Cache(time, shape) => build(&shape, inner).cache(ns(time)).boxed(),
        Shape::Filter(shape) => {
            let odd = |op: &Op| op.value.as_u64().is_none_or(|n| n % 2 == 1);
            build(&shape, inner).filter(odd).boxed()
        }
        Shape::Rename(shape) => build(&shape, inner).f_map([("once", "only")]).boxed(),
    }
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        1 => Just(Shape::Nothing),
        3 => Just(Shape::Once),
        6 => Just(Shape::Random),
        1 => (0..200u64).prop_map(Shape::Sleep),
        1 => Just(Shape::Log),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let one = inner.clone().prop_map(Box::new);
        let some = proptest::collection::vec(inner, 0..4);
        let one = move || one.clone();
        let some = move || some.clone();
        let shapes: Vec<BoxedStrategy<Shape>> = vec![
            some().prop_map(Shape::Concat).boxed(),
            some().prop_map(Shape::Phases).boxed(),
            one().prop_map(Shape::Cycle).boxed(),
            (one(), one())
                .prop_map(|(a, b)| Shape::FlipFlop(a, b))
                .boxed(),
            some().prop_map(Shape::Any).boxed(),
            some().prop_map(Shape::ShortestAny).boxed(),
            some().prop_map(Shape::Mix).boxed(),
            one().prop_map(Shape::Clients).boxed(),
            one().prop_map(Shape::Nemeses).boxed(),
            (0..4usize, one(), one())
                .prop_map(|(n, a, b)| Shape::Reserve(n, a, b))
                .boxed(),
            one().prop_map(Shape::EachThread).boxed(),
            one().prop_map(Shape::EachProcess).boxed(),
            (1..4usize, one())
                .prop_map(|(n, a)| Shape::Independent(n, a))
                .boxed(),
            (0..9u64, one())
                .prop_map(|(n, a)| Shape::Limit(n, a))
                .boxed(),
            one().prop_map(Shape::Repeat).boxed(),
            (0..9usize, one())
                .prop_map(|(n, a)| Shape::ProcessLimit(n, a))
                .boxed(),
            (0..4usize, one())
                .prop_map(|(n, a)| Shape::ConcurrencyLimit(n, a))
                .boxed(),
            (0..500u64, one())
                .prop_map(|(time, a)| Shape::TimeLimit(time, a))
                .boxed(),
            one().prop_map(Shape::UntilOk).boxed(),
            (0..50u64, one())
                .prop_map(|(gap, a)| Shape::Stagger(gap, a))
                .boxed(),
            (0..50u64, one())
                .prop_map(|(gap, a)| Shape::Delay(gap, a))
                .boxed(),
            (0..90u64, one(), 0..90u64, one())
                .prop_map(|(t, a, u, b)| Shape::CycleTimes(t, a, u, b))
                .boxed(),
            (0..90u64, one())
                .prop_map(|(time, a)| Shape::Cache(time, a))
                .boxed(),
            one().prop_map(Shape::Filter).boxed(),
            one().prop_map(Shape::Rename).boxed(),
        ];
        proptest::strategy::Union::new(shapes)
    })
}

/// Shapes whose choices may not depend on who is quicker, with an operation for any thread at any time;
/// or for some threads only.
fn steady_shape(some_threads: bool) -> impl Strategy<Value = Shape> {
    Just(Shape::Random).prop_recursive(4, 16, 3, move |inner| {
        let one = inner.clone().prop_map(Box::new);
        let some = proptest::collection::vec(inner, 1..4);
        let restrictions = u32::from(some_threads);
        prop_oneof![
            2 => some.clone().prop_map(Shape::Any),
            2 => some.prop_map(Shape::Mix),
            1 => (0..4usize, one.clone(), one.clone()).prop_map(|(n, a, b)| Shape::Reserve(n, a, b)),
            1 => one.clone().prop_map(Shape::EachThread),
            1 => one.clone().prop_map(Shape::Rename),
            restrictions => one.clone().prop_map(Shape::Clients),
            restrictions => one.prop_map(Shape::Nemeses),
        ]
    })
}

/// Latencies up to a limit and endings of all kinds, at random.
fn rough(seed: u64, latency_max: u64) -> impl FnMut(&Step) -> Ending {
    let mut rng = Seed::new(seed).rng();
    move |_| Ending {
        latency: rng.random_range(0..=latency_max),
        kind: [EventType::Ok, EventType::Fail, EventType::Info][rng.random_range(0..3)],
    }
}

/// What each thread was asked to do on each key, in order.
fn streams(steps: &[Step]) -> BTreeMap<(Thread, String), Vec<&Op>> {
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.kind == EventType::Invoke) {
        let key = step
            .op
            .key
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default();
        streams
            .entry((step.thread, key))
            .or_default()
            .push(&step.op);
    }
    streams
}

/// Where streams are in both runs, one is the beginning of the other.
fn assert_same_streams(a: &[Step], b: &[Step]) -> Result<(), TestCaseError> {
    let (a, b) = (streams(a), streams(b));
    for (who, ours) in &a {
        let theirs = b.get(who).map(Vec::as_slice).unwrap_or_default();
        let common = ours.len().min(theirs.len());
        prop_assert_eq!(
            &ours[..common],
            &theirs[..common],
            "thread and key {:?}",
            who
        );
    }
    Ok(())
}

fn run(
    workers: usize,
    generator: impl Generator + 'static,
    complete: impl FnMut(&Step) -> Ending,
) -> Result<Vec<Step>, TestCaseError> {
    let steps = simulate(roster(workers), generator, complete);
    steps.map_err(|stuck: Stuck| TestCaseError::fail(stuck.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// No shape gets stuck, exceeds its limit, or gives a thread two operations at once; and it is the
    /// same every time.
    #[test]
    fn any_shape_keeps_the_contract(
        shape in any_shape(),
        workers in 1..6usize,
        seed in 0..1000u64,
        latency_max in 0..100u64,
    ) {
        let bounded = || build(&shape, Seed::new(seed)).limit(200).time_limit(ns(20_000));
        let steps = run(workers, bounded(), rough(seed, latency_max))?;
        let mut busy = ThreadSet::default();
        for step in &steps {
            prop_assert_eq!(busy.contains(step.thread), step.kind != EventType::Invoke);
            match step.kind {
                EventType::Invoke => busy.insert(step.thread),
                _ => busy.remove(step.thread),
            }
        }
        prop_assert!(busy.is_empty());
        prop_assert!(steps.len() <= 400);
        prop_assert!(steps.is_sorted_by_key(|step| step.time));
        prop_assert_eq!(&steps, &run(workers, bounded(), rough(seed, latency_max))?);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each thread's stream is the same, however the operations end and whenever.
    #[test]
    fn streams_do_not_depend_on_timing(
        shape in steady_shape(true),
        workers in 1..6usize,
        seed in 0..1000u64,
        gap in 0..50u64,
    ) {
        let generator = || build(&shape, Seed::new(seed)).stagger(Seed::new(seed), ns(gap)).limit(300);
        let slow = run(workers, generator(), rough(1, 300))?;
        let quick = run(workers, generator(), rough(2, 3))?;
        assert_same_streams(&slow, &quick)?;
        prop_assert_eq!(slow.len(), quick.len());
    }

    /// The same for many keys, where groups come to their keys at different times.
    #[test]
    fn keys_do_not_depend_on_timing(
        shape in steady_shape(false),
        workers in 1..9usize,
        group in 1..4usize,
        seed in 0..1000u64,
    ) {
        let generator = || {
            let shape = shape.clone();
            let make = move |seed, _: &Value, _| build(&shape, seed).limit(10).boxed();
            independent::concurrent(Seed::new(seed), group, 0..15, make).clients()
        };
        let slow = run(workers, generator(), rough(1, 300))?;
        let quick = run(workers, generator(), rough(2, 3))?;
        assert_same_streams(&slow, &quick)?;
        // Every key was worked on in full, both times.
        prop_assert_eq!(slow.len(), 2 * 15 * 10);
        prop_assert_eq!(quick.len(), 2 * 15 * 10);
        let groups = |steps: &[Step]| -> Vec<(String, usize)> {
            let key_and_group = |step: &Step| {
                let key = step.op.key.as_ref().map(Value::to_string).unwrap_or_default();
                (key, step.thread / group)
            };
            let mut all: Vec<_> = steps.iter().map(key_and_group).collect();
            all.sort();
            all.dedup();
            all
        };
        prop_assert_eq!(groups(&slow), groups(&quick));
    }
}

#[test]
fn the_properties_can_fail() {
    // Two runs of different seeds have different streams.
    let of = |seed| {
        let steps = run(2, random(Seed::new(seed)).limit(20), rough(1, 10));
        steps.unwrap_or_default()
    };
    assert!(assert_same_streams(&of(1), &of(1)).is_ok());
    assert!(assert_same_streams(&of(1), &of(2)).is_err());
    // A generator that waits for what never comes is found.
    let stuck = concat(generators![many("a").once(), Never]);
    assert!(run(2, stuck, rough(1, 10)).is_err());
}

/// Waits for ever.
struct Never;

impl Generator for Never {
    fn peek(&mut self, _: &Context<'_>) -> Peek {
        Peek::Pending
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
}
