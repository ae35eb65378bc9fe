//! Cycles of each class in a strongly connected component.
//!
//! A class of cycles is a regular set of sequences of relations, so its cycles are paths in the product of the graph with an
//! automaton, and breadth-first search finds the shortest. All automata here have one state but that of G-nonadjacent,
//! which remembers whether it has just passed an anti-dependency. Each cycle of a class contains a relation that
//! the others of its kind lack (an anti-dependency, a read dependency, a write dependency), and is looked for from there.
//!
//! First, all starts are searched a step deep, then two, and so on: what is found is shortest, and where all searches end, there is
//! nothing. In a large component with none but long cycles that takes long, so it is left at [`EFFORT`], and
//! whether there is a cycle at all is decided in another way, in linear time or (G-single) 64 starts at a time: a class is
//! never given up, only the claim that no cycle is shorter.

use super::anomaly::{Anomaly, Base, Class};
use super::components::components;
use super::graph::{
    DEPENDENCIES, Graph, HOP, OVERWRITTEN, PROCESS, REALTIME, RW, Sink, WR, WW, WW_READ,
};
use super::values::NONE;
use crate::budget::{Budget, Exhausted, Scope};

/// How many edges may be looked at to find the shortest cycle of a class in a component.
const EFFORT: u64 = 5_000_000;

/// How many edges are looked at between two looks at the budget.
const LOOK: u64 = 1 << 20;

/// A step of a cycle, between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) relation: u8,
}

/// A cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) anomaly: Anomaly,
    /// Each begins where the one before ends.
    pub(super) links: Vec<Link>,
    /// Whether no cycle of this class in its component is shorter.
    pub(super) shortest: bool,
}

/// The cycles of a component: of each class that no other class found here implies, the shortest.
pub(super) fn search(
    graph: &Graph,
    members: &[u32],
    local: &mut [u32],
    budget: &dyn Budget,
) -> Result<Vec<Found>, Exhausted> {
    let budget = &Scope::of(budget);
    let part = part(graph, members, local, budget)?;
    let kinds = (0..part.edges() as u32).fold(0, |kinds, edge| kinds | part.edge(edge).1);
    let mut found: Vec<Found> = Vec::new();
    for base in Base::ALL {
        // What is not there adds nothing.
        if base == Base::Process && kinds & PROCESS == 0
            || base == Base::Realtime && kinds & REALTIME == 0
        {
            continue;
        }
        for class in Class::ALL {
            let anomaly = Anomaly::Cycle(class, base);
            if found.iter().any(|other| other.anomaly.implies(anomaly)) {
                continue;
            }
            if let Some((path, shortest)) = find(&part, class, base, budget)? {
                let links = links(&part, &path, members);
                found.push(Found {
                    anomaly: classify(&links).unwrap_or(anomaly),
                    links,
                    shortest,
                });
            }
        }
    }
    Ok(found)
}

/// The shortest cycle of a component through an edge of a relation, if there is one.
pub(super) fn through(
    graph: &Graph,
    members: &[u32],
    relation: u8,
    local: &mut [u32],
    budget: &dyn Budget,
) -> Result<Option<Vec<Link>>, Exhausted> {
    let budget = &Scope::of(budget);
    let part = part(graph, members, local, budget)?;
    let found = Search::new(&part, !0, budget).run(starts(&part, relation), true)?;
    Ok(found.map(|(path, _)| links(&part, &path, members)))
}

/// The shortest cycle through one of some edges that goes on along edges of some relations. With `inside`, the former are among the latter.
pub(super) fn shortest(
    graph: &Graph,
    walk: u8,
    starts: Vec<Edge>,
    inside: bool,
    budget: &dyn Budget,
) -> Result<Option<Vec<Edge>>, Exhausted> {
    let found = Search::new(graph, walk, budget).run(starts, inside)?;
    Ok(found.map(|(path, _)| path))
}

/// The graph of a component's members alone, numbered from zero. `local` is as long as the graph, and full of `NONE` before and
/// after.
pub(super) fn part(
    graph: &Graph,
    members: &[u32],
    local: &mut [u32],
    budget: &dyn Budget,
) -> Result<Graph, Exhausted> {
    for (number, member) in (0u32..).zip(members) {
        local[*member as usize] = number;
    }
    let inside = &*local;
    let each = |visit: Sink| {
        for (number, member) in (0u32..).zip(members) {
            for (to, relation) in graph.from(*member) {
                let to = inside[to as usize];
                if to != NONE {
                    visit(number, to, relation);
                }
            }
        }
    };
    let relays = members.partition_point(|member| !graph.is_relay(*member));
    let part = Graph::build(members.len() as u32, relays as u32, &each, budget);
    for member in members {
        local[*member as usize] = NONE;
    }
    part
}

/// An edge.
pub(super) type Edge = (u32, u32, u8);

/// A cycle of a class, as its edges. It may have another name if there are cycles of classes that imply this.
fn find(
    graph: &Graph,
    class: Class,
    base: Base,
    budget: &dyn Budget,
) -> Result<Option<(Vec<Edge>, bool)>, Exhausted> {
    let (walk, start) = match class {
        Class::G0 => (WW, WW),
        Class::G1c => (WW | WW_READ | WR, WR | WW_READ),
        Class::GSingle => (WW | WW_READ | WR, RW),
        Class::GNonadjacent => (DEPENDENCIES, RW),
        Class::G2 => (DEPENDENCIES, RW),
    };
    let walk = walk | also(base);
    if class == Class::GNonadjacent {
        let product = apart(graph, walk, budget)?;
        let starts = starts(&product, RW);
        let found = Search::new(&product, walk, budget).run(starts, true)?;
        let halve = |(path, shortest): (Vec<Edge>, bool)| {
            let path = path.into_iter();
            (
                path.map(|(from, to, relation)| (from / 2, to / 2, relation))
                    .collect(),
                shortest,
            )
        };
        return Ok(found.map(halve));
    }
    // The start of G-single is no part of what is walked, so its ends need not be in one component.
    Search::new(graph, walk, budget).run(starts(graph, start), class != Class::GSingle)
}

/// All edges of a relation from transactions.
pub(super) fn starts(graph: &Graph, relation: u8) -> Vec<Edge> {
    let vertices = 0..graph.relays;
    vertices
        .flat_map(|from| graph.from(from).map(move |(to, kind)| (from, to, kind)))
        .filter(|(_, _, kind)| kind & relation != 0)
        .collect()
}

/// The product with the automaton that passes no two anti-dependencies in a row. Twice a vertex, plus one just after one.
fn apart(graph: &Graph, walk: u8, budget: &dyn Budget) -> Result<Graph, Exhausted> {
    let each = |visit: Sink| {
        for from in 0..graph.vertices() {
            for (to, relation) in graph.from(from) {
                if relation & HOP != 0 {
                    visit(2 * from, 2 * to, relation);
                    visit(2 * from + 1, 2 * to + 1, relation);
                } else if relation & RW != 0 {
                    visit(2 * from, 2 * to + 1, relation);
                } else if relation & walk != 0 {
                    visit(2 * from, 2 * to, relation);
                    visit(2 * from + 1, 2 * to, relation);
                }
            }
        }
    };
    Graph::build(2 * graph.vertices(), 2 * graph.relays, &each, budget)
}

/// Which anti-dependencies the cycles have that a level rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anti {
    /// Any.
    Any,
    /// No two in a row.
    Apart,
    /// None.
    No,
}

/// Ranks vertices such that what comes first is higher, as far as a level with such a base rules out such cycles. That a transaction must
/// have overwritten another's version is heeded where anti-dependencies are not.
pub(super) fn rank(
    graph: &Graph,
    base: Base,
    anti: Anti,
    budget: &dyn Budget,
) -> Result<Vec<u32>, Exhausted> {
    let walk = relations(base);
    match anti {
        Anti::Any => return components(graph, walk, budget),
        Anti::No => return components(graph, walk & !RW | OVERWRITTEN, budget),
        Anti::Apart => {}
    }
    let product = apart(graph, walk, budget)?;
    let component = components(&product, walk, budget)?;
    Ok(component.into_iter().step_by(2).collect())
}

/// All relations that count with a base.
pub(super) fn relations(base: Base) -> u8 {
    DEPENDENCIES | also(base)
}

/// The relations of a base, besides dependencies.
pub(super) fn also(base: Base) -> u8 {
    match base {
        Base::Plain => 0,
        Base::Process => PROCESS,
        Base::Realtime => PROCESS | REALTIME,
    }
}

/// How a bounded search ended.
enum Reached {
    Target,
    /// Somewhere there was more to see.
    Bound,
    Nothing,
}

/// A vertex to be looked at, with how it was reached.
#[derive(Clone, Copy)]
struct Visit {
    vertex: u32,
    parent: u32,
    relation: u8,
}

/// Breadth-first search for ways from one vertex to another.
struct Search<'a> {
    graph: &'a Graph,
    walk: u8,
    budget: &'a dyn Budget,
    effort: u64,
    next_look: u64,
    /// The number of the search that has seen a vertex.
    seen: Vec<u32>,
    round: u32,
    parent: Vec<(u32, u8)>,
    now: Vec<Visit>,
    later: Vec<Visit>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, walk: u8, budget: &'a dyn Budget) -> Search<'a> {
        let vertices = graph.vertices() as usize;
        Search {
            graph,
            walk: walk | HOP,
            budget,
            effort: 0,
            next_look: LOOK,
            seen: vec![0; vertices],
            round: 0,
            parent: vec![(NONE, 0); vertices],
            now: Vec::new(),
            later: Vec::new(),
        }
    }

    /// A shortest cycle through one of the starts, and whether it is known to be shortest. With `inside`, starts are among the
    /// edges that are walked.
    fn run(
        &mut self,
        starts: Vec<Edge>,
        inside: bool,
    ) -> Result<Option<(Vec<Edge>, bool)>, Exhausted> {
        if starts.is_empty() {
            return Ok(None);
        }
        let component = components(self.graph, self.walk, self.budget)?;
        let mut starts = starts;
        starts.retain(|(from, to, _)| {
            let (from, to) = (component[*from as usize], component[*to as usize]);
            // Numbers ascend against the edges.
            if inside { from == to } else { from <= to }
        });
        let mut open = starts.clone();
        for bound in 1.. {
            let mut cut = Vec::new();
            for start in open {
                match self.way(start, bound)? {
                    Reached::Target => return Ok(Some((self.path(start), true))),
                    Reached::Bound => cut.push(start),
                    Reached::Nothing => {}
                }
                if self.effort > EFFORT {
                    return self.any(starts, &component);
                }
            }
            if cut.is_empty() {
                return Ok(None);
            }
            open = cut;
        }
        Ok(None)
    }

    /// Some cycle through one of the starts, if there is one.
    fn any(
        &mut self,
        mut starts: Vec<Edge>,
        component: &[u32],
    ) -> Result<Option<(Vec<Edge>, bool)>, Exhausted> {
        let certain = |(from, to, _): &&Edge| component[*from as usize] == component[*to as usize];
        let start = match starts.iter().find(certain) {
            Some(start) => Some(*start),
            None => {
                starts.sort_by_key(|(_, to, _)| component[*to as usize]);
                self.reachable(&starts, component)?
            }
        };
        let Some(start) = start else {
            return Ok(None);
        };
        self.way(start, NONE)?;
        Ok(Some((self.path(start), false)))
    }

    /// A start whose end reaches its beginning. Each vertex is visited once for 64 starts, and passes on who reaches it.
    fn reachable(&mut self, starts: &[Edge], component: &[u32]) -> Result<Option<Edge>, Exhausted> {
        let mut by_component: Vec<u32> = (0..self.graph.vertices()).collect();
        by_component.sort_unstable_by_key(|vertex| std::cmp::Reverse(component[*vertex as usize]));
        let mut reached = vec![0u64; self.graph.vertices() as usize];
        for batch in starts.chunks(64) {
            for (bit, (_, to, _)) in batch.iter().enumerate() {
                reached[component[*to as usize] as usize] |= 1 << bit;
            }
            let highest = batch.iter().map(|(_, to, _)| component[*to as usize]).max();
            let lowest = batch
                .iter()
                .map(|(from, ..)| component[*from as usize])
                .min();
            let (highest, lowest) = (highest.unwrap_or(0), lowest.unwrap_or(0));
            let first =
                by_component.partition_point(|vertex| component[*vertex as usize] > highest);
            for vertex in &by_component[first..] {
                let from = component[*vertex as usize] as usize;
                if (from as u32) < lowest {
                    break;
                }
                if reached[from] == 0 {
                    continue;
                }
                for (to, relation) in self.graph.from(*vertex) {
                    self.effort += 1;
                    let to = component[to as usize];
                    if relation & self.walk != 0 && to >= lowest {
                        reached[to as usize] |= reached[from];
                    }
                }
            }
            let mut bits = (0..).zip(batch);
            let found = bits.find(|(bit, (from, ..))| {
                reached[component[*from as usize] as usize] >> bit & 1 == 1
            });
            if let Some((_, start)) = found {
                return Ok(Some(*start));
            }
            reached[lowest as usize..=highest as usize].fill(0);
            self.look()?;
        }
        Ok(None)
    }

    fn look(&mut self) -> Result<(), Exhausted> {
        if self.effort >= self.next_look {
            self.next_look = self.effort + LOOK;
            self.budget.check()?;
        }
        Ok(())
    }

    /// Whether there is a way from an edge's end to its beginning, of at most so many steps.
    fn way(&mut self, (target, from, _): Edge, bound: u32) -> Result<Reached, Exhausted> {
        self.round += 1;
        self.now.clear();
        self.later.clear();
        self.now.push(Visit {
            vertex: from,
            parent: NONE,
            relation: 0,
        });
        let mut depth = 0;
        loop {
            while let Some(visit) = self.now.pop() {
                let at = visit.vertex as usize;
                if std::mem::replace(&mut self.seen[at], self.round) == self.round {
                    continue;
                }
                self.parent[at] = (visit.parent, visit.relation);
                if visit.vertex == target {
                    return Ok(Reached::Target);
                }
                let free = self.graph.is_relay(visit.vertex);
                for (to, relation) in self.graph.from(visit.vertex) {
                    if relation & self.walk == 0 || self.seen[to as usize] == self.round {
                        continue;
                    }
                    let next = if free { &mut self.now } else { &mut self.later };
                    next.push(Visit {
                        vertex: to,
                        parent: visit.vertex,
                        relation,
                    });
                }
                self.effort += self.graph.span(visit.vertex).len() as u64 + 1;
            }
            self.look()?;
            if self.later.is_empty() {
                return Ok(Reached::Nothing);
            }
            if depth == bound {
                return Ok(Reached::Bound);
            }
            depth += 1;
            std::mem::swap(&mut self.now, &mut self.later);
        }
    }

    /// The edges of the cycle that was found, its start first.
    fn path(&self, start: Edge) -> Vec<Edge> {
        let (target, from, _) = start;
        let mut path = Vec::new();
        let mut vertex = target;
        while vertex != from {
            let (parent, relation) = self.parent[vertex as usize];
            path.push((parent, vertex, relation));
            vertex = parent;
        }
        path.push(start);
        path.reverse();
        path
    }
}

/// A cycle without relays, and without detours of processes and real time.
fn links(graph: &Graph, path: &[Edge], members: &[u32]) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    let mut begun: Option<(u32, u8)> = None;
    for (from, to, relation) in path {
        let (from, relation) = begun.take().unwrap_or((*from, *relation));
        if graph.is_relay(*to) {
            begun = Some((from, relation));
            continue;
        }
        let link = Link {
            from: members[from as usize],
            to: members[*to as usize],
            relation,
        };
        let in_time = |relation: u8| relation & (PROCESS | REALTIME) != 0;
        match links.last_mut() {
            Some(last) if in_time(last.relation) && in_time(link.relation) => {
                last.to = link.to;
                last.relation = last.relation.max(link.relation);
            }
            _ => links.push(link),
        }
    }
    links
}

/// What a cycle is called.
pub(super) fn classify(links: &[Link]) -> Option<Anomaly> {
    let all = links.iter().fold(0, |all, link| all | link.relation);
    let base = match all {
        all if all & REALTIME != 0 => Base::Realtime,
        all if all & PROCESS != 0 => Base::Process,
        _ => Base::Plain,
    };
    let rw = |link: &Link| link.relation & RW != 0;
    let adjacent = links
        .iter()
        .zip(links.iter().cycle().skip(1))
        .any(|(one, next)| rw(one) && rw(next));
    let class = match links.iter().filter(|link| rw(link)).count() {
        0 if all & (WR | WW_READ) != 0 => Class::G1c,
        0 if all & WW != 0 => Class::G0,
        0 => return None,
        1 => Class::GSingle,
        _ if adjacent => Class::G2,
        _ => Class::GNonadjacent,
    };
    Some(Anomaly::Cycle(class, base))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::components::groups;
    use super::*;
    use crate::budget::Unlimited;
    use proptest::prelude::*;

    const VERTICES: u32 = 6;

    fn graph(edges: &[Edge], relays: u32) -> Graph {
        let each = |visit: Sink| {
            edges
                .iter()
                .for_each(|(from, to, relation)| visit(*from, *to, *relation));
        };
        Graph::build(VERTICES, relays, &each, &Unlimited).unwrap()
    }

    fn found(graph: &Graph) -> Vec<Found> {
        let component = components(graph, 0x7f, &Unlimited).unwrap();
        let mut local = vec![NONE; VERTICES as usize];
        let groups = groups(&component);
        groups
            .iter()
            .flat_map(|members| search(graph, members, &mut local, &Unlimited).unwrap())
            .collect()
    }

    /// The anomalies of all simple cycles, with the length of the shortest of each.
    fn simple_cycles(edges: &[Edge]) -> std::collections::BTreeMap<Anomaly, usize> {
        fn extend(
            edges: &[Edge],
            path: &mut Vec<Link>,
            all: &mut std::collections::BTreeMap<Anomaly, usize>,
        ) {
            let last = path.last().unwrap().to;
            if last == path[0].from {
                if let Some(anomaly) = classify(path) {
                    let length = all.entry(anomaly).or_insert(usize::MAX);
                    *length = (*length).min(path.len());
                }
                return;
            }
            if path.iter().any(|link| link.from == last) {
                return;
            }
            for (from, to, relation) in edges.iter().filter(|(from, ..)| *from == last) {
                path.push(Link {
                    from: *from,
                    to: *to,
                    relation: *relation,
                });
                extend(edges, path, all);
                path.pop();
            }
        }
        let mut all = std::collections::BTreeMap::new();
        for (from, to, relation) in edges {
            let link = Link {
                from: *from,
                to: *to,
                relation: *relation,
            };
            extend(edges, &mut vec![link], &mut all);
        }
        all
    }

    /// Processes and real time alone have no cycles, so their edges go up.
    fn any_edges() -> impl Strategy<Value = Vec<Edge>> {
        let dependency = (
            0..VERTICES,
            0..VERTICES,
            prop::sample::select(&[WW, WR, RW, RW, WW_READ][..]),
        );
        let order = (
            0..VERTICES,
            0..VERTICES,
            prop::sample::select(&[PROCESS, REALTIME][..]),
        )
            .prop_map(|(one, other, kind)| (one.min(other), one.max(other), kind));
        let edge = prop_oneof![3 => dependency, 1 => order];
        prop::collection::vec(edge, 1..14).prop_map(|mut edges| {
            edges.retain(|(from, to, _)| from != to);
            edges
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_class_of_cycles_is_found_or_one_that_implies_it(edges in any_edges()) {
            let graph = graph(&edges, VERTICES);
            let found = found(&graph);
            let all = simple_cycles(&edges);
            for anomaly in all.keys() {
                prop_assert!(found.iter().any(|one| one.anomaly.implies(*anomaly)), "{anomaly} in {edges:?}");
            }
            for one in &found {
                for (link, next) in one.links.iter().zip(one.links.iter().cycle().skip(1)) {
                    prop_assert_eq!(link.to, next.from);
                }
                prop_assert!(one.shortest);
                let mut vertices: Vec<u32> = one.links.iter().map(|link| link.from).collect();
                vertices.sort_unstable();
                vertices.dedup();
                // A way that passes a transaction twice contains a cycle of dependencies alone.
                let simple = vertices.len() == one.links.len();
                prop_assert!(simple || found.iter().any(|other| matches!(other.anomaly, Anomaly::Cycle(Class::G0 | Class::G1c, _))));
            }
        }

        /// The way that decides large components says the same as the way that takes small steps.
        #[test]
        fn what_decides_large_components_agrees(edges in any_edges()) {
            let graph = graph(&edges, VERTICES);
            for (walk, kind, inside) in [(WW, WW, true), (WW | WR | WW_READ | PROCESS, RW, false), (0x7f, RW, true)] {
                let all = starts(&graph, kind);
                let component = components(&graph, walk, &Unlimited).unwrap();
                let mut search = Search::new(&graph, walk, &Unlimited);
                let stepwise = search.run(all.clone(), inside).unwrap();
                let kept: Vec<Edge> = all
                    .into_iter()
                    .filter(|(from, to, _)| {
                        let (from, to) = (component[*from as usize], component[*to as usize]);
                        if inside { from == to } else { from <= to }
                    })
                    .collect();
                let any = search.any(kept, &component).unwrap();
                prop_assert_eq!(stepwise.is_some(), any.is_some());
                if let (Some((short, _)), Some((any, shortest))) = (stepwise, any) {
                    prop_assert!(short.len() <= any.len() && !shortest);
                }
            }
        }
    }

    #[test]
    fn relays_are_free_and_not_in_the_cycle() {
        // 0 -rw-> 4 -> 5 -> 1 -wr-> 0
        let edges = [(0, 4, RW), (4, 5, HOP), (5, 1, HOP), (1, 0, WR)];
        let found = found(&graph(&edges, 4));
        let link = |from, to, relation| Link { from, to, relation };
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].anomaly,
            Anomaly::Cycle(Class::GSingle, Base::Plain)
        );
        assert_eq!(found[0].links, [link(0, 1, RW), link(1, 0, WR)]);
    }
}
