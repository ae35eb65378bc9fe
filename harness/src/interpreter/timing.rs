//! How late the controller itself was, and what a phase amounted to.

use std::time::Duration;

use hdrhistogram::Histogram;
use store::EventType;

use super::outbox::Times;
use crate::time::{Nanos, nanos};

/// Percentiles of a set of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half were at most this.
    pub p50: Duration,
    /// Nine of ten were at most this.
    pub p90: Duration,
    /// 99 of 100 were at most this.
    pub p99: Duration,
    /// None was longer.
    pub max: Duration,
}

/// How faithful a phase's stamps are to what happened, and its operations to the plan. Of clients'
/// operations only. Each is within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From invocation to completion, of operations that ended `ok`.
    pub latency: Quantiles,
    /// From the wake-up of a worker by its answer to the completion's stamp. All of it stands in the
    /// history as latency that the system did not cause, and hides real-time order from checkers.
    /// An answer that was there at once counts as zero.
    pub stamping: Quantiles,
    /// From when an operation was planned and its worker free to when the worker took it up: what the
    /// controller, and nothing else, did to the schedule.
    pub dispatch: Quantiles,
    /// From when an operation was planned to its invocation's stamp: also the time that it waited for
    /// a free worker, or for its client to be opened. Large values mean that the load was not the
    /// one that was asked for, and latencies flatter the system (coordinated omission).
    pub lateness: Quantiles,
}

impl Timing {
    /// Whether the controller was overloaded: its own stamping took longer at the 99th percentile
    /// than half of the operations took altogether. Such a history cannot show that there were no
    /// stale reads.
    pub fn is_overloaded(&self) -> bool {
        self.latency.count > 0 && self.stamping.p99 > self.latency.p50
    }
}

/// How many clients' operations ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They happened.
    pub ok: u64,
    /// They did not happen.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

impl Counts {
    /// Adds one.
    pub(super) fn add(&mut self, kind: EventType) {
        match kind {
            EventType::Invoke => {}
            EventType::Ok => self.ok += 1,
            EventType::Fail => self.fail += 1,
            EventType::Info => self.info += 1,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.ok + self.fail + self.info
    }
}

/// The histograms of a phase.
pub(super) struct Meter {
    latency: Histogram<u64>,
    stamping: Histogram<u64>,
    dispatch: Histogram<u64>,
    lateness: Histogram<u64>,
}

/// The longest time that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);

impl Meter {
    pub(super) fn new() -> Meter {
        let histogram =
            || Histogram::new_with_max(nanos(LONGEST), 2).expect("the bounds are constants");
        Meter {
            latency: histogram(),
            stamping: histogram(),
            dispatch: histogram(),
            lateness: histogram(),
        }
    }

    pub(super) fn add(&mut self, kind: EventType, times: &Times) {
        let since = |from: Nanos, to: Nanos| to.saturating_sub(from);
        if kind == EventType::Ok {
            let latency = since(times.invoked, times.completed);
            self.latency.saturating_record(latency);
        }
        let stamping = times.woken.map_or(0, |woken| since(woken, times.completed));
        self.stamping.saturating_record(stamping);
        let dispatch = since(times.due, times.taken);
        self.dispatch.saturating_record(dispatch);
        let lateness = since(times.planned, times.invoked);
        self.lateness.saturating_record(lateness);
    }

    pub(super) fn timing(&self) -> Timing {
        Timing {
            latency: quantiles(&self.latency),
            stamping: quantiles(&self.stamping),
            dispatch: quantiles(&self.dispatch),
            lateness: quantiles(&self.lateness),
        }
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile));
    Quantiles {
        count: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: Duration::from_nanos(histogram.max()),
    }
}
