//! Registers whose versions are all in the order that the database gives, for the search for shapes of cycles.

use super::super::cast::Cast;
use super::super::evidence::{Cycle, Follows, Relation, Step};
use super::super::graph::{RW, WR, WW, WW_READ};
use super::super::history::Transactions;
use super::super::search::Link;
use super::super::shapes::{Lists, Placed, Read, Shape, What, Write};
use super::super::values::NONE;
use super::order::Order;
use super::prove::Prover;
use super::versions::{INITIAL, Versions};

/// Registers whose versions are all in order.
pub(super) struct Registers<'a> {
    pub(super) all: &'a Transactions,
    pub(super) versions: &'a Versions,
    pub(super) order: &'a Order,
}

impl Placed for Registers<'_> {
    fn all(&self) -> &Transactions {
        self.all
    }

    fn writes(&self, transaction: u32) -> Vec<(u32, Write)> {
        let finals = self.versions.finals(transaction).iter();
        let last = finals.filter_map(|left| {
            let mut writes = self.versions.writes(left.version).iter().rev();
            let write = Write {
                place: self.order.given.place(left.version),
                transaction,
                mop: *writes.next()?,
            };
            Some((left.key, write))
        });
        last.collect()
    }

    fn reads(&self, transaction: u32) -> Vec<Read> {
        let observed = self.versions.observed(self.all, transaction);
        let reads = observed.filter_map(|(mop, key, source)| {
            let version = self.versions.version(mop);
            let length = match source {
                INITIAL => 0,
                writer if self.versions.last_of(writer, key) == Some(version) => {
                    self.order.given.place(version) + 1
                }
                _ => return None,
            };
            Some(Read { mop, key, length })
        });
        reads.collect()
    }

    fn lists(&self) -> Option<&Lists<'_>> {
        None
    }
}

impl Prover<'_> {
    /// The registers, as shapes are looked for in them.
    pub(super) fn placed(&self) -> Registers<'_> {
        Registers {
            all: self.all,
            versions: self.versions,
            order: self.order,
        }
    }

    /// The evidence of a shape. `None` if a step cannot be shown, which would be a mistake of ours.
    pub(super) fn shape(&self, shape: &Shape) -> Option<Cycle> {
        let mut cast = Cast::default();
        for (link, _) in &shape.links {
            cast.name(link.from);
        }
        let steps = shape.links.iter().map(|(link, what)| match what {
            Some(what) => self.told(link, *what, &mut cast),
            None => self.step(link, &mut cast),
        });
        let steps = steps.collect::<Option<Vec<Step>>>()?;
        Some(self.finish(shape.anomaly, false, steps, &cast))
    }

    /// A step of which it is known what it is about.
    fn told(&self, link: &Link, what: What, cast: &mut Cast) -> Option<Step> {
        let version = |code: u32| {
            let mut of_key = self.versions.of(what.key);
            of_key.find(|one| self.versions.code(*one) == code)
        };
        let mut step = Step::new(cast.name(link.from), cast.name(link.to), Relation::Wr);
        step.key = Some(self.all.key_value(what.key).clone());
        let (first, next) = match link.relation {
            WR if what.value == NONE => return self.step(link, cast),
            WR => (version(what.value)?, None),
            RW => {
                let next = version(what.next)?;
                (self.missed_last(link.from, next)?, Some(next))
            }
            WW | WW_READ => (version(what.value)?, Some(version(what.next)?)),
            _ => return None,
        };
        step.value = Some(self.versions.value(self.all, first));
        if let Some(next) = next {
            step.relation = if link.relation == RW {
                Relation::Rw
            } else {
                Relation::Ww
            };
            step.next = Some(self.versions.value(self.all, next));
            step.follows = Some(match self.versions.is_initial(first) {
                true => Follows::Initial,
                false => self.given(first, next, cast)?,
            });
        }
        Some(step)
    }

    /// The version that a transaction read last of those before another.
    fn missed_last(&self, reader: u32, next: u32) -> Option<u32> {
        let key = self.versions.key(next);
        let number = |version: u32| self.order.given.of(version).map(|said| said.number);
        let mut reads = self.versions.observed(self.all, reader).rev();
        reads.find_map(|(at, of, source)| {
            let version = self.versions.version(at);
            let is_before = number(version).is_some() && number(version) < number(next);
            (of == key && (source == INITIAL || is_before)).then_some(version)
        })
    }
}
