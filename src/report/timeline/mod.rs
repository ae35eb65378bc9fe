//! The interactive timeline: every operation of a run, one lane a client, faults above.
//!
//! `columns` has the operations as numbers, `payload` packs those that are wanted, and the scripts in `assets/` read and
//! draw them. A report carries up to [`OPERATIONS_MAX`] of them itself; a server can be asked for any part.

mod columns;
mod payload;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub(crate) use columns::{Builder, Columns};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use maud::{Markup, PreEscaped, html};
pub(crate) use payload::{Mark, Wanted, payload};
use store::History;

use super::series::Band;

/// Operations that a report carries. With more, it has these: all of the violations, then those that did not end well,
/// then every so manieth of the others.
const OPERATIONS_MAX: usize = 1_000_000;
/// Bytes of values that a report carries (and as many again of operations that matter more), before they are packed.
const VALUES_MAX: usize = 12 << 20;

/// The scripts, in one: none of them needs anything from elsewhere.
pub(crate) const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../assets/source.js"),
    include_str!("../assets/view.js"),
    include_str!("../assets/lanes.js"),
    include_str!("../assets/plots.js"),
    include_str!("../assets/main.js"),
    "})();\n"
);

/// The operations of a history, for a page that carries them itself.
pub(super) fn packed(history: &History, workers: usize, bands: &[Band], marks: &[Mark]) -> String {
    let events: Vec<u64> = marks
        .iter()
        .flat_map(|mark| mark.events.iter().copied())
        .collect();
    let mut builder = Builder::new(VALUES_MAX, workers, &events);
    for event in history.events() {
        builder.take(event);
    }
    let all = Wanted {
        to: u64::MAX,
        most: OPERATIONS_MAX,
        ..Wanted::default()
    };
    let payload = payload(&builder.finish(), &all, bands, marks);
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
    // Nothing that is written to memory fails.
    let packed = deflated
        .write_all(&payload)
        .and_then(|()| deflated.finish());
    STANDARD.encode(packed.unwrap_or_default())
}

/// The timeline with its controls. `url` is where operations come from; without one they are in the page.
pub(crate) fn section(url: Option<&str>) -> Markup {
    let left = match url {
        Some(_) => "more in this stretch of time: zoom in to see them all",
        None => "more are not in this file: gainsay serve shows them all",
    };
    html! {
        section #timeline data-url=[url] aria-labelledby="timeline-heading" {
            h2 #timeline-heading { "Every operation" }
            noscript { p.soft { "The timeline needs scripts. The operations of violations are drawn above without them, and all are in history.jsonl." } }
            div.scripted-only {
                form.filters data-part="filters" {
                    label { "Key " input data-part="key" type="search" list="timeline-keys" size="8" autocomplete="off"; }
                    datalist #timeline-keys {}
                    label { "Process " input data-part="process" type="search" inputmode="numeric" size="6" autocomplete="off"; }
                    label { "Function " select data-part="f" { option value="" { "all" } } }
                    fieldset {
                        legend.unseen { "Outcomes" }
                        label { input data-part="ok" type="checkbox" checked; i.ok {} "ok" }
                        label { input data-part="failed" type="checkbox" checked; i.fail {} "failed" }
                        label { input data-part="unknown" type="checkbox" checked; i.info {} "unknown" }
                    }
                    span.soft data-part="count" data-left=(left) role="status" { "reading the operations …" }
                }
                div.tools role="toolbar" aria-label="Move in the timeline" {
                    (button("next-violation", "Next violation", "e"))
                    (button("next-failed", "Next failed", "f"))
                    (button("next-unknown", "Next unknown", "u"))
                    span.apart {}
                    (button("left", "◀", "Earlier: arrow left"))
                    (button("out", "−", "Zoom out: -"))
                    (button("in", "+", "Zoom in: +"))
                    (button("right", "▶", "Later: arrow right"))
                    (button("all", "All", "All of it: 0"))
                    span.soft data-part="span" {}
                }
                div.frame {
                    canvas.lanes tabindex="0" role="application" aria-roledescription="timeline"
                        aria-label="Timeline of all operations, one lane a client. Arrows move, plus and minus zoom, n and p go from operation to operation, e to the next violation, f to the next that failed, u to the next whose outcome is unknown, 0 shows all." {}
                }
                p.soft.help {
                    "Drag to zoom into a stretch; shift and drag to move; Ctrl and the wheel to zoom; double click for all. "
                    "Keys: arrows, + −, n p (next, previous operation), e f u (next violation, failed, unknown), 0."
                }
                dl.detail data-part="detail" aria-live="polite" {}
                details data-part="table" {
                    summary { "The operations in view as a table" }
                    table {
                        thead { tr { th { "Event" } th { "Began" } th { "Process" } th { "Key" } th { "Operation" } th { "Outcome" } th { "Took" } } }
                        tbody {}
                    }
                    p.soft data-part="more" {}
                }
                dl.hint data-part="hint" hidden {}
            }
        }
    }
}

fn button(part: &str, label: &str, key: &str) -> Markup {
    html! { button type="button" data-part=(part) title=(key) aria-label=[(label.chars().count() < 3).then_some(key)] { (label) } }
}

/// The operations and the scripts, for the end of a page that carries them itself.
pub(super) fn embedded(packed: &str) -> Markup {
    html! {
        script #operations type="text/plain" { (PreEscaped(packed)) }
        script { (PreEscaped(SCRIPT)) }
    }
}

#[cfg(test)]
mod tests;
