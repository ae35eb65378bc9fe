//! Proof that a healed system works again.
//!
//! That every node says it is healthy is not enough: a member may answer while it cannot commit, or commit
//! while another still has old data, and the reads that end a run would then be taken for lost writes. So a
//! fresh value is written through every node, read back through it as strongly as the system can, and then
//! looked for on every node itself, without asking the others, until all have it. This is done in rounds,
//! until two in a row pass on all nodes, with an election time-out between them: a node that comes back may
//! well depose the leader at first.
//!
//! What is written belongs to no workload and is in no history.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use store::Name;

use crate::time::{Clock, Nanos, nanos, sleep, timeout};

/// Writes and reads registers that are nobody else's, one for each node. Nothing is retried, no connection
/// outlives a call, and calls are dropped when their time is over.
#[async_trait]
pub trait RecoveryProbe: Send + Sync {
    /// Writes to a node's register through that node; `Ok` when it is acknowledged.
    async fn write(&self, node: &Name, value: u64) -> Result<(), String>;

    /// Reads a node's register through that node, as strongly as the system can.
    async fn read(&self, node: &Name) -> Result<Option<u64>, String>;

    /// What `node` itself has of the register of `owner`, without asking the others.
    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String>;
}

/// How a proof takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a call may take, and how long it may take until what was written is seen.
    pub call: Duration,
    /// How long from a round that passed to the one that confirms it: an election time-out.
    pub confirm: Duration,
}

/// Rounds in a row that all nodes must pass.
const ROUNDS: u32 = 2;
/// The pause after a round that did not pass.
const RETRY: Duration = Duration::from_millis(100);
/// The pause between two looks at what a node has.
const LOOK: Duration = Duration::from_millis(10);

/// A proof under way, or done. What is known so far can be asked when it is cut short.
#[derive(Debug)]
pub struct Proof {
    nodes: Vec<Name>,
    /// The value of the last round.
    value: u64,
    /// How each node came out of the last round.
    nodes_passed: BTreeMap<Name, Result<Nanos, String>>,
}

impl Proof {
    /// Of these nodes, not begun.
    pub fn new(nodes: &[Name]) -> Proof {
        let none = |node: &Name| (node.clone(), Err("nothing was tried".to_owned()));
        Proof {
            nodes: nodes.to_vec(),
            value: 0,
            nodes_passed: nodes.iter().map(none).collect(),
        }
    }

    /// Runs rounds until two in a row pass. The caller bounds it.
    pub async fn run(&mut self, probe: &dyn RecoveryProbe, clock: &dyn Clock, pace: Pace) {
        let mut passed = 0;
        loop {
            passed = match self.round(probe, clock, pace.call).await {
                true => passed + 1,
                false => 0,
            };
            match passed {
                ROUNDS => return,
                0 => sleep(clock, RETRY).await,
                _ => sleep(clock, pace.confirm).await,
            }
        }
    }

    /// For each node when it passed its part for the first time without failing since, on the clock of the
    /// proof; or why it did not pass the last round.
    pub fn nodes(&self) -> &BTreeMap<Name, Result<Nanos, String>> {
        &self.nodes_passed
    }

    /// Whether all nodes passed.
    async fn round(
        &mut self,
        probe: &dyn RecoveryProbe,
        clock: &dyn Clock,
        call: Duration,
    ) -> bool {
        self.value += 1;
        let (nodes, value) = (&self.nodes, self.value);
        let calls = Calls { probe, clock, call };
        let written = join_all(nodes.iter().map(|node| calls.write_and_read(node, value))).await;
        let acknowledged = nodes
            .iter()
            .zip(&written)
            .filter(|(_, written)| written.is_ok());
        let owners: Vec<&Name> = acknowledged.map(|(node, _)| node).collect();
        let shown = join_all(nodes.iter().map(|node| calls.has_all(node, &owners, value))).await;
        let now = clock.now();
        let mut all = true;
        for ((node, written), shown) in nodes.iter().zip(written).zip(shown) {
            let outcome = written.and(shown);
            all &= outcome.is_ok();
            if let Some(passed) = self.nodes_passed.get_mut(node) {
                *passed = match (outcome, &passed) {
                    (Ok(()), Ok(since)) => Ok(*since),
                    (Ok(()), Err(_)) => Ok(now),
                    (Err(error), _) => Err(error),
                };
            }
        }
        all
    }
}

/// The calls of one round.
#[derive(Clone, Copy)]
struct Calls<'a> {
    probe: &'a dyn RecoveryProbe,
    clock: &'a dyn Clock,
    call: Duration,
}

impl Calls<'_> {
    async fn bounded<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        match timeout(self.clock, self.call, call).await {
            Some(result) => result.map_err(|error| format!("{what}: {error}")),
            None => Err(format!("{what}: no answer within {:?}", self.call)),
        }
    }

    async fn write_and_read(&self, node: &Name, value: u64) -> Result<(), String> {
        let deadline = self.deadline();
        self.bounded("a fresh write through it", self.probe.write(node, value))
            .await?;
        let what = "reading back through it what was written";
        self.shows(what, value, deadline, || self.probe.read(node))
            .await
    }

    /// Waits until a node itself has a value in the registers of all owners.
    async fn has_all(&self, node: &Name, owners: &[&Name], value: u64) -> Result<(), String> {
        let deadline = self.deadline();
        for owner in owners {
            let what = format!("its own copy of what was written through {owner}");
            self.shows(&what, value, deadline, || {
                self.probe.read_local(node, owner)
            })
            .await?;
        }
        Ok(())
    }

    fn deadline(&self) -> Nanos {
        self.clock.now().saturating_add(nanos(self.call))
    }

    /// Reads until a value is seen. That it takes a while is not for this to judge: stale reads are the
    /// checkers' business.
    async fn shows<F>(
        &self,
        what: &str,
        value: u64,
        deadline: Nanos,
        read: impl Fn() -> F,
    ) -> Result<(), String>
    where
        F: Future<Output = Result<Option<u64>, String>>,
    {
        loop {
            let seen = self.bounded(what, read()).await;
            if seen == Ok(Some(value)) {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                return Err(format!("{what}: {} instead of {value}", shown(seen?)));
            }
            sleep(self.clock, LOOK).await;
        }
    }
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::time::VirtualRuntime;

    const MILLISECOND: Nanos = 1_000_000;

    /// A system of three nodes, of which one may be slow, cut off or forgetful for some time.
    #[derive(Default)]
    struct World {
        /// By owner, the value of its register.
        registers: BTreeMap<Name, u64>,
        writes: u64,
    }

    struct Probe<C> {
        clock: Arc<C>,
        world: Mutex<World>,
        /// Through this node nothing works until then.
        cut_off: (Name, Nanos),
        /// This node has nothing of its own until then.
        lags: (Name, Nanos),
        /// This node's writes are gone when read, until then.
        forgets: (Name, Nanos),
        /// Calls through this node fail in the second round.
        flaps: Option<Name>,
    }

    impl<C: Clock> Probe<C> {
        fn is(&self, (node, until): &(Name, Nanos), asked: &Name) -> bool {
            node == asked && self.clock.now() < *until
        }

        fn world(&self) -> std::sync::MutexGuard<'_, World> {
            self.world.lock().expect("no test panics with it")
        }
    }

    #[async_trait]
    impl<C: Clock> RecoveryProbe for Probe<C> {
        async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
            sleep(&*self.clock, Duration::from_millis(1)).await;
            if self.is(&self.cut_off, node) {
                sleep(&*self.clock, Duration::from_secs(3600)).await;
            }
            if self.flaps.as_ref() == Some(node) && value == 2 {
                return Err("no leader".to_owned());
            }
            let mut world = self.world();
            world.writes += 1;
            world.registers.insert(node.clone(), value);
            Ok(())
        }

        async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
            match self.is(&self.forgets, node) {
                true => Ok(None),
                false => Ok(self.world().registers.get(node).copied()),
            }
        }

        async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
            match self.is(&self.lags, node) {
                true => Ok(None),
                false => Ok(self.world().registers.get(owner).copied()),
            }
        }
    }

    /// Proves for at most ten seconds. When that was done, and what became of the nodes.
    fn prove(
        set: impl FnOnce(&mut Probe<crate::time::VirtualClock>),
    ) -> (Option<Nanos>, Vec<Result<Nanos, String>>) {
        let runtime = VirtualRuntime::new();
        let clock = Arc::new(runtime.clock());
        let nodes: Vec<Name> = ["n1", "n2", "n3"].map(Name::from).to_vec();
        let nobody = || ("".into(), 0);
        let mut probe = Probe {
            clock: clock.clone(),
            world: Mutex::default(),
            cut_off: nobody(),
            lags: nobody(),
            forgets: nobody(),
            flaps: None,
        };
        set(&mut probe);
        let mut proof = Proof::new(&nodes);
        let pace = Pace {
            call: Duration::from_secs(1),
            confirm: Duration::from_millis(500),
        };
        let run = async {
            let run = proof.run(&probe, &*clock, pace);
            timeout(&*clock, Duration::from_secs(10), run).await?;
            Some(clock.now())
        };
        let done = runtime.block_on(run).expect("it does not stall");
        (done, proof.nodes().values().cloned().collect())
    }

    #[test]
    fn two_rounds_prove_it() {
        let (done, nodes) = prove(|_| {});
        assert_eq!(done, Some(502 * MILLISECOND));
        assert_eq!(nodes, vec![Ok(MILLISECOND); 3]);
    }

    #[test]
    fn every_node_must_commit_and_have_what_others_wrote() {
        let second = 1000 * MILLISECOND;
        let cases: [fn(&mut Probe<crate::time::VirtualClock>); 3] = [
            |probe| probe.cut_off = ("n2".into(), 4_000 * MILLISECOND),
            |probe| probe.lags = ("n2".into(), 4_000 * MILLISECOND),
            |probe| probe.forgets = ("n2".into(), 4_000 * MILLISECOND),
        ];
        for case in cases {
            let (done, nodes) = prove(case);
            let done = done.expect("it recovers");
            assert!((4 * second..6 * second).contains(&done), "{done}");
            let late = nodes[1].as_ref().expect("it recovers");
            assert!((4 * second..done).contains(late), "{nodes:?}");
        }
    }

    #[test]
    fn who_does_not_recover_is_named_with_the_reason() {
        let never = |node: &str| (node.into(), Nanos::MAX);
        for (what, (done, nodes)) in [
            ("a fresh write", prove(|probe| probe.cut_off = never("n3"))),
            (
                "nothing instead of",
                prove(|probe| probe.lags = never("n3")),
            ),
            (
                "nothing instead of",
                prove(|probe| probe.forgets = never("n3")),
            ),
        ] {
            assert_eq!(done, None);
            assert!(nodes[0].is_ok() && nodes[1].is_ok(), "{nodes:?}");
            let error = nodes[2].as_ref().expect_err("it never recovers");
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_round_that_passes_is_not_enough() {
        let (done, nodes) = prove(|probe| probe.flaps = Some("n1".into()));
        assert!(done.expect("it recovers") > 1000 * MILLISECOND);
        assert!(*nodes[0].as_ref().expect("it recovers") > 500 * MILLISECOND);
        assert_eq!(nodes[1], Ok(MILLISECOND));
    }
}
