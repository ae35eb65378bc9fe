//! `/`: all runs, those that are looked for, in the order that is asked for. The whole state is in the address.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::page::{self, Place, badge, bytes, grouped, number};
use super::query::Query;
use super::{Site, WebError};
use crate::catalog::{Catalog, RunEntry, SpecEntry, Status};
use crate::summary::{Quantiles, Summary};

/// Runs on a page.
pub(super) const PAGE: usize = 100;
/// Names of faults or labels that a row shows.
const NAMES_MAX: usize = 6;
/// Choices that a filter offers.
const CHOICES_MAX: usize = 500;

/// A column by which can be sorted: its name in the address, its title, and whether it begins with the largest.
struct Column {
    name: &'static str,
    title: &'static str,
    descending: bool,
    numeric: bool,
}

const fn column(
    name: &'static str,
    title: &'static str,
    descending: bool,
    numeric: bool,
) -> Column {
    Column {
        name,
        title,
        descending,
        numeric,
    }
}

const COLUMNS: [Column; 10] = [
    column("verdict", "Verdict", false, false),
    column("test", "Test", false, false),
    column("started", "Began (UTC)", true, false),
    column("faults", "Faults", false, false),
    column("labels", "Labels", false, false),
    column("operations", "Operations", true, true),
    column("rate", "ok/s", true, true),
    column("p99", "p99 ms", true, true),
    column("length", "Length s", true, true),
    column("size", "Size", true, true),
];

/// The order of verdicts: what wants looking at first.
const VERDICTS: [&str; 6] = ["invalid", "unknown", "corrupt", "died", "running", "valid"];

/// The runs that a query asks for.
pub(super) struct Found {
    /// In order, all pages.
    pub(super) runs: Vec<Arc<RunEntry>>,
    sort: &'static Column,
    descending: bool,
    /// From 0.
    pub(super) page: usize,
}

impl Found {
    /// Looks for them.
    pub(super) fn of(catalog: &Catalog, query: &Query) -> Found {
        let sort = query
            .get("sort")
            .and_then(|name| COLUMNS.iter().find(|column| column.name == name))
            .unwrap_or(&COLUMNS[2]);
        let descending = match query.get("order") {
            Some("up") => false,
            Some("down") => true,
            _ => sort.descending,
        };
        let wanted = Wanted::of(query);
        let mut runs: Vec<Arc<RunEntry>> = catalog
            .runs()
            .filter(|run| wanted.fits(run))
            .cloned()
            .collect();
        // Stable: what is equal stays in order of time, newest first.
        match (sort.name, descending) {
            ("started", true) => {}
            ("started", false) => runs.reverse(),
            (name, _) => runs.sort_by(|a, b| compare(name, descending, a, b)),
        }
        let last = runs.len().saturating_sub(1) / PAGE;
        let page = query
            .number("page")
            .map_or(0, |page| page.saturating_sub(1)) as usize;
        Found {
            runs,
            sort,
            descending,
            page: page.min(last),
        }
    }

    /// How many pages there are, one at least.
    pub(super) fn pages(&self) -> usize {
        self.runs.len().div_ceil(PAGE).max(1)
    }

    /// The runs of this page.
    pub(super) fn shown(&self) -> &[Arc<RunEntry>] {
        let from = (self.page * PAGE).min(self.runs.len());
        &self.runs[from..(from + PAGE).min(self.runs.len())]
    }
}

/// What is looked for.
struct Wanted<'a> {
    words: Vec<String>,
    query: &'a Query,
}

impl<'a> Wanted<'a> {
    fn of(query: &'a Query) -> Wanted<'a> {
        let words = query.get("q").unwrap_or_default().split_whitespace();
        Wanted {
            words: words.take(20).map(str::to_lowercase).collect(),
            query,
        }
    }

    fn fits(&self, run: &RunEntry) -> bool {
        let spec = run.spec.as_ref();
        let is = |name: &str, value: Option<&str>| {
            let mut wanted = self.query.all(name).peekable();
            wanted.peek().is_none() || wanted.any(|wanted| Some(wanted) == value)
        };
        // Of several faults or labels, all are wanted.
        let has = |name: &str, values: &[String]| {
            self.query
                .all(name)
                .all(|wanted| values.iter().any(|value| value == wanted))
        };
        let day = run.day();
        is("suite", spec.map(|spec| spec.suite.as_str()))
            && is("workload", spec.map(|spec| spec.workload.as_str()))
            && is("verdict", Some(run.word()))
            && is("test", Some(&run.test))
            && has("fault", spec.map_or(&[], |spec| &spec.faults))
            && has("label", &run.labels)
            && self.query.get("from").is_none_or(|from| *day >= *from)
            && self.query.get("to").is_none_or(|to| *day <= *to)
            && self.words.iter().all(|word| says(run, word))
    }
}

/// Whether a run says a word, given in lower case.
fn says(run: &RunEntry, word: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(word);
    let spec = |spec: &SpecEntry| {
        has(&spec.nemesis)
            || spec.seed.to_string() == word
            || spec.versions.iter().any(|version| has(version))
            || spec.faults.iter().any(|fault| has(fault))
    };
    has(&run.id)
        || has(&run.name)
        || has(run.word())
        || has(&page::reason(run))
        || run.labels.iter().any(|label| has(label))
        || run.spec.as_ref().is_some_and(spec)
}

fn compare(name: &str, descending: bool, a: &RunEntry, b: &RunEntry) -> Ordering {
    let turned = |order: Ordering| if descending { order.reverse() } else { order };
    // What has no number comes last, whatever the order.
    let by = |value: fn(&RunEntry) -> Option<f64>| match (value(a), value(b)) {
        (Some(a), Some(b)) => turned(a.total_cmp(&b)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    let rank = |run: &RunEntry| VERDICTS.iter().position(|word| *word == run.word());
    let faults = |run: &RunEntry| run.spec.as_ref().map(|spec| spec.faults.join(" "));
    match name {
        "verdict" => turned(rank(a).cmp(&rank(b))),
        "test" => turned(a.test.cmp(&b.test)),
        "faults" => turned(faults(a).cmp(&faults(b))),
        "labels" => turned(a.labels.cmp(&b.labels)),
        "operations" => by(|run| Some(run.summary.as_ref()?.operations.all() as f64)),
        "rate" => by(|run| Some(run.summary.as_ref()?.rate)),
        "p99" => by(|run| Some(run.summary.as_ref()?.latency?.p99)),
        "length" => by(|run| Some(run.summary.as_ref()?.length)),
        "size" => by(|run| Some(run.size as f64)),
        _ => Ordering::Equal,
    }
}

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    query: Query,
) -> Result<Html<String>, WebError> {
    let catalog = site.catalog().await?;
    let found = Found::of(&catalog, &query);
    let body = html! {
        h1.hidden { "Runs" }
        (filters(&catalog, &query))
        @if found.runs.is_empty() {
            (nothing(&catalog, &site))
        } @else {
            (table(&found, &query))
        }
    };
    Ok(page::page("Runs", Place::Runs, body))
}

fn nothing(catalog: &Catalog, site: &Site) -> Markup {
    html! {
        div.empty {
            @if catalog.runs().len() == 0 {
                p { "There are no runs in " code { (site.root.display()) } " yet." }
                p { "Make one: " code { "gainsay demo" } ", or serve another store with " code { "--store DIR" } "." }
            } @else {
                p { "None of the " (grouped(catalog.runs().len() as u64)) " runs is like that." }
                p { a href="/" { "Show all" } }
            }
        }
    }
}

/// The values that runs have, for the filters to offer.
fn choices(catalog: &Catalog, values: impl Fn(&RunEntry) -> Vec<String>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for run in catalog.runs() {
        all.extend(values(run));
        if all.len() > CHOICES_MAX {
            break;
        }
    }
    all
}

fn filters(catalog: &Catalog, query: &Query) -> Markup {
    let of_spec = |value: fn(&SpecEntry) -> Vec<String>| {
        choices(catalog, |run| {
            run.spec.as_ref().map(value).unwrap_or_default()
        })
    };
    let suites = of_spec(|spec| vec![spec.suite.clone()]);
    let workloads = of_spec(|spec| vec![spec.workload.clone()]);
    let faults = of_spec(|spec| spec.faults.clone());
    let labels = choices(catalog, |run| run.labels.clone());
    let verdicts = VERDICTS.map(str::to_owned).into_iter().collect();
    html! {
        form.filters method="get" action="/" role="search" aria-label="Find runs" {
            label.wide { span { "Search" } input type="search" name="q" value=[query.get("q")] placeholder="id, reason, label, seed, version …" maxlength="200"; }
            (select("suite", "System", &suites, query))
            (select("workload", "Workload", &workloads, query))
            (select("verdict", "Verdict", &verdicts, query))
            (select("fault", "Fault", &faults, query))
            (select("label", "Label", &labels, query))
            label { span { "From" } input type="date" name="from" value=[query.get("from")]; }
            label { span { "To" } input type="date" name="to" value=[query.get("to")]; }
            @for name in ["sort", "order"] {
                @if let Some(value) = query.get(name) { input type="hidden" name=(name) value=(value); }
            }
            span.buttons { button { "Find" } a.button href="/" { "Clear" } }
        }
    }
}

fn select(name: &str, title: &str, choices: &BTreeSet<String>, query: &Query) -> Markup {
    let chosen = query.get(name);
    html! {
        label {
            span { (title) }
            select name=(name) {
                option value="" { "any" }
                @for choice in choices { option value=(choice) selected[chosen == Some(choice)] { (choice) } }
                @if let Some(other) = chosen.filter(|chosen| !choices.contains(*chosen)) { option value=(other) selected { (other) } }
            }
        }
    }
}

fn table(found: &Found, query: &Query) -> Markup {
    html! {
        form method="get" action="/compare" {
            div.bar {
                p role="status" { (summary(found)) }
                (pages(found, query))
                button { "Compare the two that are checked" }
            }
            div.scroll {
                table.runs {
                    caption.hidden { "Runs, sorted by " (found.sort.title) }
                    thead { tr {
                        th { span.hidden { "Compare" } }
                        @for column in &COLUMNS { (head(column, found, query)) }
                    } }
                    tbody { @for run in found.shown() { (row(run)) } }
                }
            }
            div.bar { (pages(found, query)) }
        }
    }
}

/// How many there are, by verdict.
fn summary(found: &Found) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for run in &found.runs {
        *counts.entry(run.word()).or_default() += 1;
    }
    let each = VERDICTS
        .iter()
        .filter_map(|word| Some(format!("{} {word}", grouped(*counts.get(word)?))));
    let all = grouped(found.runs.len() as u64);
    let noun = if found.runs.len() == 1 { "run" } else { "runs" };
    format!("{all} {noun}: {}", each.collect::<Vec<_>>().join(", "))
}

fn head(column: &Column, found: &Found, query: &Query) -> Markup {
    let current = std::ptr::eq(column, found.sort) || column.name == found.sort.name;
    // Once more turns it round.
    let descending = if current {
        !found.descending
    } else {
        column.descending
    };
    let order = if descending { "down" } else { "up" };
    let sorted = query.with("sort", Some(column.name));
    let target = Query::parse(sorted.trim_start_matches('?'));
    let target =
        Query::parse(target.with("order", Some(order)).trim_start_matches('?')).with("page", None);
    let sort = current.then_some(if found.descending {
        "descending"
    } else {
        "ascending"
    });
    html! {
        th class=[column.numeric.then_some("n")] scope="col" aria-sort=[sort] {
            a href={ "/" (target) } {
                (column.title)
                @if current { span.arrow aria-hidden="true" { @if found.descending { "▾" } @else { "▴" } } }
            }
        }
    }
}

fn row(run: &RunEntry) -> Markup {
    let spec = run.spec.as_ref();
    let summary = run.summary.as_ref();
    let cell = |value: Option<String>| html! { td.n { (value.unwrap_or_else(|| "–".to_owned())) } };
    html! {
        tr {
            td { input type="checkbox" name="run" value=(run.id) aria-label={ "Compare " (run.name) }; }
            td { (badge(run.word())) }
            th scope="row" {
                a href=(page::href(run)) { (run.test) }
                span.id { (run.id) }
                @if run.word() != "valid" || is_corrupt(run) { div.reason { (shortened(&page::reason(run), 160)) } }
            }
            td.time {
                (page::began(run))
                @if run.word() == "running" { " " a href={ (page::href(run)) "live" } { "watch" } }
            }
            td { (names(spec.map_or(&[], |spec| &spec.faults))) }
            td { (page::labels(&run.labels)) }
            (cell(summary.map(|summary| grouped(summary.operations.all()))))
            (cell(summary.map(|summary| number(summary.rate))))
            (cell(summary.and_then(p99).map(number)))
            (cell(summary.map(|summary| number(summary.length))))
            td.n { (bytes(run.size)) }
        }
    }
}

/// Whether a file of it cannot be used, whatever its verdict.
fn is_corrupt(run: &RunEntry) -> bool {
    matches!(run.status, Status::Corrupt { .. })
}

fn p99(summary: &Summary) -> Option<f64> {
    summary.latency.map(|Quantiles { p99, .. }| p99)
}

fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = names
        .iter()
        .take(NAMES_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match more {
        0 => shown,
        more => format!("{shown}, {more} more"),
    }
}

/// The beginning of a text.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn pages(found: &Found, query: &Query) -> Markup {
    let to = |page: usize| format!("/{}", query.with("page", Some(&page.to_string())));
    html! {
        @if found.pages() > 1 {
            nav.pages aria-label="Pages" {
                @if found.page > 0 { a href=(to(1)) { "First" } " " a rel="prev" href=(to(found.page)) { "Previous" } }
                span { "Page " (found.page + 1) " of " (found.pages()) }
                @if found.page + 1 < found.pages() { a rel="next" href=(to(found.page + 2)) { "Next" } " " a href=(to(found.pages())) { "Last" } }
            }
        }
    }
}
