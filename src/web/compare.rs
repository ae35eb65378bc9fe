//! `/compare?a=ID&b=ID`: two runs side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::page::{self, Place, badge, number};
use super::query::Query;
use super::run::{self, Checker, Read};
use super::{Site, WebError};
use crate::compare::{Measure, Setting, measures, settings};
use crate::summary::FaultCount;

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    query: Query,
) -> Result<Html<String>, WebError> {
    // From the list they come as two of one name.
    let named = query.get("a").into_iter().chain(query.get("b"));
    let ids: Vec<&str> = named.chain(query.all("run")).collect();
    let [a, b] = ids.as_slice() else {
        let message = format!(
            "two runs can be compared, and {} were chosen: check two in the list of runs",
            ids.len()
        );
        return Err(WebError::refused(message));
    };
    let (a, b) = (run::read(&site, a).await?, run::read(&site, b).await?);
    let body = html! {
        h1 { "Two runs compared" }
        (head(&a, &b))
        (numbers(&measures(a.entry.summary.as_ref(), b.entry.summary.as_ref())))
        (checkers(&a, &b))
        (faults(&a, &b))
        (specifications(&a, &b))
        p { a.button href={ "/compare?a=" (b.entry.id) "&b=" (a.entry.id) } { "Swap them" } }
    };
    Ok(page::page("Compare", Place::Elsewhere, body))
}

/// `same` or `differs`, as a cell.
fn same(same: bool) -> Markup {
    html! { td.same { @if same { "same" } @else { strong { "differs" } } } }
}

fn head(a: &Read, b: &Read) -> Markup {
    let runs = [("A", a), ("B", b)];
    html! {
        table.compare {
            thead { tr {
                th { span.hidden { "What" } }
                @for (name, run) in runs { th { (name) ": " a href=(page::href(&run.entry)) { (run.entry.test) " " (run.entry.id) } } }
                th { "B against A" }
            } }
            tbody {
                tr { th scope="row" { "Began (UTC)" } @for (_, run) in runs { td { (page::began(&run.entry)) } } td {} }
                tr {
                    th scope="row" { "Verdict" }
                    @for (_, run) in runs { td { (badge(run.entry.word())) } }
                    (same(a.entry.word() == b.entry.word()))
                }
                tr {
                    th scope="row" { "Reason" }
                    @for (_, run) in runs { td { (super::list::shortened(&page::reason(&run.entry), 600)) } }
                    (same(page::reason(&a.entry) == page::reason(&b.entry)))
                }
                tr {
                    th scope="row" { "Labels" }
                    @for (_, run) in runs { td { (page::labels(&run.entry.labels)) } }
                    (same(a.entry.labels == b.entry.labels))
                }
            }
        }
    }
}

fn numbers(measures: &[Measure]) -> Markup {
    let cell =
        |value: Option<f64>| html! { td.n { (value.map_or_else(|| "–".to_owned(), number)) } };
    html! {
        h2 { "Rates and latencies" }
        table.compare.measures {
            thead { tr { th { "Measure" } th.n { "A" } th.n { "B" } th { "B against A" } } }
            tbody {
                @for measure in measures {
                    tr { th scope="row" { (measure.name) } (cell(measure.a)) (cell(measure.b)) td.same { (measure.difference) } }
                }
            }
        }
    }
}

fn checkers(a: &Read, b: &Read) -> Markup {
    let of = |run: &Read| -> Vec<Checker> {
        run.told
            .as_ref()
            .map(|told| told.checkers.clone())
            .unwrap_or_default()
    };
    let (a, b) = (of(a), of(b));
    let mut names: Vec<&str> = Vec::new();
    for checker in a.iter().chain(&b) {
        if !names.contains(&checker.checker.as_str()) {
            names.push(&checker.checker);
        }
    }
    let find =
        |all: &[Checker], name: &str| all.iter().find(|checker| checker.checker == name).cloned();
    let cell = |checker: &Option<Checker>| {
        html! { td {
            @match checker {
                Some(checker) => { (badge(&checker.valid.to_string())) div.reason { (super::list::shortened(&checker.reason, 300)) } }
                None => "did not judge it",
            }
        } }
    };
    html! {
        @if !names.is_empty() {
            h2 { "Checkers" }
            table.compare {
                thead { tr { th { "Checker" } th { "A" } th { "B" } th { "Verdict" } } }
                tbody {
                    @for name in names {
                        @let (a, b) = (find(&a, name), find(&b, name));
                        tr {
                            th scope="row" { (name) } (cell(&a)) (cell(&b))
                            (same(a.map(|checker| checker.valid) == b.map(|checker| checker.valid)))
                        }
                    }
                }
            }
        }
    }
}

fn faults(a: &Read, b: &Read) -> Markup {
    let runs = [a, b].map(|run| run.entry.summary.as_ref().map(|summary| &summary.faults));
    let names: BTreeSet<&String> = runs
        .iter()
        .flatten()
        .flat_map(|faults| faults.keys())
        .collect();
    let find = |at: usize, name: &String| runs[at].and_then(|faults| faults.get(name)).copied();
    let cell = |count: Option<FaultCount>| {
        html! { td {
            @match count {
                Some(count) => { (count.times) " times; took effect: " (run::proved(count.times, count.proved)) }
                None => "did not occur",
            }
        } }
    };
    html! {
        @if !names.is_empty() {
            h2 { "Faults" }
            table.compare {
                thead { tr { th { "Fault" } th { "A" } th { "B" } th { "Times" } } }
                tbody {
                    @for name in names {
                        @let (a, b) = (find(0, name), find(1, name));
                        tr { th scope="row" { (name) } (cell(a)) (cell(b)) (same(a == b)) }
                    }
                }
            }
        }
    }
}

fn specifications(a: &Read, b: &Read) -> Markup {
    let (Some(a), Some(b)) = (&a.spec, &b.spec) else {
        return html! { p { "The specification of one of them cannot be read." } };
    };
    let all = settings(a, b);
    let (same, differ): (Vec<&Setting>, Vec<&Setting>) =
        all.iter().partition(|setting| setting.is_same());
    let rows = |settings: &[&Setting]| {
        html! {
            @for Setting { name, a, b } in settings {
                tr {
                    th scope="row" { (name) }
                    td.mono { (a.as_deref().unwrap_or("(none)")) }
                    td.mono { (b.as_deref().unwrap_or("(none)")) }
                    (self::same(a == b))
                }
            }
        }
    };
    html! {
        h2 { "Specifications" }
        @if differ.is_empty() { p { "They differ in nothing." } }
        table.compare {
            thead { tr { th { "Setting" } th { "A" } th { "B" } th { "B against A" } } }
            tbody { (rows(&differ)) }
            tbody.soft { (rows(&same)) }
        }
    }
}
