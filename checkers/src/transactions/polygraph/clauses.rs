//! What the search knows besides the graph: literals, clauses of which one literal is true, and why each clause holds.
//!
//! A literal says that one moment comes before another (its negation: after it, for moments do not coincide), or that a read saw
//! a candidate. Literal `2v` is variable `v`, `2v + 1` its negation.

use rustc_hash::FxHashMap;

use super::problem::Constraint;

/// What a variable says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// The first moment comes before the second. The first has the lower number.
    Before(u32, u32),
    /// The read saw the candidate.
    Saw(u32, u32),
}

/// Why a clause holds.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// It is a constraint of the problem.
    Constraint(Constraint),
    /// Who was seen wrote before the read.
    Source,
    /// These edges close a cycle with the literals.
    Path(Box<[u32]>),
    /// It follows from these: clauses as `2c`, and values of variables at level 0 as `2v + 1`.
    Learned(Box<[u32]>),
}

pub(super) struct Clause {
    pub(super) literals: Vec<u32>,
    pub(super) origin: Origin,
}

/// The negation of a literal.
pub(super) fn not(literal: u32) -> u32 {
    literal ^ 1
}

/// The variable of a literal.
pub(super) fn variable(literal: u32) -> usize {
    (literal >> 1) as usize
}

/// Variables by what they say.
#[derive(Default)]
pub(super) struct Atoms {
    pub(super) all: Vec<Atom>,
    number: FxHashMap<Atom, u32>,
}

impl Atoms {
    fn literal(&mut self, atom: Atom) -> u32 {
        let all = &mut self.all;
        let number = self.number.entry(atom).or_insert_with(|| {
            all.push(atom);
            all.len() as u32 - 1
        });
        *number * 2
    }

    /// The literal that says that a moment comes before another.
    pub(super) fn before(&mut self, one: u32, other: u32) -> u32 {
        if one < other {
            self.literal(Atom::Before(one, other))
        } else {
            not(self.literal(Atom::Before(other, one)))
        }
    }

    /// The literal that says that a read saw a candidate.
    pub(super) fn saw(&mut self, read: u32, candidate: u32) -> u32 {
        self.literal(Atom::Saw(read, candidate))
    }

    /// The same, if there is one.
    pub(super) fn known_saw(&self, read: u32, candidate: u32) -> Option<u32> {
        let number = self.number.get(&Atom::Saw(read, candidate));
        number.map(|number| number * 2)
    }

    /// The edge that a literal stands for.
    pub(super) fn edge(&self, literal: u32) -> Option<(u32, u32)> {
        match self.all[variable(literal)] {
            Atom::Before(one, other) if literal & 1 == 0 => Some((one, other)),
            Atom::Before(one, other) => Some((other, one)),
            Atom::Saw(..) => None,
        }
    }
}
