//! What operations came to while faults were in force, window by window and side by side.

use checkers::coverage::{SideReport, Tallies, Tally, WindowReport};
use maud::{Markup, html};
use serde_json::Value;

use super::series::seconds;
use crate::check::{COVERAGE, CheckerReport, Results};

/// Rows of the table before the rest is only counted.
const ROWS_MAX: usize = 120;

fn coverage(results: &Results) -> Option<&CheckerReport> {
    let mut reports = results.checkers.iter();
    reports.find(|report| report.checker == COVERAGE)
}

/// A detail of the coverage checker, where it is there and can be read.
fn detail<T: serde::de::DeserializeOwned>(results: &Results, name: &str) -> Option<T> {
    let detail = coverage(results)?.details.get(name)?;
    serde_json::from_value(detail.clone()).ok()
}

/// The table.
pub(super) fn windows(results: &Results) -> Markup {
    let all: Vec<WindowReport> = detail(results, "windows").unwrap_or_default();
    let mut rows = 0;
    let fits = |window: &&WindowReport| {
        rows += window.sides.len().max(1);
        rows <= ROWS_MAX
    };
    let shown: Vec<&WindowReport> = all.iter().take_while(fits).collect();
    let further = all.len() - shown.len();
    let rest = detail::<Value>(results, "windows-left-out");
    let summed = rest.map_or(0, |rest| number(&rest, "windows"));
    html! {
        @if !all.is_empty() {
            h2 { "Operations while faults were in force" }
            p.soft {
                "From the completion of a fault's start until its stop was asked for: operations that were open, by the "
                "side of the node that answered them, or would have. That a side without a quorum acknowledges nothing is "
                "as it should be; what it acknowledges once the fault is being undone is counted apart."
            }
            table.windows {
                thead { tr {
                    th { "Fault" } th.n { "From–to (s)" } th { "Side" } th.n { "ok" } th.n { "ok later" } th.n { "failed" }
                    th.n { "unknown" } th { "ok by function" }
                } }
                tbody { @for window in shown { (rows_of(window)) } }
            }
            @if further > 0 { p.soft { (further) " more windows are in results.json." } }
            @if summed > 0 { p.soft { (summed) " later windows are in results.json only as a sum." } }
        }
    }
}

fn rows_of(window: &WindowReport) -> Markup {
    let from = seconds(window.from);
    let time = match window.to {
        Some(to) => format!("{from:.3}–{:.3}", seconds(to)),
        None => format!("{from:.3}–end"),
    };
    let mut sides: Vec<(String, &Tallies)> = window
        .sides
        .iter()
        .map(|side| (name(side), &side.operations))
        .collect();
    if sides.is_empty() {
        sides.push(("all".to_owned(), &window.operations));
    }
    html! {
        @for (at, (side, operations)) in sides.iter().enumerate() {
            tr class=[(at == 0).then_some("first")] {
                @if at == 0 {
                    td rowspan=(sides.len()) { (window.fault) @if !window.effective { " (not proved)" } }
                    td.n rowspan=(sides.len()) { (time) }
                }
                td { (side) } (cells(operations))
            }
        }
    }
}

/// The nodes of a side, and what else they had to do with.
fn name(side: &SideReport) -> String {
    let mut name = side.nodes.join(" ");
    if side.struck {
        name += " (struck)";
    }
    for (how, nodes) in [
        ("sees", &side.sees),
        ("hears", &side.hears),
        ("is heard by", &side.heard_by),
    ] {
        if !nodes.is_empty() {
            name += &format!(", {how} {}", nodes.join(" "));
        }
    }
    name
}

fn cells(operations: &Tallies) -> Markup {
    let Tally {
        ok,
        ok_in_force,
        fail,
        info,
    } = operations.all;
    let by_f: Vec<String> = operations
        .by_f
        .iter()
        .filter(|(_, tally)| tally.ok_in_force > 0)
        .map(|(f, tally)| format!("{f} {}", tally.ok_in_force))
        .collect();
    html! {
        td.n { (ok_in_force) } td.n { (ok.saturating_sub(ok_in_force)) } td.n { (fail) } td.n { (info) }
        td {
            @if operations.all.count() == 0 { span.soft { "nothing was asked of it" } }
            @else if ok_in_force == 0 { span.soft { "nothing acknowledged" } }
            @else { (by_f.join(", ")) }
        }
    }
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or(0)
}

/// A line for each fault: how often it was in force, and what operations came to then. For a terminal.
pub(crate) fn lines(results: &Results) -> Vec<String> {
    let faults: Vec<Value> = detail(results, "faults").unwrap_or_default();
    let line = |fault: &Value| {
        let of = |field| number(fault, field);
        format!(
            "fault   {}: took effect {} of {} times; operations then: {} ok, {} ok once it was being undone, \
             {} failed, {} unknown",
            fault
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            of("effective"),
            of("activities"),
            of("ok-in-force"),
            of("ok").saturating_sub(of("ok-in-force")),
            of("fail"),
            of("info"),
        )
    };
    faults.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn results(details: Value) -> Results {
        let results = json!({
            "format": 1, "valid": true, "reason": "", "claim": {"model": "linearizable", "source": "a test"},
            "harness_failure": null, "seed": 1,
            "checkers": [{
                "checker": "coverage", "valid": true, "reason": "", "details": details,
                "ms_parse": 0.0, "ms_check": 0.0, "peak_memory": 0,
            }],
        });
        serde_json::from_value(results).unwrap()
    }

    /// A window with two sides, one of which acknowledged nothing.
    fn partition() -> Value {
        json!({
            "fault": "partition", "from": 1_500_000_000_u64, "to": 4_250_000_000_u64, "effective": true,
            "targets": ["n1"], "ok": 13, "ok-in-force": 12, "fail": 2, "info": 1,
            "by-f": {
                "read": {"ok": 8, "ok-in-force": 7, "fail": 2, "info": 0},
                "write": {"ok": 5, "ok-in-force": 5, "fail": 0, "info": 1},
            },
            "sides": [
                {
                    "nodes": ["n1"], "heard-by": ["n2", "n3"], "ok": 1, "ok-in-force": 0, "fail": 2, "info": 1,
                    "by-f": {
                        "read": {"ok": 1, "ok-in-force": 0, "fail": 2, "info": 0},
                        "write": {"ok": 0, "ok-in-force": 0, "fail": 0, "info": 1},
                    },
                },
                {
                    "nodes": ["n2", "n3"], "hears": ["n1"], "ok": 12, "ok-in-force": 12, "fail": 0, "info": 0,
                    "by-f": {
                        "read": {"ok": 7, "ok-in-force": 7, "fail": 0, "info": 0},
                        "write": {"ok": 5, "ok-in-force": 5, "fail": 0, "info": 0},
                    },
                },
            ],
        })
    }

    fn kill() -> Value {
        let none = json!({"ok": 0, "ok-in-force": 0, "fail": 0, "info": 0, "by-f": {}});
        let mut kill = json!({
            "fault": "kill", "from": 5_000_000_000_u64, "to": null, "effective": false, "targets": ["n2"],
            "sides": [{"nodes": ["n2"], "struck": true}],
        });
        let fields = none.as_object().unwrap();
        kill.as_object_mut().unwrap().extend(fields.clone());
        kill["sides"][0]
            .as_object_mut()
            .unwrap()
            .extend(fields.clone());
        kill
    }

    #[test]
    fn a_table_of_windows_and_their_sides() {
        let left_out = json!({
            "windows": 40, "operations": {"ok": 1, "ok-in-force": 1, "fail": 0, "info": 0},
        });
        let results =
            results(json!({"windows": [partition(), kill()], "windows-left-out": left_out}));
        let html = windows(&results).into_string();
        insta::assert_snapshot!(
            html.replace("<tr", "\n<tr")
                .replace("<p", "\n<p")
                .replace("<h2", "\n<h2")
        );
    }

    #[test]
    fn a_long_table_is_cut_and_the_rest_counted() {
        let results = results(json!({"windows": vec![partition(); 100]}));
        let html = windows(&results).into_string();
        assert_eq!(html.matches("rowspan=\"2\"").count(), 2 * ROWS_MAX / 2);
        assert!(html.contains("40 more windows"));
    }

    #[test]
    fn results_of_older_versions_have_no_windows() {
        assert_eq!(windows(&results(json!({"faults": []}))).into_string(), "");
        assert_eq!(lines(&results(json!({}))), Vec::<String>::new());
    }

    #[test]
    fn a_line_for_each_fault() {
        let fault = json!({
            "name": "partition", "activities": 6, "effective": 5, "ok": 13, "ok-in-force": 12, "fail": 2, "info": 1,
        });
        assert_eq!(
            lines(&results(json!({"faults": [fault]}))),
            [
                "fault   partition: took effect 5 of 6 times; operations then: 12 ok, 1 ok once it was being undone, \
                 2 failed, 1 unknown"
            ]
        );
    }
}
