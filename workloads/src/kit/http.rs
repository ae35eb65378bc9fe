//! One HTTP/1.1 connection to one server, without a pool, a retry or a redirect: for clients of systems that speak JSON over HTTP.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
pub use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// The longest answer taken.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What went wrong with a request, by how far it got.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No connection: nothing was sent.
    #[error("cannot connect to {server}: {message}")]
    Connect {
        /// The server's address.
        server: String,
        /// What the system said.
        message: String,
    },
    /// The request may have been sent, in part or whole.
    #[error("{server}: {message}")]
    Broken {
        /// The server's address.
        server: String,
        /// What was seen.
        message: String,
    },
}

/// A connection. Once a request on it fails or is dropped unanswered, it is closed.
pub struct Connection {
    server: String,
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Connection {
    /// Connects, within a time limit.
    ///
    /// # Errors
    /// If there is no connection: nothing was sent then.
    pub async fn open(server: &str, limit: Duration) -> Result<Connection, HttpError> {
        let refused = |message: String| HttpError::Connect {
            server: server.to_owned(),
            message,
        };
        let connect = async {
            let stream = TcpStream::connect(server)
                .await
                .map_err(|error| refused(error.to_string()))?;
            stream
                .set_nodelay(true)
                .map_err(|error| refused(error.to_string()))?;
            handshake(TokioIo::new(stream))
                .await
                .map_err(|error| refused(error.to_string()))
        };
        let (sender, connection) = match tokio::time::timeout(limit, connect).await {
            Ok(connected) => connected?,
            Err(_) => return Err(refused(format!("no answer within {limit:?}"))),
        };
        let driver = tokio::spawn(async move {
            // Its errors also reach whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Connection {
            server: server.to_owned(),
            sender,
            driver: driver.abort_handle(),
        })
    }

    /// Whether the server has closed it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Posts a JSON document and returns the status and the JSON answer.
    ///
    /// # Errors
    /// If no whole answer came.
    pub async fn post(
        &mut self,
        path: &str,
        body: &Value,
        agent: &str,
    ) -> Result<(StatusCode, Value), HttpError> {
        self.send(Method::POST, path, Some(body), agent).await
    }

    /// Asks for a JSON document.
    ///
    /// # Errors
    /// If no whole answer came.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Value), HttpError> {
        self.send(Method::GET, path, None, "gainsay").await
    }

    /// Sends a request, with a JSON document if there is one, in the name of `agent`. An answer that is no JSON comes as text, cut to 500
    /// characters. Not bounded in time: drop it, and the connection with it.
    ///
    /// # Errors
    /// If no whole answer came.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        agent: &str,
    ) -> Result<(StatusCode, Value), HttpError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let server = self.server.clone();
        let broken = |message: String| HttpError::Broken {
            server: server.clone(),
            message,
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.server)
            .header(USER_AGENT, agent)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(error.to_string()))?;
        let response = self.sender.send_request(request).await;
        let response = response.map_err(|error| broken(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let bytes = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        let answer = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            Value::String(String::from_utf8_lossy(&bytes).chars().take(500).collect())
        });
        Ok((status, answer))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
