//! Whether the store has recovered is proved by fresh writes, and disproved where it has not.

use std::sync::Arc;
use std::time::Duration;

use harness::capability::{Grudge, Signal};
use harness::client::Connect;
use harness::recovery::{Pace, Proof};
use harness::seed::Seed;
use harness::time::{VirtualRuntime, nanos, timeout};
use store::Name;

use crate::client::Connector;
use crate::cluster::Cluster;
use crate::handle::Handle;
use crate::settings::{ELECTION_TIMEOUT, Settings};

/// The nodes that recovered within ten seconds after something was done to a cluster of three.
fn recovered(break_it: impl FnOnce(&mut Cluster)) -> Vec<Name> {
    let runtime = VirtualRuntime::new();
    let clock = Arc::new(runtime.clock());
    let names: Vec<Name> = vec!["a".into(), "b".into(), "c".into()];
    let cluster = Cluster::new(&names, Settings::default(), Seed::new(1));
    let handle = Handle::new(cluster, clock.clone());
    handle.with(break_it);
    let probe = Connector(handle).recovery_probe().unwrap();
    let mut proof = Proof::new(&names);
    let pace = Pace {
        call: Duration::from_secs(1),
        confirm: Duration::from_nanos(ELECTION_TIMEOUT.end),
    };
    let limit = Duration::from_secs(10);
    let done = async { timeout(&*clock, limit, proof.run(&*probe, &*clock, pace)).await };
    let done = runtime.block_on(done).unwrap();
    let passed = proof.nodes().iter().filter(|(_, passed)| passed.is_ok());
    let passed: Vec<Name> = passed.map(|(name, _)| name.clone()).collect();
    assert_eq!(done.is_some(), passed.len() == names.len());
    let times = proof.nodes().values().flatten();
    assert!(times.copied().all(|at| at <= nanos(limit)));
    passed
}

fn cut_off(node: &str, both_ways: bool) -> Grudge {
    let mut grudge = Grudge::default();
    for other in ["a", "b", "c"].into_iter().filter(|other| *other != node) {
        grudge
            .0
            .entry(node.into())
            .or_default()
            .insert(other.into());
        if both_ways {
            grudge
                .0
                .entry(other.into())
                .or_default()
                .insert(node.into());
        }
    }
    grudge
}

#[test]
fn a_healthy_store_is_proved_healthy() {
    assert_eq!(
        recovered(|_| {}),
        ["a".into(), "b".into(), "c".into()] as [Name; 3]
    );
}

#[test]
fn a_node_that_is_cut_off_has_not_recovered() {
    let cut = recovered(|cluster| cluster.cut(&cut_off("b", true)));
    assert_eq!(cut, ["a".into(), "c".into()] as [Name; 2]);
    // One that hears nothing stands for election again and again, so that nobody recovers for long.
    let deaf = recovered(|cluster| cluster.cut(&cut_off("b", false)));
    assert!(!deaf.contains(&"b".into()), "{deaf:?}");
}

#[test]
fn a_node_that_does_not_run_has_not_recovered() {
    for signal in [Signal::KILL, Signal::STOP] {
        let left = recovered(|cluster| {
            cluster.signal(2, signal);
        });
        assert_eq!(left, ["a".into(), "b".into()] as [Name; 2]);
    }
}
