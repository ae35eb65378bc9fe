//! `gainsay serve`: the runs of a store, in a browser.
//!
//! The server reads the store and nothing else: no run knows of it, and it changes nothing in a run. [`listen`] takes connections, and
//! limits them; [`guard`] decides who may ask, and says in every answer what a browser may do with it; then each page is a
//! module with one handler: [`list`], [`run`], [`files`], [`archive`], [`compare`], [`trends`], [`live`], [`timeline`], and [`api`] for programs.
//! [`beneath`] is the only way to a file of a run.
//!
//! What a run contains was written by others: values of operations, names of nodes, logs. It reaches a page only through `maud`, which escapes, and our
//! pages run no script but ours. The report of a run is a program of its own, and is served so that it can reach nothing else (see [`files`]).

mod api;
mod archive;
mod beneath;
mod compare;
mod error;
mod files;
mod follow;
mod guard;
mod list;
mod listen;
mod live;
mod page;
mod query;
mod run;
mod send;
mod stream;
mod timeline;
mod trends;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use crate::catalog::{Catalog, RunEntry};

pub(crate) use error::WebError;
pub(crate) use guard::{Guard, Token};
pub(crate) use listen::{bind, listen};

/// For how long a list of runs is taken to be true.
const FRESH: Duration = Duration::from_secs(1);

/// What all pages share.
pub(crate) struct Site {
    root: PathBuf,
    catalog: Mutex<(Arc<Catalog>, Option<Instant>)>,
    follows: follow::Follows,
    timelines: timeline::Kept,
}

impl Site {
    /// The pages of a store.
    pub(crate) fn new(root: &Path) -> Site {
        Site {
            root: root.to_owned(),
            catalog: Mutex::new((Arc::new(Catalog::open(root)), None)),
            follows: follow::Follows::default(),
            timelines: timeline::Kept::default(),
        }
    }

    /// All runs as they are now, or were a second ago.
    async fn catalog(self: &Arc<Site>) -> Result<Arc<Catalog>, WebError> {
        let site = self.clone();
        blocking(move || {
            let mut held = site.catalog.lock().unwrap_or_else(PoisonError::into_inner);
            let (catalog, looked) = &mut *held;
            if looked.is_none_or(|looked| looked.elapsed() > FRESH) {
                Arc::make_mut(catalog).refresh()?;
                *looked = Some(Instant::now());
            }
            Ok(catalog.clone())
        })
        .await
    }

    /// The run of an id, or of what only its id or its time begins with.
    async fn entry(self: &Arc<Site>, id: &str) -> Result<Arc<RunEntry>, WebError> {
        let catalog = self.catalog().await?;
        if let Some(run) = catalog.find(id) {
            return Ok(run.clone());
        }
        let mut some = catalog.beginning_with(id);
        match (some.next(), some.next()) {
            (Some(run), None) => Ok(run.clone()),
            (Some(run), Some(other)) => Err(WebError::refused(format!(
                "several runs begin with {id:?}, such as {} and {}",
                run.id, other.id
            ))),
            (None, _) => Err(WebError::no_run(id)),
        }
    }
}

/// Does what reads files where it is in nobody's way.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WebError> + Send + 'static,
) -> Result<T, WebError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(WebError::broken(
            "this page could not be made; that is a defect of Gainsay",
        )),
    }
}

/// Everything that can be asked for.
pub(crate) fn router(site: Arc<Site>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/", get(list::page))
        .route("/compare", get(compare::page))
        .route("/trends", get(trends::page))
        .route("/runs/{id}", get(run::bare))
        .route("/runs/{id}/", get(run::page))
        .route("/runs/{id}/live", get(live::page))
        .route("/runs/{id}/events", get(live::events))
        .route("/runs/{id}/timeline", get(timeline::page))
        .route("/runs/{id}/operations", get(timeline::operations))
        .route("/runs/{id}/report.html", get(files::report))
        .route("/runs/{id}/files", get(files::page))
        .route("/runs/{id}/files/", get(files::page))
        .route("/runs/{id}/files/{*path}", get(files::page))
        .route("/api/runs", get(api::runs))
        .route("/api/runs/{id}", get(api::run))
        .route("/style.css", get(page::style))
        .route("/icon.svg", get(page::icon))
        .route("/timeline.js", get(timeline::script))
        .route("/live.js", get(page::script))
        .fallback(error::no_page)
        .layer(from_fn(guard::headers))
        .layer(from_fn_with_state(guard, guard::check))
        .with_state(site)
}

#[cfg(test)]
mod tests;
