//! From shapes to evidence.

use super::super::cast::Cast;
use super::super::evidence::{Cycle, Objects, Relation, Step};
use super::super::explain;
use super::super::graph::{RW, WR, WW, WW_READ};
use super::super::prove::Prover;
use super::super::search::Link;
use super::super::values::NONE;
use super::{Shape, What};

impl Prover<'_> {
    /// The evidence of a shape. `None` if a step cannot be shown, which would be a mistake of ours.
    pub(in super::super) fn shape(&self, shape: &Shape) -> Option<Cycle> {
        let mut cast = Cast::default();
        for (link, _) in &shape.links {
            cast.name(link.from);
        }
        let links: Vec<Link> = shape.links.iter().map(|(link, _)| *link).collect();
        let steps = shape.links.iter().map(|(link, what)| match what {
            Some(what) => self.told(link, *what, &mut cast),
            None => self.step(link, &mut cast),
        });
        let steps = steps.collect::<Option<Vec<Step>>>()?;
        let mut cycle = Cycle {
            anomaly: shape.anomaly.name().to_owned(),
            shortest: false,
            minimal: false,
            objects: Objects::Lists,
            transactions: self.views(&cast),
            versions: self.orders(&steps, &links),
            steps,
            explanation: Vec::new(),
        };
        cycle.explanation = explain::cycle(&cycle);
        Some(cycle)
    }

    /// A step of which it is known what it is about.
    fn told(&self, link: &Link, what: What, cast: &mut Cast) -> Option<Step> {
        let element = |code: u32| (code != NONE).then(|| self.all.elements.value(code));
        let mut step = Step::new(cast.name(link.from), cast.name(link.to), Relation::Rw);
        step.key = Some(self.all.key_value(what.key).clone());
        (step.value, step.next) = (element(what.value), element(what.next));
        step.relation = match link.relation {
            WW | WW_READ => {
                let reader = self.all.keys[what.key as usize].reader;
                step.witness = Some(cast.name(reader));
                Relation::Ww
            }
            WR => Relation::Wr,
            RW => Relation::Rw,
            _ => return None,
        };
        Some(step)
    }
}
