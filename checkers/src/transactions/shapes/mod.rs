//! Cycles of certain shapes, which tell apart the models between read committed and snapshot isolation: of lists, and of registers whose
//! versions are in a given order.
//!
//! The classes of cycles ([`Class`]) count anti-dependencies. Between read committed and snapshot isolation there are models that ask
//! for more: along which dependencies a transaction comes after another that it missed.
//!
//! | anomaly | the cycle | rules out |
//! | --- | --- | --- |
//! | `OTV` | T read something of U, and then missed something of U | monotonic atomic view (Bailis et al. 2013) |
//! | `fractured-read` | T read something of U, and missed something of U | read atomic (Cerone, Bernardi and Gotsman 2015) |
//! | `causality-violation` | T comes after U by reads alone, and missed something of U | causal (the same) |
//! | `G-cursor` | T read a key, missed U's write of it, and then wrote it after U | cursor stability (Adya 1999), update atomic |
//! | `fractured-update` | T wrote a key after U, and missed something of U elsewhere | update atomic (Cerone et al. 2015) |
//! | `G-monotonic` | T comes, at a read or a write, after U by dependencies, and then missed something of U | monotonic view (Adya 1999) |
//! | `prefix-violation` | each who missed something had read what it comes after, and did not only write after it | prefix (Cerone et al. 2015) |
//! | `G-update` | any with anti-dependencies, of which at most one transaction only reads | update serializable (Adya 1999) |
//!
//! The second and third also count what a session saw before as seen (`-process`). All are cycles, so they are looked for in components
//! that have one. Each is polynomial, and complete where versions are all in order: pairs are found in tables ([`pairs`]),
//! the others as paths in graphs of their own ([`causal`], [`unfolded`], [`products`]) by the search for cycles.
//!
//! Of registers, who read a version has seen no earlier one. So only those shapes are looked for that are about dependencies (the last
//! five); the others are `registers/weak`.
//!
//! That prefix is this: give each transaction a moment of beginning and one of commit. Who read a write began after its commit; who
//! missed one began before; versions are in order of commits. These have an order unless there is a cycle, and a cycle can leave a
//! transaction by what it missed only if it came to its beginning, by what it read.

mod causal;
mod conflicts;
mod pairs;
mod products;
mod prove;
mod unfolded;
pub(super) mod verify;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::anomaly::{Anomaly, Base, Class};
use super::components::{components, groups};
use super::conclude::Cycles;
use super::graph::{DEPENDENCIES, Graph, HOP, PROCESS};
use super::history::{Seen, Transactions};
use super::scan::KEPT;
use super::search::{Edge, Link, part};
use super::values::NONE;
use super::versions::Versions;
use crate::budget::{Budget, Exhausted, Scope};

pub(super) use conflicts::{Conflict, with_conflicts};

/// What a dependency is about, if it matters which of several it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct What {
    pub(super) key: u32,
    /// The code of the element of the earlier transaction, or `NONE`.
    pub(super) value: u32,
    /// The code of the element of the later transaction, or `NONE`.
    pub(super) next: u32,
}

/// A cycle of some shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) anomaly: Anomaly,
    pub(super) links: Vec<(Link, Option<What>)>,
}

/// Shapes of one name, and how many components have one.
pub(super) type Shapes = BTreeMap<Anomaly, (u64, Vec<Shape>)>;

/// Where lists stand among each other.
pub(super) struct Lists<'a> {
    pub(super) all: &'a Transactions,
    pub(super) versions: &'a Versions,
    /// Where a guess puts an append that nobody read, by micro-operation: how many of these come before it.
    pub(super) guess: FxHashMap<u32, u32>,
}

/// Objects whose versions are in order.
pub(super) trait Placed {
    fn all(&self) -> &Transactions;

    /// The last writes of a transaction to keys whose versions are all in order.
    fn writes(&self, transaction: u32) -> Vec<(u32, Write)>;

    /// What it read of them.
    fn reads(&self, transaction: u32) -> Vec<Read>;

    /// These, if they are lists: whose reads show all that was there before.
    fn lists(&self) -> Option<&Lists<'_>>;
}

impl Placed for Lists<'_> {
    fn all(&self) -> &Transactions {
        self.all
    }

    fn writes(&self, transaction: u32) -> Vec<(u32, Write)> {
        let mut mine: Vec<(u32, Write)> = Vec::new();
        for (mop, key, _) in self.all.writes(transaction).rev() {
            let known = mine.iter().any(|(of, _)| *of == key);
            if !known && self.versions.is_whole(self.all, key) {
                let place = self.place(mop, key);
                let write = Write {
                    place,
                    transaction,
                    mop,
                };
                mine.push((key, write));
            }
        }
        mine
    }

    fn reads(&self, transaction: u32) -> Vec<Read> {
        let certain = self.all.reads(transaction).filter_map(|(mop, key, seen)| {
            let Seen::Prefix(length) = seen else {
                return None;
            };
            let whole = self.versions.is_whole(self.all, key);
            whole.then_some(Read { mop, key, length })
        });
        certain.collect()
    }

    fn lists(&self) -> Option<&Lists<'_>> {
        Some(self)
    }
}

impl Lists<'_> {
    /// Where an append stands in its key's order. Those that nobody read are behind all others, and in no order among each other but
    /// that of a guess.
    fn place(&self, mop: u32, key: u32) -> u32 {
        self.versions.position(mop).unwrap_or_else(|| {
            let whole = self.all.keys[key as usize].order.len() as u32;
            whole + self.guess.get(&mop).copied().unwrap_or(0)
        })
    }
}

/// The shapes of a history whose classes of cycles are known, without those that others imply.
pub(super) fn find(
    objects: &dyn Placed,
    graph: &Graph,
    cycles: &Cycles,
    budget: &dyn Budget,
) -> Result<Shapes, Exhausted> {
    let budget = &Scope::of(budget);
    let mut shapes = Shapes::new();
    let has = |classes: &[Class]| {
        let bases = [Base::Plain, Base::Process];
        let mut all = classes
            .iter()
            .flat_map(|class| bases.map(|base| Anomaly::Cycle(*class, base)));
        all.any(|one| cycles.contains_key(&one))
    };
    if !has(&Class::ALL) {
        return Ok(shapes);
    }
    // What who appended before missed may be in a cycle of writes and reads.
    let is_single = has(&[Class::G0, Class::G1c, Class::GSingle]);
    let is_plain = cycles.contains_key(&Anomaly::Cycle(Class::GSingle, Base::Plain));
    let component = components(graph, DEPENDENCIES | PROCESS, budget)?;
    let mut local = vec![NONE; graph.vertices() as usize];
    for mut members in groups(&component) {
        let budget = &Scope::of(budget);
        let part = part(graph, &members, &mut local, budget)?;
        members.truncate(part.relays as usize);
        let all = objects.all();
        let table = Table::new(objects, members, budget)?;
        let mut found = products::find(all, &part, &table.members, is_plain, budget)?;
        if is_single {
            found.extend(pairs::find(all, &table, budget)?);
            found.extend(unfolded::find(all, &table, &part, budget)?);
        }
        match objects.lists() {
            None => found.retain(|shape| Anomaly::SHAPES.contains(&shape.anomaly)),
            Some(lists) => {
                if is_single {
                    found.extend(causal::find_any(all, &table, budget)?);
                }
                found.extend(conflicts::find(lists, &table, &part, budget)?);
            }
        }
        keep(found, &mut shapes);
        budget.check()?;
    }
    let names: Vec<Anomaly> = shapes.keys().chain(cycles.keys()).copied().collect();
    let implied = |this: &Anomaly| {
        let mut others = names.iter().filter(|other| *other != this);
        others.any(|other| other.implies(*this))
    };
    shapes.retain(|anomaly, _| !implied(anomaly));
    Ok(shapes)
}

/// Counts the shapes of a component, each once, and keeps the shortest.
fn keep(found: Vec<Shape>, shapes: &mut Shapes) {
    for shape in found {
        let (count, kept) = shapes.entry(shape.anomaly).or_default();
        *count += 1;
        kept.push(shape);
        kept.sort_by_key(|shape| shape.links.len());
        kept.truncate(KEPT);
    }
}

/// The last write of a transaction to a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) place: u32,
    pub(super) transaction: u32,
    pub(super) mop: u32,
}

/// A read of a transaction: before which place all is that it shows of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) mop: u32,
    pub(super) key: u32,
    pub(super) length: u32,
}

/// What the transactions of a component do to keys whose versions are in order.
struct Table {
    /// Ascending.
    members: Vec<u32>,
    /// By member: the last write to each key.
    writes: Vec<Vec<(u32, Write)>>,
    /// By member: its reads.
    reads: Vec<Vec<Read>>,
    /// By key, by places.
    by_key: BTreeMap<u32, Vec<Write>>,
}

impl Table {
    fn new(
        objects: &dyn Placed,
        members: Vec<u32>,
        budget: &dyn Budget,
    ) -> Result<Table, Exhausted> {
        let all = objects.all();
        let mops: usize = members.iter().map(|one| all.mops(*one).count()).sum();
        budget.charge(members.len() * 48 + mops * 64)?;
        let mut by_key: BTreeMap<u32, Vec<Write>> = BTreeMap::new();
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for transaction in &members {
            let mine = objects.writes(*transaction);
            for (key, write) in &mine {
                by_key.entry(*key).or_default().push(*write);
            }
            writes.push(mine);
            reads.push(objects.reads(*transaction));
        }
        by_key
            .values_mut()
            .for_each(|writes| writes.sort_by_key(|one| (one.place, one.transaction)));
        Ok(Table {
            members,
            writes,
            reads,
            by_key,
        })
    }

    /// The number of a member.
    fn number(&self, transaction: u32) -> u32 {
        self.members.partition_point(|one| *one < transaction) as u32
    }

    /// A transaction's last write to a key.
    fn write(&self, transaction: u32, key: u32) -> Option<Write> {
        let mine = &self.writes[self.number(transaction) as usize];
        let found = mine.iter().find(|(of, _)| *of == key);
        found.map(|(_, write)| *write)
    }

    /// The writes of a key.
    fn of(&self, key: u32) -> &[Write] {
        self.by_key.get(&key).map_or(&[], Vec::as_slice)
    }
}

fn code(all: &Transactions, write: &Write) -> u32 {
    let element = all.mops[write.mop as usize].element();
    element.unwrap_or(NONE)
}

/// A cycle of edges between transactions: those to vertices that are nobody's go on, and those that stay in a transaction are none.
/// `None` if a transaction would depend on itself.
fn collapse(
    path: &[Edge],
    owner: impl Fn(u32) -> Option<u32>,
    members: &[u32],
) -> Option<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for (at, (from, _, relation)) in path.iter().enumerate() {
        if relation & HOP != 0 {
            continue;
        }
        let ends = path[at..].iter().chain(path);
        let to = ends.into_iter().find_map(|(_, to, _)| owner(*to))?;
        let link = Link {
            from: members[owner(*from)? as usize],
            to: members[to as usize],
            relation: *relation,
        };
        if link.from == link.to {
            return None;
        }
        match links.last_mut() {
            Some(last) if last.relation == PROCESS && link.relation == PROCESS => last.to = link.to,
            _ => links.push(link),
        }
    }
    Some(links)
}
