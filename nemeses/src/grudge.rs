//! Who is cut off from whom: the shapes of partitions, as pure functions.
//!
//! A [`Shape`] turns an *order* of the nodes into *severed pairs*; a [`Direction`] turns severed pairs
//! into a [`Grudge`]: for each node the nodes whose packets it drops. The order carries all the
//! chance there is (a schedule draws it, and it stands in the history), so that a recorded operation
//! says exactly what it does.
//!
//! The names are Jepsen's, and so are the meanings, with two differences. Its `majority` is its
//! random halves; here the smaller side is the largest that is still a minority, which differs for
//! even numbers of nodes. Its `majorities-ring` is exact up to five nodes, stochastic beyond, and at
//! three nodes cuts every link one way, so that no two nodes can talk; here it is exact everywhere.

use std::collections::BTreeSet;

use harness::Name;
use harness::capability::Grudge;
use serde::{Deserialize, Serialize};

/// The shape of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The first half of the nodes, in the user's order, against the rest.
    Halves,
    /// A random half against the rest.
    RandomHalves,
    /// One node against the rest.
    One,
    /// A majority against the largest possible minority.
    Majority,
    /// Less than a third of the nodes (one at least) against the rest.
    MinorityThird,
    /// Every node sees a majority, and no two nodes see the same.
    MajoritiesRing,
    /// Two halves that see each other only through one node, which sees all.
    Bridge,
    /// Every primary alone.
    Primaries,
}

impl Shape {
    /// All shapes, in the order of the catalogue.
    pub const ALL: [Shape; 8] = [
        Shape::Halves,
        Shape::RandomHalves,
        Shape::One,
        Shape::Majority,
        Shape::MinorityThird,
        Shape::MajoritiesRing,
        Shape::Bridge,
        Shape::Primaries,
    ];

    /// Its name, as `--nemesis partition:NAME` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Halves => "halves",
            Shape::RandomHalves => "random-halves",
            Shape::One => "one",
            Shape::Majority => "majority",
            Shape::MinorityThird => "minority-third",
            Shape::MajoritiesRing => "majorities-ring",
            Shape::Bridge => "bridge",
            Shape::Primaries => "primaries",
        }
    }

    /// The fewest nodes that it makes sense with.
    pub fn least_nodes(self) -> usize {
        match self {
            Shape::MajoritiesRing | Shape::Bridge => 3,
            _ => 2,
        }
    }

    /// The pairs of nodes that cannot talk. Of each pair the first is the *inner* one: on the smaller
    /// side where there is one, else the one that comes first.
    ///
    /// `primaries` is who gets isolated by [`Shape::Primaries`]; no other shape looks at it.
    pub fn severed(self, order: &[Name], primaries: &[Name]) -> Vec<(Name, Name)> {
        let n = order.len();
        let split = |inner: usize| between(order, &order[..inner], &order[inner..]);
        match self {
            Shape::Halves | Shape::RandomHalves => split(n / 2),
            Shape::One => split(1.min(n)),
            Shape::Majority => split(minority(n)),
            Shape::MinorityThird => split(minority_third(n)),
            Shape::MajoritiesRing => ring(order),
            Shape::Bridge => {
                let others = n.saturating_sub(1);
                between(order, &order[..others / 2], &order[others / 2..others])
            }
            Shape::Primaries => between(order, primaries, order),
        }
    }
}

/// Which packets between two severed nodes are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// All: neither hears the other.
    #[default]
    Both,
    /// Those to the inner node: it still can be heard.
    In,
    /// Those from the inner node: it still can hear.
    Out,
}

impl Direction {
    /// The grudge that severs these pairs.
    pub fn grudge(self, severed: &[(Name, Name)]) -> Grudge {
        let mut grudge = Grudge::default();
        let mut drop = |at: &Name, from: &Name| {
            let sources = grudge.0.entry(at.clone()).or_default();
            sources.insert(from.clone());
        };
        for (inner, outer) in severed {
            if self != Direction::Out {
                drop(inner, outer);
            }
            if self != Direction::In {
                drop(outer, inner);
            }
        }
        grudge
    }
}

/// The least number of nodes that are a majority of `n`.
pub fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// The greatest number of nodes that leaves a majority of `n`; one at least, if there is one.
pub fn minority(n: usize) -> usize {
    (n.saturating_sub(1) / 2).max(1).min(n)
}

/// The greatest number of nodes that is less than a third of `n`; one at least, if there is one.
pub fn minority_third(n: usize) -> usize {
    (n.saturating_sub(1) / 3).max(1).min(n)
}

/// An order, divided into so many parts that are as equal as can be.
pub fn divided(order: &[Name], parts: usize) -> Vec<Vec<Name>> {
    let n = order.len();
    let edge = |part: usize| n * part / parts.max(1);
    let part = |part: usize| order[edge(part)..edge(part + 1)].to_vec();
    (0..parts).map(part).collect()
}

/// All pairs of nodes in different groups, each pair once, the node of the earlier group first.
pub fn apart(groups: &[Vec<Name>]) -> Vec<(Name, Name)> {
    let mut pairs = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for a in group {
            let others = groups[at + 1..].iter().flatten();
            pairs.extend(others.map(|b| (a.clone(), b.clone())));
        }
    }
    pairs
}

/// All pairs of a node inside and another outside, each pair once, in the given order.
fn between(order: &[Name], inner: &[Name], outer: &[Name]) -> Vec<(Name, Name)> {
    let at = |node: &Name| order.iter().position(|other| other == node);
    let pairs = inner
        .iter()
        .flat_map(|a| outer.iter().map(move |b| (a, b)))
        // Where both are inside, the pair comes twice: keep the one in order.
        .filter(|(a, b)| a != b && (!inner.contains(b) || at(a) < at(b)));
    pairs.map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// Severs what is not in the ring of majorities: each node keeps its nearest neighbours on both sides
/// of a circle, as many as make a majority with itself. Where a majority is even, that leaves one
/// place, which goes to a node across the circle; with an odd number of nodes these cannot all be
/// paired off, and one node has two such partners.
fn ring(order: &[Name]) -> Vec<(Name, Name)> {
    let n = order.len();
    let near = (majority(n) - 1) / 2;
    let chords: BTreeSet<(usize, usize)> = match majority(n).is_multiple_of(2) {
        true => chords(n).collect(),
        false => BTreeSet::new(),
    };
    let apart = |a: usize, b: usize| (b - a).min(n - (b - a));
    let kept = |a: usize, b: usize| apart(a, b) <= near || chords.contains(&(a, b));
    let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| !kept(*a, *b))
        .map(|(a, b)| (order[a].clone(), order[b].clone()))
        .collect()
}

/// Pairs of places across a circle of `n`, lower place first, so that each place is in one pair (and
/// one place in two, if `n` is odd). Steps of `n / 2` visit the places of an odd circle all in turn.
fn chords(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let step = n / 2;
    let pair = move |k: usize| match n.is_multiple_of(2) {
        true => (k, k + step),
        false => (2 * k * step % n, (2 * k + 1) * step % n),
    };
    (0..n.div_ceil(2))
        .map(pair)
        .map(|(a, b)| (a.min(b), a.max(b)))
}

/// The nodes that a grudge strikes: those that can no longer exchange packets, both ways, with a
/// majority of all nodes (themselves counted). Where every node still can, as in a ring, those that
/// lost any link.
///
/// This is what a partition's evidence calls its `targets`. A primary among them is a primary that
/// the partition should bother.
pub fn struck(grudge: &Grudge, nodes: &[Name]) -> Vec<Name> {
    let severed = |a: &Name, b: &Name| grudge.drops(a, b) || grudge.drops(b, a);
    let lost = |node: &Name| nodes.iter().filter(|other| severed(node, other)).count();
    let lost: Vec<(&Name, usize)> = nodes.iter().map(|node| (node, lost(node))).collect();
    let alone = |lost: usize| nodes.len() - lost < majority(nodes.len());
    let any_alone = lost.iter().any(|(_, lost)| alone(*lost));
    let is_struck = |lost: usize| if any_alone { alone(lost) } else { lost > 0 };
    lost.into_iter()
        .filter(|(_, lost)| is_struck(*lost))
        .map(|(node, _)| node.clone())
        .collect()
}

/// An order with some nodes moved to the front, all others left as they were.
pub(crate) fn to_front(first: &[Name], order: &[Name]) -> Vec<Name> {
    let rest = order.iter().filter(|node| !first.contains(node));
    first.iter().chain(rest).cloned().collect()
}

/// The nodes of an order that are in a list, in that order.
pub(crate) fn in_order(order: &[Name], listed: &[Name]) -> Vec<Name> {
    let found = order.iter().filter(|node| listed.contains(node));
    found.cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(n: usize) -> Vec<Name> {
        (1..=n).map(|i| Name::from(format!("n{i}"))).collect()
    }

    /// The nodes with which a node can exchange packets both ways, itself among them.
    fn sees(grudge: &Grudge, nodes: &[Name], node: &Name) -> BTreeSet<Name> {
        let open = |other: &&Name| !grudge.drops(node, other) && !grudge.drops(other, node);
        nodes.iter().filter(open).cloned().collect()
    }

    fn views(shape: Shape, nodes: &[Name], primaries: &[Name]) -> Vec<BTreeSet<Name>> {
        let grudge = Direction::Both.grudge(&shape.severed(nodes, primaries));
        nodes
            .iter()
            .map(|node| sees(&grudge, nodes, node))
            .collect()
    }

    fn set(nodes: &[Name]) -> BTreeSet<Name> {
        nodes.iter().cloned().collect()
    }

    #[test]
    fn sizes() {
        let sizes = |n| (majority(n), minority(n), minority_third(n));
        assert_eq!(sizes(1), (1, 1, 1));
        assert_eq!(sizes(2), (2, 1, 1));
        assert_eq!(sizes(3), (2, 1, 1));
        assert_eq!(sizes(4), (3, 1, 1));
        assert_eq!(sizes(5), (3, 2, 1));
        assert_eq!(sizes(7), (4, 3, 2));
        assert_eq!(sizes(9), (5, 4, 2));
    }

    #[test]
    fn five_nodes_split_as_in_jepsen() {
        let nodes = names(5);
        let split = |shape: Shape, inner: usize| {
            let (small, large) = (set(&nodes[..inner]), set(&nodes[inner..]));
            for (at, view) in views(shape, &nodes, &[]).into_iter().enumerate() {
                assert_eq!(
                    view,
                    if at < inner {
                        small.clone()
                    } else {
                        large.clone()
                    }
                );
            }
        };
        split(Shape::Halves, 2);
        split(Shape::RandomHalves, 2);
        split(Shape::One, 1);
        split(Shape::Majority, 2);
        split(Shape::MinorityThird, 1);
    }

    #[test]
    fn a_majority_leaves_a_true_minority_of_four() {
        let views = views(Shape::Majority, &names(4), &[]);
        let sizes: Vec<usize> = views.iter().map(BTreeSet::len).collect();
        assert_eq!(sizes, [1, 3, 3, 3]);
    }

    #[test]
    fn five_nodes_in_a_ring_see_their_neighbours() {
        let nodes = names(5);
        for (at, view) in views(Shape::MajoritiesRing, &nodes, &[]).iter().enumerate() {
            let around = [(at + 4) % 5, at, (at + 1) % 5];
            assert_eq!(*view, around.map(|i| nodes[i].clone()).into());
        }
    }

    #[test]
    fn primaries_are_each_alone() {
        let nodes = names(5);
        let primaries = [nodes[3].clone(), nodes[1].clone()];
        let views = views(Shape::Primaries, &nodes, &primaries);
        assert_eq!(views[1], set(&nodes[1..2]));
        assert_eq!(views[3], set(&nodes[3..4]));
        let rest = [&nodes[0], &nodes[2], &nodes[4]].map(Clone::clone);
        assert_eq!(views[0], set(&rest));
    }

    #[test]
    fn groups_are_about_equal_and_apart() {
        let nodes = names(7);
        let groups = divided(&nodes, 3);
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 3]);
        assert_eq!(groups.concat(), nodes);
        let grudge = Direction::Both.grudge(&apart(&groups));
        for (a, b) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b))) {
            let together = groups.iter().any(|it| it.contains(a) && it.contains(b));
            assert_eq!(grudge.drops(a, b), !together);
        }
    }

    #[test]
    fn one_way_cuts_drop_one_way() {
        let nodes = names(3);
        let severed = Shape::One.severed(&nodes, &[]);
        let inward = Direction::In.grudge(&severed);
        assert!(inward.drops("n2", "n1") && !inward.drops("n1", "n2"));
        let outward = Direction::Out.grudge(&severed);
        assert!(outward.drops("n1", "n2") && !outward.drops("n2", "n1"));
    }

    #[test]
    fn struck_nodes_are_those_without_a_majority() {
        let nodes = names(5);
        let struck_by = |shape: Shape, direction: Direction| {
            struck(&direction.grudge(&shape.severed(&nodes, &[])), &nodes)
        };
        assert_eq!(struck_by(Shape::One, Direction::Both), nodes[..1]);
        assert_eq!(struck_by(Shape::One, Direction::In), nodes[..1]);
        assert_eq!(struck_by(Shape::Halves, Direction::Out), nodes[..2]);
        assert_eq!(struck_by(Shape::MajoritiesRing, Direction::Both), nodes);
        assert_eq!(struck_by(Shape::Bridge, Direction::Both), nodes[..4]);
        assert_eq!(struck(&Grudge::default(), &nodes), Vec::<Name>::new());
    }

    proptest! {
        #[test]
        fn in_a_ring_every_node_sees_a_majority_and_no_two_the_same(n in 3usize..40) {
            let nodes = names(n);
            let views = views(Shape::MajoritiesRing, &nodes, &[]);
            let exact = views.iter().filter(|view| view.len() == majority(n)).count();
            let one_more = views.iter().filter(|view| view.len() == majority(n) + 1).count();
            let odd = n % 2 == 1 && majority(n).is_multiple_of(2);
            prop_assert_eq!((exact, one_more), if odd { (n - 1, 1) } else { (n, 0) });
            let distinct: BTreeSet<_> = views.iter().collect();
            prop_assert_eq!(distinct.len(), n);
        }

        #[test]
        fn one_node_bridges_two_halves(n in 3usize..40) {
            let nodes = names(n);
            let views = views(Shape::Bridge, &nodes, &[]);
            let middle = &nodes[n - 1];
            prop_assert_eq!(&views[n - 1], &set(&nodes));
            let (left, right) = (&views[0], &views[n - 2]);
            let common: Vec<&Name> = left.intersection(right).collect();
            prop_assert_eq!(common, vec![middle]);
            prop_assert!(left.len().abs_diff(right.len()) <= 1);
            for view in &views[..n - 1] {
                prop_assert!(view == left || view == right);
            }
        }

        #[test]
        fn sides_are_complete_and_the_smaller_one_comes_first(n in 2usize..40) {
            let nodes = names(n);
            for shape in &Shape::ALL[..5] {
                let views = views(*shape, &nodes, &[]);
                let (inner, outer) = (&views[0], &views[n - 1]);
                prop_assert!(inner.is_disjoint(outer));
                prop_assert_eq!(inner.len() + outer.len(), n);
                prop_assert!(inner.len() <= outer.len());
                for (node, view) in nodes.iter().zip(&views) {
                    prop_assert!(view.contains(node));
                    prop_assert!(view == inner || view == outer);
                }
            }
        }

        #[test]
        fn no_pair_is_severed_twice_and_none_with_itself(
            n in 3usize..12,
            primaries in proptest::collection::btree_set(0usize..12, 0..4),
        ) {
            let nodes = names(n);
            let primaries: Vec<Name> =
                primaries.into_iter().filter_map(|i| nodes.get(i).cloned()).collect();
            for shape in Shape::ALL {
                let severed = shape.severed(&nodes, &primaries);
                let mut seen = BTreeSet::new();
                for (a, b) in &severed {
                    prop_assert_ne!(a, b);
                    prop_assert!(seen.insert([a.min(b), a.max(b)]), "{shape:?} {a} {b}");
                }
                let both = Direction::Both.grudge(&severed);
                let (inward, outward) = (Direction::In.grudge(&severed), Direction::Out.grudge(&severed));
                for a in &nodes {
                    for b in &nodes {
                        prop_assert_eq!(both.drops(a, b), both.drops(b, a));
                        prop_assert_eq!(inward.drops(a, b), outward.drops(b, a));
                        prop_assert_eq!(both.drops(a, b), inward.drops(a, b) || outward.drops(a, b));
                    }
                }
            }
        }
    }
}
