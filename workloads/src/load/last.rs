//! The last reads, when all is healed: what they do not show is gone.

use std::time::Duration;

use harness::client::Op;
use harness::generator::{
    BoxGenerator, GeneratorExt, concat, cycle_n, each_thread, lazy, op, sleep,
};
use harness::generators;
use store::Value;

use super::Used;
use crate::BuildRequest;

/// How many last reads there are, all clients together: enough to count as evidence though half of them fail.
const READS: usize = 20;
/// How often a last read is tried.
pub(crate) const FINAL_TRIES: u64 = 10;
/// How long before each try: also what a replica that is healthy again has to catch up.
const PAUSE: Duration = Duration::from_secs(1);
/// How long last reads of many keys take at most.
const LIMIT: Duration = Duration::from_secs(120);

/// A read of everything, by the function `f`, by each client until it succeeds, as often as it takes to have enough of them.
pub(crate) fn read_until_ok(request: &BuildRequest<'_>, f: &'static str) -> BoxGenerator {
    let reads = READS.div_ceil(request.workers.max(1)) as u64;
    let read = move |_| concat(generators![sleep(PAUSE), again(Op::new(f, Value::Null))]);
    // All clients: whose last read was in the main phase has none that is final.
    each_thread(move |_| cycle_n(reads, read)).boxed()
}

/// A read until it succeeds, after a pause where it did not.
fn again(read: Op) -> BoxGenerator {
    let attempt = move |tried| {
        let read = op(read.clone());
        match tried {
            0 => read.boxed(),
            _ => concat(generators![sleep(PAUSE), read]).boxed(),
        }
    };
    cycle_n(FINAL_TRIES, attempt).until_ok().boxed()
}

/// A read of each key that was used, by the function `f`, on each node. The clients of a node share the keys.
pub(crate) fn read_keys_until_ok(
    request: &BuildRequest<'_>,
    f: &'static str,
    used: Used,
) -> BoxGenerator {
    let (workers, nodes) = (request.workers, request.node_names.len().max(1));
    let mine = move |thread: usize| {
        let (node, place) = (thread % nodes, thread / nodes);
        let sharing = (workers + nodes - 1 - node) / nodes;
        let keys = used.clone();
        // How many keys there are is known when the main phase has ended.
        let reads = lazy(move |_ctx| {
            let keys = keys.keys().skip(place).step_by(sharing.max(1));
            concat(keys.map(move |key| again(Op::new(f, Value::Null).on_key(key.into())))).boxed()
        });
        concat(generators![sleep(PAUSE), reads])
    };
    each_thread(mine).time_limit(LIMIT).boxed()
}
