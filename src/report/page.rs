//! The page, top to bottom: verdict, how to run it again, explanations, timeline, plots, faults, statistics, nodes, logs.

use checkers::{Evidence, Valid};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use store::{History, Operation};

use super::again::{again, command};
use super::evidence;
use super::graph::graph;
use super::lanes::{Lanes, describe};
use super::logs::{Excerpt, logs};
use super::machines::machines;
use super::plots::{self, fault_class};
use super::prefixes::{longest, prefixes};
use super::series::{Band, Series, seconds};
use super::timeline::{self, Mark};
use super::windows::windows;
use crate::check::{CheckerReport, Results};
use crate::spec::{NodesSpec, TestSpec};

const STYLE: &str = concat!(
    include_str!("../look/variables.css"),
    include_str!("../look/timeline.css"),
    include_str!("style.css")
);
/// Rows of a table of operations before the rest is only counted.
const ROWS_MAX: usize = 60;
/// Activities of faults before the rest is folded away.
const FAULTS_SHOWN: usize = 20;
/// Explanations drawn in full before the rest is only counted.
const EXPLANATIONS_MAX: usize = 5;

/// A violation: who found it, and what proves it.
type Violation<'a> = (&'a CheckerReport, &'a Evidence);

/// The whole page.
pub(super) fn render(
    spec: &TestSpec,
    results: &Results,
    history: &History,
    series: &Series,
    excerpts: &[Excerpt],
) -> String {
    let violations = violations(results);
    let marks = marks(results);
    let packed = timeline::packed(history, spec.workers, &series.bands, &marks);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy());
                title { (spec.suite) " " (spec.workload) ": " (results.valid) " · Gainsay" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (verdict(spec, results))
                main {
                    (run_again(spec))
                    (explanations(&violations, history, series))
                    (timeline::section(None))
                    @if series.timed { (pictures(series)) }
                    (faults(series))
                    (windows(results))
                    (checkers(results))
                    (statistics(series))
                    (logs(excerpts))
                    (settings(spec, results))
                }
                (timeline::embedded(&packed))
            }
        }
    };
    page.into_string()
}

/// No request leaves the page, and no other script than its own runs, whatever a history says.
fn policy() -> String {
    use base64::Engine;
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(timeline::SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    )
}

fn violations(results: &Results) -> Vec<Violation<'_>> {
    let invalid = results
        .checkers
        .iter()
        .filter(|report| report.valid == Valid::False);
    invalid
        .flat_map(|report| {
            report
                .evidence
                .iter()
                .map(move |evidence| (report, evidence))
        })
        .collect()
}

/// Where violations are, for a timeline.
pub(crate) fn marks(results: &Results) -> Vec<Mark> {
    violations(results).iter().map(mark).collect()
}

fn mark((report, evidence): &Violation<'_>) -> Mark {
    let first = evidence::sentences(evidence)
        .into_iter()
        .next()
        .unwrap_or_default();
    let what = evidence::name(evidence).unwrap_or(&report.checker);
    Mark {
        title: format!("{what}: {first}"),
        events: evidence::events(evidence),
        culprit: evidence::culprit(evidence),
    }
}

fn verdict(spec: &TestSpec, results: &Results) -> Markup {
    html! {
        header {
            h1 { (spec.suite) " · " (spec.workload) }
            div.soft { (spec.started) " · seed " (spec.seed) " · faults: " (spec.nemesis) }
            div class={ "verdict " (results.valid) } {
                strong { (results.valid) }
                div { (results.reason) }
                div.soft { "Claim: " (results.claim.model) "; " (results.claim.source) "." }
                @if let Some(failure) = &results.harness_failure {
                    div.soft { "The test itself ran into trouble: " (failure) }
                }
                @for note in &results.notes { div.soft { (note) } }
            }
        }
    }
}

fn run_again(spec: &TestSpec) -> Markup {
    html! {
        section aria-label="How to run it again" {
            @if spec.imported.is_some() { p.soft { "Others recorded it. To take it into a store:" } }
            @else { p.soft { "To run it again, with the same operations and faults:" } }
            pre { (again(spec)) }
        }
    }
}

fn explanations(all: &[Violation<'_>], history: &History, series: &Series) -> Markup {
    html! {
        @if !all.is_empty() {
            h2 { "What went wrong" }
            @for (at, violation) in all.iter().take(EXPLANATIONS_MAX).enumerate() {
                (explanation(at + 1, violation, history, series))
            }
            @if all.len() > EXPLANATIONS_MAX {
                p.soft { (all.len() - EXPLANATIONS_MAX) " more violations are in results.json." }
            }
        }
    }
}

fn explanation(
    number: usize,
    (report, evidence): &Violation<'_>,
    history: &History,
    series: &Series,
) -> Markup {
    let events = evidence::events(evidence);
    let culprit = evidence::culprit(evidence);
    let order = longest(evidence);
    let lanes = Lanes::around(history, &series.bands, &events);
    html! {
        section.explanation {
            h3 { (report.checker) @if let Some(name) = evidence::name(evidence) { ": " (name) } }
            @for sentence in evidence::sentences(evidence) { p { (sentence) } }
            @if let Some(graph) = graph(evidence) { div.wide { (graph) } }
            (prefixes(evidence))
            @if let Some(lanes) = lanes {
                (lanes.draw(culprit, &order))
                ul.legend {
                    li { i.ok {} "ok" } li { i.fail {} "failed (✗)" } li { i.info {} "outcome unknown (?)" }
                    li { i.bad {} "cannot be explained" }
                    @if !order.is_empty() { li { "①: the order, as far as one goes" } }
                    li { "pale: other operations on the same key at that time" }
                }
                @if lanes.left_out > 0 { p.soft { (lanes.left_out) " more operations of this time are not drawn." } }
            }
            p.scripted-only { a href={ "#violation-" (number) } { "Show it in the timeline" } }
            (operations(history, &events, culprit))
        }
    }
}

/// The operations that prove a violation, one a row.
fn operations(history: &History, indexes: &[u64], culprit: Option<u64>) -> Markup {
    let shown: Vec<Operation<'_>> = history
        .operations()
        .filter(|operation| {
            let mut ends = [Some(operation.invoke), operation.complete]
                .into_iter()
                .flatten();
            ends.any(|event| indexes.contains(&event.index))
        })
        .collect();
    html! {
        table {
            thead { tr { th { "Event" } th { "Operation" } } }
            tbody {
                @for operation in shown.iter().take(ROWS_MAX) {
                    @let guilty = [Some(operation.invoke), operation.complete].iter().flatten().any(|event| Some(event.index) == culprit);
                    tr { td.mono { (operation.invoke.index) } td class=[guilty.then_some("invalid")] { (describe(*operation)) } }
                }
            }
        }
        @if shown.len() > ROWS_MAX { p.soft { (shown.len() - ROWS_MAX) " more operations are in results.json." } }
    }
}

fn pictures(series: &Series) -> Markup {
    html! {
        section aria-labelledby="over-time" {
            h2 #over-time { "Over time" }
            h3 { "Latency of each operation" }
            (plots::latency(series))
            (legend(series))
            h3 { "Quantiles of the latency of operations that were ok" }
            (plots::quantiles(series))
            h3 { "Operations a second" }
            (plots::rate(series))
            (legend(series))
            @if !series.nodes.is_empty() {
                h3 { "Nodes: of what each was asked, how much it answered" }
                (plots::availability(series))
            }
            (plots::clocks(series))
        }
    }
}

fn legend(series: &Series) -> Markup {
    html! {
        ul.legend {
            li { i.ok {} "ok" } li { i.fail {} "failed" } li { i.info {} "outcome unknown" }
            @for fault in series.faults() { li { i class=(fault_class(&fault)) {} (fault) " in force" } }
        }
    }
}

fn faults(series: &Series) -> Markup {
    let (first, rest) = series.bands.split_at(series.bands.len().min(FAULTS_SHOWN));
    html! {
        @if !series.bands.is_empty() {
            h2 { "Faults" }
            (fault_table(first))
            @if !rest.is_empty() {
                details { summary { (rest.len()) " more" } (fault_table(rest)) }
            }
        }
    }
}

fn fault_table(bands: &[Band]) -> Markup {
    html! {
        table {
            thead { tr { th { "Fault" } th { "On" } th.n { "From (s)" } th.n { "To (s)" } th { "Proved to take effect" } } }
            tbody {
                @for band in bands {
                    tr {
                        td { (band.fault) } td { (band.what) }
                        td.n { (format!("{:.3}", band.from)) } td.n { (format!("{:.3}", band.to)) }
                        td { @if band.effective { "yes" } @else { "no" } }
                    }
                }
            }
        }
    }
}

fn checkers(results: &Results) -> Markup {
    html! {
        h2 { "Checkers" }
        table {
            thead { tr { th { "Checker" } th { "Verdict" } th { "Why" } th.n { "Time (ms)" } th.n { "Memory (MB)" } } }
            tbody {
                @for report in &results.checkers {
                    tr {
                        td { (report.checker) } td class=(report.valid) { (report.valid) } td { (report.reason) }
                        td.n { (format!("{:.0}", report.ms_parse + report.ms_check)) }
                        td.n { (report.peak_memory >> 20) }
                    }
                }
            }
        }
    }
}

fn statistics(series: &Series) -> Markup {
    html! {
        h2 { "Operations" }
        table {
            thead { tr { th { "Function" } th.n { "ok" } th.n { "failed" } th.n { "unknown" } @if series.timed { th.n { "ok a second" } } } }
            tbody {
                @for (f, [ok, fail, info]) in &series.by_function {
                    tr {
                        td { (f) } td.n { (ok) } td.n { (fail) } td.n { (info) }
                        @if series.timed { td.n { (format!("{:.1}", *ok as f64 / series.length)) } }
                    }
                }
            }
        }
        @if !series.by_error.is_empty() {
            h3 { "Errors" }
            table {
                thead { tr { th { "Function" } th { "Error" } th.n { "Operations" } } }
                tbody {
                    @for ((f, class), count) in &series.by_error {
                        tr { td { (f) } td { (class) } td.n { (count) } }
                    }
                }
            }
        }
        @if series.timed { p.soft { "The history spans " (format!("{:.3}", seconds((series.length * 1e9) as u64))) " s." } }
    }
}

fn settings(spec: &TestSpec, results: &Results) -> Markup {
    let nodes = match &spec.nodes {
        NodesSpec::Simulated(n) => format!("{n} simulated nodes"),
        NodesSpec::Local(n) => format!("{n} nodes on this machine"),
        NodesSpec::LocalMachines(n) => {
            format!("{n} nodes on this machine, with kernels of their own")
        }
        NodesSpec::Ssh(ssh) => ssh.hosts.join(", "),
        NodesSpec::Recorded(names) => names.join(", "),
    };
    html! {
        h2 { "The run" }
        (machines(spec))
        h3 { "Settings" }
        table {
            tbody {
                tr { th { "Command" } td.mono { (command(&spec.command)) } }
                tr { th { "Nodes" } td { (nodes) } }
                tr { th { "Clients" } td { (spec.workers) } }
                tr { th { "Time limit" } td { (format!("{:?}", spec.time_limit)) } }
                tr { th { "Operation time limit" } td { (format!("{:?}", spec.op_timeout)) } }
                tr { th { "Recovery time limit" } td { (format!("{:?}", spec.recovery_limit)) } }
                tr { th { "Seed" } td { (results.seed) } }
                tr { th { "Gainsay" } td { (spec.gainsay) } }
                @for (name, value) in spec.own_options() { tr { th { (name) } td.mono { (value) } } }
            }
        }
    }
}
