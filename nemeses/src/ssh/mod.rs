//! Faults' capabilities on nodes that are reached over SSH.

use std::sync::Arc;

use futures::future::join_all;
use harness::capability::Environment;
use harness::db::Db;
use harness::remote::Node;

mod addresses;
mod agent;
mod backends;
mod clocks;
mod confinement;
mod disks;
mod faketime;
mod filters;
mod journaled;
mod loads;
mod machines;
mod membership;
mod netem;
mod network;
mod nft;
mod pause;
mod preload;
mod processes;
mod revival;
mod rolling;
mod scripts;
mod system_faults;
mod tc;
#[cfg(test)]
mod testing;

pub use agent::Agent;
pub use backends::NodeNetwork;
pub use clocks::NodeClocks;
pub use confinement::NodeConfinement;
pub use disks::DbDisks;
pub use journaled::Journaled;
pub use loads::NodeLoads;
pub use machines::{NodeMachines, PowerSwitches};
pub use membership::DbMembership;
pub(crate) use netem::beyond as netem_lacks;
pub use network::AgentNetwork;
pub use preload::PACKAGES;
pub use processes::{DbPrimaries, DbProcesses};
pub use rolling::DbRolling;
pub use scripts::NodeScripts;
pub use system_faults::NodeSystemFaults;

/// Nodes with what a run keeps on them. `run` names it in their undo journals.
pub fn journaled(nodes: &[Node], run: &str) -> Vec<Journaled> {
    nodes.iter().map(|node| Journaled::new(node, run)).collect()
}

/// What faults can act on: the links between these nodes, the system's processes on them, programs of the user's own, and the machines
/// that they are, with the switches of their power as far as there are some.
pub fn ssh_environment(nodes: &[Journaled], db: Arc<dyn Db>, power: PowerSwitches) -> Environment {
    let processes = Arc::new(DbProcesses::new(nodes, db.clone()));
    let rolling = DbRolling::new(nodes, db.clone(), processes.clone());
    Environment {
        nodes: nodes.iter().map(|at| at.node.name.clone()).collect(),
        network: Some(Arc::new(NodeNetwork::new(nodes))),
        processes: Some(processes),
        rolling: Some(Arc::new(rolling)),
        confinement: Some(Arc::new(NodeConfinement::new(nodes, db.clone()))),
        clocks: Some(Arc::new(NodeClocks::new(nodes, db.clone()))),
        membership: Some(Arc::new(DbMembership::new(nodes, db.clone()))),
        primaries: Some(Arc::new(DbPrimaries::new(nodes, db.clone()))),
        machines: Some(Arc::new(NodeMachines::new(nodes, db.clone(), power))),
        scripts: Some(Arc::new(NodeScripts::new(nodes))),
        disks: Some(Arc::new(DbDisks::new(nodes, db.clone()))),
        system_faults: Some(Arc::new(NodeSystemFaults::new(nodes, db.clone()))),
        loads: Some(Arc::new(NodeLoads::new(nodes, db))),
    }
}

/// Ends all that is resident on the nodes, and waits until it is gone. What still stands is taken back.
pub async fn leave(nodes: &[Journaled]) {
    join_all(nodes.iter().map(|at| at.agent.leave())).await;
}
