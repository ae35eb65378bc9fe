//! What all pages have in common.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::catalog::{RunEntry, Status};

const STYLE: &str = concat!(
    include_str!("../look/variables.css"),
    include_str!("../look/timeline.css"),
    include_str!("style.css")
);
const SCRIPT: &str = include_str!("live.js");

/// Where in the site a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The list.
    Runs,
    /// Trends.
    Trends,
    /// None of those.
    Elsewhere,
}

/// A whole page.
pub(super) fn page(title: &str, place: Place, body: Markup) -> Html<String> {
    shell(title, place, body, html! {})
}

/// A whole page that needs one of our scripts.
pub(super) fn scripted(title: &str, place: Place, body: Markup, script: &str) -> Html<String> {
    shell(title, place, body, html! { script src=(script) defer {} })
}

/// A whole page that changes: with our script, or, where there are no scripts, loaded again after so many seconds.
pub(super) fn live_page(
    title: &str,
    place: Place,
    body: Markup,
    again: Option<u32>,
) -> Html<String> {
    let head = html! {
        @if let Some(seconds) = again {
            script src="/live.js" defer {}
            noscript { meta http-equiv="refresh" content=(seconds); }
        }
    };
    shell(title, place, body, head)
}

fn shell(title: &str, place: Place, body: Markup, head: Markup) -> Html<String> {
    let current = |which| (place == which).then_some("page");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Gainsay" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                (head)
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "Gainsay" }
                    nav aria-label="Site" {
                        a href="/" aria-current=[current(Place::Runs)] { "Runs" }
                        a href="/trends" aria-current=[current(Place::Trends)] { "Trends" }
                    }
                }
                main #main { (body) }
            }
        }
    };
    Html(page.into_string())
}

/// The icon.
pub(super) async fn icon() -> Response {
    const ICON: &str = include_str!("../look/icon.svg");
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

/// The style sheet.
pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// The script.
pub(super) async fn script() -> Response {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        SCRIPT,
    )
        .into_response()
}

/// The shape that goes with a word of [`RunEntry::word`].
fn shape(word: &str) -> &'static str {
    match word {
        "valid" => "✓",
        "invalid" => "✗",
        "running" => "▸",
        "died" => "■",
        "corrupt" => "!",
        _ => "?",
    }
}

/// A verdict, by word, shape and colour.
pub(super) fn badge(word: &str) -> Markup {
    html! { span class={ "badge " (word) } { span.shape aria-hidden="true" { (shape(word)) } (word) } }
}

/// Why a run has the word that it has.
pub(super) fn reason(entry: &RunEntry) -> String {
    match &entry.status {
        Status::Corrupt { file, why } => format!("{file} cannot be used: {why}"),
        Status::Running if entry.valid.is_none() => "goes on".to_owned(),
        Status::Died if entry.reason.is_empty() => "ended without a verdict".to_owned(),
        _ => entry.reason.clone(),
    }
}

/// Bytes, for a person.
pub(super) fn bytes(size: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match value < 9.95 {
        true => format!("{value:.1} {}", units[unit]),
        false => format!("{value:.0} {}", units[unit]),
    }
}

/// A number with as many digits as tell something.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 || size.fract() == 0.0 => grouped(value.round() as u64),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count, in groups of three digits.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// When a run began, to the second: `2026-11-22 11:42:05`.
pub(super) fn began(entry: &RunEntry) -> String {
    let stamp = entry.stamp();
    match (stamp.get(9..11), stamp.get(11..13), stamp.get(13..15)) {
        (Some(hour), Some(minute), Some(second)) => {
            format!("{} {hour}:{minute}:{second}", entry.day())
        }
        _ => stamp.to_owned(),
    }
}

/// Seconds since 1970, as a time in UTC.
pub(super) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// The address of a run's page.
pub(super) fn href(entry: &RunEntry) -> String {
    format!("/runs/{}/", entry.id)
}

/// Labels, each leading to the runs that have it.
pub(super) fn labels(labels: &[String]) -> Markup {
    html! {
        @for label in labels {
            a.label href={ "/" (super::query::Query::default().with("label", Some(label))) } { (label) }
            " "
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers() {
        let sizes: Vec<String> = [
            0,
            999,
            1000,
            9_949,
            9_950,
            123_456,
            999_499,
            999_500,
            5_000_000_000_000_000,
        ]
        .map(bytes)
        .to_vec();
        assert_eq!(
            sizes,
            [
                "0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "123 kB", "999 kB", "1.0 MB",
                "5000 TB"
            ]
        );
        let numbers: Vec<String> = [
            0.0,
            60.0,
            0.126,
            9.99,
            9.996,
            99.94,
            99.96,
            1234.4,
            1_234_567.0,
        ]
        .map(number)
        .to_vec();
        assert_eq!(
            numbers,
            [
                "0",
                "60",
                "0.13",
                "9.99",
                "10.0",
                "99.9",
                "100",
                "1\u{202f}234",
                "1\u{202f}234\u{202f}567"
            ]
        );
    }
}
