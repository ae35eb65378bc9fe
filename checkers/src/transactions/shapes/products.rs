//! Shapes that are classes of cycles in another graph: prefix, and update serializable.

use super::super::anomaly::Anomaly;
use super::super::graph::{DEPENDENCIES, Graph, HOP, OVERWRITTEN, RW, Sink, WR};
use super::super::history::Transactions;
use super::super::search::{Edge, shortest, starts};
use super::{Shape, collapse};
use crate::budget::{Budget, Exhausted};

/// What a transaction that only reads missed. Lists have no conclusions, so the bit is free.
const OF_QUERY: u8 = OVERWRITTEN;

pub(super) fn find(
    all: &Transactions,
    part: &Graph,
    members: &[u32],
    is_single: bool,
    budget: &dyn Budget,
) -> Result<Vec<Shape>, Exhausted> {
    let mut found = Vec::new();
    let prefix = prefix(part, budget)?;
    // A cycle with one anti-dependency implies it.
    let update = match is_single {
        true => None,
        false => update(all, part, members, budget)?,
    };
    for (anomaly, path) in [
        (Anomaly::PrefixViolation, prefix),
        (Anomaly::Update, update),
    ] {
        let owner = |vertex: u32| (!part.is_relay(vertex)).then_some(vertex);
        let Some(links) = path.and_then(|path| collapse(&path, owner, members)) else {
            continue;
        };
        found.push(Shape {
            anomaly,
            links: links.into_iter().map(|link| (link, None)).collect(),
        });
    }
    Ok(found)
}

/// A cycle in which each anti-dependency is just after a read dependency. In the product, twice a vertex is its beginning, to which what it
/// read leads, and one more its commit.
fn prefix(part: &Graph, budget: &dyn Budget) -> Result<Option<Vec<Edge>>, Exhausted> {
    let each = |visit: Sink| {
        for from in 0..part.vertices() {
            for (to, relation) in part.from(from) {
                match relation {
                    HOP => visit(2 * from + 1, 2 * to + 1, HOP),
                    RW => visit(2 * from, 2 * to + 1, RW),
                    dependency if dependency & DEPENDENCIES != 0 => {
                        let end = 2 * to + u32::from(dependency != WR);
                        visit(2 * from, end, dependency);
                        visit(2 * from + 1, end, dependency);
                    }
                    _ => {}
                }
            }
        }
    };
    let product = Graph::build(2 * part.vertices(), 2 * part.relays, &each, budget)?;
    let starts = starts(&product, RW);
    let path = shortest(&product, DEPENDENCIES, starts, true, budget)?;
    let halve = |(from, to, relation): Edge| (from / 2, to / 2, relation);
    Ok(path.map(|path| path.into_iter().map(halve).collect()))
}

/// A cycle with anti-dependencies and at most one transaction that only reads. What these missed can be its beginning, and is not walked.
fn update(
    all: &Transactions,
    part: &Graph,
    members: &[u32],
    budget: &dyn Budget,
) -> Result<Option<Vec<Edge>>, Exhausted> {
    let each = |visit: Sink| {
        for from in 0..part.vertices() {
            let member = members.get(from as usize);
            let query = member.is_some_and(|one| all.writes(*one).next().is_none());
            for (to, relation) in part.from(from) {
                match relation {
                    RW if query => visit(from, to, OF_QUERY),
                    HOP => visit(from, to, HOP),
                    dependency if dependency & DEPENDENCIES != 0 => visit(from, to, dependency),
                    _ => {}
                }
            }
        }
    };
    let graph = Graph::build(part.vertices(), part.relays, &each, budget)?;
    let path = match shortest(&graph, DEPENDENCIES, starts(&graph, RW), true, budget)? {
        Some(path) => Some(path),
        None => {
            let starts = starts(&graph, OF_QUERY);
            shortest(&graph, DEPENDENCIES, starts, false, budget)?
        }
    };
    let restore = |(from, to, relation): Edge| {
        let relation = if relation == OF_QUERY { RW } else { relation };
        (from, to, relation)
    };
    Ok(path.map(|path| path.into_iter().map(restore).collect()))
}
