//! From cycles of numbers and sightings to evidence.

use serde_json::{Value, json};

use super::super::cast::{Cast, view};
use super::super::evidence::{AnomalyEvidence, Cycle, Objects, Relation, Step};
use super::super::explain as sentences;
use super::super::graph::{PROCESS, REALTIME, RW, WR, WW};
use super::super::scan::Sighting;
use super::super::search::{Found, Link};
use super::history::History;
use super::infer::Inferred;

/// Makes evidence.
pub(super) struct Prover<'a> {
    pub(super) history: &'a History,
    pub(super) inferred: &'a Inferred,
}

impl Prover<'_> {
    pub(super) fn cycle(&self, found: &Found) -> Option<Cycle> {
        let mut cast = Cast::default();
        for link in &found.links {
            cast.name(link.from);
        }
        let steps = found.links.iter().map(|link| self.step(link, &mut cast));
        let steps = steps.collect::<Option<Vec<Step>>>()?;
        // What the universe was is part of each proof.
        if let Some(init) = self.history.init {
            cast.name(init);
        }
        let mut cycle = Cycle {
            anomaly: found.anomaly.name().to_owned(),
            objects: Objects::Rows,
            shortest: found.shortest,
            minimal: false,
            transactions: cast.views(&self.history.all, &|one| self.micro(one)),
            versions: Vec::new(),
            steps,
            explanation: Vec::new(),
        };
        cycle.explanation = sentences::cycle(&cycle);
        Some(cycle)
    }

    pub(super) fn sighting(&self, sighting: &Sighting) -> AnomalyEvidence {
        let mut cast = Cast::default();
        let views = sighting.transactions.iter().map(|one| {
            view(&self.history.all, *one, cast.name(*one), &|one| {
                self.micro(one)
            })
        });
        let mut evidence = AnomalyEvidence {
            anomaly: sighting.anomaly.name().to_owned(),
            objects: Objects::Rows,
            minimal: false,
            key: json!(self.history.keys[sighting.key as usize]),
            elements: Vec::new(),
            transactions: views.collect(),
            explanation: Vec::new(),
        };
        evidence.explanation = sentences::anomaly(&evidence);
        evidence
    }

    /// What was recorded; of the universe, `["init", key, value]` for each row.
    fn micro(&self, transaction: u32) -> Value {
        self.history.values[transaction as usize].clone()
    }

    fn step(&self, link: &Link, cast: &mut Cast) -> Option<Step> {
        let names = (cast.name(link.from), cast.name(link.to));
        let mut step = Step::new(names.0, names.1, Relation::Realtime);
        if link.relation == PROCESS {
            step.relation = Relation::Process;
        }
        if link.relation & (PROCESS | REALTIME) != 0 {
            return Some(step);
        }
        let same = self.inferred.dependencies.iter();
        let same = same
            .filter(|one| (one.from, one.to, one.relation) == (link.from, link.to, link.relation));
        // What is of items is plainer.
        let one = same.min_by_key(|one| (one.predicate, one.key))?;
        step.relation = match (link.relation, one.predicate) {
            (WW, _) => Relation::Ww,
            (WR, false) => Relation::Wr,
            (WR, true) => Relation::Wrp,
            (RW, false) => Relation::Rw,
            (RW, true) => Relation::Rwp,
            _ => return None,
        };
        step.key = Some(json!(self.history.keys[one.key as usize]));
        Some(step)
    }
}
