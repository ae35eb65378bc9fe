//! What a page says when there is none.

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::html;
use store::RunError;

use super::page;

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct WebError {
    status: StatusCode,
    message: String,
}

impl WebError {
    /// Nothing is there.
    pub(super) fn missing(message: impl Into<String>) -> WebError {
        WebError {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    /// A run that is not there, or not any more.
    pub(super) fn no_run(id: &str) -> WebError {
        WebError::missing(format!(
            "there is no run {id:?} in this store; it may have been removed"
        ))
    }

    /// What was asked makes no sense, or is not allowed.
    pub(super) fn refused(message: impl Into<String>) -> WebError {
        WebError {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// There is too much of it at the moment.
    pub(super) fn busy(message: impl Into<String>) -> WebError {
        WebError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.into(),
        }
    }

    /// Something went wrong here.
    pub(super) fn broken(message: impl Into<String>) -> WebError {
        WebError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.into(),
        }
    }

    /// As JSON, for programs.
    pub(super) fn into_json(self) -> Response {
        let body = serde_json::json!({"error": self.message});
        super::api::json(self.status, &body)
    }
}

impl From<std::io::Error> for WebError {
    fn from(error: std::io::Error) -> WebError {
        match error.kind() {
            std::io::ErrorKind::NotFound => WebError::missing("this file is not there any more"),
            _ => WebError::broken(format!("this file cannot be read: {error}")),
        }
    }
}

impl From<RunError> for WebError {
    fn from(error: RunError) -> WebError {
        match error {
            RunError::NotARun(_) | RunError::NotFound { .. } => {
                WebError::missing("this run is not there any more")
            }
            error => WebError::broken(error.to_string()),
        }
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = html! {
            h1 { (title) }
            p { (self.message) "." }
            p { a href="/" { "All runs" } }
        };
        (self.status, page::page(title, page::Place::Elsewhere, body)).into_response()
    }
}

/// Where nothing is.
pub(super) async fn no_page(uri: Uri) -> WebError {
    WebError::missing(format!("there is no page {:?}", uri.path()))
}
