//! Anomalies by name, and which of them are also others.
//!
//! A cycle's name has up to three parts: its *class*, by the dependencies in it; `-item`, as reads are of single
//! objects; and its *base*, by what else is in it: nothing, the order of a process, or real time (which may include the
//! order of processes). Names and meanings are Adya's (1999) and Elle's (Kingsbury and Alvaro 2020).

use std::fmt;

/// What dependencies a cycle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Write dependencies alone.
    G0,
    /// Write and read dependencies.
    G1c,
    /// Exactly one anti-dependency.
    GSingle,
    /// Several anti-dependencies, and never two in a row.
    GNonadjacent,
    /// Several anti-dependencies, two of them in a row.
    G2,
}

/// What else a cycle has besides dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// Nothing.
    Plain,
    /// The order of transactions of a process.
    Process,
    /// Real time.
    Realtime,
}

/// What it is to have seen a transaction, for whoever must then see all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// To have read a write of it before.
    Monotonic,
    /// To read a write of it, before or after.
    Atomic,
    /// To come after it by reads, at once or through others.
    Causal,
}

impl View {
    /// All views, the most telling first.
    pub const ALL: [View; 3] = [View::Monotonic, View::Atomic, View::Causal];
}

impl Class {
    /// All classes, the most telling first.
    pub const ALL: [Class; 5] = [
        Class::G0,
        Class::G1c,
        Class::GSingle,
        Class::GNonadjacent,
        Class::G2,
    ];
}

impl Base {
    /// All bases, the most telling first.
    pub const ALL: [Base; 3] = [Base::Plain, Base::Process, Base::Realtime];
}

/// Something that a history should not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Anomaly {
    /// Two lists of a key that show the appends of two committed transactions in opposite orders.
    CyclicVersions,
    /// What a database says of the versions of a register contradicts itself: two values have one version, or one has two.
    IncompatibleVersions,
    /// A list shows an element twice.
    DuplicateElements,
    /// A read shows an element that nobody appended.
    GarbageRead,
    /// A read shows what a failed transaction appended.
    G1a,
    /// A committed append follows one of a failed transaction.
    DirtyUpdate,
    /// Two lists of a key of which neither continues the other.
    IncompatibleOrder,
    /// A read ends with an append that its transaction had not finished with.
    G1b,
    /// A read shows what its own transaction appends only later.
    FutureRead,
    /// A transaction disagrees with its own earlier reads and appends.
    Internal,
    /// A transaction reads a register otherwise than it had itself written it.
    UnseenOwnWrite,
    /// Two transactions read the same version of a key and both append to it.
    LostUpdate,
    /// An append was acknowledged, later ones are seen, and it never is.
    LostAppend,
    /// A read by a predicate does not show what matched it whatever was there.
    PredicateReadMiss,
    /// Transactions that cannot be put in any order.
    Cycle(Class, Base),
    /// The same, where something was missed by a predicate: with one anti-dependency or more.
    Predicate(Class, Base),
    /// A transaction saw another (or, with [`Base::Process`], its session had), and yet read a key as it was before that one wrote
    /// it.
    View(View, Base),
    /// A transaction read a key and wrote it, and missed another's write in between.
    Cursor,
    /// What a transaction had seen implies what it then missed, by write and read dependencies.
    Monotonic,
    /// A transaction wrote a key after another, and yet missed what this one wrote elsewhere.
    FracturedUpdate,
    /// A cycle in which who misses something had always read what came later.
    PrefixViolation,
    /// A cycle with anti-dependencies of which all transactions but one write.
    Update,
    /// Whatever the order of versions, transactions cannot be put in any order (that of processes, real time). Of registers.
    NoSerialOrder(Base),
    /// Whatever the order of versions, transactions cannot have read snapshots and excluded each other.
    NoSnapshots(Base),
    /// Whatever the order of versions, transactions cannot have read prefixes of one order.
    NoPrefixes,
}

impl Anomaly {
    /// Cycles of certain shapes, which tell models apart that the classes do not.
    pub const SHAPES: [Anomaly; 5] = [
        Anomaly::Cursor,
        Anomaly::Monotonic,
        Anomaly::FracturedUpdate,
        Anomaly::PrefixViolation,
        Anomaly::Update,
    ];

    /// Anomalies that are no cycles.
    pub const ACYCLIC: [Anomaly; 14] = [
        Anomaly::CyclicVersions,
        Anomaly::IncompatibleVersions,
        Anomaly::DuplicateElements,
        Anomaly::GarbageRead,
        Anomaly::G1a,
        Anomaly::DirtyUpdate,
        Anomaly::IncompatibleOrder,
        Anomaly::G1b,
        Anomaly::FutureRead,
        Anomaly::Internal,
        Anomaly::UnseenOwnWrite,
        Anomaly::LostUpdate,
        Anomaly::LostAppend,
        Anomaly::PredicateReadMiss,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        use Base::{Plain, Process, Realtime};
        match self {
            Anomaly::GarbageRead => "garbage-read",
            Anomaly::DuplicateElements => "duplicate-elements",
            Anomaly::G1a => "G1a",
            Anomaly::DirtyUpdate => "dirty-update",
            Anomaly::IncompatibleOrder => "incompatible-order",
            Anomaly::CyclicVersions => "cyclic-versions",
            Anomaly::IncompatibleVersions => "incompatible-versions",
            Anomaly::G1b => "G1b",
            Anomaly::FutureRead => "future-read",
            Anomaly::Internal => "internal",
            Anomaly::UnseenOwnWrite => "unseen-own-write",
            Anomaly::LostUpdate => "lost-update",
            Anomaly::LostAppend => "lost-append",
            Anomaly::NoSerialOrder(Plain) => "no-serial-order",
            Anomaly::NoSerialOrder(Process) => "no-serial-order-process",
            Anomaly::NoSerialOrder(Realtime) => "no-serial-order-realtime",
            Anomaly::NoSnapshots(Plain) => "no-snapshots",
            Anomaly::NoSnapshots(Process) => "no-snapshots-process",
            Anomaly::NoSnapshots(Realtime) => "no-snapshots-realtime",
            Anomaly::NoPrefixes => "no-prefixes",
            Anomaly::Cursor => "G-cursor",
            Anomaly::Monotonic => "G-monotonic",
            Anomaly::FracturedUpdate => "fractured-update",
            Anomaly::PrefixViolation => "prefix-violation",
            Anomaly::Update => "G-update",
            Anomaly::View(View::Monotonic, Plain) => "OTV",
            Anomaly::View(View::Monotonic, Process | Realtime) => "OTV-process",
            Anomaly::View(View::Atomic, Plain) => "fractured-read",
            Anomaly::View(View::Atomic, Process | Realtime) => "fractured-read-process",
            Anomaly::View(View::Causal, Plain) => "causality-violation",
            Anomaly::View(View::Causal, Process | Realtime) => "causality-violation-process",
            Anomaly::PredicateReadMiss => "predicate-read-miss",
            Anomaly::Predicate(Class::GSingle, Plain) => "G-single",
            Anomaly::Predicate(Class::GSingle, Process) => "G-single-process",
            Anomaly::Predicate(Class::GSingle, Realtime) => "G-single-realtime",
            Anomaly::Predicate(Class::GNonadjacent, Plain) => "G-nonadjacent",
            Anomaly::Predicate(Class::GNonadjacent, Process) => "G-nonadjacent-process",
            Anomaly::Predicate(Class::GNonadjacent, Realtime) => "G-nonadjacent-realtime",
            Anomaly::Predicate(Class::G2, Plain) => "G2",
            Anomaly::Predicate(Class::G2, Process) => "G2-process",
            Anomaly::Predicate(Class::G2, Realtime) => "G2-realtime",
            Anomaly::Predicate(class, base) => Anomaly::Cycle(class, base).name(),
            Anomaly::Cycle(Class::G0, Plain) => "G0",
            Anomaly::Cycle(Class::G0, Process) => "G0-process",
            Anomaly::Cycle(Class::G0, Realtime) => "G0-realtime",
            Anomaly::Cycle(Class::G1c, Plain) => "G1c",
            Anomaly::Cycle(Class::G1c, Process) => "G1c-process",
            Anomaly::Cycle(Class::G1c, Realtime) => "G1c-realtime",
            Anomaly::Cycle(Class::GSingle, Plain) => "G-single-item",
            Anomaly::Cycle(Class::GSingle, Process) => "G-single-item-process",
            Anomaly::Cycle(Class::GSingle, Realtime) => "G-single-item-realtime",
            Anomaly::Cycle(Class::GNonadjacent, Plain) => "G-nonadjacent-item",
            Anomaly::Cycle(Class::GNonadjacent, Process) => "G-nonadjacent-item-process",
            Anomaly::Cycle(Class::GNonadjacent, Realtime) => "G-nonadjacent-item-realtime",
            Anomaly::Cycle(Class::G2, Plain) => "G2-item",
            Anomaly::Cycle(Class::G2, Process) => "G2-item-process",
            Anomaly::Cycle(Class::G2, Realtime) => "G2-item-realtime",
        }
    }

    /// All cycles, the most telling first: fewer anti-dependencies before more, and dependencies alone before others.
    pub fn cycles() -> impl Iterator<Item = Anomaly> {
        Base::ALL
            .into_iter()
            .flat_map(|base| Class::ALL.map(|class| Anomaly::Cycle(class, base)))
    }

    /// All cycles in which something was missed by a predicate.
    pub fn predicates() -> impl Iterator<Item = Anomaly> {
        let classes = [Class::GSingle, Class::GNonadjacent, Class::G2];
        Base::ALL
            .into_iter()
            .flat_map(move |base| classes.map(|class| Anomaly::Predicate(class, base)))
    }

    /// All that are of views, the most telling first.
    pub fn views() -> impl Iterator<Item = Anomaly> {
        [Base::Plain, Base::Process]
            .into_iter()
            .flat_map(|base| View::ALL.map(|view| Anomaly::View(view, base)))
    }

    /// All anomalies, the most telling first.
    pub fn all() -> impl Iterator<Item = Anomaly> {
        Anomaly::ACYCLIC
            .into_iter()
            .chain(Anomaly::cycles())
            .chain(Anomaly::predicates())
            .chain(Anomaly::views())
            .chain(Anomaly::SHAPES)
            .chain(Base::ALL.map(Anomaly::NoSerialOrder))
            .chain(Base::ALL.map(Anomaly::NoSnapshots))
            .chain([Anomaly::NoPrefixes])
    }

    /// Whether whatever shows this shows `other` too.
    pub fn implies(self, other: Anomaly) -> bool {
        implies(self.name(), other.name())
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether an anomaly implies another, by name, at once or through others.
pub(super) fn implies(anomaly: &str, other: &str) -> bool {
    let mut reached = vec![anomaly];
    let mut next = 0;
    while next < reached.len() {
        let at = IMPLICATIONS.iter().find(|(name, _)| *name == reached[next]);
        for implied in at.map_or(&[][..], |(_, implied)| implied) {
            if !reached.contains(implied) {
                reached.push(implied);
            }
        }
        next += 1;
    }
    reached.contains(&other)
}

/// Which anomalies imply which others at once. Elle's, and ours: `garbage-read`, `lost-append`, shapes of cycles, and those of views, each
/// of which is a G-single or a G1c whatever the order of versions.
pub(super) const IMPLICATIONS: &[(&str, &[&str])] = &[
    ("G-cursor", &["G-single-item"]),
    ("G-monotonic", &["G-single-item"]),
    ("G-update", &["G2-item"]),
    ("G-nonadjacent", &["G-nonadjacent-process", "G2"]),
    (
        "G-nonadjacent-item",
        &["G-nonadjacent", "G-nonadjacent-item-process", "G2-item"],
    ),
    (
        "G-nonadjacent-item-process",
        &[
            "G-nonadjacent-item-realtime",
            "G-nonadjacent-process",
            "G2-item-process",
        ],
    ),
    (
        "G-nonadjacent-item-realtime",
        &["G-nonadjacent-realtime", "G2-item-realtime"],
    ),
    (
        "G-nonadjacent-process",
        &["G-nonadjacent-realtime", "G2-process"],
    ),
    ("G-nonadjacent-realtime", &["G2-realtime"]),
    ("G-single", &["G-nonadjacent", "G-single-process", "GSIb"]),
    (
        "G-single-item",
        &[
            "G-nonadjacent-item",
            "G-single",
            "G-single-item-process",
            "G-update",
        ],
    ),
    (
        "G-single-item-process",
        &[
            "G-nonadjacent-item-process",
            "G-single-item-realtime",
            "G-single-process",
        ],
    ),
    (
        "G-single-item-realtime",
        &["G-nonadjacent-item-realtime", "G-single-realtime"],
    ),
    (
        "G-single-process",
        &["G-nonadjacent-process", "G-single-realtime"],
    ),
    ("G-single-realtime", &["G-nonadjacent-realtime"]),
    ("G0", &["G0-process", "G1c"]),
    ("G0-process", &["G0-realtime", "G1c-process"]),
    ("G0-realtime", &["G1c-realtime"]),
    ("G1", &["G1-process"]),
    ("G1-process", &["G1-realtime"]),
    ("G1a", &["G1"]),
    ("G1b", &["G1"]),
    ("G1c", &["G1", "G1c-process"]),
    ("G1c-process", &["G1-process", "G1c-realtime"]),
    ("G1c-realtime", &["G1-realtime"]),
    ("G2", &["G2-process"]),
    ("G2-item", &["G2", "G2-item-process"]),
    ("G2-item-process", &["G2-item-realtime", "G2-process"]),
    ("G2-item-realtime", &["G2-realtime"]),
    ("G2-process", &["G2-realtime"]),
    ("GSIa", &["GSI"]),
    ("GSIb", &["GSI"]),
    ("OTV", &["G-monotonic", "OTV-process", "fractured-read"]),
    ("OTV-process", &["fractured-read-process"]),
    (
        "causality-violation",
        &[
            "G-single-item",
            "causality-violation-process",
            "prefix-violation",
        ],
    ),
    ("causality-violation-process", &["G-single-item-process"]),
    ("dirty-update", &["G1a"]),
    (
        "fractured-read",
        &["causality-violation", "fractured-read-process"],
    ),
    ("fractured-read-process", &["causality-violation-process"]),
    ("fractured-update", &["G-single-item"]),
    ("future-read", &["G1c"]),
    ("garbage-read", &["G1a"]),
    ("incompatible-order", &["G1a"]),
    ("lost-append", &["G0-realtime"]),
    ("lost-update", &["G2-item", "write-skew"]),
    ("no-prefixes", &["no-snapshots"]),
    ("no-serial-order", &["G2-item", "no-serial-order-process"]),
    (
        "no-serial-order-process",
        &["G2-item-process", "no-serial-order-realtime"],
    ),
    ("no-serial-order-realtime", &["G2-item-realtime"]),
    (
        "no-snapshots",
        &[
            "G-nonadjacent-item",
            "no-serial-order",
            "no-snapshots-process",
        ],
    ),
    (
        "no-snapshots-process",
        &[
            "G-nonadjacent-item-process",
            "no-serial-order-process",
            "no-snapshots-realtime",
        ],
    ),
    (
        "no-snapshots-realtime",
        &["G-nonadjacent-item-realtime", "no-serial-order-realtime"],
    ),
    ("prefix-violation", &["no-prefixes"]),
    ("unseen-own-write", &["internal"]),
    ("write-skew", &["G2"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_a_cycle_implies_those_with_more_in_it() {
        let names: std::collections::BTreeSet<_> = Anomaly::all().map(Anomaly::name).collect();
        assert_eq!(names.len(), 56);
        for (one, base) in Class::ALL
            .into_iter()
            .flat_map(|class| Base::ALL.map(|base| (class, base)))
        {
            for other in Base::ALL {
                let (this, that) = (Anomaly::Cycle(one, base), Anomaly::Cycle(one, other));
                assert_eq!(this.implies(that), base <= other, "{this} {that}");
            }
        }
        let plain = |class| Anomaly::Cycle(class, Base::Plain);
        assert!(plain(Class::G0).implies(plain(Class::G1c)));
        assert!(!plain(Class::G1c).implies(plain(Class::GSingle)));
        assert!(plain(Class::GSingle).implies(Anomaly::Cycle(Class::G2, Base::Realtime)));
        assert!(!plain(Class::G2).implies(plain(Class::GNonadjacent)));
    }
}
