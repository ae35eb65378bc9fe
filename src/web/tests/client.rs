//! A server on loopback, and a client that sends exactly what it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use store::RunFolder;
use tempfile::TempDir;

use crate::spec::testing::spec;
use crate::web::listen::{WRITE_TIME, listen_with};
use crate::web::{Guard, Site, Token, bind, router};

/// A server with a store of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) store: TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    pub(super) fn start() -> Server {
        Server::with(None, WRITE_TIME)
    }

    pub(super) fn guarded(token: &str) -> Server {
        Server::with(Some(token), WRITE_TIME)
    }

    /// One that waits for those who do not read so long.
    pub(super) fn waiting(write_time: Duration) -> Server {
        Server::with(None, write_time)
    }

    fn with(token: Option<&str>, write_time: Duration) -> Server {
        let store = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(bind(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard {
            token: token.map(Token::new),
            port: address.port(),
            hosts: vec!["ci.example".to_owned()],
        };
        runtime.spawn(listen_with(
            listener,
            router(Arc::new(Site::new(store.path())), Arc::new(guard)),
            write_time,
        ));
        Server {
            address,
            store,
            _runtime: runtime,
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.store.path()
    }

    /// Sends a request of these lines, and leaves the answer to be read.
    pub(super) fn send(&self, lines: &[&str]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let request = lines
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect::<String>()
            + "\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    pub(super) fn ask(&self, lines: &[&str]) -> Answer {
        let mut stream = self.send(lines);
        let (status, headers) = head(&mut stream);
        let chunked = headers
            .get("transfer-encoding")
            .is_some_and(|how| how == "chunked");
        let mut body = Vec::new();
        match chunked {
            true => {
                while let Some(chunk) = chunk(&mut stream) {
                    body.extend(chunk)
                }
            }
            false => {
                stream.read_to_end(&mut body).unwrap();
            }
        }
        Answer {
            status,
            headers,
            body,
        }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub(super) fn get_with(&self, path: &str, headers: &[&str]) -> Answer {
        let first = format!("GET {path} HTTP/1.1");
        let mut lines = vec![first.as_str(), "Host: localhost", "Connection: close"];
        lines.extend(headers);
        self.ask(&lines)
    }
}

/// Status and headers.
pub(super) fn head(stream: &mut impl BufRead) -> (u16, BTreeMap<String, String>) {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status: {line:?}"))
        .parse()
        .unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => return (status, headers),
        };
    }
}

/// The next chunk of an answer in chunks. Panics where the connection is cut off before the last.
pub(super) fn chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let length =
        usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("cut off: {line:?}"));
    let mut chunk = vec![0; length + 2];
    stream.read_exact(&mut chunk).unwrap();
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// A finished run.
pub(super) fn run(root: &Path, seed: u64, valid: Value, reason: &str) -> RunFolder {
    let mut spec = spec("sim", "register");
    spec.seed = seed;
    let folder = RunFolder::create(root, "sim-register", &spec).unwrap();
    folder.write_results(&results(valid, reason)).unwrap();
    folder
}

pub(super) fn results(valid: Value, reason: &str) -> Value {
    json!({
        "format": 1, "valid": valid, "reason": reason, "claim": {"model": "linearizable", "source": "a test"},
        "harness_failure": null, "seed": 1,
        "checkers": [{"checker": "linearizable", "valid": valid, "reason": reason, "ms_parse": 0.0, "ms_check": 0.0, "peak_memory": 0}],
        "summary": {
            "length": 10.0, "operations": {"ok": 900, "fail": 90, "info": 10},
            "by_function": {"read": {"ok": 900, "fail": 90, "info": 10}}, "rate": 90.0,
            "latency": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}, "faults": {"partition": {"times": 3, "proved": 2}},
        },
    })
}
