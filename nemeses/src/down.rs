//! How many nodes may be down at once, whatever the faults do.
//!
//! A system of `2f + 1` nodes promises to survive `f` of them; a test of that promise never takes away more, though several
//! faults act at the same time. So before a fault strikes nodes, it claims them here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness::Name;

/// The nodes that are down, by the fault that holds them down, and how many may be. Shared by all faults of a run.
#[derive(Clone, Debug, Default)]
pub struct Down(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// No limit, if absent.
    most: Option<usize>,
    held: BTreeMap<Name, BTreeSet<Name>>,
}

impl State {
    fn down(&self) -> BTreeSet<&Name> {
        self.held.values().flatten().collect()
    }
}

impl Down {
    /// At most so many nodes may be down at once.
    pub fn at_most(most: Option<usize>) -> Down {
        Down(Arc::new(Mutex::new(State {
            most,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nodes may be down at once. No limit, if absent.
    pub(crate) fn most(&self) -> Option<usize> {
        self.state().most
    }

    /// Claims nodes for a fault: those that it may take down, the first ones first. Nodes that are down already cost nothing.
    pub(crate) fn claim(&self, fault: &str, wanted: &[Name]) -> Vec<Name> {
        let mut state = self.state();
        let mut granted = Vec::new();
        for node in wanted {
            let down = state.down();
            let fits = state
                .most
                .is_none_or(|most| down.contains(node) || down.len() < most);
            if fits {
                granted.push(node.clone());
                let held = state.held.entry(fault.into()).or_default();
                held.insert(node.clone());
            }
        }
        granted
    }

    /// Claims all of the nodes, or none.
    pub(crate) fn claim_all(&self, fault: &str, wanted: &[Name]) -> Result<(), String> {
        let before = self.state().held.get(fault).cloned();
        if self.claim(fault, wanted).len() == wanted.len() {
            return Ok(());
        }
        let refused = self.refusal();
        match before {
            Some(before) => drop(self.state().held.insert(fault.into(), before)),
            None => drop(self.state().held.remove(fault)),
        }
        Err(refused)
    }

    /// Gives up a fault's claims, but for those nodes.
    pub(crate) fn keep<'a>(&self, fault: &str, nodes: impl IntoIterator<Item = &'a Name>) {
        let kept: BTreeSet<Name> = nodes.into_iter().cloned().collect();
        let mut state = self.state();
        match kept.is_empty() {
            true => drop(state.held.remove(fault)),
            false => drop(state.held.insert(fault.into(), kept)),
        }
    }

    /// Why a claim was refused, for the history.
    pub(crate) fn refusal(&self) -> String {
        let state = self.state();
        let down: Vec<&str> = state.down().into_iter().map(AsRef::as_ref).collect();
        let most = state.most.unwrap_or(usize::MAX);
        format!(
            "at most {most} nodes may be down at once, and these are: {}",
            down.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<Name> {
        list.split_whitespace().map(Name::from).collect()
    }

    #[test]
    fn faults_share_what_may_be_down() {
        let down = Down::at_most(Some(2));
        assert_eq!(down.claim("kill", &names("n1 n2 n3")), names("n1 n2"));
        assert_eq!(down.claim("pause", &names("n3 n2")), names("n2"));
        down.keep("kill", &[]);
        assert_eq!(down.claim("kill", &names("n3 n4")), names("n3"));
        down.keep("pause", &[]);
        assert_eq!(down.claim("kill", &names("n4")), names("n4"));
        assert!(down.refusal().ends_with("n3, n4"));
    }

    #[test]
    fn all_or_none() {
        let down = Down::at_most(Some(2));
        assert!(down.claim_all("partition", &names("n1 n2 n3")).is_err());
        assert_eq!(down.claim("kill", &names("n4 n5")), names("n4 n5"));
        assert!(down.claim_all("partition", &names("n4")).is_ok());
        assert!(
            Down::default()
                .claim_all("kill", &names("n1 n2 n3"))
                .is_ok()
        );
    }
}
