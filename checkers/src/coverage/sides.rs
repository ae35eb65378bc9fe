//! Who was cut off from whom: the sides that a partition makes, from the grudge that it recorded.
//!
//! A grudge says for each node whose packets it drops. Two nodes are on one side if they hear the same
//! nodes and the same nodes hear them, themselves counted; they then reach each other, too. Where a
//! partition is complete, the sides are the connected components of what is left of the network. A
//! bridge makes three: two halves, and the node that sees both. In a ring of majorities no two nodes
//! see the same, so each is a side of its own. A cut in one direction makes sides that differ in whom
//! they hear and who hears them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use store::Name;

use super::nodes::Nodes;

/// Whose packets each node drops, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Grudge(BTreeMap<Name, BTreeSet<Name>>);

/// Nodes that share a view. Numbers are those of [`Nodes`].
#[derive(Debug, Default, PartialEq)]
pub(super) struct Side {
    pub(super) nodes: Vec<usize>,
    /// Nodes of other sides that they reach and that reach them.
    pub(super) sees: Vec<usize>,
    /// Nodes whose packets come to them, but to whom theirs do not.
    pub(super) hears: Vec<usize>,
    /// Nodes to whom their packets come, but whose packets do not come to them.
    pub(super) heard_by: Vec<usize>,
}

impl Grudge {
    /// Reads a grudge as a partition records it: an object of arrays of names.
    pub(super) fn read(value: &Value) -> Option<Grudge> {
        let dropping = value.as_object()?.iter().map(|(at, sources)| {
            let sources = sources.as_array()?.iter();
            let sources = sources.map(|name| Some(Name::from(name.as_str()?)));
            Some((Name::from(at.as_str()), sources.collect::<Option<_>>()?))
        });
        dropping.collect::<Option<_>>().map(Grudge)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let sources: usize = self.0.values().map(BTreeSet::len).sum();
        64 * (self.0.len() + sources)
    }

    /// All nodes that it names.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0
            .iter()
            .flat_map(|(at, from)| [at].into_iter().chain(from))
    }

    /// Whether packets from one node to another are dropped.
    fn drops(&self, from: &Name, to: &Name) -> bool {
        self.0.get(to).is_some_and(|sources| sources.contains(from))
    }

    /// Whether two nodes cannot exchange packets both ways.
    fn severs(&self, a: &Name, b: &Name) -> bool {
        self.drops(a, b) || self.drops(b, a)
    }

    /// The sides that it makes, each by its first node.
    pub(super) fn sides(&self, nodes: &Nodes) -> Vec<Side> {
        let names = nodes.names();
        let all = || 0..names.len();
        let hears = |at: usize| all().filter(move |from| !self.drops(&names[*from], &names[at]));
        let heard_by = |at: usize| all().filter(move |to| !self.drops(&names[at], &names[*to]));
        let mut by_view: BTreeMap<(BTreeSet<usize>, BTreeSet<usize>), Vec<usize>> = BTreeMap::new();
        for at in all() {
            let view = (hears(at).collect(), heard_by(at).collect());
            by_view.entry(view).or_default().push(at);
        }
        let side = |((hears, heard_by), nodes): (_, Vec<usize>)| {
            let (hears, heard_by): (BTreeSet<usize>, BTreeSet<usize>) = (hears, heard_by);
            let both = hears.intersection(&heard_by).copied();
            Side {
                sees: both.filter(|other| !nodes.contains(other)).collect(),
                hears: hears.difference(&heard_by).copied().collect(),
                heard_by: heard_by.difference(&hears).copied().collect(),
                nodes,
            }
        };
        let mut sides: Vec<Side> = by_view.into_iter().map(side).collect();
        sides.sort_by(|a, b| a.nodes.cmp(&b.nodes));
        sides
    }

    /// Whether any two of these nodes are cut off from each other.
    pub(super) fn separates(&self, nodes: &[&Name]) -> bool {
        let mut pairs = nodes
            .iter()
            .enumerate()
            .flat_map(|(at, a)| nodes[at + 1..].iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| self.severs(a, b))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// The sides of a grudge among n1 … n5, as text: `n1 n2 | n3 sees n4`.
    fn sides(grudge: Value) -> String {
        let names: Vec<String> = (1..=5).map(|n| format!("n{n}")).collect();
        let nodes = Nodes::new(&names, 5);
        let list = |word: &str, numbers: &[usize]| match numbers {
            [] => String::new(),
            _ => {
                let names: Vec<&str> = numbers.iter().map(|at| names[*at].as_str()).collect();
                format!("{word}{}", names.join(" "))
            }
        };
        let sides = Grudge::read(&grudge).unwrap().sides(&nodes);
        let sides = sides.iter().map(|side| {
            list("", &side.nodes)
                + &list(" sees ", &side.sees)
                + &list(" hears ", &side.hears)
                + &list(" heard by ", &side.heard_by)
        });
        sides.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_complete_partition_has_its_components_as_sides() {
        let halves = json!({
            "n1": ["n3", "n4", "n5"], "n2": ["n3", "n4", "n5"],
            "n3": ["n1", "n2"], "n4": ["n1", "n2"], "n5": ["n1", "n2"],
        });
        assert_eq!(sides(halves), "n1 n2 | n3 n4 n5");
        let three = json!({
            "n1": ["n2", "n3", "n4", "n5"], "n2": ["n1", "n3", "n4", "n5"],
            "n3": ["n1", "n2"], "n4": ["n1", "n2"], "n5": ["n1", "n2"],
        });
        assert_eq!(sides(three), "n1 | n2 | n3 n4 n5");
        assert_eq!(sides(json!({})), "n1 n2 n3 n4 n5");
    }

    #[test]
    fn a_bridge_sees_both_halves() {
        let bridge = json!({
            "n1": ["n3", "n4"], "n2": ["n3", "n4"], "n3": ["n1", "n2"], "n4": ["n1", "n2"],
        });
        assert_eq!(
            sides(bridge),
            "n1 n2 sees n5 | n3 n4 sees n5 | n5 sees n1 n2 n3 n4"
        );
    }

    #[test]
    fn in_a_ring_every_node_has_a_view_of_its_own() {
        let ring = json!({
            "n1": ["n3", "n4"], "n2": ["n4", "n5"], "n3": ["n1", "n5"],
            "n4": ["n1", "n2"], "n5": ["n2", "n3"],
        });
        assert_eq!(
            sides(ring),
            "n1 sees n2 n5 | n2 sees n1 n3 | n3 sees n2 n4 | n4 sees n3 n5 | n5 sees n1 n4"
        );
    }

    #[test]
    fn a_cut_in_one_direction_leaves_the_other() {
        let inward = json!({"n1": ["n2", "n3", "n4", "n5"]});
        assert_eq!(
            sides(inward),
            "n1 heard by n2 n3 n4 n5 | n2 n3 n4 n5 hears n1"
        );
    }

    #[test]
    fn what_is_no_grudge_is_none() {
        for value in [
            json!(null),
            json!([]),
            json!({"n1": "n2"}),
            json!({"n1": [2]}),
        ] {
            assert_eq!(Grudge::read(&value), None, "{value}");
        }
    }

    #[test]
    fn nodes_are_separated_if_any_two_of_them_are_severed() {
        let grudge = Grudge::read(&json!({"n1": ["n3"]})).unwrap();
        let [a, b, c] = ["n1", "n2", "n3"].map(Name::from);
        assert!(!grudge.separates(&[&a, &b]));
        assert!(!grudge.separates(&[&a]));
        assert!(grudge.separates(&[&a, &b, &c]));
        assert!(grudge.separates(&[&c, &a]));
    }
}
