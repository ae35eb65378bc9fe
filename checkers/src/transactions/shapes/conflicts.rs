//! Who must come first of two that appended to one key, where nobody read either.
//!
//! If an update must not be lost, or who writes after another must have seen all of it, then who missed something of the other wrote
//! first. Where that contradicts dependencies, there is a violation whichever was first.

use super::super::anomaly::Anomaly;
use super::super::components::{components, groups};
use super::super::graph::{DEPENDENCIES, Graph, OVERWRITTEN, PROCESS, RW, Sink, WR, WW, WW_READ};
use super::super::search::{shortest, starts};
use super::super::values::NONE;
use super::{Lists, Shape, Table, What, Write, code, collapse};
use crate::budget::{Budget, Exhausted};

/// What was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Conflict {
    /// Of the key that both wrote.
    Cursor,
    /// Of any key.
    Any,
}

/// How many pairs of a component are looked at. More can be needed to see a violation, and never to see that there is none: that is seen
/// in an order.
const FIRSTS_MAX: usize = 1 << 18;

/// That a transaction came first.
struct First {
    transaction: u32,
    other: u32,
    missed: What,
}

fn firsts(
    lists: &Lists,
    table: &Table,
    conflict: Conflict,
    budget: &dyn Budget,
) -> Result<Vec<First>, Exhausted> {
    let mut firsts = Vec::new();
    // A guess has put them in order.
    if !lists.guess.is_empty() {
        return Ok(firsts);
    }
    for (key, writes) in &table.by_key {
        let unread = writes.partition_point(|one| lists.versions.position(one.mop).is_some());
        let unread = &writes[unread..];
        for one in unread {
            let reads = table.reads[table.number(one.transaction) as usize].iter();
            let reads = reads.filter(|read| conflict == Conflict::Any || read.key == *key);
            for read in reads {
                firsts.extend(missed(lists, table, unread, one, read.key, read.length));
            }
            if firsts.len() > FIRSTS_MAX {
                return Ok(firsts);
            }
        }
        budget.check()?;
    }
    budget.charge(firsts.len() * size_of::<First>())?;
    Ok(firsts)
}

/// What a read of a writer missed of the others.
fn missed(
    lists: &Lists,
    table: &Table,
    others: &[Write],
    writer: &Write,
    key: u32,
    length: u32,
) -> Vec<First> {
    let others = others
        .iter()
        .filter(|other| other.transaction != writer.transaction);
    let missed = others.filter_map(|other| {
        let write = table.write(other.transaction, key)?;
        (write.place >= length).then(|| First {
            transaction: writer.transaction,
            other: other.transaction,
            missed: What {
                key,
                value: NONE,
                next: code(lists.all, &write),
            },
        })
    });
    missed.collect()
}

/// A graph with those edges besides that say who came first.
pub(in super::super) fn with_conflicts(
    lists: &Lists,
    graph: &Graph,
    conflict: Conflict,
    budget: &dyn Budget,
) -> Result<Graph, Exhausted> {
    let component = components(graph, DEPENDENCIES | PROCESS, budget)?;
    let mut all = Vec::new();
    for mut members in groups(&component) {
        members.retain(|one| !graph.is_relay(*one));
        let table = Table::new(lists, members, budget)?;
        all.extend(firsts(lists, &table, conflict, budget)?);
    }
    let each = |visit: Sink| {
        for from in 0..graph.vertices() {
            for (to, relation) in graph.from(from) {
                visit(from, to, relation);
            }
        }
        for first in &all {
            visit(first.transaction, first.other, OVERWRITTEN);
        }
    };
    Graph::build(graph.vertices(), graph.relays, &each, budget)
}

/// Cycles of dependencies and of who came first.
pub(super) fn find(
    lists: &Lists,
    table: &Table,
    part: &Graph,
    budget: &dyn Budget,
) -> Result<Vec<Shape>, Exhausted> {
    let kinds = [
        (Conflict::Cursor, Anomaly::Cursor),
        (Conflict::Any, Anomaly::FracturedUpdate),
    ];
    let mut found = Vec::new();
    for (conflict, anomaly) in kinds {
        let firsts = firsts(lists, table, conflict, budget)?;
        if firsts.is_empty() {
            continue;
        }
        let each = |visit: Sink| {
            for from in 0..part.relays {
                let edges = part.from(from);
                for (to, kind) in edges.filter(|(_, kind)| kind & (WW | WW_READ | WR) != 0) {
                    visit(from, to, kind);
                }
            }
            for first in &firsts {
                let ends = [first.transaction, first.other].map(|one| table.number(one));
                visit(ends[0], ends[1], OVERWRITTEN);
            }
        };
        let graph = Graph::build(part.relays, part.relays, &each, budget)?;
        let walk = WW | WW_READ | WR | OVERWRITTEN;
        let starts = starts(&graph, OVERWRITTEN);
        let path = shortest(&graph, walk, starts, true, budget)?;
        let Some(links) = path.and_then(|path| collapse(&path, Some, &table.members)) else {
            continue;
        };
        let links = links.into_iter().map(|mut link| {
            if link.relation != OVERWRITTEN {
                return (link, None);
            }
            link.relation = RW;
            let mut all = firsts.iter();
            let first = all.find(|one| (one.transaction, one.other) == (link.from, link.to));
            (link, first.map(|first| first.missed))
        });
        found.push(Shape {
            anomaly,
            links: links.collect(),
        });
    }
    Ok(found)
}
