//! `/trends?test=…`: the runs of a test over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::page::{self, Place, badge, grouped, number};
use super::query::Query;
use super::{Site, WebError};
use crate::catalog::{Catalog, RunEntry};

/// The newest runs that are drawn.
const RUNS_MAX: usize = 200;
/// Specifications in the table of flake rates.
const GROUPS_MAX: usize = 50;
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 8.0;

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    query: Query,
) -> Result<Html<String>, WebError> {
    let catalog = site.catalog().await?;
    let mut tests: BTreeMap<&str, usize> = BTreeMap::new();
    for run in catalog.runs() {
        *tests.entry(&run.test).or_default() += 1;
    }
    let newest = catalog.runs().next().map(|run| run.test.clone());
    let test = query.get("test").map(str::to_owned).or(newest);
    let body = html! {
        h1 { "Trends" }
        form.filters method="get" action="/trends" {
            label.wide { span { "Test" } select name="test" {
                @for (name, count) in &tests {
                    option value=(name) selected[test.as_deref() == Some(name)] { (name) " (" (grouped(*count as u64)) ")" }
                }
            } }
            span.buttons { button { "Show" } }
        }
        @match &test {
            Some(test) => (of_test(&catalog, test)),
            None => p { "There are no runs yet." },
        }
    };
    Ok(page::page("Trends", Place::Trends, body))
}

fn of_test(catalog: &Catalog, test: &str) -> Markup {
    let all: Vec<&Arc<RunEntry>> = catalog.runs().filter(|run| run.test == test).collect();
    let mut shown: Vec<&RunEntry> = all.iter().take(RUNS_MAX).map(|run| &***run).collect();
    shown.reverse();
    html! {
        @if shown.is_empty() {
            p { "There is no run of " (test) "." }
        } @else {
            p.soft {
                "The newest " (shown.len()) " of " (grouped(all.len() as u64)) " runs of "
                a href={ "/" (Query::default().with("test", Some(test))) } { (test) } ", oldest left: "
                (page::began(shown[0])) " to " (page::began(shown[shown.len() - 1])) " UTC."
            }
            h2 { "Verdicts" }
            (strip(&shown))
            h2 { "Rate (ok a second)" }
            (line(&shown, "ok a second", |run| Some(run.summary.as_ref()?.rate)))
            h2 { "Latency (p99, ms)" }
            (line(&shown, "p99 in ms", |run| Some(run.summary.as_ref()?.latency?.p99)))
            (flakes(&all))
        }
    }
}

/// Where a run of so many stands, and how wide it is.
fn column(at: usize, count: usize) -> (f64, f64) {
    let width = (WIDTH - LEFT - RIGHT) / count as f64;
    (LEFT + width * at as f64, width)
}

fn p(value: f64) -> String {
    format!("{value:.1}")
}

/// A mark for each run. Verdicts differ in height too: what is good is low.
fn strip(runs: &[&RunEntry]) -> Markup {
    let height = |word: &str| match word {
        "valid" => 14.0,
        "running" => 8.0,
        "unknown" => 30.0,
        "died" | "corrupt" => 46.0,
        _ => 62.0,
    };
    html! {
        svg.plot.strip viewBox={ "0 0 " (WIDTH) " 74" } role="img" aria-label="The verdict of each run, oldest left; the table of flake rates has the counts" {
            @for (word, y) in [("invalid", 18.0), ("broken off", 34.0), ("unknown", 50.0), ("valid", 66.0)] { text.axis x=(LEFT - 8.0) y=(y) text-anchor="end" { (word) } }
            @for (at, run) in runs.iter().enumerate() {
                @let (x, width) = column(at, runs.len());
                @let tall = height(run.word());
                a href=(page::href(run)) aria-label={ (page::began(run)) ": " (run.word()) } {
                    rect.hit x=(p(x)) y="0" width=(p(width)) height="74" {}
                    rect class={ "mark " (run.word()) } x=(p(x)) y=(p(70.0 - tall)) width=(p((width * 0.8).clamp(1.0, 14.0))) height=(p(tall)) {
                        title { (page::began(run)) ": " (run.word()) ". " (super::list::shortened(&page::reason(run), 200)) }
                    }
                }
            }
        }
    }
}

/// A number of each run that has it, from zero up.
fn line(runs: &[&RunEntry], name: &str, value: fn(&RunEntry) -> Option<f64>) -> Markup {
    const HEIGHT: f64 = 150.0;
    const FLOOR: f64 = 140.0;
    let values: Vec<(usize, f64)> = runs
        .iter()
        .enumerate()
        .filter_map(|(at, run)| Some((at, value(run).filter(|value| value.is_finite())?)))
        .collect();
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if values.is_empty() {
        return html! { p.soft { "No run has it." } };
    }
    let top = round_up(most);
    let y = |value: f64| FLOOR - (FLOOR - 12.0) * value / top;
    let x = |at: usize| {
        let (x, width) = column(at, runs.len());
        x + (width * 0.8).clamp(1.0, 14.0) / 2.0
    };
    let points: Vec<String> = values
        .iter()
        .map(|(at, value)| format!("{},{}", p(x(*at)), p(y(*value))))
        .collect();
    let last = values.last().map_or(0.0, |(_, value)| *value);
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
            aria-label={ (name) " of each run, oldest left: at most " (number(most)) ", last " (number(last)) } {
            @for share in [0.0, 0.5, 1.0] {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(p(y(top * share))) y2=(p(y(top * share))) {}
                text.tick x=(LEFT - 8.0) y=(p(y(top * share) + 4.0)) text-anchor="end" { (number(top * share)) }
            }
            polyline.line.ok points=(points.join(" ")) {}
            @for (at, value) in &values {
                @let run = runs[*at];
                a href=(page::href(run)) aria-label={ (page::began(run)) ": " (number(*value)) } {
                    circle class={ "dot " (run.word()) } cx=(p(x(*at))) cy=(p(y(*value))) r="3" {
                        title { (page::began(run)) ": " (number(*value)) " (" (run.word()) ")" }
                    }
                }
            }
        }
    }
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// Runs whose specifications differ in nothing but the seed.
#[derive(Default)]
struct Group<'a> {
    runs: usize,
    words: BTreeMap<&'static str, u64>,
    newest: Option<&'a RunEntry>,
}

/// How often runs of the same specification, apart from the seed, are not valid. Runs that go on are not counted.
fn flakes(runs: &[&Arc<RunEntry>]) -> Markup {
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.is_over()) {
        let Some(spec) = &run.spec else { continue };
        let group = groups.entry(&spec.alike).or_default();
        group.runs += 1;
        *group.words.entry(run.word()).or_default() += 1;
        group.newest.get_or_insert(run);
    }
    let mut groups: Vec<Group<'_>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.newest.map(|run| run.stamp().to_owned())));
    html! {
        h2 { "Flake rate" }
        p.soft { "The share of runs that are not valid, among those whose specifications differ in nothing but the seed." }
        table {
            thead { tr { th { "Specification, newest first" } th.n { "Runs" } th.n { "Valid" } th.n { "Not valid" } th.n { "Flake rate" } th { "Last run" } } }
            tbody {
                @for group in groups.iter().take(GROUPS_MAX) {
                    @let valid = group.words.get("valid").copied().unwrap_or(0) as usize;
                    @let bad = group.runs - valid;
                    tr {
                        td { @if let Some(spec) = group.newest.and_then(|run| run.spec.as_ref()) {
                            "faults: " (spec.nemesis) ", " (spec.nodes) " nodes " span.id { (spec.alike) }
                        } }
                        td.n { (group.runs) } td.n { (valid) } td.n { (bad) }
                        td.n { (format!("{:.0} %", 100.0 * bad as f64 / group.runs as f64)) }
                        td { @if let Some(run) = group.newest { (badge(run.word())) " " a href=(page::href(run)) { (page::began(run)) } } }
                    }
                }
            }
        }
        @if groups.len() > GROUPS_MAX { p.soft { (groups.len() - GROUPS_MAX) " more specifications are not shown." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let tops: Vec<f64> = [0.0, 0.7, 1.0, 1.2, 34.0, 51.0, 999.0]
            .map(round_up)
            .to_vec();
        assert_eq!(tops, [1.0, 1.0, 1.0, 2.0, 50.0, 100.0, 1000.0]);
    }
}
