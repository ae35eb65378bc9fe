//! The nodes, and what is seen of them from outside.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use harness::Name;
use harness::capability::{ProcessState, Signal};
use harness::db::{Db, DbError};
use harness::local::{LocalCluster, SshTarget};
use harness::remote::ssh::{ConfigFile, SshOptions, SshRemote};
use harness::remote::{Command, Node};
use nemeses::ssh::Journaled;
use tokio::runtime::Runtime;

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

fn node(target: SshTarget) -> Node {
    let options = SshOptions {
        user: Some(target.user),
        port: Some(target.port),
        private_keys: vec![target.key],
        known_hosts: vec![target.known_hosts],
        agent: false,
        config: ConfigFile::None,
        ..SshOptions::default()
    };
    let address = target.address.to_string();
    let name = Name::from(target.name);
    let remote = SshRemote::new(name.clone(), &address, options).unwrap();
    Node {
        name,
        address,
        remote: Arc::new(remote),
    }
}

/// A system of one process that does nothing.
pub(crate) struct Sleeper;

const PID_FILE: &str = "/run/sleeper.pid";

fn start_script() -> String {
    format!(
        "[ -d /proc/$(cat {PID_FILE} 2>/dev/null || echo none) ] || \
             {{ setsid sleep 100000 </dev/null >/dev/null 2>&1 & echo $! >{PID_FILE}; }}"
    )
}

#[async_trait]
impl Db for Sleeper {
    async fn signal(&self, _: &Node, _: Signal) -> Result<ProcessState, DbError> {
        unreachable!("the agent signals")
    }

    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        let script =
            format!("[ -d /proc/$(cat {PID_FILE} 2>/dev/null || echo none) ] && echo there; true");
        let output = node
            .remote
            .exec(Command::new(script).quick().idempotent())
            .await?;
        Ok(match &*output.text() {
            "there" => ProcessState::Running,
            _ => ProcessState::Absent,
        })
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("cat {PID_FILE} 2>/dev/null; true"))
    }

    fn revive_script(&self, _: &Node, _: &[Node]) -> Option<String> {
        Some(start_script())
    }

    async fn install(&self, _: &Node) -> Result<(), DbError> {
        Ok(())
    }

    async fn wipe(&self, _: &Node) -> Result<(), DbError> {
        Ok(())
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.start(node, nodes).await
    }

    async fn start(&self, node: &Node, _: &[Node]) -> Result<(), DbError> {
        let script = start_script();
        node.remote.exec(Command::new(script)).await?;
        Ok(())
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        Ok(())
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        let script = format!("kill -9 $(cat {PID_FILE}); rm -f {PID_FILE}");
        node.remote.exec(Command::new(script)).await?;
        Ok(())
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
        Ok(String::new())
    }
}
