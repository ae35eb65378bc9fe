//! A node that is this machine's shell, and a fault for a run of a minute on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::fault::FaultOutcome;
use harness::node::undo::{Healed, heal_node_in};
use harness::remote::Node;
use harness::seed::Seed;
use harness::time::RealClock;
use harness::{Name, Value};
use nemeses::ssh::Journaled;
use nemeses::{BuildContext, Composition, Package, build, parse};
use tempfile::TempDir;

use crate::shell::Shell;

/// The node's name.
pub(crate) const NAME: &str = "n1";

/// The node, and a folder for what a test does.
pub(crate) struct Alone {
    folder: TempDir,
    node: Node,
}

impl Alone {
    pub(crate) fn new() -> Alone {
        let name = Name::from(NAME);
        Alone {
            folder: tempfile::tempdir().unwrap(),
            node: Node {
                name: name.clone(),
                address: "127.0.0.1".into(),
                remote: Arc::new(Shell::new(name, &[])),
            },
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn state(&self) -> String {
        self.folder().join("state").display().to_string()
    }

    pub(crate) fn journaled(&self) -> Journaled {
        Journaled::new_in(&self.node, "test", &self.state())
    }

    /// How many entries the journal has.
    pub(crate) fn entries(&self) -> usize {
        std::fs::read_dir(self.folder().join("state/undo")).map_or(0, Iterator::count)
    }

    /// Undoes what the journal says, as whoever comes does.
    pub(crate) async fn heal(&self) -> Vec<Healed> {
        let healed = heal_node_in(&*self.node.remote, &self.state()).await;
        healed.unwrap()
    }

    /// Whether nothing is left of the journal.
    pub(crate) fn is_clean(&self) -> bool {
        !Path::new(&self.state()).exists()
    }
}

/// A fault for a run of a minute on the node.
pub(crate) fn package(fault: &str) -> Package {
    let ctx = BuildContext {
        seed: Seed::new(1),
        time_limit: Duration::from_secs(60),
        election_timeout: Duration::ZERO,
        leaders: false,
        nodes: vec![NAME.into()],
        zones: nemeses::Zones::default(),
        clock: Arc::new(RealClock::start()),
        composition: Composition::default(),
    };
    build(&parse(fault).unwrap(), &ctx).unwrap().remove(0)
}

/// What was seen of a fault that is in force, or undone.
pub(crate) fn installed(outcome: FaultOutcome) -> Value {
    match outcome {
        FaultOutcome::Installed(value) => value,
        other => panic!("{other:?}"),
    }
}
