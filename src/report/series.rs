//! The numbers behind the pictures.

use std::collections::BTreeMap;

use harness::capability::ClockSeen;
use serde_json::Value;
use store::{Event, EventType, History, Name, OpError, Operation, Outcome, Process};

/// Nodes that a history names beyond those of the run are shown up to this many in all.
const NODES_MAX: usize = 100;

/// A time when a fault was in force.
pub(crate) struct Band {
    /// The fault.
    pub(crate) fault: Name,
    /// When it was asked for, in seconds.
    pub(crate) from: f64,
    /// When it was undone, or when the history ended, in seconds.
    pub(crate) to: f64,
    /// What it acted on, as the history says.
    pub(crate) what: String,
    /// Whether it was proved to take effect.
    pub(crate) effective: bool,
}

/// An operation as a point.
pub(crate) struct Point {
    /// When it began, in seconds.
    pub(crate) at: f64,
    /// How long it took, in seconds.
    pub(crate) latency: f64,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

/// What happened in one slice of time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slice {
    /// Operations that completed in it: `ok`, `fail`, `info`.
    pub(crate) counts: [u64; 3],
    /// Of those that were `ok`, the [`QUANTILES`] of their latencies, in seconds.
    pub(crate) latencies: Option<[f64; 4]>,
}

/// The quantiles of latencies that are drawn.
pub(crate) const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 1.0];

/// How available a node was.
pub(crate) struct Availability {
    /// The node.
    pub(crate) node: Name,
    /// In each slice, of the operations that it was asked and whose outcome is known by then: how many, and how many were `ok`.
    pub(crate) slices: Vec<(u32, u32)>,
}

/// By how much a clock was off.
pub(crate) struct Offset {
    /// Whose clock: the node.
    pub(crate) node: Name,
    /// Whether it is the clock that tells the time of day, rather than the one that only runs forward.
    pub(crate) realtime: bool,
    /// When it was looked at, in seconds.
    pub(crate) at: f64,
    /// By how much it was off, in milliseconds.
    pub(crate) ms: f64,
}

/// All of it.
pub(crate) struct Series {
    /// The length of the history in seconds, at least a little.
    pub(crate) length: f64,
    /// Whether times are those of a clock; else they follow from the order of events, and tell nothing of how long anything took.
    pub(crate) timed: bool,
    /// Client operations that completed.
    pub(crate) points: Vec<Point>,
    /// Faults in force.
    pub(crate) bands: Vec<Band>,
    /// The width of a slice in seconds.
    pub(crate) slice: f64,
    /// Completions by time.
    pub(crate) slices: Vec<Slice>,
    /// Of each node that operations were sent to.
    pub(crate) nodes: Vec<Availability>,
    /// What was seen of clocks, in order of time.
    pub(crate) clocks: Vec<Offset>,
    /// Operations by function: `ok`, `fail`, `info`.
    pub(crate) by_function: BTreeMap<Name, [u64; 3]>,
    /// Errors: how many operations, by function and class.
    pub(crate) by_error: BTreeMap<(Name, String), u64>,
}

/// How many slices of time a history is cut into.
const SLICES: usize = 200;

/// Where an outcome stands in counts.
pub(crate) fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Info => 2,
    }
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(time: u64) -> f64 {
    time as f64 / 1e9
}

impl Series {
    /// Reads them off a history. `nodes` are those of the run, to which its `workers` are pinned in turn.
    pub(crate) fn new(history: &History, nodes: &[Name], workers: usize) -> Series {
        let length = history
            .events()
            .last()
            .map_or(0.0, |event| seconds(event.time))
            .max(0.001);
        let mut series = Series {
            length,
            timed: true,
            points: Vec::new(),
            bands: bands(history, length),
            slice: length / SLICES as f64,
            slices: vec![Slice::default(); SLICES],
            nodes: nodes.iter().map(Availability::new).collect(),
            clocks: clocks(history),
            by_function: BTreeMap::new(),
            by_error: BTreeMap::new(),
        };
        let mut latencies: Vec<Vec<f64>> = vec![Vec::new(); SLICES];
        for operation in history.client_operations() {
            series.take(operation, workers, &mut latencies);
        }
        for (slice, latencies) in series.slices.iter_mut().zip(&mut latencies) {
            slice.latencies = quantiles(latencies);
        }
        series
            .nodes
            .retain(|node| node.slices.iter().any(|(asked, _)| *asked > 0));
        series
    }

    fn take(&mut self, operation: Operation<'_>, workers: usize, latencies: &mut [Vec<f64>]) {
        let outcome = operation.outcome();
        let counts = self
            .by_function
            .entry(operation.invoke.f.clone())
            .or_default();
        counts[place(outcome)] += 1;
        let Some(complete) = operation.complete else {
            return;
        };
        let (at, end) = (seconds(operation.invoke.time), seconds(complete.time));
        let latency = end - at;
        self.points.push(Point {
            at,
            latency,
            outcome,
        });
        let slice = ((end / self.slice) as usize).min(SLICES - 1);
        self.slices[slice].counts[place(outcome)] += 1;
        if outcome == Outcome::Ok {
            latencies[slice].push(latency);
        }
        if let Some(node) = self.node_of(operation.invoke, complete, workers) {
            let (asked, ok) = &mut self.nodes[node].slices[slice];
            *asked += 1;
            // That a compare-and-set saw another value is an answer.
            *ok += u32::from(outcome == Outcome::Ok || is_answer(complete));
        }
        if let Some(class) = complete.error_class() {
            let key = (operation.invoke.f.clone(), class.to_owned());
            *self.by_error.entry(key).or_default() += 1;
        }
    }

    /// Who answered, or, where nobody did, the node that the process' worker is pinned to.
    fn node_of(&mut self, invoke: &Event, complete: &Event, workers: usize) -> Option<usize> {
        if let Some(node) = &complete.node {
            let known = self.nodes.iter().position(|one| one.node == *node);
            return known.or_else(|| {
                let room = self.nodes.len() < NODES_MAX;
                room.then(|| self.nodes.push(Availability::new(node)));
                room.then_some(self.nodes.len() - 1)
            });
        }
        let Process::Client(process) = invoke.process else {
            return None;
        };
        let nodes = self.nodes.len() as u64;
        (nodes > 0 && workers > 0).then(|| (process % workers as u64 % nodes) as usize)
    }

    /// The faults that occur, in order of name.
    pub(crate) fn faults(&self) -> Vec<Name> {
        let mut faults: Vec<Name> = self.bands.iter().map(|band| band.fault.clone()).collect();
        faults.sort();
        faults.dedup();
        faults
    }
}

impl Availability {
    fn new(node: &Name) -> Availability {
        Availability {
            node: node.clone(),
            slices: vec![(0, 0); SLICES],
        }
    }
}

/// Whether an operation failed because of what the system found, and not because it could not answer.
fn is_answer(complete: &Event) -> bool {
    complete.error_class() == Some(OpError::PRECONDITION)
}

/// The [`QUANTILES`] of some numbers, which are sorted for it.
fn quantiles(numbers: &mut [f64]) -> Option<[f64; 4]> {
    let last = numbers.len().checked_sub(1)?;
    numbers.sort_unstable_by(f64::total_cmp);
    Some(QUANTILES.map(|quantile| numbers[(last as f64 * quantile).round() as usize]))
}

/// What the history says of clocks that were changed: before, at first, at last and after.
fn clocks(history: &History) -> Vec<Offset> {
    let mut clocks = Vec::new();
    for operation in history.operations() {
        let (Process::Nemesis(_), Some(end)) = (&operation.invoke.process, operation.complete)
        else {
            continue;
        };
        let by_node = end.value.get("clocks").and_then(Value::as_object);
        for (node, seen) in by_node.into_iter().flatten() {
            let seen = seen.as_array().into_iter().flatten();
            for seen in
                seen.filter_map(|seen| serde_json::from_value::<ClockSeen>(seen.clone()).ok())
            {
                let looks = [
                    (operation.invoke.time, seen.before),
                    // At its end what was off is put right: that was seen when it was asked for.
                    (
                        if seen.after.is_some() {
                            operation.invoke.time
                        } else {
                            end.time
                        },
                        seen.during,
                    ),
                    (end.time, seen.after),
                ];
                for (time, offsets) in looks {
                    let Some(offsets) = offsets else { continue };
                    for (realtime, ms) in [(true, offsets.realtime), (false, offsets.monotonic)] {
                        let at = seconds(time);
                        clocks.push(Offset {
                            node: node.as_str().into(),
                            realtime,
                            at,
                            ms,
                        });
                    }
                }
            }
        }
    }
    clocks
}

/// The faults that a history of so many seconds tells of.
pub(crate) fn bands(history: &History, length: f64) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut open: BTreeMap<Name, usize> = BTreeMap::new();
    for operation in history.operations() {
        let Process::Nemesis(fault) = &operation.invoke.process else {
            continue;
        };
        let proved = |kind| {
            operation.complete.is_some_and(|event| {
                event.kind == kind && event.value.get("effective") == Some(&true.into())
            })
        };
        let done = operation
            .complete
            .map_or(length, |event| seconds(event.time));
        match &*operation.invoke.f {
            "start" if operation.outcome() != Outcome::Fail => {
                let what = operation.complete.map_or_else(String::new, |event| {
                    let targets = event
                        .value
                        .get("targets")
                        .and_then(|value| value.as_array());
                    let targets = targets
                        .into_iter()
                        .flatten()
                        .filter_map(|value| value.as_str());
                    targets.collect::<Vec<_>>().join(", ")
                });
                open.insert(fault.clone(), bands.len());
                bands.push(Band {
                    fault: fault.clone(),
                    from: seconds(operation.invoke.time),
                    to: length,
                    what,
                    effective: proved(EventType::Ok),
                });
            }
            "stop" | "heal" if operation.outcome() == Outcome::Ok => {
                if let Some(at) = open.remove(fault) {
                    bands[at].to = done;
                    bands[at].effective |= proved(EventType::Ok);
                }
            }
            _ => {}
        }
    }
    bands
}
