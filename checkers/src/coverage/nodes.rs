//! Which node an operation was on.

use rustc_hash::FxHashMap;
use store::Name;

/// Nodes that a history names beyond those given are remembered up to this many.
const LEARNT_MAX: usize = 1000;

/// The nodes of a run, numbered: those given first, then others as completions name them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    names: Vec<Name>,
    numbers: FxHashMap<Name, usize>,
    given: usize,
    workers: u64,
}

impl Nodes {
    /// The nodes given, and how many client workers are pinned to them in turn.
    pub(super) fn new(given: &[String], workers: u64) -> Nodes {
        let mut nodes = Nodes {
            workers,
            ..Nodes::default()
        };
        for name in given {
            nodes.add(name.as_str().into());
        }
        nodes.given = nodes.names.len();
        nodes
    }

    /// How many were given.
    pub(super) fn given(&self) -> usize {
        self.given
    }

    /// All names, by number.
    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    /// The number of a name, if it is known.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The number of a name, which is then known.
    pub(super) fn learn(&mut self, name: &Name) -> Option<usize> {
        match self.number(name) {
            Some(number) => Some(number),
            None if self.names.len() - self.given >= LEARNT_MAX => None,
            None => Some(self.add(name.clone())),
        }
    }

    /// The node of an operation: who answered it; where nobody did, the node that its process' worker
    /// is pinned to. Workers are pinned in turn, and process `p` of `w` workers is one of worker
    /// `p mod w`, as the interpreter numbers them.
    pub(super) fn of(&mut self, process: u64, answered: Option<&Name>) -> Option<usize> {
        if let Some(name) = answered {
            return self.learn(name);
        }
        let worker = process.checked_rem(self.workers)?;
        let node = worker.checked_rem(self.given as u64)?;
        Some(node as usize)
    }

    fn add(&mut self, name: Name) -> usize {
        let number = self.names.len();
        match self.numbers.entry(name) {
            std::collections::hash_map::Entry::Occupied(entry) => *entry.get(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.names.push(entry.key().clone());
                *entry.insert(number)
            }
        }
    }
}
