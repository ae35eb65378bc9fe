//! `/runs/<id>/timeline`: every operation of a run, of any number. `/runs/<id>/operations` sends those of a stretch of time.
//!
//! A history is read once, into columns of numbers, and kept for as long as nobody looks at another: who zooms is answered from
//! memory. What is sent is bounded; with more than that in a stretch, every so manieth is sent, and the page says so.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use maud::html;
use store::import::{Format, read_each};
use store::{Flow, History, ImportOptions};

use super::beneath::{self, Opened};
use super::page::{self, Place};
use super::query::Query;
use super::run::crumbs;
use super::{Site, WebError, blocking, files};
use crate::catalog::RunEntry;
use crate::check::Results;
use crate::report::timeline::{self, Builder, Columns, Mark, Wanted, payload};
use crate::report::{Band, bands, marks};
use crate::spec::TestSpec;

/// Operations that are sent at once.
const SENT_MAX: usize = 250_000;
/// Bytes of values that are kept of a history.
const VALUES_MAX: usize = 256 << 20;
/// How old what is shown of a run may be that goes on.
const GOING_ON: Duration = Duration::from_secs(10);
/// Bytes of a specification and of results.
const JSON_MAX: u64 = 64 << 20;

/// The operations of a run.
struct Operations {
    columns: Columns,
    bands: Vec<Band>,
    marks: Vec<Mark>,
}

/// The run that was looked at last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<KeptRun>>);

struct KeptRun {
    id: String,
    /// The history's length in bytes, when it was read.
    bytes: u64,
    read: Instant,
    operations: Arc<Operations>,
}

impl Kept {
    /// The operations of a run. Whoever comes while they are read waits.
    fn operations(
        &self,
        root: &std::path::Path,
        entry: &RunEntry,
    ) -> Result<Arc<Operations>, WebError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = beneath::run(root, entry)?;
        let Opened::File(file, metadata) = folder.open(OsStr::new("history.jsonl"))? else {
            return Err(WebError::refused("history.jsonl is no file"));
        };
        let bytes = metadata.len();
        if let Some(known) = kept.as_ref().filter(|known| known.id == entry.id) {
            let is_new = !entry.is_over() && known.read.elapsed() < GOING_ON;
            if known.bytes == bytes || is_new {
                return Ok(known.operations.clone());
            }
        }
        // Two of them may be too much.
        *kept = None;
        let spec: Option<TestSpec> = files::json(&folder, "test.json", JSON_MAX);
        let results: Option<Results> = files::json(&folder, "results.json", JSON_MAX);
        let marks = results.as_ref().map_or_else(Vec::new, marks);
        let workers = spec.map_or(0, |spec| spec.workers);
        // The file that was opened, and not what has its name now.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let operations = Arc::new(read(&path, workers, marks)?);
        *kept = Some(KeptRun {
            id: entry.id.clone(),
            bytes,
            read: Instant::now(),
            operations: operations.clone(),
        });
        Ok(operations)
    }
}

fn read(path: &std::path::Path, workers: usize, marks: Vec<Mark>) -> Result<Operations, WebError> {
    let events: Vec<u64> = marks
        .iter()
        .flat_map(|mark| mark.events.iter().copied())
        .collect();
    let mut builder = Builder::new(VALUES_MAX, workers, &events);
    let mut of_faults = Vec::new();
    let each = read_each(
        path,
        Some(Format::JsonLines),
        ImportOptions::default(),
        &mut |batch| {
            for event in batch.events {
                builder.take(event);
                if !event.is_client() {
                    of_faults.push(event.clone());
                }
            }
            Flow::Continue(())
        },
    );
    each.map_err(|error| WebError::broken(format!("the history cannot be read: {error}")))?;
    let columns = builder.finish();
    let bands = History::new(of_faults).map(|history| bands(&history, columns.length as f64 / 1e9));
    Ok(Operations {
        columns,
        bands: bands.unwrap_or_default(),
        marks,
    })
}

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Html<String>, WebError> {
    let entry = site.entry(&id).await?;
    let body = html! {
        (crumbs(&entry, Some(html! { "timeline" })))
        h1 { (entry.test) }
        (timeline::section(Some("operations")))
    };
    Ok(page::scripted(
        &format!("{} timeline", entry.test),
        Place::Elsewhere,
        body,
        "/timeline.js",
    ))
}

/// The operations of a stretch of time, in microseconds from `from` to `to`; of one `key`, `process` or `f`, where these are given, and
/// of some `outcomes` (bits: 1 ok, 2 failed, 4 unknown). As `report/timeline/payload.rs` packs them.
pub(super) async fn operations(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, WebError> {
    let entry = site.entry(&id).await?;
    let wanted = Wanted {
        from: query.number("from").unwrap_or(0),
        to: query.number("to").unwrap_or(u64::MAX),
        key: query.get("key").map(str::to_owned),
        process: query.number("process"),
        f: query.get("f").map(str::to_owned),
        outcomes: query.number("outcomes").unwrap_or(0) as u8,
        most: SENT_MAX,
    };
    let packed = blocking(move || {
        let all = site.timelines.operations(&site.root, &entry)?;
        Ok(payload(&all.columns, &wanted, &all.bands, &all.marks))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/octet-stream")],
        packed.await?,
    )
        .into_response())
}

/// The script.
pub(super) async fn script() -> Response {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        timeline::SCRIPT,
    )
        .into_response()
}
