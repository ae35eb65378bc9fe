//! The numbers behind the pictures.

use std::collections::BTreeMap;

use store::{EventType, History, Name, Outcome, Process};

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

/// Operations a second, by outcome, in one slice of time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slice {
    /// Operations that completed in it: `ok`, `fail`, `info`.
    pub(crate) counts: [u64; 3],
}

/// All of it.
pub(crate) struct Series {
    /// The length of the history in seconds, at least a little.
    pub(crate) length: f64,
    /// Client operations that completed.
    pub(crate) points: Vec<Point>,
    /// Faults in force.
    pub(crate) bands: Vec<Band>,
    /// The width of a slice in seconds.
    pub(crate) slice: f64,
    /// Completions by time.
    pub(crate) slices: Vec<Slice>,
    /// Operations by function: `ok`, `fail`, `info`.
    pub(crate) by_function: BTreeMap<Name, [u64; 3]>,
    /// Errors: how many operations, by function and class.
    pub(crate) by_error: BTreeMap<(Name, String), u64>,
}

/// How many slices of time a history is cut into.
const SLICES: usize = 100;

/// Where an outcome stands in counts.
pub(super) fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Info => 2,
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(time: u64) -> f64 {
    time as f64 / 1e9
}

impl Series {
    /// Reads them off a history.
    pub(crate) fn new(history: &History) -> Series {
        let length = history
            .events()
            .last()
            .map_or(0.0, |event| seconds(event.time))
            .max(0.001);
        let slice = length / SLICES as f64;
        let mut series = Series {
            length,
            points: Vec::new(),
            bands: bands(history, length),
            slice,
            slices: vec![Slice::default(); SLICES],
            by_function: BTreeMap::new(),
            by_error: BTreeMap::new(),
        };
        for operation in history.client_operations() {
            let outcome = operation.outcome();
            let counts = series
                .by_function
                .entry(operation.invoke.f.clone())
                .or_default();
            counts[place(outcome)] += 1;
            let Some(complete) = operation.complete else {
                continue;
            };
            let at = seconds(operation.invoke.time);
            let end = seconds(complete.time);
            series.points.push(Point {
                at,
                latency: end - at,
                outcome,
            });
            let slice = ((end / slice) as usize).min(SLICES - 1);
            series.slices[slice].counts[place(outcome)] += 1;
            if let Some(class) = complete.error_class() {
                let key = (operation.invoke.f.clone(), class.to_owned());
                *series.by_error.entry(key).or_default() += 1;
            }
        }
        series
    }

    /// The faults that occur, in order of name.
    pub(super) fn faults(&self) -> Vec<Name> {
        let mut faults: Vec<Name> = self.bands.iter().map(|band| band.fault.clone()).collect();
        faults.sort();
        faults.dedup();
        faults
    }
}

fn bands(history: &History, length: f64) -> Vec<Band> {
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
