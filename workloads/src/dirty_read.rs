//! Dirty reads: is what somebody reads still there in the end?
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `write` | a whole number, never twice | the number |
//! | `read` | a number | the number if it is there, else `null` |
//! | `strong-read` | `null` | all numbers, as a list in any order, up to date as far as the system has a way to ask for that |
//!
//! The first client of each node writes; the others read what the one of their own node has begun to write last, so as to see it
//! while it is not committed. When all is healed, every client reads everything. What was read before and is not there then was
//! never committed: a dirty read. What was acknowledged and is not there is lost; what some find and others do not is on some
//! nodes only. Best keep the reads fast and cheap: by id, on the node that is asked.

use std::collections::BTreeMap;

use checkers::dirty_read::DirtyRead;
use checkers::set_full;
use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::Value;

use crate::load::{self, Filled, Limits, Streams, Turns};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "dirty-read";

/// The function of the reads at the end.
pub const STRONG_READ: &str = "strong-read";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Writes numbers, reads each while it is written, and reads all on every node when all is healed; finds what was \
                  read and never committed, acknowledged writes that are lost, and nodes that differ"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, [load::rate()])
}

/// What judges a history.
pub fn checkers() -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(|| Box::new(DirtyRead::new(set_full::Options::default()))),
    }]
}

/// The operations of the main phase.
///
/// # Errors
///
/// None today.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let seed = request.seed.named(NAME);
    let (nodes, workers) = (request.node_names.len().max(1), request.workers);
    // With one client on a node, it does both.
    let draw = move |thread: usize, rng: &mut Rng| {
        let alone = workers < 2 * nodes;
        let writes = match alone {
            true => rng.random(),
            false => thread < nodes,
        };
        let f = if writes { "write" } else { "read" };
        Op::new(f, (thread % nodes).into())
    };
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    let filled = Filled::new(streams, Begun::default(), Begun::fill);
    Ok(load::paced(request.options, seed, filled))
}

/// The operations when all is healed: strong reads by each client, as many as it takes to have enough of them.
pub fn final_generator(request: &BuildRequest<'_>) -> BoxGenerator {
    load::read_until_ok(request, STRONG_READ)
}

/// What was begun to be written.
#[derive(Clone, Debug, Default)]
struct Begun {
    next: i64,
    /// By node, the last.
    last: BTreeMap<u64, i64>,
}

impl Begun {
    /// Puts numbers where there are nodes.
    fn fill(&mut self, op: &mut Op) {
        let node = op.value.as_u64().unwrap_or_default();
        if &*op.f == "write" {
            self.last.insert(node, self.next);
            op.value = self.next.into();
            self.next += 1;
        } else {
            let last = self.last.get(&node).copied().unwrap_or_default();
            op.value = Value::from(last);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn readers_read_what_the_writer_of_their_node_began_last() {
        // Five nodes.
        for workers in [10, 15, 5] {
            let steps = Asked::of(&options(), &[]).invocations(workers, generator);
            let (mut next, mut last) = (0, BTreeMap::new());
            let mut reads = 0;
            for step in &steps {
                let value = step.op.value.as_i64().unwrap();
                if &*step.op.f == "write" {
                    assert!(step.thread < 5);
                    assert_eq!(value, next);
                    last.insert(step.thread % 5, value);
                    next += 1;
                } else {
                    reads += 1;
                    let expected = last.get(&(step.thread % 5)).copied();
                    assert_eq!(value, expected.unwrap_or_default());
                }
            }
            assert!((40..=70).contains(&(100 * reads / steps.len())), "{reads}");
        }
    }
}
