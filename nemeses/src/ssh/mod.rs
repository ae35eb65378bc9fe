//! Faults' capabilities on nodes that are reached over SSH.

use std::sync::Arc;

use harness::capability::Environment;
use harness::db::Db;
use harness::remote::Node;

mod addresses;
mod journaled;
mod network;
mod nft;
mod pause;
mod processes;
#[cfg(test)]
mod testing;

pub use journaled::Journaled;
pub use network::NftNetwork;
pub use processes::{DbPrimaries, DbProcesses};

/// What faults can act on: the links between these nodes, and the system's processes on them. `run` names
/// the run in the nodes' undo journals.
pub fn ssh_environment(nodes: &[Node], db: Arc<dyn Db>, run: &str) -> Environment {
    let journaled = nodes.iter().map(|node| Journaled::new(node, run));
    let journaled: Vec<Journaled> = journaled.collect();
    Environment {
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        network: Some(Arc::new(NftNetwork::new(&journaled))),
        processes: Some(Arc::new(DbProcesses::new(&journaled, db.clone()))),
        primaries: Some(Arc::new(DbPrimaries::new(&journaled, db))),
    }
}
