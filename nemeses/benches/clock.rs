//! How long it takes from the decision until the clocks of a system's processes on five nodes are wrong and seen to be, and until
//! they are as they were: over real SSH, on a local cluster, journal and looks from inside included; beside one SSH command a
//! node, which is how it is done elsewhere. Needs root.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use harness::Name;
use harness::capability::{
    ClockChange, ClockKind, ClockScope, ClockSetting, Clocks, ProcessState, Signal,
};
use harness::db::{Db, DbError};
use harness::local::{self, Config, LocalCluster, run_helper_if_asked};
use harness::remote::{Command, Node};
use nemeses::ssh::{Journaled, NodeClocks};

use common::{node, quantiles};

const ROUNDS: usize = 50;

/// A system that is a shell in a loop.
struct Loop;

#[async_trait]
impl Db for Loop {
    async fn start(&self, node: &Node, _: &[Node]) -> Result<(), DbError> {
        let program = "while (1) { $t = time; select(undef, undef, undef, 0.01) }";
        let start = format!(
            "setsid perl -e '{program}' </dev/null >/dev/null 2>&1 & echo $! >/run/loop.pid"
        );
        node.remote.exec(Command::new(start)).await?;
        Ok(())
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some("cat /run/loop.pid".to_owned())
    }

    async fn install(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn wipe(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn start_fresh(&self, _: &Node, _: &[Node]) -> Result<(), DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn signal(&self, _: &Node, _: Signal) -> Result<ProcessState, DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn state(&self, _: &Node) -> Result<ProcessState, DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn teardown(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("nobody asks for it here")
    }

    async fn primaries(&self, _: &[Node]) -> Vec<Name> {
        Vec::new()
    }

    fn log_files(&self) -> Vec<String> {
        Vec::new()
    }

    fn election_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn version(&self, _: &Node) -> Result<String, DbError> {
        unreachable!("nobody asks for it here")
    }
}

fn main() {
    run_helper_if_asked();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** SKIPPED: a local cluster needs root ***\n");
        return;
    }
    let cluster = local::up(&Config::new(5), &mut |line| eprintln!("{line}")).unwrap();
    let measured = measure(&cluster);
    cluster.down().unwrap();
    let names = [
        "first change",
        "another change",
        "as they were",
        "one SSH command a node",
    ];
    for (name, times) in names.iter().zip(measured) {
        println!("{name}: {}", quantiles(times));
    }
}

fn measure(cluster: &LocalCluster) -> [Vec<Duration>; 4] {
    cluster.enter_switch_netns().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let nodes: Vec<Node> = cluster.ssh_targets().into_iter().map(node).collect();
    let journaled: Vec<Journaled> = nodes
        .iter()
        .map(|node| Journaled::new(node, "bench"))
        .collect();
    let clocks = NodeClocks::new(&journaled, Arc::new(Loop));
    let setting = |offset_ms: i64| ClockSetting {
        scope: ClockScope::Process,
        clocks: ClockKind::Realtime,
        change: ClockChange::Skew { offset_ms },
    };
    runtime.block_on(async {
        for node in &nodes {
            Loop.start(node, &nodes).await.unwrap();
        }
        clocks.probe(ClockScope::Process).await.unwrap();
        let change = async |offset_ms: i64| {
            let began = Instant::now();
            let setting = setting(offset_ms);
            let changes = nodes.iter().map(|node| clocks.change(&node.name, &setting));
            let seen = try_join_all(changes).await.unwrap();
            assert!(seen.iter().flatten().all(|seen| seen.effective), "{seen:?}");
            began.elapsed()
        };
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            times[0].push(change(60_000).await);
            times[1].push(change(-60_000).await);
            let began = Instant::now();
            let restored = nodes.iter().map(|node| clocks.restore(&node.name));
            try_join_all(restored).await.unwrap();
            times[2].push(began.elapsed());
            let began = Instant::now();
            let date = || Command::new("date +%s.%N");
            join_all(nodes.iter().map(|node| node.remote.exec(date()))).await;
            times[3].push(began.elapsed());
        }
        times
    })
}
