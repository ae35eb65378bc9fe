//! A run in a few numbers: what lists, comparisons and trends show of it without reading its history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::Outcome;

use crate::report::Series;

/// The numbers of one run, in its `results.json` since they are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// How long the history is, in seconds.
    pub(crate) length: f64,
    /// The clients' operations by outcome.
    pub(crate) operations: Outcomes,
    /// The same of each function.
    pub(crate) by_function: BTreeMap<String, Outcomes>,
    /// Operations that ended `ok` per second of the history.
    pub(crate) rate: f64,
    /// How long those took. Absent where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Quantiles>,
    /// The faults that occurred, by name.
    pub(crate) faults: BTreeMap<String, FaultCount>,
}

/// Operations by outcome. Those that never ended count as `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    /// It happened.
    pub(crate) ok: u64,
    /// It did not, and never will.
    pub(crate) fail: u64,
    /// Nobody knows.
    pub(crate) info: u64,
}

impl Outcomes {
    /// All of them.
    pub(crate) fn all(self) -> u64 {
        self.ok + self.fail + self.info
    }
}

impl From<[u64; 3]> for Outcomes {
    fn from([ok, fail, info]: [u64; 3]) -> Outcomes {
        Outcomes { ok, fail, info }
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// Half of the operations took no longer.
    pub(crate) p50: f64,
    /// 95 of 100 took no longer.
    pub(crate) p95: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99: f64,
    /// The longest.
    pub(crate) max: f64,
}

/// How often a fault occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultCount {
    /// How often it began.
    pub(crate) times: u64,
    /// How often of these it was proved to take effect.
    pub(crate) proved: u64,
}

impl Quantiles {
    /// The quantiles of latencies in seconds, by the nearest rank: each is one that was measured.
    fn of(mut latencies: Vec<f64>) -> Option<Quantiles> {
        latencies.sort_unstable_by(f64::total_cmp);
        let count = latencies.len();
        let last = *latencies.last()?;
        let at = |quantile: f64| {
            let rank = (quantile * count as f64).ceil() as usize;
            latencies[rank.clamp(1, count) - 1] * 1e3
        };
        Some(Quantiles {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: last * 1e3,
        })
    }
}

impl Summary {
    /// Adds up what a report draws.
    pub(crate) fn of(series: &Series) -> Summary {
        let named = |(f, counts): (&store::Name, &[u64; 3])| (f.to_string(), (*counts).into());
        let by_function: BTreeMap<String, Outcomes> =
            series.by_function.iter().map(named).collect();
        let mut operations = Outcomes::default();
        for counts in by_function.values() {
            operations.ok += counts.ok;
            operations.fail += counts.fail;
            operations.info += counts.info;
        }
        let mut faults: BTreeMap<String, FaultCount> = BTreeMap::new();
        for band in &series.bands {
            let count = faults.entry(band.fault.to_string()).or_default();
            count.times += 1;
            count.proved += u64::from(band.effective);
        }
        let ok = series
            .points
            .iter()
            .filter(|point| point.outcome == Outcome::Ok);
        Summary {
            length: series.length,
            operations,
            by_function,
            rate: operations.ok as f64 / series.length,
            latency: Quantiles::of(ok.map(|point| point.latency).collect()),
            faults,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use store::{Event, History};

    use super::*;

    fn history(lines: &[serde_json::Value]) -> History {
        let read = |(index, line): (usize, &serde_json::Value)| {
            let mut line = line.clone();
            line["index"] = index.into();
            serde_json::from_value::<Event>(line).unwrap()
        };
        History::new(lines.iter().enumerate().map(read).collect()).unwrap()
    }

    #[test]
    fn a_history_in_numbers() {
        let history = history(&[
            json!({"time": 0, "process": 0, "type": "invoke", "f": "read"}),
            json!({"time": 1_000_000, "process": 1, "type": "invoke", "f": "write", "value": 1}),
            json!({"time": 2_000_000, "process": 0, "type": "ok", "f": "read"}),
            json!({"time": 3_000_000, "process": "nemesis/kill", "type": "invoke", "f": "start"}),
            json!({"time": 4_000_000, "process": "nemesis/kill", "type": "ok", "f": "start", "value": {"effective": true, "targets": ["n1"]}}),
            json!({"time": 5_000_000, "process": 1, "type": "fail", "f": "write", "value": 1}),
            json!({"time": 6_000_000, "process": "nemesis/kill", "type": "invoke", "f": "stop"}),
            json!({"time": 7_000_000, "process": "nemesis/kill", "type": "ok", "f": "stop"}),
            json!({"time": 8_000_000, "process": "nemesis/kill", "type": "invoke", "f": "start"}),
            json!({"time": 9_000_000, "process": "nemesis/kill", "type": "ok", "f": "start", "value": {"effective": false, "targets": ["n2"]}}),
            json!({"time": 10_000_000, "process": 0, "type": "invoke", "f": "read"}),
            json!({"time": 14_000_000, "process": 0, "type": "ok", "f": "read"}),
            json!({"time": 15_000_000, "process": 0, "type": "invoke", "f": "read"}),
            json!({"time": 500_000_000, "process": 2, "type": "invoke", "f": "read"}),
        ]);
        let summary = Summary::of(&Series::new(&history, &[], 0));
        assert_eq!(
            serde_json::to_value(&summary).unwrap(),
            json!({
                "length": 0.5, "rate": 4.0,
                "operations": {"ok": 2, "fail": 1, "info": 2},
                "by_function": {
                    "read": {"ok": 2, "fail": 0, "info": 2}, "write": {"ok": 0, "fail": 1, "info": 0},
                },
                "latency": {"p50": 2.0, "p95": 4.0, "p99": 4.0, "max": 4.0},
                "faults": {"kill": {"times": 2, "proved": 1}},
            })
        );
    }

    #[test]
    fn nothing_has_no_latency() {
        let summary = Summary::of(&Series::new(&history(&[]), &[], 0));
        assert_eq!(summary.latency, None);
        assert_eq!((summary.operations.all(), summary.rate), (0, 0.0));
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let quantiles = Quantiles::of((1..=200).rev().map(|n| f64::from(n) / 1e3).collect());
        let expected = Quantiles {
            p50: 100.0,
            p95: 190.0,
            p99: 198.0,
            max: 200.0,
        };
        assert_eq!(quantiles, Some(expected));
    }
}
