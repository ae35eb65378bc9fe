//! `/runs/<id>/live`: a run that goes on. `/runs/<id>/events` sends what changes, as server-sent events whose data is the
//! part of the page that changes; without scripts the page is loaded again every few seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use maud::{Markup, html};
use tokio::sync::watch;

use super::follow::{Point, View};
use super::page::{self, Place, grouped, number};
use super::run::{crumbs, figure, verdict};
use super::{Site, WebError, blocking};
use crate::catalog::RunEntry;

/// Seconds until the page is loaded again, where there are no scripts.
const AGAIN: u32 = 5;
/// Those who watch at once; each takes a connection.
const VIEWERS_MAX: usize = 100;
/// Errors that are shown.
const ERRORS_MAX: usize = 8;

static VIEWERS: AtomicUsize = AtomicUsize::new(0);

/// One of those who watch.
struct Viewer;

impl Viewer {
    fn enter() -> Result<Viewer, WebError> {
        let viewer = Viewer;
        match VIEWERS.fetch_add(1, Ordering::Relaxed) < VIEWERS_MAX {
            true => Ok(viewer),
            false => Err(WebError::busy("too many are watching; try again later")),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        VIEWERS.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn follow(
    site: &Arc<Site>,
    entry: &Arc<RunEntry>,
) -> Result<watch::Receiver<View>, WebError> {
    let (site, entry) = (site.clone(), entry.clone());
    blocking(move || {
        let folder = store::RunFolder::open(&site.root.join(&entry.name))?;
        site.follows.follow(&entry, folder)
    })
    .await
}

/// The page.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let entry = site.entry(&id).await?;
    let going_on = !entry.is_over();
    let panel = match going_on {
        true => panel(&entry, &follow(&site, &entry).await?.borrow()),
        false => ended(&entry),
    };
    let body = html! {
        (crumbs(&entry, Some(html! { "live" })))
        h1 { (entry.test) }
        @if let Some(spec) = &entry.spec { p.soft { (page::began(&entry)) " UTC · seed " (spec.seed) " · faults: " (spec.nemesis) } }
        div #live data-events=[going_on.then_some("events")] { (panel) }
        p.soft #connection role="status" {}
    };
    let title = format!("{} live", entry.test);
    Ok(page::live_page(&title, Place::Elsewhere, body, going_on.then_some(AGAIN)).into_response())
}

/// What happens, as it happens.
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let entry = site.entry(&id).await?;
    let viewer = Viewer::enter()?;
    let view = match entry.is_over() {
        true => None,
        false => Some(follow(&site, &entry).await?),
    };
    let state = Watching {
        site,
        entry,
        view,
        first: true,
        _viewer: viewer,
    };
    let events = stream::unfold(Some(state), |state| async { state?.next().await });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}

/// Where somebody who watches is.
struct Watching {
    site: Arc<Site>,
    entry: Arc<RunEntry>,
    /// `None` where the run is over.
    view: Option<watch::Receiver<View>>,
    first: bool,
    _viewer: Viewer,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Option<Watching>)> {
        if let Some(view) = &mut self.view {
            // What is there is shown at once; a sender that is gone has sent its last.
            let more = std::mem::take(&mut self.first) || view.changed().await.is_ok();
            let now = view.borrow_and_update().clone();
            if more && !(now.over && now.caught_up) {
                let data = panel(&self.entry, &now).into_string();
                return Some((Ok(Event::default().data(data)), Some(self)));
            }
        }
        // Its end may take a moment to be known.
        let mut entry = self.entry.clone();
        for _ in 0..20 {
            entry = match self.site.entry(&self.entry.id).await {
                Ok(entry) => entry,
                Err(_) => break,
            };
            if entry.is_over() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let data = ended(&entry).into_string();
        Some((Ok(Event::default().event("end").data(data)), None))
    }
}

/// What is shown when it has ended.
fn ended(entry: &RunEntry) -> Markup {
    html! {
        (verdict(entry, None))
        p.actions { a.button.main href=(page::href(entry)) { "The run" } }
    }
}

/// What changes.
fn panel(entry: &RunEntry, view: &View) -> Markup {
    let [ok, fail, info] = view.counts;
    let last = view.points.back().copied().unwrap_or_default();
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let limit = entry.spec.as_ref();
    html! {
        p { (page::badge(entry.word())) " " (number(view.length)) " s of history"
            @if limit.is_some() && !view.caught_up { " read so far; catching up" } }
        @if let Some(trouble) = &view.trouble { p.trouble { "The history is not followed any further: " (trouble) } }
        dl.numbers {
            (figure("operations/s", &number(last.rate)))
            (figure("p50 ms", &ms(last.p50)))
            (figure("p99 ms", &ms(last.p99)))
            (figure("ok", &grouped(ok)))
            (figure("failed", &grouped(fail)))
            (figure("unknown", &grouped(info)))
        }
        h2 { "Faults in force" }
        @if view.faults.is_empty() { p.soft { "None at the moment." } }
        ul.faults { @for (fault, on) in &view.faults { li { strong { (fault) } " " (on) } } }
        div.columns {
            div { h2 { "Operations a second" } (curve(view, "operations a second", |point| Some(point.rate))) }
            div { h2 { "Latency (p99, ms)" } (curve(view, "p99 in ms", |point| point.p99)) }
        }
        @if !view.errors.is_empty() {
            h2 { "Errors" }
            table { tbody { @for (class, count) in view.errors.iter().take(ERRORS_MAX) {
                tr { td { (class) } td.n { (grouped(*count)) } }
            } } }
        }
        h2 { "Log" }
        pre.file.log tabindex="0" { (view.log) }
    }
}

/// The last two minutes.
fn curve(view: &View, name: &str, value: fn(&Point) -> Option<f64>) -> Markup {
    const WIDTH: f64 = 480.0;
    const FLOOR: f64 = 110.0;
    let values: Vec<Option<f64>> = view.points.iter().map(value).collect();
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { most } else { 1.0 };
    let step = (WIDTH - 60.0) / 120.0;
    let begin = WIDTH - step * values.len().saturating_sub(1) as f64;
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .filter_map(|(at, value)| {
            let y = FLOOR - (FLOOR - 14.0) * (*value)? / scale;
            Some(format!("{:.1},{y:.1}", begin + step * at as f64))
        })
        .collect();
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " 120" } role="img" aria-label={ (name) " in the last two minutes, at most " (number(most)) } {
            line.grid x1="60" x2=(WIDTH) y1="14" y2="14" {}
            line.grid x1="60" x2=(WIDTH) y1=(FLOOR) y2=(FLOOR) {}
            text.tick x="54" y="18" text-anchor="end" { (number(most)) }
            text.tick x="54" y=(FLOOR) text-anchor="end" { "0" }
            polyline.line.ok points=(points.join(" ")) {}
        }
    }
}
