//! Takes connections, and limits them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's headers may take, and a connection be silent.
const HEADERS_TIME: Duration = Duration::from_secs(20);
/// How long nothing of an answer may be taken by whoever asked for it.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(60);
/// The most bytes of a request's headers.
const HEADERS_SIZE: usize = 32 << 10;
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long to wait when the system has no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Binds an address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another server there? `--bind ADDRESS:PORT` takes another, `--bind 127.0.0.1:0` any that is free")
    })
}

/// Answers until the process is interrupted.
pub(crate) async fn listen(listener: TcpListener, router: Router) {
    listen_with(listener, router, WRITE_TIME).await;
}

/// The same with another limit for those who take nothing of an answer.
pub(super) async fn listen_with(listener: TcpListener, router: Router, write_time: Duration) {
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = open.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut stream = TimeoutWriter::new(stream);
            stream.set_timeout(Some(write_time));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_TIME)
                .max_buf_size(HEADERS_SIZE)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(Box::pin(stream)), service);
            // A connection that breaks is the business of whoever broke it.
            let _ = served.await;
            drop(slot);
        });
    }
}
