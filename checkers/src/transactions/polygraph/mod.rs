//! Serializability and snapshot isolation of registers, decided completely, although nobody knows the order of versions.
mod chains;
mod clauses;
mod derive;
mod graph;
mod guess;
mod level;
mod observations;
mod problem;
mod proof;
mod saturate;
mod search;
mod shrink;
mod trace;
mod verify;
mod witness;

pub use level::{Level, Model, Respects};
pub use observations::{INITIAL, Observations, Observed};
pub use proof::{Argument, Choice, Conclusion, Fact, Link, Proof, Read, Reason, Step};
pub use verify::proves;
pub use witness::explains;

use serde::{Deserialize, Serialize};

use self::problem::Problem;
use self::search::{End, Search};
use crate::budget::{Budget, Exhausted, Scope};

/// No transaction.
const NONE: u32 = u32::MAX;

/// A moment of a transaction. Under serializability both are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// It takes its snapshot.
    Begin(u32),
    /// Its writes become visible.
    Commit(u32),
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The level holds: moments in this order explain everything (under serializability, commits alone).
    Holds(Vec<Moment>),
    /// The level is violated, and why.
    Violated(Box<Proof>),
    /// Neither could be shown, and why.
    Unknown(String),
}

/// Decides whether the observations are possible at a level.
pub fn decide(observations: &Observations, level: Level, budget: &dyn Budget) -> Decision {
    let budget = &Scope::of(budget);
    match attempt(observations, level, budget) {
        Err(exhausted) => Decision::Unknown(exhausted.to_string()),
        Ok(Outcome::Contradiction(core)) => match prove(observations, level, core, budget) {
            Ok(Some(proof)) if proves(observations, &proof) => Decision::Violated(Box::new(proof)),
            Ok(Some(_)) => Decision::Unknown(
                "the argument that was found does not hold: a defect of this checker".to_owned(),
            ),
            Ok(None) => Decision::Unknown(
                "no order was found, and no short argument that there is none".to_owned(),
            ),
            Err(exhausted) => Decision::Unknown(format!(
                "no order was found, but before that could be shown: {exhausted}"
            )),
        },
        Ok(Outcome::Order(order)) => {
            if explains(observations, level, &order) {
                return Decision::Holds(order);
            }
            Decision::Unknown(
                "the order that was found does not explain the history: a defect of this checker"
                    .to_owned(),
            )
        }
    }
}

/// What a search comes to.
enum Outcome {
    /// Moments in an order that explains everything.
    Order(Vec<Moment>),
    /// Transactions that contradict each other.
    Contradiction(Vec<u32>),
}

fn attempt(seen: &Observations, level: Level, budget: &dyn Budget) -> Result<Outcome, Exhausted> {
    let budget = &Scope::of(budget);
    let problem = Problem::new(seen, level);
    let mut facts = saturate::saturate(&problem, budget)?;
    if facts.contradict() {
        return trace::of_facts(&problem, &facts, budget).map(Outcome::Contradiction);
    }
    let order = guess::guess(&problem, &facts, budget)?;
    let order = graph::Order::new(std::mem::take(&mut facts.graph), order);
    let mut search = Search::new(&problem, &facts.source, &facts.open, order);
    match search.run(budget)? {
        End::Contradiction(clause) => {
            trace::of_search(&search, &facts, clause, budget).map(Outcome::Contradiction)
        }
        End::Order => {
            let points = search.order.points().iter();
            Ok(Outcome::Order(
                points.filter_map(|point| problem.moment(*point)).collect(),
            ))
        }
    }
}

/// An argument that some transactions contradict each other, about few of them. `None`: none was found that is short enough.
fn prove(
    seen: &Observations,
    level: Level,
    core: Vec<u32>,
    budget: &dyn Budget,
) -> Result<Option<Proof>, Exhausted> {
    let (transactions, minimal) = shrink::shrink(seen, level, core, budget)?;
    let (few, reads) = shrink::restrict(seen, &transactions);
    let names = derive::Names {
        seen,
        transactions: &transactions,
        reads: &reads,
    };
    let argument = derive::derive(&Problem::new(&few, level), &names, budget)?;
    Ok(argument.map(|argument| Proof {
        level,
        transactions,
        minimal,
        argument,
    }))
}
