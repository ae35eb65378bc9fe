//! Linearizable registers: read, write and compare-and-set on many independent keys.
//!
//! # What it does
//!
//! Client threads work in groups, each on one key at a time. A group holds two threads for each node
//! where there are as many (worker `i` is pinned to node `i mod n`), and one otherwise, so that on
//! every key there are clients on both sides of every partition. When a key has had its share of
//! operations, its group goes on to a fresh one: checking a key costs more the longer it lives and the
//! more operations on it ended `info`.
//!
//! The first thread on a node mixes: a third of its operations read, a third write and a third
//! compare and set. The second one only reads. Without such readers a node that is cut off and still
//! answers reads is hardly ever asked, for its clients soon hang in a write that it cannot commit; with
//! readers alone on some nodes, writes that these lose would go unseen.
//!
//! # Few values, not unique ones
//!
//! Registers hold one of a few values, five by default, as Jepsen's do. Unique values would make
//! stale reads easier to see and checking cheaper, but then a compare-and-set can only succeed if
//! its client has just read what it expects: it would be drawn from what other workers did and not
//! from the worker's own random stream, and the same seed would no longer give the same operations.
//! With five values one compare-and-set in five succeeds by itself. What is lost is little: a wrong
//! value passes unseen where an operation with that value, concurrent or unknown, explains it, and a
//! key is left before many operations on it are unknown.
//!
//! # How long a key lives
//!
//! A key must live through the beginning and the end of a fault, or else nobody compares before with
//! after. Its share is counted in operations that *succeeded* (those that are refused while a node
//! is down prove little), and a thread whose operation was refused rests for a moment, so that it
//! does not use up the rate of the whole run.

use checkers::linearizability::{self, Linearizable};
use harness::client::Op;
use harness::generator::{BoxGenerator, GeneratorExt, independent};
use harness::seed::Rng;
use rand::RngExt;
use store::{Value, json};

use crate::load::{self, Limits, Streams, Turns, whole};
use crate::options::{self, OptionSpec, Options};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "register";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Reads, writes and compare-and-sets on many independent keys; finds whatever is \
                  not linearizable: stale reads, lost and resurrected writes, split brain"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "ops-per-key",
            1,
            1_000_000,
            Some("300"),
            "Operations that succeed on a key before its clients go on to the next",
        ),
        whole(
            "unknown-per-key",
            1,
            1_000_000,
            Some("16"),
            "Operations with unknown outcome on a key before its clients go on to the next",
        ),
        whole(
            "group-size",
            1,
            100_000,
            None,
            "Clients that share a key; by default two for each node, or one where they do not come out even",
        ),
        whole(
            "values",
            2,
            1_000_000,
            Some("5"),
            "How many different values a register takes",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history.
pub fn checkers() -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: "linearizable".into(),
        make: Box::new(|| Box::new(Linearizable::new(linearizability::Options::default()))),
    }]
}

/// The operations of the main phase.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let options = request.options;
    let group = group_size(options, request.node_names.len(), request.workers)?;
    let limits = Limits {
        oks: options.integer("ops-per-key") as u64,
        infos: options.integer("unknown-per-key") as u64,
    };
    let values = options.integer("values");
    let nodes = request.node_names.len();
    let seed = request.seed.named(NAME);
    let draw = move |thread, rng: &mut Rng| match is_reader(thread % group, nodes, group) {
        true => Op::new("read", Value::Null),
        false => operation(rng, values),
    };
    let keys = independent::concurrent(
        seed.named("keys"),
        group,
        (0_i64..).map(|key| json!(key)),
        move |_seed, _key, _group| Turns::new(limits).boxed(),
    );
    let keys = Streams::new(seed.named("operations"), keys, draw);
    Ok(load::paced(options, seed, keys))
}

/// How many threads share a key.
fn group_size(options: &Options, nodes: usize, workers: usize) -> Result<usize, BuildError> {
    let wanted = match options.integer_if("group-size") {
        Some(size) => size as usize,
        None if workers.is_multiple_of(2 * nodes) => 2 * nodes,
        None => nodes.max(2).min(workers),
    };
    if wanted == 0 || !workers.is_multiple_of(wanted) {
        return Err(BuildError(format!(
            "{workers} clients do not divide into groups of {wanted}, which share a key: \
             take a --concurrency that is a multiple of {wanted}, or another --group-size"
        )));
    }
    Ok(wanted)
}

/// Whether a thread of a group only reads: every second one on each node, where the group has two.
fn is_reader(slot: usize, nodes: usize, group: usize) -> bool {
    group >= 2 * nodes && (slot / nodes) % 2 == 1
}

/// Draws an operation.
fn operation(rng: &mut Rng, values: i64) -> Op {
    if rng.random_ratio(1, 3) {
        return Op::new("read", Value::Null);
    }
    let mut value = || rng.random_range(0..values);
    let (a, b) = (value(), value());
    match rng.random() {
        true => Op::new("write", json!(a)),
        false => Op::new("cas", json!([a, b])),
    }
}

#[cfg(test)]
mod tests;
