//! Where the boxes of a graph go: in layers, from the top down.
//!
//! After Sugiyama, Tagawa and Toda (1981): edges that go back are turned round, a node's layer is the longest way to
//! it, and the order within layers is improved by the middles of neighbours. The graphs here are those of evidence, a few
//! transactions each.

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use petgraph::{Direction, algo};

/// How often the orders of layers are improved.
const SWEEPS: usize = 8;

/// The size of a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where a box is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// Its left edge.
    pub(super) x: f64,
    /// Its upper edge.
    pub(super) y: f64,
    /// Its layer, from the top.
    pub(super) layer: usize,
}

/// The places of all boxes, and how much room they take.
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays boxes out. `edges` are pairs of places in `sizes`; those that lead against the given order where there is a
/// cycle go back up. `gap` is the room between boxes, across and down.
pub(super) fn layout(sizes: &[Size], edges: &[(usize, usize)], gap: (f64, f64)) -> Layout {
    let forward = forward(sizes.len(), edges);
    let layers = layers(&forward);
    let mut rows: Vec<Vec<usize>> =
        vec![Vec::new(); layers.iter().max().map_or(0, |last| last + 1)];
    for (node, layer) in layers.iter().enumerate() {
        rows[*layer].push(node);
    }
    order(&mut rows, &forward);
    let row_width = |row: &Vec<usize>| {
        let boxes: f64 = row.iter().map(|node| sizes[*node].width).sum();
        boxes + gap.0 * row.len().saturating_sub(1) as f64
    };
    let width = rows.iter().map(row_width).fold(0.0, f64::max);
    let mut places = vec![
        Place {
            x: 0.0,
            y: 0.0,
            layer: 0
        };
        sizes.len()
    ];
    let mut y = 0.0;
    for (layer, row) in rows.iter().enumerate() {
        let mut x = (width - row_width(row)) / 2.0;
        for node in row {
            places[*node] = Place { x, y, layer };
            x += sizes[*node].width + gap.0;
        }
        let tallest = row
            .iter()
            .map(|node| sizes[*node].height)
            .fold(0.0, f64::max);
        y += tallest + gap.1;
    }
    let height = (y - gap.1).max(0.0);
    Layout {
        places,
        width,
        height,
    }
}

/// The edges as a graph without cycles: those that lead against the given order of nodes within a cycle are turned round.
fn forward(nodes: usize, edges: &[(usize, usize)]) -> DiGraph<(), ()> {
    let mut graph: DiGraph<(), ()> = DiGraph::new();
    for _ in 0..nodes {
        graph.add_node(());
    }
    for (from, to) in edges.iter().filter(|(from, to)| from != to) {
        graph.update_edge(NodeIndex::new(*from), NodeIndex::new(*to), ());
    }
    let mut component = vec![0; nodes];
    for (number, members) in algo::kosaraju_scc(&graph).into_iter().enumerate() {
        for member in members {
            component[member.index()] = number;
        }
    }
    let back = |from: usize, to: usize| component[from] == component[to] && from > to;
    let mut forward = graph.filter_map(|_, ()| Some(()), |_, ()| None);
    for edge in graph.edge_references() {
        let (from, to) = (edge.source().index(), edge.target().index());
        let (from, to) = if back(from, to) {
            (to, from)
        } else {
            (from, to)
        };
        forward.update_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    forward
}

/// Of each node, the length of the longest way to it.
fn layers(graph: &DiGraph<(), ()>) -> Vec<usize> {
    let mut layers = vec![0; graph.node_count()];
    for node in algo::toposort(graph, None).unwrap_or_default() {
        for next in graph.neighbors(node) {
            layers[next.index()] = layers[next.index()].max(layers[node.index()] + 1);
        }
    }
    layers
}

/// Orders each layer by the middles of its nodes' neighbours, down and up again.
fn order(rows: &mut [Vec<usize>], graph: &DiGraph<(), ()>) {
    let mut position: Vec<f64> = vec![0.0; graph.node_count()];
    let note = |row: &[usize], position: &mut Vec<f64>| {
        for (at, node) in row.iter().enumerate() {
            position[*node] = at as f64 - row.len() as f64 / 2.0;
        }
    };
    for row in rows.iter() {
        note(row, &mut position);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let direction = if down {
            Direction::Incoming
        } else {
            Direction::Outgoing
        };
        for step in 0..rows.len() {
            let at = if down { step } else { rows.len() - 1 - step };
            let middle = |node: &usize| {
                let neighbours: Vec<f64> = graph
                    .neighbors_directed(NodeIndex::new(*node), direction)
                    .map(|other| position[other.index()])
                    .collect();
                match neighbours.len() {
                    0 => position[*node],
                    n => neighbours.iter().sum::<f64>() / n as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> =
                rows[at].iter().map(|node| (middle(node), *node)).collect();
            keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
            rows[at] = keyed.into_iter().map(|(_, node)| node).collect();
            note(&rows[at], &mut position);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOX: Size = Size {
        width: 100.0,
        height: 40.0,
    };

    #[test]
    fn a_cycle_goes_down_and_back_up() {
        let layout = layout(&[BOX; 3], &[(0, 1), (1, 2), (2, 0)], (20.0, 60.0));
        let layers: Vec<usize> = layout.places.iter().map(|place| place.layer).collect();
        assert_eq!(layers, [0, 1, 2]);
        assert_eq!((layout.width, layout.height), (100.0, 240.0));
    }

    proptest! {
        /// Whatever the edges, no two boxes touch, and all lie inside.
        #[test]
        fn boxes_do_not_touch(nodes in 1usize..12, edges in prop::collection::vec((0usize..12, 0usize..12), 0..30)) {
            let edges: Vec<_> = edges.into_iter().map(|(from, to)| (from % nodes, to % nodes)).collect();
            let sizes: Vec<Size> = (0..nodes).map(|n| Size { width: 30.0 + 10.0 * n as f64, ..BOX }).collect();
            let layout = layout(&sizes, &edges, (20.0, 60.0));
            for (one, place) in layout.places.iter().enumerate() {
                prop_assert!(place.x >= -0.001 && place.x + sizes[one].width <= layout.width + 0.001);
                prop_assert!(place.y + sizes[one].height <= layout.height + 0.001);
                for (other, at) in layout.places.iter().enumerate().skip(one + 1) {
                    let apart = place.x + sizes[one].width <= at.x || at.x + sizes[other].width <= place.x
                        || place.y + sizes[one].height <= at.y || at.y + sizes[other].height <= place.y;
                    prop_assert!(apart);
                }
            }
        }
    }
}
