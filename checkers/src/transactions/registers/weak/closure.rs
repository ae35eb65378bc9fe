//! Causal consistency without sessions: who comes after a transaction through reads alone has seen it.
//!
//! Without sessions there are no few chains, and so nothing but to follow the reads from each writer, 64 at a time. But where the level
//! with sessions holds, this does, and elsewhere only those matter that are in a cycle there.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::super::components::components;
use super::super::super::graph::{Graph, Sink, WR};
use super::super::versions::INITIAL;
use super::{Conclusion, Weak};
use crate::budget::{Budget, Exhausted};

/// A read that may be of something too old.
struct Suspect {
    reader: u32,
    source: u32,
}

/// Of all conclusions, enough; `None` if reads alone have a cycle. `component` is where a transaction is in the graph with
/// sessions, and `in_sessions` are the conclusions there.
pub(super) fn conclusions(
    weak: &Weak,
    component: &[u32],
    in_sessions: Option<&[Conclusion]>,
    budget: &dyn Budget,
) -> Result<Option<Vec<Conclusion>>, Exhausted> {
    let count = weak.all.len() as u32;
    let each = |visit: Sink| {
        weak.each_before(false, &mut |from, to, relation| {
            if relation == WR {
                visit(from, to, relation);
            }
        });
    };
    let graph = Graph::build(count, count, &each, budget)?;
    // Numbers ascend against the edges, and where there is no cycle each has its own.
    let number = components(&graph, WR, budget)?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_unstable_by_key(|one| std::cmp::Reverse(number[*one as usize]));
    if order
        .windows(2)
        .any(|two| number[two[0] as usize] == number[two[1] as usize])
    {
        return Ok(None);
    }
    let (suspects, writers) = suspects(weak, component, in_sessions);
    let mut found = Vec::new();
    let mut reached = vec![0u64; weak.all.len()];
    for block in writers.chunks(64) {
        budget.check()?;
        let mut of_key: FxHashMap<u32, u64> = FxHashMap::default();
        reached.fill(0);
        for (bit, writer) in block.iter().enumerate() {
            for one in weak.versions.finals(*writer) {
                *of_key.entry(one.key).or_default() |= 1 << bit;
            }
            for (to, _) in graph.from(*writer) {
                reached[to as usize] |= 1 << bit;
            }
        }
        for one in &order {
            let bits = reached[*one as usize];
            if bits != 0 {
                for (to, _) in graph.from(*one) {
                    reached[to as usize] |= bits;
                }
            }
        }
        for (key, mask) in of_key {
            for Suspect { reader, source } in suspects.get(&key).into_iter().flatten() {
                let bits = reached[*reader as usize] & mask;
                for before in (0..block.len()).filter(|bit| bits >> bit & 1 == 1) {
                    let before = block[before];
                    let within = *source == INITIAL
                        || component[before as usize] == component[*source as usize];
                    if before != *source && within {
                        found.push(Conclusion {
                            before,
                            after: *source,
                            reader: *reader,
                            key,
                        });
                    }
                }
            }
        }
    }
    Ok(Some(found))
}

/// Reads by key whose source is in a cycle with sessions, or that are of an initial value that was overwritten; and all who wrote
/// one of these keys and may be in a cycle with such a read.
fn suspects(
    weak: &Weak,
    component: &[u32],
    in_sessions: Option<&[Conclusion]>,
) -> (FxHashMap<u32, Vec<Suspect>>, Vec<u32>) {
    let mut size: FxHashMap<u32, u32> = FxHashMap::default();
    for one in component {
        *size.entry(*one).or_default() += 1;
    }
    let stale: FxHashSet<(u32, u32)> = in_sessions
        .unwrap_or_default()
        .iter()
        .filter(|one| one.after == INITIAL)
        .map(|one| (one.reader, one.key))
        .collect();
    let mut suspects: FxHashMap<u32, Vec<Suspect>> = FxHashMap::default();
    let mut wanted: FxHashSet<(u32, u32)> = FxHashSet::default();
    for reader in 0..weak.all.len() as u32 {
        for (_, key, source) in weak.observed(reader) {
            let part = match source {
                INITIAL if in_sessions.is_none() || stale.contains(&(reader, key)) => INITIAL,
                INITIAL => continue,
                source => component[source as usize],
            };
            if part == INITIAL || size[&part] > 1 {
                suspects
                    .entry(key)
                    .or_default()
                    .push(Suspect { reader, source });
                wanted.insert((key, part));
            }
        }
    }
    let writers = (0..weak.all.len() as u32).filter(|writer| {
        let part = component[*writer as usize];
        weak.committed[*writer as usize]
            && weak.versions.finals(*writer).iter().any(|one| {
                wanted.contains(&(one.key, INITIAL)) || wanted.contains(&(one.key, part))
            })
    });
    (suspects, writers.collect())
}
