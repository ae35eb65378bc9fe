//! How long each fault takes on five nodes from the decision until it is in force and seen to be, and from the decision to end it
//! until it is seen to be gone: over real SSH, on a local cluster, undo journal and evidence included; beside one SSH command a
//! node, which is how it is done elsewhere, and proves nothing. Needs root.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{Environment, ProcessState, Signal};
use harness::client::Op;
use harness::db::DbError;
use harness::fault::FaultOutcome;
use harness::local::{self, Config, Kernel, LocalCluster, run_helper_if_asked};
use harness::node::daemon::Daemon;
use harness::remote::{Command, Node};
use harness::seed::Seed;
use harness::time::RealClock;
use nemeses::ssh::PowerSwitches;
use nemeses::{BuildContext, Composition, build, parse, prepare};

use common::part::{Part, System};
use common::quantiles;
use common::ssh::node;

const ROUNDS: usize = 10;

/// Faults, on all nodes at once where that is possible.
const FAULTS: [&str; 17] = [
    "partition:majorities-ring:direction=both",
    "partition:majorities-ring:direction=both:action=reject",
    "partition:majorities-ring:direction=both:action=jam",
    "packet:loss:target=all",
    "packet:delay:target=all",
    "kill:target=all",
    "pause:target=all",
    "freeze:target=all",
    "stress:target=all",
    "stress:io:target=all",
    "clock:skew:target=all",
    "clock:drift:target=all",
    "disk:errors:target=all:probability=1",
    "disk:slow:target=all",
    "power:target=all",
    "corrupt:bitflip:target=n1",
    "rolling:restart:target=one",
];

/// Those that nodes with kernels of their own do by `tc`.
const BY_TC: [&str; 4] = [
    "partition:majorities-ring:direction=both",
    "packet:loss:target=all",
    "packet:delay:target=all",
    "kill:target=all",
];

/// A system that sends packets to all others, writes, syncs and looks at the clock, a hundred times a second.
struct Busy;

const DATA: &str = "/var/lib/gainsay-bench/data";

fn busy(nodes: &[Node]) -> Daemon {
    let addresses: Vec<&str> = nodes.iter().map(|node| &*node.address).collect();
    let program = format!(
        "use Socket; use IO::Handle; socket($s, PF_INET, SOCK_DGRAM, 0); \
         while (1) {{ for (qw({})) {{ send($s, 'hello', 0, sockaddr_in(9, inet_aton($_))) }} \
         if (open($f, '>>', '{DATA}/log')) {{ print $f 'x' x 4000; $f->flush; $f->sync; close $f }} \
         $t = time; select(undef, undef, undef, 0.01) }}",
        addresses.join(" ")
    );
    Daemon {
        program: "/usr/bin/perl".to_owned(),
        args: vec!["-e".to_owned(), program],
        log: "/var/log/gainsay-bench.log".to_owned(),
        pid_file: "/run/gainsay-bench.pid".to_owned(),
        ..Daemon::default()
    }
}

#[async_trait]
impl Part for Busy {
    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        busy(nodes).start(&*node.remote).await?;
        Ok(())
    }

    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        Ok(busy(&[]).state(&*node.remote).await?)
    }

    async fn signal(&self, node: &Node, signal: Signal) -> Result<ProcessState, DbError> {
        Ok(busy(&[]).signal(&*node.remote, signal).await?)
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(busy(&[]).pids_script())
    }

    fn revive_script(&self, _: &Node, nodes: &[Node]) -> Option<String> {
        Some(busy(nodes).revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![DATA.to_owned()]
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        Ok(())
    }

    async fn version(&self, _: &Node) -> Result<String, DbError> {
        Ok("1".to_owned())
    }
}

fn main() {
    run_helper_if_asked();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** SKIPPED: a local cluster needs root ***\n");
        return;
    }
    println!("| | in force: median, ms | 90 % | worst | gone: median, ms | 90 % | worst |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (kernel, count, faults) in [
        (Kernel::Shared, 5, &FAULTS[..]),
        (Kernel::Own, 3, &BY_TC[..]),
    ] {
        let mut config = Config::new(count);
        config.kernel = kernel;
        let cluster = local::up(&config, &mut |line| eprintln!("{line}")).unwrap();
        println!("| {count} nodes, kernel {kernel:?} | | | | | | |");
        cluster
            .in_switch_netns(|| measure(&cluster, faults))
            .unwrap();
        cluster.down().unwrap();
    }
}

fn measure(cluster: &LocalCluster, faults: &[&str]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nodes: Vec<Node> = cluster.ssh_targets().into_iter().map(node).collect();
        let db = Arc::new(System(Busy));
        let journaled = nemeses::ssh::journaled(&nodes, "bench");
        let mut env =
            nemeses::ssh::ssh_environment(&journaled, db.clone(), PowerSwitches::default());
        // Nobody leads, and nobody is waited for to lead.
        env.primaries = None;
        if faults.iter().any(|fault| fault.starts_with("disk")) {
            prepare(&parse("disk,power").unwrap(), &env).await.unwrap();
        }
        join_all(nodes.iter().map(|node| db.start(node, &nodes))).await;
        let mut commands = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let command = || Command::new("date +%s.%N");
            join_all(nodes.iter().map(|node| node.remote.exec(command()))).await;
            commands.push(began.elapsed());
        }
        println!("| one SSH command a node | {} | | | |", quantiles(commands));
        for fault in faults {
            let (starts, stops) = rounds(fault, &env, &nodes).await;
            println!(
                "| `{fault}` | {} | {} |",
                quantiles(starts),
                quantiles(stops)
            );
        }
        nemeses::dismantle(&env).await.unwrap();
        nemeses::ssh::leave(&journaled).await;
    });
}

/// Puts a fault in force and ends it, again and again.
async fn rounds(fault: &str, env: &Environment, nodes: &[Node]) -> (Vec<Duration>, Vec<Duration>) {
    let ctx = BuildContext {
        seed: Seed::new(3),
        time_limit: Duration::from_secs(100_000),
        election_timeout: Duration::from_secs(1),
        leaders: false,
        nodes: env.nodes.clone(),
        zones: nemeses::Zones::default(),
        clock: Arc::new(RealClock::start()),
        composition: Composition::default(),
    };
    let mut package = build(&parse(fault).unwrap(), &ctx).unwrap().remove(0);
    package.fault.probe(env).await.unwrap();
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for planned in package.planned.iter().take(ROUNDS) {
        let start = Op::new("start", planned.value.clone());
        let began = Instant::now();
        let started = package.fault.invoke(env, &start).await;
        starts.push(began.elapsed());
        assert!(
            matches!(started, FaultOutcome::Installed(_)),
            "{fault}: {started:?}"
        );
        let began = Instant::now();
        let stopped = package
            .fault
            .invoke(env, &Op::new("stop", serde_json::Value::Null))
            .await;
        stops.push(began.elapsed());
        assert!(
            !matches!(stopped, FaultOutcome::Indeterminate(_)),
            "{fault}: {stopped:?}"
        );
        join_all(nodes.iter().map(|node| Busy.start(node, nodes))).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (starts, stops)
}
