//! A graph that stays acyclic while edges come, and go again in reverse: the moments in an order that agrees with all edges.
//!
//! The order is kept by the algorithm of Pearce and Kelly (2006): where a new edge points backwards in the order, what its
//! head reaches and what reaches its tail, between the two, change places. Taking an edge away changes nothing. So
//! the order remembers what was once asked of it, and a search that goes back finds most of its work still done.

use super::NONE;
use crate::budget::{Budget, Exhausted};

/// How many steps are taken between two looks at the budget.
const LOOK: u32 = 1 << 16;

/// Why an edge is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transactions) enum Why {
    /// It is so in any order: what was observed, by number in [`super::problem::Base`].
    Base,
    /// It was derived before the search.
    Derived(u32),
    /// The search took it to be so.
    Literal(u32),
}

/// Edges, each in two lists. What came last goes first.
#[derive(Default)]
pub(in crate::transactions) struct Graph {
    pub(in crate::transactions) from: Vec<u32>,
    pub(in crate::transactions) to: Vec<u32>,
    pub(super) why: Vec<Why>,
    out_head: Vec<u32>,
    out_next: Vec<u32>,
    in_head: Vec<u32>,
    in_next: Vec<u32>,
}

/// Bytes that an edge takes.
pub(in crate::transactions) const EDGE_BYTES: usize = 4 * 4 + size_of::<Why>();

/// Bytes that a point takes in an [`Order`]: its edges, its place, and two searches.
pub(in crate::transactions) const POINT_BYTES: usize = 8 * 4;

impl Graph {
    pub(in crate::transactions) fn new(points: u32) -> Graph {
        Graph {
            out_head: vec![NONE; points as usize],
            in_head: vec![NONE; points as usize],
            ..Graph::default()
        }
    }

    pub(super) fn points(&self) -> u32 {
        self.out_head.len() as u32
    }

    pub(in crate::transactions) fn edges(&self) -> u32 {
        self.from.len() as u32
    }

    pub(in crate::transactions) fn add(&mut self, from: u32, to: u32, why: Why) {
        let edge = self.edges();
        self.from.push(from);
        self.to.push(to);
        self.why.push(why);
        self.out_next.push(self.out_head[from as usize]);
        self.out_head[from as usize] = edge;
        self.in_next.push(self.in_head[to as usize]);
        self.in_head[to as usize] = edge;
    }

    pub(super) fn pop(&mut self) {
        let (Some(from), Some(to)) = (self.from.pop(), self.to.pop()) else {
            return;
        };
        self.why.pop();
        self.out_head[from as usize] = self.out_next.pop().unwrap_or(NONE);
        self.in_head[to as usize] = self.in_next.pop().unwrap_or(NONE);
    }

    /// The edges that leave a point.
    pub(super) fn leaving(&self, point: u32) -> impl Iterator<Item = u32> {
        chain(self.out_head[point as usize], &self.out_next)
    }

    /// The edges that enter a point.
    pub(super) fn entering(&self, point: u32) -> impl Iterator<Item = u32> {
        chain(self.in_head[point as usize], &self.in_next)
    }

    /// All points, each after those that lead to it; as many as can be, if there is a cycle (Kahn 1962).
    pub(super) fn sort(&self, budget: &dyn Budget) -> Result<Vec<u32>, Exhausted> {
        let points = self.points();
        let mut waits: Vec<u32> = vec![0; points as usize];
        for to in &self.to {
            waits[*to as usize] += 1;
        }
        let mut order: Vec<u32> = Vec::with_capacity(points as usize);
        order.extend((0..points).filter(|one| waits[*one as usize] == 0));
        let mut at = 0;
        while at < order.len() {
            if (at as u32).is_multiple_of(LOOK) {
                budget.check()?;
            }
            for edge in self.leaving(order[at]) {
                let to = self.to[edge as usize];
                waits[to as usize] -= 1;
                if waits[to as usize] == 0 {
                    order.push(to);
                }
            }
            at += 1;
        }
        Ok(order)
    }

    /// The edges of a shortest path among those that are older than an edge. Empty if the points are one. `None` if there is none.
    pub(super) fn path(
        &self,
        from: u32,
        to: u32,
        before: u32,
        scratch: &mut Scratch,
        budget: &dyn Budget,
    ) -> Result<Option<Vec<u32>>, Exhausted> {
        scratch.begin(self.points());
        scratch.reach(from, NONE);
        let mut at = 0;
        while at < scratch.queue.len() {
            if (at as u32).is_multiple_of(LOOK) {
                budget.check()?;
            }
            let point = scratch.queue[at];
            if point == to {
                return Ok(Some(scratch.back(self, to)));
            }
            for edge in self.leaving(point) {
                if edge < before {
                    scratch.reach(self.to[edge as usize], edge);
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// The edges of some cycle, if there is one. `sorted` is what [`Graph::sort`] gave.
    pub(super) fn cycle(&self, sorted: &[u32]) -> Option<Vec<u32>> {
        let mut left = vec![true; self.points() as usize];
        sorted.iter().for_each(|one| left[*one as usize] = false);
        let start = (0..self.points()).find(|one| left[*one as usize])?;
        // Each of the rest is entered from the rest, so going back ends in a cycle.
        let (mut seen, mut path, mut point) = (vec![NONE; left.len()], Vec::new(), start);
        while seen[point as usize] == NONE {
            seen[point as usize] = path.len() as u32;
            let edge = self
                .entering(point)
                .find(|edge| left[self.from[*edge as usize] as usize])?;
            path.push(edge);
            point = self.from[edge as usize];
        }
        path.drain(..seen[point as usize] as usize);
        path.reverse();
        Some(path)
    }
}

fn chain(head: u32, next: &[u32]) -> impl Iterator<Item = u32> {
    let some = |edge: u32| (edge != NONE).then_some(edge);
    std::iter::successors(some(head), move |edge| some(next[*edge as usize]))
}

/// What a search has reached, and by which edge.
#[derive(Default)]
pub(super) struct Scratch {
    round: u32,
    seen: Vec<u32>,
    by: Vec<u32>,
    queue: Vec<u32>,
}

impl Scratch {
    fn begin(&mut self, points: u32) {
        self.seen.resize(points as usize, 0);
        self.by.resize(points as usize, NONE);
        self.queue.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.fill(0);
            self.round = 1;
        }
    }

    fn reach(&mut self, point: u32, by: u32) {
        if self.seen[point as usize] != self.round {
            self.seen[point as usize] = self.round;
            self.by[point as usize] = by;
            self.queue.push(point);
        }
    }

    /// The edges by which a point was reached, first to last.
    fn back(&self, graph: &Graph, to: u32) -> Vec<u32> {
        let (mut path, mut point) = (Vec::new(), to);
        while self.by[point as usize] != NONE {
            let edge = self.by[point as usize];
            path.push(edge);
            point = graph.from[edge as usize];
        }
        path.reverse();
        path
    }
}

/// The points in an order with which the edges agree.
pub(in crate::transactions) struct Order {
    pub(in crate::transactions) graph: Graph,
    /// Where each point stands.
    pub(super) place: Vec<u32>,
    /// Who stands where.
    at: Vec<u32>,
    ahead: Scratch,
    behind: Scratch,
    slots: Vec<u32>,
    /// Edges from here on are assumptions: paths by as few of them as can be are wanted.
    pub(super) firm: u32,
    /// Assumptions that a search has yet to follow.
    later: Vec<u32>,
    /// Points that have been moved since someone asked.
    pub(in crate::transactions) moved: Vec<u32>,
    /// Steps taken.
    pub(in crate::transactions) steps: u64,
}

impl Order {
    /// An order with which all edges agree already.
    pub(in crate::transactions) fn new(graph: Graph, at: Vec<u32>) -> Order {
        let mut place = vec![0; at.len()];
        (0..)
            .zip(&at)
            .for_each(|(here, point)| place[*point as usize] = here);
        Order {
            graph,
            place,
            at,
            ahead: Scratch::default(),
            behind: Scratch::default(),
            slots: Vec::new(),
            firm: u32::MAX,
            later: Vec::new(),
            moved: Vec::new(),
            steps: 0,
        }
    }

    /// A new point, behind all others.
    pub(in crate::transactions) fn grow(&mut self) {
        let point = self.graph.points();
        self.graph.out_head.push(NONE);
        self.graph.in_head.push(NONE);
        self.place.push(point);
        self.at.push(point);
    }

    /// The points, first to last.
    pub(in crate::transactions) fn points(&self) -> &[u32] {
        &self.at
    }

    pub(super) fn before(&self, one: u32, other: u32) -> bool {
        self.place[one as usize] < self.place[other as usize]
    }

    /// Adds an edge, or returns the edges of a path from its head to its tail.
    pub(in crate::transactions) fn add(
        &mut self,
        from: u32,
        to: u32,
        why: Why,
        budget: &dyn Budget,
    ) -> Result<Result<(), Vec<u32>>, Exhausted> {
        if !self.before(from, to) {
            if let Some(path) = self.search(from, to, budget)? {
                return Ok(Err(path));
            }
            self.reorder(from, budget)?;
        }
        self.graph.add(from, to, why);
        Ok(Ok(()))
    }

    /// The edges of a path that an edge would close to a cycle, if there is one.
    pub(super) fn probe(
        &mut self,
        from: u32,
        to: u32,
        budget: &dyn Budget,
    ) -> Result<Option<Vec<u32>>, Exhausted> {
        if self.before(from, to) {
            return Ok(None);
        }
        self.search(from, to, budget)
    }

    /// Looks for a path from `to` to `from`, which stands behind it: of those by the fewest assumptions a shortest.
    fn search(
        &mut self,
        from: u32,
        to: u32,
        budget: &dyn Budget,
    ) -> Result<Option<Vec<u32>>, Exhausted> {
        let last = self.place[from as usize];
        let (graph, ahead) = (&self.graph, &mut self.ahead);
        ahead.begin(graph.points());
        ahead.reach(to, NONE);
        self.later.clear();
        let mut at = 0;
        loop {
            while at < ahead.queue.len() {
                let point = ahead.queue[at];
                at += 1;
                self.steps += 1;
                if self.steps.is_multiple_of(u64::from(LOOK)) {
                    budget.check()?;
                }
                if point == from {
                    return Ok(Some(ahead.back(graph, from)));
                }
                for edge in graph.leaving(point) {
                    let next = graph.to[edge as usize];
                    if self.place[next as usize] > last {
                        continue;
                    }
                    if edge < self.firm {
                        ahead.reach(next, edge);
                    } else {
                        self.later.push(edge);
                    }
                }
            }
            if self.later.is_empty() {
                return Ok(None);
            }
            for edge in self.later.drain(..) {
                ahead.reach(graph.to[edge as usize], edge);
            }
        }
    }

    /// Puts all that leads to `from` before all that was reached ahead.
    fn reorder(&mut self, from: u32, budget: &dyn Budget) -> Result<(), Exhausted> {
        let (graph, behind, place) = (&self.graph, &mut self.behind, &mut self.place);
        let first = place[self.ahead.queue[0] as usize];
        behind.begin(graph.points());
        behind.reach(from, NONE);
        let mut at = 0;
        while at < behind.queue.len() {
            let point = behind.queue[at];
            at += 1;
            self.steps += 1;
            if self.steps.is_multiple_of(u64::from(LOOK)) {
                budget.check()?;
            }
            for edge in graph.entering(point) {
                let next = graph.from[edge as usize];
                if place[next as usize] >= first {
                    behind.reach(next, edge);
                }
            }
        }
        behind
            .queue
            .sort_unstable_by_key(|one| place[*one as usize]);
        self.ahead
            .queue
            .sort_unstable_by_key(|one| place[*one as usize]);
        self.slots.clear();
        let both = || behind.queue.iter().chain(&self.ahead.queue);
        self.slots.extend(both().map(|one| place[*one as usize]));
        self.slots.sort_unstable();
        for (point, slot) in both().zip(&self.slots) {
            place[*point as usize] = *slot;
            self.at[*slot as usize] = *point;
            self.moved.push(*point);
        }
        Ok(())
    }
}
