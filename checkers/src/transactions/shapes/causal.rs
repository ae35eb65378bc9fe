//! Who has missed something of a transaction that it comes after by reads alone, or by reads and sessions.
//!
//! A list shows all appends before its end, so a reader comes after all of their transactions, and misses all after it. Each place of a
//! key's order has two relays: one stands for all that was there before, one for all that came after.

use super::super::anomaly::{Anomaly, Base, View};
use super::super::graph::{Graph, HOP, PROCESS, RW, Sink, WR};
use super::super::history::Transactions;
use super::super::search::shortest;
use super::super::values::NONE;
use super::{Shape, Table, What, code, collapse};
use crate::budget::{Budget, Exhausted};

/// The vertices: each member twice, as it is, and as one that was just missed; then the relays.
struct Vertices<'a> {
    table: &'a Table,
    /// By key, the first relay.
    first: Vec<(u32, u32)>,
    relays: u32,
    end: u32,
}

impl<'a> Vertices<'a> {
    fn of(table: &'a Table) -> Vertices<'a> {
        let relays = 2 * table.members.len() as u32;
        let mut end = relays;
        let first = table.by_key.iter().map(|(key, writes)| {
            let first = end;
            end += 2 * writes.len() as u32;
            (*key, first)
        });
        let first = first.collect();
        Vertices {
            table,
            first,
            relays,
            end,
        }
    }

    fn relay(&self, key: u32, place: usize) -> u32 {
        let at = self.first.partition_point(|(of, _)| *of < key);
        self.first[at].1 + 2 * place as u32
    }

    fn each(&self, all: &Transactions, visit: Sink) {
        for (key, writes) in &self.table.by_key {
            for (at, write) in writes.iter().enumerate() {
                let (seen, missed) = (self.relay(*key, at), self.relay(*key, at) + 1);
                let writer = 2 * self.table.number(write.transaction);
                visit(writer, seen, WR);
                visit(writer + 1, seen, WR);
                visit(missed, writer + 1, HOP);
                if at + 1 < writes.len() {
                    visit(seen, seen + 2, HOP);
                    visit(missed, missed + 2, HOP);
                }
            }
        }
        for (number, reads) in (0u32..).zip(&self.table.reads) {
            for read in reads {
                let writes = self.table.of(read.key);
                let shown = writes.partition_point(|one| one.place < read.length);
                if shown > 0 {
                    visit(self.relay(read.key, shown - 1), 2 * number, HOP);
                }
                if shown < writes.len() {
                    visit(2 * number, self.relay(read.key, shown) + 1, RW);
                }
            }
        }
        let mut last = vec![NONE; all.processes.len()];
        for (number, transaction) in (0u32..).zip(&self.table.members) {
            let last = &mut last[all.process[*transaction as usize] as usize];
            if *last != NONE {
                visit(2 * *last, 2 * number, PROCESS);
                visit(2 * *last + 1, 2 * number, PROCESS);
            }
            if all.is_ok(*transaction) {
                *last = number;
            }
        }
    }
}

/// Without sessions if that is so, and else with them.
pub(super) fn find_any(
    all: &Transactions,
    table: &Table,
    budget: &dyn Budget,
) -> Result<Option<Shape>, Exhausted> {
    match find(all, table, Base::Plain, budget)? {
        None => find(all, table, Base::Process, budget),
        found => Ok(found),
    }
}

fn find(
    all: &Transactions,
    table: &Table,
    base: Base,
    budget: &dyn Budget,
) -> Result<Option<Shape>, Exhausted> {
    let vertices = Vertices::of(table);
    let each = |visit: Sink| vertices.each(all, visit);
    let graph = Graph::build(vertices.end, vertices.relays, &each, budget)?;
    let members = 0..table.members.len() as u32;
    let starts = members.flat_map(|one| {
        let from = graph.from(2 * one);
        from.filter(|(_, kind)| kind & RW != 0)
            .map(move |(to, kind)| (2 * one, to, kind))
    });
    let starts = starts.collect();
    let walk = match base {
        Base::Plain => WR,
        Base::Process | Base::Realtime => WR | PROCESS,
    };
    let Some(path) = shortest(&graph, walk, starts, false, budget)? else {
        return Ok(None);
    };
    let owner = |vertex: u32| (vertex < vertices.relays).then_some(vertex / 2);
    let Some(links) = collapse(&path, owner, &table.members) else {
        return Ok(None);
    };
    let base = match links.iter().any(|link| link.relation == PROCESS) {
        true => Base::Process,
        false => Base::Plain,
    };
    let what = links.first().and_then(|missed| {
        let reads = &table.reads[table.number(missed.from) as usize];
        reads.iter().find_map(|read| {
            let write = table.write(missed.to, read.key)?;
            (write.place >= read.length).then(|| What {
                key: read.key,
                value: NONE,
                next: code(all, &write),
            })
        })
    });
    let mut what = Some(what);
    Ok(Some(Shape {
        anomaly: Anomaly::View(View::Causal, base),
        links: links
            .into_iter()
            .map(|link| (link, what.take().flatten()))
            .collect(),
    }))
}
