//! Consistency models, and which anomalies each rules out.
//!
//! The lattice is Elle's, with its names, and three models more: monotonic atomic view, read atomic and causal, of systems that keep the
//! order of sessions (`strong-session-…`). The last is what causal is of transactions. A model *implies* the weaker ones: a history that is serializable is
//! read committed. Which anomalies disprove a model is written down at the weakest model only, and follows for
//! stronger ones.
//!
//! Not every model can be decided. [`Level::decided`] says for which of them the anomalies that we look for in list-append histories
//! are all that its definition rules out; of the others it is known that they hold only where a stronger one does. Of registers,
//! whose versions have no known order, other models are decided ([`RwRegister`](super::RwRegister)).
//!
//! What some models are, where their definitions speak of more than a history shows:
//!
//! - *Parallel snapshot isolation* (Sovran et al. 2011): dependencies have no cycle with fewer than two anti-dependencies, and no
//!   transaction is at odds with itself (Cerone and Gotsman 2018).
//! - *Forward consistent view* lets the system choose which transactions end before others begin (Adya's time-precedes order). If it
//!   chooses none, this is consistent view: no history tells the two apart.
//! - *Prefix*, *causal*, *update atomic* and *read atomic* are Cerone, Bernardi and Gotsman's (2015). What a list shows has been seen: each
//!   of its elements, not only the last.
//! - *View serializable* and *one-copy serializable* would say what serializable does, of orders of versions that reads show, and are not
//!   decided beside it. *Monotonic snapshot read* is defined by when statements begin (Adya), of which a history shows nothing. *Linearizable*
//!   and what is weaker are of single objects.
//!
//! The tools that read the texts of Plume and AWDIT give some levels other meanings: [`academic`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::anomaly::{Anomaly, implies};

/// A consistency model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What it is called.
    pub name: &'static str,
    /// What else it is called.
    pub aliases: &'static [&'static str],
    /// The next weaker models.
    pub implies: &'static [&'static str],
    /// What disproves it, and not the weaker ones.
    pub proscribes: &'static [&'static str],
    /// Whether all that disproves it is looked for in histories of lists.
    pub decided: bool,
}

const fn level(
    name: &'static str,
    aliases: &'static [&'static str],
    implies: &'static [&'static str],
    proscribes: &'static [&'static str],
) -> Level {
    Level {
        name,
        aliases,
        implies,
        proscribes,
        decided: true,
    }
}

const fn open(
    name: &'static str,
    aliases: &'static [&'static str],
    implies: &'static [&'static str],
    proscribes: &'static [&'static str],
) -> Level {
    Level {
        decided: false,
        ..level(name, aliases, implies, proscribes)
    }
}

/// All models, strongest first: each comes before those that it implies.
pub const LEVELS: &[Level] = &[
    level(
        "strict-serializable",
        &["strong-serializable", "PL-SS"],
        &[
            "serializable",
            "snapshot-isolation",
            "linearizable",
            "session-serializable",
            "strong-session-serializable",
            "strong-snapshot-isolation",
        ],
        &["G1", "G1c-realtime", "G2-realtime"],
    ),
    level(
        "strong-session-serializable",
        &[],
        &["serializable", "strong-session-snapshot-isolation"],
        &["G1-process", "G2-process"],
    ),
    level(
        "strong-snapshot-isolation",
        &[],
        &["strong-read-committed", "strong-session-snapshot-isolation"],
        &["G-nonadjacent-realtime", "G1-realtime", "internal"],
    ),
    level(
        "serializable",
        &["conflict-serializable", "PL-3"],
        &[
            "repeatable-read",
            "update-serializable",
            "snapshot-isolation",
            "view-serializable",
        ],
        &["G1", "G2", "internal", "predicate-read-miss"],
    ),
    level(
        "strong-session-snapshot-isolation",
        &[],
        &[
            "snapshot-isolation",
            "causal",
            "strong-session-read-committed",
        ],
        &["G-nonadjacent-process", "G1-process", "internal"],
    ),
    level(
        "snapshot-isolation",
        &["PL-SI"],
        &[
            "forward-consistent-view",
            "monotonic-atomic-view",
            "monotonic-snapshot-read",
            "parallel-snapshot-isolation",
            "prefix",
        ],
        &["G-SI", "G-nonadjacent", "G1", "internal"],
    ),
    level(
        "update-serializable",
        &["PL-3U"],
        &["forward-consistent-view"],
        &["G-update", "G1"],
    ),
    level(
        "forward-consistent-view",
        &["PL-FCV"],
        &["consistent-view"],
        &["G-SIb", "G1"],
    ),
    level(
        "repeatable-read",
        &["PL-2.99"],
        &["cursor-stability", "monotonic-atomic-view"],
        &["G1", "G2-item", "lost-update"],
    ),
    level(
        "consistent-view",
        &["PL-2+"],
        &["cursor-stability", "monotonic-view"],
        &["G-single", "G1"],
    ),
    level(
        "parallel-snapshot-isolation",
        &[],
        &["causal-cerone", "update-atomic"],
        &["G-single", "G1a", "internal"],
    ),
    level(
        "prefix",
        &[],
        &["causal-cerone"],
        &["G1a", "internal", "prefix-violation", "no-prefixes"],
    ),
    level(
        "update-atomic",
        &[],
        &["read-atomic"],
        &["G-cursor", "fractured-update", "lost-update"],
    ),
    open("linearizable", &[], &["sequential"], &[]),
    open("sequential", &[], &["causal"], &[]),
    level(
        "causal",
        &[],
        &[
            "PRAM",
            "strong-session-causal-cerone",
            "writes-follow-reads",
        ],
        &[],
    ),
    level(
        "strong-session-causal-cerone",
        &[],
        &["causal-cerone", "strong-session-read-atomic"],
        &["causality-violation-process"],
    ),
    level(
        "causal-cerone",
        &[],
        &["read-atomic"],
        &["G1a", "causality-violation", "internal"],
    ),
    level(
        "strong-session-read-atomic",
        &[],
        &["read-atomic", "strong-session-monotonic-atomic-view"],
        &["fractured-read-process"],
    ),
    level(
        "read-atomic",
        &[],
        &["monotonic-atomic-view"],
        &["G1a", "fractured-read", "future-read", "internal"],
    ),
    level(
        "strong-session-monotonic-atomic-view",
        &[],
        &["monotonic-atomic-view", "strong-session-read-committed"],
        &["OTV-process", "unseen-own-write"],
    ),
    level("monotonic-atomic-view", &[], &["read-committed"], &["OTV"]),
    open(
        "monotonic-snapshot-read",
        &["PL-MSR"],
        &["read-committed"],
        &["G-MSR", "G1"],
    ),
    level(
        "monotonic-view",
        &["PL-2L"],
        &["read-committed"],
        &["G-monotonic", "G1"],
    ),
    level(
        "cursor-stability",
        &["PL-CS"],
        &["read-committed"],
        &["G-cursor", "G1", "lost-update"],
    ),
    level(
        "strong-read-committed",
        &["strong-PL-2"],
        &["strong-read-uncommitted", "strong-session-read-committed"],
        &["G1c-realtime"],
    ),
    level(
        "strong-session-read-committed",
        &["strong-session-PL-2"],
        &["read-committed", "strong-session-read-uncommitted"],
        &["G1c-process"],
    ),
    level("read-committed", &["PL-2"], &["read-uncommitted"], &["G1"]),
    level(
        "strong-read-uncommitted",
        &["strong-PL-1"],
        &["strong-session-read-uncommitted"],
        &["G0-realtime"],
    ),
    level(
        "strong-session-read-uncommitted",
        &["strong-session-PL-1"],
        &["read-uncommitted"],
        &["G0-process"],
    ),
    level(
        "read-uncommitted",
        &["PL-1"],
        &[],
        &[
            "G0",
            "cyclic-versions",
            "duplicate-elements",
            "incompatible-versions",
        ],
    ),
    open("view-serializable", &[], &[], &[]),
    open("session-serializable", &[], &["1SR"], &[]),
    open("1SR", &[], &[], &[]),
    open(
        "PRAM",
        &[],
        &["monotonic-reads", "monotonic-writes", "read-your-writes"],
        &[],
    ),
    open("monotonic-reads", &[], &[], &[]),
    open("monotonic-writes", &[], &[], &[]),
    open("read-your-writes", &[], &[], &[]),
    open("writes-follow-reads", &[], &[], &[]),
];

/// The level that is asked for where nobody says which.
pub const DEFAULT: &str = "strict-serializable";

/// A model by any of its names.
pub fn find(name: &str) -> Option<&'static Level> {
    LEVELS
        .iter()
        .find(|level| level.name == name || level.aliases.contains(&name))
}

/// A model as Biswas and Enea (2019) name it, and after them the checkers that read the texts of Plume and AWDIT: the order of sessions is
/// part of each, and read committed is monotonic atomic view. Other names mean what [`find`] says.
pub fn academic(name: &str) -> Option<&'static Level> {
    find(match find(name)?.name {
        "read-committed" => "strong-session-monotonic-atomic-view",
        "read-atomic" => "strong-session-read-atomic",
        "causal" | "causal-cerone" => "strong-session-causal-cerone",
        "snapshot-isolation" => "strong-session-snapshot-isolation",
        "serializable" => "strong-session-serializable",
        other => other,
    })
}

/// Models as bits, by their places in the table.
type Levels = u64;

/// What follows from the table. It is asked very often.
struct Lattice {
    /// By model: it and those that it implies.
    reaches: Vec<Levels>,
    /// By name of an anomaly: the models that it disproves.
    ruled_out: BTreeMap<&'static str, Levels>,
}

static LATTICE: LazyLock<Lattice> = LazyLock::new(|| {
    let mut reaches: Vec<Levels> = vec![0; LEVELS.len()];
    // Each comes before those that it implies.
    for (at, level) in LEVELS.iter().enumerate().rev() {
        let implied = level.implies.iter().filter_map(|name| place(name));
        reaches[at] = implied.fold(1 << at, |all, one| all | reaches[one]);
    }
    let bits = |is_one: &dyn Fn(usize) -> bool| {
        let places = (0..LEVELS.len()).filter(|at| is_one(*at));
        places.fold(0, |all: Levels, at| all | 1 << at)
    };
    let ruled_out = Anomaly::all().map(|anomaly| {
        let proscribed = bits(&|at| {
            let mut proscribed = LEVELS[at].proscribes.iter();
            proscribed.any(|one| implies(anomaly.name(), one))
        });
        let all = bits(&|at| reaches[at] & proscribed != 0);
        (anomaly.name(), all)
    });
    Lattice {
        ruled_out: ruled_out.collect(),
        reaches,
    }
});

/// Where a model is in the table.
fn place(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.name == name)
}

impl Level {
    /// Whether this model is `weaker`, or implies it.
    pub fn reaches(&self, weaker: &str) -> bool {
        match (place(self.name), place(weaker)) {
            (Some(this), Some(weaker)) => LATTICE.reaches[this] >> weaker & 1 == 1,
            _ => false,
        }
    }

    /// Whether an anomaly disproves this model.
    pub fn rules_out(&self, anomaly: Anomaly) -> bool {
        let ruled_out = LATTICE.ruled_out.get(anomaly.name());
        ruled_out
            .zip(place(self.name))
            .is_some_and(|(all, this)| all >> this & 1 == 1)
    }
}

/// What anomalies say of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The history is not of this model.
    Violated,
    /// The history is of this model.
    Holds,
    /// Nothing was found against it, and not all that could be was looked for.
    Open,
}

/// What anomalies say of all models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    standings: Vec<Standing>,
}

impl Boundary {
    /// Of a history that shows `certain` anomalies, and that can be understood in some ways, each of which shows no others than
    /// these, and those that they imply. `decided` says for which models all that disproves them was looked for.
    pub fn of(
        certain: &BTreeSet<Anomaly>,
        ways: &[BTreeSet<Anomaly>],
        decided: &dyn Fn(&Level) -> bool,
    ) -> Boundary {
        let ruled_out = |all: &BTreeSet<Anomaly>| {
            let each = all
                .iter()
                .filter_map(|one| LATTICE.ruled_out.get(one.name()));
            each.fold(0, |all, one| all | one)
        };
        let violated = ruled_out(certain);
        let doubtful = ways
            .iter()
            .map(ruled_out)
            .fold(Levels::MAX, |all, way| all & way);
        let holding = LEVELS
            .iter()
            .enumerate()
            .filter(|(at, level)| (violated | doubtful) >> at & 1 == 0 && decided(level));
        // What is implied holds too.
        let holding = holding.fold(0, |all, (at, _)| all | LATTICE.reaches[at]);
        let standings = (0..LEVELS.len()).map(|at| match () {
            () if violated >> at & 1 == 1 => Standing::Violated,
            () if holding >> at & 1 == 1 => Standing::Holds,
            () => Standing::Open,
        });
        let standings = standings.collect();
        Boundary { standings }
    }

    /// Takes in that a model holds, and so those that it implies.
    pub(super) fn hold(&mut self, holds: &Level) {
        for (level, standing) in LEVELS.iter().zip(&mut self.standings) {
            if *standing == Standing::Open && holds.reaches(level.name) {
                *standing = Standing::Holds;
            }
        }
    }

    /// Whether something is not known of a model of which all is looked for.
    pub fn is_open(&self, decided: &dyn Fn(&Level) -> bool) -> bool {
        self.all(Standing::Open).iter().any(|level| decided(level))
    }

    /// What is known of a model.
    pub fn standing(&self, level: &Level) -> Standing {
        let at = LEVELS.iter().position(|one| one.name == level.name);
        at.map_or(Standing::Open, |at| self.standings[at])
    }

    /// The models of a standing, strongest first.
    pub fn all(&self, standing: Standing) -> Vec<&'static Level> {
        let each = LEVELS.iter().zip(&self.standings);
        each.filter(|(_, one)| **one == standing)
            .map(|(level, _)| level)
            .collect()
    }

    /// The violated models that imply no other violated one.
    pub fn weakest_violated(&self) -> Vec<&'static Level> {
        self.unsurpassed(Standing::Violated, |one, other| one.reaches(other.name))
    }

    /// The models that hold, and are implied by no other that does.
    pub fn strongest_holding(&self) -> Vec<&'static Level> {
        self.unsurpassed(Standing::Holds, |one, other| other.reaches(one.name))
    }

    /// The models of a standing that no other of it makes unnecessary to mention.
    fn unsurpassed(
        &self,
        standing: Standing,
        is_covered_by: impl Fn(&Level, &Level) -> bool,
    ) -> Vec<&'static Level> {
        let all = self.all(standing);
        let is_covered = |one: &Level| {
            all.iter()
                .any(|other| other.name != one.name && is_covered_by(one, other))
        };
        all.iter().copied().filter(|one| !is_covered(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::anomaly::{Base, Class};
    use super::*;

    fn names(levels: &[&Level]) -> Vec<&'static str> {
        levels.iter().map(|level| level.name).collect()
    }

    #[test]
    fn the_table_is_in_order_and_names_only_what_is_in_it() {
        for (at, level) in LEVELS.iter().enumerate() {
            for weaker in level.implies {
                let found = LEVELS.iter().position(|one| one.name == *weaker).unwrap();
                assert!(found > at, "{} {weaker}", level.name);
            }
            for alias in level.aliases {
                assert_eq!(find(alias), Some(level));
            }
        }
        assert!(find(DEFAULT).unwrap().decided);
    }

    #[test]
    fn anomalies_draw_the_line_between_models() {
        let of = |anomalies: &[Anomaly]| {
            let all = anomalies.iter().copied().collect();
            Boundary::of(&all, std::slice::from_ref(&all), &|level| level.decided)
        };
        let none = of(&[]);
        assert_eq!(none.weakest_violated(), Vec::<&Level>::new());
        assert_eq!(names(&none.strongest_holding()), ["strict-serializable"]);
        assert_eq!(none.all(Standing::Holds).len(), LEVELS.len());

        let skew = of(&[Anomaly::Cycle(Class::G2, Base::Plain)]);
        assert_eq!(names(&skew.weakest_violated()), ["repeatable-read"]);
        assert_eq!(
            names(&skew.strongest_holding()),
            ["strong-snapshot-isolation", "update-serializable"]
        );
        assert_eq!(
            skew.standing(find("causal-cerone").unwrap()),
            Standing::Holds
        );
        let update = of(&[Anomaly::Update, Anomaly::Cycle(Class::G2, Base::Plain)]);
        assert_eq!(
            names(&update.weakest_violated()),
            ["update-serializable", "repeatable-read"]
        );

        let stale = of(&[Anomaly::Cycle(Class::GSingle, Base::Realtime)]);
        assert_eq!(
            names(&stale.weakest_violated()),
            ["strong-snapshot-isolation"]
        );
        assert_eq!(
            names(&stale.strongest_holding()),
            ["strong-session-serializable", "strong-read-committed"]
        );
        let dirty = of(&[Anomaly::DirtyUpdate]);
        assert_eq!(names(&dirty.weakest_violated()), ["read-committed"]);
        assert_eq!(
            names(&dirty.strongest_holding()),
            ["strong-read-uncommitted"]
        );
        // It may be from a transaction that was not recorded, and failed.
        let garbage = of(&[Anomaly::GarbageRead]);
        assert_eq!(names(&garbage.weakest_violated()), ["read-committed"]);
        let skew = [Anomaly::Cycle(Class::G2, Base::Plain)]
            .into_iter()
            .collect();
        let doubtful = Boundary::of(&BTreeSet::new(), &[skew], &|level| level.decided);
        assert!(doubtful.is_open(&|level| level.decided));
        assert!(doubtful.weakest_violated().is_empty());
        assert_eq!(
            names(&doubtful.strongest_holding()),
            ["strong-snapshot-isolation", "update-serializable"]
        );
        let unknown = Boundary::of(&BTreeSet::new(), &[], &|level| level.decided);
        assert_eq!(unknown.all(Standing::Open).len(), LEVELS.len());
        let nothing_left = of(&[Anomaly::CyclicVersions]);
        assert_eq!(
            names(&nothing_left.weakest_violated()),
            ["read-uncommitted"]
        );
        assert!(nothing_left.strongest_holding().is_empty());
    }
}
