//! Long fork: two readers see two writes in opposite orders.
//!
//! | transaction | micro-operations |
//! | --- | --- |
//! | a write | `[["w", key, 1]]`: each key is written once |
//! | a read | `[["r", key, null], …]`: all keys of a group, in one transaction |
//!
//! Two transactions write two keys of a group. One reader sees the first write and not the second, another the second and not the
//! first: then there were no two moments that all agree on. Snapshot isolation forbids that, parallel snapshot isolation and what
//! is weaker allow it. Replicas that apply commits in other orders than the primary shows them do it, and so do databases that
//! order commits one way and make them visible in another.
//!
//! With each key written once, it is known what each read missed, so the level is decided from the history alone. A reader that
//! sees a later write and not one that had been *acknowledged* before it began is found at the strict levels:
//! [`causal_reverse`](crate::causal_reverse).
//!
//! # Which keys
//!
//! A few groups are in use at a time, so that reads fall between the writes of each. A group whose keys are all written is left
//! when the next write would be to it.

use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::{Value, json};

use crate::load::{self, Filled, Limits, Streams, Turns, whole};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo, rw_register};

/// The workload's name.
pub const NAME: &str = "long-fork";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Writes of single keys, and read-only transactions of whole groups of them; finds readers that see two \
                  writes in opposite orders"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "keys-per-group",
            2,
            1_000,
            Some("4"),
            "How many keys are read at once",
        ),
        whole(
            "group-count",
            1,
            10_000,
            Some("4"),
            "How many groups of keys are in use at a time",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history by a level that rules a long fork out: `snapshot-isolation` or stronger.
///
/// # Errors
///
/// There is no such level.
pub fn checkers(consistency: &str) -> Result<Vec<NamedChecker>, BuildError> {
    rw_register::checkers_named(NAME, consistency)
}

/// The operations of the main phase: two of three read.
///
/// # Errors
///
/// None today.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    generator_named(request, NAME)
}

/// The same, for a workload of another name.
pub(crate) fn generator_named(
    request: &BuildRequest<'_>,
    name: &str,
) -> Result<BoxGenerator, BuildError> {
    let options = request.options;
    let seed = request.seed.named(name);
    let (size, places) = (
        options.integer("keys-per-group"),
        options.integer("group-count"),
    );
    let draw = move |_thread, rng: &mut Rng| {
        let place = rng.random_range(0..places);
        let first = rng.random_range(0..size);
        let f = if rng.random_range(0..3) == 0 {
            "w"
        } else {
            "r"
        };
        Op::new("txn", json!([f, place, first]))
    };
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    let filled = Filled::new(streams, Groups::new(places, size), Groups::fill);
    Ok(load::paced(options, seed, filled))
}

/// The groups in use.
#[derive(Clone, Debug)]
struct Groups {
    size: i64,
    /// By place: the group, and the keys of it that were not written yet.
    places: Vec<(i64, Vec<i64>)>,
    /// The next group that was never used.
    fresh: i64,
}

impl Groups {
    fn new(places: i64, size: i64) -> Groups {
        let mut groups = Groups {
            size,
            places: Vec::new(),
            fresh: 0,
        };
        for _ in 0..places {
            let group = groups.next();
            groups.places.push(group);
        }
        groups
    }

    fn next(&mut self) -> (i64, Vec<i64>) {
        self.fresh += 1;
        let group = self.fresh - 1;
        (group, self.keys(group).collect())
    }

    fn keys(&self, group: i64) -> impl Iterator<Item = i64> + use<> {
        group * self.size..(group + 1) * self.size
    }

    /// Makes a transaction of what was drawn: read or write, the place, and which key is the first.
    fn fill(&mut self, op: &mut Op) {
        let drawn = |at: usize| op.value[at].as_u64().unwrap_or_default() as usize;
        let (place, first) = (drawn(1), drawn(2));
        op.value = match op.value[0] == "w" {
            true => json!([["w", self.written_next(place, first), 1]]),
            false => {
                let mut keys: Vec<i64> = self.keys(self.places[place].0).collect();
                keys.rotate_left(first);
                let reads = keys.into_iter().map(|key| json!(["r", key, null]));
                reads.collect::<Value>()
            }
        };
    }

    /// A key of the group in a place that was not written yet, and is now.
    fn written_next(&mut self, place: usize, drawn: usize) -> i64 {
        if self.places[place].1.is_empty() {
            self.places[place] = self.next();
        }
        let left = &mut self.places[place].1;
        left.remove(drawn % left.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn each_key_is_written_once_and_groups_are_read_whole() {
        let given = [("keys-per-group", "3"), ("group-count", "2")];
        let steps = Asked::of(&options(), &given).invocations(10, generator);
        let (mut written, mut reads) = (BTreeSet::new(), 0);
        // By group: how many of its keys were written when it was read.
        let mut stages: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        for step in &steps {
            let micros = step.op.value.as_array().unwrap();
            let keys: BTreeSet<i64> = micros.iter().map(|one| one[1].as_i64().unwrap()).collect();
            if micros[0][0] == "w" {
                assert_eq!((micros.len(), &micros[0][2]), (1, &json!(1)));
                assert!(written.insert(micros[0][1].as_i64().unwrap()));
                continue;
            }
            reads += 1;
            let group = micros[0][1].as_i64().unwrap() / 3;
            assert!(
                keys.iter().copied().eq(3 * group..3 * group + 3),
                "{keys:?}"
            );
            stages
                .entry(group)
                .or_default()
                .insert(keys.intersection(&written).count());
        }
        assert!((63..=70).contains(&(100 * reads / steps.len())));
        // All keys of the groups that were left are written.
        let last = written.last().unwrap() / 3;
        assert!(last > 500);
        assert!((0..3 * (last - 20)).all(|key| written.contains(&key)));
        let between = stages
            .values()
            .filter(|seen| seen.contains(&1) && seen.contains(&2));
        // A read follows each of two writes in four of nine.
        assert!(between.count() * 3 > stages.len());
    }
}
