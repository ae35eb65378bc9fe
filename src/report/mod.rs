//! `report.html`: one file that opens from disk, with no server and no network.
//!
//! It is made from what is in the run's folder alone, so that `gainsay analyze` can make it again. `page` puts it together;
//! `graph` draws the transactions of a cycle, `prefixes` how far an order of operations goes, `lanes` the operations
//! around a violation, `timeline` is the interactive view of all operations (its scripts are in `assets/`), `plots` are the
//! numbers that `series` computes. `windows` tells what operations came to while faults were in force, `machines` what the
//! run ran on, `logs` what nodes' logs say, `again` how to run it again. `evidence` is the one place that knows the kinds
//! of evidence.

mod again;
mod evidence;
mod graph;
mod lanes;
mod logs;
mod machines;
mod page;
mod plots;
mod prefixes;
mod series;
pub(crate) mod timeline;
mod windows;

pub(crate) use again::again;
pub(crate) use evidence::sentences;
pub(crate) use page::marks;
pub(crate) use series::{Band, Series, bands};
pub(crate) use windows::lines as fault_lines;

use anyhow::Result;
use store::History;
use store::RunFolder;

use crate::check::Results;
use crate::spec::TestSpec;

/// Writes the report of a run into its folder.
pub(crate) fn write(
    folder: &RunFolder,
    spec: &TestSpec,
    results: &Results,
    history: &History,
    series: &Series,
) -> Result<()> {
    let html = page::render(
        spec,
        results,
        history,
        series,
        &logs::excerpts(folder.path()),
    );
    folder.write_report(&html)?;
    Ok(())
}

/// The report of a history alone. One without times is drawn by the order of its events, one a millisecond.
pub(crate) fn of_history(
    spec: &TestSpec,
    results: &mut Results,
    mut history: History,
) -> Result<String> {
    let timed = history.events().iter().any(|event| event.time != 0);
    if !timed {
        let mut events = history.into_events();
        let mut before = None;
        for event in &mut events {
            // What was not invoked begins and ends with the same event.
            let is_end = before == Some(event.index);
            before = Some(event.index);
            event.time = (event.index + u64::from(is_end)) * 1_000_000;
        }
        history = History::new(events)?;
        let note =
            "The history has no times. It is drawn by the order of its events, one a millisecond.";
        results.notes.push(note.to_owned());
    }
    let history = &history;
    let mut series = Series::new(history, &spec.nodes.names(), spec.workers);
    series.timed = timed;
    Ok(page::render(spec, results, history, &series, &[]))
}

/// What went wrong, in sentences for a terminal: the first violation in full, the others counted.
pub(crate) fn explanation(results: &Results) -> Vec<String> {
    let violations = results.checkers.iter().flat_map(|report| &report.evidence);
    let mut lines = Vec::new();
    let mut others = 0;
    for violation in violations {
        if lines.is_empty() {
            lines.push(String::new());
            lines.extend(sentences(violation).iter().map(|line| format!("  {line}")));
        } else {
            others += 1;
        }
    }
    if others > 0 {
        lines.push(format!("  {others} more in results.json and in the report"));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}
