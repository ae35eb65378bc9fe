//! Where nodes are: zones, perhaps in regions.
//!
//! A node carries a label, `a` or `eu/a`: its zone, after the region that the zone is in, if the user tells regions apart.

use std::collections::BTreeMap;

use harness::Name;
use harness::options::unknown;
use serde::{Deserialize, Serialize};

/// How large a place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// A zone.
    Zone,
    /// A region, with all zones in it.
    Region,
}

impl Level {
    pub(crate) const ALL: [Level; 2] = [Level::Zone, Level::Region];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Zone => "zone",
            Level::Region => "region",
        }
    }
}

/// The labels of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zones(BTreeMap<Name, String>);

/// Nodes that are in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its label.
    pub name: String,
    /// Its nodes, in the user's order.
    pub nodes: Vec<Name>,
}

impl Zones {
    /// Reads labels, each `NODE=ZONE` or `NODE=REGION/ZONE`. The nodes must be among these.
    pub fn read<'a>(
        labels: impl IntoIterator<Item = &'a str>,
        nodes: &[Name],
    ) -> Result<Zones, String> {
        let mut zones = BTreeMap::new();
        for text in labels {
            let Some((node, label)) = text.split_once('=') else {
                return Err(format!(
                    "`{text}`: a zone is given as NODE=ZONE or NODE=REGION/ZONE"
                ));
            };
            let (node, label) = (node.trim(), label.trim());
            if !nodes.iter().any(|name| &**name == node) {
                let names = nodes.iter().map(|name| name.to_string());
                return Err(format!("no node `{node}`{}", unknown(node, names)));
            }
            if label.is_empty() || label.split('/').any(str::is_empty) {
                return Err(format!("`{text}`: the label is empty"));
            }
            if zones.insert(Name::from(node), label.to_owned()).is_some() {
                return Err(format!("the zone of {node} is given twice"));
            }
        }
        Ok(Zones(zones))
    }

    /// Whether no node has a label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels, as [`Zones::read`] takes them.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(node, label)| format!("{node}={label}"))
    }

    /// All zones, in the order of their first nodes.
    pub fn zones(&self, nodes: &[Name]) -> Vec<Zone> {
        self.grouped(nodes, |label| label)
    }

    /// All regions, in the order of their first nodes. A zone without one is a region of its own.
    pub fn regions(&self, nodes: &[Name]) -> Vec<Zone> {
        self.grouped(nodes, |label| {
            label.rsplit_once('/').map_or(label, |(region, _)| region)
        })
    }

    /// All places of a level. The error says what is missing where the user did not tell nodes apart so.
    pub(crate) fn places(&self, level: Level, nodes: &[Name]) -> Result<Vec<Zone>, String> {
        let places = match level {
            Level::Zone => self.zones(nodes),
            Level::Region => self.regions(nodes),
        };
        match places.iter().any(|place| place.nodes.len() < nodes.len()) {
            true => Ok(places),
            false => Err(format!(
                "nodes in different {}s needed, there are {}\n  hint: say where they are: --zone n1=a,n2=b or --zone \
                 n1=eu/a,n2=us/b",
                level.word(),
                places.len()
            )),
        }
    }

    fn grouped(&self, nodes: &[Name], name: impl Fn(&str) -> &str) -> Vec<Zone> {
        let mut groups: Vec<Zone> = Vec::new();
        for node in nodes {
            let Some(label) = self.0.get(node) else {
                continue;
            };
            let name = name(label);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.nodes.push(node.clone()),
                None => groups.push(Zone {
                    name: name.to_owned(),
                    nodes: vec![node.clone()],
                }),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn nodes() -> Vec<Name> {
        ["n1", "n2", "n3", "n4"].map(Name::from).to_vec()
    }

    fn shown(groups: &[Zone]) -> String {
        let show = |group: &Zone| format!("{}: {}", group.name, group.nodes.join(" "));
        groups.iter().map(show).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn zones_are_in_regions() {
        let labels = ["n3=us/a", "n1=eu/a", "n2=eu/b"];
        let zones = Zones::read(labels, &nodes()).unwrap();
        assert_eq!(
            shown(&zones.zones(&nodes())),
            "eu/a: n1; eu/b: n2; us/a: n3"
        );
        assert_eq!(shown(&zones.regions(&nodes())), "eu: n1 n2; us: n3");
        let again: Vec<String> = zones.labels().collect();
        let again = Zones::read(again.iter().map(String::as_str), &nodes());
        assert_eq!(again.unwrap(), zones);
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        let error = |label| Zones::read([label], &nodes()).unwrap_err();
        assert!(error("a").contains("NODE=ZONE"));
        assert!(error("n9=a").contains("no node `n9`"));
        assert!(error("n1=").contains("empty"));
        assert!(error("n1=eu/").contains("empty"));
        assert!(
            Zones::read(["n1=a", "n1=b"], &nodes())
                .unwrap_err()
                .contains("twice")
        );
    }
}
