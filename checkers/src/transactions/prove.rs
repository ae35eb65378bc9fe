//! From cycles of numbers and sightings to evidence: each step gets the key, the elements and the read that show it.

use serde_json::{Value, json};

use super::cast::{Cast, view};
use super::evidence::{
    AnomalyEvidence, Cycle, Objects, Relation, Step, TransactionView, VersionOrder,
};
use super::explain;
use super::graph::{PROCESS, REALTIME, RW, WR, WW, WW_READ};
use super::history::{Seen, Transactions};
use super::scan::Sighting;
use super::search::{Found, Link};
use super::values::NONE;
use super::versions::Versions;

/// The most elements of a version order that evidence shows. Its reads show the rest.
const ELEMENTS_MAX: usize = 200;

/// Makes evidence.
pub(super) struct Prover<'a> {
    pub(super) all: &'a Transactions,
    pub(super) versions: &'a Versions,
}

impl Prover<'_> {
    /// The evidence of a cycle. `None` if a step cannot be shown, which would be a mistake of ours.
    pub(super) fn cycle(&self, found: &Found) -> Option<Cycle> {
        let mut cast = Cast::default();
        for link in &found.links {
            cast.name(link.from);
        }
        let steps: Option<Vec<Step>> = found
            .links
            .iter()
            .map(|link| self.step(link, &mut cast))
            .collect();
        let steps = steps?;
        let mut cycle = Cycle {
            anomaly: found.anomaly.name().to_owned(),
            shortest: found.shortest,
            minimal: false,
            objects: Objects::Lists,
            transactions: self.views(&cast),
            versions: self.orders(&steps, &found.links),
            steps,
            explanation: Vec::new(),
        };
        cycle.explanation = explain::cycle(&cycle);
        Some(cycle)
    }

    /// How transactions stand in the history.
    pub(super) fn views(&self, cast: &Cast) -> Vec<TransactionView> {
        cast.views(self.all, &|one| self.micro(one))
    }

    /// The evidence of an anomaly that is no cycle.
    pub(super) fn sighting(&self, sighting: &Sighting) -> AnomalyEvidence {
        let mut cast = Cast::default();
        for transaction in &sighting.transactions {
            cast.name(*transaction);
        }
        let codes = sighting.codes.iter();
        let mut evidence = AnomalyEvidence {
            anomaly: sighting.anomaly.name().to_owned(),
            key: self.all.key_value(sighting.key).clone(),
            minimal: false,
            objects: Objects::Lists,
            elements: codes.map(|code| self.all.elements.value(*code)).collect(),
            // Who has several parts is there several times.
            transactions: sighting
                .transactions
                .iter()
                .map(|one| view(self.all, *one, cast.name(*one), &|one| self.micro(one)))
                .collect(),
            explanation: Vec::new(),
        };
        evidence.explanation = explain::anomaly(&evidence);
        evidence
    }

    /// A transaction's micro-operations.
    pub(super) fn micro(&self, transaction: u32) -> Value {
        let micro = self.all.mops(transaction).map(|(number, mop)| {
            let key = self.all.key_value(mop.key());
            match mop.element() {
                Some(code) => json!(["append", key, self.all.elements.value(code)]),
                None if self.all.is_ok(transaction) && mop.seen() != Some(Seen::Unknown) => {
                    json!([
                        "r",
                        key,
                        self.all.elements.list(&self.all.list(transaction, number))
                    ])
                }
                None => json!(["r", key, null]),
            }
        });
        micro.collect()
    }

    pub(super) fn orders(&self, steps: &[Step], links: &[Link]) -> Vec<VersionOrder> {
        let mut orders: Vec<VersionOrder> = Vec::new();
        for (step, link) in steps.iter().zip(links) {
            let Some(key) = step
                .key
                .as_ref()
                .filter(|key| !orders.iter().any(|order| order.key == **key))
            else {
                continue;
            };
            let ends = [link.from, link.to];
            let mut mops = ends.iter().flat_map(|end| self.all.mops(*end));
            if let Some((_, mop)) = mops.find(|(_, mop)| self.all.key_value(mop.key()) == key) {
                let order = &self.all.keys[mop.key() as usize].order;
                orders.push(VersionOrder {
                    key: key.clone(),
                    elements: self
                        .all
                        .elements
                        .list(&order[..order.len().min(ELEMENTS_MAX)]),
                });
            }
        }
        orders
    }

    pub(super) fn step(&self, link: &Link, cast: &mut Cast) -> Option<Step> {
        let (from, to) = (link.from, link.to);
        let mut step = Step::new(cast.name(from), cast.name(to), Relation::Realtime);
        let element = |code: u32| Some(self.all.elements.value(code));
        let key_of = |key: u32| Some(self.all.key_value(key).clone());
        match link.relation {
            WW | WW_READ => {
                let (key, first, second) = self.written(from, to)?;
                step.relation = Relation::Ww;
                (step.key, step.value, step.next) = (key_of(key), element(first), element(second));
                step.witness = Some(cast.name(self.witness(key, from, cast)));
            }
            WR => {
                let (key, code) = self.observed(from, to)?;
                step.relation = Relation::Wr;
                (step.key, step.value) = (key_of(key), element(code));
            }
            RW => {
                let (key, code) = self.missed(from, to)?;
                step.relation = Relation::Rw;
                (step.key, step.next) = (key_of(key), element(code));
            }
            PROCESS => step.relation = Relation::Process,
            REALTIME => {}
            _ => return None,
        }
        Some(step)
    }

    /// Whose read shows that one transaction appended to a key before another: one of those that are there already, if that will do.
    fn witness(&self, key: u32, from: u32, cast: &Cast) -> u32 {
        // Whatever append is meant, who was shown the last was shown it; and either the later ones after it, or not at all.
        let appends = self.all.writes(from).filter(|(_, of, _)| *of == key);
        let first = appends.map(|(mop, ..)| self.rank(mop, key)).max();
        let shows = |reader: &u32| {
            self.all.reads(*reader).any(|(_, of, seen)| match seen {
                Seen::Prefix(length) => of == key && first.is_some_and(|first| first < length),
                Seen::Unknown | Seen::Odd(_) => false,
            })
        };
        let longest = self.all.keys[key as usize].reader;
        let members = cast.numbers().iter().copied();
        members
            .into_iter()
            .find(|one| shows(one))
            .unwrap_or(longest)
    }

    /// Where an append stands in its key's order; those that nobody read are behind all others.
    fn rank(&self, mop: u32, key: u32) -> u32 {
        let position = self.versions.position(mop);
        position.unwrap_or(self.all.keys[key as usize].order.len() as u32)
    }

    /// Appends of two transactions to one key, the first one's before the second one's, and as near as can be.
    fn written(&self, from: u32, to: u32) -> Option<(u32, u32, u32)> {
        let pairs = self.all.writes(from).flat_map(|(first, key, code)| {
            let same_key = self.all.writes(to).filter(move |(_, of, _)| *of == key);
            same_key.map(move |(second, _, next)| (first, second, key, code, next))
        });
        pairs
            .filter(|(first, second, key, ..)| {
                let known = self.versions.trusted[*key as usize];
                let (first, second) = (self.rank(*first, *key), self.rank(*second, *key));
                let in_order =
                    second < known || second == known && self.versions.is_whole(self.all, *key);
                first < known && first < second && in_order && !self.versions.is_ambiguous(*key)
            })
            .min_by_key(|(first, second, key, ..)| {
                self.rank(*second, *key) - self.rank(*first, *key)
            })
            .map(|(_, _, key, code, next)| (key, code, next))
    }

    /// An append of one transaction that a read of another shows, the last one in it.
    fn observed(&self, from: u32, to: u32) -> Option<(u32, u32)> {
        self.all.reads(to).find_map(|(_, key, seen)| {
            let list = self.all.foreign(key, seen);
            let own = |code: &u32| {
                self.all
                    .writes(from)
                    .any(|(_, of, one)| of == key && one == *code)
            };
            let last = list.iter().rev().copied().find(|code| own(code))?;
            (!self.versions.is_ambiguous(key)).then_some((key, last))
        })
    }

    /// An append of one transaction that a read of another does not show, the first such.
    fn missed(&self, from: u32, to: u32) -> Option<(u32, u32)> {
        let pairs = self.all.reads(from).flat_map(|(_, key, seen)| {
            let appends = self.all.writes(to).filter(move |(_, of, _)| *of == key);
            appends.map(move |(append, _, code)| (append, key, seen, code))
        });
        let missing = pairs.filter(|(append, key, seen, _)| match seen {
            Seen::Prefix(length) => {
                self.rank(*append, *key) >= *length && !self.versions.is_ambiguous(*key)
            }
            Seen::Unknown | Seen::Odd(_) => false,
        });
        missing
            .min_by_key(|(append, key, seen, _)| match seen {
                Seen::Prefix(length) => self.rank(*append, *key) - length,
                Seen::Unknown | Seen::Odd(_) => NONE,
            })
            .map(|(_, key, _, code)| (key, code))
    }
}
