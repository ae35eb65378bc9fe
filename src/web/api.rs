//! `/api/runs` and `/api/runs/<id>`: the same as JSON, described in `docs/web.md`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::list::{Found, PAGE};
use super::query::Query;
use super::{Site, WebError, run};
use crate::catalog::RunEntry;

/// An answer.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, format!("{body:#}\n")).into_response()
}

/// A run as programs see it.
fn entry(run: &RunEntry) -> Value {
    let mut entry = serde_json::to_value(run).unwrap_or_default();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("word".to_owned(), run.word().into());
        fields.insert("url".to_owned(), super::page::href(run).into());
    }
    entry
}

/// The runs that a query asks for, a page of them.
pub(super) async fn runs(State(site): State<Arc<Site>>, query: Query) -> Response {
    let catalog = match site.catalog().await {
        Ok(catalog) => catalog,
        Err(error) => return error.into_json(),
    };
    let found = Found::of(&catalog, &query);
    let runs: Vec<Value> = found.shown().iter().map(|run| entry(run)).collect();
    json(
        StatusCode::OK,
        &json!({
            "format": 1, "total": found.runs.len(), "page": found.page + 1, "pages": found.pages(), "per_page": PAGE, "runs": runs,
        }),
    )
}

/// One run, with its specification and what each checker said.
pub(super) async fn run(State(site): State<Arc<Site>>, Path(id): Path<String>) -> Response {
    let read: Result<run::Read, WebError> = run::read(&site, &id).await;
    match read {
        Err(error) => error.into_json(),
        Ok(read) => json(
            StatusCode::OK,
            &json!({
                "format": 1, "run": entry(&read.entry), "test": read.spec, "checkers": read.told.map(|told| told.checkers),
            }),
        ),
    }
}
