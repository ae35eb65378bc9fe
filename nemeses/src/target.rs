//! Which nodes a fault aims at.
//!
//! A target is a word ([`Target::One`], [`Target::Primary`] …) or a list of nodes. It is resolved when the
//! fault acts: words against an order of the nodes that the schedule drew, and primaries against who
//! says then that it is one.

use std::fmt;
use std::time::Duration;

use harness::capability::Environment;
use harness::options::unknown;
use harness::time::{Clock, nanos, sleep};
use harness::{Name, Value};
use serde::{Deserialize, Serialize};

use crate::grudge::{in_order, majority, minority, minority_third};

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
}
