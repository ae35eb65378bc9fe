//! Dependencies as they come, kept in an order that agrees with them all, until one of them closes a cycle.
//!
//! What a level rules out are cycles in some graph: of all dependencies (serializability), of those in which no two
//! anti-dependencies follow each other (snapshot isolation: the product that [`search`](super::search) knows), of reads and writes or
//! of writes alone (read committed, read uncommitted); with the order of processes or real time, where the level
//! has that. Of a level that rules out cycles of some shape ([`shapes`](super::shapes)), all of their class are watched for. The graph of a
//! level is watched that has all these cycles. It may have others, so what is found is a suspicion, which the whole history has to confirm.
//!
//! Vertices are numbered as they are made, and the oldest may be forgotten: an edge from or to one of these is no edge.

use super::anomaly::{Anomaly, Base, Class};
use super::graph::{DEPENDENCIES, HOP, RW, WR, WW, WW_READ};
use super::models::Level;
use super::polygraph::{EDGE_BYTES, Graph, Order, POINT_BYTES, Why};
use super::search::also;
use crate::budget::{Budget, Exhausted};

/// The graph of a level.
pub(super) struct Watch {
    /// What its edges are.
    relations: u8,
    /// Whether two anti-dependencies in a row lead nowhere. A vertex is two points then: the second just after an anti-dependency.
    apart: bool,
    order: Order,
    /// The oldest vertex that is kept.
    first: u32,
    /// The next vertex.
    next: u32,
}

impl Watch {
    pub(super) fn of(level: &Level) -> Watch {
        let shapes = Anomaly::views().chain(Anomaly::SHAPES);
        let shapes = shapes.filter(|shape| level.rules_out(*shape));
        let classes = shapes.filter_map(|shape| Anomaly::cycles().find(|one| shape.implies(*one)));
        let classes: Vec<Anomaly> = classes.collect();
        let watched = |class: Class, base: Base| {
            let cycle = Anomaly::Cycle(class, base);
            level.rules_out(cycle) || classes.contains(&cycle)
        };
        let class = Class::ALL
            .into_iter()
            .rfind(|class| Base::ALL.iter().any(|base| watched(*class, *base)));
        let base = Base::ALL
            .into_iter()
            .rfind(|base| Class::ALL.iter().any(|class| watched(*class, *base)));
        let dependencies = match class {
            None => 0,
            Some(Class::G0) => WW | WW_READ,
            Some(Class::G1c) => WW | WW_READ | WR,
            Some(Class::GSingle | Class::GNonadjacent | Class::G2) => DEPENDENCIES,
        };
        Watch {
            relations: dependencies | base.map_or(0, also),
            apart: matches!(class, Some(Class::GSingle | Class::GNonadjacent)),
            order: Order::new(Graph::new(0), Vec::new()),
            first: 0,
            next: 0,
        }
    }

    /// Whether edges of a relation matter.
    pub(super) fn heeds(&self, relation: u8) -> bool {
        self.relations & relation != 0
    }

    /// A new vertex.
    pub(super) fn vertex(&mut self) -> u32 {
        (0..self.points_each()).for_each(|_| self.order.grow());
        self.next += 1;
        self.next - 1
    }

    fn points_each(&self) -> u32 {
        1 + u32::from(self.apart)
    }

    /// Takes an edge in, unless it closes a cycle; whether it does.
    pub(super) fn edge(
        &mut self,
        from: u32,
        to: u32,
        relation: u8,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let is_kept = from >= self.first && to >= self.first;
        if from == to || !is_kept || !self.heeds(relation) && relation & HOP == 0 {
            return Ok(false);
        }
        let (from, to) = (from - self.first, to - self.first);
        if !self.apart {
            return self.add(from, to, budget);
        }
        let ((from, from_anti), (to, to_anti)) = ((2 * from, 2 * from + 1), (2 * to, 2 * to + 1));
        Ok(match relation {
            HOP => self.add(from, to, budget)? | self.add(from_anti, to_anti, budget)?,
            RW => self.add(from, to_anti, budget)?,
            _ => self.add(from, to, budget)? | self.add(from_anti, to, budget)?,
        })
    }

    fn add(&mut self, from: u32, to: u32, budget: &dyn Budget) -> Result<bool, Exhausted> {
        let added = self.order.add(from, to, Why::Base, budget)?;
        self.order.moved.clear();
        Ok(added.is_err())
    }

    /// Whether a vertex is kept.
    pub(super) fn keeps(&self, vertex: u32) -> bool {
        vertex >= self.first
    }

    /// Forgets all vertices that are older than one.
    pub(super) fn forget(&mut self, older_than: u32) {
        let each = self.points_each();
        let gone = (older_than - self.first) * each;
        let kept = |point: u32| point.checked_sub(gone);
        let at: Vec<u32> = self
            .order
            .points()
            .iter()
            .filter_map(|one| kept(*one))
            .collect();
        let mut graph = Graph::new((self.next - older_than) * each);
        let old = &self.order.graph;
        for (from, to) in old.from.iter().zip(&old.to) {
            if let (Some(from), Some(to)) = (kept(*from), kept(*to)) {
                graph.add(from, to, Why::Base);
            }
        }
        self.order = Order::new(graph, at);
        self.first = older_than;
    }

    /// How many steps it took to keep the order since something was forgotten.
    pub(super) fn steps(&self) -> u64 {
        self.order.steps
    }

    /// How many bytes it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.order.points().len() * POINT_BYTES + self.order.graph.edges() as usize * EDGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::graph::{PROCESS, REALTIME};
    use super::super::models::find;
    use super::*;
    use crate::budget::Unlimited;

    fn watch(level: &str) -> Watch {
        let mut watch = Watch::of(find(level).unwrap());
        (0..6).for_each(|_| {
            watch.vertex();
        });
        watch
    }

    fn closes(watch: &mut Watch, edges: &[(u32, u32, u8)]) -> bool {
        let mut last = false;
        for (from, to, relation) in edges {
            assert!(!last);
            last = watch.edge(*from, *to, *relation, &Unlimited).unwrap();
        }
        last
    }

    #[test]
    fn each_level_watches_for_its_own_cycles() {
        let skew = [(0, 1, RW), (1, 0, RW)];
        let fork = [(0, 1, WR), (1, 2, RW), (2, 3, WR), (3, 0, RW)];
        let circle = [(0, 1, WW), (1, 0, WR)];
        let late = [(0, 1, REALTIME), (1, 0, RW)];
        let past = [(0, 1, PROCESS), (1, 0, WW)];
        for (level, expected) in [
            ("strict-serializable", [true, true, true, true, true]),
            (
                "strong-session-serializable",
                [true, true, true, false, true],
            ),
            ("serializable", [true, true, true, false, false]),
            ("strong-snapshot-isolation", [false, true, true, true, true]),
            ("snapshot-isolation", [false, true, true, false, false]),
            ("update-serializable", [true, true, true, false, false]),
            ("prefix", [false, true, true, false, false]),
            ("causal", [false, true, true, false, true]),
            ("cursor-stability", [false, true, true, false, false]),
            ("read-committed", [false, false, true, false, false]),
            ("strong-read-committed", [false, false, true, false, true]),
            ("read-uncommitted", [false, false, false, false, false]),
            (
                "strong-read-uncommitted",
                [false, false, false, false, true],
            ),
        ] {
            let cycles: [&[_]; 5] = [&skew, &fork, &circle, &late, &past];
            let found = cycles.map(|cycle| closes(&mut watch(level), cycle));
            assert_eq!(found, expected, "{level}");
        }
    }

    #[test]
    fn relays_remember_whether_an_anti_dependency_came_before() {
        // 0 -rw-> relay 4 -> 1 -rw-> 0 has two in a row; with a read dependency back there is one.
        let relayed = |last: u8| [(0, 4, RW), (4, 1, HOP), (1, 0, last)];
        assert!(!closes(&mut watch("snapshot-isolation"), &relayed(RW)));
        assert!(closes(&mut watch("snapshot-isolation"), &relayed(WR)));
        assert!(closes(&mut watch("serializable"), &relayed(RW)));
    }

    #[test]
    fn what_is_forgotten_closes_nothing_and_what_is_kept_still_does() {
        for level in ["serializable", "snapshot-isolation"] {
            let mut watch = watch(level);
            assert!(!closes(&mut watch, &[(0, 1, WW), (2, 3, WW), (3, 4, WR)]));
            watch.forget(2);
            assert!(!watch.keeps(1) && watch.keeps(2));
            assert!(!closes(&mut watch, &[(1, 0, WW)]));
            assert_eq!(watch.vertex(), 6);
            assert!(closes(&mut watch, &[(4, 6, WR), (6, 2, WR)]));
        }
    }
}
