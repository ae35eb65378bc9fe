//! What is different between two runs.

use std::collections::BTreeMap;

use checkers::Valid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{RunError, RunFolder};

use crate::check::Results;
use crate::spec::TestSpec;
use crate::summary::Summary;

/// Numbers that differ by no more than this share are called the same: runs are never exactly alike.
const NOISE: f64 = 0.02;

/// Fields of a specification that are of the run and not of what was asked for.
const INCIDENTAL: [&str; 5] = ["started", "command", "controller", "found", "format"];

/// A setting of two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its path in `test.json`.
    pub(crate) name: String,
    /// What it was in the first run, as JSON; absent where it was not there.
    pub(crate) a: Option<String>,
    /// What it was in the second.
    pub(crate) b: Option<String>,
}

impl Setting {
    /// Whether the two are the same.
    pub(crate) fn is_same(&self) -> bool {
        self.a == self.b
    }
}

/// All settings of two specifications, those that differ first, then by name.
pub(crate) fn settings(a: &TestSpec, b: &TestSpec) -> Vec<Setting> {
    let (mut a, mut b) = (flat(a), flat(b));
    let mut names: Vec<String> = a.keys().chain(b.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let mut settings: Vec<Setting> = names
        .into_iter()
        .map(|name| Setting {
            a: a.remove(&name),
            b: b.remove(&name),
            name,
        })
        .collect();
    settings.sort_by_key(Setting::is_same);
    settings
}

/// The leaves of a specification by their paths.
fn flat(spec: &TestSpec) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut spec_value = serde_json::to_value(spec).unwrap_or_default();
    // As they are given, not as they are kept.
    spec_value["options"] = spec
        .own_options()
        .map(|(name, value)| (name.clone(), Value::from(value.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut open = vec![(String::new(), spec_value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) if path.is_empty() || !is_duration(&fields) => {
                let fields = fields
                    .into_iter()
                    .filter(|(name, _)| !path.is_empty() || !INCIDENTAL.contains(&name.as_str()));
                open.extend(fields.map(|(name, value)| match path.as_str() {
                    "" => (name, value),
                    path => (format!("{path}.{name}"), value),
                }));
            }
            Value::Object(fields) => {
                let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or(0);
                let duration = std::time::Duration::new(number("secs"), number("nanos") as u32);
                leaves.insert(path, humantime::format_duration(duration).to_string());
            }
            Value::String(text) => {
                leaves.insert(path, text);
            }
            value => {
                leaves.insert(path, value.to_string());
            }
        }
    }
    leaves
}

/// How serde writes a duration.
fn is_duration(fields: &serde_json::Map<String, Value>) -> bool {
    let nanos = fields.get("nanos").and_then(Value::as_u64);
    fields.len() == 2
        && fields.contains_key("secs")
        && nanos.is_some_and(|nanos| nanos < 1_000_000_000)
}

/// A number of two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// What is measured, with its unit.
    pub(crate) name: String,
    /// In the first run; absent where it was not measured.
    pub(crate) a: Option<f64>,
    /// In the second.
    pub(crate) b: Option<f64>,
    /// How the second differs from the first, in words.
    pub(crate) difference: String,
}

/// The numbers of two runs, side by side.
pub(crate) fn measures(a: Option<&Summary>, b: Option<&Summary>) -> Vec<Measure> {
    type Of = fn(&Summary) -> Option<f64>;
    let all: [(&str, Of); 9] = [
        ("ok a second", |run| Some(run.rate)),
        ("p50 ms", |run| Some(run.latency?.p50)),
        ("p95 ms", |run| Some(run.latency?.p95)),
        ("p99 ms", |run| Some(run.latency?.p99)),
        ("max ms", |run| Some(run.latency?.max)),
        ("ok", |run| Some(run.operations.ok as f64)),
        ("failed", |run| Some(run.operations.fail as f64)),
        ("unknown", |run| Some(run.operations.info as f64)),
        ("length s", |run| Some(run.length)),
    ];
    let measure = |(name, of): (&str, Of)| {
        let (a, b) = (a.and_then(of), b.and_then(of));
        Measure {
            name: name.to_owned(),
            a,
            b,
            difference: difference(a, b),
        }
    };
    all.map(measure).to_vec()
}

/// How a number differs from another one, in words.
fn difference(a: Option<f64>, b: Option<f64>) -> String {
    let (Some(a), Some(b)) = (a, b) else {
        return "not known of both".to_owned();
    };
    if a == b {
        return "the same".to_owned();
    }
    if a == 0.0 {
        return "there was none before".to_owned();
    }
    let share = (b - a) / a;
    match share {
        _ if share.abs() <= NOISE => "about the same".to_owned(),
        _ if b == 0.0 => "there is none now".to_owned(),
        _ if share >= 1.0 => format!("{:.1} times as much", b / a),
        _ if share > 0.0 => format!("{:.0} % more", share * 100.0),
        _ => format!("{:.0} % less", -share * 100.0),
    }
}

/// How a run compares with an earlier one: printed, and kept in its `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// The earlier run, `<test>/<time>`.
    pub(crate) run: String,
    /// Its id.
    pub(crate) id: String,
    /// Its verdict.
    pub(crate) verdict: Valid,
    /// Whether this run has another one.
    pub(crate) verdict_differs: bool,
    /// Settings that differ.
    pub(crate) settings: Vec<Setting>,
    /// Rates, latencies and counts: `a` of the earlier run, `b` of this one.
    pub(crate) measures: Vec<Measure>,
}

/// A run to compare with, as it was before anything else happened: a run may be compared with itself as it was judged before.
pub(crate) struct Earlier {
    name: String,
    id: String,
    spec: TestSpec,
    verdict: Valid,
    summary: Option<Summary>,
}

impl Earlier {
    /// Reads a run.
    ///
    /// # Errors
    /// When it has no specification or no results that can be read.
    pub(crate) fn read(folder: &RunFolder) -> Result<Earlier, RunError> {
        let results: Results = folder.read_results()?;
        Ok(Earlier {
            name: folder.name(),
            id: folder.id(),
            spec: folder.read_test()?,
            verdict: results.valid,
            summary: results.summary,
        })
    }
}

impl Comparison {
    /// Compares a run with an earlier one.
    pub(crate) fn with(earlier: &Earlier, spec: &TestSpec, results: &Results) -> Comparison {
        let mut settings = settings(&earlier.spec, spec);
        settings.retain(|setting| !setting.is_same());
        Comparison {
            run: earlier.name.clone(),
            id: earlier.id.clone(),
            verdict: earlier.verdict,
            verdict_differs: earlier.verdict != results.valid,
            settings,
            measures: measures(earlier.summary.as_ref(), results.summary.as_ref()),
        }
    }

    /// It in lines, for a terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let verdict = match self.verdict_differs {
            true => format!("which was {}", self.verdict),
            false => format!("which was {}, too", self.verdict),
        };
        let mut lines = vec![format!("against {} ({}), {verdict}", self.run, self.id)];
        let none = || "(none)".to_owned();
        for Setting { name, a, b } in &self.settings {
            let (a, b) = (
                a.clone().unwrap_or_else(none),
                b.clone().unwrap_or_else(none),
            );
            lines.push(format!("        {name}: {a} before, {b} now"));
        }
        let number = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
        };
        for Measure {
            name,
            a,
            b,
            difference,
        } in &self.measures
        {
            lines.push(format!(
                "        {name:<12} {:>12} before {:>12} now: {difference}",
                number(*a),
                number(*b)
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::testing::spec;

    #[test]
    fn settings_that_differ_come_first() {
        let a = spec("sim", "register");
        let mut b = a.clone();
        b.seed = 2;
        b.time_limit = std::time::Duration::from_millis(90_500);
        b.started = "another time".to_owned();
        let settings = settings(&a, &b);
        let differ: Vec<(&str, Option<&str>, Option<&str>)> = settings
            .iter()
            .take_while(|setting| !setting.is_same())
            .map(|setting| {
                (
                    setting.name.as_str(),
                    setting.a.as_deref(),
                    setting.b.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            differ,
            [
                ("seed", Some("1"), Some("2")),
                ("time_limit", Some("1m"), Some("1m 30s 500ms"))
            ]
        );
        assert!(
            settings
                .iter()
                .any(|setting| setting.name == "check.memory")
        );
        assert!(settings[2..].iter().all(Setting::is_same));
    }

    #[test]
    fn differences_in_words() {
        let of = |a: f64, b: f64| difference(Some(a), Some(b));
        assert_eq!(of(100.0, 100.0), "the same");
        assert_eq!(of(100.0, 101.5), "about the same");
        assert_eq!(of(100.0, 112.0), "12 % more");
        assert_eq!(of(100.0, 40.0), "60 % less");
        assert_eq!(of(100.0, 350.0), "3.5 times as much");
        assert_eq!(of(0.0, 3.0), "there was none before");
        assert_eq!(of(3.0, 0.0), "there is none now");
        assert_eq!(difference(None, Some(1.0)), "not known of both");
    }
}
