//! What clients see when processes are killed, stopped and started.

use std::task::Waker;

use harness::capability::{ProcessState, Signal};
use harness::seed::Seed;
use harness::time::Nanos;
use store::Name;

use crate::cluster::Cluster;
use crate::machine::{Command, Output};
use crate::message::{Answer, NodeId, RequestId};
use crate::settings::{ELECTION_TIMEOUT, REQUEST_TIMEOUT, Settings};

const SECOND: Nanos = 1_000_000_000;

struct Fixture {
    cluster: Cluster,
    now: Nanos,
}

impl Fixture {
    /// Three nodes with a leader.
    fn new() -> Fixture {
        let names: Vec<Name> = vec!["a".into(), "b".into(), "c".into()];
        let mut fixture = Fixture {
            cluster: Cluster::new(&names, Settings::default(), Seed::new(1)),
            now: 0,
        };
        fixture.pass(2 * SECOND);
        fixture
    }

    fn pass(&mut self, time: Nanos) {
        self.now += time;
        self.cluster.advance(self.now);
    }

    fn leader(&self) -> NodeId {
        let leaders = self.cluster.primaries();
        assert_eq!(leaders.len(), 1);
        self.cluster.node(&leaders[0]).unwrap()
    }

    /// The answer to a request, if it has come.
    fn answer(&mut self, request: RequestId) -> Option<Answer> {
        self.cluster.poll_answer(request, Waker::noop())
    }

    /// Asks a node for something and waits for the answer.
    fn ask(&mut self, node: NodeId, command: Command) -> Answer {
        let request = self.cluster.submit(node, command);
        self.pass(2 * REQUEST_TIMEOUT);
        self.answer(request).expect("an answer in time")
    }
}

#[test]
fn all_nodes_serve_one_register() {
    let mut fixture = Fixture::new();
    for node in 0..3 {
        let value = node as i64;
        assert_eq!(
            fixture.ask(node, Command::Write(7, value)),
            Ok(Output::Done)
        );
        for reader in 0..3 {
            let read = fixture.ask(reader, Command::Read(7));
            assert_eq!(read, Ok(Output::Value(Some(value))));
        }
    }
}

#[test]
fn nobody_listens_on_a_killed_node_and_the_others_go_on() {
    let mut fixture = Fixture::new();
    let victim = fixture.leader();
    assert_eq!(
        fixture.cluster.signal(victim, Signal::KILL),
        ProcessState::Absent
    );
    let refused = fixture.ask(victim, Command::Write(1, 1)).unwrap_err();
    assert_eq!(refused.class, "connection-refused");
    assert!(refused.certain && !refused.answered);
    fixture.pass(5 * ELECTION_TIMEOUT.end);
    assert_ne!(fixture.leader(), victim);
    let other = (victim + 1) % 3;
    assert_eq!(fixture.ask(other, Command::Write(1, 2)), Ok(Output::Done));

    assert_eq!(fixture.cluster.start(victim), ProcessState::Running);
    fixture.pass(SECOND);
    assert_eq!(
        fixture.ask(victim, Command::Read(1)),
        Ok(Output::Value(Some(2)))
    );
}

#[test]
fn a_kill_resets_connections_and_leaves_the_outcome_open() {
    let mut fixture = Fixture::new();
    let leader = fixture.leader();
    let request = fixture.cluster.submit(leader, Command::Write(1, 1));
    // Under way from the client to the node.
    fixture.pass(1);
    fixture.cluster.signal(leader, Signal::KILL);
    fixture.pass(SECOND);
    let reset = fixture.answer(request).unwrap().unwrap_err();
    assert!(["connection-reset", "connection-refused"].contains(&reset.class));

    let leader = fixture.leader();
    let request = fixture.cluster.submit(leader, Command::Write(1, 1));
    while fixture
        .cluster
        .replicas()
        .all(|replica| replica.entries().last().unwrap().request != request)
    {
        fixture.cluster.step();
    }
    fixture.cluster.signal(leader, Signal::KILL);
    fixture.now = fixture.cluster.now();
    fixture.pass(SECOND);
    let reset = fixture.answer(request).unwrap().unwrap_err();
    assert_eq!(reset.class, "connection-reset");
    assert!(!reset.certain && !reset.answered);
}

#[test]
fn what_a_stopped_node_is_sent_waits_for_it() {
    let mut fixture = Fixture::new();
    let node = (fixture.leader() + 1) % 3;
    assert_eq!(
        fixture.cluster.signal(node, Signal::STOP),
        ProcessState::Stopped
    );
    assert_eq!(fixture.cluster.start(node), ProcessState::Stopped);
    let request = fixture.cluster.submit(node, Command::Write(1, 5));
    fixture.pass(10 * SECOND);
    assert_eq!(fixture.answer(request), None);
    assert_eq!(
        fixture.cluster.signal(node, Signal::CONT),
        ProcessState::Running
    );
    fixture.pass(SECOND);
    assert_eq!(fixture.answer(request), Some(Ok(Output::Done)));
}

#[test]
fn signals_do_what_they_do_to_processes() {
    let mut fixture = Fixture::new();
    let mut signal = |signal| fixture.cluster.signal(0, signal);
    assert_eq!(signal(Signal::HUP), ProcessState::Running);
    assert_eq!(signal(Signal::CONT), ProcessState::Running);
    assert_eq!(signal(Signal::STOP), ProcessState::Stopped);
    // A stopped process notices only KILL.
    assert_eq!(signal(Signal::TERM), ProcessState::Stopped);
    assert_eq!(signal(Signal::CONT), ProcessState::Absent);
    assert_eq!(signal(Signal::CONT), ProcessState::Absent);
    assert_eq!(fixture.cluster.start(0), ProcessState::Running);
    fixture.cluster.signal(0, Signal::STOP);
    assert_eq!(
        fixture.cluster.signal(0, Signal::KILL),
        ProcessState::Absent
    );
}

#[test]
fn without_a_majority_nothing_is_acknowledged() {
    let mut fixture = Fixture::new();
    let leader = fixture.leader();
    for node in [(leader + 1) % 3, (leader + 2) % 3] {
        fixture.cluster.signal(node, Signal::KILL);
    }
    let write = fixture.ask(leader, Command::Write(1, 1)).unwrap_err();
    assert!(!write.certain, "{write:?}");
    // By now it has noticed, and refuses.
    let write = fixture.ask(leader, Command::Write(1, 2)).unwrap_err();
    assert_eq!((write.class, write.certain), ("no-leader", true));
    assert!(fixture.cluster.primaries().is_empty());
}
