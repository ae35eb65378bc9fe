//! Strongly connected components, without recursion.

use super::graph::{Graph, HOP};
use super::values::NONE;
use crate::budget::{Budget, Exhausted};

/// How many vertices pass between two looks at the budget.
const LOOK: u32 = 1 << 16;

/// For each vertex the number of its component in the graph of the edges with an allowed relation.
///
/// By Tarjan's algorithm (1972). Numbers ascend against the edges: where one component leads to another, its number is higher.
pub(super) fn components(
    graph: &Graph,
    allowed: u8,
    budget: &dyn Budget,
) -> Result<Vec<u32>, Exhausted> {
    let vertices = graph.vertices();
    let allowed = allowed | HOP;
    let bytes = vertices as usize * 12;
    budget.charge(bytes)?;
    let mut component = vec![NONE; vertices as usize];
    // The order of discovery, and the earliest that is reached and has no component yet; 0 is undiscovered.
    let mut low = vec![0u32; vertices as usize];
    let (mut open, mut path): (Vec<u32>, Vec<Frame>) = (Vec::new(), Vec::new());
    let (mut discovered, mut found) = (0u32, 0u32);

    for root in 0..vertices {
        if low[root as usize] != 0 {
            continue;
        }
        path.push(Frame::of(graph, root));
        while let Some(frame) = path.last_mut() {
            let vertex = frame.vertex;
            if frame.order == 0 {
                discovered += 1;
                frame.order = discovered;
                low[vertex as usize] = discovered;
                open.push(vertex);
                if discovered.is_multiple_of(LOOK) {
                    budget.check()?;
                }
            }
            let mut child = NONE;
            while frame.next < frame.end {
                let (to, relation) = graph.edge(frame.next);
                frame.next += 1;
                if relation & allowed == 0 || component[to as usize] != NONE {
                    continue;
                }
                if low[to as usize] == 0 {
                    child = to;
                    break;
                }
                low[vertex as usize] = low[vertex as usize].min(low[to as usize]);
            }
            if child != NONE {
                path.push(Frame::of(graph, child));
                continue;
            }
            let (order, lowest) = (frame.order, low[vertex as usize]);
            path.pop();
            if lowest == order {
                while let Some(member) = open.pop() {
                    component[member as usize] = found;
                    if member == vertex {
                        break;
                    }
                }
                found += 1;
            }
            if let Some(parent) = path.last() {
                let parent = parent.vertex as usize;
                if component[vertex as usize] == NONE {
                    low[parent] = low[parent].min(lowest);
                }
            }
        }
    }
    budget.release(bytes);
    Ok(component)
}

struct Frame {
    vertex: u32,
    /// 0 before it is discovered.
    order: u32,
    next: u32,
    end: u32,
}

impl Frame {
    fn of(graph: &Graph, vertex: u32) -> Frame {
        let span = graph.span(vertex);
        Frame {
            vertex,
            order: 0,
            next: span.start,
            end: span.end,
        }
    }
}

/// The members of each component that has several, ascending, in order of their first.
pub(super) fn groups(component: &[u32]) -> Vec<Vec<u32>> {
    let count = component
        .iter()
        .map(|one| *one as usize + 1)
        .max()
        .unwrap_or(0);
    let mut size = vec![0u32; count];
    for one in component {
        size[*one as usize] += 1;
    }
    let mut place = vec![NONE; count];
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for (vertex, one) in (0u32..).zip(component) {
        let one = *one as usize;
        if size[one] < 2 {
            continue;
        }
        if place[one] == NONE {
            place[one] = groups.len() as u32;
            groups.push(Vec::with_capacity(size[one] as usize));
        }
        groups[place[one] as usize].push(vertex);
    }
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::graph::{RW, Sink, WR, WW};
    use super::*;
    use crate::budget::Unlimited;
    use proptest::prelude::*;

    fn graph(vertices: u32, edges: &[(u32, u32, u8)]) -> Graph {
        let each = |visit: Sink| {
            edges
                .iter()
                .for_each(|(from, to, relation)| visit(*from, *to, *relation));
        };
        Graph::build(vertices, vertices, &each, &Unlimited).unwrap()
    }

    /// Which vertex reaches which, by trying everything.
    fn reach(vertices: usize, edges: &[(u32, u32, u8)], allowed: u8) -> Vec<Vec<bool>> {
        let mut reach = vec![vec![false; vertices]; vertices];
        (0..vertices).for_each(|vertex| reach[vertex][vertex] = true);
        for (from, to, relation) in edges {
            reach[*from as usize][*to as usize] |= relation & allowed != 0;
        }
        for middle in 0..vertices {
            for from in 0..vertices {
                for to in 0..vertices {
                    reach[from][to] |= reach[from][middle] && reach[middle][to];
                }
            }
        }
        reach
    }

    proptest! {
        #[test]
        fn components_are_mutual_reach_and_ascend_against_the_edges(
            edges in prop::collection::vec((0u32..9, 0u32..9, prop::sample::select(&[WW, WR, RW][..])), 0..25),
            allowed in prop::sample::select(&[WW, WW | WR, WW | WR | RW][..]),
        ) {
            let found = components(&graph(9, &edges), allowed, &Unlimited).unwrap();
            let reach = reach(9, &edges, allowed);
            for one in 0..9 {
                for other in 0..9 {
                    prop_assert_eq!(found[one] == found[other], reach[one][other] && reach[other][one]);
                    prop_assert!(!reach[one][other] || found[one] >= found[other]);
                }
            }
        }
    }

    #[test]
    fn a_long_path_needs_no_stack() {
        let ring: Vec<_> = (0..1_000_000)
            .map(|at| (at, (at + 1) % 1_000_000, WW))
            .collect();
        let found = components(&graph(1_000_000, &ring), WW, &Unlimited).unwrap();
        assert!(found.iter().all(|one| *one == 0));
        assert_eq!(groups(&found)[0].len(), 1_000_000);
    }
}
