//! How nodes are told apart, and what happens to packets between them.

use harness::links::Treatment;
use serde::{Deserialize, Serialize};

use crate::catalogue::VariantInfo;
use crate::grudge::Shape;
use crate::links::Kind;

/// How nodes are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Variant {
    /// So many groups, as equal as can be.
    Groups,
    /// The nodes of one zone against the rest.
    Zone,
    /// The nodes of one region against the rest.
    Region,
    /// Every zone alone.
    Zones,
    /// Clients against nodes.
    Clients,
    /// By their number and order alone.
    #[serde(untagged)]
    Shape(Shape),
}

impl Variant {
    pub(super) const OTHERS: [(Variant, VariantInfo); 5] = {
        const fn info(name: &'static str, summary: &'static str) -> VariantInfo {
            VariantInfo { name, summary }
        }
        [
            (
                Variant::Groups,
                info(
                    "groups",
                    "So many groups (option `n`), as equal as can be, none of which sees another.",
                ),
            ),
            (
                Variant::Zone,
                info("zone", "The nodes of one zone (--zone) against the rest."),
            ),
            (
                Variant::Region,
                info(
                    "region",
                    "The nodes of one region (--zone n1=REGION/ZONE) against the rest.",
                ),
            ),
            (Variant::Zones, info("zones", "Every zone (--zone) alone.")),
            (
                Variant::Clients,
                info(
                    "clients",
                    "Clients against the target, or against one node; no links between nodes are cut.",
                ),
            ),
        ]
    };

    pub(super) fn named(name: &str) -> Option<Variant> {
        let shape = Shape::ALL.into_iter().find(|shape| shape.name() == name);
        let mut others = Variant::OTHERS.iter();
        let other = || {
            others
                .find(|(_, info)| info.name == name)
                .map(|(it, _)| *it)
        };
        shape.map(Variant::Shape).or_else(other)
    }

    pub(super) fn least_nodes(self) -> usize {
        match self {
            Variant::Shape(shape) => shape.least_nodes(),
            Variant::Clients => 1,
            Variant::Groups | Variant::Zone | Variant::Region | Variant::Zones => 2,
        }
    }
}

/// What happens to packets on a link that is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    #[default]
    Drop,
    Reject,
    Jam,
}

impl Action {
    pub(super) fn is_drop(&self) -> bool {
        *self == Action::Drop
    }

    pub(super) fn treatment(self) -> Treatment {
        match self {
            Action::Drop => Treatment::Drop,
            Action::Reject => Treatment::Reject,
            Action::Jam => Treatment::Jam,
        }
    }

    /// What proves it.
    pub(super) fn kind(self) -> Kind {
        match self {
            Action::Drop => ("dropped", |it| it.matched),
            Action::Reject => ("rejected", |it| it.matched),
            Action::Jam => ("held", |it| it.held),
        }
    }
}
