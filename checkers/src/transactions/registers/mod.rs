//! Registers: transactions that read and write values.
//!
//! A read of a list shows its whole past; a read of a register shows one write, and nothing of the order of writes. So of
//! registers, less is seen and more must be inferred:
//!
//! | what | from what | decides |
//! | --- | --- | --- |
//! | who read whose write ([`versions`]) | values, where they are unique | read committed |
//! | some of the order of versions ([`order`]) | initial values, reads before writes, assumptions | nothing stronger by itself, but finds most of what is wrong, with Elle's names |
//! | conclusions ([`weak`]) | who had seen whom | monotonic atomic view, read atomic, causal |
//!
//! Levels that forbid cycles of anti-dependencies (snapshot isolation, serializability …) are disproved by what is found,
//! and hold where each version was read by the writer of the next, so that all is in order. Elsewhere, that of these levels
//! which was asked for is decided by trying what the order of versions may be ([`decide`], [`polygraph`](super::polygraph)).
//!
//! Where the database says which version of its key each value is ([`given`]), and somebody says that this is their order, all is in order
//! where all have versions: then levels are decided by cycles, as of lists, and weaker ones by shapes of cycles and by conclusions that
//! contradict the order.
//!
//! Where several transactions wrote the same value, a read of it is ambiguous: nothing is concluded from it. A level then holds if
//! it does with one choice of writers that suggests itself.

mod decide;
mod edges;
pub(super) mod explain;
mod given;
mod order;
mod placed;
mod prove;
mod scan;
pub(super) mod verify;
mod versions;
mod weak;

use std::collections::BTreeSet;

use store::Event;

use super::Options;
use super::anomaly::{Anomaly, Base, Class, View};
use super::components::{components, groups};
use super::conclude::{Cycles, NOT_ENOUGH, Proved, conclude, cycles, undecided};
use super::deciding::{Decided, Standings};
use super::evidence::Objects;
use super::feeding::Feeding;
use super::fewest::fewest;
use super::graph::{DEPENDENCIES, Graph, PROCESS, REALTIME, RW, Sink, Time};
use super::history::{Outcome, Transactions};
use super::intake::Intake;
use super::models::Level;
use super::shapes::{self, Shapes};
use super::verify::verify_cycle;
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Evidence, Feed, Valid};
use decide::SMALL;
use edges::Edges;
use order::Order;
use prove::Prover;
use versions::{AMBIGUOUS, INITIAL, Versions};
use weak::{Against, Weak};

/// What may be taken for granted of the order of versions of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// Who reads a key and then writes it follows what it read. True from read committed on; on by default.
    pub wfr_keys: bool,
    /// Each key alone is sequentially consistent. Off by default.
    pub sequential_keys: bool,
    /// Each key alone is linearizable. Off by default.
    pub linearizable_keys: bool,
    /// The versions of a key are in the order of the numbers that the history has behind the values. Off by default: a history that
    /// has such numbers is then not judged.
    pub given_versions: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Assumptions {
            wfr_keys: true,
            sequential_keys: false,
            linearizable_keys: false,
            given_versions: false,
        }
    }
}

/// The levels that are decided of registers whatever the order of versions.
const DECIDED: &[&str] = &[
    "causal",
    "causal-cerone",
    "monotonic-atomic-view",
    "read-atomic",
    "read-committed",
    "read-uncommitted",
    "strong-read-committed",
    "strong-read-uncommitted",
    "strong-session-causal-cerone",
    "strong-session-monotonic-atomic-view",
    "strong-session-read-atomic",
    "strong-session-read-committed",
    "strong-session-read-uncommitted",
];

/// The levels that are decided besides where all versions are in order, each having been read by the writer of the next.
const IN_ORDER: &[&str] = &[
    "consistent-view",
    "cursor-stability",
    "forward-consistent-view",
    "parallel-snapshot-isolation",
    "repeatable-read",
    "serializable",
    "snapshot-isolation",
    "strict-serializable",
    "strong-session-serializable",
    "strong-session-snapshot-isolation",
    "strong-snapshot-isolation",
];

/// The fewest transactions of a history of which, of the levels up to causal, only those are decided that the one that is asked for
/// needs: to decide causal takes as long as all else.
const LARGE: usize = 100_000;

/// What it means that a level holds, where the order is given that it would have to hold in.
const ANOTHER_ORDER: &str = "it holds in some order of versions, which need not be the given one";

/// The strongest view that a level asks for.
fn view_of(level: &Level) -> Option<View> {
    let ruled_out = |view: &View| {
        let mut bases = [Base::Plain, Base::Process].into_iter();
        bases.any(|base| level.rules_out(Anomaly::View(*view, base)))
    };
    View::ALL.into_iter().rfind(ruled_out)
}

/// Checks the isolation of transactions that read and write registers.
///
/// Values are `[["w", key, value], ["r", key, value]]`. Each key holds `null` at first.
///
/// Nobody shows the order of a register's versions. The weak levels, up to causal, are decided completely from who had seen whom; the
/// level that is asked for, up to strict serializability, by trying what the order may be.
pub struct RwRegister {
    options: Options,
    assume: Assumptions,
    feeding: Feeding,
}

impl RwRegister {
    /// A checker that has seen nothing.
    pub fn new(options: Options, assume: Assumptions) -> RwRegister {
        RwRegister {
            options,
            assume,
            feeding: Feeding::of(Objects::Registers),
        }
    }
}

impl Checker for RwRegister {
    fn hurry(&mut self) {
        self.feeding.hurry(self.options.consistency);
    }

    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        let (level, assume) = (self.options.consistency, self.assume);
        self.feeding.feed(events, budget, |intake| {
            judge(intake, level, assume, budget)
        })
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let (level, assume) = (self.options.consistency, self.assume);
        self.feeding
            .finish(budget, |intake| judge(intake, level, assume, budget))
    }
}

fn judge(
    intake: &Intake,
    level: &Level,
    assume: Assumptions,
    budget: &dyn Budget,
) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let all = &intake.transactions;
    if let Some(one) = all.first_given().filter(|_| !assume.given_versions) {
        let event = match all.is_ok(one) {
            true => all.complete[one as usize],
            false => all.invoke[one as usize].min(all.complete[one as usize]),
        };
        let why = format!(
            "event {event}: there is a version behind a value, and nobody said that this is the order of its key's versions \
             (--given-versions)"
        );
        return Ok(CheckResult::new(Valid::Unknown, why));
    }
    let versions = Versions::infer(all, budget)?;
    let order = Order::infer(all, &versions, assume, budget)?;
    let seen = scan::scan(all, &versions, &order, budget)?;
    let edges = Edges::new(all, &versions, &order, budget)?;
    let view = match all.len() {
        ..LARGE => Some(View::Causal),
        _ => view_of(level),
    };
    let mut prover = Prover::new(all, &versions, &order);
    let (mut proved, depends) = look(&seen, &edges, view, &mut prover, budget)?;
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    let depends = depends || versions.ambiguous.is_some();
    let mut ways = Vec::new();
    let is_clear = proved.unproved.is_empty() && seen.doubtful.is_none();
    if depends && is_clear && order.given.passed_over.is_none() {
        ways.push(anomalies.clone());
        if versions.ambiguous.is_some() {
            ways[0].extend(chosen(all, &versions, &edges, view, budget)?);
        }
    }
    let decided = |level: &Level| {
        let whatever = DECIDED.contains(&level.name) && view_of(level) <= view;
        let in_order = match level.name {
            // Where each writer read the version before, none writes after an update that it missed.
            "cursor-stability" => !assume.given_versions,
            name => IN_ORDER.contains(&name),
        };
        let given = order.given.is_whole && level.decided && view_of(level) <= view;
        whatever || order.total && (in_order || given)
    };
    // What no writer can have left, or a transaction at odds with itself, is nothing to try orders for.
    let mut odd = seen.sightings.by_anomaly.keys();
    let odd = odd.any(|one| !matches!(one, Anomaly::LostUpdate | Anomaly::CyclicVersions));
    let may_decide = !odd && !ways.is_empty();
    let mut standings = Standings::of(anomalies, ways, &decided);
    standings.settle(level, &mut proved, |_, what, is_asked| {
        let may_decide = may_decide && (is_asked || all.len() <= SMALL);
        let decided =
            may_decide.then(|| decide::decide(all, &versions, &prover, what, is_asked, budget));
        Ok(decided.map(|decided| match decided {
            // In which order was not asked.
            Decided::Holds if assume.given_versions => Decided::Unknown(ANOTHER_ORDER.to_owned()),
            decided => decided,
        }))
    })?;
    let Standings { boundary, why, .. } = standings;
    let unsaid = || match assume.given_versions {
        true => order.given.unsaid(all, &versions),
        false => None,
    };
    let open = || {
        if let Some(reader) = seen.doubtful {
            let event = all.complete[reader as usize];
            format!(
                "event {event}: several transactions wrote what was read, and none of them left it"
            )
        } else if !depends {
            NOT_ENOUGH.to_owned()
        } else if let Some(one) = order.given.passed_over {
            let event = all.complete[one as usize].min(all.invoke[one as usize]);
            format!(
                "event {event}: the database gave a version to a value that was written several times, and nobody knows to which write"
            )
        } else if let (Some(_), true) = (versions.ambiguous, DECIDED.contains(&level.name)) {
            "several transactions wrote the same value, and it depends on whose was read".to_owned()
        } else if let (Some(one), false) = (unsaid(), order.total) {
            let event = all.complete[one as usize].min(all.invoke[one as usize]);
            format!(
                "event {event}: what was written has no version, and it may depend on the order in which the database has it"
            )
        } else if let Some(why) = &why {
            format!(
                "no order of versions was found that explains the history, and no argument that there is none: {why}"
            )
        } else {
            undecided(level, &boundary)
        }
    };
    let mut result = conclude(level, intake, &proved, &boundary, open);
    let evidence = result.evidence.into_iter();
    let few = evidence.map(|one| fewest(one, &|few| find_in(few, assume, budget)));
    result.evidence = few.collect();
    Ok(result)
}

/// What is found in a few transactions.
fn find_in(few: &Intake, assume: Assumptions, budget: &dyn Budget) -> Result<Proved, Exhausted> {
    let budget = &Scope::of(budget);
    let all = &few.transactions;
    let versions = Versions::infer(all, budget)?;
    let order = Order::infer(all, &versions, assume, budget)?;
    let seen = scan::scan(all, &versions, &order, budget)?;
    let edges = Edges::new(all, &versions, &order, budget)?;
    let mut prover = Prover::new(all, &versions, &order);
    let (proved, _) = look(&seen, &edges, Some(View::Causal), &mut prover, budget)?;
    Ok(proved)
}

/// All anomalies but those that depend on what the order of versions may be, and whether transactions depend on each other. Of the
/// levels up to causal those are decided that ask for no more than a view.
fn look(
    seen: &scan::Seen,
    edges: &Edges,
    view: Option<View>,
    prover: &mut Prover,
    budget: &dyn Budget,
) -> Result<(Proved, bool), Exhausted> {
    let (graph, depends) = edges.graph(budget)?;
    let component = components(&graph, !0, budget)?;
    let found = cycles(&graph, &component, budget)?;
    let shapes = match prover.order.given.is_whole {
        true => shapes::find(&prover.placed(), &graph, &found, budget)?,
        false => Shapes::new(),
    };
    drop((graph, component));
    let weak = Weak {
        all: prover.all,
        versions: prover.versions,
        edges,
        time: edges.time(),
        sources: prover.versions.sources(),
        committed: &prover.versions.committed,
    };
    let against = weak.up_to(view, budget)?;
    if !against.is_empty() {
        prover.see(edges, budget)?;
    }
    let mut proved = prove(seen, &found, &against, prover);
    for (anomaly, (count, kept)) in &shapes {
        let made = kept.iter().map(|shape| prover.shape(shape));
        proved.keep_cycles(*anomaly, *count, made);
    }
    Ok((proved, depends))
}

fn prove(
    seen: &scan::Seen,
    found: &Cycles,
    against: &[(Anomaly, Against)],
    prover: &Prover,
) -> Proved {
    let mut proved = Proved::of(
        &seen.sightings,
        found,
        |sighting| prover.sighting(sighting),
        |found| prover.cycle(found),
    );
    for (anomaly, against) in against {
        let base = match anomaly {
            Anomaly::View(_, base) => *base,
            _ => Base::Plain,
        };
        let made = against.circles.iter().filter_map(|circle| {
            let Some((is, cycle)) = prover.circle(circle, base) else {
                return Some(Err("a step has no reason".to_owned()));
            };
            // What is more telling is told there.
            let verified = verify_cycle(&cycle).map_err(|why| why.to_string());
            match verified {
                Err(why) => Some(Err(why)),
                Ok(()) if is != *anomaly => None,
                Ok(()) => Some(Ok(Evidence::Cycle(Box::new(cycle)))),
            }
        });
        proved.keep(*anomaly, against.count, made);
    }
    proved
}

/// What is against the weak levels where each ambiguous read is of a writer that suggests itself: of those who left the value
/// and began before the reader ended, the last that is `ok`.
fn chosen(
    all: &Transactions,
    versions: &Versions,
    edges: &Edges,
    view: Option<View>,
    budget: &dyn Budget,
) -> Result<BTreeSet<Anomaly>, Exhausted> {
    budget.charge(all.mops.len() * 4 + all.len())?;
    let mut sources = versions.sources().to_vec();
    let mut committed = versions.committed.clone();
    let mut anomalies = BTreeSet::new();
    for reader in 0..all.len() as u32 {
        for (at, mop) in all.mops(reader) {
            if sources[at as usize] != AMBIGUOUS {
                continue;
            }
            let source = choose(all, versions, reader, mop.key(), versions.version(at));
            match source {
                Some(INITIAL) => {}
                Some(writer) => committed[writer as usize] = true,
                None => {
                    anomalies.insert(Anomaly::G1a);
                }
            }
            sources[at as usize] = source.unwrap_or(AMBIGUOUS);
        }
    }
    let vertices = all.len() as u32;
    let time = Time::new(all, &committed, vertices, budget)?;
    let weak = Weak {
        all,
        versions,
        edges,
        time: &time,
        sources: &sources,
        committed: &committed,
    };
    let each = |visit: Sink| {
        weak.each_before(true, visit);
        time.each_moment(visit);
    };
    let graph = Graph::build(time.end(), vertices, &each, budget)?;
    for (base, walk) in [
        (Base::Plain, 0),
        (Base::Process, PROCESS),
        (Base::Realtime, PROCESS | REALTIME),
    ] {
        let component = components(&graph, DEPENDENCIES & !RW | walk, budget)?;
        if !groups(&component).is_empty() {
            anomalies.insert(Anomaly::Cycle(Class::G1c, base));
        }
    }
    let against = weak.up_to(view, budget)?;
    anomalies.extend(against.into_iter().map(|(anomaly, _)| anomaly));
    Ok(anomalies)
}

fn choose(
    all: &Transactions,
    versions: &Versions,
    reader: u32,
    key: u32,
    version: u32,
) -> Option<u32> {
    let end = all.complete[reader as usize];
    let rank = |writer: u32| {
        let at = writer as usize;
        let begun = all.invoke[at].min(all.complete[at]);
        (begun < end, all.outcome[at] == Outcome::Ok, begun)
    };
    let left = |writer: &u32| {
        let at = *writer as usize;
        *writer != reader
            && all.outcome[at] != Outcome::Fail
            && versions.last_of(*writer, key) == Some(version)
    };
    let best = versions
        .writers(version)
        .filter(left)
        .max_by_key(|writer| rank(*writer));
    best.or(versions.is_initial(version).then_some(INITIAL))
}
