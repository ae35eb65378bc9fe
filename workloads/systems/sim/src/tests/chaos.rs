//! A cluster under random load and random faults, event by event.

use std::collections::BTreeSet;

use harness::capability::{Grudge, ProcessState, Signal};
use harness::seed::{Rng, Seed};
use harness::time::Nanos;
use rand::RngExt;
use store::Name;

use crate::cluster::Cluster;
use crate::machine::Command;
use crate::settings::{ELECTION_TIMEOUT, Settings};

/// A cluster and what is done to it.
pub(super) struct Chaos {
    pub(super) cluster: Cluster,
    names: Vec<Name>,
    rng: Rng,
    next_request: Nanos,
    next_fault: Nanos,
}

impl Chaos {
    pub(super) fn new(nodes: usize, settings: Settings, seed: u64) -> Chaos {
        let seed = Seed::new(seed);
        let names: Vec<Name> = (1..=nodes).map(|n| format!("n{n}").into()).collect();
        Chaos {
            cluster: Cluster::new(&names, settings, seed),
            names,
            rng: seed.named("chaos").rng(),
            next_request: 0,
            next_fault: 0,
        }
    }

    /// Lets one thing happen: an event of the cluster, a request or a fault, whichever is first.
    pub(super) fn step(&mut self) {
        let event = self.cluster.next_event().unwrap_or(Nanos::MAX);
        if self.next_fault < event.min(self.next_request) {
            self.cluster.advance(self.next_fault);
            self.next_fault += self.rng.random_range(1..2 * ELECTION_TIMEOUT.end);
            self.fault();
        } else if self.next_request < event {
            self.cluster.advance(self.next_request);
            self.next_request += self.rng.random_range(1..10_000_000);
            let (node, command) = (self.node(), self.command());
            self.cluster.submit(node, command);
        } else {
            self.cluster.step();
        }
    }

    /// Ends all faults.
    pub(super) fn heal(&mut self) {
        self.cluster.heal();
        for node in 0..self.names.len() {
            self.cluster.signal(node, Signal::CONT);
            assert_eq!(self.cluster.start(node), ProcessState::Running);
        }
    }

    pub(super) fn command(&mut self) -> Command {
        let key = self.rng.random_range(0..3);
        let mut value = || self.rng.random_range(0..5);
        let (a, b) = (value(), value());
        match self.rng.random_range(0..3) {
            0 => Command::Read(key),
            1 => Command::Write(key, a),
            _ => Command::Cas(key, a, b),
        }
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.names.len())
    }

    fn fault(&mut self) {
        let node = self.node();
        match self.rng.random_range(0..7) {
            0 => drop(self.cluster.signal(node, Signal::KILL)),
            1 => drop(self.cluster.signal(node, Signal::STOP)),
            2 => drop(self.cluster.signal(node, Signal::CONT)),
            3 | 4 => drop(self.cluster.start(node)),
            5 => drop(self.cluster.heal()),
            _ => {
                let grudge = self.grudge();
                self.cluster.cut(&grudge);
            }
        }
    }

    /// Each direction of each link is cut with a chance of one third.
    fn grudge(&mut self) -> Grudge {
        let mut grudge = Grudge::default();
        for to in &self.names {
            let others = self.names.iter().filter(|from| *from != to);
            let cut: BTreeSet<Name> = others
                .filter(|_| self.rng.random_bool(1.0 / 3.0))
                .cloned()
                .collect();
            grudge.0.insert(to.clone(), cut);
        }
        grudge
    }
}
