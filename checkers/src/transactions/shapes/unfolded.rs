//! Monotonic view: who has come after something sees nothing older from then on.
//!
//! Adya's (1999) *unfolded* graph has the reads and writes of one transaction apart, in their order, and the other transactions whole.
//! As a cycle with one anti-dependency leaves the reads and writes of a transaction once, all can be unfolded at once: what comes into a
//! transaction at some place comes to this place too, and only places are left by what was missed.

use super::super::anomaly::Anomaly;
use super::super::graph::{Graph, HOP, RW, Sink, WR, WW, WW_READ};
use super::super::history::Transactions;
use super::super::search::shortest;
use super::super::values::NONE;
use super::{Read, Shape, Table, What, Write, code, collapse};
use crate::budget::{Budget, Exhausted};

/// A place in a transaction.
enum Place {
    Read(Read),
    Write(u32, Write),
}

impl Place {
    fn mop(&self) -> u32 {
        match self {
            Place::Read(read) => read.mop,
            Place::Write(_, write) => write.mop,
        }
    }
}

/// The vertices: members, then places, then relays, which stand for all that comes from a place of a key's order on.
struct Vertices<'a> {
    all: &'a Transactions,
    table: &'a Table,
    part: &'a Graph,
    /// With the number of the member.
    places: Vec<(u32, Place)>,
    /// By key, the first relay.
    first: Vec<(u32, u32)>,
    end: u32,
}

impl<'a> Vertices<'a> {
    fn of(all: &'a Transactions, table: &'a Table, part: &'a Graph) -> Vertices<'a> {
        let mut places = Vec::new();
        for number in 0..table.members.len() {
            let reads = table.reads[number].iter().map(|read| Place::Read(*read));
            let writes = table.writes[number].iter();
            let writes = writes.map(|(key, write)| Place::Write(*key, *write));
            let mut mine: Vec<Place> = reads.chain(writes).collect();
            mine.sort_by_key(Place::mop);
            places.extend(mine.into_iter().map(|place| (number as u32, place)));
        }
        let mut end = (table.members.len() + places.len()) as u32;
        let first = table.by_key.iter().map(|(key, writes)| {
            let first = end;
            end += writes.len() as u32;
            (*key, first)
        });
        let first = first.collect();
        Vertices {
            all,
            table,
            part,
            places,
            first,
            end,
        }
    }

    fn members(&self) -> u32 {
        self.table.members.len() as u32
    }

    fn relay(&self, key: u32, place: usize) -> u32 {
        let at = self.first.partition_point(|(of, _)| *of < key);
        self.first[at].1 + place as u32
    }

    /// Whose a vertex is.
    fn owner(&self, vertex: u32) -> Option<u32> {
        match vertex.checked_sub(self.members()) {
            None => Some(vertex),
            Some(place) => self.places.get(place as usize).map(|(owner, _)| *owner),
        }
    }

    fn each(&self, visit: Sink) {
        for one in 0..self.members() {
            for (to, relation) in self.part.from(one) {
                if relation & (WW | WW_READ | WR) != 0 {
                    visit(one, to, relation);
                }
            }
        }
        for (key, writes) in &self.table.by_key {
            for (at, write) in writes.iter().enumerate() {
                let relay = self.relay(*key, at);
                visit(relay, self.table.number(write.transaction), HOP);
                if at + 1 < writes.len() {
                    visit(relay, relay + 1, HOP);
                }
            }
        }
        for (at, (owner, place)) in self.places.iter().enumerate() {
            let vertex = self.members() + at as u32;
            let next = self.places.get(at + 1);
            if next.is_some_and(|(next, _)| next == owner) {
                visit(vertex, vertex + 1, HOP);
            }
            match place {
                Place::Read(read) => {
                    let writes = self.table.of(read.key);
                    let shown = writes.partition_point(|one| one.place < read.length);
                    self.after(writes, shown, *owner, vertex, WR, visit);
                    if shown < writes.len() {
                        visit(vertex, self.relay(read.key, shown), RW);
                    }
                }
                Place::Write(key, write) => {
                    let writes = self.table.of(*key);
                    let before = writes.partition_point(|one| one.place < write.place);
                    self.after(writes, before, *owner, vertex, WW, visit);
                }
            }
        }
    }

    /// That a place comes after the last of so many writes.
    fn after(
        &self,
        writes: &[Write],
        count: usize,
        owner: u32,
        vertex: u32,
        relation: u8,
        visit: Sink,
    ) {
        if let Some(last) = count.checked_sub(1) {
            let writer = self.table.number(writes[last].transaction);
            if writer != owner {
                visit(writer, vertex, relation);
            }
        }
    }
}

pub(super) fn find(
    all: &Transactions,
    table: &Table,
    part: &Graph,
    budget: &dyn Budget,
) -> Result<Option<Shape>, Exhausted> {
    let vertices = Vertices::of(all, table, part);
    let each = |visit: Sink| vertices.each(visit);
    let graph = Graph::build(vertices.end, vertices.members(), &each, budget)?;
    let places = vertices.members()..vertices.members() + vertices.places.len() as u32;
    let starts = places.flat_map(|one| {
        let from = graph.from(one);
        from.filter(|(_, kind)| kind & RW != 0)
            .map(move |(to, kind)| (one, to, kind))
    });
    let starts = starts.collect();
    let walk = WW | WW_READ | WR;
    let Some(path) = shortest(&graph, walk, starts, false, budget)? else {
        return Ok(None);
    };
    let Some(links) = collapse(&path, |vertex| vertices.owner(vertex), &table.members) else {
        return Ok(None);
    };
    let mut what: Vec<Option<What>> = vec![None; links.len()];
    // It begins with what was missed, and ends with what comes to a place.
    if let (Some(first), Some(last)) = (links.first(), links.len().checked_sub(1)) {
        what[0] = vertices.missed(path[0].0, first.to);
        let into = path.iter().rev().find(|(_, _, kind)| kind & HOP == 0);
        what[last] = into.and_then(|(_, place, _)| vertices.reached(*place, links[last].from));
    }
    Ok(Some(Shape {
        anomaly: Anomaly::Monotonic,
        links: links.into_iter().zip(what).collect(),
    }))
}

impl Vertices<'_> {
    fn place(&self, vertex: u32) -> Option<&Place> {
        let place = vertex.checked_sub(self.members())?;
        self.places.get(place as usize).map(|(_, place)| place)
    }

    /// What the read at a vertex missed of a transaction.
    fn missed(&self, vertex: u32, writer: u32) -> Option<What> {
        let Place::Read(read) = self.place(vertex)? else {
            return None;
        };
        let write = self.table.write(writer, read.key)?;
        Some(What {
            key: read.key,
            value: NONE,
            next: code(self.all, &write),
        })
    }

    /// What the place at a vertex comes after, of a transaction.
    fn reached(&self, vertex: u32, writer: u32) -> Option<What> {
        let (key, next) = match self.place(vertex)? {
            Place::Read(read) => (read.key, NONE),
            Place::Write(key, write) => (*key, code(self.all, write)),
        };
        let write = self.table.write(writer, key)?;
        Some(What {
            key,
            value: code(self.all, &write),
            next,
        })
    }
}
