//! What is found on the nodes, kept in `test.json` as soon as it is known.

use anyhow::{Context, Result};
use futures::future::join_all;
use harness::node::facts;
use harness::remote::Node;
use store::RunFolder;

use crate::cli::Output;
use crate::spec::{NodeFound, TestSpec};

/// Clocks that are further apart than this, in seconds, are told.
const CLOCKS_APART: f64 = 1.0;

/// Asks all nodes what they are. A node that does not say is left without facts: whatever needs it next
/// will say why.
pub(super) async fn ask(nodes: &[Node], output: &Output) -> Vec<NodeFound> {
    let asked = join_all(nodes.iter().map(|node| facts::ask(&*node.remote))).await;
    let found = nodes.iter().zip(asked).map(|(node, asked)| {
        let facts = asked.unwrap_or_else(|error| {
            tracing::warn!("{} does not say what it is: {error}", node.name);
            facts::Facts::default()
        });
        if let Some(clock) = facts.clock.filter(|clock| clock.apart() > CLOCKS_APART) {
            let direction = if clock.ahead > 0.0 {
                "ahead of"
            } else {
                "behind"
            };
            output.say(&format!(
                "clock   {}'s is {:.1} s {direction} this machine's",
                node.name,
                clock.ahead.abs()
            ));
        }
        NodeFound {
            node: node.name.clone(),
            address: node.address.clone(),
            system: None,
            facts,
        }
    });
    found.collect()
}

/// Writes `test.json` again, with what was found.
pub(super) fn record(folder: &RunFolder, spec: &TestSpec, found: &[NodeFound]) -> Result<()> {
    let spec = TestSpec {
        found: found.to_vec(),
        ..spec.clone()
    };
    folder
        .write_test(&spec)
        .context("cannot keep what was found on the nodes")
}
