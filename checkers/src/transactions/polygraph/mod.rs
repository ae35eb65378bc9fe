//! Serializability and snapshot isolation, decided completely, although nobody knows the order of versions.
//!
//! A list shows who appended in which order. A register shows one value, so of two transactions that wrote it without
//! reading it (*blind writes*) nobody knows which came first. What is known is a *polygraph* (Papadimitriou 1979): edges (who read
//! whom), and for each read and each other writer of the key a choice: that one wrote before the writer that was seen, or
//! after the reader. A history is serializable if each choice can be made so that there is no cycle, which is NP-complete
//! in general, and mostly easy for what real systems do. `problem.rs` says how snapshot isolation is the same with two
//! moments for each transaction (as the begin and commit vertices of Viper, EuroSys 2023).
//!
//! ```text
//! Observations ── problem: moments and the edges that hold in any order (of linear size, by relays)
//!                   ├── saturate (chains): choices of which one side would close a cycle, to a fixed point; shortage: what can be counted
//!                   ├── guess: an order to begin with, by replaying a store
//!                   ├── parts: a few transactions at a time, which may contradict each other without the rest
//!                   └── search (graph, clauses): what the order gets wrong is put right, and what cannot be is learned
//!                         ├── an order of everything ── witness: replayed, by itself
//!                         └── a contradiction ── trace: where it comes from, shrink: to few transactions,
//!                               derive: an argument in steps ── verify: each step again, by itself; explain: in sentences
//! ```
//!
//! Cobra (OSDI 2020), PolySI (VLDB 2023), Viper and VeriStrong write all choices down and give them to a solver. Here the solver
//! keeps a total order of moments, and a choice is written down when the order gets it wrong. A history of 100,000
//! transactions has millions of choices, of which some ten thousand are ever looked at. It also needs no extra care for real
//! time (a guess by real time is nearly right) nor for transactions that read whatever they write (MTC, ICDE 2025: the guess
//! is right). Values that several wrote (VeriStrong) are one more kind of choice: whom a read saw. Of lists, whose reads show the order
//! of what was appended before, all is known but the order of the appends that nobody read (`lists.rs`).
//!
//! # What is taken for true
//!
//! - Every transaction that is handed in happened, each read saw what one of its candidates left, and nothing else was written.
//! - Sessions and real time count as the level says ([`Respects`]). Real time includes sessions.
//! - The answer is right in both directions, or [`Decision::Unknown`]: an order is replayed, and an argument checked
//!   step by step, before either is given out. Unknown is what remains when the budget ends, or where a contradiction has no
//!   argument of reasonable length.

mod chains;
mod clauses;
mod derive;
mod graph;
mod guess;
mod level;
mod lists;
mod observations;
#[cfg(test)]
mod oracle;
mod parts;
mod problem;
mod proof;
mod saturate;
mod search;
mod shortage;
mod shrink;
mod trace;
mod verify;
mod witness;

pub(in crate::transactions) use graph::{EDGE_BYTES, Graph, Order, POINT_BYTES, Why};

pub use level::{Level, Model, Respects};
pub use observations::{INITIAL, Observations, Observed};
pub use proof::{Argument, Choice, Conclusion, Fact, Link, Proof, Read, Reason, Step};
pub use verify::proves;
pub use witness::explains;

use std::cell::{Cell, RefCell};

use serde::{Deserialize, Serialize};

use self::parts::Size;
use self::problem::Problem;
use self::saturate::Limits;
use self::search::{End, Search};
use crate::budget::{Budget, Exhausted, Scope};

/// How far what follows is derived before a search, and how much effort for each point goes into that. What real systems did
/// is mostly explained at once; deriving everything takes longer than most searches need. The last is repeated, each time with
/// eight times the effort.
const STAGES: [(Limits, u64); 3] = [
    (
        Limits {
            rounds: 0,
            chains: 0,
        },
        20,
    ),
    (
        Limits {
            rounds: 2,
            chains: 256,
        },
        1_000,
    ),
    (
        Limits {
            rounds: u32::MAX,
            chains: usize::MAX,
        },
        10_000,
    ),
];

/// How much effort goes into a stage where an answer is wanted soon.
const SOON: u64 = 20_000_000;

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

/// Decides whether the observations are possible at a level, with all effort that the budget allows.
pub fn decide(observations: &Observations, level: Level, budget: &dyn Budget) -> Decision {
    decide_in(observations, level, u32::MAX, u64::MAX, budget)
}

/// The same, with the effort of about a second: what is hard stays unknown.
pub fn decide_soon(observations: &Observations, level: Level, budget: &dyn Budget) -> Decision {
    decide_in(observations, level, STAGES.len() as u32, SOON, budget)
}

/// The same, in so many stages and with so much effort in each at most.
fn decide_in(
    observations: &Observations,
    level: Level,
    stages: u32,
    most: u64,
    budget: &dyn Budget,
) -> Decision {
    // Sessions are mostly respected, and make it easier: what explains them explains the rest. Neither waits for the other's end.
    let sessions = (level.respects == Respects::Nothing).then_some(Level {
        respects: Respects::Sessions,
        ..level
    });
    let levels = sessions.into_iter().chain([level]);
    let mut attempts: Vec<Attempt<'_>> = levels
        .map(|level| Attempt::new(observations, level, most))
        .collect();
    for _ in 0..stages {
        let mut at = 0;
        while at < attempts.len() {
            let attempt = &mut attempts[at];
            let is_asked = attempt.level == level;
            match attempt.go_on(budget) {
                None => at += 1,
                Some(Decision::Holds(order)) => return Decision::Holds(order),
                Some(decision) if is_asked => return decision,
                Some(Decision::Violated(proof)) => {
                    let proof = Proof { level, ..*proof };
                    if proves(observations, &proof) {
                        return Decision::Violated(Box::new(proof));
                    }
                    attempts.remove(at);
                }
                Some(Decision::Unknown(_)) => {
                    attempts.remove(at);
                }
            }
        }
    }
    let told = attempts.pop().map(|attempt| attempt.told());
    Decision::Unknown(format!("given up {}", told.unwrap_or_default()))
}

/// A decision on its way, with more effort each time.
struct Attempt<'a> {
    seen: &'a Observations,
    level: Level,
    progress: Progress,
    /// How many stages are done.
    stages: u32,
    /// The most effort of a stage.
    most: u64,
}

impl<'a> Attempt<'a> {
    fn new(seen: &'a Observations, level: Level, most: u64) -> Attempt<'a> {
        Attempt {
            seen,
            level,
            progress: Progress::default(),
            stages: 0,
            most,
        }
    }

    /// How far it has come.
    fn told(&self) -> String {
        format!(
            "{} of {} transactions",
            self.progress.told(),
            self.seen.len()
        )
    }

    /// A decision, or `None` if that takes more effort.
    fn go_on(&mut self, budget: &dyn Budget) -> Option<Decision> {
        let budget = &Scope::of(budget);
        let stage = self.stages;
        self.stages += 1;
        if stage == 0
            && let Some(order) = serially(self.seen, self.level, budget)
        {
            return Some(Decision::Holds(order));
        }
        match self.stage(stage, budget) {
            Err(exhausted) => Some(Decision::Unknown(format!("{exhausted} {}", self.told()))),
            Ok(outcome) => outcome.map(|outcome| self.conclude(outcome, budget)),
        }
    }

    fn stage(&self, stage: u32, budget: &dyn Budget) -> Result<Option<Outcome>, Exhausted> {
        let (seen, level) = (self.seen, self.level);
        budget.charge(Problem::bytes(seen))?;
        let problem = Problem::new(seen, level);
        let points = u64::from(problem.points());
        let last = STAGES.len() as u32 - 1;
        let (limits, effort) = STAGES[stage.min(last) as usize];
        if let Some(size) = Size::of_stage(stage)
            && let Some(core) = parts::contradiction(seen, level, size, budget)?
        {
            return Ok(Some(Outcome::Contradiction(core)));
        }
        let more = 1u64
            .checked_shl(3 * stage.saturating_sub(last))
            .unwrap_or(u64::MAX);
        let effort = effort.saturating_mul(more).saturating_mul(points);
        let effort = effort.min(self.most);
        let found = find(&problem, limits, effort, &self.progress, budget)?;
        if found.is_some() {
            return Ok(found);
        }
        let suspects = self.progress.suspects.take();
        let core = parts::of_suspects(seen, level, &suspects, effort, budget)?;
        Ok(core.map(Outcome::Contradiction))
    }

    /// What an outcome comes to, proved.
    fn conclude(&self, outcome: Outcome, budget: &dyn Budget) -> Decision {
        let (seen, level) = (self.seen, self.level);
        let defect = |what: &str| Decision::Unknown(format!("{what}: a defect of this checker"));
        let core = match outcome {
            Outcome::Order(order) if explains(seen, level, &order) => {
                return Decision::Holds(order);
            }
            Outcome::Order(_) => {
                return defect("the order that was found does not explain the history");
            }
            Outcome::Contradiction(core) => core,
        };
        let among = core.len();
        match prove(seen, level, core, budget) {
            Ok(Some(proof)) if proves(seen, &proof) => Decision::Violated(Box::new(proof)),
            Ok(Some(_)) => defect("the argument that was found does not hold"),
            Ok(None) => Decision::Unknown(format!(
                "a search found no order for {among} transactions, but no argument for that is short enough to be checked"
            )),
            Err(exhausted) => Decision::Unknown(format!(
                "{exhausted} when a search had found no order for {among} transactions, but before there was an argument for that"
            )),
        }
    }
}

/// An order of snapshots in which each transaction commits as it begins. Most of what has snapshots is serializable, and an order for
/// that is found sooner, for it has half as many moments.
fn serially(seen: &Observations, level: Level, budget: &dyn Budget) -> Option<Vec<Moment>> {
    if level.model == Model::Serializable {
        return None;
    }
    let model = Model::Serializable;
    let problem = Problem::new(seen, Level { model, ..level });
    let points = u64::from(problem.points());
    for (limits, effort) in &STAGES[..STAGES.len() - 1] {
        let (effort, progress) = (effort.saturating_mul(points), Progress::default());
        match find(&problem, *limits, effort, &progress, budget) {
            Ok(Some(Outcome::Order(order))) => {
                let both = order.into_iter().flat_map(|moment| {
                    let (Moment::Begin(one) | Moment::Commit(one)) = moment;
                    [Moment::Begin(one), Moment::Commit(one)]
                });
                return Some(both.collect())
                    .filter(|order: &Vec<Moment>| explains(seen, level, order));
            }
            Ok(None) => {}
            Ok(Some(Outcome::Contradiction(_))) | Err(_) => return None,
        }
    }
    None
}

/// How far an attempt has come.
#[derive(Default)]
struct Progress {
    /// Reads that may have been of several.
    open: Cell<usize>,
    choices: Cell<u64>,
    contradictions: Cell<u64>,
    /// The transactions that had most to do with contradictions in the last search, the most suspect first.
    suspects: RefCell<Vec<u32>>,
}

impl Progress {
    fn told(&self) -> String {
        let (choices, contradictions) = (self.choices.get(), self.contradictions.get());
        let tried = match choices {
            0 => "before any order was tried".to_owned(),
            choices => {
                format!(
                    "after {choices} choices were tried and {contradictions} contradictions learned from"
                )
            }
        };
        match self.open.get() {
            0 => tried,
            open => format!("{tried}, with {open} reads that may be of several writers,"),
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

/// Decides with so much effort in the last stage, and no more in the others. `None`: that was not enough.
fn within(
    problem: &Problem<'_>,
    most: u64,
    progress: &Progress,
    budget: &dyn Budget,
) -> Result<Option<Outcome>, Exhausted> {
    let points = u64::from(problem.points());
    for (at, (limits, effort)) in STAGES.into_iter().enumerate() {
        let effort = match at + 1 == STAGES.len() {
            true => most,
            false => effort.saturating_mul(points).min(most),
        };
        let found = find(problem, limits, effort, progress, budget)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Looks for an order or a contradiction. `None`: that takes more effort.
fn find(
    problem: &Problem<'_>,
    limits: Limits,
    effort: u64,
    progress: &Progress,
    budget: &dyn Budget,
) -> Result<Option<Outcome>, Exhausted> {
    let budget = &Scope::of(budget);
    budget.charge(problem.points() as usize * POINT_BYTES)?;
    let mut facts = saturate::saturate(problem, limits, budget)?;
    if facts.contradict() {
        return trace::of_facts(problem, &facts, budget)
            .map(Outcome::Contradiction)
            .map(Some);
    }
    let order = guess::guess(problem, &facts, budget)?;
    let order = Order::new(std::mem::take(&mut facts.graph), order);
    let mut search = Search::new(problem, &facts.source, &facts.open, order);
    progress.open.set(facts.open.len());
    let end = search.run(effort, budget);
    let sum = |so_far: &Cell<u64>, more| so_far.set(so_far.get() + more);
    sum(&progress.choices, search.decisions);
    sum(&progress.contradictions, search.conflicts);
    let end = end?;
    Ok(match end {
        End::Effort => {
            *progress.suspects.borrow_mut() = search.suspects();
            None
        }
        End::Contradiction(clause) => {
            let core = trace::of_search(&search, &facts, clause, budget)?;
            Some(Outcome::Contradiction(core))
        }
        End::Order => {
            let points = search.order.points().iter();
            let moments = points.filter_map(|point| problem.moment(*point));
            Some(Outcome::Order(moments.collect()))
        }
    })
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
