//! The invariants of Raft (figure 3 of the paper), checked after every event.

use std::collections::BTreeMap;

use harness::time::Nanos;
use proptest::prelude::*;

use super::chaos::Chaos;
use crate::bug::Bug;
use crate::machine::Machine;
use crate::message::{Entry, NodeId, Term};
use crate::replica::Replica;
use crate::settings::Settings;

/// What must never change, as seen so far.
#[derive(Default)]
struct Invariants {
    leaders: BTreeMap<Term, NodeId>,
    /// Everything that any replica ever held for committed, and in which term that was first seen.
    committed: Vec<(Entry, Term)>,
    /// The machine after each prefix of `committed`.
    machines: Vec<Machine>,
    /// What each replica showed last: while it shows the same there is nothing to check.
    seen: BTreeMap<NodeId, Shown>,
}

/// Term, leadership, length of the log and its last entry, how much is committed and executed.
type Shown = (Term, bool, usize, Option<Entry>, usize, usize);

fn shown(replica: &Replica) -> Shown {
    let entries = replica.entries();
    (
        replica.term(),
        replica.is_leader(),
        entries.len(),
        entries.last().cloned(),
        replica.committed().len(),
        replica.executed().0.len(),
    )
}

impl Invariants {
    fn check(&mut self, replicas: &[&Replica]) -> Result<(), String> {
        let term = replicas
            .iter()
            .map(|replica| replica.term())
            .max()
            .unwrap_or(0);
        for (node, replica) in replicas.iter().enumerate() {
            let now = shown(replica);
            if self.seen.get(&node) == Some(&now) {
                continue;
            }
            if replica.is_leader() {
                self.leader(node, replica)?;
            }
            self.prefix(node, replica, term)?;
            self.seen.insert(node, now);
        }
        Ok(())
    }

    /// Election safety: one leader a term. Leader completeness: a leader has all that was committed
    /// in earlier terms.
    fn leader(&mut self, node: NodeId, replica: &Replica) -> Result<(), String> {
        let term = replica.term();
        let first = *self.leaders.entry(term).or_insert(node);
        if first != node {
            return Err(format!("term {term} has leaders {first} and {node}"));
        }
        let must = self.committed.iter().take_while(|(_, at)| *at < term);
        let has = must
            .zip(replica.entries())
            .filter(|((a, _), b)| a == *b)
            .count();
        let must = self
            .committed
            .iter()
            .take_while(|(_, at)| *at < term)
            .count();
        match has == must {
            true => Ok(()),
            false => Err(format!("leader {node} of {term} lacks committed entries")),
        }
    }

    /// Log matching and state machine safety: all committed prefixes and all states agree.
    fn prefix(&mut self, node: NodeId, replica: &Replica, term: Term) -> Result<(), String> {
        let committed = replica.committed();
        let known = self.committed.len();
        let agree = self
            .committed
            .iter()
            .zip(committed)
            .all(|((a, _), b)| a == b);
        if !agree {
            return Err(format!("node {node} committed something else"));
        }
        for entry in committed.get(known..).unwrap_or_default() {
            self.committed.push((entry.clone(), term));
        }
        if self.machines.is_empty() {
            self.machines.push(Machine::new(&Settings::default()));
        }
        while self.machines.len() <= self.committed.len() {
            let at = self.machines.len() - 1;
            let mut machine = self.machines[at].clone();
            machine.apply(&self.committed[at].0.command);
            self.machines.push(machine);
        }
        let (executed, machine) = replica.executed();
        match executed.len() <= committed.len() && *machine == self.machines[executed.len()] {
            true => Ok(()),
            false => Err(format!("node {node} has a state that no prefix leads to")),
        }
    }
}

/// Between two requests to a cluster that was healed: each may be committed everywhere in it.
const LULL: Nanos = 1_000_000_000;

/// How many requests a healed cluster is given. One is not enough: the latency of messages has a
/// long tail, so a healthy leader is deposed now and then.
const PATIENCE: usize = 10;

/// Runs a cluster under faults, then heals it; says how many requests' entries were committed in the
/// end.
fn run(nodes: usize, settings: Settings, seed: u64, steps: usize) -> Result<usize, String> {
    let mut chaos = Chaos::new(nodes, settings, seed);
    let mut invariants = Invariants::default();
    let mut step = |chaos: &mut Chaos| {
        chaos.step();
        let replicas: Vec<&Replica> = chaos.cluster.replicas().collect();
        invariants.check(&replicas)
    };
    for _ in 0..steps {
        step(&mut chaos).map_err(|error| format!("{error}, at {} ns", chaos.cluster.now()))?;
    }
    chaos.heal();
    let before = invariants.committed.len();
    for _ in 0..PATIENCE {
        let leader = chaos.cluster.replicas().position(Replica::is_leader);
        if let Some(leader) = leader {
            let command = crate::machine::Command::Write(0, 1);
            chaos.cluster.submit(leader, command);
        }
        chaos.cluster.advance(chaos.cluster.now() + LULL);
        let replicas: Vec<&Replica> = chaos.cluster.replicas().collect();
        invariants.check(&replicas)?;
        let committed = invariants.committed.len();
        let caught_up = |replica: &&Replica| replica.committed().len() == committed;
        if committed > before && replicas.iter().all(caught_up) {
            return Ok(committed);
        }
    }
    Err(format!("no progress after healing: {before} before"))
}

fn cases() -> u32 {
    let given = std::env::var("GAINSAY_SIM_CASES").ok();
    given.and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn raft_is_safe_under_faults_and_live_after_them(
        nodes in 1_usize..=5,
        seed: u64,
        latency in 200_000_u64..10_000_000,
    ) {
        let settings = Settings {
            latency,
            ..Settings::default()
        };
        let committed = run(nodes, settings, seed, 4_000);
        prop_assert!(committed.is_ok(), "{}", committed.unwrap_err());
    }
}

/// The invariants can fail: bugs that break consensus itself break them.
#[test]
fn the_invariants_see_broken_consensus() {
    for bug in [Bug::LostWrites, Bug::UnsyncedLog, Bug::DirtyReads] {
        let settings = Settings {
            bug: Some(bug),
            ..Settings::default()
        };
        let broken = (0..20).any(|seed| run(3, settings.clone(), seed, 4_000).is_err());
        assert!(broken, "{bug:?}");
    }
}

/// The load of these tests reaches the log.
#[test]
fn requests_are_committed_under_faults() {
    let committed: usize = (0..10)
        .map(|seed| run(3, Settings::default(), seed, 4_000).unwrap())
        .sum();
    assert!(committed > 500, "{committed}");
}

/// Under one seed the cluster does the same, to the nanosecond; under another something else.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut chaos = Chaos::new(3, Settings::default(), seed);
        let mut trace = Vec::new();
        for _ in 0..3_000 {
            chaos.step();
            let replicas = chaos.cluster.replicas();
            let seen: Vec<_> = replicas
                .map(|replica| (replica.term(), replica.entries().len(), replica.is_leader()))
                .collect();
            trace.push((chaos.cluster.now(), seen));
        }
        trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
