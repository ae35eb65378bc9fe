//! Who keeps a node's system from running, so that nobody starts what another fault holds down.
//!
//! Several faults may have stopped the same system; it is started by the last that lets go of it. One that takes a node's data
//! away, or the node out of the system, has it for itself alone: who started or killed the system then would spoil both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness::Name;

/// How a fault deals with a node's system while it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It lets it run.
    Free,
    /// It stops it. So may others at the same time.
    Stopped,
    /// It does what nobody may disturb.
    Alone,
}

/// Which faults hold which nodes. Shared by all faults of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<BTreeMap<Name, BTreeMap<Name, Hold>>>>);

impl Holds {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Name, BTreeMap<Name, Hold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a node. The error says who has it, where that rules it out.
    pub(crate) fn take(&self, fault: &str, node: &Name, hold: Hold) -> Result<(), String> {
        if hold == Hold::Free {
            return Ok(());
        }
        let mut nodes = self.nodes();
        let held = nodes.entry(node.clone()).or_default();
        let alone = |other: Hold| hold == Hold::Alone || other == Hold::Alone;
        let in_the_way = held
            .iter()
            .find(|(other, theirs)| ***other != *fault && alone(**theirs));
        match in_the_way {
            Some((other, _)) => Err(format!("{node}: {other} has its system in hand")),
            None => {
                held.insert(fault.into(), hold);
                Ok(())
            }
        }
    }

    /// Lets go of a node. Who else holds it.
    pub(crate) fn let_go(&self, fault: &str, node: &Name) -> Option<Name> {
        let mut nodes = self.nodes();
        let held = nodes.get_mut(node)?;
        held.remove(fault);
        held.keys().next().cloned()
    }

    /// Who else holds a node.
    pub(crate) fn other(&self, fault: &str, node: &Name) -> Option<Name> {
        let nodes = self.nodes();
        let mut others = nodes.get(node)?.keys();
        others.find(|other| ***other != *fault).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_let_go_is_alone() {
        let (holds, node) = (Holds::default(), Name::from("n1"));
        assert_eq!(holds.take("kill", &node, Hold::Stopped), Ok(()));
        assert_eq!(holds.take("power", &node, Hold::Stopped), Ok(()));
        assert_eq!(holds.other("disk", &node), Some("kill".into()));
        assert_eq!(holds.let_go("kill", &node), Some("power".into()));
        assert_eq!(holds.other("power", &node), None);
        assert_eq!(holds.let_go("power", &node), None);
        assert_eq!(holds.let_go("power", &node), None);
        assert_eq!(holds.other("disk", &node), None);
    }

    #[test]
    fn what_is_had_alone_nobody_else_gets() {
        let (holds, node) = (Holds::default(), Name::from("n1"));
        assert_eq!(holds.take("kill", &node, Hold::Stopped), Ok(()));
        let refused = holds.take("membership", &node, Hold::Alone);
        assert_eq!(refused, Err("n1: kill has its system in hand".to_owned()));
        assert_eq!(holds.take("membership", &"n2".into(), Hold::Alone), Ok(()));
        assert_eq!(holds.take("membership", &"n2".into(), Hold::Alone), Ok(()));
        assert!(holds.take("kill", &"n2".into(), Hold::Stopped).is_err());
        assert_eq!(holds.take("clock", &"n2".into(), Hold::Free), Ok(()));
        assert_eq!(holds.let_go("membership", &"n2".into()), None);
        assert_eq!(holds.take("kill", &"n2".into(), Hold::Stopped), Ok(()));
    }
}
