//! What a generator costs: processor time for one operation from question to completion.
//!
//! Drives each tree the way an interpreter does (`peek`, `accept`, and `update` when the operation
//! ends), with nothing else in the loop and half of the workers busy. Run with
//! `cargo bench -p gainsay-harness --bench generators`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use harness::client::Op;
use harness::generator::{
    BoxGenerator, Generator, GeneratorExt, Occupancy, Peek, Update, any, clients_and_nemeses,
    each_thread, from_fn, independent, mix, op, reserve, simulate, sleep,
};
use harness::seed::Seed;
use harness::{EventType, generators, json};
use nix::time::{ClockId, clock_gettime};
use rand::RngExt;

const OPERATIONS: u64 = 1_000_000;
const ROUNDS: usize = 5;

/// The processor time that this thread has used: what else the machine does counts little.
fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .unwrap_or_default()
}

fn read() -> impl Generator + 'static {
    op(Op::new("read", json!(null))).repeat()
}

fn write(seed: Seed) -> impl Generator + 'static {
    let f: harness::Name = "write".into();
    from_fn(seed, move |rng, _| {
        Some(Op::new(f.clone(), json!(rng.random_range(0..5))))
    })
}

fn cas(seed: Seed) -> impl Generator + 'static {
    let f: harness::Name = "cas".into();
    from_fn(seed, move |rng, _| {
        let (from, to) = (rng.random_range(0..5), rng.random_range(0..5));
        Some(Op::new(f.clone(), json!([from, to])))
    })
}

fn register(seed: Seed) -> impl Generator + 'static {
    let members = generators![read(), write(seed.child(1)), cas(seed.child(2))];
    mix(seed.child(0), members)
}

/// What a run of many registers looks like.
fn typical(seed: Seed) -> impl Generator + 'static {
    let key = |seed: Seed, _: &_, _| register(seed).limit(200).boxed();
    independent::concurrent(seed.child(0), 10, 0.., key)
        .stagger(seed.child(1), Duration::from_nanos(10))
        .time_limit(Duration::from_secs(1_000_000))
        .clients()
}

/// Operations end in the order in which they began, when half of the workers are busy. A question is
/// asked every microsecond of the run's time.
fn drive(workers: usize, mut generator: BoxGenerator) -> Duration {
    let mut occupancy = Occupancy::new(simulate::roster(workers));
    let busy_max = workers / 2;
    let mut in_flight = VecDeque::with_capacity(workers + 1);
    let mut begun = 0;
    let mut time = 0;
    let start = used();
    while begun < OPERATIONS {
        time += 1000;
        let ctx = occupancy.context(time);
        if in_flight.len() < busy_max
            && let Peek::Op(planned) = generator.peek(&ctx)
            && planned.time <= time
        {
            generator.accept(&ctx, &planned);
            occupancy.begin(planned.thread);
            in_flight.push_back(black_box(planned));
            begun += 1;
        }
        if in_flight.len() >= busy_max
            && let Some(ended) = in_flight.pop_front()
        {
            occupancy.end(ended.thread, false);
            let update = Update {
                thread: ended.thread,
                op: &ended.op,
                kind: EventType::Ok,
                value: &ended.op.value,
                error: None,
            };
            generator.update(&occupancy.context(time), &update);
        }
    }
    used() - start
}

fn main() {
    let seed = Seed::new(1);
    type Tree = (&'static str, fn(Seed, usize) -> BoxGenerator);
    let trees: [Tree; 8] = [
        ("an operation, repeated", |_, _| read().boxed()),
        ("a random function", |seed, _| write(seed).boxed()),
        ("mix of read, write and cas", |seed, _| {
            register(seed).boxed()
        }),
        ("the same by thread", |seed, _| {
            each_thread(move |_| register(seed)).clients().boxed()
        }),
        ("the same, each thread at its own pace", |seed, workers| {
            // Together they ask for an operation every other microsecond.
            let pace = Duration::from_micros(2 * workers as u64);
            let each = move |_| register(seed).stagger(seed.child(3), pace);
            each_thread(each).clients().boxed()
        }),
        ("reserve half for reads", |seed, workers| {
            reserve([(workers / 2, read().boxed())], register(seed))
                .clients()
                .boxed()
        }),
        ("independent registers, staggered", |seed, _| {
            typical(seed).boxed()
        }),
        ("the same beside four sleeping faults", |seed, _| {
            let naps = || sleep(Duration::from_secs(1_000_000));
            let faults = any(seed, generators![naps(), naps(), naps(), naps()]);
            clients_and_nemeses(typical(seed), faults).boxed()
        }),
    ];
    println!("{:40} {:>8} {:>8} {:>8}  ns/op", "workers", 10, 100, 1000);
    for (name, tree) in trees {
        let best = [10, 100, 1000].map(|workers| {
            let rounds = (0..ROUNDS).map(|_| drive(workers, tree(seed, workers)));
            let best = rounds.min().unwrap_or_default();
            best.as_nanos() as f64 / OPERATIONS as f64
        });
        println!("{name:40} {:8.0} {:8.0} {:8.0}", best[0], best[1], best[2]);
    }
}
