//! Which nodes a fault aims at.
//!
//! A target is a word ([`Target::One`], [`Target::Primary`] …) or a list of nodes. It is resolved when the
//! fault acts: words against an order of the nodes that the schedule drew, and primaries against who
//! says then that it is one. The nodes of a zone or a region are a target too; which one is drawn with the
//! activity, whose target is then the list of its nodes.

use std::fmt;
use std::time::Duration;

use harness::capability::Environment;
use harness::options::unknown;
use harness::seed::Rng;
use harness::time::{Clock, nanos, sleep};
use harness::{Name, Value};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::grudge::{in_order, majority, minority, minority_third};
use crate::zones::{Level, Zone, Zones};

/// Which nodes a fault aims at. Written as a word, or as names of nodes joined by `+`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Target {
    /// One node at random.
    One,
    /// The greatest number of nodes that leaves a majority; one at least.
    Minority,
    /// The greatest number of nodes that is less than a third; one at least.
    MinorityThird,
    /// The least number of nodes that is a majority.
    Majority,
    /// All nodes.
    All,
    /// One of the nodes that believe to be primary.
    Primary,
    /// All nodes that believe to be primary.
    Primaries,
    /// These nodes.
    Nodes(Vec<Name>),
}

const WORDS: [(&str, Target); 7] = [
    ("one", Target::One),
    ("minority", Target::Minority),
    ("minority-third", Target::MinorityThird),
    ("majority", Target::Majority),
    ("all", Target::All),
    ("primary", Target::Primary),
    ("primaries", Target::Primaries),
];

impl From<String> for Target {
    fn from(text: String) -> Target {
        let word = WORDS.iter().find(|(word, _)| *word == text);
        match word {
            Some((_, target)) => target.clone(),
            None => Target::Nodes(text.split('+').map(Name::from).collect()),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, target)| target == self);
        match (word, self) {
            (Some((word, _)), _) => f.write_str(word),
            (None, Target::Nodes(nodes)) => f.write_str(&nodes.join("+")),
            (None, _) => unreachable!("every other target has a word"),
        }
    }
}

impl Target {
    /// Reads a target, whose nodes must be among these. The error lists what there is; `words` are
    /// further words that the option takes.
    pub(crate) fn read(text: &str, nodes: &[Name], words: &[&str]) -> Result<Target, String> {
        let target = Target::from(text.to_owned());
        let Target::Nodes(named) = &target else {
            return Ok(target);
        };
        match named.iter().find(|name| !nodes.contains(name)) {
            None => Ok(target),
            Some(name) => {
                let words = words.iter().copied();
                let nodes = nodes.iter().map(AsRef::as_ref);
                let known = words
                    .chain(WORDS.iter().map(|(word, _)| *word))
                    .chain(nodes);
                Err(format!(
                    "no target or node `{name}`{}",
                    unknown(name, known)
                ))
            }
        }
    }

    /// Whether it depends on who is primary.
    pub fn needs_primaries(&self) -> bool {
        matches!(self, Target::Primary | Target::Primaries)
    }

    /// The nodes that are meant, given an order of all nodes and who is primary now. Where a primary is
    /// meant and none is known, the first node of the order.
    pub fn resolve(&self, order: &[Name], primaries: &[Name]) -> Vec<Name> {
        let n = order.len();
        let leading = in_order(order, primaries);
        match self {
            Target::One => order[..1.min(n)].to_vec(),
            Target::Minority => order[..minority(n)].to_vec(),
            Target::MinorityThird => order[..minority_third(n)].to_vec(),
            Target::Majority => order[..majority(n).min(n)].to_vec(),
            Target::All => order.to_vec(),
            Target::Primary | Target::Primaries if leading.is_empty() => order[..1.min(n)].to_vec(),
            Target::Primary => leading[..1].to_vec(),
            Target::Primaries => leading,
            Target::Nodes(nodes) => in_order(order, nodes),
        }
    }
}

/// Whom the user aims at: the same in all activities, or one of several places.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// A target.
    At(Target),
    /// All nodes of a place, drawn among these for each activity.
    Within(Level, Vec<Zone>),
}

impl Aim {
    /// How the words for places are told to the user.
    pub(crate) const PLACES: &str = "all nodes of a `zone` or a `region` (drawn each time; `zone-NAME`, `region-NAME` for a certain \
                                     one; see --zone)";

    /// Reads it, as [`Target::read`] does.
    pub(crate) fn read(
        text: &str,
        nodes: &[Name],
        zones: &Zones,
        words: &[&str],
    ) -> Result<Aim, String> {
        let within = Level::ALL.into_iter().find_map(|level| {
            let rest = text.strip_prefix(level.word())?;
            (rest.is_empty() || rest.starts_with('-')).then_some((level, rest))
        });
        let is_node = nodes.iter().any(|node| &**node == text);
        let Some((level, named)) = within.filter(|_| !is_node) else {
            let places = Level::ALL.map(Level::word);
            let words: Vec<&str> = words.iter().copied().chain(places).collect();
            return Target::read(text, nodes, &words).map(Aim::At);
        };
        let all = zones.places(level, nodes);
        let all = all.map_err(|why| format!("the target `{text}`: {why}"))?;
        let Some(name) = named.strip_prefix('-') else {
            return Ok(Aim::Within(level, all));
        };
        match all.iter().find(|zone| zone.name == name) {
            Some(zone) => Ok(Aim::Within(level, vec![zone.clone()])),
            None => {
                let names = all.iter().map(|zone| &zone.name);
                Err(format!(
                    "no {} `{name}`{}",
                    level.word(),
                    unknown(name, names)
                ))
            }
        }
    }

    /// Whether it depends on who is primary.
    pub(crate) fn needs_primaries(&self) -> bool {
        matches!(self, Aim::At(target) if target.needs_primaries())
    }

    /// Whether each place has few enough nodes that all of them may be down at once. The error says what would help.
    pub(crate) fn within_budget(&self, most: Option<usize>) -> Result<(), String> {
        let (Aim::Within(level, places), Some(most)) = (self, most) else {
            return Ok(());
        };
        let word = level.word();
        let fits = |place: &&Zone| place.nodes.len() <= most;
        let Some(large) = places.iter().find(|place| !fits(place)) else {
            return Ok(());
        };
        let smaller = places.iter().find(fits);
        let smaller = smaller.map(|place| format!(", or target={word}-{}", place.name));
        Err(format!(
            "the {word} `{}` has {} nodes, and at most {most} may be down at once\n  hint: --max-down {}{}",
            large.name,
            large.nodes.len(),
            places
                .iter()
                .map(|place| place.nodes.len())
                .max()
                .unwrap_or(0),
            smaller.unwrap_or_default()
        ))
    }

    /// The target of an activity, with the name of the place that it is.
    pub(crate) fn draw(&self, rng: &mut Rng) -> (Target, Option<String>) {
        match self {
            Aim::At(target) => (target.clone(), None),
            Aim::Within(_, places) => {
                let place = &places[rng.random_range(0..places.len())];
                let nodes = place.nodes.clone();
                (Target::Nodes(nodes), Some(place.name.clone()))
            }
        }
    }
}

/// Pause between two questions for a primary.
const PRIMARY_POLL: Duration = Duration::from_millis(50);

/// Who believes to be primary now. `None` where the system has no primaries.
///
/// With `patience`, waits that long for one to be known: a fault that is to strike a leader and comes in
/// the middle of an election waits for its end.
pub(crate) async fn primaries(
    env: &Environment,
    clock: &dyn Clock,
    patience: Duration,
) -> Option<Vec<Name>> {
    let primaries = env.primaries.as_ref()?;
    let deadline = clock.now().saturating_add(nanos(patience));
    loop {
        let known = primaries.primaries().await;
        if !known.is_empty() || clock.now() >= deadline {
            return Some(known);
        }
        sleep(clock, PRIMARY_POLL).await;
    }
}

/// Whether the value of a completed `start` proves that it struck a primary.
///
/// A mix begins with a primary, and owes one until this was seen: where none was known in time, or it was
/// gone when it was to be struck, the next activity puts a primary first, whatever it drew.
pub(crate) fn struck_primary(value: &Value) -> bool {
    value["effective"] == true && value["leader"] == true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(list: &str) -> Vec<Name> {
        list.split(' ').map(Name::from).collect()
    }

    #[test]
    fn targets_resolve_in_the_drawn_order() {
        let order = names("n3 n5 n1 n2 n4");
        let resolve = |target: &str, primaries: &[Name]| {
            Target::from(target.to_owned())
                .resolve(&order, primaries)
                .join(" ")
        };
        assert_eq!(resolve("one", &[]), "n3");
        assert_eq!(resolve("minority", &[]), "n3 n5");
        assert_eq!(resolve("minority-third", &[]), "n3");
        assert_eq!(resolve("majority", &[]), "n3 n5 n1");
        assert_eq!(resolve("all", &[]), "n3 n5 n1 n2 n4");
        assert_eq!(resolve("primary", &names("n4 n1")), "n1");
        assert_eq!(resolve("primaries", &names("n4 n1")), "n1 n4");
        assert_eq!(resolve("primary", &[]), "n3");
        assert_eq!(resolve("n1+n3", &[]), "n3 n1");
    }

    #[test]
    fn targets_are_written_as_they_are_read() {
        for text in ["one", "minority-third", "primaries", "n1", "n3+n1"] {
            assert_eq!(Target::from(text.to_owned()).to_string(), text);
        }
        let error = Target::read("n1+primry", &names("n1 n2"), &["mix"]).unwrap_err();
        assert_eq!(
            error,
            "no target or node `primry` (did you mean `primary`?); there are: mix, one, minority, \
             minority-third, majority, all, primary, primaries, n1, n2"
        );
    }

    fn aim(text: &str) -> Result<Aim, String> {
        let nodes = names("n1 n2 n3 n4 n5");
        let zones = ["n1=eu/a", "n2=eu/a", "n3=eu/b", "n4=us/a"];
        Aim::read(text, &nodes, &Zones::read(zones, &nodes).unwrap(), &[])
    }

    #[test]
    fn a_place_is_drawn_with_all_its_nodes() {
        let mut rng = harness::seed::Seed::new(3).rng();
        let mut drawn = |text: &str| {
            let aim = aim(text).unwrap();
            let draws = (0..100).map(|_| match aim.draw(&mut rng) {
                (target, Some(place)) => format!("{place}: {target}"),
                (target, None) => target.to_string(),
            });
            draws.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(
            Vec::from_iter(drawn("zone")),
            ["eu/a: n1+n2", "eu/b: n3", "us/a: n4"]
        );
        assert_eq!(Vec::from_iter(drawn("region")), ["eu: n1+n2+n3", "us: n4"]);
        assert_eq!(Vec::from_iter(drawn("region-us")), ["us: n4"]);
        assert_eq!(Vec::from_iter(drawn("zone-eu/a")), ["eu/a: n1+n2"]);
        assert_eq!(Vec::from_iter(drawn("one")), ["one"]);
    }

    #[test]
    fn places_that_are_not_there_or_too_large_are_refused() {
        let error = aim("zone-eu/c").unwrap_err();
        assert!(
            error.contains("no zone `eu/c`") && error.contains("eu/a"),
            "{error}"
        );
        assert!(aim("zones").unwrap_err().contains("did you mean `zone`"));
        let nodes = names("n1 n2 zone-a");
        let nowhere = |text: &str| Aim::read(text, &nodes, &Zones::default(), &[]);
        let error = nowhere("region").unwrap_err();
        assert!(
            error.contains("hint: say where they are: --zone"),
            "{error}"
        );
        assert!(matches!(nowhere("zone-a"), Ok(Aim::At(Target::Nodes(_)))));

        assert!(aim("all").unwrap().within_budget(Some(1)).is_ok());
        assert!(aim("region").unwrap().within_budget(Some(3)).is_ok());
        assert_eq!(
            aim("region").unwrap().within_budget(Some(2)).unwrap_err(),
            "the region `eu` has 3 nodes, and at most 2 may be down at once\n  hint: --max-down 3, or target=region-us"
        );
    }
}
