//! Faults that take turns: one row of activities, each of which belongs to one of them.

use std::sync::Arc;

use harness::seed::Seed;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use super::plan::{Activity, Draw, Plan, Timing};

/// A row of activities for all faults of a run, dealt out at random by their weights.
#[derive(Clone)]
pub(crate) struct Turns {
    seed: Seed,
    plan: Plan,
    weights: Arc<WeightedIndex<f64>>,
}

impl Turns {
    /// `timing` is that of a single fault. The error is for the user.
    pub(crate) fn new(seed: Seed, timing: Timing, weights: &[f64]) -> Result<Turns, String> {
        let nothing: Draw = Arc::new(|_, _| harness::Value::Null);
        let weights = WeightedIndex::new(weights)
            .map_err(|error| format!("the faults' weights make no sense: {error}"))?;
        Ok(Turns {
            seed: seed.named("turns"),
            plan: Plan::new(seed.named("turns"), timing, nothing),
            weights: Arc::new(weights),
        })
    }

    /// The activities of one of the faults, whose own random stream is given.
    pub(crate) fn of(
        self,
        fault: usize,
        seed: Seed,
        draw: Draw,
    ) -> impl Iterator<Item = Activity> + Send {
        let Turns {
            seed: who,
            plan,
            weights,
        } = self;
        let whose = move |number| weights.sample(&mut who.named("who").child(number).rng());
        let mine = plan.filter(move |activity| whose(activity.number) == fault);
        (0..).zip(mine).map(move |(number, activity)| Activity {
            number,
            value: draw(number, &mut seed.child(number).rng()),
            ..activity
        })
    }
}
