//! Faults' capabilities on nodes that are reached over SSH.

use std::sync::Arc;

use harness::capability::Environment;
use harness::db::Db;
use harness::remote::Node;

mod addresses;
mod network;
mod nft;
mod processes;
#[cfg(test)]
mod testing;

pub use network::NftNetwork;
pub use processes::{DbPrimaries, DbProcesses};

/// What faults can act on: the links between these nodes, and the system's processes on them.
pub fn ssh_environment(nodes: &[Node], db: Arc<dyn Db>) -> Environment {
    Environment {
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        network: Some(Arc::new(NftNetwork::new(nodes))),
        processes: Some(Arc::new(DbProcesses::new(nodes, db.clone()))),
        primaries: Some(Arc::new(DbPrimaries::new(nodes, db))),
    }
}
