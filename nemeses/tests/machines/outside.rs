//! The nodes, and what is seen of them from outside.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use harness::capability::ProcessState;
use harness::db::DbError;
use harness::local::LocalCluster;
use harness::node::daemon::Daemon;
use harness::remote::{Command, Node};
use nemeses::ssh::Journaled;
use tokio::runtime::Runtime;

use crate::part::{Part, System};
use crate::ssh::node;

/// How long something may take that takes a moment.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) struct Machines {
    pub(crate) cluster: LocalCluster,
    pub(crate) runtime: Runtime,
    /// Sessions of the tests' own, beside those of what is tested.
    outside: Vec<Node>,
}

impl Machines {
    pub(crate) fn new(cluster: LocalCluster) -> Machines {
        let runtime = Runtime::new().unwrap();
        let outside = cluster.ssh_targets().into_iter().map(node).collect();
        Machines {
            cluster,
            runtime,
            outside,
        }
    }

    pub(crate) fn down(self) {
        drop(self.runtime);
        self.cluster.down().unwrap();
    }

    /// The nodes, as a run has them.
    pub(crate) fn journaled(&self) -> Vec<Journaled> {
        journaled_of(&self.cluster)
    }

    /// The sessions of the tests' own to a node that was started anew.
    pub(crate) fn renew(&self, i: usize) {
        self.outside[i - 1].remote.renew();
    }

    /// What a script says on a node, counted from 1.
    pub(crate) fn says(&self, i: usize, script: &str) -> String {
        let command = Command::new(script).idempotent();
        let output = self
            .runtime
            .block_on(self.outside[i - 1].remote.run(command))
            .unwrap();
        assert_eq!(output.status, 0, "n{i}: {script}: {output:?}");
        output.text().into_owned()
    }

    /// How far a node's clock is ahead of this machine's: not less than the first, not more than the second, in seconds.
    pub(crate) fn ahead(&self, i: usize) -> (f64, f64) {
        let command = || Command::new("date +%s.%N").quick().idempotent();
        let remote = &self.outside[i - 1].remote;
        // The session is open then.
        self.runtime.block_on(remote.run(command())).unwrap();
        let before = now();
        let output = self.runtime.block_on(remote.run(command())).unwrap();
        let after = now();
        let theirs: f64 = output.text().parse().unwrap();
        (theirs - after, theirs - before)
    }

    /// Waits until something is seen.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The nodes of a cluster, as a run has them.
pub(crate) fn journaled_of(cluster: &LocalCluster) -> Vec<Journaled> {
    let nodes = cluster.ssh_targets().into_iter().map(node);
    nodes.map(|node| Journaled::new(&node, "test")).collect()
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// This machine's clock, less the one that nobody sets.
pub(crate) fn setting_of_our_clock() -> f64 {
    let read = |clock| nix::time::clock_gettime(clock).unwrap();
    let [realtime, raw] = [
        nix::time::ClockId::CLOCK_REALTIME,
        nix::time::ClockId::CLOCK_MONOTONIC,
    ]
    .map(read);
    let seconds = |time: nix::sys::time::TimeSpec| Duration::from(time).as_secs_f64();
    seconds(realtime) - seconds(raw)
}

/// A system of one process that does nothing.
pub(crate) struct Sleeper {
    /// With so many megabytes that it has used, or none of its own.
    megabytes: Option<u32>,
}

impl Sleeper {
    pub(crate) fn system() -> Arc<System<Sleeper>> {
        Arc::new(System(Sleeper { megabytes: None }))
    }

    /// One that has memory.
    pub(crate) fn large() -> Arc<System<Sleeper>> {
        let megabytes = Some(100);
        Arc::new(System(Sleeper { megabytes }))
    }

    fn process(&self) -> Daemon {
        match self.megabytes {
            None => process(),
            Some(megabytes) => Daemon {
                program: "/usr/bin/perl".to_owned(),
                args: vec![
                    "-e".to_owned(),
                    format!("$x = 'x' x ({megabytes} << 20); sleep 100000"),
                ],
                ..process()
            },
        }
    }

    pub(crate) async fn end(node: &Node) {
        let stopped = process().stop(&*node.remote, Duration::ZERO).await;
        stopped.unwrap();
    }
}

fn process() -> Daemon {
    Daemon {
        program: "/bin/sleep".to_owned(),
        args: vec!["100000".to_owned()],
        log: "/var/log/sleeper.log".to_owned(),
        // A reboot leaves it.
        pid_file: "/var/lib/sleeper.pid".to_owned(),
        ..Daemon::default()
    }
}

#[async_trait]
impl Part for Sleeper {
    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        Ok(self.process().state(&*node.remote).await?)
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(self.process().pids_script())
    }

    fn revive_script(&self, _: &Node, _: &[Node]) -> Option<String> {
        Some(self.process().revive_script())
    }

    async fn start(&self, node: &Node, _: &[Node]) -> Result<(), DbError> {
        self.process().start(&*node.remote).await?;
        Ok(())
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        Ok(())
    }

    async fn version(&self, _: &Node) -> Result<String, DbError> {
        Ok(String::new())
    }
}
