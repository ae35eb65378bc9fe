//! Which version each node is started with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use harness::Name;
use harness::remote::Node;

/// A version for each node: the first one, until another is chosen.
#[derive(Debug)]
pub struct Chosen<R> {
    /// What all nodes begin with.
    pub first: R,
    others: Mutex<BTreeMap<Name, R>>,
}

impl<R: Clone> Chosen<R> {
    /// All nodes with this one.
    pub fn new(first: R) -> Chosen<R> {
        Chosen {
            first,
            others: Mutex::default(),
        }
    }

    /// That of a node.
    pub fn of(&self, node: &Node) -> R {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let other = others.get(&node.name).cloned();
        other.unwrap_or_else(|| self.first.clone())
    }

    /// Chooses another one for a node.
    pub fn choose(&self, node: &Node, release: R) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(node.name.clone(), release);
    }
}
