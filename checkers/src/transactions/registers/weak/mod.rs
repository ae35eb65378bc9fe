//! Weak levels of registers, decided completely although nobody knows the order of versions.
//!
//! These levels ask for one order of all transactions, in which each comes after those whose writes it read. Each level adds what a
//! transaction that saw another, and yet read a key that this one wrote as a third one left it, says of these two: the third
//! one is later. The levels differ in what it is to have seen a transaction:
//!
//! | level | a transaction has seen another if |
//! | --- | --- |
//! | monotonic atomic view | it read a write of it before |
//! | read atomic | it read a write of it, before or after |
//! | causal | it comes after it by reads, through any number of others |
//!
//! With sessions, what a session did before counts as seen (not for monotonic atomic view), and the order must keep to
//! sessions. A level holds if and only if all these conclusions, and the reads, form no cycle (Biswas and Enea 2019). Few of
//! the conclusions are needed to find out: these are the algorithms of AWDIT (Møldrup and Pavlogiannis 2025), which take n^1.5 steps
//! for the first two levels, and n times the number of sessions for the last.

mod atomic;
mod causal;
mod chains;
mod closure;
mod monotonic;

use super::super::anomaly::{Anomaly, Base, View};
use super::super::components::{components, groups};
use super::super::graph::{Graph, OVERWRITTEN, Sink, Time, WR};
use super::super::history::Transactions;
use super::super::scan::KEPT;
use super::super::search::{Link, through};
use super::super::values::NONE;
use super::edges::Edges;
use super::versions::{INITIAL, Versions, is_transaction};
use crate::budget::{Budget, Exhausted, Scope};

/// What a reader that has seen `before`, and read `key` as `after` left it, says: `before` wrote the key earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conclusion {
    pub(super) before: u32,
    /// [`INITIAL`] is before all: this is a contradiction.
    pub(super) after: u32,
    pub(super) reader: u32,
    pub(super) key: u32,
}

/// A contradiction: why each transaction comes before the next.
#[derive(Clone, Debug)]
pub(super) struct Circle {
    pub(super) links: Vec<Link>,
    /// The conclusion behind each link that is one.
    pub(super) why: Vec<Option<Conclusion>>,
}

/// What was found against a level.
#[derive(Clone, Debug, Default)]
pub(super) struct Against {
    /// How many sets of transactions have a contradiction.
    pub(super) count: u64,
    /// The shortest of some.
    pub(super) circles: Vec<Circle>,
}

/// The views that are weaker than the causal one, the strongest first.
const WEAKER: [View; 2] = [View::Atomic, View::Monotonic];

/// What is asked about.
pub(super) struct Weak<'a> {
    pub(super) all: &'a Transactions,
    pub(super) versions: &'a Versions,
    pub(super) edges: &'a Edges<'a>,
    pub(super) time: &'a Time<'a>,
    /// By micro-operation: whose write a read saw.
    pub(super) sources: &'a [u32],
    /// By transaction: whether it took effect.
    pub(super) committed: &'a [bool],
}

impl Weak<'_> {
    /// What there is against levels that need no more than a view, by the anomaly that it is: as [`Weak::all`], which costs
    /// more for those that need the causal one.
    pub(super) fn up_to(
        &self,
        view: Option<View>,
        budget: &dyn Budget,
    ) -> Result<Vec<(Anomaly, Against)>, Exhausted> {
        let mut found = Vec::new();
        let views = match view {
            None => return Ok(found),
            Some(View::Causal) => return self.all(budget),
            Some(View::Atomic) => &WEAKER[..],
            Some(View::Monotonic) => &WEAKER[1..],
        };
        self.weaker(Base::Process, views, &mut found, budget)?;
        if !found.is_empty() || self.is_torn(budget)? {
            self.weaker(Base::Plain, views, &mut found, budget)?;
        }
        Ok(found)
    }

    /// What there is against all levels, by the anomaly that it is. Where nothing is said of a level, nothing is against it, but
    /// that reads (and sessions) alone may have a cycle, of which nothing is said at all.
    pub(super) fn all(&self, budget: &dyn Budget) -> Result<Vec<(Anomaly, Against)>, Exhausted> {
        let mut found = Vec::new();
        let mut causal = causal::conclusions(self, budget)?;
        if let Some(causal) = &mut causal {
            causal.sort_unstable();
            let against = self.circles(causal, true, budget)?;
            if against.count > 0 {
                found.push((Anomaly::View(View::Causal, Base::Process), against));
                self.weaker(Base::Process, &WEAKER, &mut found, budget)?;
            } else if !self.is_torn(budget)? {
                return Ok(found);
            }
        }
        let component = match &causal {
            Some(causal) => self.components(causal, true, budget)?.1,
            None => vec![0; self.all.len()],
        };
        let initial = causal.as_deref();
        let Some(mut plain) = closure::conclusions(self, &component, initial, budget)? else {
            return Ok(found);
        };
        plain.sort_unstable();
        let against = self.circles(&plain, false, budget)?;
        if against.count > 0 {
            found.push((Anomaly::View(View::Causal, Base::Plain), against));
            self.weaker(Base::Plain, &WEAKER, &mut found, budget)?;
        }
        Ok(found)
    }

    /// Whether sessions contradict what is known of the order of versions, without any conclusion. Those that sessions imply are then not
    /// in a cycle with it, and may be without sessions.
    fn is_torn(&self, budget: &dyn Budget) -> Result<bool, Exhausted> {
        let mut is_assumed = false;
        self.edges.each_assumed(&mut |_, _, _| is_assumed = true);
        if !is_assumed {
            return Ok(false);
        }
        let (_, component) = self.components(&[], true, budget)?;
        Ok(!groups(&component).is_empty())
    }

    /// What there is against levels weaker than causal. What is not against a stronger level is not against a weaker one.
    fn weaker(
        &self,
        base: Base,
        views: &[View],
        found: &mut Vec<(Anomaly, Against)>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let sessions = base == Base::Process;
        for view in views.iter().copied() {
            let budget = &Scope::of(budget);
            let mut conclusions = match view {
                View::Atomic => atomic::conclusions(self, sessions, budget)?,
                _ => monotonic::conclusions(self, budget)?,
            };
            conclusions.sort_unstable();
            let against = self.circles(&conclusions, sessions, budget)?;
            if against.count == 0 {
                break;
            }
            found.push((Anomaly::View(view, base), against));
        }
        Ok(())
    }

    /// The graph of reads, sessions and conclusions, and its components.
    fn components(
        &self,
        conclusions: &[Conclusion],
        sessions: bool,
        budget: &dyn Budget,
    ) -> Result<(Graph, Vec<u32>), Exhausted> {
        let each = |visit: Sink| {
            self.each_before(sessions, visit);
            for one in conclusions.iter().filter(|one| one.after != INITIAL) {
                visit(one.before, one.after, OVERWRITTEN);
            }
        };
        let count = self.all.len() as u32;
        let graph = Graph::build(count, count, &each, budget)?;
        let component = components(&graph, !0, budget)?;
        Ok((graph, component))
    }

    /// What comes before what without any conclusion.
    pub(super) fn each_before(&self, sessions: bool, visit: Sink) {
        for transaction in 0..self.all.len() as u32 {
            for (_, _, source) in self.observed(transaction) {
                if source != INITIAL {
                    visit(source, transaction, WR);
                }
            }
        }
        self.edges.each_assumed(visit);
        if sessions {
            self.time.each_process(visit);
        }
    }

    /// Contradictions among conclusions, which ascend.
    fn circles(
        &self,
        conclusions: &[Conclusion],
        sessions: bool,
        budget: &dyn Budget,
    ) -> Result<Against, Exhausted> {
        let mut against = Against::default();
        if conclusions.is_empty() {
            return Ok(against);
        }
        let (graph, component) = self.components(conclusions, sessions, budget)?;
        for one in conclusions.iter().filter(|one| one.after == INITIAL) {
            against.count += 1;
            if against.circles.len() < KEPT {
                against.circles.push(Circle {
                    links: vec![Link {
                        from: one.before,
                        to: INITIAL,
                        relation: OVERWRITTEN,
                    }],
                    why: vec![Some(*one)],
                });
            }
        }
        let mut local = vec![NONE; graph.vertices() as usize];
        for members in groups(&component) {
            let Some(links) = through(&graph, &members, OVERWRITTEN, &mut local, budget)? else {
                continue;
            };
            against.count += 1;
            let why = links.iter().map(|link| {
                let at = conclusions
                    .partition_point(|one| (one.before, one.after) < (link.from, link.to));
                let one = conclusions.get(at).copied();
                one.filter(|_| link.relation == OVERWRITTEN)
            });
            let why = why.collect();
            against.circles.push(Circle { links, why });
            against.circles.sort_by_key(|circle| circle.links.len());
            against.circles.truncate(KEPT);
        }
        Ok(against)
    }

    /// The reads of a transaction whose source is known: number, key and source.
    fn observed(&self, transaction: u32) -> impl DoubleEndedIterator<Item = (u32, u32, u32)> + '_ {
        self.all.mops(transaction).filter_map(|(at, mop)| {
            let source = self.sources[at as usize];
            (is_transaction(source) || source == INITIAL).then_some((at, mop.key(), source))
        })
    }

    /// Whether a transaction left a value for a key.
    fn writes(&self, transaction: u32, key: u32) -> bool {
        self.versions.last_of(transaction, key).is_some()
    }
}
