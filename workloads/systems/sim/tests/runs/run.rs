//! A run of the suite, as the controller makes one: the same interpreter, faults and schedules.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::generator::{BoxGenerator, GeneratorExt, Roster, any, shortest_any};
use harness::interpreter::{Config, Interpreter, PhaseEnd, Stop};
use harness::options::Options;
use harness::seed::Seed;
use harness::time::SharedClock;
use sim::SimSuite;
use store::{Event, Name, Recorder, recorder};
use workloads::{BuildRequest, Suite, World, WorldRequest};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) workload: &'a str,
    pub(crate) nodes: usize,
    pub(crate) nemesis: &'a str,
    pub(crate) time_limit: Duration,
    pub(crate) options: Vec<(&'a str, &'a str)>,
    pub(crate) seed: u64,
}

impl Spec<'_> {
    /// Registers on three nodes, all faults, ten seconds, no bug.
    pub(crate) fn new(seed: u64) -> Spec<'static> {
        Spec {
            workload: "register",
            nodes: 3,
            nemesis: "partition,kill,pause",
            time_limit: Duration::from_secs(10),
            options: Vec::new(),
            seed,
        }
    }
}

/// Runs it, and returns the history.
pub(crate) fn run(spec: &Spec<'_>) -> Vec<Event> {
    let options = Options::read(&SimSuite.options(), spec.options.iter().copied()).unwrap();
    let names: Vec<Name> = (1..=spec.nodes).map(|n| format!("n{n}").into()).collect();
    let seed = Seed::new(spec.seed);
    let world = SimSuite
        .world(&WorldRequest {
            options: &options,
            node_names: &names,
            seed: seed.named("world"),
        })
        .unwrap();
    let World::Simulated {
        runtime,
        environment,
        election_timeout,
        ..
    } = &world
    else {
        panic!("the simulated store is simulated");
    };
    let clock: SharedClock = Arc::new(runtime.clock());
    let workers = 2 * spec.nodes;
    let plan = SimSuite
        .plan(
            &world,
            &BuildRequest {
                workload: spec.workload,
                options: &options,
                nodes: &[],
                node_names: &names,
                workers,
                time_limit: spec.time_limit,
                op_timeout: Duration::from_secs(5),
                seed: seed.named("workload"),
                run: 0,
                clock: clock.clone(),
            },
        )
        .unwrap();
    let context = nemeses::BuildContext {
        seed: seed.named("nemesis"),
        time_limit: spec.time_limit,
        election_timeout: *election_timeout,
        leaders: true,
        nodes: names.clone(),
        zones: nemeses::Zones::default(),
        composition: nemeses::Composition::default(),
        clock: clock.clone(),
    };
    let packages = nemeses::build(&nemeses::parse(spec.nemesis).unwrap(), &context).unwrap();
    let watch = nemeses::leader_watch(&context);
    let mut generators: Vec<BoxGenerator> = vec![plan.generator.clients().boxed()];
    let mut faults = Vec::new();
    for package in packages {
        generators.push(package.schedule);
        faults.push(package.fault);
    }
    faults.push(watch.fault);
    let all = shortest_any(
        seed.named("watch"),
        [any(seed, generators).boxed(), watch.schedule],
    );
    let (events, recorder) = collector();
    let mut interpreter = Interpreter::new(Config {
        clock,
        roster: Arc::new(Roster {
            workers,
            nodes: names,
            nemeses: faults.iter().map(|fault| fault.name().into()).collect(),
        }),
        connect: plan.connect,
        faults,
        environment: (**environment).clone(),
        recorder: recorder.clone(),
        op_timeout: Duration::from_secs(5),
        open_timeout: Duration::from_secs(5),
        fault_timeout: Duration::from_secs(30),
        stop: Stop::new(),
    });
    let main = all.time_limit(spec.time_limit).boxed();
    let ended = runtime.block_on(async {
        let phase = interpreter.run(main).await.unwrap();
        for (fault, healed) in interpreter.heal().await {
            healed.unwrap_or_else(|error| panic!("{fault}: {error}"));
        }
        if let Some(last) = plan.final_generator {
            interpreter.run_final(last.clients().boxed()).await.unwrap();
        }
        interpreter.close().await;
        phase.end
    });
    assert_eq!(ended.unwrap(), PhaseEnd::Exhausted);
    recorder.finish().unwrap();
    std::mem::take(&mut *events.lock().unwrap())
}

/// A recorder that keeps everything in memory.
fn collector() -> (Arc<Mutex<Vec<Event>>>, Recorder) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let collected = events.clone();
    let observer = move |new: &[Event]| collected.lock().unwrap().extend_from_slice(new);
    let options = recorder::Options {
        observers: vec![Box::new(observer)],
        ..recorder::Options::default()
    };
    (events, Recorder::in_memory(options).unwrap())
}
