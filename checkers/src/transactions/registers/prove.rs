//! From cycles of numbers and sightings to evidence: each step gets the key, the values and the reason that show it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::super::anomaly::{Anomaly, Base, View};
use super::super::cast::{Cast, view};
use super::super::evidence::{
    AnomalyEvidence, Cycle, Follows, Objects, Relation, Step, TransactionView, VersionOrder,
};
use super::super::explain;
use super::super::graph::{Graph, PROCESS, REALTIME, RW, Sink, WR, WW, WW_READ};
use super::super::history::Transactions;
use super::super::scan::Sighting;
use super::super::search::{Found, Link};
use super::super::values::NONE;
use super::edges::Edges;
use super::order::{Next, Order, Why};
use super::versions::{INITIAL, Versions};
use super::weak::{Circle, Conclusion};
use crate::budget::{Budget, Exhausted};

/// Makes evidence.
pub(super) struct Prover<'a> {
    pub(super) all: &'a Transactions,
    pub(super) versions: &'a Versions,
    pub(super) order: &'a Order,
    /// Reads and sessions, once a causal conclusion asks for them.
    before: Option<Graph>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(
        all: &'a Transactions,
        versions: &'a Versions,
        order: &'a Order,
    ) -> Prover<'a> {
        Prover {
            all,
            versions,
            order,
            before: None,
        }
    }

    /// Makes ready for conclusions from who has seen whom.
    pub(super) fn see(&mut self, edges: &Edges, budget: &dyn Budget) -> Result<(), Exhausted> {
        let count = self.all.len() as u32;
        let each = |visit: Sink| {
            for transaction in 0..count {
                for (_, _, source) in self.versions.observed(self.all, transaction) {
                    if source != INITIAL {
                        visit(source, transaction, WR);
                    }
                }
            }
            edges.time().each_process(visit);
        };
        self.before = Some(Graph::build(count, count, &each, budget)?);
        Ok(())
    }

    /// The evidence of a cycle. `None` if a step cannot be shown, which would be a mistake of ours.
    pub(super) fn cycle(&self, found: &Found) -> Option<Cycle> {
        let mut cast = Cast::default();
        for link in &found.links {
            cast.name(link.from);
        }
        let steps = found.links.iter().map(|link| self.step(link, &mut cast));
        let steps = steps.collect::<Option<Vec<Step>>>()?;
        Some(self.finish(found.anomaly, found.shortest, steps, &cast))
    }

    /// The evidence of a contradiction among conclusions, and what it is.
    pub(super) fn circle(&self, circle: &Circle, base: Base) -> Option<(Anomaly, Cycle)> {
        let mut cast = Cast::default();
        for link in circle.links.iter().filter(|link| link.from != INITIAL) {
            cast.name(link.from);
        }
        let mut steps = Vec::new();
        let mut how = View::Monotonic;
        for (link, why) in circle.links.iter().zip(&circle.why) {
            let Some(why) = why else {
                steps.push(self.step(link, &mut cast)?);
                continue;
            };
            let (step, view) = self.conclusion(why, base, &mut cast)?;
            how = how.max(view);
            steps.push(step);
            if why.after == INITIAL {
                let (initial, from) = (Cycle::INITIAL.to_owned(), cast.name(why.before));
                steps.push(Step::new(initial, from, Relation::Initial));
            }
        }
        let has_process = steps
            .iter()
            .flat_map(|step| step.seen.iter().chain([step]))
            .any(|step| step.relation == Relation::Process);
        let base = if has_process {
            Base::Process
        } else {
            Base::Plain
        };
        let anomaly = Anomaly::View(how, base);
        Some((anomaly, self.finish(anomaly, true, steps, &cast)))
    }

    pub(super) fn finish(
        &self,
        anomaly: Anomaly,
        shortest: bool,
        steps: Vec<Step>,
        cast: &Cast,
    ) -> Cycle {
        let mut cycle = Cycle {
            anomaly: anomaly.name().to_owned(),
            objects: Objects::Registers,
            shortest,
            minimal: false,
            transactions: self.views(cast),
            versions: orders(&steps),
            steps,
            explanation: Vec::new(),
        };
        cycle.explanation = explain::cycle(&cycle);
        cycle
    }

    /// The evidence of an anomaly that is no cycle of transactions.
    pub(super) fn sighting(&self, sighting: &Sighting) -> AnomalyEvidence {
        let mut transactions = sighting.transactions.clone();
        if sighting.anomaly == Anomaly::CyclicVersions {
            transactions = self.around(sighting.key, &sighting.codes);
        }
        let mut cast = Cast::default();
        let views = transactions
            .iter()
            .map(|one| view(self.all, *one, cast.name(*one), &|one| self.micro(one)));
        let mut evidence = AnomalyEvidence {
            anomaly: sighting.anomaly.name().to_owned(),
            objects: Objects::Registers,
            key: self.all.key_value(sighting.key).clone(),
            minimal: false,
            transactions: views.collect(),
            elements: sighting
                .codes
                .iter()
                .map(|code| self.all.elements.value(*code))
                .collect(),
            explanation: Vec::new(),
        };
        evidence.explanation = explain::anomaly(&evidence);
        evidence
    }

    /// The transactions that show each version of a circle to follow the one before.
    fn around(&self, key: u32, codes: &[u32]) -> Vec<u32> {
        let with = |code: &u32| {
            self.versions
                .of(key)
                .find(|one| self.versions.code(*one) == *code)
        };
        let circle: Vec<u32> = codes.iter().filter_map(with).collect();
        let mut all = Vec::new();
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            let pairs = self.order.around.iter();
            let why = pairs
                .filter(|(one, next)| one == from && next.version == *to)
                .map(|(_, next)| match next.why {
                    Why::Followed => [next.transaction, next.transaction],
                    Why::Sequential(first, second) | Why::Linearizable(first, second) => {
                        [first, second]
                    }
                    Why::Given => [*from, *to].map(|version| match self.order.given.of(version) {
                        Some(said) => said.transaction,
                        None => next.transaction,
                    }),
                });
            all.extend(why.into_iter().next().into_iter().flatten());
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How transactions stand in the history.
    pub(super) fn views(&self, cast: &Cast) -> Vec<TransactionView> {
        cast.views(self.all, &|one| self.micro(one))
    }

    fn micro(&self, transaction: u32) -> Value {
        let micro = self.all.mops(transaction).map(|(at, mop)| {
            let key = self.all.key_value(mop.key());
            let value = mop.value().map(|code| self.all.elements.value(code));
            match (mop.element(), self.all.given(at)) {
                (Some(_), Some(version)) => json!(["w", key, value, version]),
                (Some(_), None) => json!(["w", key, value]),
                (None, _) if !self.all.is_ok(transaction) => json!(["r", key, null]),
                (None, Some(version)) => json!(["r", key, value, version]),
                (None, None) => json!(["r", key, value]),
            }
        });
        micro.collect()
    }

    pub(super) fn step(&self, link: &Link, cast: &mut Cast) -> Option<Step> {
        let (from, to) = (link.from, link.to);
        let mut step = Step::new(cast.name(from), cast.name(to), Relation::Realtime);
        let value = |version: u32| Some(self.versions.value(self.all, version));
        match link.relation {
            WR => {
                let mut reads = self.versions.observed(self.all, to);
                let (at, key, _) = reads.find(|(_, _, source)| *source == from)?;
                step.relation = Relation::Wr;
                step.key = Some(self.all.key_value(key).clone());
                step.value = value(self.versions.version(at));
            }
            RW => {
                let (version, next, follows) = self.missed(from, to, cast)?;
                step.relation = Relation::Rw;
                step.key = Some(self.all.key_value(self.versions.key(version)).clone());
                (step.value, step.next, step.follows) =
                    (value(version), value(next), Some(follows));
            }
            WW | WW_READ => {
                let (version, next, follows) = self.written(from, to, cast)?;
                step.relation = Relation::Ww;
                step.key = Some(self.all.key_value(self.versions.key(version)).clone());
                (step.value, step.next, step.follows) =
                    (value(version), value(next), Some(follows));
            }
            PROCESS => step.relation = Relation::Process,
            REALTIME => {}
            _ => return None,
        }
        Some(step)
    }

    fn follows(&self, version: u32, next: &Next, cast: &mut Cast) -> Option<Follows> {
        Some(match next.why {
            Why::Followed => Follows::Read,
            Why::Given => return self.given(version, next.version, cast),
            Why::Sequential(first, second) => Follows::Sequential {
                first: cast.name(first),
                second: cast.name(second),
            },
            Why::Linearizable(first, second) => Follows::Linearizable {
                first: cast.name(first),
                second: cast.name(second),
            },
        })
    }

    /// That the database gave two versions in this order. Who took effect only as somebody saw it comes with who did.
    pub(super) fn given(&self, version: u32, next: u32, cast: &mut Cast) -> Option<Follows> {
        let [lower, higher] = [version, next].map(|version| self.order.given.of(version));
        let (lower, higher) = (lower?, higher?);
        let follows = Follows::Given {
            lower: lower.number,
            higher: higher.number,
            first: cast.name(lower.transaction),
            second: cast.name(higher.transaction),
        };
        for version in [version, next] {
            let writer = self.versions.writer(version)?;
            if !self.all.is_ok(writer) {
                cast.name(self.reader(writer)?);
            }
        }
        Some(follows)
    }

    /// Who read something of a transaction.
    fn reader(&self, writer: u32) -> Option<u32> {
        let mut all = 0..self.all.len() as u32;
        all.find(|one| {
            let mut observed = self.versions.observed(self.all, *one);
            observed.any(|(_, _, source)| source == writer)
        })
    }

    /// A version that one transaction read and one that another wrote and that follows it.
    fn missed(&self, from: u32, to: u32, cast: &mut Cast) -> Option<(u32, u32, Follows)> {
        self.versions
            .foreign(self.all, from)
            .find_map(|(at, source)| {
                let key = self.all.mops[at as usize].key();
                let version = self.versions.version(at);
                if source == INITIAL {
                    self.order.first(key).binary_search(&to).ok()?;
                    let next = self.versions.last_of(to, key)?;
                    return Some((version, next, Follows::Initial));
                }
                let next = self.order.next(version).iter();
                let next = next.copied().find(|next| next.transaction == to)?;
                Some((version, next.version, self.follows(version, &next, cast)?))
            })
    }

    /// Versions that two transactions wrote, of which the second is assumed to follow the first.
    fn written(&self, from: u32, to: u32, cast: &mut Cast) -> Option<(u32, u32, Follows)> {
        self.all.writes(from).find_map(|(at, ..)| {
            let version = self.versions.version(at);
            let next = self.order.next(version).iter().copied();
            let next = next
                .into_iter()
                .find(|next| next.transaction == to && next.why != Why::Followed)?;
            Some((version, next.version, self.follows(version, &next, cast)?))
        })
    }

    /// The step of a conclusion, and what was needed for it.
    fn conclusion(&self, why: &Conclusion, base: Base, cast: &mut Cast) -> Option<(Step, View)> {
        let Conclusion {
            before,
            after,
            reader,
            key,
        } = *why;
        let mut reads = self.versions.observed(self.all, reader);
        let (at, ..) = reads
            .rev()
            .find(|(_, of, source)| (*of, *source) == (key, after))?;
        reads = self.versions.observed(self.all, reader);
        let seen_at = reads
            .find(|(_, _, source)| *source == before)
            .map(|(at, ..)| at);
        let links = match seen_at {
            Some(_) => vec![Link {
                from: before,
                to: reader,
                relation: WR,
            }],
            None => self.path(before, reader, base)?,
        };
        let view = match (seen_at, &links[..]) {
            (Some(seen), _) if seen < at => View::Monotonic,
            (_, [_]) => View::Atomic,
            _ => View::Causal,
        };
        let to = match after {
            INITIAL => Cycle::INITIAL.to_owned(),
            after => cast.name(after),
        };
        let mut step = Step::new(cast.name(before), to, Relation::Overwritten);
        step.key = Some(self.all.key_value(key).clone());
        let written = self.versions.last_of(before, key)?;
        step.value = Some(self.versions.value(self.all, written));
        step.next = Some(self.versions.value(self.all, self.versions.version(at)));
        step.witness = Some(cast.name(reader));
        let seen = links.iter().map(|link| self.step(link, cast));
        step.seen = seen.collect::<Option<Vec<Step>>>()?;
        Some((step, view))
    }

    /// A shortest way by reads and, if so, sessions.
    fn path(&self, from: u32, to: u32, base: Base) -> Option<Vec<Link>> {
        let same_process = self.all.process[from as usize] == self.all.process[to as usize];
        let ended = self.all.complete[from as usize];
        let begun = match self.all.invoke[to as usize] {
            NONE => self.all.complete[to as usize],
            invoke => invoke,
        };
        if base == Base::Process && same_process && self.all.is_ok(from) && ended < begun {
            return Some(vec![Link {
                from,
                to,
                relation: PROCESS,
            }]);
        }
        let graph = self.before.as_ref()?;
        let mut parent: FxHashMap<u32, (u32, u8)> = FxHashMap::default();
        let mut queue = VecDeque::from([from]);
        while let Some(one) = queue.pop_front() {
            if one == to {
                break;
            }
            for (next, relation) in graph.from(one) {
                let allowed = relation == WR || base == Base::Process;
                if allowed && next != from && !parent.contains_key(&next) {
                    parent.insert(next, (one, relation));
                    queue.push_back(next);
                }
            }
        }
        let mut links: Vec<Link> = Vec::new();
        let mut at = to;
        while at != from {
            let (before, relation) = *parent.get(&at)?;
            match links.last_mut() {
                Some(last) if last.relation == PROCESS && relation == PROCESS => last.from = before,
                _ => links.push(Link {
                    from: before,
                    to: at,
                    relation,
                }),
            }
            at = before;
        }
        links.reverse();
        Some(links)
    }
}

/// What steps say of the order of versions: of each key, those of which each is known to follow the one before.
fn orders(steps: &[Step]) -> Vec<VersionOrder> {
    let mut orders: Vec<(Value, Vec<Value>)> = Vec::new();
    let pairs = steps.iter().filter(|step| step.follows.is_some());
    for step in pairs {
        let (Some(key), Some(value), Some(next)) = (&step.key, &step.value, &step.next) else {
            continue;
        };
        let mut same = orders.iter_mut().filter(|(of, _)| of == key);
        if let Some((_, order)) = same.find(|(_, order)| order.last() == Some(value)) {
            order.push(next.clone());
        } else if !orders.iter().any(|(of, order)| {
            of == key
                && order
                    .windows(2)
                    .any(|pair| pair == [value.clone(), next.clone()])
        }) {
            orders.push((key.clone(), vec![value.clone(), next.clone()]));
        }
    }
    let order = |(key, elements): (Value, Vec<Value>)| VersionOrder {
        key,
        elements: elements.into(),
    };
    orders.into_iter().map(order).collect()
}
