//! `/runs/<id>/`: one run.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use checkers::Valid;
use maud::{Markup, html};
use serde::Deserialize;

use super::beneath::{Kind, Named};
use super::page::{self, Place, badge, bytes, grouped, number};
use super::{Site, WebError, archive, beneath, blocking, files};
use crate::catalog::{RunEntry, Status};
use crate::report;
use crate::spec::{NodesSpec, TestSpec};
use crate::summary::Summary;

/// More bytes of `results.json` than this are not read for a page.
const RESULTS_MAX: u64 = 256 << 20;

/// What a page tells of the results: their evidence may be large, and is in the report.
#[derive(Deserialize)]
pub(super) struct Told {
    claim: Claim,
    harness_failure: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
    pub(super) checkers: Vec<Checker>,
}

#[derive(Deserialize)]
struct Claim {
    model: String,
    source: String,
}

/// What one checker said.
#[derive(Clone, Deserialize, serde::Serialize)]
pub(super) struct Checker {
    pub(super) checker: String,
    pub(super) valid: Valid,
    pub(super) reason: String,
}

/// All that is read of a run for its pages. What cannot be read is not there; the catalog says why.
pub(super) struct Read {
    pub(super) entry: Arc<RunEntry>,
    pub(super) spec: Option<TestSpec>,
    pub(super) told: Option<Told>,
    names: Vec<Named>,
}

/// Reads a run.
pub(super) async fn read(site: &Arc<Site>, id: &str) -> Result<Read, WebError> {
    let entry = site.entry(id).await?;
    let site = site.clone();
    blocking(move || {
        let folder = beneath::run(&site.root, &entry)?;
        let (names, _) = folder.list()?;
        Ok(Read {
            spec: files::json(&folder, "test.json", RESULTS_MAX),
            told: files::json(&folder, "results.json", RESULTS_MAX),
            names,
            entry,
        })
    })
    .await
}

/// Without the slash: an archive, or the page's proper address.
pub(super) async fn bare(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<Response, WebError> {
    if let Some(id) = name.strip_suffix(archive::SUFFIX) {
        return archive::whole(&site, id).await;
    }
    let entry = site.entry(&name).await?;
    Ok(Redirect::permanent(&page::href(&entry)).into_response())
}

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Html<String>, WebError> {
    let run = read(&site, &id).await?;
    let entry = &run.entry;
    let body = html! {
        (crumbs(entry, None))
        (verdict(entry, run.told.as_ref()))
        (links(entry, &run.names))
        @if let Some(summary) = &entry.summary { (numbers(summary)) }
        @if let Some(told) = &run.told { (checkers(&told.checkers)) }
        @if let Some(spec) = &run.spec { (specification(spec, entry)) }
        h2 { "Files" }
        (files::table(entry, "", &run.names))
    };
    Ok(page::page(
        &format!("{} {}", entry.test, entry.word()),
        Place::Elsewhere,
        body,
    ))
}

/// Where a page of a run is.
pub(super) fn crumbs(entry: &RunEntry, rest: Option<Markup>) -> Markup {
    html! {
        nav.crumbs aria-label="Where this is" {
            a href="/" { "Runs" } " / "
            a href={ "/" (super::query::Query::default().with("test", Some(&entry.test))) } { (entry.test) } " / "
            a href=(page::href(entry)) { (entry.id) }
            @if let Some(rest) = rest { " / " (rest) }
        }
    }
}

/// The heading, and the verdict.
pub(super) fn verdict(entry: &RunEntry, told: Option<&Told>) -> Markup {
    html! {
        h1 { (entry.test) }
        p.soft {
            (page::began(entry)) " UTC"
            @if let Some(spec) = &entry.spec {
                " · seed " (spec.seed) " · " (spec.nodes) " nodes · faults: " (spec.nemesis)
                @for version in &spec.versions { " · " (version) }
            }
            " · " (bytes(entry.size))
        }
        @if !entry.labels.is_empty() { p { (page::labels(&entry.labels)) } }
        div class={ "verdict " (entry.word()) } {
            p.word { (badge(entry.word())) }
            p { (page::reason(entry)) }
            @if let Status::Corrupt { .. } = entry.status {
                @if entry.valid.is_some() { p { (entry.reason) } }
            }
            @if let Some(told) = told {
                p.soft { "Claim: " (told.claim.model) "; " (told.claim.source) "." }
                @if let Some(failure) = &told.harness_failure { p { "The test itself ran into trouble: " (failure) } }
                @for note in &told.notes { p.soft { (note) } }
            }
            @if entry.status == Status::Died && entry.valid.is_none() {
                p.soft { "What was recorded can be checked: " code { "gainsay analyze " (entry.id) } }
            }
        }
    }
}

fn links(entry: &RunEntry, names: &[Named]) -> Markup {
    let has = |name: &str| {
        names
            .iter()
            .any(|named| named.name == name && named.kind == Kind::File)
    };
    html! {
        p.actions {
            @if has("report.html") { a.button.main href="report.html" { "Report" } " " }
            @if has("history.jsonl") { a.button href="timeline" { "Every operation" } " " }
            @if entry.word() == "running" { a.button.main href="live" { "Watch it" } " " }
            a.button href={ "/runs/" (entry.id) (archive::SUFFIX) } { "Download all (tar.gz)" } " "
            a.button href={ "/trends" (super::query::Query::default().with("test", Some(&entry.test))) } { "Trends of this test" } " "
            @if has("gainsay.log") { a.button href="files/gainsay.log" { "Log" } }
        }
    }
}

/// The run in numbers.
fn numbers(summary: &Summary) -> Markup {
    html! {
        dl.numbers {
            (figure("ok", &grouped(summary.operations.ok)))
            (figure("failed", &grouped(summary.operations.fail)))
            (figure("unknown", &grouped(summary.operations.info)))
            (figure("ok a second", &number(summary.rate)))
            @if let Some(latency) = summary.latency {
                (figure("p50 ms", &number(latency.p50)))
                (figure("p95 ms", &number(latency.p95)))
                (figure("p99 ms", &number(latency.p99)))
                (figure("max ms", &number(latency.max)))
            }
            (figure("length s", &number(summary.length)))
        }
        div.columns {
            div {
                h2 { "Operations" }
                table {
                    thead { tr { th { "Function" } th.n { "ok" } th.n { "failed" } th.n { "unknown" } } }
                    tbody {
                        @for (f, counts) in &summary.by_function {
                            tr { td { (f) } td.n { (grouped(counts.ok)) } td.n { (grouped(counts.fail)) } td.n { (grouped(counts.info)) } }
                        }
                    }
                }
            }
            @if !summary.faults.is_empty() {
                div {
                    h2 { "Faults" }
                    table {
                        thead { tr { th { "Fault" } th.n { "Times" } th { "Proved to take effect" } } }
                        tbody {
                            @for (fault, count) in &summary.faults {
                                tr { td { (fault) } td.n { (count.times) } td { (proved(count.times, count.proved)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn proved(times: u64, proved: u64) -> String {
    match proved {
        0 => "never".to_owned(),
        proved if proved == times => "always".to_owned(),
        proved => format!("{proved} of {times}"),
    }
}

pub(super) fn figure(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn checkers(checkers: &[Checker]) -> Markup {
    html! {
        h2 { "Checkers" }
        table {
            thead { tr { th { "Checker" } th { "Verdict" } th { "Why" } } }
            tbody {
                @for checker in checkers {
                    tr { td { (checker.checker) } td { (badge(&checker.valid.to_string())) }
                        td { (super::list::shortened(&checker.reason, 2000)) } }
                }
            }
        }
    }
}

fn specification(spec: &TestSpec, entry: &RunEntry) -> Markup {
    let nodes = match &spec.nodes {
        NodesSpec::Simulated(n) => format!("{n} simulated"),
        NodesSpec::Local(n) => format!("{n} on the controller's machine"),
        NodesSpec::LocalMachines(n) => {
            format!("{n} on the controller's machine, with kernels of their own")
        }
        NodesSpec::Ssh(ssh) => ssh.hosts.join(", "),
        NodesSpec::Recorded(names) => names.join(", "),
    };
    let duration = |duration| humantime::format_duration(duration).to_string();
    html! {
        h2 { "The run" }
        p { "To run it again, with the same operations and faults:" }
        pre tabindex="0" { (report::again(spec)) }
        table.settings {
            tbody {
                tr { th scope="row" { "Folder" } td.mono { (entry.name) } }
                tr { th scope="row" { "Nodes" } td { (nodes) } }
                tr { th scope="row" { "Clients" } td { (spec.workers) } }
                tr { th scope="row" { "Time limits" } td {
                    "run " (duration(spec.time_limit)) ", operation " (duration(spec.op_timeout)) ", recovery " (duration(spec.recovery_limit))
                } }
                tr { th scope="row" { "Gainsay" } td { (spec.gainsay) } }
                @for (name, value) in spec.own_options() { tr { th scope="row" { (name) } td.mono { (value) } } }
            }
        }
    }
}
